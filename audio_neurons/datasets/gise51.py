"""GISE-51: isolated sound events of 51 classes, from FSD50K."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

from audio_neurons.archives import members
from audio_neurons.datasets import DatasetError, Recording
from audio_neurons.datasets._layout import tail

SPLIT_OF_FOLDER = {"train": "train", "val": "valid", "valid": "valid", "eval": "test", "test": "test"}


def recordings(archives: Mapping[str, Path]) -> Iterator[Recording]:
    """Recordings of ``[<any>/]{train,val,eval}/<class>/*.wav``; grouped by their Freesound source.

    Parameters
    ----------
    archives
        ``archive``: ``isolated_events.tar.gz``.

    Raises
    ------
    DatasetError
        If a WAV file lies elsewhere.
    """
    path = archives["archive"]
    for name, data in members(path, ".wav"):
        folder, _, event = tail(name, 3).rpartition("/")[0].partition("/")
        if folder not in SPLIT_OF_FOLDER or not event:
            raise DatasetError(f"{path}: {name}: looked for */{{train,val,eval}}/<class>/<name>.wav")
        stem = PurePosixPath(name).stem
        source = re.match(r"\d+", stem)
        yield Recording(
            clip_id=tail(name, 3), data=data, split=SPLIT_OF_FOLDER[folder],
            group=source[0] if source else stem, labels={"event": event},
        )  # fmt: skip
