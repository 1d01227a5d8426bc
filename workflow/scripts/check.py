"""Check the recordings of one dataset before they are prepared."""

import json
from pathlib import Path

from audio_neurons.running import runtime

runtime.start(snakemake.log[0], snakemake.threads, snakemake.rule, dict(snakemake.params.items()))

from audio_neurons.recordings import checking
from audio_neurons.recordings.checks import Terms
from audio_neurons.settings.datasets import Sample, Windows

settings = json.loads(snakemake.params.settings)
checking.write(
    snakemake.rule.removeprefix("check_"),
    snakemake.params.adapter,
    dict(snakemake.input.items()),
    Terms(**settings["terms"]),
    facts_file=snakemake.output.facts,
    checks_file=snakemake.output.checks,
    options=settings["options"],
    excluded=settings["excluded"],
    windows=Windows(**settings["windows"]),
    sample=Sample(**settings["sample"]) if settings["sample"] else None,
    workers=snakemake.threads,
    cache=Path(snakemake.params.cache),
)
