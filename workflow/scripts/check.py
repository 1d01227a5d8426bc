"""Check the recordings of one dataset before they are prepared."""

import json
from pathlib import Path

from audio_neurons.running import runtime

runtime.start(snakemake.log[0], snakemake.threads, snakemake.rule, dict(snakemake.params.items()))

from audio_neurons.recordings import checks

settings = json.loads(snakemake.params.settings)
checks.write(
    snakemake.rule.removeprefix("check_"),
    snakemake.params.adapter,
    dict(snakemake.input.items()),
    checks.Terms(**settings["terms"]),
    facts_file=snakemake.output.facts,
    checks_file=snakemake.output.checks,
    options=settings["options"],
    excluded=settings["excluded"],
    workers=snakemake.threads,
    cache=Path(snakemake.params.cache),
)
