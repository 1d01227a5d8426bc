"""The weights of an encoder inside a checkpoint of transformers: found by name, and loaded into its model."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from audio_neurons.models.checkpoint import check_fit, read_checkpoint
from audio_neurons.models.errors import ModelError
from audio_neurons.models.folder import parts_of
from audio_neurons.running.files import checksum

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

# Name prefixes of weights that are not the encoder's: heads for classification, speech recognition,
# speaker recognition and pre-training, and decoders.
HEADS = (
    "classifier.", "projector.", "layer_weights", "lm_head.",
    "tdnn.", "objective.", "feature_extractor.weight", "feature_extractor.bias",
    "quantizer.", "project_hid.", "project_q.",
    "decoder.", "model.decoder.", "proj_out.",
)  # fmt: skip
# A parameter that only training uses; a checkpoint may have or lack it.
TRAINING_ONLY = "masked_spec_embed"

Read = Callable[[Iterable[str]], dict[str, Tensor]]


def open_weights(files: list[Path]) -> tuple[list[str], Read]:
    """Return the names of all tensors in a checkpoint, and a function that reads some of them.

    ``files`` is one file, or a list of parts and the parts. Of safetensors, only the tensors asked for are
    read.

    Raises
    ------
    ModelError
        If a file is missing, damaged or refused (see `checkpoint.read_checkpoint`).
    """
    place = {name: files[0].parent / part for name, part in parts_of(files[0]).items()} if files[1:] else {}
    paths = files[1:] or files
    names = {path: _names(path) for path in paths}
    for path, found in names.items():
        if lacking := sorted(name for name, where in place.items() if where == path and name not in found):
            raise ModelError(f"{path} lacks {', '.join(lacking[:3])}, which {files[0].name} says it holds")

    def read(wanted: Iterable[str]) -> dict[str, Tensor]:
        asked, state = set(wanted), {}
        for path in paths:
            if here := asked & names[path]:
                state.update(_tensors(path, here))
        return state

    return [name for found in names.values() for name in found], read


def weights_digest(files: list[Path]) -> str:
    """Return the SHA-256 of a weights file; of parts, that of the text of all their digests in order."""
    digests = [checksum(path) for path in files[1:] or files]
    return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()


def _names(path: Path) -> set[str]:
    if path.suffix != ".safetensors" or not path.is_file():
        return set(read_checkpoint(path))
    try:
        with safe_open(path, framework="pt") as file:
            return set(file.keys())
    except SafetensorError as error:
        raise ModelError(
            f"{path} is not a readable safetensors file ({error}); delete it, and run again"
        ) from error


def _tensors(path: Path, wanted: set[str]) -> dict[str, Tensor]:
    if path.suffix != ".safetensors":
        state = read_checkpoint(path)
        return {name: state[name] for name in wanted}
    with safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in wanted}


def load_encoder(
    cls: type[PreTrainedModel],
    config: PretrainedConfig,
    files: list[Path],
    whole: Iterable[str] = (),
    advice: str = "Set config where the checkpoint differs from the default of its model_type",
) -> PreTrainedModel:
    """Load an encoder from a checkpoint of it, or of a model that it is a part of, under names old or new.

    The encoder's tensors are those under the prefix that fits it best. Missing weights, wrong shapes, and
    unexpected weights are errors, other than `HEADS` and those of the ``whole`` model (its tensors' names).
    `TRAINING_ONLY` may be missing or present.
    """
    names, read = open_weights(files)
    with torch.device("meta"):
        wanted = cls(config).state_dict().keys()
    prefix = _prefix(names, wanted)
    parts = {_top(name) for name in whole}
    mine = [name for name in names if name.startswith(prefix) and not name.startswith(HEADS)]
    foreign = [name for name in names if not name.startswith((prefix, *HEADS)) and _top(name) not in parts]
    state = {name.removeprefix(prefix): value for name, value in read(mine).items()}
    loaded: Any = cls.from_pretrained(
        None,
        config=config,
        state_dict=state,
        dtype=torch.float32,
        ignore_mismatched_sizes=True,
        output_loading_info=True,
    )
    model, found = loaded  # the annotations of transformers omit the second value
    shapes = {k: tuple(v.shape) for k, v in model.state_dict().items()}
    mismatched = [key if isinstance(key, str) else key[0] for key in found["mismatched_keys"]]
    unexpected = {name for name in found["unexpected_keys"] if _top(prefix + name) not in parts or prefix}
    problems = [f"missing {k}" for k in sorted(found["missing_keys"]) if not k.endswith(TRAINING_ONLY)]
    problems += [f"unexpected {k}" for k in sorted([*unexpected, *foreign]) if not k.endswith(TRAINING_ONLY)]
    problems += [f"{k} is not {shapes[k]}" for k in sorted(mismatched)]
    check_fit(files[0], problems, advice)
    return model


def _top(name: str) -> str:
    """Return the part of a model that a tensor belongs to: the first name, or two, of its path."""
    first, _, rest = name.partition(".")
    return f"{first}.{rest.partition('.')[0]}" if first == "model" else first


def _prefix(names: Iterable[str], wanted: Mapping | Iterable[str]) -> str:
    """Return the prefix under which most of the wanted names are found, the shortest of equal ones."""
    names, wanted = set(names), set(wanted)
    prefixes = {""}
    for name in names:
        parts = name.split(".")
        prefixes |= {".".join(parts[:n]) + "." for n in range(1, min(len(parts), 5))}
    score = {prefix: sum(prefix + name in names for name in wanted) for prefix in prefixes}
    return min(prefixes, key=lambda prefix: (-score[prefix], len(prefix), prefix))
