"""GISE-51: isolated sound events of 51 classes, from FSD50K."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

from audio_neurons.datasets.archives import members
from audio_neurons.datasets.registry import DatasetError, Recording

SPLIT_OF_FOLDER = {
    "train": "train",
    "val": "valid", "valid": "valid", "validation": "valid",
    "eval": "test", "evaluation": "test", "test": "test",
}  # fmt: skip
# Cumulative published shares of train and valid: 12,465, 1,716 and 2,176 (test) of 16,357 recordings.
TRAIN, VALID = 0.762, 0.867
LAYOUT = "[<any>/][<split>/]<class>/<name>.wav"


def recordings(archives: Mapping[str, Path]) -> Iterator[Recording]:
    """Yield recordings of ``[<any>/][<split>/]<class>/*.wav``, grouped by their Freesound source.

    The archive's layout is not documented, so class and split are read from the paths. The class is the
    folder of the recording. The split is the nearest folder above whose name is, or ends in, train, val,
    eval or a synonym (``isolated_events_train``). Without such a folder, a hash of the Freesound source
    decides the split, in the published proportions; a source is never in two splits.

    Parameters
    ----------
    archives
        ``archive``: ``isolated_events.tar.gz``.

    Raises
    ------
    DatasetError
        If a WAV file is not in a class folder, or only some files are below a split folder.
    """
    path = archives["archive"]
    examples: dict[bool, str] = {}
    for name, data in members(path, ".wav"):
        *folders, file = PurePosixPath("/", name).parts[1:]
        if not folders or ".." in folders or (folders[-1] != "Train" and _split(folders[-1])):
            raise DatasetError(f"{path}: {name}: looked for {LAYOUT}")
        above = next((i for i in reversed(range(len(folders) - 1)) if _split(folders[i])), None)
        examples.setdefault(above is None, name)
        if len(examples) == 2:
            raise DatasetError(
                f"{path}: {examples[False]} is below a split's folder, {examples[True]} is not; looked for "
                f"{LAYOUT}, with a split folder for all files or for none"
            )
        source = re.match(r"\d+", file)
        group = source[0] if source else PurePosixPath(file).stem
        yield Recording(
            clip_id="/".join([*folders[above or 0 :], file]), data=data,
            split=(None if above is None else _split(folders[above])) or _drawn(group), group=group,
            labels={"event": folders[-1]},
        )  # fmt: skip


def _split(folder: str) -> str | None:
    """Return the split that a folder's name, or its last word, means."""
    return SPLIT_OF_FOLDER.get(re.split("[_-]", folder.lower())[-1])


def _drawn(group: str) -> str:
    digest = hashlib.sha256(group.encode(errors="surrogateescape")).digest()
    share = int.from_bytes(digest[:8], "big") / 2**64
    return "train" if share < TRAIN else "valid" if share < VALID else "test"
