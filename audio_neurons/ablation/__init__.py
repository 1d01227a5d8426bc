"""Ablation of neurons: linear probes, interventions on activations, controls and measured effects.

Screening estimates the effect of every single neuron.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
