"""Fetching of the archives and weights that the configuration and the datasets' facts name."""

from __future__ import annotations

import json
import os
import shutil
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from audio_neurons.datasets import registry as datasets
from audio_neurons.fetching import collection
from audio_neurons.fetching.checksums import Lock, mismatch
from audio_neurons.fetching.download import DownloadError, ensure_space, fetch
from audio_neurons.fetching.urls import unset
from audio_neurons.running.files import atomic, checksum, write_text
from audio_neurons.running.runtime import tell
from audio_neurons.settings.preparation import Download
from audio_neurons.settings.section import serialise

ZENODO = "https://zenodo.org/api/records/{}"
CHECKSUMS = ("sha256", "md5", "git_blob")


class Access(Download):
    """Settings ``download`` of the configuration, and the files that the user brought by hand."""

    def by_hand(self, owner: str) -> list[Path]:
        """Return the folders that are searched for files of a dataset or model, in order."""
        return [Path(self.archives).expanduser() / owner, Path(self.archives).expanduser()]

    def brought(self, file: str, owner: str) -> Path | None:
        """Return the path of a file that the user brought by hand, if there is one."""
        return next((folder / file for folder in self.by_hand(owner) if (folder / file).is_file()), None)

    def fetch(self, facts: Mapping, path: Path, expected: Mapping, owner: str) -> None:
        """Fetch a file with these settings; the error message says where to put it by hand."""
        by_hand = f"To bring it by hand, save it as {self.by_hand(owner)[0].absolute() / facts['file']}"
        fetch(
            facts.get("urls") or [], path, **expected, retries=self.retries, mirror=self.mirror,
            manual="\n".join([facts.get("manual", "").strip(), by_hand]).strip(),
        )  # fmt: skip


def archives(block: Mapping) -> dict[str, dict]:
    """Return role → facts of each archive of a dataset, with the changes of its configuration block.

    Synthesised archives are not divided into batches.
    """
    own = datasets.source(block["adapter"])["archives"]
    changed = {role: {**facts, **block["archives"].get(role, {})} for role, facts in own.items()}
    for facts in changed.values():
        if "synthesis" in block and "batches" in facts:
            facts["batches"] = 1
    return changed


def names(facts: Mapping) -> str | list[str]:
    """Return the file name of an archive, or those of all batches of a collection."""
    if "batches" not in facts:
        return facts["file"]
    return [facts["file"].format(batch=f"{number:03d}") for number in range(facts["batches"])]


def identity(facts: Mapping) -> dict:
    """Return the facts that decide an archive's content, without those about its sources."""
    keep = ("file", "bytes", *CHECKSUMS, "zenodo", "batches", "manifest", "only")
    parts = {"parts": [identity(part) for part in facts["parts"]]} if "parts" in facts else {}
    return {key: facts[key] for key in keep if key in facts} | parts


def settled(path: str | Path, lock: str | Path, facts: Mapping) -> bool:
    """Return whether a file is there, and was fetched as what ``facts`` say now, as far as is known."""
    fetched = Path(lock).with_suffix(".identity")
    known = fetched.read_text(encoding="utf-8") if fetched.is_file() else None
    return Path(path).is_file() and known in (None, serialise(identity(facts)))


def _fetched(lock: str | Path, facts: Mapping) -> None:
    write_text(Path(lock).with_suffix(".identity"), serialise(identity(facts)))


def fetch_archive(
    facts: Mapping, path: str | Path, access: Access, lock: str | Path, owner: str | None = None
) -> None:
    """Fetch and verify one archive of a dataset.

    Sources in order: a file brought by hand (linked, not copied), the archive's URLs, the URLs of its
    parts (fetched in sequence, and joined).

    Parameters
    ----------
    facts
        Facts of one role (see :mod:`audio_neurons.datasets.registry`).
    path
        Path to write.
    lock
        Lock file with checksums of first downloads, for archives without a known checksum.
    owner
        Name of the dataset or model; by default the name of the folder.

    Raises
    ------
    DownloadError
        If no source gives the archive, or its content is not as expected.
    """
    _fetch_verified(facts, Path(path), access, lock, owner or Path(path).parent.name)
    _fetched(lock, facts)


def _fetch_verified(facts: Mapping, path: Path, access: Access, lock: str | Path, owner: str) -> None:
    seen = Lock(lock)
    expected = {"size": facts.get("bytes"), **{kind: facts.get(kind) for kind in CHECKSUMS}}
    if any(expected[kind] for kind in CHECKSUMS) or facts.get("bytes_vary"):
        _bring(facts, path, expected, access, owner)
        return
    expected["sha256"] = seen.get(path.name)
    if facts.get("zenodo") and not path.exists():
        expected |= _zenodo(facts["zenodo"], path.name, access)
    try:
        _bring(facts, path, expected, access, owner)
    except DownloadError as error:
        if not expected["sha256"]:
            raise
        raise DownloadError(
            f"{error}\nIt must match the checksum of its first download, recorded in {lock}; if upstream has "
            "changed the file on purpose, delete its line there and run again."
        ) from error
    if not expected["sha256"]:
        seen.record({path.name: checksum(path)})
        tell(f"{path.name}: later downloads must match this one's checksum, recorded in {lock}")


