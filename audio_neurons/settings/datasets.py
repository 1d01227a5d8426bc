"""Datasets, tasks and comparisons of the configuration."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import Field

from audio_neurons.settings.section import NULLABLE, Count, Seconds, Section, Share, Text

Md5 = Annotated[str, Field(pattern="^[0-9a-f]{32}$")]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
FileName = Annotated[str, Field(pattern="^[^/]+$")]


class File(Section):
    """A file that is fetched, and how it is verified."""

    file: FileName | None = None
    """File name under resources/archives/DATASET."""
    urls: list[Text] | None = None
    """Tried in order: https, http, file, or a path. ${NAME} is an environment variable; of many small files,
    {name} is each one's."""
    sha256: Annotated[Sha256 | None, NULLABLE] = None
    """SHA-256 that the file must have; null checks none."""
    md5: Annotated[Md5 | None, NULLABLE] = None
    """MD5 that the file must have; null checks none."""
    bytes: Annotated[Count | None, NULLABLE] = None
    """Size that the file must have; null checks none."""


class Part(File):
    """A file that is joined with others."""

    file: FileName
    """File name of the part."""


class Archive(File):
    """Changes to where an archive comes from."""

    git_blob: Annotated[str | None, Field(pattern="^[0-9a-f]{40}$"), NULLABLE] = None
    """SHA-1 of the file as a git blob; null checks none."""
    zenodo: Annotated[int | None, NULLABLE] = None
    """Zenodo record that tells the file's size and checksum when it is fetched; null asks none."""
    batches: Annotated[int, Field(ge=1, le=1000)] | None = None
    """Into how many tars many small files are packed."""
    manifest: str | None = None
    """CSV (name, bytes, sha256) of many small files; beside the dataset's module, or a path."""
    parts: Annotated[list[Part], Field(min_length=1)] | None = None
    """Files that are fetched and joined, in order."""


class Synthesis(Section):
    """Recordings that are made here."""

    clips: Count
    """Recordings to make."""


class Dataset(Section):
    """Where the recordings of one dataset come from."""

    adapter: str | None = None
    """Module under audio_neurons/datasets; by default the dataset's name."""
    files: Text | None = None
    """Your own recordings: a CSV (path, split, group, labels), or a folder per class; see
    docs/own-recordings.md."""
    clip_seconds: Seconds | None = None
    """Clip length for the encoder; by default the dataset's own."""
    shards: Annotated[int, Field(ge=1, le=999)] | Annotated[str, Field(pattern="^auto$")] = "auto"
    """Parts of the dataset, each a job of its own in extraction; auto is one per extraction.clips_per_shard
    clips, and 1 for your own files."""
    archives: dict[str, Archive] = {}
    """Changes to where archives come from, by role."""
    options: dict[str, Any] = {}
    """Options of the adapter."""
    excluded: dict[str, str] | None = None
    """Recordings left out on purpose, as shell pattern: reason; by default the dataset's own, {} for
    none."""
    synthesis: Synthesis | None = None
    """Make the archives here instead of fetching them (the demo)."""


class Task(Section):
    """A dataset and one labelling of its clips."""

    dataset: str
    """Name under `datasets`."""
    label: str
    """Label column of the dataset."""
    title: str | None = None
    """Name in figures."""
    top_share: Share | None = None
    """Overrides the selector preset's."""


class Comparison(Section):
    """Classes whose neurons are compared, in one figure."""

    tasks: Annotated[list[str], Field(min_length=1, max_length=2, json_schema_extra={"uniqueItems": True})]
    """One task compared with itself, or two tasks of one model."""
    title: str | None = None
    """Title of the figure."""
    pairs: (
        Annotated[list[Annotated[list[str], Field(min_length=2, max_length=2)]], Field(min_length=1)]
        | Text
        | None
    ) = None
    """Classes that mean the same, and the only ones compared, as a list or as a CSV of two first columns; by
    default equal names."""

    def contradictions(self) -> Iterator[tuple[str, str]]:
        if self.pairs and len(self.tasks) < 2:
            yield "pairs", "pairs match classes of two tasks, but there is one"
