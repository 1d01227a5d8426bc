"""What a study costs: its work, measured rates of this machine, and the hours that follow for any device."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
