"""Compute the correlations of all neurons with acoustics from the sums of all shards."""

from pathlib import Path

from audio_neurons.running import runtime

runtime.start(snakemake.log[0], snakemake.threads, snakemake.rule, dict(snakemake.params.items()))

from audio_neurons.activations import correlations

correlations.merge(list(map(Path, snakemake.input)), Path(snakemake.output[0]))
