"""Synthesise the recordings of one demo dataset, in its upstream archive layout."""

from audio_neurons.running import runtime

runtime.start(snakemake.log[0], snakemake.threads)

from audio_neurons.running.files import write_text
from audio_neurons.synthesis import make_archives

make_archives(
    snakemake.params.adapter,
    dict(snakemake.output.items()),
    clips=snakemake.params.clips,
    seconds=snakemake.params.seconds,
    seed=snakemake.params.seed,
)
write_text(snakemake.params.record, snakemake.params.making)
