"""Measure whether a linear probe still recognises classes when neurons are changed.

The probe is trained on unchanged features. Clips of the test split then pass through the encoder under
every condition, and the probe classifies the resulting features.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from audio_neurons import tables
from audio_neurons.ablation.changes import Change
from audio_neurons.ablation.conditions import Condition, Controls, membership, read_list, sets_of
from audio_neurons.ablation.effects import Measured, effects
from audio_neurons.ablation.intervention import Donors, Indexed, Means, Values, check, run_changes
from audio_neurons.ablation.parts import TABLES, UNABLATED, share, write_empty
from audio_neurons.ablation.probes import Probes, codes_of, log_odds, of_codes
from audio_neurons.ablation.rounds import run
from audio_neurons.activations.batching import clips_per_pass
from audio_neurons.models.encoder import Encoder, numerics
from audio_neurons.recordings.clips import batches, describe, encoded, waveforms
from audio_neurons.running.runtime import Meter
from audio_neurons.settings.ablation import Conditions

Key = TypeVar("Key")


class AblationError(RuntimeError):
    """An ablation cannot be measured with the given clips, probe or conditions."""


@dataclass(frozen=True)
class Study:
    """Clips and probes on which effects are measured.

    Attributes
    ----------
    clips
        Paths of all parts of the dataset.
    label
        Label column of the task.
    probe
        File of the task's probes (:mod:`audio_neurons.ablation.probes`).
    clip_seconds, batch_size, precision, pool, count
        As in the extraction whose embeddings the probe was trained on, and whose tokens were counted.
    split
        Split whose clips are measured; replacement values always come from ``train``.
    """

    clips: Sequence[str | Path]
    label: str
    probe: str | Path
    clip_seconds: float
    batch_size: int | str = 8
    split: str = "test"
    precision: str = "fp32"
    pool: str = "window"
    count: str = "window"

    def ends(self, frame: pd.DataFrame, samples: int) -> Tensor | None:
        """Return the samples (n,) of each recording, if later tokens do not count."""
        if self.count == "window":
            return None
        return torch.tensor(frame["frames"].clip(upper=samples).to_numpy(np.int64))

    def pooling(self, encoder: Encoder, frame: pd.DataFrame) -> Callable[[Tensor], Tensor]:
        """Return what gives the embeddings (n, D) of the n clips of ``frame`` from features (B, T, D)."""
        samples = round(self.clip_seconds * encoder.sample_rate)
        ends = samples if self.pool == "window" else frame["frames"].clip(upper=samples)
        recorded = torch.from_numpy(np.broadcast_to(ends, len(frame)).astype(np.int64))
        return lambda features: encoder.pooled(features[: len(frame)], samples, recorded)


def ablate_task(
    encoder: Encoder,
    study: Study,
    neurons: str | Path,
    task: Mapping,
    files: Sequence[str | Path],
    settings: Conditions,
    out: Mapping[str, str | Path],
    selection_split: str = "train",
    name: str = "ablate",
    part: str | None = None,
) -> None:
    """Ablate the neuron sets of a task and write the measured effects.

    Parameters
    ----------
    neurons
        Path of the task's ``neurons`` table.
    task
        ``classes``: classes whose specific neurons are ablated (``None``: every class); ``shared``: lists
        of classes whose common neurons are ablated; ``lists``: name of a neuron list → its target classes.
    files
        Paths of the neuron lists (CSV), in alphabetical order of their names.
    out
        Paths of the tables ``ablation``, ``confusion``, ``sets`` and, optionally, ``clips``.
    selection_split
        Split on which the neurons were selected; only recorded in the table.
    part
        Which of several jobs this is, as ``"000-of-003"`` (:mod:`audio_neurons.ablation.parts`).
    """
    columns = ["layer", "neuron", "class", "response", "assigned"]
    table = tables.read(neurons, "neurons", columns)
    named = zip(files, sorted(task["lists"].items()), strict=True)
    lists = [read_list(file, key, targets) for file, (key, targets) in named]
    for one in lists:
        check(encoder, one.neurons)
    sets = share(sets_of(table, task["classes"], task["shared"], lists), part)
    if sets is None:
        return write_empty(out)
    passes = Passes(encoder, study, settings, name)
    measured, found, confusions = run(passes.measure, sets, Controls(table, settings), settings, name)
    made = {
        "ablation": effects(measured, found, settings, selection_split),
        "confusion": confusions.table(measured.classes, measured.seeds),
        "sets": membership(found),
    }
    for key, frame in made.items():
        tables.write(out[key], TABLES[key], frame)
    if "clips" in out:
        write_clips(Path(out["clips"]), measured, found)


def measure(
    encoder: Encoder,
    study: Study,
    changes: Sequence[Change],
    keep: Iterable[int],
    settings: Conditions,
    name: str = "ablate",
) -> Measured:
    """Return the probe's outcomes for the clips of a study under every change (:meth:`Passes.measure`)."""
    return Passes(encoder, study, settings, name).measure(changes, keep)


