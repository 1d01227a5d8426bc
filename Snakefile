# What do neurons listen to? From recordings to class-specific neurons, their sharing, and figures.
#
#   snakemake --cores N                                     the full reproduction
#   snakemake --cores N results/figures/genre.pdf           one figure and what it needs
#   snakemake --cores N downloads                           what needs a network, and nothing else
#   snakemake --cores N --configfile config/demo.yaml --directory demo    the embedded demo
from pathlib import Path

from snakemake.utils import min_version

min_version("9.19")

# A --configfile replaces the full reproduction rather than extending it.
if not workflow.overwrite_configfiles:

    configfile: str(Path(workflow.basedir) / "config" / "config.yaml")


report: "workflow/report/workflow.rst"


include: "workflow/rules/common.smk"
include: "workflow/rules/sources.smk"
include: "workflow/rules/clips.smk"
include: "workflow/rules/training.smk"
include: "workflow/rules/statistics.smk"
include: "workflow/rules/neurons.smk"
include: "workflow/rules/inference.smk"
include: "workflow/rules/ablation.smk"
include: "workflow/rules/figures.smk"
include: "workflow/rules/tables.smk"


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
        all_figures(),
        all_tables(),
        "results/summary.txt",
        "results/findings.html",
        "results/provenance.json",


rule downloads:
    input:
        all_downloads(),


rule figures:
    input:
        all_figures(),


rule clips:
    input:
        all_clips(),


rule inference:
    input:
        all_inference(),


rule ablations:
    input:
        all_ablations(),


onsuccess:
    announce()


onerror:
    explain(log)
