"""Measure whether a linear probe still recognises classes when neurons are changed.

The probe is trained on unchanged features. Clips of the test split then pass through the encoder under
every condition, and the probe classifies the resulting features.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from audio_neurons import tables
from audio_neurons.ablation.changes import Change
from audio_neurons.ablation.conditions import Condition, membership, read_list, sets_of
from audio_neurons.ablation.conditions import conditions as conditions_of
from audio_neurons.ablation.confusion import Confusions
from audio_neurons.ablation.effects import Measured, controls_of, effects
from audio_neurons.ablation.intervention import Donors, Means, Values, check, run_changes
from audio_neurons.ablation.probes import Probes, log_odds, outcome
from audio_neurons.models.encoder import Encoder, numerics
from audio_neurons.recordings.clips import batches, describe, encoded, waveforms
from audio_neurons.running.runtime import Meter
from audio_neurons.settings.ablation import Conditions

UNABLATED = "unablated"


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
    batch_size: int = 8
    split: str = "test"
    precision: str = "fp32"
    pool: str = "window"
    count: str = "window"

    def ends(self, frame: pd.DataFrame, samples: int) -> Tensor | None:
        """Return the samples (n,) of each recording, if later tokens do not count."""
        if self.count == "window":
            return None
        return torch.tensor(frame["frames"].clip(upper=samples).to_numpy(np.int64))

    def embedded(self, encoder: Encoder, features: Tensor, frame: pd.DataFrame) -> Tensor:
        """Return the embeddings (n, D) of the n clips of ``frame``, the first of the features (B, T, D)."""
        samples = round(self.clip_seconds * encoder.sample_rate)
        ends = samples if self.pool == "window" else frame["frames"].clip(upper=samples)
        recorded = torch.from_numpy(np.broadcast_to(ends, len(frame)).astype(np.int64))
        return encoder.pooled(features[: len(frame)], samples, recorded)


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
    """
    columns = ["layer", "neuron", "class", "response", "assigned"]
    table = tables.read(neurons, "neurons", columns)
    named = zip(files, sorted(task["lists"].items()), strict=True)
    lists = [read_list(file, key, targets) for file, (key, targets) in named]
    for one in lists:
        check(encoder, one.neurons)
    sets = sets_of(table, task["classes"], task["shared"], lists)
    found = conditions_of(
        sets, table, settings.gains, settings.replacements, settings.shifted, settings.random, settings.bins,
        settings.seed, settings.match,
    )  # fmt: skip
    keep = [i for i, condition in enumerate(found) if condition.control != "random"]
    confusions = Confusions(found)
    measured = measure(encoder, study, [c.change for c in found], keep, settings, name, confusions, found)
    tables.write(out["ablation"], "ablation", effects(measured, found, settings, selection_split))
    tables.write(out["confusion"], "confusion", confusions.table(measured.classes, measured.seeds))
    tables.write(out["sets"], "ablation_sets", membership(found))
    if "clips" in out:
        write_clips(Path(out["clips"]), measured, found)


def measure(
    encoder: Encoder,
    study: Study,
    changes: Sequence[Change],
    keep: Iterable[int],
    settings: Conditions,
    name: str = "ablate",
    confusions: Confusions | None = None,
    found: Sequence[Condition] = (),
) -> Measured:
    """Return the probe's outcomes for the clips of a study under every change.

    Sums are integers, so they do not depend on how clips are divided among parts. Memory holds sums per
    change, probe and class, and the outcome of every clip under the changes listed in ``keep``. All
    predictions are added to ``confusions``, if given. If the changes are those of conditions, ``found``, also
    sums over the random controls of each, and the log odds of its targets, are kept.

    Raises
    ------
    AblationError
        If the split has no clips, a replacement needs ``train`` clips and there are none, or features are
        not finite.
    """
    with numerics(encoder, study.precision):
        return _measure(encoder, study, changes, keep, settings, name, confusions, found)


def _measure(
    encoder: Encoder,
    study: Study,
    changes: Sequence[Change],
    keep: Iterable[int],
    settings: Conditions,
    name: str,
    confusions: Confusions | None,
    conditions: Sequence[Condition],
) -> Measured:
    frame = describe(study.clips, study.label)
    probes = Probes.load(Path(study.probe)).to(encoder.device)
    replace = _Replacements(encoder, study, frame, changes, settings)
    frame = frame[frame["split"] == study.split].reset_index(drop=True)
    if frame.empty:
        raise AblationError(f"no clips of split '{study.split}'")
    measured = Measured.empty(frame, probes.classes, probes.seeds, len(changes), keep)
    measured.compare(controls_of(conditions))
    targets = [
        [probes.classes.index(name) for name in c.set.targets if name in probes.classes] for c in conditions
    ]
    every = sorted({of for some in targets for of in some})
    samples = round(study.clip_seconds * encoder.sample_rate)
    meter = Meter(len(frame) * (len(changes) + 1), name, "clips x conditions")
    for names, wave in batches(study.clips, frame["clip_id"], samples, study.batch_size, encoder.sample_rate):
        rows = pd.Index(frame["clip_id"]).get_indexer(names)
        here = frame.iloc[rows]
        values = replace.values(names)
        found, odds = {}, {}
        for number, features in run_changes(
            encoder, torch.from_numpy(wave).to(encoder.device), changes, values
        ):
            embedded = study.embedded(encoder, features, here)
            logs = probes.judge(embedded.float(), here["fold"].to_numpy())
            found[number] = outcome(logs, here["class"], probes.classes)
            for of in every if number < 0 else targets[number] if targets else ():
                odds[number, of] = log_odds(logs, of)
            meter.add(len(names))
        for number in sorted(found):  # -1, no change, is checked first
            if not np.isfinite(found[number][1]).all():
                what = f"under {changes[number]}" if number >= 0 else "without any change"
                raise AblationError(f"features are not finite {what:.200}")
        measured.add(rows, found)
        measured.add_odds(rows, odds)
        if confusions:
            confusions.add(measured.codes[rows], len(probes.classes), found)
    meter.finish()
    return measured


class _Replacements:
    """Replacement values for each batch."""

    def __init__(
        self,
        encoder: Encoder,
        study: Study,
        frame: pd.DataFrame,
        changes: Sequence[Change],
        settings: Conditions,
    ):
        self._encoder, self._study, self._seed = encoder, study, settings.seed
        self._samples = round(study.clip_seconds * encoder.sample_rate)
        self._values: dict[str, Values | None] = {"zero": None}
        wanted = {change.replacement for change in changes}
        names = frame.loc[frame["split"] == "train", "clip_id"].to_numpy()
        if wanted - {"zero"} and not len(names):
            raise AblationError("no clips of split 'train' to take replacements from")
        if "mean" in wanted:
            means, of_clip = Means(encoder), frame.set_index("clip_id")
            for batch, wave in batches(
                study.clips, names, self._samples, study.batch_size, encoder.sample_rate
            ):
                ends = study.ends(of_clip.loc[batch], self._samples)
                means.add(torch.from_numpy(wave).to(encoder.device), len(batch), ends)
            self._values["mean"] = means.values()
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
            wave = waveforms(donors, self._samples, self._study.batch_size, self._encoder.sample_rate)
            self._donors.load(torch.from_numpy(wave).to(self._encoder.device))
        return self._values


def write_clips(path: Path, measured: Measured, found: Sequence[Condition]) -> None:
    """Write the ``ablation_clips`` table: no change first, then every condition whose clips were kept."""
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
