"""Draw how many neurons classes share, for every model side by side."""

import json

from audio_neurons import runtime

runtime.start(snakemake.log[0], snakemake.threads)

from audio_neurons import plotting

figure = plotting.sharing(
    list(snakemake.input), json.loads(snakemake.params.models), json.loads(snakemake.params.comparison)[0]
)
plotting.save(figure, snakemake.output.pdf, snakemake.output.png)
