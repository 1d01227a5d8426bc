"""Download one batch of a dataset that consists of many small files, and pack it."""

from audio_neurons.running import runtime

runtime.start(snakemake.log[0], snakemake.threads)

from audio_neurons.fetching.sources import Access, archives, fetch_batch

# Download settings are not parameters: they do not change the archive.
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
