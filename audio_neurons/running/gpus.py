"""Assignment of GPUs to jobs that share a machine with several."""

from __future__ import annotations

import fcntl
import os
import re
import subprocess
import tempfile
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType

from audio_neurons.running import provenance
from audio_neurons.running.runtime import tell

PAUSE = 2.0  # seconds between two attempts to find a free GPU
# Variables by which a scheduler or a user assigns GPUs to a process.
ASSIGNED = ("CUDA_VISIBLE_DEVICES", "SLURM_JOB_GPUS", "SLURM_STEP_GPUS")
REMEDY = (
    "see docs/cluster.md for the driver and cards that the locked PyTorch needs, or set extraction.device to "
    "cpu to do without"
)
_held: list[int] = []  # open locks; the system releases them however this process ends


class GpuError(RuntimeError):
    """The machine has fewer GPUs than a job needs, or none that PyTorch can use."""


def claim(
    count: int, devices: Sequence[str] | None = None, folder: str | os.PathLike | None = None
) -> list[str]:
    """Lock ``count`` GPUs for this process, and make them the only ones that CUDA sees.

    Call this before torch looks for GPUs. The call waits while other jobs hold the GPUs. It does nothing
    if ``count`` is 0 or the job sees no GPU. Inside a Slurm job that sees exactly ``count`` GPUs they are its
    own already.

    Parameters
    ----------
    count
        Number of GPUs that the job needs, possibly 0.
    devices
        GPUs to choose from, named as in ``CUDA_VISIBLE_DEVICES``; by default those of `visible`.
    folder
        Folder of the lock files; by default the system's temporary folder, which all jobs share.

    Returns
    -------
    list of str
        The GPUs that this process now holds; empty if nothing was done.

    Raises
    ------
    GpuError
        If the job sees some GPUs, but fewer than ``count``.
    """
    devices = visible() if devices is None else list(devices)
    if 0 < len(devices) < count:
        raise GpuError(
            f"{count} GPUs are needed, and this machine shows {len(devices)}: {', '.join(devices)}"
        )
    job = os.environ.get("SLURM_JOB_ID")
    if count < 1 or not devices or (job and len(devices) == count):
        return []
    # A number may mean another GPU in another Slurm job; an identifier is the same GPU everywhere.
    prefix = Path(folder or tempfile.gettempdir()) / "audio-neurons-gpu"
    places = {device: f"{prefix}-{job or 'all'}-{device}" if device.isdigit() else f"{prefix}-{device}"
              for device in devices}  # fmt: skip
    waiting = False
    while len(own := _try(count, places)) < count:
        if not waiting:
            tell(f"waiting for {count} of {len(devices)} GPUs: other jobs hold them")
            waiting = True
        time.sleep(PAUSE)
    os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(own)
    return own


def visible() -> list[str]:
    """Return the GPUs that this process may use: ``CUDA_VISIBLE_DEVICES`` if set, else all."""
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        return [device.strip() for device in chosen.split(",") if device.strip()]
    # UUIDs, since CUDA may number the GPUs in another order. Not through torch, which caches its answer.
    try:
        listed = subprocess.run(
            ["nvidia-smi", "-L"], capture_output=True, text=True, check=True, timeout=60
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    cards: list[tuple[str, list[str]]] = []  # each with the slices (MIG) that it is divided into
    for line in listed.splitlines():
        if found := re.search(r"UUID: ((?:GPU|MIG)-[^)\s]+)", line):
            if found[1].startswith("MIG") and cards:
                cards[-1][1].append(found[1])
            else:
                cards.append((found[1], []))
    return [device for card, slices in cards for device in slices or [card]]


def _try(count: int, places: Mapping[str, str]) -> list[str]:
    """Lock ``count`` of the devices, or none: jobs that hold some and wait for more could deadlock."""
    locks: dict[str, int] = {}
    for device, place in places.items():
        file = _open(Path(f"{place.replace('/MIG', '_MIG')}.lock"))
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
            continue
        locks[device] = file
        if len(locks) == count:
            _held.extend(locks.values())
            return list(locks)
    for file in locks.values():
        os.close(file)
    return []


def _open(path: Path) -> int:
    """Open a lock file read-only: in a shared folder it may belong to another user."""
    try:
        return os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        path.touch(mode=0o644)
        return os.open(path, os.O_RDONLY)


def pick_device(wish: str) -> str:
    """Return ``cpu`` or ``cuda``; ``auto`` is the GPU where PyTorch can use one. The choice is recorded.

    Raises
    ------
    GpuError
        If ``cuda`` is asked for, or GPUs are assigned to this process, and PyTorch cannot use them; the
        message has PyTorch's reason. A GPU that is merely present is not used, which is told.
    """
    if wish == "cpu":
        provenance.note("device", "cpu")
        return wish
    import torch  # only jobs that run an encoder need it

    reason = _unusable()
    if not reason:
        provenance.note("device", _described(torch))
        return "cuda"
    assigned = [name for name in ASSIGNED if os.environ.get(name)]
    if wish != "auto" or assigned:
        why = f"{assigned[0]} is {os.environ[assigned[0]]}" if wish == "auto" else "extraction.device is cuda"
        raise GpuError(f"{why}, but PyTorch cannot use a GPU: {reason}; {REMEDY}")
    if visible():
        tell(f"this machine's GPU is not used: {reason}; {REMEDY}")
    provenance.note("device", "cpu")
    return "cpu"


def _unusable() -> str:
    """Return why PyTorch cannot use the first GPU; empty if it can."""
    import torch

    if torch.version.cuda is None:
        return f"PyTorch {torch.__version__} is built without CUDA"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # says the same as the error below
        available = torch.cuda.is_available()
    if not available:
        try:
            torch.cuda.init()
        except Exception as error:  # of several types
            return " ".join(str(error).split())
        return "no GPU is visible"
    major, minor = torch.cuda.get_device_capability()
    oldest = min((int(arch[3:]) for arch in torch.cuda.get_arch_list() if arch[3:].isdigit()), default=0)
    if 10 * major + minor < oldest:
        return (
            f"{torch.cuda.get_device_name()} has compute capability {major}.{minor}, and PyTorch "
            f"{torch.__version__} has no kernels for less than {oldest // 10}.{oldest % 10}"
        )
    return ""


def _described(torch: ModuleType) -> str:
    """Return the GPU and the versions that its numbers depend on."""
    cudnn = torch.backends.cudnn.version()
    return f"{torch.cuda.get_device_name()}, CUDA {torch.version.cuda}, cuDNN {cudnn}"
