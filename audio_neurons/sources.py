"""Archives and weights as the configuration and the datasets' facts name them."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path

from audio_neurons.download import DownloadError, fetch
from audio_neurons.files import atomic


def fetch_archive(facts: Mapping, path: str | Path) -> None:
    """Fetch and verify one archive of a dataset (see :func:`audio_neurons.download.fetch`)."""
    fetch(
        facts.get("urls") or [],
        path,
        sha256=facts.get("sha256"),
        md5=facts.get("md5"),
        size=facts.get("bytes"),
        manual=facts.get("manual"),
    )


def fetch_weights(facts: Mapping, path: str | Path) -> None:
    """Fetch a checkpoint: the file itself, or a zip that holds it under the same folder and name.

    Raises
    ------
    DownloadError
        If no URL gives it, a checksum differs, or the zip holds no such file.
    """
    path = Path(path)
    url = next(iter(facts.get("urls") or []), "")
    if not url.split("?")[0].endswith(".zip"):
        fetch_archive(facts, path)
        return
    archive = path.parents[len(Path(facts["file"]).parts) - 1] / Path(url.split("?")[0]).name
    fetch_archive(facts, archive)
    with zipfile.ZipFile(archive) as files:
        found = [n for n in files.namelist() if n == facts["file"] or n.endswith(f"/{facts['file']}")]
        if not found:
            raise DownloadError(
                f"{archive} holds no {facts['file']}; it holds {', '.join(files.namelist()[:10])}"
            )
        with files.open(found[0]) as source, atomic(path) as temporary, open(temporary, "wb") as target:
            shutil.copyfileobj(source, target)
