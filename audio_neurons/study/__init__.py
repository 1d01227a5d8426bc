"""Study: what a configuration asks for.

The configuration is read, completed and checked; the paths, targets and parameters of the workflow follow.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
