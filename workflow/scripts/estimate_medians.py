"""Estimate every neuron's median activation on one dataset."""

import json

from audio_neurons import gpus, runtime

runtime.start(snakemake.log[0], snakemake.threads, snakemake.rule, dict(snakemake.params.items()))
gpus.claim(snakemake.resources.gpu)

from audio_neurons.extraction import load_encoder
from audio_neurons.medians import Settings, estimate

name = snakemake.wildcards.model
encoder = load_encoder(
    name, json.loads(snakemake.params.model), snakemake.input.get("weights"), snakemake.params.device
)
estimate(
    encoder,
    list(snakemake.input.clips),
    Settings(**json.loads(snakemake.params.settings)),
    snakemake.output[0],
    name=f"medians of {name} on {snakemake.wildcards.dataset}",
)
