"""Compare the class-specific neurons of classes, within one task or between two."""

import json

from audio_neurons.running import runtime

runtime.start(snakemake.log[0], snakemake.threads, snakemake.rule, dict(snakemake.params.items()))

from audio_neurons.neurons.sharing import compare_tasks

compare_tasks(list(snakemake.input), json.loads(snakemake.params.pairs), snakemake.output[0])
