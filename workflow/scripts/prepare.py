"""Turn the archives of one dataset into clips."""

import json

from audio_neurons import runtime

runtime.start(snakemake.log[0], snakemake.threads, snakemake.rule, dict(snakemake.params.items()))

from audio_neurons.preparation import prepare

summary = prepare(
    snakemake.params.adapter,
    dict(snakemake.input.items()),
    snakemake.output.parts,
    snakemake.output.rejected,
    # No parameter: it decides whether there are clips, not what is in them.
    max_rejected=snakemake.config["preparation"]["max_rejected"],
    max_seconds=snakemake.params.max_seconds,
    workers=snakemake.threads,
    options=json.loads(snakemake.params.options),
    excluded=json.loads(snakemake.params.excluded),
    name=snakemake.rule.removeprefix("prepare_"),
)
print(summary)
