"""Resuming of interrupted trainings, from a state that is saved regularly beside the output."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from torch import nn
from torch.optim import Optimizer

from audio_neurons.running.files import atomic
from audio_neurons.running.runtime import tell
from audio_neurons.training import processes
from audio_neurons.training.errors import TrainingError


@dataclass
class History:
    """Progress of a training: its step, the rows of its tables, and the losses since the last row."""

    step: int = 0
    rows: list[dict] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    scores: list[dict] = field(default_factory=list)


class Keeper:
    """Saves a training's state to a file, atomically, and restores it.

    Parameters
    ----------
    path
        File of the state, in the folder of the trained weights.
    told
        Description of the training: a state with another description is refused.
    minutes
        Minutes between two writes; 0 writes after every step.
    """

    def __init__(self, path: Path, told: Mapping, minutes: float):
        self._path, self._told, self._seconds = path, json.dumps(told, sort_keys=True), 60 * minutes
        self._last = time.monotonic()

    def restore(self, objective: nn.Module, optimiser: Optimizer, name: str) -> History:
        """Restore the saved state and return its history; without a state, return a new history.

        Raises
        ------
        TrainingError
            If the state is that of another training, or damaged.
        """
        if not self._path.is_file():
            return History()
        device = next(objective.parameters()).device
        try:
            state = torch.load(self._path, map_location=device, weights_only=True)
        except (OSError, MemoryError, torch.OutOfMemoryError):  # not a sign of damage
            raise
        except Exception as error:
            raise TrainingError(f"{self._path} is damaged ({error}); delete it to start anew") from error
        self._refuse_others(state["told"])
        objective.load_state_dict(state["objective"])
        optimiser.load_state_dict(state["optimiser"])
        torch.set_rng_state(state["random"].cpu())
        if device.type == "cuda" and "random_cuda" in state:
            torch.cuda.set_rng_state(state["random_cuda"].cpu(), device)
        elif state.get("device", device.type) != device.type and processes.rank() == 0:
            tell(
                f"{name}: the state was saved on {state['device']}, but the training resumes on "
                f"{device.type}; its weights will differ from those of a training on one device"
            )
        history = History(**state["history"])
        if processes.rank() == 0:
            tell(f"{name} resumes after step {history.step}, from {self._path}")
        return history

    def _refuse_others(self, told: str) -> None:
        here, there = json.loads(self._told), json.loads(told)
        keys = sorted(
            f"{part}.{key}"
            for part in here.keys() | there.keys()
            for key in here.get(part, {}).keys() | there.get(part, {}).keys()
            if here.get(part, {}).get(key) != there.get(part, {}).get(key)
        )
        if keys:
            raise TrainingError(
                f"{self._path} belongs to a training that differs in {', '.join(keys)}; delete it to start "
                "anew, or restore the configuration of that training to resume it"
            )

    def offer(self, objective: nn.Module, optimiser: Optimizer, history: History) -> None:
        """Save the state if the last write is long enough ago."""
        if processes.rank() or time.monotonic() - self._last < self._seconds:
            return
        state = {
            "told": self._told, "history": asdict(history), "objective": objective.state_dict(),
            "optimiser": optimiser.state_dict(), "random": torch.get_rng_state(),
            "device": next(objective.parameters()).device.type,
        }  # fmt: skip
        device = next(objective.parameters()).device
        if device.type == "cuda":
            state["random_cuda"] = torch.cuda.get_rng_state(device)
        # With an open file, errors are those of the operating system, such as a full disk, not PyTorch's.
        with atomic(self._path) as temporary, open(temporary, "wb") as file:
            torch.save(state, file)
        self._last = time.monotonic()

    def forget(self) -> None:
        """Remove the state, and partial files of a process that was killed."""
        self._path.unlink(missing_ok=True)
        for left in self._path.parent.glob(f".{self._path.stem}.*{self._path.suffix}"):
            left.unlink(missing_ok=True)
