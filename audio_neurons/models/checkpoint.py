"""Read and write model weights without running code from checkpoint files."""

from __future__ import annotations

import argparse
import json
import pickle
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from audio_neurons.models.errors import ModelError
from audio_neurons.running.files import atomic


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """Return the state dict of a ``.safetensors`` or PyTorch checkpoint, on the CPU.

    A PyTorch file may hold the state dict itself or under ``model``, and an ``argparse.Namespace`` of
    training arguments, as M2D's released files do. A file with any other Python object is refused, and
    the object's code is not run.

    Raises
    ------
    ModelError
        If the file is missing, unreadable or refused, or does not hold a state dict.
    """
    if not path.is_file():
        raise ModelError(f"no checkpoint at {path}: put it there, or set weights.urls")
    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except SafetensorError as error:
            raise ModelError(
                f"{path} is not a readable safetensors file ({error}); delete it, and run again"
            ) from error
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ModelError(
            f"{path} holds Python objects that would run code on loading and is refused "
            f"({str(error).splitlines()[0]}). Convert it to safetensors if you trust it, and configure that"
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError) as error:
        raise ModelError(f"{path} is not a readable PyTorch checkpoint ({error})") from error
    state = content.get("model", content) if isinstance(content, Mapping) else None
    if not isinstance(state, Mapping):
        raise ModelError(f"{path} holds a {type(content).__name__}, not a state dict")
    return {k: v if isinstance(v, Tensor) else torch.as_tensor(v) for k, v in state.items()}


def check_fit(path: Path, problems: Sequence[str], advice: str) -> None:
    """Raise a `ModelError` with the first mismatches between a checkpoint and a model, if there are any."""
    if problems:
        more = f" (and {len(problems) - 5} more)" if len(problems) > 5 else ""
        raise ModelError(f"{path} does not fit this architecture: {'; '.join(problems[:5])}{more}. {advice}")


def write_checkpoint(path: Path, state: Mapping[str, Tensor], metadata: Mapping) -> None:
    """Write a state dict as safetensors, with ``metadata`` as JSON in the file's header."""
    with atomic(path) as temporary:
        save_file(
            {k: v.detach().cpu().contiguous() for k, v in state.items()},
            temporary,
            {k: json.dumps(v, sort_keys=True) for k, v in metadata.items()},
        )


def sizes_in_name(folder: str) -> dict[str, tuple[int, int]]:
    """Return the input and patch size that the folder name of an M2D checkpoint gives, if it does.

    The checkpoint itself does not contain them.

    >>> sizes_in_name("m2d_vit_base-80x608p16x16-221006-mr7")
    {'input_size': (80, 608), 'patch_size': (16, 16)}
    """
    match = re.search(r"-(\d+)x(\d+)p(\d+)x(\d+)(?=p|-|$)", folder)
    if not match:
        return {}
    bands, frames, height, width = map(int, match.groups())
    return {"input_size": (bands, frames), "patch_size": (height, width)}
