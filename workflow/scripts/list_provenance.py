"""List what a run is made of."""

import json

from audio_neurons import runtime

runtime.start(snakemake.log[0], snakemake.threads)

from audio_neurons.inventory import write_provenance

write_provenance(
    json.loads(snakemake.params.config),
    [*snakemake.input.results, *snakemake.params.files],
    snakemake.input.sources,
    snakemake.output[0],
)
