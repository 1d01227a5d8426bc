"""Draw a figure, and write what it shows beside it."""

import json

from audio_neurons import runtime

runtime.start(snakemake.log[0], snakemake.threads, snakemake.rule, dict(snakemake.params.items()))

from audio_neurons import figures

inputs = {role: [paths] if isinstance(paths, str) else list(paths) for role, paths in snakemake.input.items()}
figures.make(
    snakemake.params.figure, inputs, json.loads(snakemake.params.about), dict(snakemake.output.items())
)
