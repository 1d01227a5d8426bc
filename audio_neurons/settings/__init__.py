"""Settings: one typed class for each section of the configuration.

Each field is defined once, with its type, bounds, default and explanation; schema, reference and the
library's parameters follow from it.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
