"""Compute null distributions and intervals for the neurons of one task."""

import json
from pathlib import Path

from audio_neurons.running import runtime

runtime.start(snakemake.log[0], snakemake.threads, snakemake.rule, dict(snakemake.params.items()))

from audio_neurons.inference.inference import infer_task, single_clips
from audio_neurons.settings.inference import Inference
from audio_neurons.settings.selection import Rule

# Not a parameter: it affects only time and memory.
block = snakemake.config["inference"]["block"]
infer_task(
    Path(snakemake.input.units),
    Path(snakemake.input.neurons),
    snakemake.params.label,
    json.loads(snakemake.params.splits),
    Rule.read(snakemake.params["rule"]),
    Inference.read(snakemake.params.settings, block=block),
    snakemake.threads,
    Path(snakemake.output.inference),
    Path(snakemake.output.stability),
    Path(snakemake.output.draws),
    single_clips(snakemake.input),
)
