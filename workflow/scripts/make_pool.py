"""Make the recordings that the demo's models are trained on."""

from audio_neurons import runtime

runtime.start(snakemake.log[0], snakemake.threads, snakemake.rule, dict(snakemake.params.items()))

from audio_neurons.synthesis import make_pool

make_pool(
    snakemake.output[0],
    clips=snakemake.params.clips,
    seconds=snakemake.params.seconds,
    seed=snakemake.params.seed,
)
