"""Assignment of GPUs to jobs that share a machine with several."""

from __future__ import annotations

import fcntl
import os
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from audio_neurons.running.runtime import tell

PAUSE = 2.0  # seconds between two attempts to find a free GPU
_held: list[int] = []  # open locks; the system releases them however this process ends


class GpuError(RuntimeError):
    """The machine has fewer GPUs than a job needs."""


def claim(
    count: int, devices: Sequence[str] | None = None, folder: str | os.PathLike | None = None
) -> list[str]:
    """Lock ``count`` GPUs for this process, and make them the only ones that CUDA sees.

    Call this before torch looks for GPUs. The call waits while other jobs hold the GPUs. It does nothing
    if ``count`` is 0 or there is no choice: the job sees no GPU, or exactly ``count`` of them.

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
    if count < 1 or len(devices) in (0, count):
        return []
    # Locks are per Slurm job: the same index may mean another GPU in another job.
    place = (
        Path(folder or tempfile.gettempdir()) / f"audio-neurons-gpu-{os.environ.get('SLURM_JOB_ID', 'all')}"
    )
    waiting = False
    while len(own := _try(count, devices, place)) < count:
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
    query = ["nvidia-smi", "--query-gpu=uuid", "--format=csv,noheader"]
    try:
        return subprocess.run(query, capture_output=True, text=True, check=True, timeout=60).stdout.split()
    except (OSError, subprocess.SubprocessError):
        return []


def _try(count: int, devices: Sequence[str], place: Path) -> list[str]:
    """Lock ``count`` of the devices, or none: jobs that hold some and wait for more could deadlock."""
    locks: dict[str, int] = {}
    for device in devices:
        file = _open(Path(f"{place}-{device.replace('/', '_')}.lock"))
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
    """Return ``wish``, with ``auto`` resolved to ``cuda`` if PyTorch sees a GPU, else to ``cpu``."""
    if wish != "auto":
        return wish
    import torch  # only jobs that run an encoder need it

    return "cuda" if torch.cuda.is_available() else "cpu"
