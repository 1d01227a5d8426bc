"""ESC-50: 2,000 environmental sounds in 50 categories and 5 folds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

from audio_neurons.datasets._layout import checksums, matched, member, rows, tail, verified
from audio_neurons.datasets.archives import members
from audio_neurons.datasets.registry import DatasetError, Recording, source

MANIFEST = "esc50_md5.csv"


def recordings(
    archives: Mapping[str, Path], *, test_fold: int = 5, verify_members: bool = False
) -> Iterator[Recording]:
    """Yield recordings of ``<any>/audio/*.wav`` as listed in ``<any>/meta/esc50.csv``.

    ESC-50 has no splits; it is meant for cross-validation over its five folds. One fold is held out as
    the test split, because neurons must not be selected on the clips that later score an ablation.
    The folds are kept although four Freesound sources span two of them (131943 and 134049 folds 2
    and 3, 209698 and 234879 folds 4 and 5); clips of one source have the same group.

    Parameters
    ----------
    archives
        ``archive``: zip of the repository, with any name of its top folder.
    test_fold
        Fold whose clips form the test split; all others are training clips.
    verify_members
        Compare recordings that have upstream's names with upstream's MD5, and their rows of the table
        with the fields encoded in the names.

    Raises
    ------
    DatasetError
        If the layout is unexpected, or a recording is not upstream's.
    """
    path = archives["archive"]
    where = f"{path}: meta/esc50.csv"
    columns = ("filename", "fold", "category", "src_file")
    listed = {}
    for row in rows(member(path, "meta/esc50.csv"), columns, where):
        if not row["fold"].isdecimal():
            raise DatasetError(f"{where}: fold '{row['fold']}' of {row['filename']} is not a number")
        if verify_members and row["filename"] in checksums(MANIFEST):
            _check(row, where)
        fold = int(row["fold"])
        listed[row["filename"]] = Recording(
            clip_id=row["filename"], data=b"", split="test" if fold == test_fold else "train",
            group=row["src_file"], labels={"category": row["category"]}, fold=fold,
        )  # fmt: skip
    folds = sorted({recording.fold for recording in listed.values()})
    if test_fold not in folds:
        raise DatasetError(f"{where}: no fold {test_fold} (`test_fold`) among the folds {folds}")
    found = matched(listed, members(path, ".wav"), tail, path)
    yield from verified(found, MANIFEST, path) if verify_members else found


def _check(row: Mapping[str, str], where: str) -> None:
    """Raise if a row contradicts its file name, <fold>-<source>-<take>-<target>.wav."""
    fold, origin, _, target = PurePosixPath(row["filename"]).stem.split("-")
    told = fold, origin, source("esc50")["classes"]["category"][int(target)]
    if told != (row["fold"], row["src_file"], row["category"]):
        raise DatasetError(
            f"{where}: {row['filename']} is of fold {row['fold']}, source {row['src_file']} and category "
            f"{row['category']}; its name says {', '.join(told)}. Delete the archive and run again to "
            "download it anew; if you changed the table on purpose, set the option `verify_members: false`."
        )
