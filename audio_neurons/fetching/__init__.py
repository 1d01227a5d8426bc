"""Download of archives and weights, with verification and resumption after an interruption.

The room also reports, before a run, which files must be brought by hand.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
