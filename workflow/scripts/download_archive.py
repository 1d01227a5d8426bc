"""Download and verify one archive of a dataset."""

from audio_neurons.running import runtime

runtime.start(snakemake.log[0], snakemake.threads)

from audio_neurons.fetching.sources import Access, archives, fetch_archive

# Download settings are not parameters: they do not change the archive.
config = snakemake.config
facts = archives(config["datasets"][snakemake.wildcards.dataset])[snakemake.params.role]
fetch_archive(facts, snakemake.output[0], Access(**config["download"]), snakemake.params.lock)
