"""FSDD, the Free Spoken Digit Dataset: the digits 0 to 9, spoken fifty times by each speaker."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from re import Match

from audio_neurons.datasets._layout import named
from audio_neurons.datasets.archives import members
from audio_neurons.datasets.registry import Recording

NAME = r"(\d)_([a-z]+)_(\d+)\.wav"  # digit, speaker, repetition
TEST = range(5)  # repetitions, by upstream's README


def recordings(archives: Mapping[str, Path]) -> Iterator[Recording]:
    """Yield recordings ``<any>/recordings/<digit>_<speaker>_<repetition>.wav``.

    Upstream's test split is every speaker's repetitions 0 to 4, so that speakers are in both splits.

    Parameters
    ----------
    archives
        ``archive``: tar or zip of the repository.

    Raises
    ------
    DatasetError
        If a recording's name has another form, or there is none.
    """
    path = archives["archive"]
    yield from named(members(path, ".wav"), NAME, _recording, path)


def _recording(name: Match) -> Recording:
    digit, speaker, repetition = name.groups()
    return Recording(
        clip_id=name[0],
        data=b"",
        split="test" if int(repetition) in TEST else "train",
        group=speaker,
        labels={"digit": digit, "speaker": speaker},
    )
