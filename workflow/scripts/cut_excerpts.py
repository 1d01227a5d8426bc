"""Cut the excerpts of one dataset's clips, as sound and as spectrogram."""

from audio_neurons.running import runtime

runtime.start(snakemake.log[0], snakemake.threads, snakemake.rule, dict(snakemake.params.items()))

from audio_neurons.recordings.excerpts import cut

cut(
    list(snakemake.input.clips),
    list(snakemake.input.examples),
    snakemake.params.clip_seconds,
    snakemake.params.rate,
    snakemake.params.padded,
    snakemake.params.sounds,
    snakemake.params.labels,
    snakemake.output.excerpts,
    snakemake.output.shown,
    name=f"excerpts of {snakemake.wildcards.dataset}",
)
