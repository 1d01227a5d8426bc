"""Fetch a model's checkpoint, out of the zip that holds it if need be."""

import json

from audio_neurons import runtime

runtime.start(snakemake.log[0], snakemake.threads)

from audio_neurons.sources import fetch_weights

fetch_weights(json.loads(snakemake.params.weights), snakemake.output[0])
