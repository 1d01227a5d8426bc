"""GTZAN: 30-second excerpts of songs of ten genres."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from audio_neurons.datasets._layout import checksums, load, matched, tail, text, verified
from audio_neurons.datasets.archives import members
from audio_neurons.datasets.registry import NO_SPLIT, SPLITS, DatasetError, Recording

MANIFEST = "gtzan_md5.csv"


def recordings(
    archives: Mapping[str, Path], *, filtered: bool = True, verify_members: bool = False
) -> Iterator[Recording]:
    """Yield recordings of ``genres/<genre>/*.wav`` that the fault-filtered lists name.

    Parameters
    ----------
    archives
        ``archive``: ``genres.tar.gz``; ``train``, ``valid``, ``test``: the fault-filtered lists.
    filtered
        False to yield all 1,000 recordings; those that the lists leave out (repetitions, distortions) have no
        split.
    verify_members
        Compare recordings with upstream's MD5, whichever archive holds them.

    Raises
    ------
    DatasetError
        If a line is not ``<genre>/<file>``, the archive holds none of the files or holds them as
        ``.au``, or a recording is not upstream's.
    """
    listed = {}
    for split in SPLITS:
        for line in text(load(archives[split]), archives[split]).split():
            genre, _, file = line.partition("/")
            if not file:
                raise DatasetError(f"{archives[split]}: '{line}': looked for <genre>/<file>")
            listed[line] = Recording(clip_id=line, data=b"", split=split, group=line, labels={"genre": genre})
    if not filtered:
        for song in checksums(MANIFEST):
            if song not in listed:
                genre = song.partition("/")[0]
                listed[song] = Recording(
                    clip_id=song, data=b"", split=NO_SPLIT, group=song, labels={"genre": genre}
                )
    path = archives["archive"]
    files = _no_au(members(path, (".wav", ".au")), path)
    found = matched(listed, files, lambda name: tail(name, 2), path)
    yield from verified(found, MANIFEST, path) if verify_members else found


def _no_au(files: Iterable[tuple[str, bytes]], path: Path) -> Iterator[tuple[str, bytes]]:
    for name, data in files:
        if name.lower().endswith(".au"):
            raise DatasetError(
                f"{path}: {name}: looked for */<genre>/<file>.wav. The lists and checksums do "
                "not belong to a copy with .au files (Kaggle has one). Remedy: delete it and run again to "
                "download genres.tar.gz with its .wav files, or replace it by that archive."
            )
        yield name, data
