"""Check the recordings of a study before it runs: ``python -m audio_neurons check``."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path

import yaml

from audio_neurons.datasets.archives import ArchiveError
from audio_neurons.datasets.registry import DatasetError
from audio_neurons.recordings import checks, facts
from audio_neurons.recordings.checks import ERROR, Result, Terms, many
from audio_neurons.recordings.preparation import PreparationError
from audio_neurons.recordings.sampling import SampleError
from audio_neurons.report import recordings, recordings_page
from audio_neurons.report.recordings import Checked
from audio_neurons.running.files import atomic
from audio_neurons.running.runtime import limit_threads
from audio_neurons.settings.datasets import Sample, Windows
from audio_neurons.study.loading import HOME, ConfigError, complete
from audio_neurons.study.study import Study

HTML = (".html", ".htm")


def add(commands: argparse._SubParsersAction) -> None:
    """Add the command to a parser's subcommands."""
    parser = commands.add_parser(
        "check",
        help="check the recordings of a configuration before it runs",
        description="Read all recordings of a configuration and tell what they are, and what is wrong with "
        "them: what stops a run, what endangers its results, and what is worth knowing. Datasets whose "
        "archives are not here yet are named. Files that have not changed are not read again. The exit "
        "status is 1 if something stops a run; warnings do not change it.",
    )
    parser.add_argument("configfile", type=Path, metavar="STUDY", help="configuration to check")
    parser.add_argument(
        "--directory", type=Path, default=Path(), help="working directory of the runs (default: current)"
    )
    parser.add_argument(
        "--html", type=Path, metavar="FILE", help="write the report as a page with histograms, too"
    )
    parser.add_argument(
        "--workers", type=int, metavar="N", help="recordings that are read at a time (default: one per CPU)"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the report; return 0 if nothing stops a run, 1 if something does, 2 for invalid arguments."""
    if options.html is not None and options.html.suffix.lower() not in HTML:
        return _refused(f"--html {options.html}: the name of a page ends in .html")
    if options.workers is not None and options.workers < 1:
        return _refused(f"--workers {options.workers}: at least 1")
    path, page = options.configfile.resolve(), options.html and options.html.resolve()
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        return _refused(f"{options.configfile}: {_reason(error)}")
    if not options.directory.is_dir():
        return _refused(f"--directory {options.directory}: no such folder")
    workers = options.workers or _cpus()
    limit_threads(1)
    with chdir(options.directory):
        try:
            study = Study(complete(config, [path]), HOME)
        except ConfigError as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
        try:
            found = list(checked(study, workers))
        except (OSError, MemoryError) as error:  # the machine's fault, not that of a recording
            return _refused(_reason(error))
    print(recordings.text(found))
    if page is not None:
        try:
            with atomic(page) as temporary:
                text = recordings_page.page(found, options.configfile.name)
                temporary.write_text(text, encoding="utf-8")
        except OSError as error:
            return _refused(f"--html {options.html}: {_reason(error)}")
        print(f"Page: {page}")
    if not study.tasks.here:
        print("error: no task is left to do: provide the files that are missing", file=sys.stderr)
    return int(recordings.stops(found) > 0 or not study.tasks.here)


def _refused(why: str) -> int:
    print(f"error: {why}", file=sys.stderr)
    return 2


def _reason(error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        return f"not UTF-8 text ({error})"
    if isinstance(error, MemoryError):
        return f"no memory left ({error}); give fewer --workers"
    return getattr(error, "strerror", None) or str(error)


def _cpus() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def checked(study: Study, workers: int) -> Iterator[Checked]:
    """Check the recordings of each dataset of a study, in the working directory of its runs.

    Facts are kept in ``resources/facts/``, also for the run itself.
    """
    for name in study.datasets:
        settings = json.loads(study.datasets.check(name))
        terms = Terms(**settings.pop("terms"), max_rejected=study.config.preparation.max_rejected)
        given = study.datasets.archives_here(name)
        files = study.datasets[name].files
        where = files if files is not None else f"{study.datasets.folder(name)}/"
        if given is None:
            yield Checked(name, where, terms, absent=_absent(study, name))
            continue
        try:
            table = facts.read(
                study.datasets.adapter(name),
                given,
                max_seconds=terms.max_seconds,
                clip_seconds=terms.clip_seconds,
                workers=workers,
                cache=Path(study.datasets.facts_cache(name)),
                name=name,
                options=settings["options"],
                excluded=settings["excluded"],
                windows=Windows(**settings["windows"]),
                sample=Sample(**settings["sample"]) if settings["sample"] else None,
            )
        except (DatasetError, ArchiveError, PreparationError, SampleError) as error:
            yield Checked(name, where, terms, results=[Result("list", ERROR, "", 1, str(error))])
            continue
        yield Checked(name, where, terms, table, checks.check(table, terms))


def _absent(study: Study, name: str) -> str:
    if name in study.datasets.made_here:
        return "the run makes these recordings"
    if name in study.datasets.wanted:
        lacking = many(len(study.datasets.wanted[name]), "file")
        return f"{lacking} must be fetched by you, and a run says how; until then it leaves this dataset out"
    return "not fetched yet; the run does it"
