# What do neurons listen to? From recordings to class-specific neurons, their sharing, and figures.
#
#   snakemake --cores N                                     the full reproduction
#   snakemake --cores N results/figures/genre.pdf           one figure and what it needs
#   snakemake --cores N downloads                           only the downloads
#   snakemake --cores N --configfile config/demo.yaml --directory demo    the embedded demo
from pathlib import Path

from audio_neurons.running.runtime import spare_searches
from snakemake.utils import min_version

min_version("9.19")
spare_searches()

# A --configfile replaces the full reproduction rather than extending it.
if not workflow.overwrite_configfiles:

    configfile: str(Path(workflow.basedir) / "config" / "config.yaml")


report: "workflow/report/workflow.rst"


include: "workflow/rules/study.smk"
include: "workflow/rules/fetching.smk"
include: "workflow/rules/synthesis.smk"
include: "workflow/rules/recordings.smk"
include: "workflow/rules/training.smk"
include: "workflow/rules/activations.smk"
include: "workflow/rules/neurons.smk"
include: "workflow/rules/inference.smk"
include: "workflow/rules/ablation.smk"
include: "workflow/rules/atlas.smk"
include: "workflow/rules/report.smk"


localrules:
    all,
    downloads,
    figures,
    clips,
    inference,
    ablations,


rule all:
    default_target: True
    input:
        study.results.figures(),
        study.results.tables(),
        paths.SUMMARY,
        paths.FINDINGS,
        paths.PROVENANCE,
        study.atlas.pages(),


rule downloads:
    input:
        study.downloads(),


rule figures:
    input:
        study.results.figures(),


rule clips:
    input:
        study.datasets.all_clips(),


rule inference:
    input:
        study.tasks.all_inference(),


rule ablations:
    input:
        study.tasks.all_ablations(),


onstart:
    accompany()


onsuccess:
    announce()


onerror:
    explain(log)
