"""The atlas: pages on which neurons are seen and heard, and the data that they load."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
