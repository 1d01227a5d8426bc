"""Select the class-specific neurons of one task."""

import json
from pathlib import Path

from audio_neurons.running import runtime

runtime.start(snakemake.log[0], snakemake.threads, snakemake.rule, dict(snakemake.params.items()))

from audio_neurons.neurons.selection import select_task
from audio_neurons.settings.selection import Rule

select_task(
    Path(snakemake.input.counts).parent,
    snakemake.params.label,
    json.loads(snakemake.params.splits),
    Rule.read(snakemake.params["rule"]),
    snakemake.output.neurons,
    snakemake.output.classes,
)
