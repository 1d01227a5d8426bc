"""Commands on studies: check the recordings of one, begin one from a folder or a list, and count its cost.

Each command is a module with ``add``, which adds its parser, and ``run``, which returns the exit status.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
