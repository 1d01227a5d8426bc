"""ESC-50: 2,000 environmental sounds in 50 categories and 5 folds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

from audio_neurons.archives import members
from audio_neurons.datasets import DatasetError, Recording, source
from audio_neurons.datasets._layout import checksums, matched, member, rows, tail, verified

MANIFEST = "esc50_md5.csv"


def recordings(
    archives: Mapping[str, Path], *, test_fold: int = 5, verify_members: bool = False
) -> Iterator[Recording]:
    """Recordings of ``<any>/audio/*.wav`` as listed in ``<any>/meta/esc50.csv``.

    The corpus has folds and no splits, and is meant to be cross-validated over its five folds.
    Neurons must not be selected on the clips that later score an ablation, hence one held-out fold.
    Its folds are kept as they are, although four Freesound sources span two of them (131943 and
    134049 folds 2 and 3, 209698 and 234879 folds 4 and 5): what they share is their group.

    Parameters
    ----------
    archives
        ``archive``: the repository's zip, whatever its top folder is called.
    test_fold
        The fold whose clips form the test split; all others are training.
    verify_members
        Compare recordings that carry upstream's names with upstream's MD5, and their lines of the table
        with what the names say.

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
    """Upstream's names are <fold>-<source>-<take>-<target>.wav, and must say what its table says."""
    fold, origin, _, target = PurePosixPath(row["filename"]).stem.split("-")
    told = fold, origin, source("esc50")["classes"]["category"][int(target)]
    if told != (row["fold"], row["src_file"], row["category"]):
        raise DatasetError(
            f"{where}: {row['filename']} is of fold {row['fold']}, source {row['src_file']} and category "
            f"{row['category']}; its name says {', '.join(told)}. Delete the archive and run again to "
            "download it anew; if the table is changed on purpose, set the option `verify_members: false`."
        )
