"""Audio encoders behind one interface; each model is a block of configuration.

Adapters are modules of this package; :mod:`~audio_neurons.models.registry` describes them.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
