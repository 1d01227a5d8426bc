"""List the AudioSet clips that have a sound file, and those that are missing."""

from pathlib import Path

from audio_neurons.running import runtime

runtime.start(snakemake.log[0], snakemake.threads, snakemake.rule, dict(snakemake.params.items()))

from audio_neurons.training.audioset import find

pool = snakemake.wildcards.pool
audioset = snakemake.config["pools"][pool]["audioset"]
find(
    Path(audioset["folder"]),
    snakemake.params.train,
    snakemake.output.recordings,
    snakemake.output.missing,
    # Not a parameter: it decides whether the job fails, not the contents of the list.
    max_missing=audioset["max_missing"],
    pool=pool,
)
