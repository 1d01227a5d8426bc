"""CREMA-D: twelve sentences spoken by 91 actors in six emotions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from audio_neurons.datasets._layout import load, matched, members_of, rows, tail, title
from audio_neurons.datasets.registry import SPLITS, DatasetError, Recording

# "Don't forget a jacket", "It's eleven o'clock", ...: upstream's README lists them.
SENTENCES = ("DFA", "IEO", "IOM", "ITH", "ITS", "IWL", "IWW", "MTI", "TAI", "TIE", "TSI", "WSI")


def recordings(archives: Mapping[str, Any], *, sentences: Sequence[str] = SENTENCES) -> Iterator[Recording]:
    """Yield recordings ``<actor>_<sentence>_<emotion>_<level>.wav`` that EVAR's ``cremad.csv`` lists.

    The list splits by actor. It lacks four recordings of the repository, which are not used:
    1006_TIE_NEU_XX, 1013_WSI_DIS_XX, 1017_IWW_FEA_XX (each byte-identical to a listed recording under
    another emotion) and 1040_ITH_SAD_XX.

    Parameters
    ----------
    archives
        ``archive``: tars of the recordings; ``actors``: ``VideoDemographics.csv``; ``splits``:
        ``cremad.csv``.
    sentences
        Abbreviations of the sentences to use, of `SENTENCES`.

    Raises
    ------
    DatasetError
        If a list lacks a column, a name has an unexpected form, an actor has no demographics, a sentence of
        ``sentences`` is unknown, or the archives hold none of the recordings.
    """
    path, actors, splits = archives["archive"], archives["actors"], archives["splits"]
    gender = {row["ActorID"]: row["Sex"].lower() for row in rows(load(actors), ("ActorID", "Sex"), actors)}
    if unknown := sorted(set(sentences) - set(SENTENCES)):
        raise DatasetError(
            f"cremad: option `sentences` names {', '.join(unknown)}; there are {', '.join(SENTENCES)}"
        )
    listed = {}
    for row in rows(load(splits), ("file_name", "label", "split"), splits):
        if row["split"] not in SPLITS:
            continue
        name = tail(row["file_name"])
        parts = name.removesuffix(".wav").split("_")
        if len(parts) != 4:
            raise DatasetError(f"{splits}: '{name}': looked for <actor>_<sentence>_<emotion>_<level>.wav")
        actor, sentence, _, level = parts
        if sentence not in sentences:
            continue
        if actor not in gender:
            raise DatasetError(f"{actors}: no actor {actor}, but {splits} lists {name}")
        listed[name] = Recording(
            clip_id=name, data=b"", split=row["split"], group=actor,
            labels={
                "emotion": row["label"], "gender": gender[actor], "sentence": sentence, "level": level
            },
        )  # fmt: skip
    yield from matched(listed, members_of(path, ".wav"), tail, title(path))
