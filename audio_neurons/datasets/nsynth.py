"""NSynth: single notes of a thousand instruments."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

from audio_neurons.archives import members
from audio_neurons.datasets import SPLITS, DatasetError, Recording
from audio_neurons.datasets._layout import matched, member


def octave(pitch: int) -> int:
    """Octave of a MIDI pitch, where 60 is C4; the lowest notes are in octave -1."""
    return pitch // 12 - 1


def recordings(archives: Mapping[str, Path]) -> Iterator[Recording]:
    """Recordings of ``nsynth-<split>/audio/*.wav`` as described by ``nsynth-<split>/examples.json``.

    All pitches are kept, also those outside of the piano's 21 to 108.

    Parameters
    ----------
    archives
        ``train``, ``valid``, ``test``: the archives ``nsynth-<split>.jsonwav.tar.gz``.

    Raises
    ------
    DatasetError
        If an archive has no usable ``examples.json``, or none of its notes.
    """
    for split in SPLITS:
        path = archives[split]
        # A pass of its own: nothing promises that the description comes before the notes.
        listed = _notes(member(path, "examples.json"), split, f"{path}: examples.json")
        yield from matched(listed, members(path, ".wav"), lambda name: PurePosixPath(name).stem, path)


def _notes(data: bytes, split: str, where: str) -> dict[str, Recording]:
    try:
        return {
            name: Recording(
                clip_id=name, data=b"", split=split, group=note["instrument_str"],
                labels={"octave": str(octave(int(note["pitch"]))), "family": note["instrument_family_str"]},
            )
            for name, note in json.loads(data).items()
        }  # fmt: skip
    except (ValueError, TypeError, AttributeError) as error:
        raise DatasetError(f"{where}: not a JSON object of notes ({error})") from error
    except KeyError as error:
        raise DatasetError(f"{where}: a note has no field {error}") from error
