"""Create an environment from a lock file: exactly the listed files, whatever else a package index offers.

    python3 envs/install.py .venv --lock envs/lock.txt --uv-lock envs/uv.txt --gigabytes 6.5

`make` runs this script before its targets. If the environment is up to date, it ends at once. Otherwise it
creates the environment again: the venv's own pip installs a pinned uv, and uv installs the lock. If uv is
not available for the platform or in the index, pip installs the lock. No dependencies are resolved
(``--no-deps``), and every file is verified by its hash.

The script needs only the standard library. Python 3.6 can parse it, so that an old Python gets a clear error.
"""

import argparse
import ast
import glob
import hashlib
import importlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

OLDEST, NEWEST = (3, 11), (3, 14)
# pip's settings for the source of packages, with uv's names for them. Other settings are ignored: some (user,
# target, constraint) would install packages elsewhere, or other packages.
SETTINGS = {
    "index-url": "",  # handled in `variables`
    "extra-index-url": "",
    "find-links": "UV_FIND_LINKS",
    "no-index": "",  # an option of uv, not a variable
    "trusted-host": "UV_INSECURE_HOST",
    "cert": "SSL_CERT_FILE",
    "client-cert": "SSL_CLIENT_CERT",
    "proxy": "ALL_PROXY",
    "timeout": "UV_HTTP_TIMEOUT",
    "default-timeout": "UV_HTTP_TIMEOUT",
    "cache-dir": "",
    "no-cache-dir": "",
}
LEFT_OUT = re.compile("PIP_|UV_(CONSTRAINT|OVERRIDE|EXCLUDE|NO_VERIFY_HASHES|SYSTEM_PYTHON)$")
# Snakemake does not quote the path of its Python for the shell, and PATH has no way to quote a colon.
UNSAFE = r"""[\s:;&|<>()\[\]{}*?!#^'"`$\\]"""
NO_ANSWER = ("connection broken", "problem confirming the ssl certificate", "Max retries exceeded")


class Refused(Exception):
    """An error with its remedy, and the output of the program that failed."""

    def __init__(self, what: str, said: str = ""):
        super().__init__(f"{said}\nerror: {what}".lstrip())


def identity(arguments: argparse.Namespace) -> dict:
    """Return the lock hashes, Python version and path of an up-to-date environment; scripts hold its path."""
    made = {"place": os.path.realpath(arguments.venv), "python": "{}.{}".format(*sys.version_info)}
    for path in filter(None, (arguments.lock, arguments.uv_lock)):
        with open(path, "rb") as file:
            made[path] = hashlib.sha256(file.read()).hexdigest()
    return made


def flaw(venv: str, wanted: dict, any_python: bool) -> str:
    """Return why an environment has to be created; empty if it is up to date."""
    if not os.path.lexists(venv):
        return "it does not exist"
    try:
        with open(os.path.join(venv, ".ready"), encoding="utf-8") as file:
            made = json.load(file)
    except (OSError, ValueError):
        return "its installation was not finished"
    if made.get("place") != wanted["place"]:
        return f"it was made in {made.get('place')}"
    if made.get("python") != wanted["python"] and not any_python:
        return f"it has Python {made.get('python')}, but {wanted['python']} was requested"
    for path in set(wanted) - {"place", "python"}:
        if made.get(path) != wanted[path]:
            return f"{path} has changed since it was made"
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    try:
        started = subprocess.check_output([program(venv, "python"), "-I", "-S", "-c", code])
    except (OSError, subprocess.CalledProcessError):
        return "its Python does not start"
    return "" if started.decode().strip() == made.get("python") else "its Python has another version now"


def check(venv: str, gigabytes: float, why: str) -> None:
    """Raise `Refused` at once for what would otherwise fail after minutes, or empty another's folder."""
    if not OLDEST <= sys.version_info[:2] <= NEWEST:
        version = "{}.{}.{}".format(*sys.version_info)
        raise Refused(f"Python 3.11 to 3.14 is needed, {sys.executable} is {version}; set PYTHON=python3.12")
    for module in ("venv", "ensurepip"):
        try:
            importlib.import_module(module)
        except ImportError:
            package = "python{}.{}-venv".format(*sys.version_info)
            remedy = f"install it (Debian, Ubuntu: apt install {package}), or set PYTHON=... to another"
            raise Refused(f"{sys.executable} lacks the module {module}; {remedy}") from None
    target = os.path.realpath(venv)
    odd = re.search(UNSAFE, venv) or re.search(UNSAFE, target)
    if odd:
        remedy = "move the checkout, or set VENV=... to a folder elsewhere"
        raise Refused(f"Snakemake cannot run a Python whose path contains {odd.group()!r}: {venv}; {remedy}")
    if os.path.isdir(venv) and os.listdir(venv) and not os.path.exists(os.path.join(venv, "pyvenv.cfg")):
        raise Refused(f"{venv} is not a virtual environment and stays untouched; move it, or set VENV=...")
    if os.path.islink(venv) and os.path.isdir(target) and os.listdir(target):  # another checkout may use it
        raise Refused(
            f"{venv} is a link to {target}, which is not empty, and {why}; remove the link, or empty that "
            "folder if nothing else uses it"
        )
    require_room(target, gigabytes, "make room, or clone to a larger disk", cleared=target)


