"""Preparation of clips: decode recordings, resample to mono at a rate, and store in Parquet shards.

Later stages read the clips by name and in batches.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
