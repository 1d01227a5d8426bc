"""Clips of a dataset by name: their labels, and their waveforms in batches, out of all its parts."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd

from audio_neurons import audio, tables


class ClipsError(RuntimeError):
    """A dataset's clips are not what a stage needs; the message says what to look at or change."""


def describe(parts: Sequence[str | Path], label: str) -> pd.DataFrame:
    """``clip_id``, ``split``, ``fold``, ``group`` and ``class`` of every clip, in order of ``clip_id``.

    ``class`` is the value of the label column ``label``.

    Raises
    ------
    ClipsError
        If the dataset has no such label.
    """
    columns = ["clip_id", "split", "fold", "group"]
    frames = []
    for part in parts:
        with tables.open_table(part, "clips") as file:
            known = tables.labels_of("clips", file.schema_arrow.names)
        if label not in known:
            raise ClipsError(f"{part}: no label '{label}'; there are {', '.join(known)}")
        frames.append(tables.read(part, "clips", [*columns, label]))
    frame = pd.concat(frames).rename(columns={label: "class"})
    return frame.sort_values("clip_id", ignore_index=True)


def encoded(parts: Sequence[str | Path], wanted: Collection[str]) -> Iterator[tuple[str, bytes]]:
    """``clip_id`` and FLAC of the wanted clips, in the order of the tables; one row group in memory."""
    wanted = frozenset(wanted)
    for part in parts:
        for block in tables.blocks(part, "clips", 64, ["clip_id", "audio"]):
            for name, flac in zip(block["clip_id"], block["audio"], strict=True):
                if name in wanted:
                    yield name, flac


def waveforms(named: Sequence[tuple[str, bytes]], samples: int, size: int) -> np.ndarray:
    """Waveforms float32 (size, samples): cropped or padded to ``samples``, filled up with silence.

    Raises
    ------
    ClipsError
        If a clip does not decode; the message names it.
    """
    wave = np.zeros((size, samples), np.float32)
    for row, (name, flac) in zip(wave, named, strict=False):
        try:
            row[:] = audio.read(flac, samples)
        except audio.AudioError as error:
            raise ClipsError(f"clip {name}: {error}; {tables.REMEDY}") from error
    return wave


def batches(
    parts: Sequence[str | Path], wanted: Collection[str], samples: int, size: int
) -> Iterator[tuple[list[str], np.ndarray]]:
    """Names (at most ``size``) and waveforms (size, samples) of the wanted clips.

    The last batch is filled up with silence: a matrix product over another number of rows may round
    differently. The next batch is decoded while the caller works on this one.
    """
    with ThreadPoolExecutor(1) as pool:
        waiting = None
        for named in _grouped(encoded(parts, wanted), size):
            ready, waiting = waiting, ([n for n, _ in named], pool.submit(waveforms, named, samples, size))
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
