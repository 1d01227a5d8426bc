"""`make environment` installs exactly the locked files, and reports every obstacle in one line.

The tests run the Makefile's recipe with real Pythons, pips and uv. Packages come from a local index.
"""

from __future__ import annotations

import ast
import importlib.util
import io
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from common import ROOT
from index import File, Index, pins, source, wheel
from server import Server, closed_port, until

PYTHON = Path(getattr(sys, "_base_executable", sys.executable)).resolve()
# The oldest pip that comes with Python 3.11, and the newest pip; both from an index, if one answers.
PIPS = {
    "22.3": "1daab4b8d3b97d1d763caeb01a4640a2250a0ea899e257b1e44b9eded91e15ab",
    "26.3": "f3b60b20ffaadd4415ed7957212a38ac63fa4c5fa375bd0f4a797777940fad13",
}
NEW = wheel("alpha", "2.0")
ALPHA = wheel("alpha", "1.0")
BETA = wheel(
    "beta", "1.0", ["alpha[extra]>=1.0"], {"beta.py": b"def main():\n    pass\n"}, {"beta": "beta:main"}
)
GAMMA = source()
SETUPTOOLS, NEW_SETUPTOOLS = wheel("setuptools", "1.0"), wheel("setuptools", "2.0")
COUNTER = itertools.count()
SHOWN = "import alpha, gamma, importlib.metadata as m; print(alpha.version, gamma.builder, m.version('beta'))"

spec = importlib.util.spec_from_file_location("install", ROOT / "envs" / "install.py")
install = importlib.util.module_from_spec(spec)
spec.loader.exec_module(install)


def fetched(folder: Path, lock: str) -> File:
    """Download the one file of a lock from pip's index; skip the test if no index answers."""
    (folder / "lock.txt").write_text(lock)
    command = [PYTHON, "-m", "pip", "download", "--retries", "0", "--timeout", "10", "--no-deps", "--quiet"]
    command += ["--require-hashes", "--only-binary", ":all:", "-r", folder / "lock.txt", "-d", folder]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no index has {lock.split()[0]} for this machine: {done.stderr.splitlines()[-1:]}")
    (path,) = folder.glob("*.whl")
    return File(path.name, path.read_bytes())


@pytest.fixture(scope="session")
def uv(tmp_path_factory) -> File:
    """Return a wheel of the uv in the tests' environment or on the machine, else one from an index."""
    lock = (ROOT / "envs" / "uv.txt").read_text()
    for path in (Path(sys.executable).with_name("uv"), shutil.which("uv")):
        if path and Path(path).exists():
            return wheel("uv", "1.0", files={"uv-1.0.data/scripts/uv": Path(path).read_bytes()})
    file = fetched(tmp_path_factory.mktemp("uv"), lock)
    with zipfile.ZipFile(io.BytesIO(file.data)) as packed:
        (path,) = [name for name in packed.namelist() if name.endswith("/scripts/uv")]
        return wheel("uv", file.version, files={path: packed.read(path)})


@pytest.fixture(scope="session")
def pip(tmp_path_factory) -> Callable[[str], Path]:
    """Return a function that makes a Python whose new environments start with another version of pip."""
    made = {}

    def wrapper(version: str) -> Path:
        if version not in made:
            folder = tmp_path_factory.mktemp("pip")
            file = fetched(folder, f"pip=={version} --hash=sha256:{PIPS[version]}\n")
            made[version] = python(
                folder,
                f"""
import subprocess, venv
def seed(self, context):
    command = [context.env_exe, {str(folder / file.name / "pip")!r}, "install", "--no-index", "--quiet"]
    subprocess.check_output([*command, {str(folder / file.name)!r}])
venv.EnvBuilder._setup_pip = seed
""",
            )
        return made[version]

    return wrapper


