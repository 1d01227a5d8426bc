"""Synthesise the recordings on which the demo's models are trained."""

from audio_neurons.running import runtime

runtime.start(snakemake.log[0], snakemake.threads, snakemake.rule, dict(snakemake.params.items()))

from audio_neurons.synthesis import make_pool

make_pool(
    snakemake.output[0],
    clips=snakemake.params.clips,
    seconds=snakemake.params.seconds,
    seed=snakemake.params.seed,
)
