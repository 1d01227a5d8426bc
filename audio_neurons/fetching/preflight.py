"""Checks before a run: files to bring by hand, disk space, and results with wrong dates or leftovers."""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from audio_neurons.datasets import registry as datasets
from audio_neurons.fetching import sources
from audio_neurons.fetching.urls import unset

GB = 1e9
CLOCK = 120  # tolerated difference between clocks of machines, in seconds


def wanted(block: Mapping, folder: Path, access: sources.Access) -> list[Mapping]:
    """Return the facts of a dataset's files that are absent, not brought by hand, and not fetchable.

    Parameters
    ----------
    block
        The dataset's block of the configuration.
    folder
        Folder of its archives, with the dataset's name.
    """
    return [
        lacking
        for facts in sources.archives(block).values()
        if "batches" not in facts
        for lacking in _wanted(facts, folder, access)
    ]


def _wanted(facts: Mapping, folder: Path, access: sources.Access) -> Iterator[Mapping]:
    def have(file: str) -> bool:
        return (folder / file).exists() or access.brought(file, folder.name) is not None

    def fetchable(facts: Mapping) -> bool:
        return any(not unset(url) for url in facts.get("urls") or [])

    if have(facts["file"]) or fetchable(facts):
        return
    parts = facts.get("parts") or [facts]
    parts = parts[len(sources.joined(folder / facts["file"])) :]  # parts already joined are removed
    yield from (part for part in parts if not have(part["file"]) and not fetchable(part))


def request(
    name: str,
    block: Mapping,
    files: Sequence[Mapping],
    access: sources.Access,
    tasks: Sequence[str],
    comparisons: Sequence[str],
) -> str:
    """Return lines of text: which files to get, where to put them, and how to leave the dataset out."""
    facts = datasets.source(block["adapter"])
    figures = f" and figures ({', '.join(comparisons)})" if comparisons else ""
    keys = sorted({unset(url) for file in files for url in file.get("urls") or []} - {""})
    lines = [
        f"{facts['title']} cannot be fetched without you.",
        f"  This run leaves out its tasks ({', '.join(tasks) or 'none'}){figures}; everything else is done.",
    ]
    own = [facts["manual"]] if facts.get("manual") else []
    texts = dict.fromkeys([*own, *(file["manual"] for file in files if file.get("manual"))])
    if all(any(file["file"] in text for text in texts) for file in files):  # the texts describe them
        lines.append(f"  What to get: {', '.join(file['file'] for file in files)}")
    else:
        lines += ["  What to get:", *(f"    {_described(file)}" for file in files)]
    for text in texts:
        lines += [f"  {line}" for line in text.strip().splitlines()]
    where = access.by_hand(name)[0].resolve()
    lines.append(f"  Put the files into {where}/ and run again; they are verified and linked from there.")
    if keys:
        lines.append(f"  Or set the environment variable {' and '.join(keys)}, and the run fetches it.")
    lines.append(f"  To leave it out for good, without this message: --config 'datasets={{{name}: false}}'")
    return "\n".join(lines)


def _described(facts: Mapping) -> str:
    about = [f"{facts['bytes'] / GB:.1f} GB"] if facts.get("bytes") else []
    about += [f"{kind} {facts[kind]}" for kind in sources.CHECKSUMS if facts.get(kind)][:1]
    return f"{facts['file']} ({', '.join(about)})" if about else facts["file"]


def lacking_bytes(block: Mapping, folder: Path) -> float:
    """Return the bytes of a dataset's archives that are not in ``folder`` yet, from its stated size."""
    here = sum(file.stat().st_size for file in folder.glob("*") if file.is_file())
    return max(0.0, GB * datasets.source(block["adapter"]).get("size_gb", 0) - here)


def space_warning(lacking: Mapping[str, float], folder: Path) -> str:
    """Return a warning if ``lacking`` (bytes by dataset) exceeds the free space at ``folder``, else empty."""
    free = shutil.disk_usage(folder).free
    if sum(lacking.values()) <= free:
        return ""
    sizes = ", ".join(f"{name} {size / GB:.1f}" for name, size in lacking.items() if size)
    return (
        f"The archives still to be fetched need {sum(lacking.values()) / GB:.0f} GB ({sizes}), and "
        f"{folder.resolve()} has {free / GB:.0f} GB free. A download without enough space does not start: "
        "free some, run elsewhere (--directory), or leave datasets out (--config 'datasets={NAME: false}')."
    )


def record_warning(folder: Path, records: Path) -> str:
    """Return a warning if there are results without Snakemake's ``records`` of them, else empty."""
    made = next(iter(sorted(folder.rglob("*.parquet"))), None) if not any(records.glob("*")) else None
    if made is None:
        return ""
    return (
        f"There are results ({made} for one), but no record of how they were made in {records}/.\n"
        "  They are used as they are: later changes of the configuration are not noticed.\n"
        "  Copy or move that folder together with the results, or make them anew (--forceall)."
    )


def parts_warning(folder: Path, parts: Mapping[str, int]) -> str:
    """Return a warning about files of more shards than a dataset has now (name → number), else empty."""
    found = [
        path
        for name, number in parts.items()
        for pattern in (
            f"clips/{name}/part-*",
            f"clips/{name}/*Hz/part-*",
            f"*/*/{name}/part-*",
            f"shards/*/{name}/*",
        )
        for path in folder.glob(pattern)
        if path.stem[-3:].isdecimal() and int(path.stem[-3:]) >= number
    ]
    if not found:
        return ""
    listed = " ".join(sorted({shlex.quote(str(path)) for path in found}))
    return f"Left from a larger number of shards, and read by nothing; remove them:\n  rm -r {listed}"


def clock_warning(folder: Path, now: float) -> str:
    """Return a warning about results dated in the future, which hide later changes, else empty."""
    files = (Path(top, name) for top, _, names in os.walk(folder) for name in names)
    ahead = sorted(file for file in files if file.lstat().st_mtime > now + CLOCK)
    if not ahead:
        return ""
    return (
        f"{len(ahead)} file(s) under {folder}/ are dated in the future, {ahead[0]} for one: a clock was "
        "wrong.\n"
        "  Changes made since then look older than these files and are not noticed.\n"
        "  Once the clock is right, date them back to when they were made, for example:\n"
        f"    find {folder} -newermt '2 minutes' -exec touch -d yesterday {{}} +"
    )
