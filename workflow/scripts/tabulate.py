"""Write the tables over all tasks, comparisons and models, and the differences between models."""

import json

from audio_neurons.running import runtime

runtime.start(snakemake.log[0], snakemake.threads, snakemake.rule, dict(snakemake.params.items()))

from audio_neurons.inference.differences import differences_table
from audio_neurons.report import conditions, summary

about, given = json.loads(snakemake.params.about), snakemake.input
models, comparisons = about["models"], about["comparisons"]
coverage = summary.coverage_table(list(given.classes), list(given.inference), models, about["tasks"])
sharing, inference = list(given.sharing), list(given.sharing_inference)
means = summary.sharing_table(sharing, inference, models, comparisons)
pairs = summary.pairs_table(sharing, inference, models, comparisons)
differences = differences_table(
    coverage,
    means,
    list(given.draws),
    list(given.sharing_draws),
    models,
    about["level"],
    about["equivalence"],
)
clips = conditions.clips_table(list(given.inventory), about["datasets"])
coverage = conditions.stated(coverage, "task", about["datasets_of_tasks"], clips, about["choice"])
means = conditions.stated(means, "comparison", about["datasets_of_comparisons"], clips, about["choice"])
found = {"clips": clips, "coverage": coverage, "sharing": means, "pairs": pairs, "differences": differences}
summary.write_tables(found, dict(snakemake.output.items()))
