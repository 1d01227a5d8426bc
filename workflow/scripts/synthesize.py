"""Make the recordings of one dataset of the demo, in its upstream archive layout."""

from audio_neurons import runtime

runtime.start(snakemake.log[0], snakemake.threads)

from audio_neurons.synthesis import make_archives

make_archives(
    snakemake.params.adapter,
    dict(snakemake.output.items()),
    clips=snakemake.params.clips,
    seconds=snakemake.params.seconds,
    seed=snakemake.params.seed,
)
