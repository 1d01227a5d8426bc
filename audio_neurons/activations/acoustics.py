"""Acoustics of clips as an encoder hears them, for every counted token: level, spectrum, and pitch.

Frames every 10 ms are summed up over the span of each token, from its start to the next token's start. All
values are whole multiples of a step (`Feature.step`), so that sums over tokens are exact.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
import torchaudio.functional as F
from torch import Tensor

from audio_neurons.activations.features import BANDS, FEATURES, KNOTS, PLACES, REFERENCE, STEPS

HOP, WINDOW = 0.01, 0.032  # seconds: between frames, and of the window of their spectrum (Hann)
FLOOR = 1e-10  # mean square, -100 dBFS: what is not above it is silent
HIGHEST = 8000.0  # Hz: upper edge of the last mel band, at most half the rate
# The pitch tracker: its rate and its range in Hz, the seconds of its frames, the frames of its median.
PITCH_RATE, LOWEST, TOP, PITCH_FRAME, SMOOTHED = 8000, 60, 1000, 0.04, 3
# The octave check: parts of the tracker's period, and how periodic they are at least, relative to it.
PARTS, SHORTER = 8, 0.85
# Praat's defaults for voicing: least periodicity, and least level relative to the loudest frame of the clip.
PERIODIC, AUDIBLE = 0.45, 0.03


@dataclass(frozen=True)
class Acoustics:
    """Acoustics of B clips at N tokens.

    Attributes
    ----------
    steps
        float64 (B, N, K): whole numbers of steps of each of the `FEATURES`; 0 where it is not defined.
    where
        float64 (B, N, 3): whether the token counts, and is `WHERE`; 0 or 1.
    """

    steps: Tensor
    where: Tensor


@torch.inference_mode()
def measure(wave: Tensor, rate: int, starts: Tensor, heard: Tensor) -> Acoustics:
    """Return the acoustics of waveforms (B, samples) at tokens.

    Parameters
    ----------
    rate
        Sampling rate in Hz.
    starts
        (N,): seconds at which tokens begin, in any order, several at the same time in patches.
    heard
        bool (B, N): tokens that count; the others are 0 throughout.
    """
    power, spectrum, centroid = _spectra(wave, rate)
    periodicity, semitones = _pitch(wave, rate, power)
    begins, of = starts.double().unique(return_inverse=True)
    token = _frames_of(begins, power.shape[1])

    level = _mean(power, token)
    sounding = power > FLOOR
    voiced = semitones > 0
    log = (spectrum + FLOOR).log10()
    flatness = 10 * log.mean(1) - 10 * (spectrum + FLOOR).mean(1).log10()
    banks = F.melscale_fbanks(spectrum.shape[1], 50.0, min(HIGHEST, rate / 2), BANDS, rate).double()
    bands = _mean((spectrum.transpose(1, 2) @ banks).movedim(2, 0), token)
    values = torch.stack(
        [
            _decibels(level),
            _mean_where(centroid, sounding, token),
            _mean_where(flatness, sounding, token),
            _mean_where(semitones, voiced, token),
            _mean(periodicity, token),
            *_decibels(bands),
        ],
        dim=-1,
    )
    share = [torch.ones_like(level), _mean(sounding.double(), token), _mean(voiced.double(), token)]
    where = (torch.stack(share, -1) > 0)[:, of] & heard[..., None]
    steps = (values[:, of] / torch.from_numpy(STEPS)).round()
    return Acoustics(steps.where(where[..., torch.from_numpy(PLACES)], 0.0), where.double())


def _spectra(wave: Tensor, rate: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return mean squares (B, T), power spectra (B, bins, T) that add up to them, and centroids (B, T)."""
    hop, length = round(HOP * rate), 2 * round(WINDOW * rate / 2)
    window = torch.hann_window(length)
    arguments = {"pad": 0, "window": window, "n_fft": length, "hop_length": hop, "win_length": length}
    spectrum = F.spectrogram(wave, power=2.0, normalized="window", center=True, **arguments) * (2 / length)
    centroid = F.spectral_centroid(wave, rate, **arguments).nan_to_num().double()
    frames = wave.shape[1] // hop
    power = wave[:, : frames * hop].reshape(len(wave), frames, hop).double().square().mean(2)
    return power, spectrum[..., :frames].double(), centroid[:, :frames]


