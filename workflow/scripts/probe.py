"""Train the linear probes of one model and task."""

from pathlib import Path

from audio_neurons.running import runtime

runtime.start(snakemake.log[0], snakemake.threads, snakemake.rule, dict(snakemake.params.items()))

from audio_neurons.ablation.probes import probe_task
from audio_neurons.settings.probe import Probe

probe_task(
    list(snakemake.input.clips),
    list(snakemake.input.embeddings),
    snakemake.params.label,
    Probe.read(snakemake.params.settings),
    Path(snakemake.output.weights),
    Path(snakemake.output.table),
    name=f"probe {snakemake.wildcards.model} on {snakemake.wildcards.task}",
)
