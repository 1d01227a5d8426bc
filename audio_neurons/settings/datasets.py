"""Datasets, tasks and comparisons of the configuration."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import Field

from audio_neurons.settings.section import NULLABLE, Count, Seconds, Section, Seed, Share, Text

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
    only: Text | None = None
    """Shell pattern of the names of many small files. Others are not fetched; an option of the adapter must
    leave out their recordings."""
    parts: Annotated[list[Part], Field(min_length=1)] | None = None
    """Files that are fetched and joined, in order."""


class Synthesis(Section):
    """Recordings that are made here."""

    clips: Count
    """Recordings to make."""


class Sample(Section):
    """Draw some clips of a dataset; the others are not decoded. docs/method.md defines the draw."""

    clips: Count
    """Clips to draw; all of them if there are fewer, which the run tells."""
    per: Text | None = None
    """Label whose classes get equal numbers of clips, as far as they have them; by default, all clips have
    the same chance."""
    whole_groups: bool = False
    """Draw groups (speakers, songs) with all their clips, instead of single clips."""
    seed: Seed = 0
    """Seed of the draw."""

    def words(self, drawn: int | None = None, available: int | None = None) -> str:
        """Return the sample in words: "500 of 2,000 clips, balanced by emotion, seed 0".

        Without the numbers of a preparation, the clips that were asked for stand in their place.
        """
        number = f"{self.clips if drawn is None else drawn:,}"
        of = "" if available is None else f" of {available:,}"
        by = f", balanced by {self.per}" if self.per else ""
        whole = ", whole groups" if self.whole_groups else ""
        return f"{number}{of} clips{by}{whole}, seed {self.seed}"


class Windows(Section):
    """Which parts of a recording are clips; each is as long as the dataset's clip_seconds.

    docs/method.md defines them exactly. Recordings that are not longer are one clip, whatever is set here.
    """

    at: Literal["first", "centre", "loudest"] | None = None
    """One window: the start (the default), the centre, or where the mean square is largest."""
    every: Annotated[float, Field(ge=0.01)] | None = None
    """A window every so many seconds: less than clip_seconds makes windows overlap, more leaves gaps."""

    @property
    def plain(self) -> bool:
        """Whether a recording is one clip, from its start: it is stored up to preparation.max_seconds."""
        return self.every is None and self.at in (None, "first")

    def words(self) -> str:
        """Return the windows in words."""
        if self.every is not None:
            return f"windows every {self.every:g} s"
        return f"the {self.at or 'first'} window"

    def contradictions(self) -> Iterator[tuple[str, str]]:
        if self.at is not None and self.every is not None:
            yield "", "`at` is one window, `every` many; keep one of the two"


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
    clips (of the sample, if there is one), and 1 for your own files without a sample."""
    archives: dict[str, Archive] = {}
    """Changes to where archives come from, by role."""
    options: dict[str, Any] = {}
    """Options of the adapter."""
    windows: Windows = Windows()
    """Which parts of a recording are clips; by default the start."""
    sample: Sample | None = None
    """Draw some of the clips; by default all are used."""
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
