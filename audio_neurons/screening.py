"""First-order screening: what zeroing each neuron would do, for all neurons at the cost of a few passes.

The effect of zeroing a neuron on the true class's log-probability is, to first order, minus the sum over
tokens of gradient times activation. It ranks neurons; how well, exact ablation of some of them tells.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy.stats import spearmanr
from torch import Tensor

from audio_neurons import ablation, tables
from audio_neurons.ablation import AblationError, Study
from audio_neurons.changes import Change
from audio_neurons.clips import batches, describe
from audio_neurons.effects import ALL, FIXED_POINT
from audio_neurons.models.encoder import Encoder, numerics
from audio_neurons.probes import Probes, of_true_class
from audio_neurons.runtime import progress


@dataclass(frozen=True)
class Settings:
    """``sample`` neurons are ablated one by one, to check the estimates."""

    sample: int = 60


def screen_task(
    encoder: Encoder, study: Study, settings: Settings, out: Mapping[str, str | Path], name: str = "screen"
) -> None:
    """Write the ``screening`` table (``out["screening"]``) and its ``screening_check`` (``out["check"]``)."""
    classes, sizes, estimate = estimates(encoder, study, name)
    chosen = spread(estimate[0], settings.sample)
    exact = exact_effects(encoder, study, chosen, classes, name)
    table, check = screening_tables(classes, sizes, estimate, chosen, exact, encoder.width)
    tables.write(out["screening"], "screening", table)
    tables.write(out["check"], "screening_check", check)


def estimates(
    encoder: Encoder, study: Study, name: str = "screen"
) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Estimated change of the true class's log-probability, mean over clips and probes.

    Returns
    -------
    classes
        ``"*"`` (all clips), then the classes with clips.
    sizes
        (1 + C,): their clips.
    estimate
        float64 (1 + C, neurons), layer-major.
    """
    frame = describe(study.clips, study.label)
    frame = frame[frame["split"] == study.split].reset_index(drop=True)
    if frame.empty:
        raise AblationError(f"no clips of split '{study.split}'")
    probes = Probes.load(Path(study.probe)).to(encoder.device)
    classes = [c for c in probes.classes if (frame["class"] == c).any()]
    code = pd.Index(classes).get_indexer(frame["class"])
    sums = np.zeros((len(classes), encoder.depth * encoder.width))
    waves = batches(
        study.clips, frame["clip_id"], round(study.clip_seconds * encoder.sample_rate), study.batch_size
    )
    for names, wave in progress(waves, -(-len(frame) // study.batch_size), name, "batches"):
        rows = pd.Index(frame["clip_id"]).get_indexer(names)
        with numerics(encoder, study.precision):
            effect = first_order(encoder, probes, torch.from_numpy(wave).to(encoder.device), frame.iloc[rows])
        np.add.at(sums, code[rows], effect.flatten(1).float().cpu().numpy())
    sizes = np.bincount(code, minlength=len(classes))
    every = np.concatenate([sums.sum(0, keepdims=True), sums]) / np.r_[len(frame), sizes][:, None]
    return [ALL, *classes], np.r_[len(frame), sizes], every


def first_order(encoder: Encoder, probes: Probes, wave: Tensor, frame: pd.DataFrame) -> Tensor:
    """Estimates per clip (n, L, W) of the clips of ``frame``, the first of the waveforms (B, samples)."""
    hidden: list[list[Tensor]] = [[] for _ in range(encoder.depth)]

    def hook(layer: int, activations: Tensor) -> tuple[Tensor]:
        # Nothing below the first layer needs a gradient: the graph begins at its hidden activations.
        if not activations.requires_grad:
            activations = activations.detach().requires_grad_()
        hidden[layer].append(activations)
        return (activations,)

    with encoder.listening(hook), torch.enable_grad():
        features = encoder(wave)[: len(frame)].mean(1)
        logs = probes.judge(features, frame["fold"].to_numpy())
        total = of_true_class(logs, frame["class"], probes.classes).mean(0).sum()
        flat = [one for chunks in hidden for one in chunks]
        gradients = iter(torch.autograd.grad(total, flat))
    layers = []
    for chunks in hidden:
        parts = [-(next(gradients) * one.detach())[: len(frame)].sum(1) for one in chunks]
        layers.append(torch.stack(parts).sum(0))
    return torch.stack(layers, dim=1)


def spread(estimate: np.ndarray, count: int) -> np.ndarray:
    """Numbers of ``count`` neurons, evenly spaced from the largest absolute estimate to the smallest."""
    order = np.argsort(-np.abs(estimate), kind="stable")
    return np.unique(order[np.linspace(0, len(order) - 1, min(count, len(order))).round().astype(int)])


def exact_effects(
    encoder: Encoder,
    study: Study,
    chosen: Sequence[int] | np.ndarray,
    classes: Sequence[str],
    name: str = "screen",
) -> np.ndarray:
    """Measured change of the true class's log-probability, (1 + C, chosen), mean over clips and probes."""
    width = encoder.width
    changes = [Change(frozenset({(int(i) // width, int(i) % width)})) for i in chosen]
    measured = ablation.measure(encoder, study, changes, (), ablation.Settings(), name)
    here = pd.Index(measured.classes).get_indexer(classes[1:])
    sums = measured.change.mean(1)[:, here].T / FIXED_POINT
    sizes = np.bincount(measured.codes, minlength=len(measured.classes))[here]
    return np.concatenate([sums.sum(0, keepdims=True), sums]) / np.r_[sizes.sum(), sizes][:, None]


def screening_tables(
    classes: Sequence[str],
    sizes: np.ndarray,
    estimate: np.ndarray,
    chosen: np.ndarray,
    exact: np.ndarray,
    width: int,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The ``screening`` and ``screening_check`` tables."""
    count = estimate.shape[1]
    measured = np.full(estimate.shape, np.nan)
    measured[:, chosen] = exact
    table = pd.DataFrame(
        {
            "layer": np.tile(np.arange(count) // width, len(classes)),
            "neuron": np.tile(np.arange(count) % width, len(classes)),
            "class": np.repeat(np.array(classes, dtype=object), count),
            "estimate": estimate.ravel(),
            "exact": measured.ravel(),
        }
    )
    found = [spearmanr(mine, true) for mine, true in zip(estimate[:, chosen], exact, strict=True)]
    check = pd.DataFrame({"class": classes, "clips": sizes, "neurons": len(chosen)})
    return table, check.assign(spearman=[r.statistic for r in found], p_value=[r.pvalue for r in found])
