"""Ablate the selected neurons of one model and task, and evaluate its probes again."""

import json

from audio_neurons.running import gpus, runtime

runtime.start(snakemake.log[0], snakemake.threads, snakemake.rule, dict(snakemake.params.items()))
gpus.claim(snakemake.resources.gpu)

from audio_neurons.ablation.ablation import Study, ablate_task
from audio_neurons.activations.extraction import load_encoder
from audio_neurons.settings.ablation import Conditions

name = snakemake.wildcards.model
encoder = load_encoder(
    name,
    json.loads(snakemake.params.model),
    snakemake.input.get("weights"),
    snakemake.params.device,
    snakemake.input.get("norm_stats"),
)
study = Study(list(snakemake.input.clips), probe=snakemake.input.probe, **json.loads(snakemake.params.clips))
ablate_task(
    encoder,
    study,
    snakemake.input.neurons,
    json.loads(snakemake.params.sets),
    list(snakemake.input.get("lists", [])),
    Conditions.read(snakemake.params.settings),
    dict(snakemake.output.items()),
    snakemake.params.selection_split,
    name=f"ablate {name} on {snakemake.wildcards.task}",
)
