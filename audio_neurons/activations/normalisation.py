"""Mean and standard deviation of a dataset's log-mel, by which an encoder of spectrograms may normalise it.

EVAR normalises so for AST and for M2D (nttcslab/eval-audio-repr, ``calculate_norm_stats`` in ``ar_base.py``):
over all values of the log-mel of about 5,000 training clips, cropped or filled up with silence to the clips'
length. Its running means forget the first batch; here every clip counts.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from math import fsum, sqrt
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from audio_neurons import tables
from audio_neurons.models.encoder import Encoder, numerics
from audio_neurons.recordings.clips import ClipsError, batches, drawn
from audio_neurons.running.runtime import Meter, tell

CLIPS, SEED = 5_000, 0  # at most so many training clips


def measure(
    encoder: Encoder,
    parts: Sequence[str | Path],
    clip_seconds: float,
    out: str | os.PathLike,
    name: str = "norm_stats",
) -> None:
    """Run the front end over training clips of a dataset's parts, and write the ``norm_stats`` table.

    Clips are converted one by one and the sums are rounded once, so that no order and no division into parts
    changes the result.

    Raises
    ------
    ClipsError
        If there are no clips of the training split, or their log-mel does not vary.
    """
    frame = pd.concat([tables.read(part, "clips", ["clip_id", "split"]) for part in parts])
    names = drawn(frame, CLIPS, SEED, parts[0])
    samples = round(clip_seconds * encoder.sample_rate)
    sums, squares, size = [], [], 0
    meter = Meter(len(names), name, "clips")
    with torch.inference_mode(), numerics(encoder, "fp32"):
        for some, wave in batches(parts, names, samples, 1, encoder.sample_rate):
            mel = encoder.log_mel(torch.from_numpy(wave)).numpy().astype(np.float64)
            sums.append(mel.sum())
            squares.append(np.square(mel).sum())
            size += mel.size
            meter.add(len(some))
    meter.finish()
    mean = fsum(sums) / size
    std = sqrt(max(fsum(squares) / size - mean**2, 0.0))
    if not std > 0:
        raise ClipsError(f"{parts[0]}: the log-mel of the training clips is constant; leave norm_stats out")
    tell(f"{name}: mean {mean:.4f}, standard deviation {std:.4f}, over {len(names)} training clips")
    tables.write(out, "norm_stats", pd.DataFrame({"mean": [mean], "std": [std], "clips": [len(names)]}))


def read(path: str | os.PathLike) -> tuple[float, float]:
    """Read mean and standard deviation from a table, rounded to float32 as those of a checkpoint are."""
    (row,) = tables.read(path, "norm_stats").to_dict("records")
    return float(np.float32(row["mean"])), float(np.float32(row["std"]))
