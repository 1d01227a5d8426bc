"""Draw how many classes have neurons, and how many, for every task and model."""

import json

from audio_neurons import runtime

runtime.start(snakemake.log[0], snakemake.threads)

from audio_neurons import plotting, summary

models, tasks = json.loads(snakemake.params.models), json.loads(snakemake.params.tasks)
table = summary.coverage_table(list(snakemake.input), models, tasks)
plotting.save(plotting.coverage(table), snakemake.output.pdf, snakemake.output.png)
