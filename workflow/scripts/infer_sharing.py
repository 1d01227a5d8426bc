"""Compute null distributions and intervals for shared neurons, within one task or between two."""

import json

from audio_neurons.running import runtime

runtime.start(snakemake.log[0], snakemake.threads, snakemake.rule, dict(snakemake.params.items()))

from audio_neurons.inference.inference import single_clips
from audio_neurons.inference.sharing import infer_sharing
from audio_neurons.settings.inference import Inference
from audio_neurons.settings.selection import Rule

# Not a parameter: it affects only time and memory.
block = snakemake.config["inference"]["block"]
infer_sharing(
    snakemake.input.units,
    snakemake.input.neurons,
    snakemake.params.labels,
    json.loads(snakemake.params.splits),
    [Rule(**rule) for rule in json.loads(snakemake.params.rules)],
    json.loads(snakemake.params.pairs),
    Inference.read(snakemake.params.settings, block=block),
    snakemake.threads,
    snakemake.output.inference,
    snakemake.output.draws,
    snakemake.output.pairs,
    [single_clips(snakemake.input), single_clips(snakemake.input, "_2")],
)
