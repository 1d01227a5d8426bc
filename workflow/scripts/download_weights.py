"""Download a model's checkpoint, and extract it if it is inside a zip file."""

from audio_neurons.running import runtime

runtime.start(snakemake.log[0], snakemake.threads)

from audio_neurons.fetching.sources import Access, fetch_weights

config = snakemake.config
facts = config["models"][snakemake.wildcards.model]["weights"]
fetch_weights(facts, snakemake.output[0], Access(**config["download"]), snakemake.params.lock)
