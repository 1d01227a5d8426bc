"""Fetch one archive of a dataset, and verify it."""

from audio_neurons import runtime

runtime.start(snakemake.log[0], snakemake.threads)

from audio_neurons.sources import Access, archives, fetch_archive

# Where from and how is no parameter: it does not make another archive.
config = snakemake.config
facts = archives(config["datasets"][snakemake.wildcards.dataset])[snakemake.params.role]
fetch_archive(facts, snakemake.output[0], Access(**config["download"]), snakemake.params.lock)
