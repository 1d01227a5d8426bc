"""List the feed-forward networks of one model: of which block each layer is."""

import json

from audio_neurons.running import runtime

runtime.start(snakemake.log[0], snakemake.threads, snakemake.rule, dict(snakemake.params.items()))

from audio_neurons.activations.extraction import load_encoder
from audio_neurons.models import networks

name = snakemake.wildcards.model
encoder = load_encoder(name, json.loads(snakemake.params.model), snakemake.input.get("weights"), "cpu")
networks.write(encoder, snakemake.output[0])
