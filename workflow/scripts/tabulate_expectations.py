"""Write what of the expected patterns is found."""

import json

from audio_neurons.running import runtime

runtime.start(snakemake.log[0], snakemake.threads, snakemake.rule, dict(snakemake.params.items()))

from audio_neurons.report import expectations

about, given = json.loads(snakemake.params.about), snakemake.input
expectations.write(
    list(given.expected),
    list(given.pair_draws),
    given.differences,
    about,
    snakemake.output.data,
    snakemake.output.csv,
)
