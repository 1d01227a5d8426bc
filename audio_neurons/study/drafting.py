"""Draft of a study of one's own recordings, from a folder or a list: its own list, and its configuration."""

from __future__ import annotations

import csv
import io
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from audio_neurons.datasets import custom, folders, lists
from audio_neurons.datasets.registry import DatasetError
from audio_neurons.settings.configuration import FIGURES
from audio_neurons.study import guessing
from audio_neurons.study.loading import HOME

SCHEMA = HOME / "workflow" / "schemas" / "config.schema.yaml"
NAMED = 8  # classes that are named one by one


@dataclass
class Draft:
    """A study that begins: its recordings, and what was guessed of them.

    Attributes
    ----------
    name
        Name of the dataset.
    rows
        One row per recording: ``path``, labels, and ``group``, ``split``, ``fold`` if there are any.
    labels
        Columns that are labels.
    said
        What was guessed, and from what, line by line: a heading and its text.
    seed
        Seed of the draw of splits; None if the recordings have splits of their own, or none fits.
    """

    name: str
    rows: list[dict[str, str]]
    labels: list[str]
    said: list[tuple[str, str]] = field(default_factory=list)
    seed: int | None = None

    @property
    def drawn(self) -> bool:
        """Whether splits are drawn, since the recordings have none of their own."""
        return "split" not in self.rows[0]

    def group(self) -> list[str]:
        return [row.get("group", row["path"]) for row in self.rows]

    def classes(self, label: str) -> list[str]:
        return [row[label] for row in self.rows]


def draft(source: Path) -> Draft:
    """Guess a study from a folder of sounds or from a list (CSV, or TSV if it is called ``.tsv``).

    Raises
    ------
    DatasetError
        If there is no such file, it has no recordings, or no label with two classes.
    """
    found = _of_folder(source) if source.is_dir() else _of_list(source)
    if "group" not in found.rows[0]:
        _guess_groups(found, source)
    if found.drawn:
        _draw(found)
    return found


def _of_folder(folder: Path) -> Draft:
    try:
        listed = list(custom.recordings({"files": folder}))
    except DatasetError as error:
        raise DatasetError(f"{error}. Or give a list, which names each recording and its labels") from error
    names = [recording.clip_id for recording in listed]
    classes = [recording.labels["class"] for recording in listed]
    rows = [{"path": str(folder / name), "class": one} for name, one in zip(names, classes, strict=True)]
    own = [name.split("/")[0].lower() for name in names]
    splits = all(n.split("/")[1:2] == [c] for n, c in zip(names, classes, strict=True))
    found = Draft(_slug(Path(os.path.abspath(folder)).name), rows, ["class"])
    found.said.append(("recordings", f"{len(rows):,}, from the sound files in {folder}"))
    found.said.append(("label", f"class: {_named(classes)}, from the names of the folders"))
    if splits and all(name in folders.SPLIT_OF_FOLDER for name in own):
        for row, name in zip(rows, own, strict=True):
            row["split"] = folders.SPLIT_OF_FOLDER[name]
        found.said.append(("splits", "from the names of the folders above the classes"))
    return found


