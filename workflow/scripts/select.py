"""Choose the class-specific neurons of one task."""

import json
from pathlib import Path

from audio_neurons import runtime

runtime.start(snakemake.log[0], snakemake.threads, snakemake.rule, dict(snakemake.params.items()))

from audio_neurons.selection import select_task

select_task(
    Path(snakemake.input.counts).parent,
    snakemake.params.label,
    json.loads(snakemake.params.splits),
    json.loads(snakemake.params["rule"]),
    snakemake.output.neurons,
    snakemake.output.classes,
)
