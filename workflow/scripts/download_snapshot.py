"""Download a model of the Hugging Face Hub: its configuration and weights."""

from audio_neurons.running import runtime

runtime.start(snakemake.log[0], snakemake.threads)

from audio_neurons.fetching.hub import fetch_snapshot

model = snakemake.wildcards.model
facts = snakemake.config["models"][model]["weights"]
fetch_snapshot(facts, snakemake.output[0], snakemake.params.lock, model)