def require_room(folder: str, gigabytes: float, remedy: str, cleared: str = "") -> None:
    """Raise `Refused` if the file system has less free space, counting that of ``cleared``, than needed."""
    folder = existing(folder)
    free = shutil.disk_usage(folder).free
    if free < gigabytes * 1e9 and cleared:
        for parent, _, names in os.walk(cleared):
            files = [os.lstat(os.path.join(parent, name)) for name in names]
            free += sum(file.st_size for file in files if file.st_nlink == 1)
    if free < gigabytes * 1e9:
        room = f"{gigabytes:g} GB are needed in {folder}, and {free / 1e9:.1f} GB are free"
        raise Refused(f"{room}; {remedy}")


def existing(folder: str) -> str:
    """Return the folder, or its nearest existing parent."""
    while not os.path.exists(folder):
        folder = os.path.dirname(folder)
    return folder


def create(venv: str) -> None:
    """Create an empty virtual environment with pip, and remove the existing one."""
    import venv as builder

    # pyvenv.cfg always exists, so that the folder that a killed run leaves is recognised as an environment.
    os.makedirs(venv, exist_ok=True)
    open(os.path.join(venv, "pyvenv.cfg"), "a").close()
    for entry in os.scandir(venv):
        if entry.is_dir(follow_symlinks=False):
            shutil.rmtree(entry.path)
        elif entry.name != "pyvenv.cfg":
            os.remove(entry.path)
    try:
        builder.create(venv, symlinks=True, with_pip=True)
    except subprocess.CalledProcessError as error:
        said = (error.output or b"").decode(errors="replace")
        raise Refused(f"{sys.executable} makes no environment; set PYTHON=... to another", said) from None


def program(venv: str, name: str) -> str:
    """Return the path of a program in the environment."""
    return os.path.join(venv, "bin", name)


def ask(*command: str, env: "dict | None" = None) -> "tuple[int, str]":
    """Return the exit code and the output of a command."""
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=env)
    except OSError as error:  # for example a program for another C library
        return 1, str(error)
    return done.returncode, done.stdout.decode(errors="replace").strip()


def settings(venv: str) -> dict:
    """Return pip's settings for the source of packages (`SETTINGS`), from its variables and files."""
    # `pip config` would read these as options that select its configuration file.
    asking = {n: v for n, v in os.environ.items() if n not in ("PIP_USER", "PIP_GLOBAL", "PIP_SITE")}
    _, listed = ask(program(venv, "python"), "-m", "pip", "config", "list", env=asking)
    found = {}
    for section in ("global.", "install.", ":env:."):
        for line in listed.splitlines():
            name, _, value = line[len(section) :].partition("=")
            if line.startswith(section) and name in SETTINGS:
                found[name] = " ".join(ast.literal_eval(value).split())
    return found


def variables(found: dict) -> dict:
    """Return environment variables for pip and uv: these settings, and no others that affect packages."""
    inside = {name: value for name, value in os.environ.items() if not LEFT_OUT.match(name)}
    inside.update(PIP_CONFIG_FILE=os.devnull, PIP_DISABLE_PIP_VERSION_CHECK="1")
    for name, value in found.items():
        inside["PIP_" + name.upper().replace("-", "_")] = value
        if SETTINGS[name]:
            inside.setdefault(SETTINGS[name], value.replace(" ", ",") if name == "find-links" else value)
    # uv takes a release from the first index that has it, even if a later index has a more suitable wheel. So
    # the index that replaces the default comes first. The default index has everything, and needs no others.
    if "index-url" in found and not any(name.startswith(("UV_INDEX", "UV_DEFAULT_INDEX")) for name in inside):
        *first, inside["UV_DEFAULT_INDEX"] = [found["index-url"], *found.get("extra-index-url", "").split()]
        inside.update(UV_INDEX=" ".join(first), UV_INDEX_STRATEGY="unsafe-best-match")
    return inside


def bootstrap(venv: str, uv_lock: str, inside: dict) -> str:
    """Install uv with pip and return its version; empty if the platform or the index has no uv."""
    pip = [program(venv, "python"), "-m", "pip", "install", "--quiet", "--no-deps", "--require-hashes"]
    # Failed connections are not retried for minutes. uv is not built from source, which needs a compiler.
    pip += ["--retries", "1", "--timeout", "15", "--only-binary", ":all:", "-r", uv_lock]
    code, said = ask(*pip, env=inside)
    if code and any(text in said for text in NO_ANSWER):
        raise Refused(
            "no package index answers; set HTTPS_PROXY or PIP_INDEX_URL, or see docs/offline.md", said
        )
    if not code:
        code, said = ask(program(venv, "uv"), "--version")
    if code:
        print(f"uv is not available; pip is used, which takes longer. ({said[said.rfind(chr(10)) + 1 :]})")
    return "" if code else said


