"""VoxCeleb1: utterances of 1,251 celebrities, with gender and nationality."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path

from audio_neurons.datasets._layout import load, matched, rows, tail, text
from audio_neurons.datasets.archives import members
from audio_neurons.datasets.registry import DatasetError, Recording

SPLIT_OF_CODE = {"1": "train", "2": "valid", "3": "test"}
GENDERS = {"m": "male", "f": "female"}
ID, GENDER, NATIONALITY = "VoxCeleb1 ID", "Gender", "Nationality"


def recordings(archives: Mapping[str, Path]) -> Iterator[Recording]:
    """Yield recordings of ``[wav/]<speaker>/<video>/<n>.wav``, split as for speaker identification.

    Every speaker is in all three splits; statistics over speakers resample by group, the speaker. The
    two archives separate speakers for the verification task; here they are read as one.

    All 36 nationalities of upstream's table are kept. The paper reports 35 countries without naming
    them. One of the 36, Norway, is probably an error (its 20 speakers bear names of French cinema), but
    no correction is published.

    Parameters
    ----------
    archives
        ``dev`` and ``test``: the zips of WAV files; ``split``: ``iden_split.txt``; ``meta``:
        ``vox1_meta.csv``.

    Raises
    ------
    DatasetError
        If a list has an unexpected format, or a speaker has no metadata.
    """
    people, splits = _speakers(archives["meta"]), archives["split"]
    listed = {}
    for line in text(load(splits), splits).splitlines():
        code, _, name = line.strip().partition(" ")
        speaker = name.partition("/")[0]
        if code not in SPLIT_OF_CODE or not name:
            raise DatasetError(f"{splits}: '{line}': looked for `<1|2|3> <speaker>/<video>/<n>.wav`")
        if speaker not in people:
            raise DatasetError(f"{archives['meta']}: no speaker {speaker}, but {splits} lists it")
        listed[name] = Recording(
            clip_id=name, data=b"", split=SPLIT_OF_CODE[code], group=speaker, labels=people[speaker]
        )
    files = chain(members(archives["dev"], ".wav"), members(archives["test"], ".wav"))
    where = f"{archives['dev']} and {archives['test']}"
    yield from matched(listed, files, lambda name: tail(name, 3), where)


def _speakers(path: Path) -> dict[str, dict[str, str]]:
    """Return the labels of each speaker; the file is tab-separated, despite its suffix .csv."""
    table = rows(load(path), (ID, GENDER, NATIONALITY), path, delimiter="\t")
    if unknown := {row[GENDER] for row in table} - set(GENDERS):
        raise DatasetError(f"{path}: gender '{unknown.pop()}', looked for m or f")
    return {row[ID]: _labels(GENDERS[row[GENDER]], row[NATIONALITY]) for row in table}


def _labels(gender: str, nationality: str) -> dict[str, str]:
    """Return both labels, and both together, as the paper's classes may be."""
    return {"gender": gender, "nationality": nationality, "gender_nationality": f"{gender} {nationality}"}
