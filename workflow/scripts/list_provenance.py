"""Write the provenance of a run: configuration, code and files."""

import json

from audio_neurons.running import runtime

runtime.start(snakemake.log[0], snakemake.threads)

from audio_neurons.report.inventory import write_provenance

write_provenance(
    json.loads(snakemake.params.config),
    [*snakemake.input.results, *snakemake.params.files],
    snakemake.input.sources,
    snakemake.output[0],
)
