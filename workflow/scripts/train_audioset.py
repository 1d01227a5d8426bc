"""Train a model on AudioSet, in one process or in several."""

import json
from pathlib import Path

from audio_neurons import runtime

runtime.start(snakemake.log[0], snakemake.threads)

from audio_neurons.extraction import pick_device
from audio_neurons.training.launch import launch

launch(
    json.loads(snakemake.params.model),
    [Path(part) for part in snakemake.input],
    Path(snakemake.output.weights),
    Path(snakemake.output.log),
    Path(snakemake.output.evaluation),
    device=pick_device(snakemake.params.device),
    name=snakemake.wildcards.model,
    workers=snakemake.threads - 1,
)
