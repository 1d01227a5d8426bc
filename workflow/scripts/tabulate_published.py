"""Write the ablation effects, and the comparison with the paper's numbers."""

import json
from pathlib import Path

from audio_neurons.running import runtime

runtime.start(snakemake.log[0], snakemake.threads, snakemake.rule, dict(snakemake.params.items()))

from audio_neurons import tables
from audio_neurons.report import published, summary

about = json.loads(snakemake.params.about)
cases, listed, lists = (json.loads(snakemake.params[name]) for name in ("cases", "listed", "known"))
given, coverage = snakemake.input, tables.read_frame(snakemake.input.coverage)
models, tasks, demo, theirs = about["models"], about["tasks"], about["demo"], given.ablation_theirs
found = {
    "published": published.published_table(coverage, given.coverage_theirs, models, demo),
    "ablation": published.ablation_table(
        list(given.ablation), cases, lists, theirs, models, tasks, demo, about["confidence"]
    ),
    "overlap": published.overlap_table(
        list(given.neurons), listed, lists, Path(theirs).parent, models, tasks, demo
    ),
}
summary.write_tables(found, dict(snakemake.output.items()))
