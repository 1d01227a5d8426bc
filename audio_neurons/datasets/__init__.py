"""Datasets: where each comes from, and how its files become labelled recordings.

One module per dataset, with one function::

    def recordings(archives: Mapping[str, Path], *, option=default, ...) -> Iterator[Recording]

and beside it a YAML file of the same name: title, licence, citation, label columns, default clip
length, options and the archives by role (file name, URLs, size, checksums). Nothing of that is in
code. A listed file that an archive lacks is a recording without data: preparation refuses it.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources

import yaml

SPLITS = ("train", "valid", "test")


class DatasetError(ValueError):
    """An archive does not hold what its dataset's layout promises."""


@dataclass(frozen=True)
class Recording:
    """One recording as its archive ships it, not yet decoded.

    Attributes
    ----------
    clip_id
        Unique and stable within the dataset; the path inside the archive where there is one.
    data
        The bytes of the audio file (WAV, OGG, FLAC, ...); none if the archive lacks it.
    split
        ``train``, ``valid`` or ``test``.
    group
        What statistics must resample by: the speaker, song, instrument, tone or source that
        several recordings share.
    labels
        One value per label column of the dataset.
    fold
        Cross-validation fold, 0 where the dataset has none.
    """

    clip_id: str
    data: bytes = field(repr=False)
    split: str
    group: str
    labels: Mapping[str, str]
    fold: int = 0


Reader = Callable[..., Iterator[Recording]]


@cache
def source(adapter: str) -> dict:
    """The tracked facts of a dataset: the content of ``datasets/<adapter>.yaml``."""
    file = resources.files(__package__) / f"{adapter}.yaml"
    if not file.is_file():
        raise DatasetError(f"no dataset adapter '{adapter}'; there are {', '.join(adapters())}")
    return yaml.safe_load(file.read_text(encoding="utf-8"))


@cache
def adapters() -> tuple[str, ...]:
    """Names of the datasets that have an adapter."""
    names = [file.name for file in resources.files(__package__).iterdir()]
    return tuple(sorted(name.removesuffix(".yaml") for name in names if name.endswith(".yaml")))


def reader(adapter: str) -> Reader:
    """The ``recordings`` function of a dataset's module."""
    source(adapter)
    return importlib.import_module(f"{__package__}.{adapter}").recordings
