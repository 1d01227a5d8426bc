"""Write the atlas: pages on which neurons are seen and heard."""

import json

from audio_neurons.running import runtime

runtime.start(snakemake.log[0], snakemake.threads, snakemake.rule, dict(snakemake.params.items()))

from audio_neurons.report.atlas.building import build

build(json.loads(snakemake.params.about), snakemake.output.index)