def _pitch(wave: Tensor, rate: int, power: Tensor) -> tuple[Tensor, Tensor]:
    """Return periodicity (B, T) from 0 to 1, and semitones above `REFERENCE`, 0 where not voiced, (B, T).

    To torchaudio's tracker, multiples of the period of a steady tone are as good. Of its period and the 2nd
    to 8th part of it, the shortest is taken that is as periodic, up to `SHORTER`.
    """
    low = F.resample(wave, rate, PITCH_RATE)
    f0 = F.detect_pitch_frequency(low, PITCH_RATE, PITCH_FRAME, SMOOTHED, LOWEST, TOP)
    longest = PITCH_RATE / f0
    period, periodicity = longest, _periodicity(low, longest)
    least = SHORTER * periodicity
    for part in range(2, PARTS + 1):
        shorter = longest / part
        own = _periodicity(low, shorter)
        better = (own >= least) & (shorter.round() >= PITCH_RATE / TOP)
        period, periodicity = torch.where(better, shorter, period), torch.where(better, own, periodicity)
    at = ((torch.arange(power.shape[1]) + 0.5) * (HOP / PITCH_FRAME)).long().clamp(max=f0.shape[1] - 1)
    periodicity, f0 = periodicity[:, at].double(), PITCH_RATE / period[:, at].double()
    audible = power > power.amax(1, keepdim=True) * AUDIBLE**2
    voiced = (periodicity >= PERIODIC) & audible & (power > FLOOR)
    return periodicity, torch.where(voiced, 12 * (f0 / REFERENCE).log2(), 0.0)


def _periodicity(wave: Tensor, period: Tensor) -> Tensor:
    """Return the normalised correlation (B, F), at least 0, of two stretches of 40 ms a period apart.

    ``period`` (B, F) are samples, in each frame of 40 ms; the two stretches lie around its middle.
    """
    size, whole = round(PITCH_FRAME * PITCH_RATE), period.round().long().clamp(min=1)
    beside = size + PITCH_RATE // LOWEST
    padded = torch.nn.functional.pad(wave, (beside, 2 * beside + size))
    first = torch.arange(period.shape[1]) * size + beside - whole // 2
    place = (first[..., None] + torch.arange(size)).flatten(1)
    one = padded.gather(1, place).unflatten(1, (-1, size))
    other = padded.gather(1, place + whole.repeat_interleave(size, 1)).unflatten(1, (-1, size))
    energy = (one.square().sum(2) * other.square().sum(2)).sqrt()
    return ((one * other).sum(2) / (energy + size * FLOOR)).clamp(0, 1)


def _frames_of(begins: Tensor, frames: int) -> Tensor:
    """Return weights (frames, tokens) of the mean over the frames that begin within each token.

    A token in which no frame begins has the frame in which it begins.
    """
    begins = (begins / HOP).round(decimals=6)  # in frames: seconds are rounded, which decides at edges
    ends = torch.cat([begins[1:], begins.new_full((1,), torch.inf)])
    if len(begins) > 1:  # the last token is as long as the one before
        ends[-1] = 2 * begins[-1] - begins[-2]
    number = torch.arange(frames, dtype=torch.float64)[:, None]
    within = (number >= begins) & (number < ends)
    alone = number == begins.floor().clamp(max=frames - 1)
    within = within | (alone & ~within.any(0))
    return within.double() / within.sum(0)


def _mean(values: Tensor, token: Tensor) -> Tensor:
    return values @ token


def _mean_where(values: Tensor, where: Tensor, token: Tensor) -> Tensor:
    return (values * where) @ token / (where.double() @ token).clamp(min=1e-9)


def _decibels(power: Tensor) -> Tensor:
    return 10 * (power + FLOOR).log10()


# What follows describes whole clips.


def of_clips(acoustics: Acoustics) -> dict[str, np.ndarray]:
    """Return the columns of the ``acoustics`` table that tell of the clips, over the tokens that count.

    ``NAME`` is the mean of a feature over the tokens where it is defined, NaN without any. ``NAME_hats`` are
    the means over all tokens of hat functions, which are 1 at their knot (`KNOTS`) and fall to 0 at its
    neighbours: a weighted sum of them is the mean over tokens of any function that is linear between knots.
    """
    values, where = acoustics.steps.numpy(), acoustics.where.numpy()
    tokens = where.sum(1)
    found = {name: tokens[:, i].astype(np.int32) for i, name in enumerate(("tokens", "sounding", "voiced"))}
    with np.errstate(invalid="ignore"):
        means = values.sum(1) * STEPS / tokens[:, PLACES]
    found |= {feature.name: means[:, k] for k, feature in enumerate(FEATURES)}
    for name, knots in KNOTS.items():
        k = [feature.name for feature in FEATURES].index(name)
        at = (np.clip(values[..., k] * STEPS[k], knots[0], knots[-1]) - knots[0]) / (knots[1] - knots[0])
        hats = (1 - np.abs(at[..., None] - np.arange(len(knots)))).clip(0)
        total = (hats * where[:, :, PLACES[k], None]).sum(1)
        found[f"{name}_hats"] = total / np.maximum(tokens[:, :1], 1)
    return found


One = TypeVar("One")
Two = TypeVar("Two")


def ahead(items: Iterable[One], function: Callable[[One], Two]) -> Iterator[tuple[One, Two]]:
    """Yield items with ``function`` of each, which a thread computes while the caller uses the one before."""
    with ThreadPoolExecutor(1) as pool:
        waiting = None
        for item in items:
            pending = item, pool.submit(function, item)
            if waiting:
                yield waiting[0], waiting[1].result()
            waiting = pending
        if waiting:
            yield waiting[0], waiting[1].result()
