"""Find the clips that stand for the neurons of one model in one dataset."""

import json

from audio_neurons.running import gpus, runtime

runtime.start(snakemake.log[0], snakemake.threads, snakemake.rule, dict(snakemake.params.items()))
gpus.claim(snakemake.resources.gpu)

from audio_neurons.activations.examples import find
from audio_neurons.activations.extraction import load_encoder
from audio_neurons.settings.atlas import Examples
from audio_neurons.settings.extraction import Pass

name = snakemake.wildcards.model
encoder = load_encoder(
    name,
    json.loads(snakemake.params.model),
    snakemake.input.get("weights"),
    snakemake.params.device,
    snakemake.input.get("norm_stats"),
)
find(
    encoder,
    list(snakemake.input.clips),
    snakemake.input.strongest,
    list(zip(snakemake.params.labels, snakemake.input.neurons, strict=True)),
    Pass.read(snakemake.params.settings),
    Examples.read(snakemake.params.drawn),
    snakemake.output.examples,
    snakemake.output.excited,
    name=f"examples of {name} in {snakemake.wildcards.dataset}",
    medians=snakemake.input.get("medians"),
)
