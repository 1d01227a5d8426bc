"""Merge the statistics of all shards of a dataset."""

from pathlib import Path

from audio_neurons.running import runtime

runtime.start(snakemake.log[0], snakemake.threads, snakemake.rule, dict(snakemake.params.items()))

from audio_neurons.activations import statistics, units

statistics.merge(
    [Path(cells).parent for cells in snakemake.input.cells],
    Path(snakemake.output.cells).parent,
    snakemake.params.top_clips,
)
units.merge(list(map(Path, snakemake.input.units)), Path(snakemake.output.units))
