"""Look for recordings that stand in both datasets of a comparison."""

from audio_neurons.running import runtime

runtime.start(snakemake.log[0], snakemake.threads, snakemake.rule, dict(snakemake.params.items()))

from audio_neurons.recordings import common

common.write(dict(zip(snakemake.params.datasets, snakemake.input, strict=True)), snakemake.output[0])
