"""Models of the Hugging Face Hub, fetched by its own client and pinned to the commit of the first download.

The client keeps a cache, resumes, and reads ``HF_TOKEN``, ``HF_ENDPOINT``, ``HF_HOME`` and ``HF_HUB_OFFLINE``
from the environment.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Any

from audio_neurons.fetching.checksums import mismatch
from audio_neurons.fetching.download import DownloadError, ensure_space
from audio_neurons.models import folder
from audio_neurons.running.files import atomic, checksum
from audio_neurons.running.runtime import tell

if TYPE_CHECKING:
    from huggingface_hub import ModelInfo

HUB = "https://huggingface.co"
BY_HAND = "or download it by hand, and use `folder: PATH` in place of `hub`"


def fetch_snapshot(facts: Mapping, out: str | Path, lock: str | Path, model: str) -> None:
    """Fetch config.json, preprocessor_config.json and weights of a model into the folder of ``out``.

    ``out`` is written last: JSON with name, commit, licence, and the SHA-256 of every file.

    Parameters
    ----------
    facts
        ``name`` and ``revision``, a branch, tag or commit.
    lock
        JSON file with the commit of each name and revision; written at the first download, and obeyed later.
    model
        Name of the model's block, for messages.

    Raises
    ------
    DownloadError
        If there is no such model or revision, it is gated or incomplete, or the Hub cannot be reached and the
        client's cache does not hold it. The message names the block and the remedy.
    """
    name, revision = facts["name"], facts.get("revision") or "main"
    key, known = f"{name}@{revision}", _pinned(Path(lock))
    pinned = known.get(key)
    try:
        info, snapshot = _download(name, pinned or revision)
    except Exception as error:
        raise DownloadError(f"models.{model}: {_reason(error, name, revision, pinned, lock)}") from error
    found = {path.name: path for path in _complete(snapshot, model, name)}
    commit = pinned or (info.sha if info and info.sha else snapshot.resolve().name)
    _verify(found, info, model, name)
    where = Path(out).parent
    where.mkdir(parents=True, exist_ok=True)
    for old in where.iterdir():  # of another revision
        old.unlink()
    for file, path in found.items():
        _place(path, where / file)
    if pinned is None:
        with atomic(lock) as temporary:
            temporary.write_text(json.dumps({**known, key: commit}, indent=1, sort_keys=True) + "\n", "utf-8")
        tell(f"{name}: {revision} is commit {commit}; later downloads are held to it by {lock}")
    facts = {"name": name, "commit": commit, "licence": licence(info)}
    with atomic(out) as temporary:
        told = {**facts, "files": {file: checksum(where / file) for file in sorted(found)}}
        temporary.write_text(json.dumps(told, indent=1, sort_keys=True) + "\n", "utf-8")


def licence(info: ModelInfo | None) -> str | None:
    """Return the licence that the Hub gives a model, if it does."""
    tags = (info.tags or []) if info else []
    return next((tag.removeprefix("license:") for tag in tags if tag.startswith("license:")), None)


def _pinned(lock: Path) -> dict[str, str]:
    try:
        known = json.loads(lock.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise DownloadError(f"{lock} is damaged ({error}); restore it, or delete it to pin anew") from error
    return dict(known)


def _download(name: str, revision: str) -> tuple[ModelInfo | None, Path]:
    """Return the Hub's facts of a model, if it answers, and the folder of its files in the client's cache."""
    from huggingface_hub import HfApi, constants, snapshot_download
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError

    endpoint = os.environ.get("HF_ENDPOINT") or None
    anything = [folder.CONFIG, *folder.PREPROCESSORS, *folder.WEIGHTS, *folder.PARTS]
    api = HfApi(endpoint=endpoint)
    try:
        if constants.HF_HUB_OFFLINE:
            raise ConnectionError("HF_HUB_OFFLINE is set")
        info = api.model_info(name, revision=revision, files_metadata=True)
    except HfHubHTTPError:
        raise
    except Exception as error:  # no network: what the cache holds is as good
        try:
            local = snapshot_download(name, revision=revision, allow_patterns=anything, local_files_only=True)
        except Exception:
            raise error from None
        return None, Path(local)
    names = [file.rfilename for file in info.siblings or ()]
    if folder.CONFIG not in names:
        raise DownloadError(
            f"{name} has no {folder.CONFIG} at {revision}, so it is no model of transformers; it has "
            f"{', '.join(names[:8]) or 'no files'}"
        )
    files = list(_wanted(names))
    sizes = {file.rfilename: file.size or 0 for file in info.siblings or ()}
    cache = Path(constants.HF_HUB_CACHE)
    cache.mkdir(parents=True, exist_ok=True)
    here = cache / f"models--{name.replace('/', '--')}"
    ensure_space(here, 0 if here.exists() else sum(sizes[file] for file in files))
    try:
        # By its name, which the client remembers for runs without a network.
        got = Path(snapshot_download(name, revision=revision, allow_patterns=files, endpoint=endpoint))
        if got.name != info.sha:  # it moved in between
            info = api.model_info(name, revision=got.name, files_metadata=True)
        return info, got
    except GatedRepoError as error:
        raise DownloadError(_gated(name, licence(info), error)) from error


def _wanted(names: Iterable[str]) -> Iterable[str]:
    """Return the files to fetch: descriptions, and weights in the best form that there is."""
    names = list(names)
    weights = next((one for one in folder.WEIGHTS if one in names), None)
    yield from (name for name in names if name in (folder.CONFIG, *folder.PREPROCESSORS))
    if weights is not None:
        yield weights
        if weights.endswith(".index.json"):
            stem = weights.removesuffix(".index.json")
            pattern = next(one for one in folder.PARTS if one.endswith(Path(stem).suffix))
            yield from (name for name in names if fnmatch(name, pattern))


def _complete(snapshot: Path, model: str, name: str) -> list[Path]:
    try:
        return folder.files(snapshot)
    except ValueError as error:
        raise DownloadError(f"models.{model}: {name}: {error}") from error


def _verify(found: Mapping[str, Path], info: ModelInfo | None, model: str, name: str) -> None:
    """Compare the files with the sizes and checksums that the Hub gives."""
    for file in (info.siblings or ()) if info else ():
        if path := found.get(file.rfilename):
            expected = {"size": file.size, "sha256": file.lfs.sha256 if file.lfs else None}
            expected["git_blob"] = None if file.lfs else file.blob_id
            if problem := mismatch(path, expected):
                path.resolve().unlink()  # the cache's own copy
                path.unlink(missing_ok=True)
                raise DownloadError(
                    f"models.{model}: {file.rfilename} of {name}: {problem} (removed); run again"
                )


def _place(source: Path, path: Path) -> None:
    """Copy a file of the cache, or link it if it is on the same disk; nodes may not see the cache."""
    try:
        os.link(source.resolve(), path)
    except OSError:
        with atomic(path) as temporary:
            shutil.copyfile(source, temporary)


def _reason(error: Exception, name: str, revision: str, pinned: str | None, lock: Any) -> str:
    """Return what went wrong, and the remedy."""
    from huggingface_hub import errors

    site = _site(name)
    if isinstance(error, errors.GatedRepoError):
        return _gated(name, None, error)
    if isinstance(error, errors.RevisionNotFoundError):
        if pinned:
            return (
                f"{name} has no commit {pinned} any more, which {lock} pins for {revision}; to take the "
                "present "
                f"one, delete its line there"
            )
        return f"{name} has no revision {revision!r}; see {site}/commits/main"
    if isinstance(error, errors.RepositoryNotFoundError):
        return (
            f"there is no model {name} on {site.removesuffix('/' + name)}, or it is private: check the name "
            f"(OWNER/NAME); for a private one set the environment variable HF_TOKEN"
        )
    if isinstance(error, errors.HFValidationError):
        return f"{name!r} is no name of a model on the Hub ({_first_line(error)}); it is written OWNER/NAME"
    if isinstance(error, DownloadError):
        return str(error)
    return (
        f"{name} cannot be fetched from {site} ({type(error).__name__}: {_first_line(error)}), and is not "
        "whole in "
        f"the client's cache. Run again with a network (what is there is kept), with HF_ENDPOINT set to a "
        "mirror; "
        f"{BY_HAND}"
    )


def _gated(name: str, licence: str | None, error: Exception) -> str:
    under = f" ({licence})" if licence else ""
    return (
        f"{name} is gated: read and accept its licence{under} on {_site(name)}, and set the environment "
        "variable "
        f"HF_TOKEN to a token of that account; {BY_HAND} ({_first_line(error)})"
    )


def _site(name: str) -> str:
    return f"{os.environ.get('HF_ENDPOINT') or HUB}/{name}"


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [""])[0]