def _of_list(path: Path) -> Draft:
    rows = _read(path)
    column = guessing.path_column(rows, path.parent)
    if column is None:
        raise DatasetError(
            f"{path}: no column names files that are here; there are: {', '.join(rows[0])}. Paths are "
            "absolute, or relative to the list's folder or to a folder in it"
        )
    named, base = column
    seen: set[str] = set()
    once = [row for row in rows if row[named] and not (row[named] in seen or seen.add(row[named]))]  # type: ignore[func-returns-value]
    found = Draft(_slug(path.stem), [], [])
    about = f"{len(once):,}, from the column {named}, relative to {base}"
    if len(once) < len(rows):
        left_out = len(rows) - len(once)
        about += f"; rows without a path, or with that of another row, are left out: {left_out:,}"
    found.said.append(("recordings", about))
    group, split = guessing.group_column(once), guessing.split_column(once)
    fold = next((c for c in rows[0] if c.lower() == "fold" and all(row[c].isdecimal() for row in once)), None)
    others = [c for c in rows[0] if c not in (named, group, split, fold)]
    of_group = [row[group] if group else row[named] for row in once]
    labels, reasons = guessing.label_columns(once, others, of_group)
    if not labels:
        told = "; ".join(f"{c} {why}" for c, why in reasons.items()) or "there is no other column"
        raise DatasetError(f"{path}: no column is a label with at least two classes: {told}")
    full = [row for row in once if all(row[label] for label in labels)]
    names = {label: _column(label) for label in labels}
    for row in full:
        entry = {"path": str(base / row[named]), **{names[label]: row[label] for label in labels}}
        entry |= {"group": row[group]} if group else {}
        entry |= {"split": folders.SPLIT_OF_FOLDER[row[split].lower()]} if split else {}
        entry |= {"fold": row[fold]} if fold else {}
        found.rows.append(entry)
    found.labels = list(names.values())
    for label, name in names.items():
        renamed = f", renamed from {label}" if name != label else ""
        found.said.append(
            ("label", f"{name}: {_named(found.classes(name))}, from the column of this name{renamed}")
        )
    if reasons:
        found.said.append(("left out", "; ".join(f"{column} {why}" for column, why in reasons.items())))
    if len(full) < len(once):
        found.said.append(
            ("left out", f"recordings without a value for each label: {len(once) - len(full):,}")
        )
    if group:
        found.said.append(("groups", f"{len(set(found.group())):,}, from the column {group}"))
    if split:
        found.said.append(("splits", f"from the column {split}"))
    return found