@pytest.fixture(scope="session")
def quick(tmp_path_factory) -> Callable[..., Path]:
    """Return a function that makes a Python that copies pip into new environments, which is fast."""
    base = tmp_path_factory.mktemp("base")
    subprocess.run([PYTHON, "-m", "venv", base], check=True)
    (packages,) = base.glob("lib/*/site-packages")

    def wrapper(at_start: str = "") -> Path:
        seed = f"""
import shutil, venv
def seed(self, context):
    packages = {str(packages)!r}
    shutil.copytree(packages, packages.replace({str(base)!r}, context.env_dir), dirs_exist_ok=True)
venv.EnvBuilder._setup_pip = seed
"""
        return python(tmp_path_factory.mktemp("quick"), seed + at_start)

    return wrapper


def python(folder: Path, at_start: str) -> Path:
    """Write a program that runs this Python after the given statements."""
    (folder / "sitecustomize.py").write_text(at_start)
    (folder / "python").write_text(f'#!/bin/sh\nPYTHONPATH={folder} exec {PYTHON} "$@"\n')
    (folder / "python").chmod(0o755)
    return folder / "python"


@pytest.fixture(scope="module")
def server():
    with Server() as server:
        yield server


@pytest.fixture
def index(server, uv) -> Index:
    """An index with the pinned releases, some newer ones, and uv."""
    files = (ALPHA, NEW, BETA, GAMMA, SETUPTOOLS, NEW_SETUPTOOLS, uv)
    return Index(server, f"index-{next(COUNTER)}", files)


