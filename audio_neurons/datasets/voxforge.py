"""VoxForge: read speech in six languages, uploaded by volunteers."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from audio_neurons.datasets._layout import load, matched, members_of, rows, tail, title
from audio_neurons.datasets.archives import ArchiveError, members
from audio_neurons.datasets.registry import SPLITS, Recording


def recordings(archives: Mapping[str, Any]) -> Iterator[Recording]:
    """Yield recordings of volunteers' uploads, with splits and languages of EVAR's ``voxforge.csv``.

    The list splits by upload, not by speaker: speakers with several uploads can be in several splits.
    The group is the speaker; each anonymous upload is its own group. Recordings with sampling rates
    other than 16 kHz are used too. A damaged upload loses only its own recordings, which count as
    missing.

    Parameters
    ----------
    archives
        ``archive``: tars of upstream's ``<speaker>-<date>-<xyz>.tgz``, each with
        ``<speaker>-<date>-<xyz>/wav/*.wav``; ``splits``: the list (``file_name,label,split``);
        ``listing``: the uploads' URLs, used by the download only.

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
                # EVAR unpacked all uploads into one folder, so the folder inside an upload identifies it.
                # Of two recordings of the same name, EVAR's list has one.
                if (name := tail(inner, 3)) not in seen:
                    seen.add(name)
                    yield name, wav
        except ArchiveError:
            continue


def _speaker(stem: str) -> str:
    """Return the speaker of an upload, or ``stem`` itself if the speaker is anonymous."""
    speaker = re.match(r"(.+?)-\d{8}", stem)
    return speaker[1] if speaker and speaker[1].lower() != "anonymous" else stem