def _read(path: Path) -> list[dict[str, str]]:
    """Read a list; quotes count in a TSV only if all lines then have the same number of values."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise DatasetError(f"{path}: no such file or folder") from error
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path}: not UTF-8 text ({error}); save the list as UTF-8") from error
    except OSError as error:
        raise DatasetError(f"{path}: {error.strerror or error}") from error
    tsv = path.suffix.lower() == ".tsv"
    for quoting in (csv.QUOTE_MINIMAL, csv.QUOTE_NONE) if tsv else (csv.QUOTE_MINIMAL,):
        table = csv.reader(
            io.StringIO(text, newline=""), delimiter="\t" if tsv else ",", quoting=quoting, strict=True
        )
        try:
            lines = [(table.line_num, [cell.strip() for cell in line]) for line in table if any(line)]
        except csv.Error as error:
            problem = f"line {table.line_num}: {error}"
            continue
        header = lines[0][1] if lines else []
        wrong = next((number for number, line in lines if len(line) != len(header)), None)
        if len(set(header)) < len(header) or not all(header):
            problem = "line 1: a column has no name, or the name of another"
        elif wrong is not None:
            problem = f"line {wrong}: not {len(header)} values, as the first line has"
        elif len(lines) < 2:
            problem = "lists no recordings"
        else:
            return [dict(zip(header, line, strict=True)) for _, line in lines[1:]]
    raise DatasetError(f"{path}: {problem}; a list is a CSV, or a TSV if it is called .tsv")


def _guess_groups(found: Draft, source: Path) -> None:
    folder = source if source.is_dir() else source.parent
    names = [os.path.relpath(row["path"], folder) for row in found.rows]
    values, why = guessing.groups(names, found.classes(found.labels[0]))
    if values is None:
        found.said.append(
            (
                "groups",
                f"none: {why}. Each recording is its own group, which is right only if recordings are "
                "independent: add a column `group` with what they share (speaker, animal, place, device)",
            )
        )
        return
    for row, value in zip(found.rows, values, strict=True):
        row["group"] = value
    found.said.append(("groups", f"{len(set(values)):,}, from {why}"))


def _draw(found: Draft) -> None:
    found.seed = guessing.seed(found.group(), [found.classes(label) for label in found.labels])
    shares = ", ".join(f"{split} {share:g}" for split, share in custom.SHARES.items())
    about = f"drawn over groups ({shares})"
    if found.seed is None:
        about += (
            "; with no seed has every class recordings in train and in test, so neurons are selected on all "
            "recordings (`selection.statistics_split: all`)"
        )
    else:
        about += (
            f" with seed {found.seed}, the first with which every class has recordings in train and in test"
        )
    found.said.append(("splits", about))


def _named(classes: Sequence[str]) -> str:
    names = sorted(set(classes))
    listed = ", ".join(names[:NAMED]) + (", ..." if len(names) > NAMED else "")
    return f"{len(names)} classes ({listed})"


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9_-]+", "-", name.lower()).strip("-_") or "recordings"


def _column(name: str) -> str:
    """Return a name of a column that a label may have."""
    taken = {*lists.OWN, *lists.RESERVED}
    return f"{name}_label" if name in taken else name


# What is written


def listing(found: Draft, folder: Path) -> str:
    """Return the list as CSV, whose paths are relative to ``folder``, where it is to be."""
    text = io.StringIO()
    columns = list(found.rows[0])
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    base = folder.resolve()
    for row in found.rows:
        # A link that is a recording stays; those on the way to it do not, since `..` would lead elsewhere.
        file = Path(row["path"]).parent.resolve() / Path(row["path"]).name
        writer.writerow({**row, "path": Path(os.path.relpath(file, base)).as_posix()})
    return text.getvalue()


def configuration(found: Draft, folder: Path, seconds: float) -> str:
    """Return a commented configuration of the study, to be written into ``folder``."""
    tasks = _tasks(found)
    blocks = {
        "name": found.name,
        "seconds": f"{seconds:g}",
        "schema": _schema(folder),
        "splits": _splits(found),
    }
    return CONFIGURATION.format(
        **blocks,
        tasks="\n".join(
            f"  {task}: {{dataset: {found.name}, label: {_text(label)}, title: {_text(label)}}}"
            for task, label in tasks.items()
        ),
        comparisons="\n".join(
            f"  {task}: {{tasks: [{task}], title: {_text(label)}}}" for task, label in tasks.items()
        ),
        selection=ALL if found.drawn and found.seed is None else "",
    )


def _tasks(found: Draft) -> Mapping[str, str]:
    tasks: dict[str, str] = {}
    for label in found.labels:
        name = _slug(label)
        while name in tasks or name in FIGURES:
            name += "-2"
        tasks[name] = label
    return tasks


def _schema(folder: Path) -> str:
    return Path(os.path.relpath(SCHEMA, folder.resolve())).as_posix()


def _splits(found: Draft) -> str:
    if not found.drawn:
        return "    # Splits are those of the list.\n"
    shares = ", ".join(f"{split}: {share:g}" for split, share in custom.SHARES.items())
    return (
        "    # Splits are drawn over groups; a group is never divided.\n"
        f"    options: {{shares: {{{shares}}}, seed: {found.seed or 0}}}\n"
    )


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)  # a string of JSON is one of YAML


ALL = """
selection:
  # The groups are too few for a draw with recordings of every class in train. An ablation would be circular:
  # scored on the recordings that select neurons.
  statistics_split: all
"""

CONFIGURATION = """\
# yaml-language-server: $schema={schema}
# Written by `python -m audio_neurons init`. docs/own-recordings.md explains it, config/README.md every key.

datasets:
  {name}:
    files: {name}.csv    # the list: path, labels, and group and split if there are any
    clip_seconds: {seconds}    # the model hears this much of each recording, from its start
{splits}
# A task is one label of the list. Delete those that are of no interest.
tasks:
{tasks}

models:
  # Any encoder can stand here, such as one of the Hugging Face Hub (docs/models.md).
  # The first run downloads these weights. Delete the block to try the workflow without them.
  m2d:
    kind: ssl
    title: M2D/0.7
    weights:
      source: checkpoint
      file: m2d_vit_base-80x608p16x16-221006-mr7/checkpoint-300.pth
      urls: [https://github.com/nttcslab/m2d/releases/download/v0.1.0/m2d_vit_base-80x608p16x16-221006-mr7.zip]
  # Its twin without training: what it shows too, training did not bring about.
  random:
    kind: random
    title: random ViT-B
    weights: {{source: random, seed: 0}}
{selection}
# Each comparison is a figure: which classes share neurons. Two tasks can be compared as well.
comparisons:
{comparisons}
"""