class Passes:
    """Passes of a study's clips through an encoder, under changes."""

    def __init__(self, encoder: Encoder, study: Study, settings: Conditions, name: str = "ablate"):
        self._encoder, self._settings, self._name = encoder, settings, name
        samples = round(study.clip_seconds * encoder.sample_rate)
        self._study, self._size = study, clips_per_pass(encoder, study.batch_size, samples)
        self._every = describe(study.clips, study.label)
        self._frame = self._every[self._every["split"] == study.split].reset_index(drop=True)
        if self._frame.empty:
            raise AblationError(f"no clips of split '{study.split}'")
        self._probes = Probes.load(Path(study.probe)).to(encoder.device)
        self._means: Values | None = None

    def measure(
        self,
        changes: Sequence[Change],
        keep: Iterable[int],
        targets: Sequence[Sequence[str]] = (),
        suffix: str = "",
    ) -> Measured:
        """Return the probe's outcomes under every change.

        Sums are integers, so they do not depend on how clips are divided among parts. Memory holds sums per
        change, probe and class, and the outcome of every clip under the changes listed in ``keep``.

        Parameters
        ----------
        targets
            Classes of each change whose log odds are kept; none by default.
        suffix
            Addition to the name in the progress display.

        Raises
        ------
        AblationError
            If a replacement needs ``train`` clips and there are none, or features are not finite.
        """
        with numerics(self._encoder, self._study.precision):
            return self._measure(changes, keep, targets, suffix)

    def _measure(
        self,
        changes: Sequence[Change],
        keep: Iterable[int],
        targets: Sequence[Sequence[str]],
        suffix: str,
    ) -> Measured:
        encoder, study, frame, probes = self._encoder, self._study, self._frame, self._probes
        replacing = _Replacements(
            encoder, study, self._every, changes, self._settings, self._size, self._means
        )
        self._means = replacing.means
        measured = Measured.empty(frame, probes.classes, probes.seeds, len(changes), keep)
        numbers = [[probes.classes.index(c) for c in some if c in probes.classes] for some in targets]
        every = sorted({of for some in numbers for of in some})
        samples = round(study.clip_seconds * encoder.sample_rate)
        meter = Meter(len(frame) * (len(changes) + 1), f"{self._name}{suffix}", "clips x conditions")
        indexed = Indexed(encoder, changes)
        for names, wave in batches(study.clips, frame["clip_id"], samples, self._size, encoder.sample_rate):
            rows = pd.Index(frame["clip_id"]).get_indexer(names)
            here = frame.iloc[rows]
            pooled, folds = study.pooling(encoder, here), here["fold"].to_numpy()
            codes = codes_of(here["class"], probes.classes, encoder.device)
            predicted, true, levels = {}, {}, {}  # on the device until the batch ends
            for number, features in run_changes(
                encoder, torch.from_numpy(wave).to(encoder.device), indexed, replacing.values(names)
            ):
                logs = probes.judge(pooled(features).float(), folds)
                predicted[number], true[number] = logs.argmax(-1), of_codes(logs, codes)
                for of in every if number < 0 else numbers[number] if numbers else ():
                    levels[number, of] = log_odds(logs, of)
                meter.add(len(names))
            now, now_true, odds = (_fetched(values) for values in (predicted, true, levels))
            found = {number: (now[number], now_true[number]) for number in now}
            for number in sorted(found):  # -1, no change, is checked first
                if not np.isfinite(found[number][1]).all():
                    what = f"under {changes[number]}" if number >= 0 else "without any change"
                    raise AblationError(f"features are not finite {what:.200}")
            measured.add(rows, found)
            measured.add_odds(rows, odds)
        meter.finish()
        return measured


def _fetched(values: Mapping[Key, Tensor]) -> dict[Key, np.ndarray]:
    """Copy tensors of one shape from their device, all at once."""
    if not values:
        return {}
    return dict(zip(values, torch.stack(list(values.values())).cpu().numpy(), strict=True))


class _Replacements:
    """Replacement values for each batch; ``means`` are those of an earlier run, if there was one."""

    def __init__(
        self,
        encoder: Encoder,
        study: Study,
        frame: pd.DataFrame,
        changes: Sequence[Change],
        settings: Conditions,
        size: int,
        means: Values | None = None,
    ):
        self._encoder, self._size, self._seed = encoder, size, settings.seed
        self._samples = round(study.clip_seconds * encoder.sample_rate)
        self._values: dict[str, Values | None] = {"zero": None}
        wanted = {change.replacement for change in changes}
        names = frame.loc[frame["split"] == "train", "clip_id"].to_numpy()
        if wanted - {"zero"} and not len(names):
            raise AblationError("no clips of split 'train' to take replacements from")
        self.means = means
        if "mean" in wanted and means is None:
            sums, of_clip = Means(encoder), frame.set_index("clip_id")
            for batch, wave in batches(study.clips, names, self._samples, size, encoder.sample_rate):
                ends = study.ends(of_clip.loc[batch], self._samples)
                sums.add(torch.from_numpy(wave).to(encoder.device), len(batch), ends)
            self.means = sums.values()
        if "mean" in wanted:
            self._values["mean"] = self.means
        if "resample" in wanted:
            rng = np.random.default_rng(settings.seed)
            pool = rng.choice(names, min(settings.donors, len(names)), replace=False)
            self._pool = sorted(encoded(study.clips, pool))
            touched = frozenset().union(*(c.neurons for c in changes if c.replacement == "resample"))
            self._values["resample"] = self._donors = Donors(encoder, touched)

    def values(self, names: Sequence[str]) -> Mapping[str, Values | None]:
        """Return the values for a batch of clips; a clip's donor depends only on its name and the seed."""
        if "resample" in self._values:
            rngs = (np.random.default_rng([self._seed, zlib.crc32(name.encode())]) for name in names)
            donors = [self._pool[rng.integers(len(self._pool))] for rng in rngs]
            wave = waveforms(donors, self._samples, self._size, self._encoder.sample_rate)
            self._donors.load(torch.from_numpy(wave).to(self._encoder.device))
        return self._values


def write_clips(path: Path, measured: Measured, found: Sequence[Condition]) -> None:
    """Write the ``ablation_clips`` table: no change first, then every condition whose clips were kept."""
    classes = np.array(measured.classes)
    outcomes = {UNABLATED: measured.before} | {found[k].name: one for k, one in measured.kept.items()}
    with tables.writer(path, TABLES["clips"]) as writer:
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
