"""Decoding of clips to batches of waveforms, in threads or in processes, ahead of the encoder."""

from __future__ import annotations

import gc
import itertools
import math
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from audio_neurons import tables
from audio_neurons.recordings import audio
from audio_neurons.running.runtime import tell

COLUMNS = ("clip_id", "audio")
AHEAD = 2  # batches that each process decodes ahead

Wave = tuple[Tensor, int]  # waveforms of a batch, and the clips in it


class ExtractionError(RuntimeError):
    """A clip does not decode, or the encoder's output is not finite."""


class NoRoom(RuntimeError):
    """There is no shared memory for a batch."""


def batches(
    clips: Path,
    samples: int,
    size: int,
    workers: int = 1,
    pin: bool = False,
    rate: int = tables.SAMPLE_RATE,
    integers: bool = False,
    processes: bool = False,
) -> Generator[Wave, None, None]:
    """Return waveforms float32 (size, samples) of a clips table at ``rate`` (Hz), and the clips in each.

    Rows beyond that number are zero. ``workers`` threads decode one batch each, and another thread reads the
    table, while the caller processes a batch; no more batches are kept. With ``processes`` and more than one
    worker, as many processes, which begin at once, read and decode up to `AHEAD` batches each: they do not
    wait for each other, nor for the thread that drives a GPU, as threads of Python do. They leave batches in
    shared memory; where there is none left, that is told, and threads decode the rest. ``pin`` places batches
    in page-locked memory, which a GPU reads directly. With ``integers``, batches whose clips all have 16 bits
    are int16 (see `audio.read`). Batches are the same in any case.

    Raises
    ------
    ExtractionError
        If a clip does not decode; the message names it and the table.
    """
    in_threads = partial(_in_threads, clips, samples, size, workers, pin, rate, integers)
    if processes and workers > 1:
        loaded = _loaded(_Decoded(clips, samples, size, rate, integers), workers, pin)
        return _in_processes(loaded, in_threads)
    return in_threads(0)


def _in_threads(
    clips: Path, samples: int, size: int, workers: int, pin: bool, rate: int, integers: bool, first: int
) -> Generator[Wave, None, None]:
    """Yield the batches from number ``first`` on."""
    blocks = itertools.islice(tables.blocks(clips, "clips", size, COLUMNS), first, None)
    with ThreadPoolExecutor(workers) as pool, ThreadPoolExecutor(1) as reader:

        def begin() -> Future[Wave] | None:
            block = next(blocks, None)
            if block is None:
                return None
            return pool.submit(_decode, clips, block, samples, size, pin, rate, integers)

        waiting: deque[Future[Future[Wave] | None]] = deque()
        while True:
            while len(waiting) <= workers:
                waiting.append(reader.submit(begin))
            decoding = waiting.popleft().result()
            if decoding is None:
                break
            yield decoding.result()


def _decode(
    clips: Path, block: Mapping[str, list], samples: int, size: int, pin: bool, rate: int, integers: bool
) -> Wave:
    rows = []
    for name, flac in zip(block["clip_id"], block["audio"], strict=True):
        try:
            rows.append(audio.read(flac, samples, rate, integers))
        except audio.AudioError as error:
            raise ExtractionError(f"{clips}: clip {name}: {error}; {tables.REMEDY}") from error
    whole = integers and all(row.dtype == np.int16 for row in rows)
    # Only NumPy writes here: a large operation of PyTorch would give this thread OpenMP threads of its own,
    # and with more of them than cores, those of the encoder sleep and are woken between its operations.
    wave = torch.empty(size, samples, dtype=torch.int16 if whole else torch.float32, pin_memory=pin)
    filled = wave.numpy()
    for to, row in zip(filled, rows, strict=False):
        to[:] = row if whole or row.dtype == np.float32 else row / np.float32(audio.STEPS)
    filled[len(rows) :] = 0
    return wave, len(rows)


class _Decoded(Dataset):
    """Batches of a clips table by number, in shared memory.

    Errors that a user can mend are items too, to stay as they are, and so is a lack of shared memory: if it
    were noticed when a batch is sent, the batch would never arrive.
    """

    def __init__(self, clips: Path, samples: int, size: int, rate: int, integers: bool):
        self._clips, self._samples, self._size = clips, samples, size
        self._rate, self._integers = rate, integers
        self._rows = tables.size(clips)

    @cached_property
    def _table(self) -> tables.Rows:
        return tables.Rows(self._clips, "clips")  # opened by each process for itself

    def __len__(self) -> int:
        return math.ceil(self._rows / self._size)

    def __getitem__(self, number: int) -> Wave | Exception:
        first = number * self._size
        try:
            block = self._table.read(first, first + self._size, COLUMNS)
            wave, clips = _decode(
                self._clips, block, self._samples, self._size, False, self._rate, self._integers
            )
        except (ExtractionError, tables.TableError, MemoryError) as error:
            return error
        try:
            return wave.share_memory_(), clips
        except (RuntimeError, OSError) as error:
            return NoRoom(f"{wave.nbytes / 1e6:.3g} MB: {error}")


def _loaded(decoded: _Decoded, workers: int, pin: bool) -> Iterator[Any]:
    """Start processes, and return an iterator over what they decode."""
    loader = DataLoader(
        decoded,
        batch_size=None,
        num_workers=min(workers, max(len(decoded), 1)),
        collate_fn=_as_it_is,
        pin_memory=pin,
        prefetch_factor=AHEAD,
        generator=torch.Generator(),  # its seed is of no use here, and must not be drawn from another's
        worker_init_fn=_begin,
        # A process that is started otherwise imports the main module, here a script of the workflow.
        # These processes use no GPU.
        multiprocessing_context="fork",
    )
    return iter(loader)


def _in_processes(
    loaded: Iterator[Any], in_threads: Callable[[int], Generator[Wave, None, None]]
) -> Generator[Wave, None, None]:
    done = 0
    try:
        for item in loaded:
            if isinstance(item, NoRoom):
                break
            if isinstance(item, Exception):
                raise item
            wave, clips = item
            yield wave, clips
            done += 1
        else:
            return
    finally:
        del loaded  # ends the processes, though an error still refers to this frame
    tell(
        f"clips are decoded by threads from here on, which is slower: no shared memory for {item} "
        "(in a container: --shm-size, or --ipc=host)"
    )
    yield from in_threads(done)


def _as_it_is(item: Any) -> Any:
    return item


def _begin(_: int) -> None:
    """Keep what a process inherited: memory of a GPU must not be freed here."""
    gc.freeze()
