"""List what the clips of a dataset were made of."""

from audio_neurons import runtime

runtime.start(snakemake.log[0], snakemake.threads)

from audio_neurons.inventory import write_files

write_files(snakemake.params.files, snakemake.output[0])
