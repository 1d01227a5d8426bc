"""The checked configuration, and what rules ask of it. Paths are spelt in rules only.

Params that may hold text of a user's are functions: braces in plain text are taken for wildcards.
"""

import os
import re
import sys
import time
from functools import partial

from audio_neurons import config as configuration
from audio_neurons import datasets, preflight, sources
from audio_neurons.config import canonical
from audio_neurons.datasets import custom
from audio_neurons.digest import code_digest
from snakemake.exceptions import WorkflowError

try:
    config = configuration.complete(
        config,
        Path(workflow.basedir) / "workflow" / "schemas" / "config.schema.yaml",
        # A job of a run has the run's own configuration, and checks nothing again.
        workflow.configfiles if workflow.is_main_process else [],
    )
except configuration.ConfigError as error:
    raise WorkflowError(str(error)) from None

if not (workflow.dryrun or os.access(".", os.W_OK)):
    raise WorkflowError(
        f"{Path().resolve()}: the working directory may not be written; allow it, or give another one "
        "with --directory"
    )

DATASETS = config["datasets"]
TASKS = config["tasks"]
MODELS = config["models"]
COMPARISONS = config["comparisons"]
SELECTORS = config["selection"]["selectors"]
SHARD_TABLES = ("cells", "counts", "units", "top_clips")
MADE_HERE = [name for name, block in DATASETS.items() if "synthesis" in block]
FETCHED = [name for name, block in DATASETS.items() if "synthesis" not in block and "files" not in block]


def any_of(names):
    """Regular expression of exactly these names; one that matches nothing where there are none."""
    return "|".join(names) or "(?!)"


wildcard_constraints:
    dataset=any_of(DATASETS),
    task=any_of(TASKS),
    model=any_of(MODELS),
    comparison=any_of(COMPARISONS),
    selector=any_of(SELECTORS),
    shard=r"\d{3}",


include: "common/datasets.smk"
include: "common/models.smk"
include: "common/statistics.smk"
include: "common/neurons.smk"
include: "common/ablation.smk"
include: "common/figures.smk"
include: "common/tables.smk"
include: "common/provenance.smk"
