"""What finished jobs took, by the last lines of their logs."""

from __future__ import annotations

from pathlib import Path

from audio_neurons.running.runtime import TOOK

LOGS = Path("logs")
# Folder of logs, which is the rule's name or begins with it → stage.
STAGE_OF = {
    "prepare": "preparation", "check": "preparation", "synthesize": "preparation",
    "compare_recordings": "preparation", "make_pool": "preparation",
    "train": "training", "extract": "extraction", "merge": "extraction", "list_networks": "extraction",
    "estimate_medians": "extraction", "measure_norm_stats": "extraction",
    "select": "selection", "compare": "selection", "infer": "inference", "infer_sharing": "inference",
    "correlate": "extraction", "partial_out": "inference",
    "probe": "probes", "ablate": "ablation", "ablate_part": "ablation", "screen": "screening",
    "find_examples": "atlas", "find_examples_together": "atlas", "cut_excerpts": "atlas", "atlas": "atlas",
    "draw": "figures and tables", "tabulate": "figures and tables", "summarize": "figures and tables",
}  # fmt: skip


def took() -> dict[str, tuple[float, int]]:
    """Return stage → processor time (s) and number of finished jobs, by the logs in the working directory.

    Snakemake's records (``logs/benchmarks``) look at a job from time to time only, and miss its end.
    """
    found: dict[str, tuple[float, int]] = {}
    for file in sorted(LOGS.rglob("*.log")):
        rule = file.relative_to(LOGS).parts[0].removesuffix(".log")
        stage = STAGE_OF.get(rule) or STAGE_OF.get(rule.partition("_")[0])
        told = TOOK.findall(file.read_text(encoding="utf-8", errors="replace")) if stage else []
        if stage and told:
            seconds, jobs = found.get(stage, (0.0, 0))
            found[stage] = seconds + float(told[-1]), jobs + 1
    return found
