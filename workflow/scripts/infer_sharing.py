"""Nulls and intervals of what classes share, within a task or between two."""

import json

from audio_neurons import runtime

runtime.start(snakemake.log[0], snakemake.threads, snakemake.rule, dict(snakemake.params.items()))

from audio_neurons.inference import Settings, infer_sharing

# No parameter: it changes time and memory alone.
block = snakemake.config["inference"]["block"]
infer_sharing(
    snakemake.input.units,
    snakemake.input.neurons,
    snakemake.params.labels,
    json.loads(snakemake.params.splits),
    json.loads(snakemake.params.rules),
    json.loads(snakemake.params.pairs),
    Settings(**json.loads(snakemake.params.settings), block=block),
    snakemake.threads,
    snakemake.output.inference,
    snakemake.output.draws,
)