def fetch_batch(
    facts: Mapping,
    number: int,
    listing: str | Path | None,
    tar: str | Path,
    missing: str | Path,
    access: Access,
    lock: str | Path,
) -> None:
    """Fetch one batch of a collection of many small files (see `collection.fetch_batch`).

    ``listing`` is the archive that lists the files, if there is no manifest.
    """
    items = collection.from_listing(listing) if listing else collection.from_manifest(manifest(facts))
    if pattern := facts.get("only"):
        items = collection.matching(items, pattern, listing or manifest(facts))
    tar = Path(tar)
    collection.fetch_batch(
        collection.batch(items, number, facts["batches"]),
        facts["urls"],
        tar,
        Path(missing),
        by_hand=access.by_hand(tar.parent.name),
        mirror=access.mirror,
        parallel=access.parallel,
        retries=access.retries,
        max_missing=access.max_missing,
        lock=Lock(lock),
    )


def manifest(facts: Mapping) -> Path:
    """Return the path of a collection's manifest, which may lie beside the datasets' modules."""
    beside = Path(datasets.__file__).parent / facts["manifest"]
    return beside if beside.is_file() else Path(facts["manifest"])


def fetch_weights(facts: Mapping, path: str | Path, access: Access, lock: str | Path) -> None:
    """Fetch a checkpoint: the file itself, or a zip that holds it under the same relative path.

    Raises
    ------
    DownloadError
        If no URL gives it, a checksum differs, or the zip holds no such file.
    """
    path = Path(path)
    folder = path.parents[len(Path(facts["file"]).parts) - 1]
    url = next(iter(facts.get("urls") or []), "")
    if not url.split("?")[0].endswith(".zip"):
        fetch_archive(facts, path, access, lock, folder.name)
        return
    archive = folder / Path(url.split("?")[0]).name
    _fetch_verified({**facts, "file": archive.name}, archive, access, lock, folder.name)
    with zipfile.ZipFile(archive) as files:
        found = [n for n in files.namelist() if n == facts["file"] or n.endswith(f"/{facts['file']}")]
        if not found:
            raise DownloadError(
                f"{archive} holds no {facts['file']}; it holds {', '.join(files.namelist()[:10])}"
            )
        with files.open(found[0]) as source, atomic(path) as temporary, open(temporary, "wb") as target:
            shutil.copyfileobj(source, target)
    _fetched(lock, facts)


def _bring(facts: Mapping, path: Path, expected: Mapping, access: Access, owner: str) -> None:
    brought = access.brought(facts["file"], owner)
    if brought and not path.exists():
        _link(brought, path, expected)
    elif facts.get("parts") and not path.exists() and all(unset(url) for url in facts.get("urls") or []):
        _join(facts["parts"], path, expected, access, owner)
    else:
        access.fetch(facts, path, expected, owner)


def _link(source: Path, path: Path, expected: Mapping) -> None:
    if problem := mismatch(source, expected):
        raise DownloadError(f"{source}, brought by hand, is not the right file: {problem}. Fetch it anew.")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, path)
    except OSError:  # another file system, or one without links
        os.symlink(source.resolve(), path)


def joined(path: Path) -> list[int]:
    """Return the length of a partly joined archive after each part that it already has."""
    whole, ends = _joining(path)
    return json.loads(ends.read_text()) if ends.exists() and whole.exists() else []


def _joining(path: Path) -> tuple[Path, Path]:
    """Return the paths of the archive being joined and of its lengths after each part."""
    return path.with_name(f"{path.name}.joined"), path.with_name(f"{path.name}.joined.json")


def _join(parts: Sequence[Mapping], path: Path, expected: Mapping, access: Access, owner: str) -> None:
    """Fetch parts and append each to the whole; the recorded lengths let an interrupted run resume.

    A part brought by hand stays where it is; a fetched part is removed once it is appended.
    """
    whole, ends = _joining(path)
    lengths = joined(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    for number, part in enumerate(parts[len(lengths) :], start=len(lengths)):
        brought = access.brought(part["file"], owner)
        fetched = path.with_name(part["file"])
        facts = {"size": part.get("bytes"), **{kind: part.get(kind) for kind in CHECKSUMS}}
        if brought:
            if problem := mismatch(brought, facts):
                raise DownloadError(f"{brought}, brought by hand, is not the right file: {problem}.")
        else:
            access.fetch(part, fetched, facts, owner)
        ensure_space(whole, (brought or fetched).stat().st_size)
        with open(whole, "r+b" if number else "wb") as target, open(brought or fetched, "rb") as source:
            target.seek(lengths[-1] if lengths else 0)
            target.truncate()
            shutil.copyfileobj(source, target, 1 << 20)
            lengths.append(target.tell())
        with atomic(ends) as temporary:
            temporary.write_text(json.dumps(lengths))
        if not brought:  # a brought part may have the same path
            fetched.unlink(missing_ok=True)
    if problem := mismatch(whole, expected):
        whole.unlink()
        ends.unlink()
        raise DownloadError(f"{path.name}, joined from its {len(parts)} parts: {problem} (removed)")
    os.replace(whole, path)
    ends.unlink()


def _zenodo(record: int, file: str, access: Access) -> dict[str, int | str]:
    """Return size and checksum of a record's file from Zenodo; empty if they are not available."""
    url = ZENODO.format(record)
    try:
        with TemporaryDirectory() as folder:
            answer = Path(folder) / "record.json"
            fetch([url], answer, retries=min(access.retries, 1), mirror=access.mirror, quiet=True)
            entries = json.loads(answer.read_text(encoding="utf-8"))["files"]
        entry = next(e for e in entries if e.get("key", e.get("filename")) == file)
        kind, _, digest = entry["checksum"].rpartition(":")
        return {"size": entry.get("size", entry.get("filesize")), kind or "md5": digest}
    except (DownloadError, ValueError, LookupError, TypeError, StopIteration) as error:
        reason = str(error).splitlines()[0] if str(error) else f"{url} lists no {file}"
        tell(f"{file}: Zenodo's checksum is not available ({reason})")
        return {}
