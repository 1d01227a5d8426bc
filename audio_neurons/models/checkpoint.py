"""Read and write model weights without running code from checkpoint files."""

from __future__ import annotations

import argparse
import json
import pickle
from collections import Counter, OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from audio_neurons.models.errors import ModelError
from audio_neurons.running.files import atomic

# Entries of training checkpoints that hold the weights, and the beginnings of those that hold other tensors.
ENTRIES = ("model", "state_dict", "model_state_dict", "net", "module")
BESIDES = ("optim", "lr_sched", "sched", "scaler", "amp", "hyper", "loops", "callbacks", "loss")
# Packages of objects that say how a training was, next to its weights; they are read as nothing.
INERT = ("lightning", "lightning_fabric", "pytorch_lightning", "omegaconf", "numpy", "pathlib", "typing")


class Weights(NamedTuple):
    """State dict of a checkpoint, and the path of the entry that held it (empty: the file itself)."""

    state: dict[str, Tensor]
    entry: tuple[str, ...] = ()


class Inert:
    """Stands for an object of a checkpoint that is no weight; nothing of that object's code runs."""

    def __new__(cls, *_: Any) -> Inert:
        return super().__new__(cls)

    def __init__(self, *_: Any) -> None:
        """Keep nothing."""

    def __setstate__(self, _: Any) -> None:
        """Keep nothing."""


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """Return the state dict of a checkpoint; see `open_checkpoint`."""
    return open_checkpoint(path).state


def open_checkpoint(path: Path) -> Weights:
    """Return the state dict of a ``.safetensors`` or PyTorch checkpoint, on the CPU, and where it was.

    A PyTorch file may hold the state dict itself or in an entry, however deep, next to hyper-parameters and
    states of the optimizer, as trainers write it. Of several state dicts, that under a name of `ENTRIES` is
    meant. Objects of `INERT` packages and an ``argparse.Namespace`` are passed over. A file with any other
    Python object is refused, and the object's code is not run.

    Raises
    ------
    ModelError
        If the file is missing, unreadable or refused, or does not hold one state dict.
    """
    if not path.is_file():
        raise ModelError(f"no checkpoint at {path}: put it there, or set weights.urls")
    if path.suffix == ".safetensors":
        try:
            return Weights(load_file(path))
        except SafetensorError as error:
            raise ModelError(
                f"{path} is not a readable safetensors file ({error}); delete it, and run again"
            ) from error
    objects = _objects(path)
    passed_over = [(_stand_in(name), name) for name in objects if name.split(".")[0] in INERT]
    try:
        with torch.serialization.safe_globals([argparse.Namespace, *passed_over]):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ModelError(
            f"{path} holds Python objects that would run code on loading and is refused "
            f"({', '.join(objects[:5]) or error}). Convert it to safetensors if you trust it, and configure "
            "that"
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError) as error:
        raise ModelError(f"{path} is not a readable PyTorch checkpoint ({error})") from error
    if not isinstance(content, Mapping):
        raise ModelError(f"{path} holds a {type(content).__name__}, not a state dict")
    return _only(path, content)


def _objects(path: Path) -> list[str]:
    """Return the classes and functions that a file names, besides those of tensors."""
    try:
        return sorted(torch.serialization.get_unsafe_globals_in_checkpoint(path))
    except Exception:  # an old format or a damaged file, which loading reports
        return []


def _stand_in(name: str) -> type:
    """Return what the unpickler is to take for a class; it fills only dictionaries of its own types."""
    return OrderedDict if name.endswith(".AttributeDict") else Inert


def _only(path: Path, content: Mapping) -> Weights:
    """Return the one state dict in the content of a file."""
    found = list(_state_dicts(content))
    if len(found) > 1:
        found = [one for one in found if one.entry and one.entry[-1] in ENTRIES] or found
    if len(found) == 1:
        return found[0]
    if not found:
        kinds = ", ".join(f"{key} ({type(value).__name__})" for key, value in list(content.items())[:8])
        raise ModelError(f"{path} holds no weights, but {kinds or 'nothing'}")
    listed = ", ".join(
        f"{'.'.join(w.entry) or 'the file itself'} ({len(w.state)} tensors)" for w in found[:8]
    )
    raise ModelError(
        f"{path} holds several state dicts: {listed}{', ...' if len(found) > 8 else ''}; save the one that "
        "is meant as safetensors, and configure that"
    )


def _state_dicts(content: Mapping, entry: tuple[str, ...] = ()) -> Iterator[Weights]:
    """Yield the dictionaries of tensors inside ``content``; one beside others counts if it holds arrays."""
    inner = [
        weights
        for key, value in content.items()
        if isinstance(value, Mapping) and isinstance(key, str) and not key.lower().startswith(BESIDES)
        for weights in _state_dicts(value, (*entry, key))
    ]
    yield from inner
    state = {key: _tensor(value) for key, value in content.items() if isinstance(key, str)}
    tensors = {key: value for key, value in state.items() if value is not None}
    if any(value.ndim for value in tensors.values()):
        yield Weights(tensors, entry)


def _tensor(value: Any) -> Tensor | None:
    """Return a tensor, or a list of numbers as one; ``None`` for anything else."""
    if isinstance(value, list | tuple) and value and all(isinstance(one, float | int) for one in value):
        return torch.tensor(value, dtype=torch.float32)
    return value if isinstance(value, Tensor) else None


def in_words(keys: Sequence[str], most: int = 8) -> str:
    """Describe the keys of a state dict by their beginnings, the most frequent ones first.

    >>> in_words(["encoder.layers.0.fc1.weight", "encoder.layers.1.fc1.weight", "mask_emb"])
    'encoder.layers.* (2), mask_emb'
    """
    counts = Counter(_beginning(key) for key in keys)
    named = [name if name in keys else f"{name}.* ({count})" for name, count in counts.most_common(most)]
    return ", ".join(named) + (", ..." if len(counts) > most else "") if named else "none"


def _beginning(key: str) -> str:
    """Return a key's first parts, up to the number of a layer and at most two."""
    parts = key.split(".")
    first = next((i for i, part in enumerate(parts) if part.isdecimal()), max(len(parts) - 1, 1))
    return ".".join(parts[: min(first, 2) or 1])


def check_fit(path: Path, problems: Sequence[str], advice: str = "") -> None:
    """Raise a `ModelError` with the first mismatches between a checkpoint and a model, if there are any."""
    if problems:
        more = f" (and {len(problems) - 5} more)" if len(problems) > 5 else ""
        told = f"{path} does not fit this architecture: {'; '.join(problems[:5])}{more}"
        raise ModelError(f"{told}. {advice}" if advice else told)


def write_checkpoint(path: Path, state: Mapping[str, Tensor], metadata: Mapping) -> None:
    """Write a state dict as safetensors, with ``metadata`` as JSON in the file's header."""
    with atomic(path) as temporary:
        save_file(
            {k: v.detach().cpu().contiguous() for k, v in state.items()},
            temporary,
            {k: json.dumps(v, sort_keys=True) for k, v in metadata.items()},
        )
