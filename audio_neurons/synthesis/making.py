"""Synthetic recordings for the embedded demo: stand-ins for eight datasets, and a pool to train on.

Speech comes from eSpeak NG, instruments from a SoundFont, everything else from numpy. Recordings
are packed in the upstream archives' own layouts, so that the demo runs through the same adapters,
rules and figures as the real data. They are no evidence about real recordings.

eSpeak NG (GPL-3.0-or-later) and the SoundFont TimGM6mb (GPL-2.0-only) are installed by
``pip install 'audio-neurons[demo]'`` and used only here; neither they nor what they render is
distributed with this package.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

STAND_INS = ("cremad", "esc50", "gise51", "gtzan", "nsynth", "surge", "voxceleb1", "voxforge")


def make_archives(
    dataset: str, archives: Mapping[str, Path | Sequence[Path]], *, clips: int, seconds: float, seed: int
) -> None:
    """Write all archives of a dataset in their upstream layout.

    Parameters
    ----------
    dataset
        Name of an adapter, one of `STAND_INS`.
    archives
        Role → path of the archive; a list of one path for a role with many small files.
    clips
        Number of recordings, about 70, 10 and 20 per cent of them in train, valid and test; ESC-50
        has five equal folds. With sixty, every class is in every split.
    seconds
        Nominal length; one recording in ten is a little shorter, the others up to a fifth longer.
    seed
        Equal seeds give equal bytes.

    Raises
    ------
    ValueError
        If the dataset has no stand-in, ``clips`` is too small, or a list has more than one path.
    DemoPackageMissing
        If a required package of the extra ``demo`` is not installed.
    """
    from audio_neurons.synthesis.layouts import LAYOUTS

    if dataset not in STAND_INS:
        raise ValueError(f"the demo has no recordings for '{dataset}'; it has {', '.join(STAND_INS)}")
    paths = {
        role: Path(given) if isinstance(given, str | os.PathLike) else [Path(path) for path in given]
        for role, given in archives.items()
    }
    LAYOUTS[dataset](paths, clips, seconds, seed)


def make_pool(path: Path, *, clips: int, seconds: float, seed: int) -> None:
    """Write the training pool: a ``clips`` table with comma-joined coarse ``tags`` as its label.

    The parameters are those of :func:`make_archives`.
    """
    from audio_neurons.synthesis import pool

    pool.write(Path(path), clips, seconds, seed)