def own_cache(venv: str, inside: dict) -> None:
    """Put uv's cache inside the environment for now if the usual cache is on another file system.

    On the same file system the files are linked and take no extra space; on another, such as a small home,
    they would remain.
    """
    code, usual = ask(program(venv, "uv"), "cache", "dir", env=inside)
    usual = existing(usual)
    if code or os.stat(usual).st_dev != os.stat(venv).st_dev or not os.access(usual, os.W_OK):
        inside.setdefault("UV_CACHE_DIR", os.path.join(venv, "cache"))


def install(venv: str, lock: str, uv: str, inside: dict) -> None:
    """Install exactly the packages of a lock, and show the progress."""
    if uv:
        command = [program(venv, "uv"), "pip", "install", "--python", program(venv, "python")]
        # As pip does: where PYTHONDONTWRITEBYTECODE is set, each of hundreds of jobs would compile all anew.
        command.append("--compile-bytecode")
        command += ["--no-index"] * (inside.get("PIP_NO_INDEX", "").lower() in ("1", "true", "yes", "on"))
    else:
        command = [program(venv, "python"), "-m", "pip", "install", "--retries", "2", "--use-pep517"]
    command += ["--no-deps", "--require-hashes", "--no-build-isolation", "-r"]
    # Packages without a wheel are built with the locked setuptools, which is therefore installed first.
    builder = os.path.join(venv, "setuptools.txt")
    with open(lock, encoding="utf-8") as file, open(builder, "w", encoding="utf-8") as first:
        entry = re.search(r"^setuptools==(?:.*\\\n)*.*", file.read(), re.M)
        first.write(entry.group() if entry else "")
    for path in [builder, lock] if entry else [lock]:
        if subprocess.call([*command, path], env=inside):
            remedy = "after a broken connection run the same command again, else see which index is set"
            raise Refused(f"{lock} is not installed, for what {'uv' if uv else 'pip'} says above; {remedy}")
    shutil.rmtree(os.path.join(venv, "cache"), ignore_errors=True)


def make(arguments: argparse.Namespace, wanted: dict) -> None:
    """Create the environment, check it, and record its lock hashes."""
    venv, lock, begun = os.path.realpath(arguments.venv), arguments.lock, time.monotonic()
    create(venv)
    inside = variables(settings(venv))
    uv = bootstrap(venv, arguments.uv_lock, inside) if arguments.uv_lock else ""
    if uv:
        own_cache(venv, inside)
    else:  # pip keeps all downloads in the temporary folder
        require_room(tempfile.gettempdir(), arguments.gigabytes / 2, "set TMPDIR to a folder with more")
    pip = glob.glob(os.path.join(glob.escape(venv), "lib", "*", "site-packages", "pip-*.dist-info"))
    versions = f"Python {sys.version.split()[0]}, pip {pip[0].split('-')[-2][:-5]}, {uv or 'no uv'}"
    print(f"{versions}: {time.monotonic() - begun:.0f} s", flush=True)
    install(venv, lock, uv, inside)
    code, said = ask(program(venv, "python"), "-m", "pip", "check", env=inside)
    if code:
        raise Refused(f"{lock} has conflicting packages; restore it, or run `make lock`", said)
    stamp = os.path.join(venv, ".ready")
    with open(stamp + ".part", "w", encoding="utf-8") as file:
        json.dump(wanted, file, indent=1)
    os.replace(stamp + ".part", stamp)
    print(f"{venv} is ready: {time.monotonic() - begun:.0f} s")


def main() -> None:
    """Create the environment unless it is up to date."""
    parser = argparse.ArgumentParser(description="Make an environment from a lock, if it is not there.")
    parser.add_argument("venv", type=os.path.abspath)
    parser.add_argument("--lock", required=True, help="requirements with hashes")
    parser.add_argument("--uv-lock", default="", help="the same for uv; without it, pip installs all")
    parser.add_argument("--gigabytes", type=float, default=0.0, help="what the environment takes")
    parser.add_argument("--any-python", action="store_true", help="one that another version made is good")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # child processes end as well
    for name in ("PYTHONPATH", "PYTHONHOME"):
        os.environ.pop(name, None)
    try:
        wanted = identity(arguments)
        why = flaw(arguments.venv, wanted, arguments.any_python)
        if why:
            check(arguments.venv, arguments.gigabytes, why)
            print(f"Making {arguments.venv}: {why}.", flush=True)
            make(arguments, wanted)
    except Refused as error:
        sys.exit(str(error))
    except OSError as error:
        sys.exit(f"error: {error}; allow it, or clone to another folder")
    except KeyboardInterrupt:
        sys.exit("error: interrupted; the next `make` begins anew")


if __name__ == "__main__":
    main()
