"""Train the linear probes of one model and task."""

import json
from pathlib import Path

from audio_neurons import runtime

runtime.start(snakemake.log[0], snakemake.threads, snakemake.rule, dict(snakemake.params.items()))

from audio_neurons.probes import Settings, probe_task

probe_task(
    list(snakemake.input.clips),
    list(snakemake.input.embeddings),
    snakemake.params.label,
    Settings(**json.loads(snakemake.params.settings)),
    Path(snakemake.output.weights),
    Path(snakemake.output.table),
    name=f"probe {snakemake.wildcards.model} on {snakemake.wildcards.task}",
)
