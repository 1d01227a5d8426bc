"""Train a model on synthetic recordings."""

import json

from audio_neurons.running import gpus, runtime

runtime.start(snakemake.log[0], snakemake.threads, snakemake.rule, dict(snakemake.params.items()))
gpus.claim(snakemake.resources.gpu)

from audio_neurons.running.gpus import pick_device
from audio_neurons.training import train

model = snakemake.wildcards.model
block = json.loads(snakemake.params.model)
# Not a parameter: it does not affect the trained weights.
block["training"]["checkpoint_minutes"] = snakemake.config["models"][model]["training"]["checkpoint_minutes"]
train(
    block,
    snakemake.input[0],
    snakemake.output.weights,
    snakemake.output.log,
    device=pick_device(snakemake.params.device),
    name=model,
)
