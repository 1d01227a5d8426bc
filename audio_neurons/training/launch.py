"""Training in the configured number of processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from audio_neurons.running.files import atomic
from audio_neurons.training.block import settings_of
from audio_neurons.training.errors import TrainingError
from audio_neurons.training.run import train


def launch(
    block: Mapping,
    clips: Sequence[Path],
    out: Path,
    log: Path,
    evaluation: Path,
    *,
    device: str,
    name: str,
    workers: int,
) -> None:
    """Run `train` in this process, or by torchrun in ``training.processes`` processes of this machine.

    ``workers`` is the total over all processes.

    Raises
    ------
    TrainingError
        As `train`; or if a process failed, whose own message is then in the log.
    """
    processes = settings_of(block).processes
    if processes == 1:
        train(block, clips, out, log, device=device, name=name, evaluation=evaluation, workers=workers)
        return
    file = Path(out).parent / "block.json"
    with atomic(file) as temporary:
        temporary.write_text(json.dumps(block, indent=1, sort_keys=True), encoding="utf-8")
    command = [
        *(sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"),
        *("-m", __package__, str(file), *map(str, clips)),
        *("--out", str(out), "--losses", str(log), "--evaluation", str(evaluation)),
        *("--device", device, "--name", name, "--workers", str(workers // processes)),
    ]
    # A workflow's script finds the library beside it; other processes need it in PYTHONPATH.
    places = [str(Path(__file__).parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])]
    threads = max(1, int(os.environ.get("OMP_NUM_THREADS", "1")) // processes)
    own = {"PYTHONPATH": os.pathsep.join(places), "OMP_NUM_THREADS": str(threads)}
    done = subprocess.run(command, env={**os.environ, **own})
    if done.returncode:
        raise TrainingError(f"one of {processes} processes failed; its own message is in the log")
    file.unlink()
