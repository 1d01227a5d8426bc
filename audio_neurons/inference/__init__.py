"""Uncertainty of the selection: permuted labels, resampled groups, q-values, differences between models.

Every draw repeats the whole selection.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
