"""Run a model over one shard of a dataset."""

import json
from pathlib import Path

from audio_neurons.running import gpus, runtime

runtime.start(snakemake.log[0], snakemake.threads, snakemake.rule, dict(snakemake.params.items()))
gpus.claim(snakemake.resources.gpu)

from audio_neurons.activations.extraction import extract, load_encoder
from audio_neurons.settings.extraction import Pass

name = snakemake.wildcards.model
encoder = load_encoder(
    name,
    json.loads(snakemake.params.model),
    snakemake.input.get("weights"),
    snakemake.params.device,
    snakemake.input.get("norm_stats"),
)
extract(
    encoder,
    Path(snakemake.input.clips),
    Path(snakemake.output.counts).parent,
    Path(snakemake.output.embeddings),
    Pass.read(snakemake.params.settings),
    responses=snakemake.output.get("responses"),
    name=f"{name} on {snakemake.wildcards.dataset}",
    medians=snakemake.input.get("medians"),
    workers=snakemake.threads,
    acoustics=snakemake.output.get("acoustics"),
)
