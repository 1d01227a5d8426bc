"""VoxCeleb1: utterances of 1,251 celebrities, with gender and nationality."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path

from audio_neurons.archives import members
from audio_neurons.datasets import DatasetError, Recording
from audio_neurons.datasets._layout import load, matched, rows, tail, text

SPLIT_OF_CODE = {"1": "train", "2": "valid", "3": "test"}
GENDERS = {"m": "male", "f": "female"}
ID, GENDER, NATIONALITY = "VoxCeleb1 ID", "Gender", "Nationality"


def recordings(archives: Mapping[str, Path]) -> Iterator[Recording]:
    """Recordings of ``[wav/]<speaker>/<video>/<n>.wav``, split as for speaker identification.

    Every speaker is in all three splits; what generalises over speakers resamples by group. The two
    archives divide the speakers as verification does, which means nothing here: they are one.

    All 36 nationalities of upstream's table are kept as it has them. The paper speaks of 35 countries
    and does not say which; one of the 36, Norway, is likely an error (its 20 speakers bear names of
    French cinema), but no list of what would be right is published.

    Parameters
    ----------
    archives
        ``dev`` and ``test``: the zips of WAV files; ``split``: ``iden_split.txt``; ``meta``:
        ``vox1_meta.csv``.

    Raises
    ------
    DatasetError
        If a list is of another format, or a speaker has no metadata.
    """
    people, splits = _speakers(archives["meta"]), archives["split"]
    listed = {}
    for line in text(load(splits), splits).splitlines():
        code, _, name = line.strip().partition(" ")
        speaker = name.partition("/")[0]
        if code not in SPLIT_OF_CODE or not name:
            raise DatasetError(f"{splits}: '{line}': looked for `<1|2|3> <speaker>/<video>/<n>.wav`")
        if speaker not in people:
            raise DatasetError(f"{archives['meta']}: no speaker {speaker}, whom {splits} lists")
        listed[name] = Recording(
            clip_id=name, data=b"", split=SPLIT_OF_CODE[code], group=speaker, labels=people[speaker]
        )
    files = chain(members(archives["dev"], ".wav"), members(archives["test"], ".wav"))
    where = f"{archives['dev']} and {archives['test']}"
    yield from matched(listed, files, lambda name: tail(name, 3), where)


def _speakers(path: Path) -> dict[str, dict[str, str]]:
    """Labels of each speaker; the file is called .csv, but separated by tabs."""
    table = rows(load(path), (ID, GENDER, NATIONALITY), path, delimiter="\t")
    if unknown := {row[GENDER] for row in table} - set(GENDERS):
        raise DatasetError(f"{path}: gender '{unknown.pop()}', looked for m or f")
    return {row[ID]: {"gender": GENDERS[row[GENDER]], "nationality": row[NATIONALITY]} for row in table}
