"""VoxForge: read speech in six languages, sent in by volunteers."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

from audio_neurons.archives import ArchiveError, members
from audio_neurons.datasets import SPLITS, Recording
from audio_neurons.datasets._layout import load, matched, rows, tail


def recordings(archives: Mapping[str, Path]) -> Iterator[Recording]:
    """Recordings of upstream's many small archives, as listed in EVAR's ``voxforge.csv``.

    Parameters
    ----------
    archives
        ``archive``: a tar of upstream's ``<speaker>-<date>-<xyz>.tgz``, each with
        ``<stem>/wav/*.wav``; ``splits``: the list (``file_name,label,split``).

    Raises
    ------
    DatasetError
        If the list lacks a column or the archive holds none of its files.
    """
    listed = {}
    for row in rows(load(archives["splits"]), ("file_name", "label", "split"), archives["splits"]):
        if row["split"] in SPLITS:
            name = tail(row["file_name"], 3)
            listed[name] = Recording(
                clip_id=name, data=b"", split=row["split"], group=_speaker(name.partition("/")[0]),
                labels={"language": row["label"]},
            )  # fmt: skip
    yield from matched(listed, _unpacked(archives["archive"]), str, archives["archive"])


def _unpacked(path: Path) -> Iterator[tuple[str, bytes]]:
    for name, data in members(path, (".tgz", ".tar.gz")):
        stem = PurePosixPath(name).name.removesuffix(".tgz").removesuffix(".tar.gz")
        try:
            for inner, wav in members(io.BytesIO(data), ".wav"):
                yield f"{stem}/{tail(inner, 2)}", wav
        except ArchiveError:
            # One of 13,837 volunteers' uploads: its files count as missing, the rest is as good.
            continue


def _speaker(stem: str) -> str:
    """Who sent an archive in; of the anonymous, each archive counts as a speaker of its own."""
    speaker = re.match(r"(.+?)-\d{8}", stem)
    return speaker[1] if speaker and speaker[1].lower() != "anonymous" else stem
