"""Compute what stays of the effects of classes when acoustics are partialled out."""

import json
from pathlib import Path

from audio_neurons.running import runtime

runtime.start(snakemake.log[0], snakemake.threads, snakemake.rule, dict(snakemake.params.items()))

from audio_neurons.inference.partialling import partial_task
from audio_neurons.settings.inference import Inference

partial_task(
    Path(snakemake.input.neurons),
    list(map(Path, snakemake.input.responses)),
    list(map(Path, snakemake.input.clips)),
    list(map(Path, snakemake.input.acoustics)),
    snakemake.params.label,
    json.loads(snakemake.params.splits),
    Inference.read(snakemake.params.settings),
    Path(snakemake.output.neurons),
    Path(snakemake.output.classes),
)
