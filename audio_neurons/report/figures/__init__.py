"""Figures that can be read without the code, in print and by colour-blind readers.

Each figure is one module; :mod:`~audio_neurons.report.figures.drawing` describes its interface.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
