"""Measure mean and standard deviation of a model's spectrograms of one dataset."""

import json

from audio_neurons.running import runtime

runtime.start(snakemake.log[0], snakemake.threads, snakemake.rule, dict(snakemake.params.items()))

from audio_neurons.activations.extraction import load_encoder
from audio_neurons.activations.normalisation import measure

name = snakemake.wildcards.model
encoder = load_encoder(name, json.loads(snakemake.params.model), snakemake.input.get("weights"), "cpu")
measure(
    encoder,
    list(snakemake.input.clips),
    snakemake.params.clip_seconds,
    snakemake.output[0],
    name=f"norm_stats of {name} on {snakemake.wildcards.dataset}",
)