class Checkout:
    """Runs the Makefile's recipe with a separate environment, lock files and index."""

    def __init__(self, folder: Path, python: Path, index: str, uv: File | None):
        self.venv, self.lock, self.uv_lock = folder / "venv", folder / "lock.txt", folder / "uv.txt"
        self.python, self.said = python, ""
        self.lock.write_text(pins(ALPHA, BETA))
        self.uv_lock.write_text(uv.pin if uv else "")
        machine = (
            "PIP_",
            "UV_",
            "PYTHON",
            "MAKE",
            "MFLAGS",
            "SSL_",
            "HTTP",
            "ALL_PROXY",
            "http",
            "all_proxy",
        )
        self.variables = {name: v for name, v in os.environ.items() if not name.startswith(machine)}
        self.variables |= {"PIP_CONFIG_FILE": os.devnull, "PIP_INDEX_URL": index, "PIP_NO_CACHE_DIR": "1"}
        self.variables |= {"UV_CACHE_DIR": str(folder / "cache"), "UV_HTTP_RETRIES": "0"}

    def command(self, **changed) -> list[str]:
        given = {"PYTHON": self.python, "VENV": self.venv, "LOCK": self.lock, "UV_LOCK": self.uv_lock}
        given |= {"GIGABYTES": 0.01, **changed}
        return [
            "make",
            "--no-print-directory",
            "environment",
            *(f"{k}={v}" for k, v in given.items() if v is not None),
        ]

    def start(self, cwd: Path = ROOT, **changed) -> subprocess.Popen:
        """Start `make environment` in a new process group."""
        return subprocess.Popen(
            self.command(**changed),
            cwd=cwd,
            env=self.variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def make(self, cwd: Path = ROOT, **changed) -> str:
        """Run `make environment`, which must succeed, and return its output."""
        ran = self.start(cwd, **changed)
        said = ran.communicate()[0]
        assert ran.returncode == 0, said
        return said

    def refuse(self, **changed) -> str:
        """Return the error of a run that must fail and leave no ready environment; `said` has all output."""
        ran = self.start(**changed)
        self.said = ran.communicate()[0]
        assert ran.returncode, self.said
        assert not self.ready(), self.said
        return [line for line in self.said.splitlines() if line.startswith("error: ")][-1]

    def ready(self) -> bool:
        return (self.venv / ".ready").exists()

    def ask(self, code: str) -> str:
        return subprocess.check_output([self.venv / "bin" / "python", "-c", code], text=True).strip()


@pytest.fixture
def checkout(tmp_path, quick, index, uv) -> Checkout:
    return Checkout(tmp_path, quick(), index.url, uv)


@pytest.fixture
def bare(tmp_path, quick) -> Checkout:
    """A checkout whose index does not answer."""
    return Checkout(
        tmp_path, quick(), f"http://127.0.0.1:{closed_port()}/simple", File("uv-1.0-py3.whl", b"")
    )


# Installation


@pytest.mark.parametrize(
    ("version", "by"), [("bundled", "uv"), ("22.3", "uv"), ("22.3", "pip"), ("26.3", "uv"), ("26.3", "pip")]
)
def test_what_is_installed_is_what_the_lock_lists_whatever_has_been_released(
    version, by, checkout, pip, index, uv
):
    if by == "pip":
        index.remove(uv)
    # The index has newer alpha, which beta requires with an extra, and setuptools, which builds gamma.
    checkout.lock.write_text(pins(SETUPTOOLS, GAMMA, ALPHA, BETA))
    checkout.variables["PYTHONDONTWRITEBYTECODE"] = "1"
    said = checkout.make(PYTHON=PYTHON if version == "bundled" else pip(version))
    assert checkout.ask(SHOWN) == "1.0 1.0 1.0"
    assert ("uv is not available; pip is used" in said) == (by == "pip")
    assert (checkout.venv / "bin" / "uv").exists() == (by == "uv")
    if version != "bundled":
        assert checkout.ask("import pip; print(pip.__version__)") == version
        assert f", pip {version}, " in said
    assert list(checkout.venv.glob("lib/*/site-packages/__pycache__/alpha.*.pyc"))
    assert checkout.make() == ""


def test_settings_of_pip_hold_for_uv_and_those_that_put_packages_elsewhere_do_not(checkout, uv, tmp_path):
    files = tmp_path / "a" / "wheels"
    files.mkdir(parents=True)
    for file in (ALPHA, NEW, BETA, GAMMA, SETUPTOOLS, uv):
        (files / file.name).write_bytes(file.data)
    checkout.lock.write_text(pins(SETUPTOOLS, GAMMA, ALPHA, BETA))
    (tmp_path / "pip.conf").write_text(
        f"[global]\nno-index = true\n[install]\ntarget = {tmp_path / 'target'}\n"
    )
    del checkout.variables["PIP_INDEX_URL"]
    checkout.variables |= {"PIP_CONFIG_FILE": str(tmp_path / "pip.conf"), "PIP_FIND_LINKS": str(files)}
    checkout.variables |= {
        "PIP_USER": "1",
        "PIP_PREFIX": str(tmp_path / "prefix"),
        "PIP_CONSTRAINT": "absent.txt",
    }
    said = checkout.make()
    assert "There is no uv here" not in said
    assert checkout.ask(SHOWN) == "1.0 1.0 1.0"
    assert not (tmp_path / "target").exists()
    assert not (tmp_path / "prefix").exists()


def test_other_indexes_are_asked_for_what_the_first_one_lacks(checkout, index, server):
    other = Index(server, f"index-{next(COUNTER)}", [BETA, NEW])
    other.add(ALPHA, data=wheel("alpha", "1.0", ["another"]).data)
    index.remove(BETA)
    checkout.variables["PIP_EXTRA_INDEX_URL"] = other.url
    assert "There is no uv here" not in checkout.make()
    assert checkout.ask("import alpha, beta; print(alpha.version)") == "1.0"


def test_packages_of_a_python_path_are_left_out(checkout, tmp_path):
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "json.py").write_text("raise SystemExit('foreign')")
    checkout.variables["PYTHONPATH"] = str(tmp_path / "foreign")
    assert "PYTHONPATH and PYTHONHOME are set; they are ignored here." in checkout.make()


