"""Select neurons that are specific to a class, and compare the neurons of classes.

The filters of AAPE and the alternative measures use class-conditional activation probabilities.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
