"""Archives and weights as the configuration and the datasets' facts name them."""

from __future__ import annotations

import json
import os
import shutil
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from audio_neurons import collection, datasets
from audio_neurons.checksums import Lock, mismatch
from audio_neurons.download import DownloadError, ensure_space, fetch
from audio_neurons.files import atomic, checksum
from audio_neurons.runtime import tell
from audio_neurons.urls import unset

ZENODO = "https://zenodo.org/api/records/{}"
CHECKSUMS = ("sha256", "md5", "git_blob")


@dataclass(frozen=True)
class Access:
    """How files are brought here: the configuration's ``download``.

    Attributes
    ----------
    archives
        Folder of files that a person has fetched: in it, or in a folder in it that is called like the
        dataset or model.
    mirror
        URL prefix → prefix that is tried first.
    retries
        Further attempts per URL.
    parallel, max_missing
        Of collections of many small files: see :func:`audio_neurons.collection.fetch_batch`.
    """

    archives: str = "resources/by_hand"
    mirror: Mapping[str, str] = field(default_factory=dict)
    retries: int = 4
    parallel: int = 8
    max_missing: float = 0.01

    def by_hand(self, owner: str) -> list[Path]:
        """Folders in which files of a dataset or model are looked for."""
        return [Path(self.archives).expanduser() / owner, Path(self.archives).expanduser()]

    def brought(self, file: str, owner: str) -> Path | None:
        """The file of a dataset or model that a person has fetched, if there is one."""
        return next((folder / file for folder in self.by_hand(owner) if (folder / file).is_file()), None)

    def fetch(self, facts: Mapping, path: Path, expected: Mapping, owner: str) -> None:
        """:func:`audio_neurons.download.fetch` with these settings, and where a person can put the file."""
        by_hand = f"By hand means: as {self.by_hand(owner)[0].absolute() / facts['file']}"
        fetch(
            facts.get("urls") or [], path, **expected, retries=self.retries, mirror=self.mirror,
            manual="\n".join([facts.get("manual", "").strip(), by_hand]).strip(),
        )  # fmt: skip


def archives(block: Mapping) -> dict[str, dict]:
    """Role → facts of each archive of a dataset's block: the dataset's own, changed by the block.

    Archives that are made here instead of fetched are not divided into batches.
    """
    own = datasets.source(block["adapter"])["archives"]
    changed = {role: {**facts, **block["archives"].get(role, {})} for role, facts in own.items()}
    for facts in changed.values():
        if "synthesis" in block and "batches" in facts:
            facts["batches"] = 1
    return changed


def names(facts: Mapping) -> str | list[str]:
    """Name of an archive's file; of a collection, those of its batches."""
    if "batches" not in facts:
        return facts["file"]
    return [facts["file"].format(batch=f"{number:03d}") for number in range(facts["batches"])]


def identity(facts: Mapping) -> dict:
    """What decides the content of an archive, and not from where or how it is brought."""
    keep = ("file", "bytes", *CHECKSUMS, "zenodo", "batches", "manifest")
    parts = {"parts": [identity(part) for part in facts["parts"]]} if "parts" in facts else {}
    return {key: facts[key] for key in keep if key in facts} | parts


def fetch_archive(
    facts: Mapping, path: str | Path, access: Access, lock: str | Path, owner: str | None = None
) -> None:
    """Bring one archive of a dataset to ``path``, verified.

    In this order: a file that a person has brought (linked, not copied), the archive's URLs, its
    parts' URLs (fetched one after the other, and joined).

    Parameters
    ----------
    facts
        Of one role (see :mod:`audio_neurons.datasets`).
    path
        Where to.
    lock
        File that holds an archive without a known checksum to that of its first download.
    owner
        Name of the dataset or model; by default that of the folder.

    Raises
    ------
    DownloadError
        If it cannot be had, or is not what it should be.
    """
    path = Path(path)
    owner = owner or path.parent.name
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
            f"{error}\nIt is held to the checksum of its first download, as {lock} has it; if upstream has "
            "changed the file on purpose, delete that line and run again."
        ) from error
    if not expected["sha256"]:
        seen.record({path.name: checksum(path)})
        tell(f"{path.name}: later downloads are held to this one's checksum, in {lock}")


def fetch_batch(
    facts: Mapping,
    number: int,
    listing: str | Path | None,
    tar: str | Path,
    missing: str | Path,
    access: Access,
    lock: str | Path,
) -> None:
    """Bring one batch of a collection of many small files (see `collection.fetch_batch`).

    ``listing`` is the archive that names the files, where no manifest does.
    """
    items = collection.from_listing(listing) if listing else collection.from_manifest(manifest(facts))
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
    """The list of a collection's files: a path, or the name of one beside the datasets' modules."""
    beside = Path(datasets.__file__).parent / facts["manifest"]
    return beside if beside.is_file() else Path(facts["manifest"])


def fetch_weights(facts: Mapping, path: str | Path, access: Access, lock: str | Path) -> None:
    """Fetch a checkpoint: the file itself, or a zip that holds it under the same folder and name.

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
    fetch_archive({**facts, "file": archive.name}, archive, access, lock)
    with zipfile.ZipFile(archive) as files:
        found = [n for n in files.namelist() if n == facts["file"] or n.endswith(f"/{facts['file']}")]
        if not found:
            raise DownloadError(
                f"{archive} holds no {facts['file']}; it holds {', '.join(files.namelist()[:10])}"
            )
        with files.open(found[0]) as source, atomic(path) as temporary, open(temporary, "wb") as target:
            shutil.copyfileobj(source, target)


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
    """Length of an archive that is being joined after each of the parts that it already has."""
    whole, ends = _joining(path)
    return json.loads(ends.read_text()) if ends.exists() and whole.exists() else []


def _joining(path: Path) -> tuple[Path, Path]:
    """Where an archive's parts are joined, and where the length after each of them is kept."""
    return path.with_name(f"{path.name}.joined"), path.with_name(f"{path.name}.joined.json")


def _join(parts: Sequence[Mapping], path: Path, expected: Mapping, access: Access, owner: str) -> None:
    """Fetch parts and append each to the whole; how far that is is the length of the whole so far.

    A part that a person brought stays where it is; a fetched one is removed once it is appended.
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
        if not brought:  # whose path may be the same
            fetched.unlink(missing_ok=True)
    if problem := mismatch(whole, expected):
        whole.unlink()
        ends.unlink()
        raise DownloadError(f"{path.name}, joined from its {len(parts)} parts: {problem} (removed)")
    os.replace(whole, path)
    ends.unlink()


def _zenodo(record: int, file: str, access: Access) -> dict[str, int | str]:
    """Size and checksum of a record's file, as Zenodo tells them; nothing if it does not answer."""
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
        tell(f"{file}: Zenodo's checksum is not to be had ({reason})")
        return {}
