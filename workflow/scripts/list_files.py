"""List the archives and clips of a dataset."""

from audio_neurons.running import runtime

runtime.start(snakemake.log[0], snakemake.threads)

from audio_neurons.report.inventory import write_files

write_files(snakemake.params.files, snakemake.output[0])
