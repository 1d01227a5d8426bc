"""Adapters of the datasets: facts about each, and reading labelled recordings from its archives.

Each dataset is one module and one YAML file of the same name, as
:mod:`~audio_neurons.datasets.registry` describes.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
