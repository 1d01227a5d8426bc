"""Commands on recordings: check those of a study, and begin a study from a folder or a list.

Each command is a module with ``add``, which adds its parser, and ``run``, which returns the exit status.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
