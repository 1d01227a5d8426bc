"""Train a model on AudioSet, in one process or in several."""

import json
from pathlib import Path

from audio_neurons.running import gpus, runtime

runtime.start(snakemake.log[0], snakemake.threads, snakemake.rule, dict(snakemake.params.items()))
model = snakemake.wildcards.model
block = json.loads(snakemake.params.model)
# Not a parameter: it does not affect the trained weights.
block["training"]["checkpoint_minutes"] = snakemake.config["models"][model]["training"]["checkpoint_minutes"]
# Not the rule's number of GPUs, which Snakemake reduces to the limit of --resources.
gpus.claim(block["training"]["processes"] if snakemake.resources.gpu else 0)

from audio_neurons.running.gpus import pick_device
from audio_neurons.training.launch import launch

launch(
    block,
    [Path(part) for part in snakemake.input],
    Path(snakemake.output.weights),
    Path(snakemake.output.log),
    Path(snakemake.output.evaluation),
    device=pick_device(snakemake.params.device),
    name=model,
    workers=snakemake.threads - 1,
)
