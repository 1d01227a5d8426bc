"""Decode one shard of the AudioSet clips."""

from pathlib import Path

from audio_neurons.running import runtime

runtime.start(snakemake.log[0], snakemake.threads, snakemake.rule, dict(snakemake.params.items()))

from audio_neurons.training.audioset import pack

pool = snakemake.wildcards.pool
pack(
    Path(snakemake.config["pools"][pool]["audioset"]["folder"]),
    snakemake.input[0],
    snakemake.output.part,
    snakemake.output.rejected,
    shard=int(snakemake.wildcards.shard),
    shards=snakemake.params.shards,
    # Not a parameter: it decides whether the job fails, not the contents of the clips.
    max_rejected=snakemake.config["preparation"]["max_rejected"],
    workers=snakemake.threads,
    name=pool,
)
