"""GTZAN: songs of ten genres, 30 seconds of each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from audio_neurons.archives import members
from audio_neurons.datasets import SPLITS, DatasetError, Recording
from audio_neurons.datasets._layout import load, matched, tail, text


def recordings(archives: Mapping[str, Path]) -> Iterator[Recording]:
    """Recordings of ``genres/<genre>/*.wav`` that the fault-filtered lists name.

    Parameters
    ----------
    archives
        ``archive``: ``genres.tar.gz``; ``train``, ``valid``, ``test``: the lists.

    Raises
    ------
    DatasetError
        If a line is not ``<genre>/<file>`` or the archive holds none of the files.
    """
    listed = {}
    for split in SPLITS:
        for line in text(load(archives[split]), archives[split]).split():
            genre, _, file = line.partition("/")
            if not file:
                raise DatasetError(f"{archives[split]}: '{line}': looked for <genre>/<file>")
            listed[line] = Recording(clip_id=line, data=b"", split=split, group=line, labels={"genre": genre})
    path = archives["archive"]
    yield from matched(listed, members(path, ".wav"), lambda name: tail(name, 2), path)
