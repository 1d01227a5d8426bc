"""Datasets: where each comes from, and how its files become labelled recordings.

One module per dataset, with one function::

    def recordings(archives: Mapping[str, Path], *, option=default, ...) -> Iterator[Recording]

and beside it a YAML file of the same name. Nothing that it says is in code:

``title``, ``licence``, ``citation``, ``homepage``, ``gated``
    Of the dataset; gated, if its files are given out on request only.
``labels``
    Label columns; null where the user's own files have them (see `labels`).
``clip_seconds``, ``options``
    Default clip length, and defaults of the module's options.
``archives``
    By role: ``file``, ``urls``, ``bytes``, a checksum (``sha256``, ``md5``, ``git_blob``, or the
    ``zenodo`` record that tells it) or ``bytes_vary`` (later downloads need not equal the first),
    ``manual`` (how a person gets it), ``parts`` to be joined. An archive of many small files has
    ``batches`` and a ``manifest`` of them or the role of a ``listing``, and comes to the module as a
    list of paths.
``classes``
    By label, where upstream publishes the list.
``size_gb``, ``clips``
    Size of all archives, for the warning that the disk is too small; recordings that they give, or
    ``at_most`` where it is not known how many of them are used. Shards are counted by these.
``excluded``
    Patterns of the ``clip_id`` of recordings that are left out on purpose, each with the reason.
``cells``
    Labels whose combinations counts keep apart; all of them unless told.

A listed file that an archive lacks is a recording without data: preparation refuses it.
docs/add-a-dataset.md adds one, step by step; ``custom`` reads files that have no adapter.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from pathlib import Path
from types import ModuleType
from typing import Any

import yaml

SPLITS = ("train", "valid", "test")


class DatasetError(ValueError):
    """An archive, or a user's own list or folder, does not hold what its layout promises."""


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


# A module's `recordings`: archives by role, each a path or, where one role has many small files, a
# list of paths; then its options by keyword. Recordings come one by one and are not kept.
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
    return _module(adapter).recordings


def labels(adapter: str, archives: Mapping[str, Any]) -> list[str]:
    """Label columns of a dataset: those of its YAML file or, where that has none, of the user's files.

    Raises
    ------
    DatasetError
        If the user's files are not there or have no label columns.
    """
    columns = source(adapter)["labels"]
    if columns is not None:
        return list(columns)
    if "files" not in archives:
        raise DatasetError(f"{adapter}: needs the path of your recordings, as `files`")
    return _module(adapter).labels(Path(archives["files"]))


def _module(adapter: str) -> ModuleType:
    source(adapter)
    return importlib.import_module(f"{__package__}.{adapter}")
