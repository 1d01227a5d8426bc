"""ESC-50: 2,000 environmental sounds in 50 categories and 5 folds."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib import resources
from pathlib import Path

from audio_neurons.archives import members
from audio_neurons.datasets import DatasetError, Recording
from audio_neurons.datasets._layout import matched, member, rows, tail

MANIFEST = "esc50_md5.csv"


def recordings(
    archives: Mapping[str, Path], *, test_fold: int = 5, verify_members: bool = False
) -> Iterator[Recording]:
    """Recordings of ``<any>/audio/*.wav`` as listed in ``<any>/meta/esc50.csv``.

    The corpus has folds and no splits, and is meant to be cross-validated over its five folds.
    Neurons must not be selected on the clips that later score an ablation, hence one held-out fold.

    Parameters
    ----------
    archives
        ``archive``: the repository's zip, whatever its top folder is called.
    test_fold
        The fold whose clips form the test split; all others are training.
    verify_members
        Compare recordings that carry upstream's names with upstream's MD5.

    Raises
    ------
    DatasetError
        If the layout is another one, or a recording is not upstream's.
    """
    path = archives["archive"]
    where = f"{path}: meta/esc50.csv"
    columns = ("filename", "fold", "category", "src_file")
    listed = {}
    for row in rows(member(path, "meta/esc50.csv"), columns, where):
        if not row["fold"].isdecimal():
            raise DatasetError(f"{where}: fold '{row['fold']}' of {row['filename']} is not a number")
        fold = int(row["fold"])
        listed[row["filename"]] = Recording(
            clip_id=row["filename"], data=b"", split="test" if fold == test_fold else "train",
            group=row["src_file"], labels={"category": row["category"]}, fold=fold,
        )  # fmt: skip
    folds = sorted({recording.fold for recording in listed.values()})
    if test_fold not in folds:
        raise DatasetError(f"{where}: no fold {test_fold} (`test_fold`) among the folds {folds}")
    files = members(path, ".wav")
    yield from matched(listed, _verified(files, path) if verify_members else files, tail, path)


def _verified(files: Iterable[tuple[str, bytes]], path: Path) -> Iterator[tuple[str, bytes]]:
    expected = manifest()
    for name, data in files:
        actual = hashlib.md5(data, usedforsecurity=False).hexdigest()
        if expected.get(tail(name), actual) != actual:
            raise DatasetError(
                f"{path}: {name} is not ESC-50's recording of that name: its md5 is {actual}, expected "
                f"{expected[tail(name)]}. Delete the archive and run again to download it anew; if it is "
                "a converted copy on purpose, set the dataset's option `verify_members: false`."
            )
        yield name, data


@cache
def manifest() -> dict[str, str]:
    """MD5 of each of upstream's recordings, by file name."""
    data = resources.files(__package__).joinpath(MANIFEST).read_bytes()
    return {row["filename"]: row["md5"] for row in rows(data, ("filename", "md5"), MANIFEST)}
