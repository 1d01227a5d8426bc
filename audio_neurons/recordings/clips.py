"""Reading clips of a dataset by name from all its shards: labels, and waveforms in batches."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd

from audio_neurons import tables
from audio_neurons.recordings import audio


class ClipsError(RuntimeError):
    """A dataset's clips do not fit a stage; the message says what to check or change."""


def describe(parts: Sequence[str | Path], label: str) -> pd.DataFrame:
    """Return ``clip_id``, ``split``, ``fold``, ``group``, ``frames`` and ``class`` of every clip, by name.

    ``class`` is the value of the label column ``label``.

    Raises
    ------
    ClipsError
        If the dataset has no such label.
    """
    columns = ["clip_id", "split", "fold", "group", "frames"]
    frames = []
    for part in parts:
        with tables.open_table(part, "clips") as file:
            known = tables.labels_of("clips", file.schema_arrow.names)
        if label not in known:
            raise ClipsError(f"{part}: no label '{label}'; there are {', '.join(known)}")
        frames.append(tables.read(part, "clips", [*columns, label]))
    frame = pd.concat(frames).rename(columns={label: "class"})
    return frame.sort_values("clip_id", ignore_index=True)


def drawn(frame: pd.DataFrame, most: int, seed: int, where: str | Path) -> list[str]:
    """Return the names of at most ``most`` training clips, drawn by name and seed alone.

    ``frame`` has ``clip_id`` and ``split``; ``where`` is its place in messages.

    Raises
    ------
    ClipsError
        If there are no clips of the training split.
    """
    names = np.sort(frame.loc[frame["split"] == "train", "clip_id"].to_numpy(str))
    if not len(names):
        raise ClipsError(f"{where}: no clips of split 'train'")
    return np.random.default_rng(seed).permutation(names)[:most].tolist()


def encoded(parts: Sequence[str | Path], wanted: Collection[str]) -> Iterator[tuple[str, bytes]]:
    """Yield ``clip_id`` and FLAC of the wanted clips, in table order, with one row group in memory."""
    wanted = frozenset(wanted)
    for part in parts:
        for block in tables.blocks(part, "clips", 64, ["clip_id", "audio"]):
            for name, flac in zip(block["clip_id"], block["audio"], strict=True):
                if name in wanted:
                    yield name, flac


def waveforms(
    named: Sequence[tuple[str, bytes]], samples: int, size: int, rate: int = tables.SAMPLE_RATE
) -> np.ndarray:
    """Decode clips to float32 (size, samples), cropped or padded to ``samples``; missing rows are silent.

    Raises
    ------
    ClipsError
        If a clip does not decode, or has another rate; the message names it.
    """
    wave = np.zeros((size, samples), np.float32)
    for row, (name, flac) in zip(wave, named, strict=False):
        try:
            row[:] = audio.read(flac, samples, rate)
        except audio.AudioError as error:
            raise ClipsError(f"clip {name}: {error}; {tables.REMEDY}") from error
    return wave


def batches(
    parts: Sequence[str | Path],
    wanted: Collection[str],
    samples: int,
    size: int,
    rate: int = tables.SAMPLE_RATE,
) -> Iterator[tuple[list[str], np.ndarray]]:
    """Yield names (at most ``size``) and waveforms (size, samples) of the wanted clips, at ``rate`` (Hz).

    The last batch is padded with silent rows, because a matrix product over another number of rows may
    round differently. The next batch is decoded while the caller works on the current one.
    """
    with ThreadPoolExecutor(1) as pool:
        waiting = None
        for named in _grouped(encoded(parts, wanted), size):
            decoded = pool.submit(waveforms, named, samples, size, rate)
            ready, waiting = waiting, ([n for n, _ in named], decoded)
            if ready:
                yield ready[0], ready[1].result()
        if waiting:
            yield waiting[0], waiting[1].result()


def _grouped(named: Iterator[tuple[str, bytes]], size: int) -> Iterator[list[tuple[str, bytes]]]:
    group = []
    for item in named:
        group.append(item)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group
