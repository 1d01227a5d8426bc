"""Begin a study of one's own recordings: ``python -m audio_neurons init``."""

from __future__ import annotations

import argparse
import shlex
import sys
import textwrap
from pathlib import Path

from audio_neurons.datasets.registry import DatasetError
from audio_neurons.recordings import facts
from audio_neurons.running.parallel import in_order
from audio_neurons.running.runtime import progress
from audio_neurons.study import drafting, guessing

CONFIGURATION = "study.yaml"


def add(commands: argparse._SubParsersAction) -> None:
    """Add the command to a parser's subcommands."""
    parser = commands.add_parser(
        "init",
        help="begin a study of your own recordings",
        description="Write a list of recordings and a commented configuration, from a folder with one folder "
        "per class, or from a list (CSV, or TSV if it is called .tsv) of files and labels. Tells what was "
        "guessed and from what, and the next command. Existing files are never overwritten.",
    )
    parser.add_argument("source", type=Path, metavar="SOURCE", help="folder of sounds, or a list of them")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", default=Path("study"), help="folder of the study (default: study)"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Write the study and print what was guessed; return 0, or 2 if it cannot be begun."""
    source, out = options.source, options.out
    try:
        found = drafting.draft(source)
        listing, configuration = out / f"{found.name}.csv", out / CONFIGURATION
        _refuse_existing([listing, configuration])
        seconds = _clip_seconds(found)
        out.mkdir(parents=True, exist_ok=True)
        texts = {
            listing: drafting.listing(found, out),
            configuration: drafting.configuration(found, out, seconds),
        }
        for path, text in texts.items():
            with open(path, "x", encoding="utf-8") as file:
                file.write(text)
    except DatasetError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"error: {error.filename or out}: {error.strerror or error}", file=sys.stderr)
        return 2
    for name, told in found.said:
        print(textwrap.fill(f"{name + ':':<14}{told}", 110, subsequent_indent=" " * 14))
    where = f"{shlex.quote(str(configuration))} --directory {shlex.quote(str(out))}"
    print(f"\nWritten: {listing}, {configuration}. Correct them where a guess is wrong.\n")
    print(f"Next:    python -m audio_neurons check {where}")
    print(f"Then:    snakemake --cores 4 --configfile {where}")
    return 0


def _refuse_existing(paths: list[Path]) -> None:
    for path in paths:
        if path.exists() or path.is_symlink():
            raise DatasetError(f"{path} exists, and is not overwritten; choose another folder with --out DIR")


def _clip_seconds(found: drafting.Draft) -> float:
    paths = [Path(row["path"]) for row in found.rows]
    lengths = list(progress(in_order(facts.length, paths, 4), len(paths), "lengths", "recordings"))
    seconds = guessing.clip_seconds(lengths)
    known = [length for length in lengths if length > 0]
    said = [f"{seconds:g}"]
    if known:
        longest = seconds == guessing.LONGEST
        why = "the most that is guessed" if longest else "which nine of ten recordings have"
        said.append(f"{why}; they have {min(known):.3g} to {max(known):.3g} s")
    if len(known) < len(lengths):
        said.append(f"recordings whose length cannot be read: {len(lengths) - len(known):,}")
    told = ", ".join(said)
    found.said.append(("clip_seconds", told))
    return seconds
