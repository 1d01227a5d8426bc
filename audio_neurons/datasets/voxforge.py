"""VoxForge: read speech in six languages, sent in by volunteers."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from audio_neurons.archives import ArchiveError, members
from audio_neurons.datasets import SPLITS, Recording
from audio_neurons.datasets._layout import load, matched, members_of, rows, tail, title


def recordings(archives: Mapping[str, Any]) -> Iterator[Recording]:
    """Recordings of volunteers' uploads, as listed in EVAR's ``voxforge.csv``, which has the language.

    That list divides uploads, not speakers: those who sent in more than once are in more than one
    split. The group is the speaker; of the anonymous, each upload is one of its own. Recordings of
    another sampling rate than 16 kHz are used like the others. A broken upload costs its own
    recordings only: they count as missing.

    Parameters
    ----------
    archives
        ``archive``: tars of upstream's ``<speaker>-<date>-<xyz>.tgz``, each with
        ``<speaker>-<date>-<xyz>/wav/*.wav``; ``splits``: the list (``file_name,label,split``);
        ``listing``: the uploads' URLs, for the download alone.

    Raises
    ------
    DatasetError
        If the list lacks a column or the archives hold none of its files.
    """
    listed = {}
    for row in rows(load(archives["splits"]), ("file_name", "label", "split"), archives["splits"]):
        if row["split"] in SPLITS:
            name = tail(row["file_name"], 3)
            listed[name] = Recording(
                clip_id=name, data=b"", split=row["split"], group=_speaker(name.partition("/")[0]),
                labels={"language": row["label"]},
            )  # fmt: skip
    yield from matched(listed, _unpacked(archives["archive"]), str, title(archives["archive"]))


def _unpacked(paths: Path | Sequence[Path]) -> Iterator[tuple[str, bytes]]:
    seen: set[str] = set()
    for _, upload in members_of(paths, (".tgz", ".tar.gz")):
        try:
            for inner, wav in members(io.BytesIO(upload), ".wav"):
                # EVAR unpacked all uploads into one folder, so it is their own folders that count. Of
                # two of the same name, its list has one.
                if (name := tail(inner, 3)) not in seen:
                    seen.add(name)
                    yield name, wav
        except ArchiveError:
            continue


def _speaker(stem: str) -> str:
    """Who sent an upload in."""
    speaker = re.match(r"(.+?)-\d{8}", stem)
    return speaker[1] if speaker and speaker[1].lower() != "anonymous" else stem
