"""GISE-51: isolated sound events of 51 classes, from FSD50K."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

from audio_neurons.archives import members
from audio_neurons.datasets import DatasetError, Recording

SPLIT_OF_FOLDER = {
    "train": "train",
    "val": "valid", "valid": "valid", "validation": "valid",
    "eval": "test", "evaluation": "test", "test": "test",
}  # fmt: skip
# Upper ends of the published shares of train and valid: 12,465, 1,716 and 2,176 of 16,357 recordings.
TRAIN, VALID = 0.762, 0.867
LAYOUT = "[<any>/][<split>/]<class>/<name>.wav"


def recordings(archives: Mapping[str, Path]) -> Iterator[Recording]:
    """Recordings of ``[<any>/][<split>/]<class>/*.wav``, of any sampling rate; grouped by their source.

    What the archive's folders are called is written nowhere, so it is read off the paths. The class is
    the folder that a recording is in; the split is the nearest folder above that is called train, val,
    eval or the like, or ends so (``isolated_events_train``). Where no folder is, the split is drawn by
    a hash of the Freesound source, in the published proportions: one source is never in two splits.

    Parameters
    ----------
    archives
        ``archive``: ``isolated_events.tar.gz``.

    Raises
    ------
    DatasetError
        If a WAV file is in no class's folder, or some are below a split's folder and some are not.
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
                f"{LAYOUT}, with a split for all or for none"
            )
        source = re.match(r"\d+", file)
        group = source[0] if source else PurePosixPath(file).stem
        yield Recording(
            clip_id="/".join([*folders[above or 0 :], file]), data=data,
            split=(None if above is None else _split(folders[above])) or _drawn(group), group=group,
            labels={"event": folders[-1]},
        )  # fmt: skip


def _split(folder: str) -> str | None:
    """The split that a folder is called by, as a whole or at the end."""
    return SPLIT_OF_FOLDER.get(re.split("[_-]", folder.lower())[-1])


def _drawn(group: str) -> str:
    digest = hashlib.sha256(group.encode(errors="surrogateescape")).digest()
    share = int.from_bytes(digest[:8], "big") / 2**64
    return "train" if share < TRAIN else "valid" if share < VALID else "test"
