"""Fetch one batch of a dataset that is many small files, and pack it."""

from audio_neurons import runtime

runtime.start(snakemake.log[0], snakemake.threads)

from audio_neurons.sources import Access, archives, fetch_batch

# Where from and how is no parameter: it does not make another archive.
config = snakemake.config
fetch_batch(
    archives(config["datasets"][snakemake.wildcards.dataset])[snakemake.params.role],
    int(snakemake.wildcards.batch),
    next(iter(snakemake.input), None),
    snakemake.output.tar,
    snakemake.output.missing,
    Access(**config["download"]),
    snakemake.params.lock,
)
