"""A package index on this machine that serves wheels built by the tests: real files, no network.

```python
with Server() as server:
    index = Index(server)
    index.add(wheel("alpha", "1.0"))
    ...  # PIP_INDEX_URL=index.url
```
"""

from __future__ import annotations

import base64
import hashlib
import io
import tarfile
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from server import Server


@dataclass(frozen=True)
class File:
    """A file of a release."""

    name: str
    data: bytes

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()

    @property
    def project(self) -> str:
        return self.name.split("-")[0]

    @property
    def version(self) -> str:
        return self.name.split("-")[1].removesuffix(".tar.gz")

    @property
    def pin(self) -> str:
        """The entry of the file in a lock."""
        return f"{self.project}=={self.version} \\\n    --hash=sha256:{self.sha256}\n"


def wheel(
    name: str,
    version: str,
    requires: Iterable[str] = (),
    files: Mapping[str, bytes] | None = None,
    scripts: Mapping[str, str] | None = None,
) -> File:
    """Build a wheel of ``files``, by default a module with its version; ``scripts``: name → entry point."""
    info = f"{name}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nProvides-Extra: extra\n"
    content = dict(files or {f"{name}.py": f"version = {version!r}\n".encode()})
    content[f"{info}/METADATA"] = (metadata + "".join(f"Requires-Dist: {r}\n" for r in requires)).encode()
    content[f"{info}/WHEEL"] = (
        b"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    )
    if scripts:
        lines = "".join(f"{command} = {what}\n" for command, what in scripts.items())
        content[f"{info}/entry_points.txt"] = f"[console_scripts]\n{lines}".encode()
    record = "".join(f"{path},sha256={_digest(data)},{len(data)}\n" for path, data in content.items())
    content[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n".encode()
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for path, data in content.items():
            entry = zipfile.ZipInfo(path)
            entry.external_attr = 0o100755 << 16
            archive.writestr(entry, data)
    return File(f"{name}-{version}-py3-none-any.whl", packed.getvalue())


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


BUILDS = """\
import setuptools, zipfile

def build_wheel(folder, *_):
    files = {
        "gamma.py": f"builder = {setuptools.version!r}",
        "gamma-1.0.dist-info/METADATA": "Metadata-Version: 2.1\\nName: gamma\\nVersion: 1.0\\n",
        "gamma-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
        "gamma-1.0.dist-info/RECORD": "",
    }
    with zipfile.ZipFile(f"{folder}/gamma-1.0-py3-none-any.whl", "w") as wheel:
        for path, text in files.items():
            wheel.writestr(path, text)
    return "gamma-1.0-py3-none-any.whl"
"""


def source() -> File:
    """Build the source distribution gamma, whose module records the setuptools version that built it."""
    content = {
        "pyproject.toml": '[build-system]\nrequires = ["setuptools"]\n'
        'build-backend = "builds"\nbackend-path = ["."]\n[project]\nname = "gamma"\nversion = "1.0"\n',
        "PKG-INFO": "Metadata-Version: 2.1\nName: gamma\nVersion: 1.0\n",
        "builds.py": BUILDS,
    }
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for path, text in content.items():
            entry = tarfile.TarInfo(f"gamma-1.0/{path}")
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text.encode()))
    return File("gamma-1.0.tar.gz", packed.getvalue())


class Index:
    """A package index (PEP 503) in a folder of a server."""

    def __init__(self, server: Server, folder: str, files: Iterable[File] = ()):
        self._server, self._folder = server, folder
        self._links: dict[str, dict[str, str]] = {}
        self.url = f"{server.url}/{folder}/simple"
        for file in files:
            self.add(file)

    def add(self, file: File, yanked: str = "", data: bytes | None = None, **faults) -> None:
        """Offer a file: yanked for a reason (PEP 592), with other bytes, or with faults of the server."""
        self._server.put(f"{self._folder}/files/{file.name}", file.data if data is None else data, **faults)
        sha256 = hashlib.sha256(file.data if data is None else data).hexdigest()
        withdrawn = f' data-yanked="{yanked}"' if yanked else ""
        links = self._links.setdefault(file.project, {})
        links[file.name] = f'<a href="../../files/{file.name}#sha256={sha256}"{withdrawn}>{file.name}</a>'
        self._page(file.project)

    def remove(self, file: File) -> None:
        """Remove a file from the listing."""
        del self._links[file.project][file.name]
        self._page(file.project)

    def _page(self, project: str) -> None:
        page = f"<!DOCTYPE html><html><body>{'<br>'.join(self._links[project].values())}</body></html>"
        self._server.put(f"{self._folder}/simple/{project}/", page.encode(), html=True)

    def asked(self, file: File) -> int:
        """Return how often a file was requested."""
        return self._server.count(f"{self._folder}/files/{file.name}")


def pins(*files: File) -> str:
    """Return a lock of these files."""
    return "".join(file.pin for file in files)
