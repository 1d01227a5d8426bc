"""Estimate the effect of zeroing each neuron of one model on its probes of one task."""

import json

from audio_neurons.running import gpus, runtime

runtime.start(snakemake.log[0], snakemake.threads, snakemake.rule, dict(snakemake.params.items()))
gpus.claim(snakemake.resources.gpu)

from audio_neurons.ablation.ablation import Study
from audio_neurons.ablation.screening import screen_task
from audio_neurons.activations.extraction import load_encoder
from audio_neurons.settings.ablation import Screening

name = snakemake.wildcards.model
encoder = load_encoder(
    name,
    json.loads(snakemake.params.model),
    snakemake.input.get("weights"),
    snakemake.params.device,
    snakemake.input.get("norm_stats"),
)
study = Study(list(snakemake.input.clips), probe=snakemake.input.probe, **json.loads(snakemake.params.clips))
screen_task(
    encoder,
    study,
    Screening.read(snakemake.params.settings),
    dict(snakemake.output.items()),
    name=f"screen {name} on {snakemake.wildcards.task}",
)
