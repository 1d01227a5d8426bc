"""Training of encoders from scratch: self-supervised by M2D's objective, or supervised by tags.

Training resumes after an interruption and can use several GPUs.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
