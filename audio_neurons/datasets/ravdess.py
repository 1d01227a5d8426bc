"""RAVDESS: two sentences spoken by 24 actors in eight emotions, the speech of its audio-only files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from re import Match

from audio_neurons.datasets._layout import named
from audio_neurons.datasets.archives import members
from audio_neurons.datasets.registry import Recording

# Modality (audio only), channel (speech), emotion, intensity, sentence, repetition, actor.
NAME = r"03-01-(0[1-8])-(0[12])-(0[12])-(0[12])-(0[1-9]|1\d|2[0-4])\.wav"
EMOTIONS = ("neutral", "calm", "happiness", "sadness", "anger", "fear", "disgust", "surprise")
INTENSITIES = ("normal", "strong")
SENTENCES = ("kids", "dogs")
LAST_TRAIN, LAST_VALID = 16, 18  # actors; odd numbers are men, even ones women


def recordings(archives: Mapping[str, Path]) -> Iterator[Recording]:
    """Yield recordings ``Actor_<nn>/03-01-<emotion>-<intensity>-<sentence>-<repetition>-<actor>.wav``.

    Upstream has no splits: actors 1 to 16 are ``train``, 17 and 18 ``valid``, 19 to 24 ``test``.

    Parameters
    ----------
    archives
        ``archive``: ``Audio_Speech_Actors_01-24.zip``.

    Raises
    ------
    DatasetError
        If a recording's name has another form, or there is none.
    """
    path = archives["archive"]
    yield from named(members(path, ".wav"), NAME, _recording, path)


def _recording(name: Match) -> Recording:
    emotion, intensity, sentence, _, actor = (int(part) for part in name.groups())
    return Recording(
        clip_id=name[0],
        data=b"",
        split="train" if actor <= LAST_TRAIN else "valid" if actor <= LAST_VALID else "test",
        group=f"actor{actor:02d}",
        labels={
            "emotion": EMOTIONS[emotion - 1],
            "gender": "male" if actor % 2 else "female",
            "intensity": INTENSITIES[intensity - 1],
            "sentence": SENTENCES[sentence - 1],
        },
    )