def test_a_checkout_has_its_environment_wherever_it_lies(checkout, tmp_path):
    place = tmp_path / "x,y%z=@+é~w"
    (place / "envs").mkdir(parents=True)
    shutil.copy(ROOT / "Makefile", place)
    shutil.copy(ROOT / "envs" / "install.py", place / "envs")
    checkout.make(cwd=place, VENV=None)
    assert subprocess.run([place / ".venv" / "bin" / "beta"], check=True).returncode == 0


# Refusals and warnings


def test_a_file_that_is_withdrawn_is_installed_and_told(checkout, index):
    index.add(ALPHA, yanked="wrong sums")
    said = checkout.make()
    assert checkout.ask("import alpha; print(alpha.version)") == "1.0"
    assert "wrong sums" in said


@pytest.mark.parametrize("by", ["uv", "pip"])
def test_a_file_that_is_another_or_gone_is_an_error_and_nothing_is_ready(by, checkout, index):
    index.add(ALPHA, data=wheel("alpha", "1.0", ["beta"]).data)
    how = {} if by == "uv" else {"UV_LOCK": ""}
    message = f"error: {checkout.lock} is not installed, for what {by} says above; "
    assert checkout.refuse(**how).startswith(message)
    assert "alpha" in checkout.said
    assert "hash" in checkout.said.lower()
    index.remove(ALPHA)
    assert checkout.refuse(**how).startswith(message)
    assert "alpha==1.0" in checkout.said


def test_a_lock_that_lacks_a_package_is_told(checkout):
    checkout.lock.write_text(pins(BETA))
    assert checkout.refuse().startswith(f"error: {checkout.lock} has conflicting packages; ")
    assert "beta 1.0 requires alpha, which is not installed." in checkout.said


@pytest.mark.parametrize("version", [(3, 6, 15), (3, 10, 13), (3, 15, 0)])
def test_python_too_old_or_too_new_is_told_at_once(version, bare, quick):
    line = bare.refuse(PYTHON=quick(f"import sys\nsys.version_info = {version}"))
    assert line.startswith("error: Python 3.11 to 3.14 is needed, ")
    assert line.endswith(f" is {'.'.join(map(str, version))}; set PYTHON=python3.12")
    assert not bare.venv.exists()


def test_an_old_python_can_read_the_error():
    ast.parse((ROOT / "envs" / "install.py").read_text("utf-8"), feature_version=(3, 6))


def test_no_python_is_told(bare):
    assert bare.refuse(PYTHON="python3.99") == "error: there is no python3.99; set PYTHON=python3.12, say"


@pytest.mark.parametrize("module", ["venv", "ensurepip"])
def test_a_python_without_venv_is_told_with_the_package(module, bare, tmp_path):
    line = bare.refuse(PYTHON=python(tmp_path, f"import sys\nsys.modules[{module!r}] = None"))
    assert f" lacks the module {module}; install it (Debian, Ubuntu: apt install python3." in line
    assert not bare.venv.exists()


def test_too_little_disk_is_told_before_anything_is_removed(bare):
    bare.venv.mkdir()
    (bare.venv / "pyvenv.cfg").touch()
    line = bare.refuse(GIGABYTES=10**7)
    assert line.startswith(f"error: 1e+07 GB are needed in {bare.venv}, and ")
    assert line.endswith(" GB are free; make room, or clone to a larger disk")
    assert (bare.venv / "pyvenv.cfg").exists()


def test_no_network_is_told_within_seconds(bare):
    assert bare.refuse() == (
        "error: no package index answers; set HTTPS_PROXY or PIP_INDEX_URL, or see docs/offline.md"
    )


def test_a_folder_that_is_something_else_is_left_alone(bare):
    bare.venv.mkdir()
    (bare.venv / "thesis.tex").touch()
    assert bare.refuse() == (
        f"error: {bare.venv} is not a virtual environment and stays untouched; move it, or set VENV=..."
    )
    assert (bare.venv / "thesis.tex").exists()


