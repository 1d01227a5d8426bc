"""Run several models over one shard of a dataset."""

from audio_neurons.running import gpus, runtime

runtime.start(snakemake.log[0], snakemake.threads, snakemake.rule, dict(snakemake.params.items()))
gpus.claim(snakemake.resources.gpu)

from audio_neurons.activations.together import extract_all

extract_all(
    snakemake.params.names,
    snakemake.params.models,
    dict(snakemake.input.items()),
    dict(snakemake.output.items()),
    snakemake.params.settings,
    snakemake.params.device,
    name=f"all models on {snakemake.wildcards.dataset}",
    workers=snakemake.threads,
)
