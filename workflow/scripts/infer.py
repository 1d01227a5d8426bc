"""Nulls and intervals of the neurons of one task."""

import json
from pathlib import Path

from audio_neurons import runtime

runtime.start(snakemake.log[0], snakemake.threads, snakemake.rule, dict(snakemake.params.items()))

from audio_neurons.inference import Settings, infer_task

# No parameter: it changes time and memory alone.
block = snakemake.config["inference"]["block"]
infer_task(
    Path(snakemake.input.units),
    Path(snakemake.input.neurons),
    snakemake.params.label,
    json.loads(snakemake.params.splits),
    json.loads(snakemake.params["rule"]),
    Settings(**json.loads(snakemake.params.settings), block=block),
    snakemake.threads,
    Path(snakemake.output.inference),
    Path(snakemake.output.stability),
    Path(snakemake.output.draws),
)
