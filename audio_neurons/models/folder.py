"""Folders as ``save_pretrained`` of transformers writes them: which of their files are read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from audio_neurons.models.errors import ModelError

CONFIG = "config.json"
PREPROCESSORS = ("processor_config.json", "preprocessor_config.json")
# Files with all weights, or lists of their parts, in order of preference.
WEIGHTS = (
    "model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json",
)  # fmt: skip
PARTS = ("model-*-of-*.safetensors", "pytorch_model-*-of-*.bin")


def read_json(path: Path) -> dict[str, Any]:
    """Return the content of a JSON file that holds an object.

    Raises
    ------
    ModelError
        If it is missing, damaged or something else.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ModelError(f"no file {path}") from error
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} is not readable JSON ({error})") from error
    if not isinstance(content, dict):
        raise ModelError(f"{path} holds a {type(content).__name__}, not an object")
    return content


def files(folder: Path) -> list[Path]:
    """Return the files of a model that are read, config.json first.

    Raises
    ------
    ModelError
        If the folder, its config.json or its weights are missing, or a part of the weights is.
    """
    if not folder.is_dir():
        raise ModelError(f"no folder {folder}")
    if not (folder / CONFIG).is_file():
        raise ModelError(
            f"{folder} has no {CONFIG}; a folder is what save_pretrained of transformers writes. For "
            "weights alone, "
            "use weights: {source: checkpoint, file: ...} with model_type and config"
        )
    beside = [folder / name for name in PREPROCESSORS if (folder / name).is_file()]
    return [folder / CONFIG, *beside, *weight_files(folder)]


def sampling_rate(folder: Path) -> int | None:
    """Return the sampling rate in Hz that the processor of a folder asks for; None if there is none."""
    for name in PREPROCESSORS:
        if (folder / name).is_file():
            content = read_json(folder / name)
            content = content.get("feature_extractor", content)
            if isinstance(content, dict) and isinstance(rate := content.get("sampling_rate"), int):
                return rate
    return None


def weight_files(folder: Path) -> list[Path]:
    """Return the files that hold the weights of a folder: one, or a list of parts and all of them.

    Raises
    ------
    ModelError
        If there are none, or one of the parts is missing.
    """
    found = next((folder / name for name in WEIGHTS if (folder / name).is_file()), None)
    if found is None:
        raise ModelError(f"{folder} has no weights: looked for {', '.join(WEIGHTS)}")
    if not found.name.endswith(".index.json"):
        return [found]
    parts = [folder / name for name in sorted(set(parts_of(found).values()))]
    if missing := [path.name for path in parts if not path.is_file()]:
        raise ModelError(
            f"{folder} is incomplete: {found.name} lists {', '.join(missing[:3])}, which is not there; "
            "finish the download"
        )
    return [found, *parts]


def parts_of(index: Path) -> dict[str, str]:
    """Return tensor → file of a list of parts."""
    parts = read_json(index).get("weight_map")
    if not isinstance(parts, dict) or not all(
        isinstance(v, str) and Path(v).name == v for v in parts.values()
    ):
        raise ModelError(f"{index} has no weight_map of names of tensors and files beside it")
    return parts
