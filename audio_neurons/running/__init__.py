"""Infrastructure of a job: log, progress, devices, provenance, code digests and atomic files.

Every other room may import this room; this room imports no other.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
