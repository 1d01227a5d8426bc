"""Ablation: whether a linear probe still tells classes apart once neurons are changed.

The probe was trained on unchanged features; clips of the test split go through the encoder under every
condition, and the probe is asked again.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from audio_neurons import tables
from audio_neurons.changes import Change
from audio_neurons.clips import batches, describe, encoded, waveforms
from audio_neurons.conditions import Condition, conditions, membership, read_list, sets_of
from audio_neurons.effects import Measured, effects
from audio_neurons.intervention import Donors, Means, Values, check, run_changes
from audio_neurons.models.encoder import Encoder, numerics
from audio_neurons.probes import Probes, outcome
from audio_neurons.runtime import Meter

UNABLATED = "unablated"


class AblationError(RuntimeError):
    """Nothing can be measured with these clips, this probe or these conditions."""


@dataclass(frozen=True)
class Study:
    """On what effects are measured.

    Attributes
    ----------
    clips
        All parts of the dataset.
    label
        Label column of the task.
    probe
        Its probes (:mod:`audio_neurons.probes`).
    clip_seconds, batch_size, precision
        As in extraction, whose embeddings the probe was trained on.
    split
        Whose clips are measured; replacements are taken from ``train``.
    """

    clips: Sequence[str | Path]
    label: str
    probe: str | Path
    clip_seconds: float
    batch_size: int = 8
    split: str = "test"
    precision: str = "fp32"


@dataclass(frozen=True)
class Settings:
    """Conditions, and how their effects are judged.

    Attributes
    ----------
    gains, replacements
        Activations a become r + gain * (a - r), with r of each replacement: ``"zero"``, ``"mean"`` over
        the tokens of the training clips, or ``"resample"``, those of a random training clip.
    random, bins
        Random control sets per set, matched in number per layer and in each of so many bins of response.
    shifted
        Whether the paper's control, every index + 1, is run too.
    donors
        Training clips that ``resample`` draws from.
    bootstrap, confidence
        Draws of groups, and the probability that an interval covers.
    seed
        Of random sets, donors and the bootstrap.
    """

    gains: Sequence[float] = (0.0,)
    replacements: Sequence[str] = ("zero",)
    random: int = 100
    bins: int = 10
    shifted: bool = True
    donors: int = 256
    bootstrap: int = 1000
    confidence: float = 0.95
    seed: int = 0


def ablate_task(
    encoder: Encoder,
    study: Study,
    neurons: str | Path,
    task: Mapping,
    files: Sequence[str | Path],
    settings: Settings,
    out: Mapping[str, str | Path],
    selection_split: str = "train",
    name: str = "ablate",
) -> None:
    """Ablate the neuron sets of a task, and write what changed.

    Parameters
    ----------
    neurons
        The task's ``neurons`` table.
    task
        ``classes``: whose specific neurons are ablated (``None``: every class's); ``shared``: lists of
        classes whose common ones are; ``lists``: name → target classes of further lists.
    files
        The lists themselves (CSV), in the order of their names.
    out
        Paths of the tables ``ablation``, ``sets`` and, if wanted, ``clips``.
    selection_split
        Clips that chose the neurons, for the record.
    """
    columns = ["layer", "neuron", "class", "response", "assigned"]
    table = tables.read(neurons, "neurons", columns)
    named = zip(files, sorted(task["lists"].items()), strict=True)
    lists = [read_list(file, key, targets) for file, (key, targets) in named]
    for one in lists:
        check(encoder, one.neurons)
    sets = sets_of(table, task["classes"], task["shared"], lists)
    found = conditions(
        sets, table, settings.gains, settings.replacements, settings.shifted, settings.random, settings.bins,
        settings.seed,
    )  # fmt: skip
    keep = [i for i, condition in enumerate(found) if condition.control != "random"]
    measured = measure(encoder, study, [c.change for c in found], keep, settings, name)
    tables.write(out["ablation"], "ablation", effects(measured, found, settings, selection_split))
    tables.write(out["sets"], "ablation_sets", membership(found))
    if "clips" in out:
        write_clips(Path(out["clips"]), measured, found)


def measure(
    encoder: Encoder,
    study: Study,
    changes: Sequence[Change],
    keep: Iterable[int],
    settings: Settings,
    name: str = "ablate",
) -> Measured:
    """Run the clips of a study under every change, and ask the probe.

    Sums are integers, so they do not depend on how clips are divided among parts. Memory holds sums per
    change, probe and class, and the outcome of every clip under the changes that ``keep`` lists.

    Raises
    ------
    AblationError
        If the split has no clips, or a change makes features that are not finite.
    """
    with numerics(encoder, study.precision):
        return _measure(encoder, study, changes, keep, settings, name)


def _measure(
    encoder: Encoder,
    study: Study,
    changes: Sequence[Change],
    keep: Iterable[int],
    settings: Settings,
    name: str,
) -> Measured:
    frame = describe(study.clips, study.label)
    probes = Probes.load(Path(study.probe)).to(encoder.device)
    replace = _Replacements(encoder, study, frame, changes, settings)
    frame = frame[frame["split"] == study.split].reset_index(drop=True)
    if frame.empty:
        raise AblationError(f"no clips of split '{study.split}'")
    measured = Measured.empty(frame, probes.classes, probes.seeds, len(changes), keep)
    samples = round(study.clip_seconds * encoder.sample_rate)
    meter = Meter(len(frame) * (len(changes) + 1), name, "clips x conditions")
    for names, wave in batches(study.clips, frame["clip_id"], samples, study.batch_size):
        rows = pd.Index(frame["clip_id"]).get_indexer(names)
        here = frame.iloc[rows]
        values = replace.values(names)
        found = {}
        for number, features in run_changes(
            encoder, torch.from_numpy(wave).to(encoder.device), changes, values
        ):
            logs = probes.judge(features[: len(names)].mean(1).float(), here["fold"].to_numpy())
            found[number] = outcome(logs, here["class"], probes.classes)
            meter.add(len(names))
        for number in sorted(found):  # without any change comes first
            if not np.isfinite(found[number][1]).all():
                what = f"under {changes[number]}" if number >= 0 else "without any change"
                raise AblationError(f"features are not finite {what:.200}")
        measured.add(rows, found)
    meter.finish()
    return measured


class _Replacements:
    """What activations are replaced by, in each batch."""

    def __init__(
        self,
        encoder: Encoder,
        study: Study,
        frame: pd.DataFrame,
        changes: Sequence[Change],
        settings: Settings,
    ):
        self._encoder, self._study, self._seed = encoder, study, settings.seed
        self._samples = round(study.clip_seconds * encoder.sample_rate)
        self._values: dict[str, Values | None] = {"zero": None}
        wanted = {change.replacement for change in changes}
        names = frame.loc[frame["split"] == "train", "clip_id"].to_numpy()
        if wanted - {"zero"} and not len(names):
            raise AblationError("no clips of split 'train' to take replacements from")
        if "mean" in wanted:
            means = Means(encoder)
            for batch, wave in batches(study.clips, names, self._samples, study.batch_size):
                means.add(torch.from_numpy(wave).to(encoder.device), len(batch))
            self._values["mean"] = means.values()
        if "resample" in wanted:
            rng = np.random.default_rng(settings.seed)
            pool = rng.choice(names, min(settings.donors, len(names)), replace=False)
            self._pool = sorted(encoded(study.clips, pool))
            touched = frozenset().union(*(c.neurons for c in changes if c.replacement == "resample"))
            self._values["resample"] = self._donors = Donors(encoder, touched)

    def values(self, names: Sequence[str]) -> Mapping[str, Values | None]:
        """Values for a batch of clips; a clip's donor depends on its name and the seed alone."""
        if "resample" in self._values:
            rngs = (np.random.default_rng([self._seed, zlib.crc32(name.encode())]) for name in names)
            donors = [self._pool[rng.integers(len(self._pool))] for rng in rngs]
            wave = waveforms(donors, self._samples, self._study.batch_size)
            self._donors.load(torch.from_numpy(wave).to(self._encoder.device))
        return self._values


def write_clips(path: Path, measured: Measured, found: Sequence[Condition]) -> None:
    """The ``ablation_clips`` table: without any change, then every condition whose clips were kept."""
    classes = np.array(measured.classes)
    outcomes = {UNABLATED: measured.before} | {found[k].name: one for k, one in measured.kept.items()}
    with tables.writer(path, "ablation_clips") as writer:
        for name, (predicted, true) in outcomes.items():
            seeds, clips = predicted.shape
            columns = {
                "condition": [name] * (seeds * clips),
                "seed": np.repeat(measured.seeds, clips),
                "clip_id": np.tile(measured.frame["clip_id"], seeds),
                "class": np.tile(measured.frame["class"], seeds),
                "prediction": classes[predicted].ravel(),
                "log_probability": true.ravel(),
            }
            writer.append(columns)
