"""Linear probes: classifiers of one linear layer on frozen clip features.

They follow EVAR's linear evaluation (nttcslab/eval-audio-repr): clip features standardised by mean and
deviation of the training clips, one linear layer, cross-entropy, Adam, early stopping on validation clips.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from audio_neurons import tables
from audio_neurons.activations.statistics import natural
from audio_neurons.models.checkpoint import write_checkpoint
from audio_neurons.recordings.clips import describe
from audio_neurons.running.runtime import progress
from audio_neurons.settings.probe import Probe

TENSORS = ("mean", "scale", "weight", "bias")


class ProbeError(ValueError):
    """A probe cannot be trained or read, or does not fit the given clips or features."""


@dataclass(frozen=True)
class Probes:
    """Trained probes of F folds and S seeds: C classes from D features.

    Attributes
    ----------
    folds
        The fold that each probe may be tested on; ``(0,)`` without folds.
    mean, scale, weight, bias
        float32 (F, S, D), (F, S, D), (F, S, C, D), (F, S, C).
    """

    classes: tuple[str, ...]
    folds: tuple[int, ...]
    seeds: tuple[int, ...]
    mean: Tensor
    scale: Tensor
    weight: Tensor
    bias: Tensor

    def of(self, fold: int) -> Probes:
        """Return the probes that may be tested on clips of ``fold``: they were not trained on them."""
        fold = 0 if self.folds == (0,) else fold
        if fold not in self.folds:
            raise ProbeError(f"no probe for clips of fold {fold}; there are {self.folds}")
        return self._of_fold[fold]

    @cached_property
    def _of_fold(self) -> dict[int, Probes]:
        parts = {fold: slice(i, i + 1) for i, fold in enumerate(self.folds)}
        return {
            fold: Probes(self.classes, (fold,), self.seeds, *(getattr(self, name)[part] for name in TENSORS))
            for fold, part in parts.items()
        }

    @cached_property
    def _exact(self) -> list[Tensor]:
        """`TENSORS` of the first fold in double precision, converted once."""
        return [getattr(self, name)[0].double() for name in TENSORS]

    def to(self, device: torch.device | str) -> Probes:
        return Probes(
            self.classes, self.folds, self.seeds, *(getattr(self, name).to(device) for name in TENSORS)
        )

    def log_probabilities(self, features: Tensor) -> Tensor:
        """Return log-probabilities, float64 (S, n, C), of clip features (n, D), for probes of a single fold.

        Raises
        ------
        ProbeError
            If there are several folds (see :meth:`of`), or the features differ in size from those that the
            probes were trained on.
        """
        if len(self.folds) != 1:
            raise ProbeError("these probes have several folds: choose one with Probes.of first")
        if features.shape[-1] != self.mean.shape[-1]:
            raise ProbeError(
                f"the probe reads {self.mean.shape[-1]} features, the encoder gives {features.shape[-1]}"
            )
        mean, scale, weight, bias = self._exact
        standardised = (features.double() - mean[:, None]) / scale[:, None]
        return (standardised @ weight.transpose(1, 2) + bias[:, None]).log_softmax(-1)

    def judge(self, features: Tensor, folds: np.ndarray) -> Tensor:
        """Return log-probabilities (S, n, C), each clip by the probes of its fold (n,); differentiable."""
        if len(set(folds.tolist())) == 1:
            return self.of(int(folds[0])).log_probabilities(features)
        order = np.argsort(folds, kind="stable")
        parts = [np.flatnonzero(folds == fold) for fold in np.unique(folds)]
        logs = [
            self.of(int(folds[rows[0]])).log_probabilities(
                features[torch.from_numpy(rows).to(features.device)]
            )
            for rows in parts
        ]
        return torch.cat(logs, dim=1)[:, torch.from_numpy(np.argsort(order)).to(features.device)]

    def save(self, path: Path, settings: Probe) -> None:
        """Write the probes as safetensors, with classes, folds, seeds and settings in the header."""
        about = {"classes": self.classes, "folds": self.folds, "seeds": self.seeds}
        state = {name: getattr(self, name) for name in TENSORS}
        # Under one key, since safetensors writes several keys in arbitrary order.
        write_checkpoint(path, state, {"probe": {**about, "settings": settings.dump()}})

    @classmethod
    def load(cls, path: Path) -> Probes:
        """Read what :meth:`save` wrote; raise :class:`ProbeError` if the file is damaged or no probe."""
        try:
            with safe_open(path, "pt") as file:
                about = json.loads((file.metadata() or {})["probe"])
                classes, folds, seeds = (tuple(about[key]) for key in ("classes", "folds", "seeds"))
                return cls(classes, folds, seeds, *(file.get_tensor(name) for name in TENSORS))
        except (SafetensorError, KeyError) as error:
            raise ProbeError(f"{path}: damaged, or no probe ({error}); {tables.REMEDY}") from error


def probe_task(
    clips: Sequence[str | Path],
    embeddings: Sequence[str | Path],
    label: str,
    settings: Probe,
    weights_out: Path,
    table_out: Path,
    name: str = "probe",
) -> None:
    """Train the probes of a task on all parts of a dataset; write their weights and ``probes`` table."""
    frame, features = read_features(clips, embeddings, label)
    probes = train(features, frame, settings, name)
    probes.save(weights_out, settings)
    tables.write(table_out, "probes", score(probes, features, frame, settings))


def read_features(
    clips: Sequence[str | Path], embeddings: Sequence[str | Path], label: str
) -> tuple[pd.DataFrame, np.ndarray]:
    """Return :func:`describe` of the clips, and their features, float32 (n, D), in the same order.

    Raises
    ------
    ProbeError
        If the embeddings are not those of exactly these clips.
    """
    frame = describe(clips, label)
    row_of = pd.Series(frame.index, index=frame["clip_id"])
    features, seen = None, np.zeros(len(frame), bool)
    for part in embeddings:
        with tables.open_table(part, "embeddings") as file:
            for block in file.iter_batches(4096):
                if not len(block):
                    continue
                rows = row_of.reindex(block["clip_id"].to_pylist()).to_numpy()
                if np.isnan(rows.astype(float)).any():
                    raise ProbeError(f"{part}: embeddings of clips that are not in the dataset")
                values = block["embedding"].flatten().to_numpy().reshape(len(block), -1)
                if features is None:
                    features = np.empty((len(frame), values.shape[1]), np.float32)
                features[rows.astype(int)] = values
                seen[rows.astype(int)] = True
    if not seen.all():
        missing = ", ".join(frame["clip_id"][~seen][:5])
        raise ProbeError(f"no embeddings of {(~seen).sum()} clips ({missing}); {tables.REMEDY}")
    assert features is not None
    return frame, features


@dataclass(frozen=True)
class Division:
    """Row numbers of one fold's clips; ``train`` includes the clips that each seed holds out later."""

    fold: int
    train: np.ndarray
    valid: np.ndarray
    test: np.ndarray


