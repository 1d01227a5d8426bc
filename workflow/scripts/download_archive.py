"""Fetch one archive of a dataset, and verify it."""

import json

from audio_neurons import runtime

runtime.start(snakemake.log[0], snakemake.threads)

from audio_neurons.sources import fetch_archive

fetch_archive(json.loads(snakemake.params.archive), snakemake.output[0])
