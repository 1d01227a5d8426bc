"""Turn the archives of one dataset into clips."""

import json

from audio_neurons import runtime

runtime.start(snakemake.log[0], snakemake.threads)

from audio_neurons.preparation import prepare

summary = prepare(
    snakemake.params.adapter,
    dict(snakemake.input.items()),
    snakemake.output.parts,
    snakemake.output.rejected,
    max_rejected=snakemake.params.max_rejected,
    max_seconds=snakemake.params.max_seconds,
    workers=snakemake.threads,
    options=json.loads(snakemake.params.options),
)
print(summary)
