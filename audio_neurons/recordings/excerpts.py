"""Excerpts of clips: some seconds of sound as MP3, with a spectrogram, for pages on which they are heard.

Excerpts of a clip begin every `EVERY` seconds; the one whose middle is nearest to a moment stands for it. A
few excerpts therefore serve all neurons that have their peak in the clip.
"""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile
import torch
from PIL import Image
from torchaudio.transforms import MelSpectrogram

from audio_neurons import tables
from audio_neurons.recordings import audio
from audio_neurons.recordings.clips import ClipsError
from audio_neurons.running.runtime import Meter, tell

SECONDS, EVERY = 4.0, 2.0
HOP, BANDS = 0.016, 80  # seconds of a column of the spectrogram, and mel bands of a row each
RANGE = 70.0  # decibels below the loudest point that are told apart


def windows(lengths: np.ndarray) -> np.ndarray:
    """Return the number of excerpts of clips of these lengths (s)."""
    return np.maximum(np.ceil((lengths - SECONDS) / EVERY - 1e-9), 0).astype(np.int16) + 1


def number_of(seconds: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Return the number of the excerpt around moments (s) in clips; the first without a moment (NaN)."""
    nearest = np.rint((np.nan_to_num(seconds) - SECONDS / 2) / EVERY)
    return np.clip(nearest, 0, windows(lengths) - 1).astype(np.int16)


def start_of(numbers: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Return where excerpts begin (s); the last ends with the clip."""
    return np.maximum(np.minimum(numbers * EVERY, lengths - SECONDS), 0.0)


def wanted(examples: Sequence[str | Path], most: int) -> pd.DataFrame:
    """Return ``clip_id``, ``excerpt`` and ``shown``, how often neurons show it, of the ``most`` shown often.

    Only neurons that are specific to a class count, which have traces in ``examples`` tables.
    """
    counted = []
    for path in examples:
        rows = tables.read(path, "examples", ["clip_id", "excerpt", "step"])
        counted.append(rows.loc[rows["step"] > 0, ["clip_id", "excerpt"]].value_counts())
    total = pd.concat(counted).groupby(level=[0, 1]).sum().rename("shown").reset_index()
    total = total.sort_values(["shown", "clip_id", "excerpt"], ascending=[False, True, True])
    if len(total) > most:
        tell(f"{len(total) - most} of {len(total)} excerpts have no sound (atlas.sounds: {most})")
    return total[:most]


def cut(
    parts: Sequence[str | Path],
    examples: Sequence[str | Path],
    seconds: float,
    rate: int,
    padded: bool,
    most: int,
    labels: Sequence[str],
    out: str | os.PathLike,
    shown_out: str | os.PathLike,
    name: str = "excerpts",
) -> None:
    """Write the ``excerpts`` table of a dataset, at most ``most`` of those that neurons show, and ``shown``.

    Parameters
    ----------
    parts
        The dataset's ``clips`` tables at ``rate`` (Hz).
    examples
        ``examples`` tables of all models.
    seconds
        Length of a clip that encoders hear.
    padded
        Whether the silence after a shorter recording is heard, too, since its tokens count.
    labels
        Labels that ``shown``, the table of all clips that are shown, has.

    Raises
    ------
    ClipsError
        If a clip does not decode.
    """
    some = wanted(examples, most)
    _write_shown(parts, examples, labels, seconds, rate, shown_out)
    asked = dict(list(some.groupby("clip_id")))
    found = []
    meter = Meter(len(asked), name, "clips")
    mel = spectrogram(rate)
    for part in parts:
        for block in tables.blocks(part, "clips", 64, ["clip_id", "audio", "frames"]):
            for clip, flac, frames in zip(*block.values(), strict=True):
                if clip not in asked:
                    continue
                length = seconds if padded else min(frames / rate, seconds)
                try:
                    wave = audio.read(flac, round(length * rate), rate)
                except audio.AudioError as error:
                    raise ClipsError(f"{part}: clip {clip}: {error}; {tables.REMEDY}") from error
                for row in asked[clip].itertuples():
                    start = float(start_of(np.array(row.excerpt), np.array(length)))
                    own = wave[round(start * rate) : round((start + SECONDS) * rate)]
                    sound, drawn = media(own, rate, mel)
                    found.append(
                        {
                            "clip_id": clip,
                            "excerpt": row.excerpt,
                            "start": start,
                            "seconds": len(own) / rate,
                            "shown": row.shown,
                            "sound": sound,
                            "spectrogram": drawn,
                        }
                    )
                meter.add()
    meter.finish()
    columns = tables.SCHEMAS["excerpts"].names
    frame = pd.DataFrame(found, columns=columns).sort_values(["clip_id", "excerpt"], ignore_index=True)
    tables.write(out, "excerpts", frame)


def _write_shown(
    parts: Sequence[str | Path],
    examples: Sequence[str | Path],
    labels: Sequence[str],
    seconds: float,
    rate: int,
    out: str | os.PathLike,
) -> None:
    names = {name for path in examples for name in tables.read(path, "examples", ["clip_id"])["clip_id"]}
    columns = ["clip_id", "split", "group", "frames", *labels]
    clips = pd.concat([tables.read(part, "clips", columns) for part in parts])
    shown = clips[clips["clip_id"].isin(names)].sort_values("clip_id", ignore_index=True)
    heard = np.minimum(shown.pop("frames") / rate, seconds)
    shown.insert(3, "frames", (heard * tables.SAMPLE_RATE).round().astype(np.int32))
    tables.write(out, "shown", shown)


def spectrogram(rate: int) -> MelSpectrogram:
    """Return what computes the spectrogram of sounds at a sampling rate (Hz)."""
    hop = round(HOP * rate)
    return MelSpectrogram(rate, n_fft=2 * hop, hop_length=hop, n_mels=BANDS, norm="slaney")


def media(wave: np.ndarray, rate: int, mel: MelSpectrogram) -> tuple[bytes, bytes]:
    """Return a sound as MP3, and its spectrogram as PNG."""
    return _mp3(wave, rate), _png(wave, mel)


def _mp3(wave: np.ndarray, rate: int) -> bytes:
    """Encode samples; MP3, since files of Ogg have a random number in them, and every browser plays it."""
    file = io.BytesIO()
    soundfile.write(file, wave, rate, format="MP3", subtype="MPEG_LAYER_III")
    return file.getvalue()


def _png(wave: np.ndarray, mel: MelSpectrogram) -> bytes:
    """Draw the log-mel spectrogram, one pixel per band and step, low bands at the bottom, loudest white."""
    power = mel(torch.from_numpy(np.asarray(wave, np.float32)))
    decibels = 10 * torch.log10(power.clamp(min=1e-12))
    level = ((decibels - decibels.max()) / RANGE + 1).clamp(0, 1)
    pixels = (255 * level).round().to(torch.uint8).flip(0)
    file = io.BytesIO()
    Image.fromarray(pixels.numpy()).save(file, "PNG", optimize=True)
    return file.getvalue()