def divisions(frame: pd.DataFrame, folds: bool) -> list[Division]:
    """Divide clips by fold if the dataset has several folds and ``folds`` is set, otherwise by split.

    Raises
    ------
    ProbeError
        If there are no clips to train on, or none to test on.
    """
    fold, split = frame["fold"].to_numpy(), frame["split"].to_numpy()
    if folds and len(set(fold)) > 1:
        none = np.array([], int)
        found = [
            Division(int(f), np.flatnonzero(fold != f), none, np.flatnonzero(fold == f))
            for f in np.unique(fold)
        ]
    else:
        found = [Division(0, *(np.flatnonzero(split == name) for name in ("train", "valid", "test")))]
    for one in found:
        for what in ("train", "test"):
            if not len(getattr(one, what)):
                raise ProbeError(f"no {what} clips; there are {frame['split'].value_counts().to_dict()}")
    return found


def hold_out(
    train: np.ndarray, group: np.ndarray, label: np.ndarray, share: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Divide training clips into clips to train on and clips held out for validation.

    Whole groups (speakers, songs, ...) are held out in random order until they contain ``share`` of the
    clips, except groups with the last remaining clips of a class. If no group can be held out, single
    clips are.

    Raises
    ------
    ProbeError
        If every class has only one clip.
    """
    for unit in (group[train], np.arange(len(train))):
        held = np.zeros(len(train), bool)
        left = pd.Series(label[train]).value_counts()
        members = pd.Series(np.arange(len(train))).groupby(unit).indices
        for key in rng.permutation(sorted(members)):
            if held.sum() >= share * len(train):
                break
            mine = members[key]
            fewer = left.sub(pd.Series(label[train[mine]]).value_counts(), fill_value=0)
            if (fewer > 0).all():
                left, held[mine] = fewer, True
        if held.any():
            return train[~held], train[held]
    raise ProbeError("too few training clips to hold some out for validation")


def train(features: np.ndarray, frame: pd.DataFrame, settings: Probe, name: str = "probe") -> Probes:
    """Train a probe for every fold and seed.

    Parameters
    ----------
    features
        float32 (n, D).
    frame
        Columns ``split``, ``fold``, ``group`` and ``class`` of the same clips.
    """
    classes = tuple(sorted(frame["class"].unique(), key=natural))
    target = torch.from_numpy(pd.Index(classes).get_indexer(frame["class"]))
    group, label = frame["group"].to_numpy(), frame["class"].to_numpy()
    parts = divisions(frame, settings.folds)
    jobs = [(part, seed) for part in parts for seed in settings.seeds]
    fitted = []
    for part, seed in progress(jobs, len(jobs), name, "probes"):
        fitting, valid = part.train, part.valid
        if not len(valid):
            rng = np.random.default_rng([seed, part.fold])
            fitting, valid = hold_out(part.train, group, label, settings.valid_share, rng)
        fitted.append(_fit(features, target, fitting, valid, len(classes), settings, seed))
    tensors = (torch.stack(one).unflatten(0, (len(parts), -1)) for one in zip(*fitted, strict=True))
    return Probes(classes, tuple(part.fold for part in parts), tuple(settings.seeds), *tensors)


def _fit(
    features: np.ndarray,
    target: Tensor,
    train: np.ndarray,
    valid: np.ndarray,
    classes: int,
    settings: Probe,
    seed: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return mean, scale, weight and bias of a probe trained on rows ``train``, stopped by ``valid``."""
    x = features[train]
    mean, scale = (torch.from_numpy(f(x, axis=0, dtype=np.float64)).float() for f in (np.mean, np.std))
    scale[scale == 0] = 1  # constant features are not scaled, as in scikit-learn's StandardScaler
    x, y = (torch.from_numpy(x) - mean) / scale, target[train]
    x_valid, y_valid = (torch.from_numpy(features[valid]) - mean) / scale, target[valid]

    generator = torch.Generator().manual_seed(seed)
    layer = nn.Linear(x.shape[1], classes)
    bound = 1 / math.sqrt(x.shape[1])  # PyTorch's default initialisation, from a seeded generator
    for parameter in layer.parameters():
        nn.init.uniform_(parameter, -bound, bound, generator=generator)
    optimiser = torch.optim.Adam(layer.parameters(), settings.learning_rate)

    best, kept, waited = -math.inf, None, 0
    for _ in range(settings.epochs):
        for rows in torch.randperm(len(x), generator=generator).split(settings.batch_size):
            optimiser.zero_grad()
            nn.functional.cross_entropy(layer(x[rows]), y[rows]).backward()
            optimiser.step()
        now, waited = _score(layer, x_valid, y_valid, settings.score), waited + 1
        if now > best:
            best, waited = now, 0
            kept = [p.detach().clone() for p in layer.parameters()]
        if waited == settings.patience:
            break
    assert kept is not None
    weight, bias = kept
    return mean, scale, weight, bias


@torch.no_grad()
def _score(layer: nn.Module, x: Tensor, y: Tensor, kind: str) -> float:
    logits = layer(x)
    if kind == "loss":
        return -nn.functional.cross_entropy(logits, y).item()
    return (logits.argmax(1) == y).double().mean().item()


def score(probes: Probes, features: np.ndarray, frame: pd.DataFrame, settings: Probe) -> pd.DataFrame:
    """Return the ``probes`` table: the outcome of every test clip, once per seed."""
    return pd.concat(_scored(probes, features, frame, settings), ignore_index=True)


def _scored(probes: Probes, features: np.ndarray, frame: pd.DataFrame, settings: Probe) -> Iterator:
    for part in divisions(frame, settings.folds):
        here = frame.iloc[part.test]
        logs = probes.of(part.fold).log_probabilities(torch.from_numpy(features[part.test]))
        for seed, values in zip(probes.seeds, logs, strict=True):
            predicted, true = outcome(values, here["class"], probes.classes)
            yield here[["clip_id", "split", "fold", "class"]].assign(
                seed=seed, prediction=np.array(probes.classes)[predicted], log_probability=true
            )


def outcome(
    log_probabilities: Tensor, labels: Sequence[str], classes: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Return predicted class numbers and the true class's log-probability, (..., n), of (..., n, C)."""
    true = of_true_class(log_probabilities, labels, classes)
    return log_probabilities.argmax(-1).cpu().numpy(), true.cpu().numpy()


def codes_of(labels: Sequence[str], classes: Sequence[str], device: torch.device) -> Tensor:
    """Return the class number of each of n clips, int64 (n,)."""
    return torch.from_numpy(pd.Index(classes).get_indexer(labels)).to(device)


def of_true_class(log_probabilities: Tensor, labels: Sequence[str], classes: Sequence[str]) -> Tensor:
    """Return the true class's log-probability (..., n) of (..., n, C); differentiable."""
    return of_codes(log_probabilities, codes_of(labels, classes, log_probabilities.device))


def of_codes(log_probabilities: Tensor, codes: Tensor) -> Tensor:
    """Return the log-probability (..., n) of each clip's class, of (..., n, C), by number; differentiable."""
    return log_probabilities[..., torch.arange(len(codes), device=codes.device), codes]


def log_odds(log_probabilities: Tensor, of: int) -> Tensor:
    """Return the log odds of class ``of``, float32 (n,), as means over probes, of (S, n, C)."""
    others = [log_probabilities[..., :of], log_probabilities[..., of + 1 :]]
    rest = torch.cat(others, dim=-1).logsumexp(-1)
    return (log_probabilities[..., of] - rest).mean(0).float()
