"""Clips that stand for a neuron: random ones on which it is active, bands of activation, and the strongest.

A dataset's clips are ordered by a seeded hash of their names, and the first of them are *drawn*. A neuron's
random clips are the first of these on which it is active, and clips of a band the first in the band. They are
therefore the clips with the smallest hashes, whatever the number of shards; they are the same for all neurons
as far as these allow, so that the sounds of many neurons are few. One further pass runs over the drawn clips
and over the strongest clips of neurons that are specific to a class; extraction does nothing for it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import torch
from torch import Tensor, nn

from audio_neurons import tables
from audio_neurons.activations.batching import clips_per_pass
from audio_neurons.activations.extraction import forward
from audio_neurons.activations.medians import read as read_medians
from audio_neurons.activations.recorder import Recorder
from audio_neurons.models.encoder import Encoder, numerics
from audio_neurons.recordings.clips import encoded, waveforms
from audio_neurons.recordings.excerpts import SECONDS, number_of, start_of
from audio_neurons.running.runtime import Meter, tell
from audio_neurons.settings.atlas import Examples
from audio_neurons.settings.extraction import Pass

# Upper ends of the bands, as shares of the drawn clips on which a neuron is active, by their peaks.
BANDS = {"low": 0.5, "middle": 0.9, "high": 1.0}
RANDOM, IN_BAND, OF_OTHERS = 4, 2, 3  # clips of a neuron
STRONGEST, OTHERS = "strongest", "other"
SAMPLES = ("random", *BANDS, STRONGEST, OTHERS)
EXCITED = 20  # neurons of a clip
FINEST = 0.04  # seconds of a step of a trace, at least
FULL = 255  # of a trace


class Picks(NamedTuple):
    """Clips (by number) that are shown for neurons (by number), and their rank in a sample."""

    sample: str
    clip: np.ndarray
    neuron: np.ndarray
    rank: np.ndarray


def draw(names: Sequence[str], most: int, seed: int) -> list[str]:
    """Return at most ``most`` names with the smallest hashes, in order of these."""

    def hashed(name: str) -> bytes:
        return hashlib.blake2b(f"{seed} {name}".encode(), digest_size=8).digest()

    return sorted(names, key=lambda name: (hashed(name), name))[:most]


def sampled(peak: np.ndarray, active: np.ndarray) -> list[Picks]:
    """Choose random clips and clips of each band for every neuron.

    Parameters
    ----------
    peak
        (P, N): highest activation of N neurons in P clips, in the order of the draw.
    active
        bool (P, N): whether the neuron is active in the clip.

    Returns
    -------
    The first clips on which a neuron is active, then of each band of its active clips, by their peaks, the
    first that are not among these.
    """
    first = active & (np.cumsum(active, axis=0) <= RANDOM)
    found = [_picked("random", first)]
    order = np.argsort(np.where(active, peak, np.inf), axis=0, kind="stable")
    place = np.empty_like(order)
    np.put_along_axis(place, order, np.arange(len(peak))[:, None], axis=0)
    share = (place + 0.5) / np.maximum(active.sum(0), 1)
    low = 0.0
    for band, high in BANDS.items():
        inside = active & (share > low) & (share <= high) & ~first
        found.append(_picked(band, inside & (np.cumsum(inside, axis=0) <= IN_BAND)))
        low = high
    return found


def _picked(sample: str, chosen: np.ndarray) -> Picks:
    neuron, clip = np.nonzero(chosen.T)
    rank = (np.cumsum(chosen, axis=0) - 1)[clip, neuron]
    return Picks(sample, clip, neuron, rank)


def of_others(peak: np.ndarray, active: np.ndarray, own: np.ndarray, neurons: np.ndarray) -> Picks:
    """Choose for K neurons, by number, the strongest of P clips that are not their own, bool (P, K)."""
    strength = np.where(active[:, neurons] & ~own, peak[:, neurons], -np.inf)
    order = np.argsort(-strength, axis=0, kind="stable")[:OF_OTHERS]
    rank, column = np.nonzero(np.take_along_axis(strength, order, axis=0) > -np.inf)
    by = np.lexsort((rank, column))
    return Picks(OTHERS, order[rank, column][by], neurons[column][by], rank[by])


def excited(peak: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return for P clips the neurons that they excite most: clip, neuron, and score, one row each.

    The score is the distance of the neuron's peak in the clip from its mean over all clips (P, N), in
    standard deviations.
    """
    spread = peak.std(0, dtype=np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        score = np.where(spread > 0, (peak - peak.mean(0, dtype=np.float64)) / spread, -np.inf)
    neuron = np.argsort(-score, axis=1, kind="stable")[:, :EXCITED]
    own = np.take_along_axis(score, neuron, axis=1)
    clip, place = np.nonzero(own > 0)
    return clip, neuron[clip, place], own[clip, place]


class Traces:
    """Highest level of some neurons above their threshold in steps of time, recorded as an encoder runs.

    Parameters
    ----------
    neurons
        int (K, 2): layer and unit of each, layer-major.
    threshold, absolute
        As in :class:`~audio_neurons.activations.recorder.Recorder`.
    samples
        Samples of a clip.

    Attributes
    ----------
    step
        Length of a step in seconds: a whole number of the encoder's, at least `FINEST`.
    """

    def __init__(
        self, encoder: Encoder, neurons: np.ndarray, threshold: float | Tensor, absolute: bool, samples: int
    ):
        self._encoder, self._absolute, self._samples = encoder, absolute, samples
        self._units = [torch.from_numpy(neurons[neurons[:, 0] == one, 1]) for one in range(encoder.depth)]
        self._threshold = threshold
        seconds = encoder.token_seconds(samples).double()
        starts = seconds.unique()
        own = float(starts.diff().min()) if len(starts) > 1 else samples / encoder.sample_rate
        self.step = own * max(1, int(np.ceil(FINEST / own - 1e-6)))
        self._steps = (seconds / self.step + 1e-6).long().to(encoder.device)
        self.steps = int(self._steps.max()) + 1

    def begin(self, clips: int, heard: Tensor | None) -> None:
        """Start a batch of clips, whose tokens count only where ``heard`` (B, T), if it is given."""
        shapes = ((clips, len(units), self.steps) for units in self._units)
        self._levels = [torch.zeros(shape, device=self._encoder.device) for shape in shapes]
        self._heard = heard
        self._first, self._runs = [0] * len(self._levels), [0] * len(self._levels)

    def record(self, layer: int, hidden: Tensor) -> None:
        """Add the hidden activations (B, N, W) of one call (see `Encoder.listening`)."""
        level = hidden[:, self._encoder.counted_in(layer, self._samples, self._runs[layer])]
        here = slice(self._first[layer], self._first[layer] + level.shape[1])
        self._first[layer], self._runs[layer] = here.stop, self._runs[layer] + 1
        units = self._units[layer].to(level.device)
        if not len(units):
            return
        level = level[..., units].float()
        level = level.abs() if self._absolute else level
        bar = self._threshold
        level = level - (bar[layer, units] if isinstance(bar, Tensor) else bar)
        if self._heard is not None:
            level = level * self._heard[:, here, None]
        level = level.transpose(1, 2)
        self._levels[layer].scatter_reduce_(2, self._steps[here].expand_as(level), level, "amax")

    def end(self) -> np.ndarray:
        """Return the levels of the batch, float16 (B, K, steps), 0 where a neuron is not active."""
        return torch.cat(self._levels, 1).clamp(max=6e4).half().cpu().numpy()


def assignments(tables_of_tasks: Sequence[tuple[str, str | Path]]) -> pd.DataFrame:
    """Return ``label``, ``layer``, ``neuron`` and ``class`` of what ``neurons`` tables assign."""
    found = []
    for label, path in tables_of_tasks:
        for name, rows in tables.runs(path, "neurons", "class", ["layer", "neuron", "assigned"]):
            own = rows.loc[rows["assigned"], ["layer", "neuron"]]
            found.append(own.assign(**{"label": label, "class": name}))
    return pd.concat(found, ignore_index=True)


def find(
    encoder: Encoder,
    parts: Sequence[str | Path],
    strongest: str | Path,
    neurons: Sequence[tuple[str, str | Path]],
    settings: Pass,
    drawn: Examples,
    out: str | os.PathLike,
    excited_out: str | os.PathLike,
    name: str = "examples",
    medians: str | Path | None = None,
) -> None:
    """Find the examples of every neuron in a dataset, and write the ``examples`` and ``excited`` tables.

    Parameters
    ----------
    parts
        The dataset's ``clips`` tables.
    strongest
        Its ``top_clips`` table.
    neurons
        Label and ``neurons`` table of each of its tasks; neurons that are assigned to a class have traces.
    medians
        Table that activity ``"median"`` needs.
    """
    labels = sorted({label for label, _ in neurons})
    frames = [tables.read(part, "clips", ["clip_id", "frames", *labels]) for part in parts]
    frame = pd.concat(frames).set_index("clip_id").sort_index()
    samples = round(settings.clip_seconds * encoder.sample_rate)
    ends = frame["frames"].clip(upper=samples)
    names = draw(frame.index.tolist(), drawn.clips, drawn.seed)

    everyone = pd.MultiIndex.from_arrays(encoder.neurons.cpu().numpy().T, names=["layer", "neuron"])
    assigned = assignments(neurons)
    assigned["number"] = everyone.get_indexer(pd.MultiIndex.from_frame(assigned[["layer", "neuron"]]))
    chosen = np.unique(assigned["number"].to_numpy(np.int64))
    top = tables.read(strongest, "top_clips")
    top["number"] = everyone.get_indexer(pd.MultiIndex.from_frame(top[["layer", "neuron"]]))
    if (top["number"] < 0).any() or (assigned["number"] < 0).any():
        raise tables.TableError(f"{strongest}: has neurons that the encoder has not; {tables.REMEDY}")
    wanted = {*names, *top.loc[top["number"].isin(chosen), "clip_id"]}
    if not len(chosen):
        tell(f"{name}: no neuron is assigned to a class, so none has a trace")

    passed = _pass(encoder, parts, wanted, ends, settings, _at(everyone, chosen), medians, name)
    place = pd.Series(np.arange(len(passed.names)), index=passed.names)
    pool = place[names].to_numpy()
    own = np.zeros((len(names), len(chosen)), bool)
    for label, rows in assigned.groupby("label"):
        classes = frame.loc[names, label].to_numpy()
        for class_name, of in rows.groupby("class"):
            mine = np.searchsorted(chosen, of["number"].to_numpy())
            own[np.ix_(classes == class_name, mine)] = True
    peak, active = passed.peak[pool], passed.active[pool] > 0
    picks = [*sampled(peak, active), of_others(peak, active, own, chosen)]
    rows = [_rows(one, passed, pool) for one in picks]
    top = top.assign(sample=STRONGEST, clip=place.reindex(top["clip_id"]).fillna(-1).to_numpy(np.int64))
    every = pd.concat([*rows, top], ignore_index=True)
    order = every["sample"].map({sample: i for i, sample in enumerate(SAMPLES)})
    every = every.assign(order=order).sort_values(["number", "order", "rank"], ignore_index=True)
    every["active_clips"] = active.sum(0)[every["number"]]
    every["drawn_clips"] = len(names)
    heard = ends if settings.count == "recording" else ends.clip(lower=samples)
    lengths = heard[every["clip_id"]].to_numpy() / encoder.sample_rate
    every["excerpt"] = number_of(every["seconds"].to_numpy(), lengths)
    tables.write(out, "examples", _with_traces(every, everyone, chosen, passed, lengths))

    clip, number, score = excited(peak)
    of = everyone[number]
    tables.write(
        excited_out,
        "excited",
        pd.DataFrame(
            {
                "clip_id": np.asarray(names, object)[clip],
                "rank": pd.Series(clip).groupby(clip).cumcount().to_numpy(),
                "layer": of.get_level_values(0),
                "neuron": of.get_level_values(1),
                "score": score,
                "activation": peak[clip, number],
            }
        ),
    )


class _Passed(NamedTuple):
    """What a pass over C clips recorded of N neurons, K of which have traces (C, K, steps)."""

    names: list[str]
    peak: np.ndarray
    seconds: np.ndarray
    active: np.ndarray
    tokens: np.ndarray
    traces: np.ndarray
    step: float


def _at(everyone: pd.MultiIndex, numbers: np.ndarray) -> np.ndarray:
    return np.array(everyone[numbers].tolist(), np.int64).reshape(-1, 2)


def _pass(
    encoder: Encoder,
    parts: Sequence[str | Path],
    wanted: set[str],
    ends: pd.Series,
    settings: Pass,
    chosen: np.ndarray,
    medians: str | Path | None,
    name: str,
) -> _Passed:
    """Run the encoder over clips in the order of their names, so that shards do not decide the batches."""
    samples = round(settings.clip_seconds * encoder.sample_rate)
    size = clips_per_pass(encoder, settings.batch_size, samples)
    threshold: float | Tensor = settings.threshold
    if settings.activity == "median":
        assert medians is not None
        threshold = threshold + read_medians(medians, encoder)
    absolute = settings.activity == "absolute"
    floor = torch.full((encoder.depth, encoder.width), -torch.inf, device=encoder.device)
    traces = Traces(encoder, chosen, threshold, absolute, samples)
    named = sorted(encoded(parts, wanted))
    names = [clip for clip, _ in named]
    recorded = torch.tensor(ends[names].to_numpy(np.int64))
    heard = encoder.heard(samples, recorded)
    seconds = encoder.token_seconds(samples).numpy()
    meter = Meter(len(names), name, "clips")
    found: Mapping[str, list[np.ndarray]] = {key: [] for key in ("peak", "token", "active", "traces")}
    with (
        Recorder(encoder, settings.tokens, threshold, floor, absolute) as recorder,
        encoder.listening(traces.record),
        numerics(encoder, settings.precision),
    ):
        for start in range(0, len(names), size):
            some = named[start : start + size]
            wave = torch.from_numpy(waveforms(some, samples, size, encoder.sample_rate)).to(encoder.device)
            here = slice(start, start + len(some))
            filled = nn.functional.pad(recorded[here], (0, size - len(some)), value=samples)
            by_recording = settings.count == "recording"
            traces.begin(size, encoder.heard(samples, filled).to(encoder.device) if by_recording else None)
            _, batch = forward(encoder, recorder, wave, filled if by_recording else None)
            own = {"peak": batch.peak, "token": batch.peak_token, "active": batch.active}
            for key, values in own.items():
                found[key].append(encoder.flat(values[: len(some)]).cpu().numpy())
            found["traces"].append(traces.end()[: len(some)])
            meter.add(len(some))
            window = batch.tokens
    meter.finish()
    if settings.tokens != "patch":  # special tokens have no time
        seconds = np.full(window, np.nan)
    tokens = window - (~heard).sum(1).numpy() * (settings.count == "recording")
    every: dict[str, Any] = {key: np.concatenate(values) for key, values in found.items()}
    when = seconds[every.pop("token")].astype(np.float32)
    return _Passed(names, every["peak"], when, every["active"], tokens, every["traces"], traces.step)


def _rows(picks: Picks, passed: _Passed, pool: np.ndarray) -> pd.DataFrame:
    at = pool[picks.clip], picks.neuron
    return pd.DataFrame(
        {
            "sample": picks.sample,
            "rank": picks.rank,
            "clip": at[0],
            "number": picks.neuron,
            "clip_id": np.asarray(passed.names, object)[at[0]],
            "activation": passed.peak[at],
            "seconds": passed.seconds[at],
            "response": passed.active[at] / passed.tokens[at[0]],
        }
    )


def _with_traces(
    every: pd.DataFrame, everyone: pd.MultiIndex, chosen: np.ndarray, passed: _Passed, lengths: np.ndarray
) -> pa.Table:
    """Build the ``examples`` table: traces are cut to excerpts, and scaled to the neuron's highest level."""
    number = every["number"].to_numpy()
    column = np.searchsorted(chosen, number)
    column[column == len(chosen)] = 0
    traced = np.isin(number, chosen) & (every["clip"].to_numpy() >= 0)
    rows = np.flatnonzero(traced)
    levels = passed.traces[every["clip"].to_numpy()[rows], column[rows]]
    scale = np.zeros(len(chosen), np.float32)
    np.maximum.at(scale, column[rows], levels.max(1, initial=0).astype(np.float32))
    starts = start_of(every["excerpt"].to_numpy(), lengths)
    cut: list[np.ndarray] = [np.zeros(0, np.uint8)] * len(every)
    for row, level in zip(rows, levels, strict=True):
        first, last = span(starts[row], lengths[row], passed.step)
        own = level[first:last].astype(np.float32) / (scale[column[row]] or 1)
        cut[row] = np.rint(FULL * own).astype(np.uint8)
    of = everyone[number]
    flat = np.concatenate(cut) if cut else np.zeros(0, np.uint8)
    offsets = np.concatenate([[0], np.cumsum([len(one) for one in cut])])
    data: dict[str, Any] = {
        "layer": of.get_level_values(0).to_numpy(),
        "neuron": of.get_level_values(1).to_numpy(),
        **{name: every[name].to_numpy() for name in ("sample", "rank", "clip_id", "activation", "seconds")},
        "response": every["response"].to_numpy(),
        "excerpt": every["excerpt"].to_numpy(),
        "trace": pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), pa.array(flat)),
        "step": np.where(traced, passed.step, 0),
        "scale": np.where(traced, scale[column] if len(chosen) else 0, 0),
        "active_clips": every["active_clips"].to_numpy(),
        "drawn_clips": every["drawn_clips"].to_numpy(),
    }
    return pa.table(data)


def span(start: float, length: float, step: float) -> tuple[int, int]:
    """Return the first step of an excerpt that begins at ``start`` (s), and the one after its last."""
    end = min(start + SECONDS, length)
    return int(start / step + 1e-6), max(int(np.ceil(end / step - 1e-6)), 1)
