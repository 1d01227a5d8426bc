"""Write the table of what stays of classes without acoustics, over all tasks and models."""

import json

from audio_neurons.running import runtime

runtime.start(snakemake.log[0], snakemake.threads, snakemake.rule, dict(snakemake.params.items()))

from audio_neurons import tables
from audio_neurons.report import acoustics

given = snakemake.input
found = acoustics.table(
    list(given.classes), list(given.neurons), list(given.correlations), json.loads(snakemake.params.about)
)
tables.write_frame(snakemake.output.data, snakemake.output.csv, found)
