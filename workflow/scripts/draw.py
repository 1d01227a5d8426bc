"""Draw a figure, and write its data beside it."""

import json

from audio_neurons.running import runtime

runtime.start(snakemake.log[0], snakemake.threads, snakemake.rule, dict(snakemake.params.items()))

from audio_neurons.report import figures

inputs = {role: [paths] if isinstance(paths, str) else list(paths) for role, paths in snakemake.input.items()}
figures.make(
    snakemake.params.figure, inputs, json.loads(snakemake.params.about), dict(snakemake.output.items())
)
