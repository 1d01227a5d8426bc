"""Fetch a model's checkpoint, out of the zip that holds it if need be."""

from audio_neurons import runtime

runtime.start(snakemake.log[0], snakemake.threads)

from audio_neurons.sources import Access, fetch_weights

config = snakemake.config
facts = config["models"][snakemake.wildcards.model]["weights"]
fetch_weights(facts, snakemake.output[0], Access(**config["download"]), snakemake.params.lock)
