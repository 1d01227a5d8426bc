"""What finished jobs took, by the records that a run keeps of each of them (``logs/benchmarks``)."""

from __future__ import annotations

import csv
from pathlib import Path

RECORDS = Path("logs/benchmarks")
# Folder of records, which is the rule's name or begins with it → stage.
STAGE_OF = {
    "prepare": "preparation", "check": "preparation", "synthesize": "preparation",
    "compare_recordings": "preparation",
    "train": "training", "extract": "extraction", "merge": "extraction", "list_networks": "extraction",
    "estimate_medians": "extraction", "measure_norm_stats": "extraction",
    "select": "selection", "compare": "selection", "infer": "inference", "infer_sharing": "inference",
    "correlate": "extraction", "partial_out": "inference",
    "probe": "probes", "ablate": "ablation", "ablate_part": "ablation", "screen": "screening",
    "find_examples": "atlas", "find_examples_together": "atlas", "cut_excerpts": "atlas", "atlas": "atlas",
    "draw": "figures and tables", "tabulate": "figures and tables", "summarize": "figures and tables",
}  # fmt: skip


def took() -> dict[str, tuple[float, int]]:
    """Return stage → processor time (s) and number of the jobs whose records are in the working directory.

    A job that ended before Snakemake first looked at it has no processor time; its wall time counts.
    """
    found: dict[str, tuple[float, int]] = {}
    for file in sorted(RECORDS.rglob("*.tsv")):
        rule = file.relative_to(RECORDS).parts[0].removesuffix(".tsv")
        stage = STAGE_OF.get(rule) or STAGE_OF.get(rule.partition("_")[0])
        if stage is None:
            continue
        with open(file, newline="", encoding="utf-8") as lines:
            for row in csv.DictReader(lines, delimiter="\t"):
                seconds, jobs = found.get(stage, (0.0, 0))
                found[stage] = seconds + _seconds(row), jobs + 1
    return found


def _seconds(row: dict[str, str]) -> float:
    try:
        spent = float(row["cpu_time"])
    except (KeyError, ValueError):
        spent = 0.0
    return spent if spent > 0 else float(row["s"])
