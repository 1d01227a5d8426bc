"""List the clips of AudioSet that are there."""

from pathlib import Path

from audio_neurons import runtime

runtime.start(snakemake.log[0], snakemake.threads, snakemake.rule, dict(snakemake.params.items()))

from audio_neurons.training.audioset import find

pool = snakemake.wildcards.pool
find(
    Path(snakemake.config["pools"][pool]["audioset"]["folder"]),
    snakemake.params.train,
    snakemake.output.recordings,
    snakemake.output.missing,
    max_missing=snakemake.params.max_missing,
    pool=pool,
)
