"""Ablate the selected neurons of one model and task, and evaluate its probes again; or join what jobs did."""

import json
import sys

from audio_neurons.running import gpus, runtime

given, asked, out = snakemake.input, snakemake.params, dict(snakemake.output.items())
runtime.start(snakemake.log[0], snakemake.threads, snakemake.rule, dict(asked.items()))
gpus.claim(snakemake.resources.gpu)

from audio_neurons.ablation import parts

if asked.parts:
    parts.join(asked.parts, out)
    sys.exit()

from audio_neurons.ablation.ablation import Study, ablate_task
from audio_neurons.activations.extraction import load_encoder
from audio_neurons.settings.ablation import Conditions

name, part = snakemake.wildcards.model, snakemake.wildcards.get("part")
norm_stats = given.get("norm_stats")
encoder = load_encoder(name, json.loads(asked.model), given.get("weights"), asked.device, norm_stats)
ablate_task(
    encoder,
    Study(list(given.clips), probe=given.probe, **json.loads(asked.clips)),
    given.neurons,
    json.loads(asked.sets),
    list(given.get("lists", [])),
    Conditions.read(asked.settings),
    out,
    asked.selection_split,
    name=f"ablate {name} on {snakemake.wildcards.task}" + (f", part {part}" if part else ""),
    part=part,
)
