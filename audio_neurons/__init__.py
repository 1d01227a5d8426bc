"""Audio Neurons: what do the neurons of an audio encoder listen to?

The stages of the workflow, in the order in which data moves through them:

``download`` → ``datasets`` → ``preparation`` → ``models`` → ``extraction`` (``statistics``)
→ ``selection`` → ``sharing`` → ``figures``, ``summary``.

Importing this package is fast: torch is imported by the stages that need it, when they run.
"""

__version__ = "0.1.0"
