"""Jobs that run several models over the same clips (``extraction.together``).

Inputs and outputs of the models are told apart by their number: ``weights_0``, ``embeddings_1``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from audio_neurons.activations.examples import find
from audio_neurons.activations.extraction import Job, extract_together, load_encoder
from audio_neurons.models.encoder import Encoder
from audio_neurons.settings.atlas import Examples
from audio_neurons.settings.extraction import Pass


def extract_all(
    names: Sequence[str],
    blocks: Sequence[str],
    inputs: Mapping[str, Any],
    outputs: Mapping[str, str],
    settings: str,
    device: str,
    name: str = "extract",
    workers: int = 1,
) -> None:
    """Run models over a part of a dataset, each batch of which is decoded once.

    Parameters
    ----------
    blocks
        Blocks of the models, serialised.
    inputs
        ``clips``, and for each model ``weights``, ``norm_stats`` and ``medians``, which may be empty.
    outputs
        Tables of each model: see `Job`.
    """
    jobs = []
    for number, encoder in enumerate(_encoders(names, blocks, inputs, device)):
        own = {key: _path(outputs, key, number) for key in ("embeddings", "responses", "acoustics", "counts")}
        assert own["embeddings"]
        assert own["counts"]
        jobs.append(
            Job(
                encoder,
                own["counts"].parent,
                own["embeddings"],
                Pass.read(settings),
                own["responses"],
                own["acoustics"],
                _path(inputs, "medians", number),
            )
        )
    extract_together(jobs, Path(inputs["clips"]), name, workers)


def find_all(
    names: Sequence[str],
    blocks: Sequence[str],
    inputs: Mapping[str, Any],
    outputs: Mapping[str, str],
    labels: Sequence[str],
    settings: str,
    drawn: str,
    device: str,
    of: str,
) -> None:
    """Find the examples of each model's neurons in dataset ``of``, one model after another.

    Parameters
    ----------
    inputs
        ``clips`` of all parts, and for each model also ``strongest`` and ``neurons``, a table for each of the
        ``labels``.
    outputs
        ``examples`` and ``excited`` of each model.
    """
    for number, encoder in enumerate(_encoders(names, blocks, inputs, device)):
        find(
            encoder,
            inputs["clips"],
            inputs[f"strongest_{number}"],
            list(zip(labels, _listed(inputs[f"neurons_{number}"]), strict=True)),
            Pass.read(settings),
            Examples.read(drawn),
            outputs[f"examples_{number}"],
            outputs[f"excited_{number}"],
            name=f"examples of {names[number]} in {of}",
            medians=_path(inputs, "medians", number),
        )


def _encoders(
    names: Sequence[str], blocks: Sequence[str], inputs: Mapping[str, Any], device: str
) -> list[Encoder]:
    found = []
    for number, (name, block) in enumerate(zip(names, blocks, strict=True)):
        weights = _listed(inputs.get(f"weights_{number}"))
        norm_stats = _path(inputs, "norm_stats", number)
        found.append(
            load_encoder(name, json.loads(block), weights, device, str(norm_stats) if norm_stats else None)
        )
    return found


def _listed(files: Any) -> list[str]:
    return [files] if isinstance(files, str) else list(files or ())


def _path(files: Mapping[str, Any], key: str, number: int) -> Path | None:
    found = files.get(f"{key}_{number}")
    return Path(found) if found else None
