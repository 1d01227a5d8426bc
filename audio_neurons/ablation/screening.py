"""First-order screening: estimated effects of zeroing each neuron, at the cost of a few passes.

To first order, zeroing a neuron changes the true class's log-probability by minus the sum over tokens of
gradient times activation. The estimates rank neurons; exact ablation of a sample shows how well.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy.stats import spearmanr
from torch import Tensor

from audio_neurons import tables
from audio_neurons.ablation import ablation
from audio_neurons.ablation.ablation import AblationError, Study
from audio_neurons.ablation.changes import Change
from audio_neurons.ablation.effects import ALL, FIXED_POINT
from audio_neurons.ablation.probes import Probes, of_true_class
from audio_neurons.activations.batching import clips_per_pass
from audio_neurons.models.encoder import Encoder, numerics
from audio_neurons.recordings.clips import batches, describe
from audio_neurons.running.runtime import progress
from audio_neurons.settings.ablation import Conditions, Screening


def screen_task(
    encoder: Encoder, study: Study, settings: Screening, out: Mapping[str, str | Path], name: str = "screen"
) -> None:
    """Write the ``screening`` table (``out["screening"]``) and its ``screening_check`` (``out["check"]``)."""
    classes, sizes, estimate = estimates(encoder, study, name)
    chosen = spread(estimate[0], settings.sample)
    exact = exact_effects(encoder, study, chosen, classes, name)
    neurons = encoder.neurons.cpu().numpy()
    table, check = screening_tables(classes, sizes, estimate, chosen, exact, neurons)
    tables.write(out["screening"], "screening", table)
    tables.write(out["check"], "screening_check", check)


def estimates(
    encoder: Encoder, study: Study, name: str = "screen"
) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Return the estimated change of the true class's log-probability, mean over clips and probes.

    Returns
    -------
    classes
        ``"*"`` (all clips), then the classes with clips.
    sizes
        (1 + C,): their numbers of clips.
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
    sums = np.zeros((len(classes), sum(encoder.widths)))
    rate = encoder.sample_rate
    samples = round(study.clip_seconds * rate)
    size = clips_per_pass(encoder, study.batch_size, samples, share=encoder.depth)  # a graph of all layers
    waves = batches(study.clips, frame["clip_id"], samples, size, rate)
    for names, wave in progress(waves, -(-len(frame) // size), name, "batches"):
        rows = pd.Index(frame["clip_id"]).get_indexer(names)
        with numerics(encoder, study.precision):
            effect = first_order(
                encoder, probes, torch.from_numpy(wave).to(encoder.device), frame.iloc[rows], study
            )
        np.add.at(sums, code[rows], effect.cpu().numpy())
    sizes = np.bincount(code, minlength=len(classes))
    every = np.concatenate([sums.sum(0, keepdims=True), sums]) / np.r_[len(frame), sizes][:, None]
    return [ALL, *classes], np.r_[len(frame), sizes], every


def first_order(
    encoder: Encoder, probes: Probes, wave: Tensor, frame: pd.DataFrame, study: Study | None = None
) -> Tensor:
    """Return estimates (n, neurons) for the n clips of ``frame``, the first of the waveforms (B, samples)."""
    hidden: list[list[Tensor]] = [[] for _ in range(encoder.depth)]

    def hook(layer: int, activations: Tensor) -> tuple[Tensor]:
        # Nothing below the first layer needs a gradient: the graph begins at its hidden activations.
        if not activations.requires_grad:
            activations = activations.detach().requires_grad_()
        hidden[layer].append(activations)
        return (activations,)

    with encoder.listening(hook), torch.enable_grad():
        features = encoder(wave)[: len(frame)]
        features = study.pooling(encoder, frame)(features) if study else features.mean(1)
        logs = probes.judge(features, frame["fold"].to_numpy())
        total = of_true_class(logs, frame["class"], probes.classes).mean(0).sum()
        flat = [one for chunks in hidden for one in chunks]
        gradients = iter(torch.autograd.grad(total, flat))
    layers = []
    for chunks in hidden:
        # In float32: sums over tokens in bfloat16 would keep two digits.
        parts = [-(next(gradients).float() * one.detach().float())[: len(frame)].sum(1) for one in chunks]
        layers.append(torch.stack(parts).sum(0))
    return torch.cat(layers, dim=1)


def spread(estimate: np.ndarray, count: int) -> np.ndarray:
    """Return ``count`` neuron numbers, evenly spaced from the largest absolute estimate to the smallest."""
    order = np.argsort(-np.abs(estimate), kind="stable")
    return np.unique(order[np.linspace(0, len(order) - 1, min(count, len(order))).round().astype(int)])


def exact_effects(
    encoder: Encoder,
    study: Study,
    chosen: Sequence[int] | np.ndarray,
    classes: Sequence[str],
    name: str = "screen",
) -> np.ndarray:
    """Return the measured change that :func:`estimates` estimates, (1 + C, chosen)."""
    neurons = encoder.neurons.tolist()
    changes = [Change(frozenset({tuple(neurons[i])})) for i in chosen]
    measured = ablation.measure(encoder, study, changes, (), Conditions(), name)
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
    neurons: np.ndarray,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the ``screening`` and ``screening_check`` tables; (N, 2) are the neurons' layers and units."""
    count = estimate.shape[1]
    measured = np.full(estimate.shape, np.nan)
    measured[:, chosen] = exact
    table = pd.DataFrame(
        {
            "layer": np.tile(neurons[:, 0], len(classes)),
            "neuron": np.tile(neurons[:, 1], len(classes)),
            "class": np.repeat(np.array(classes, dtype=object), count),
            "estimate": estimate.ravel(),
            "exact": measured.ravel(),
        }
    )
    found = [spearmanr(mine, true) for mine, true in zip(estimate[:, chosen], exact, strict=True)]
    check = pd.DataFrame({"class": classes, "clips": sizes, "neurons": len(chosen)})
    return table, check.assign(spearman=[r.statistic for r in found], p_value=[r.pvalue for r in found])
