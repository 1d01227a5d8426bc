"""Estimate what zeroing each neuron of one model would do to its probes of one task."""

import json

from audio_neurons import gpus, runtime

runtime.start(snakemake.log[0], snakemake.threads, snakemake.rule, dict(snakemake.params.items()))
gpus.claim(snakemake.resources.gpu)

from audio_neurons.ablation import Study
from audio_neurons.extraction import load_encoder
from audio_neurons.screening import Settings, screen_task

name = snakemake.wildcards.model
encoder = load_encoder(
    name, json.loads(snakemake.params.model), snakemake.input.get("weights"), snakemake.params.device
)
study = Study(list(snakemake.input.clips), probe=snakemake.input.probe, **json.loads(snakemake.params.study))
screen_task(
    encoder,
    study,
    Settings(**json.loads(snakemake.params.settings)),
    dict(snakemake.output.items()),
    name=f"screen {name} on {snakemake.wildcards.task}",
)
