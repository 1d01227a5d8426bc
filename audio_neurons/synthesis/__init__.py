"""Synthetic recordings for the demo: stand-ins for eight datasets, and a pool to train on.

They are no evidence about real recordings.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
