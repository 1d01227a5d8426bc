"""Figures, findings, summary tables, comparison with published numbers, and the inventory of files.

Everything here is made from finished tables, without PyTorch.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
