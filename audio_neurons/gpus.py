"""Which GPU a job uses, where jobs share a machine that has several."""

from __future__ import annotations

import fcntl
import os
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from audio_neurons.runtime import tell

PAUSE = 2.0  # seconds between two looks for a free GPU
_held: list[int] = []  # open locks; the system releases them when this process has gone, however it went


class GpuError(RuntimeError):
    """There are fewer GPUs than a job needs."""


def claim(
    count: int, devices: Sequence[str] | None = None, folder: str | os.PathLike | None = None
) -> list[str]:
    """Keep ``count`` GPUs for this process, and make them the only ones that CUDA sees.

    To be called before torch looks for GPUs. Waits while other jobs hold them. Does nothing where the
    machine has no GPU to choose: none, one, or just those that a scheduler gave to this job.

    Parameters
    ----------
    count
        GPUs that the job needs; 0 for none.
    devices
        Those to choose from, as in ``CUDA_VISIBLE_DEVICES``; by default `visible`.
    folder
        Where the locks are; by default the system's folder for temporary files, which all jobs share.

    Returns
    -------
    list of str
        The GPUs that are now this process's own; empty where nothing was done.

    Raises
    ------
    GpuError
        If there are some GPUs, but fewer than ``count``.
    """
    devices = visible() if devices is None else list(devices)
    if 0 < len(devices) < count:
        raise GpuError(
            f"{count} GPUs are needed, and this machine shows {len(devices)}: {', '.join(devices)}"
        )
    if count < 1 or len(devices) in (0, count):
        return []
    # What a number stands for may differ between Slurm's jobs.
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
    """GPUs that this process may use: those of ``CUDA_VISIBLE_DEVICES``, else all that there are."""
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        return [device.strip() for device in chosen.split(",") if device.strip()]
    # By name, since CUDA may count them in another order; and torch, once asked, never looks again.
    query = ["nvidia-smi", "--query-gpu=uuid", "--format=csv,noheader"]
    try:
        return subprocess.run(query, capture_output=True, text=True, check=True, timeout=60).stdout.split()
    except (OSError, subprocess.SubprocessError):
        return []


def _try(count: int, devices: Sequence[str], place: Path) -> list[str]:
    """Lock ``count`` of the devices, or none: who holds some and waits for others may wait for ever."""
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
    """A file that anybody may lock; another user's must not be opened for writing in a shared folder."""
    try:
        return os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        path.touch(mode=0o644)
        return os.open(path, os.O_RDONLY)
