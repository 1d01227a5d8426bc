"""Registry of the datasets: facts about each, and the function that reads its recordings.

Each dataset is one module with one function::

    def recordings(archives: Mapping[str, Path], *, option=default, ...) -> Iterator[Recording]

and a YAML file of the same name beside it, with the facts that the code does not repeat:

``title``, ``licence``, ``citation``, ``homepage``, ``gated``
    About the dataset; ``gated`` if its files are available on request only.
``redistributable``
    True where the licence clearly lets anybody pass on single recordings for any purpose.
``labels``
    Label columns; null if the user's own files define them (see `labels`).
``clip_seconds``, ``options``
    Default clip length, and defaults of the module's options.
``archives``
    By role: ``file``, ``urls``, ``bytes``, a checksum (``sha256``, ``md5``, ``git_blob``, or the
    ``zenodo`` record that has it) or ``bytes_vary`` (later downloads may differ from the first),
    ``manual`` (how to get it by hand), ``parts`` to be joined. An archive of many small files has
    ``batches``, and their list as a ``manifest`` or as the role of a ``listing``; the module receives it
    as a list of paths.
``classes``
    Class names by label, where upstream publishes the list.
``size_gb``, ``clips``
    Size of all archives, for the warning about disk space, and their number of recordings, or
    ``at_most`` if the number in use is unknown. The number of shards is derived from it.
``excluded``
    Patterns of the ``clip_id`` of recordings that are left out on purpose, each with the reason.
``cells``
    Labels whose combinations form separate cells of counts; by default all labels.

A listed file that an archive lacks is a recording without data, which preparation rejects.
docs/add-a-dataset.md adds a dataset step by step; ``custom`` reads files that have no adapter.
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
NO_SPLIT = "none"  # of no split: counts only where neurons are chosen on all clips, and in no probe


class DatasetError(ValueError):
    """An archive, or the user's own list or folder, does not have the expected content."""


@dataclass(frozen=True)
class Recording:
    """Recording as its archive holds it, not yet decoded.

    Attributes
    ----------
    clip_id
        Name that is unique and stable within the dataset; usually the path inside the archive.
    data
        Content of the audio file (WAV, OGG, FLAC, ...), or the path of a file that is read only where and as
        far as it is decoded; empty if the archive lacks it.
    split
        ``train``, ``valid`` or ``test``; or `NO_SPLIT`.
    group
        Unit of resampling in statistics: the speaker, song, instrument, tone or source that
        several recordings share.
    labels
        One value per label column of the dataset.
    fold
        Cross-validation fold; 0 if the dataset has none.
    onset, offset
        Part of the file that is the recording, in seconds; ``offset`` is None for the file's end.
    left_out
        Why the recording is not used, although nothing is wrong with it: preparation lists it with this
        reason, and asks nothing else of it. Empty for all others.
    fault
        Why there is no ``data``, where more is known than that it is missing.
    """

    clip_id: str
    data: bytes | Path = field(repr=False)
    split: str
    group: str
    labels: Mapping[str, str]
    fold: int = 0
    onset: float = 0.0
    offset: float | None = None
    left_out: str = ""
    fault: str = ""


# A module's `recordings`. It takes archives by role, each a path or, for a role of many small files, a
# list of paths, and its options by keyword; it yields recordings one by one and keeps none.
Reader = Callable[..., Iterator[Recording]]


@cache
def source(adapter: str) -> dict:
    """Return the facts about a dataset: the content of ``datasets/<adapter>.yaml``.

    Raises
    ------
    DatasetError
        If there is no such dataset.
    """
    file = resources.files(__package__) / f"{adapter}.yaml"
    if not file.is_file():
        raise DatasetError(f"no dataset adapter '{adapter}'; there are {', '.join(adapters())}")
    return yaml.safe_load(file.read_text(encoding="utf-8"))


@cache
def adapters() -> tuple[str, ...]:
    """Return the names of the datasets that have an adapter."""
    names = [file.name for file in resources.files(__package__).iterdir()]
    return tuple(sorted(name.removesuffix(".yaml") for name in names if name.endswith(".yaml")))


def reader(adapter: str) -> Reader:
    """Return the ``recordings`` function of a dataset's module."""
    return _module(adapter).recordings


def labels(adapter: str, archives: Mapping[str, Any], options: Mapping[str, Any] = {}) -> list[str]:
    """Return the label columns of a dataset: from its YAML file or, if null there, the user's files.

    ``options`` of the adapter may name some of the user's columns.

    Raises
    ------
    DatasetError
        If the user's files are missing or have no label columns.
    """
    columns = source(adapter)["labels"]
    if columns is not None:
        return list(columns)
    if "files" not in archives:
        raise DatasetError(f"{adapter}: needs the path of your recordings, as `files`")
    return _module(adapter).labels(Path(archives["files"]), **options)


def _module(adapter: str) -> ModuleType:
    source(adapter)
    return importlib.import_module(f"{__package__}.{adapter}")
