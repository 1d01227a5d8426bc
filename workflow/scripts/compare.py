"""Compare the class-specific neurons of the classes of one or two tasks."""

import json

from audio_neurons import runtime

runtime.start(snakemake.log[0], snakemake.threads, snakemake.rule, dict(snakemake.params.items()))

from audio_neurons.sharing import compare_tasks

compare_tasks(list(snakemake.input), json.loads(snakemake.params.pairs), snakemake.output[0])
