"""Tables over all tasks and models, and what was found in a few lines."""

import json

from audio_neurons import runtime

runtime.start(snakemake.log[0], snakemake.threads)

from audio_neurons import summary

models, tasks, comparisons = (json.loads(snakemake.params[key]) for key in ("models", "tasks", "comparisons"))
coverage = summary.coverage_table(list(snakemake.input.classes), models, tasks)
sharing = summary.sharing_table(list(snakemake.input.sharing), models, comparisons)
summary.write_csv(coverage, snakemake.output.coverage)
summary.write_csv(sharing, snakemake.output.sharing)
published = summary.published_table(coverage, snakemake.input.published, models, snakemake.params.demo)
summary.write_csv(published, snakemake.output.published)
summary.write_text(
    coverage, sharing, snakemake.output.summary, demo=snakemake.params.demo, notes=snakemake.params.notes
)
