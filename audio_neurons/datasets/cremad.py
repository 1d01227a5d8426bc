"""CREMA-D: twelve sentences spoken by 91 actors in six emotions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from audio_neurons.archives import members
from audio_neurons.datasets import SPLITS, DatasetError, Recording
from audio_neurons.datasets._layout import load, matched, member, rows, tail

FOLDER, ACTORS = "AudioWAV", "VideoDemographics.csv"


def recordings(archives: Mapping[str, Path]) -> Iterator[Recording]:
    """Recordings of ``[<any>/]AudioWAV/*.wav`` that EVAR's ``cremad.csv`` lists; split by actor.

    Four recordings that upstream added later, three of them copies under another emotion, are not
    listed and so not used.

    Parameters
    ----------
    archives
        ``archive``: the repository with its audio and ``VideoDemographics.csv``; ``splits``: the list.

    Raises
    ------
    DatasetError
        If a list lacks a column, an actor has no demographics, or the archive has another layout.
    """
    path, splits = archives["archive"], archives["splits"]
    actors = rows(member(path, ACTORS), ("ActorID", "Sex"), f"{path}: {ACTORS}")
    gender = {row["ActorID"]: row["Sex"].lower() for row in actors}
    listed = {}
    for row in rows(load(splits), ("file_name", "label", "split"), splits):
        if row["split"] not in SPLITS:
            continue
        name = tail(row["file_name"])
        actor = name.partition("_")[0]
        if actor not in gender:
            raise DatasetError(f"{path}: {ACTORS}: no actor {actor}, whom {splits} lists with {name}")
        listed[f"{FOLDER}/{name}"] = Recording(
            clip_id=name, data=b"", split=row["split"], group=actor,
            labels={"emotion": row["label"], "gender": gender[actor]},
        )  # fmt: skip
    yield from matched(listed, members(path, ".wav"), lambda name: tail(name, 2), path)
