"""Evaluation of a tagger: average precision of every class on the pool's evaluation set."""

from __future__ import annotations

from statistics import fmean

import numpy as np
import torch

from audio_neurons.running.runtime import tell
from audio_neurons.training import processes
from audio_neurons.training.stream import Stream
from audio_neurons.training.supervised import Supervised

CLIPS = 64  # per forward pass


def average_precision(scores: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Return average precision (C,) of scores (N, C) for targets (N, C) of zeros and ones.

    It is the sum over thresholds of precision times the gain in recall, where equal scores are one threshold
    (scikit-learn's ``average_precision_score``), and NaN for a class without clips.
    """
    found = np.full(scores.shape[1], np.nan)
    for number, (score, target) in enumerate(zip(scores.T, targets.T, strict=True)):
        if not target.any():
            continue
        order = np.argsort(-score, kind="stable")
        last = np.append(np.diff(score[order]) != 0, True)
        hits = np.cumsum(target[order], dtype=np.float64)[last]
        ranked = np.flatnonzero(last) + 1
        found[number] = np.sum(np.diff(hits, prepend=0) * hits / ranked) / hits[-1]
    return found


def evaluate(objective: Supervised, pool: Stream, step: int, name: str) -> list[dict]:
    """Return the rows of the table ``evaluation`` after ``step``: one per class in the evaluation set."""
    device = next(objective.parameters()).device
    objective.eval()
    scores, targets = [], []
    with torch.inference_mode():
        for batch in pool.evaluated(CLIPS, device):
            scores.append(objective.scores(batch.log_mel).cpu().numpy())
            targets.append(batch.targets.cpu().numpy())
    objective.train()
    none = np.zeros((0, len(pool.classes)), np.float32)
    shares = processes.gathered((np.concatenate([none, *scores]), np.concatenate([none, *targets])))
    every = [np.concatenate(part) for part in zip(*shares, strict=True)]
    precision, clips = average_precision(*every), every[1].sum(0)
    rows = [
        {"step": step, "class": c, "clips": int(n), "average_precision": float(p)}
        for c, n, p in zip(pool.classes, clips, precision, strict=True)
        if n
    ]
    if processes.rank() == 0:
        average = fmean(row["average_precision"] for row in rows)
        tell(f"{name} after {step} steps: mAP {average:.4f} over {len(rows)} classes")
    return rows
