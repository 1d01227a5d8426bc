"""Prepare clips from the archives of one dataset."""

import json

from audio_neurons.running import runtime

runtime.start(snakemake.log[0], snakemake.threads, snakemake.rule, dict(snakemake.params.items()))

from audio_neurons.recordings.preparation import prepare
from audio_neurons.settings.datasets import Sample, Windows

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
    windows=Windows(**settings["windows"]),
    clip_seconds=settings["clip_seconds"],
    sample=Sample(**settings["sample"]) if settings["sample"] else None,
    inventory=snakemake.output.inventory,
    rate=snakemake.params.rate,
)
print(summary)
