"""Find the clips that stand for the neurons of several models in one dataset."""

from audio_neurons.running import gpus, runtime

runtime.start(snakemake.log[0], snakemake.threads, snakemake.rule, dict(snakemake.params.items()))
gpus.claim(snakemake.resources.gpu)

from audio_neurons.activations.together import find_all

find_all(
    snakemake.params.names,
    snakemake.params.models,
    dict(snakemake.input.items()),
    dict(snakemake.output.items()),
    snakemake.params.labels,
    snakemake.params.settings,
    snakemake.params.drawn,
    snakemake.params.device,
    of=snakemake.wildcards.dataset,
)
