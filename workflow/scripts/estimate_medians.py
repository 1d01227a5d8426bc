"""Estimate the median activation of every neuron on one dataset."""

import json

from audio_neurons.running import gpus, runtime

runtime.start(snakemake.log[0], snakemake.threads, snakemake.rule, dict(snakemake.params.items()))
gpus.claim(snakemake.resources.gpu)

from audio_neurons.activations.extraction import load_encoder
from audio_neurons.activations.medians import estimate
from audio_neurons.settings.extraction import Median, Pass

name = snakemake.wildcards.model
encoder = load_encoder(
    name,
    json.loads(snakemake.params.model),
    snakemake.input.get("weights"),
    snakemake.params.device,
    snakemake.input.get("norm_stats"),
)
estimate(
    encoder,
    list(snakemake.input.clips),
    Pass.read(snakemake.params.settings),
    Median.read(snakemake.params.sample),
    snakemake.output[0],
    name=f"medians of {name} on {snakemake.wildcards.dataset}",
)
