"""List the clips of AudioSet that are there."""

from pathlib import Path

from audio_neurons import runtime

runtime.start(snakemake.log[0], snakemake.threads, snakemake.rule, dict(snakemake.params.items()))

from audio_neurons.training.audioset import find

pool = snakemake.wildcards.pool
audioset = snakemake.config["pools"][pool]["audioset"]
find(
    Path(audioset["folder"]),
    snakemake.params.train,
    snakemake.output.recordings,
    snakemake.output.missing,
    # No parameter: it decides whether there is a list, not what is in it.
    max_missing=audioset["max_missing"],
    pool=pool,
)