def test_an_environment_behind_a_link_is_left_as_it_is(bare, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "pyvenv.cfg").touch()
    bare.venv.symlink_to(other)
    assert bare.refuse() == (
        f"error: {bare.venv} is a link to {other.resolve()}, which is not empty, and its installation was "
        "not finished; remove the link, or empty that folder if nothing else uses it"
    )
    assert (other / "pyvenv.cfg").exists()


def test_an_environment_may_be_behind_a_link_and_is_shared_but_not_made_anew(checkout, tmp_path):
    """On a larger disk, say, or that of another checkout."""
    other = tmp_path / "scratch"
    other.mkdir()
    checkout.venv.symlink_to(other)
    assert f"Making {checkout.venv}: its installation was not finished." in checkout.make()
    assert checkout.venv.is_symlink()
    assert checkout.ask("import alpha; print(alpha.version)") == "1.0"
    assert (other / ".ready").exists()
    second = tmp_path / "second"
    second.symlink_to(other)
    assert "Making" not in checkout.make(VENV=second)

    before = (other / ".ready").read_text()
    checkout.lock.write_text(pins(NEW, BETA))
    ran = checkout.start(VENV=second)
    said = ran.communicate()[0]
    assert ran.returncode
    assert (
        f"error: {second} is a link to {other.resolve()}, which is not empty, and {checkout.lock} has "
        in said
    )
    assert (other / ".ready").read_text() == before
    assert checkout.ask("import alpha; print(alpha.version)") == "1.0"


@pytest.mark.parametrize("odd", [" ", "'", ":", "&", "("])
def test_a_path_that_snakemake_cannot_run_is_told_with_the_remedy(odd, bare, tmp_path):
    line = bare.refuse(VENV=tmp_path / f"a{odd}b")
    assert line.startswith(f"error: Snakemake cannot run a Python whose path contains {odd[-1]!r}: ")
    assert line.endswith("; move the checkout, or set VENV=... to a folder elsewhere")


# Environments that are created again


def test_another_lock_another_python_another_place_are_made_anew(checkout, tmp_path):
    checkout.make()

    def flaw(venv=checkout.venv, any_python=False, **changed) -> str:
        return install.flaw(
            str(venv), json.loads((checkout.venv / ".ready").read_text()) | changed, any_python
        )

    assert flaw() == ""
    assert flaw(python="3.99").endswith(", but 3.99 was requested")
    assert flaw(python="3.99", any_python=True) == ""
    assert flaw(place="/elsewhere") == f"it was made in {checkout.venv}"
    assert flaw(**{str(checkout.uv_lock): "0"}) == f"{checkout.uv_lock} has changed since it was made"
    (checkout.venv / "bin" / "python").rename(tmp_path / "python")
    assert flaw() == "its Python does not start"
    (tmp_path / "python").rename(checkout.venv / "bin" / "python")

    checkout.lock.write_text(pins(NEW, BETA))
    said = checkout.make()
    assert f"Making {checkout.venv}: {checkout.lock} has changed since it was made." in said
    assert checkout.ask("import alpha; print(alpha.version)") == "2.0"


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_installation_is_repaired(how, checkout, index):
    index.add(BETA, delay=60)
    ran = checkout.start()
    until(lambda: index.asked(BETA))
    os.killpg(ran.pid, how)
    said = ran.communicate()[0]
    assert ran.returncode
    assert not checkout.ready()
    assert "Traceback" not in said
    if how != signal.SIGKILL:
        assert "error: interrupted; the next `make` begins anew" in said
    index.add(BETA)
    assert f"Making {checkout.venv}: its installation was not finished." in checkout.make()
    assert checkout.ask("import alpha, beta; print(alpha.version)") == "1.0"


def test_one_that_is_killed_while_it_is_emptied_is_still_known(checkout):
    checkout.venv.mkdir()
    (checkout.venv / "pyvenv.cfg").touch()
    (checkout.venv / "lib").mkdir()
    checkout.make()
