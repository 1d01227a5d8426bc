"""Ablate the chosen neurons of one model and task, and ask its probes again."""

import json

from audio_neurons import gpus, runtime

runtime.start(snakemake.log[0], snakemake.threads, snakemake.rule, dict(snakemake.params.items()))
gpus.claim(snakemake.resources.gpu)

from audio_neurons.ablation import Settings, Study, ablate_task
from audio_neurons.extraction import load_encoder

name = snakemake.wildcards.model
encoder = load_encoder(
    name, json.loads(snakemake.params.model), snakemake.input.get("weights"), snakemake.params.device
)
study = Study(list(snakemake.input.clips), probe=snakemake.input.probe, **json.loads(snakemake.params.study))
ablate_task(
    encoder,
    study,
    snakemake.input.neurons,
    json.loads(snakemake.params.sets),
    list(snakemake.input.get("lists", [])),
    Settings(**json.loads(snakemake.params.settings)),
    dict(snakemake.output.items()),
    snakemake.params.selection_split,
    name=f"ablate {name} on {snakemake.wildcards.task}",
)
