"""EmoDB, the Berlin Database of Emotional Speech: ten sentences, ten actors, seven emotions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from re import Match

from audio_neurons.datasets._layout import named
from audio_neurons.datasets.archives import members
from audio_neurons.datasets.registry import Recording

NAME = r"(03|08|09|1[0-6])([ab]\d\d)([WLEAFTN])([a-z]?)\.wav"  # speaker, sentence, emotion, version
# The letters abbreviate the emotions' German names.
EMOTIONS = {
    "W": "anger", "L": "boredom", "E": "disgust", "A": "fear", "F": "happiness", "T": "sadness",
    "N": "neutral",
}  # fmt: skip
MEN = {"03", "10", "11", "12", "15"}
# A man and a woman each; upstream's own lists differ between its releases.
VALID, TEST = {"12", "14"}, {"15", "16"}


def recordings(archives: Mapping[str, Path]) -> Iterator[Recording]:
    """Yield recordings ``<any>/wav/<speaker><sentence><emotion><version>.wav``; split by speaker.

    Speakers 12 and 14 are ``valid``, 15 and 16 ``test``, the other six ``train``.

    Parameters
    ----------
    archives
        ``archive``: ``emodb.zip``.

    Raises
    ------
    DatasetError
        If a recording's name has another form, or there is none.
    """
    path = archives["archive"]
    yield from named(members(path, ".wav"), NAME, _recording, path)


def _recording(name: Match) -> Recording:
    speaker, sentence, emotion, _ = name.groups()
    return Recording(
        clip_id=name[0],
        data=b"",
        split="valid" if speaker in VALID else "test" if speaker in TEST else "train",
        group=speaker,
        labels={
            "emotion": EMOTIONS[emotion],
            "gender": "male" if speaker in MEN else "female",
            "sentence": sentence,
        },
    )
