"""Audio Neurons: what do the neurons of an audio encoder listen to?

Packages follow the flow of data:

:mod:`~audio_neurons.fetching` or :mod:`~audio_neurons.synthesis` brings archives,
:mod:`~audio_neurons.datasets` names the recordings in them, :mod:`~audio_neurons.recordings` makes clips;
:mod:`~audio_neurons.models` loads encoders, :mod:`~audio_neurons.training` trains some;
:mod:`~audio_neurons.activations` runs them over the clips, :mod:`~audio_neurons.neurons` selects neurons;
:mod:`~audio_neurons.inference` says how sure the selection is, :mod:`~audio_neurons.ablation` whether a
probe needs these neurons; :mod:`~audio_neurons.report` draws and tells what was found.

:mod:`~audio_neurons.settings` defines the configuration, :mod:`~audio_neurons.study` derives from it what a
run makes, and :mod:`~audio_neurons.running` holds what every job needs.

Importing this package is fast: PyTorch is imported by the functions that need it, when they run.
"""

__version__ = "0.2.0"
