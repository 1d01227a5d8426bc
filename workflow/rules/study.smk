"""The study that the configuration describes, its notices, and its wildcard constraints.

Params that may contain a user's text are functions: Snakemake would take braces in a string for wildcards.
"""

import os
import sys
from functools import partial

from audio_neurons.running import whole
from audio_neurons.running.digest import code_digest
from audio_neurons.settings import serialise
from audio_neurons.study import ConfigError, Study, complete, paths
from audio_neurons.study.results import OVERALL
from snakemake.exceptions import WorkflowError

try:
    # A job gets the run's complete configuration; only the main process checks the configuration files.
    told = (workflow.configfiles, workflow.config_settings.config) if workflow.is_main_process else ()
    config = complete(config, *told)
    study = Study(config, Path(workflow.basedir))
except ConfigError as error:
    raise WorkflowError(str(error)) from None

if not (workflow.dryrun or os.access(".", os.W_OK)):
    raise WorkflowError(
        f"{Path().resolve()}: the working directory may not be written; allow it, or give another one "
        "with --directory"
    )

if workflow.is_main_process:
    for _notice in study.notices():
        print(f"{_notice}\n", file=sys.stderr)
if not study.tasks.here:
    raise WorkflowError("No task is left to do: provide the files listed above, or configure other tasks.")


def any_of(names):
    """Return a regular expression that matches exactly these names, and nothing if there are none."""
    return "|".join(names) or "(?!)"


wildcard_constraints:
    dataset=any_of(study.datasets),
    task=any_of(study.config.tasks),
    model=any_of(study.models),
    comparison=any_of(study.config.comparisons),
    selector=any_of(study.config.selection.selectors),
    shard=r"\d{3}",
    part=r"\d{3}-of-\d{3}",


def without_traceback(function):
    """Wrap an input or params function so that Snakemake prints its errors without a traceback."""

    def asked(wildcards):
        try:
            return function(wildcards)
        except ConfigError as error:
            raise WorkflowError(str(error)) from None

    return asked


def weights(wildcards):
    """Return the weights of a model; of those that were not made here the content counts, a parameter."""
    files = study.models.weights(wildcards)
    return ancient(files) if study.models.weights_by_content(wildcards) else files


def announce():
    """Print the summary after a run that makes it; after a run for other targets it may be outdated."""
    summary = Path(paths.SUMMARY)
    asked = set(workflow.dag_settings.targets) - {"all", str(summary)}
    if summary.is_file() and not asked:
        print(summary.read_text(encoding="utf-8"))
        for name in study.datasets.wanted:
            print(f"Left out, since its archives are missing: {name} (see the beginning of this output)")
        print(f"Findings: {summary.parent.resolve() / 'findings.html'}")
        print(f"Figures:  {summary.parent.resolve() / 'figures'}")


def accompany():
    """Tell during a run how far all of it is."""
    jobs = [job for job in workflow.dag.needrun_jobs() if job.benchmark]
    whole.watch({Path(job.benchmark): Path(job.benchmark).parts[2].removesuffix(".tsv") for job in jobs})


def explain(log):
    """Print an explanation for jobs that were killed and could not report the reason themselves."""
    told = [Path(file).read_text(encoding="utf-8", errors="replace") for file in log]
    if any("Signals.SIGKILL" in text for text in told):
        print(
            "A job was killed from outside (SIGKILL), as the system does when memory runs out: run fewer jobs "
            "at a time (--cores). What is finished is kept.",
            file=sys.stderr,
        )
