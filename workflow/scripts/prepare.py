"""Prepare clips from the archives of one dataset."""

import json

from audio_neurons.running import runtime

runtime.start(snakemake.log[0], snakemake.threads, snakemake.rule, dict(snakemake.params.items()))

from audio_neurons.recordings.preparation import prepare

settings = json.loads(snakemake.params.settings)
summary = prepare(
    snakemake.params.adapter,
    dict(snakemake.input.items()),
    snakemake.output.parts,
    snakemake.output.rejected,
    # Not a parameter: it decides whether the job fails, not the contents of the clips.
    max_rejected=snakemake.config["preparation"]["max_rejected"],
    max_seconds=settings["max_seconds"],
    workers=snakemake.threads,
    options=settings["options"],
    excluded=settings["excluded"],
    name=snakemake.rule.removeprefix("prepare_"),
)
print(summary)
