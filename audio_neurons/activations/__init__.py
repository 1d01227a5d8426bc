"""Forward passes over clips: activation counts, units of resampling, strongest clips, embeddings.

Counts are sums, so shards merge by addition.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
