"""What a part of the benchmark measures, row by row, within a time of its own."""

from __future__ import annotations

import io
import json
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import contextmanager, redirect_stderr
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TextIO

import torch
from torch import Tensor

from audio_neurons import models
from audio_neurons.models.encoder import Encoder
from benchmarks.common import RANDOM, TINY, VIT_BASE

PRECISIONS = ("fp32", "tf32", "bf16")
# States of a row. An open figure needs CUDA, and is not known where there is none.
MEASURED, OPEN, FAILED, LATE = "measured", "open", "failed", "late"
NEEDS_CUDA = "needs CUDA"


# What the library tells of a GPU, and a reader of the table has to know; each is a row.
TOLD = ("by slower code", "which is slower", "changes in one pass")


class Told(io.TextIOBase):
    """Standard error that keeps the lines with one of `TOLD`."""

    def __init__(self, behind: TextIO):
        self._behind, self.lines = behind, dict[str, None]()

    def write(self, text: str) -> int:
        self.lines |= dict.fromkeys(line for line in text.splitlines() if any(one in line for one in TOLD))
        return self._behind.write(text)

    def flush(self) -> None:
        self._behind.flush()


class Late(Exception):
    """The time of a part is over."""


@dataclass
class Row:
    """One figure: ``value`` is ``None`` where there is none, and ``note`` then says why."""

    part: str
    what: str
    value: float | None = None
    unit: str = ""
    note: str = ""
    state: str = MEASURED


@dataclass(frozen=True)
class Measure:
    """A function that adds rows to a :class:`Sheet`, or raises; ``cuda``: it needs a GPU."""

    what: str
    add: Callable[[Sheet], None]
    cuda: bool = False


class Sheet:
    """Rows of one part, each sent to the process that collects them as soon as it is known.

    Parameters
    ----------
    part
        Letter of the part.
    device
        ``cpu`` or ``cuda``.
    quick
        Tiny sizes: only check that everything runs.
    seconds
        Time that the part has.
    out
        Folder of files that come back, such as ``profile.txt``.
    """

    def __init__(self, part: str, device: str, quick: bool, seconds: float, out: Path):
        self.part, self.device, self.quick, self.out = part, device, quick, out
        self.cuda = device == "cuda"
        # On a CPU, TF32 is fp32.
        self.precisions = PRECISIONS if self.cuda else ("fp32", "bf16")
        self._end = time.monotonic() + seconds

    def add(
        self, what: str, value: float | None = None, unit: str = "", note: str = "", state: str = MEASURED
    ) -> None:
        """Send a row."""
        row = Row(self.part, what, None if value is None else float(value), unit, note, state)
        print(json.dumps(asdict(row)), flush=True)

    def left(self) -> float:
        """Return the seconds that are left."""
        return self._end - time.monotonic()

    def check(self) -> None:
        """Raise :class:`Late` if no time is left."""
        if self.left() <= 0:
            raise Late

    def run(self, measures: Sequence[Measure]) -> None:
        """Run all measures; what fails, is late or needs a GPU that is not there is a row."""
        with redirect_stderr(Told(sys.stderr)) as told:
            self._run(measures)
        for said in told.lines:
            self.add("told", note=said[:200])

    def _run(self, measures: Sequence[Measure]) -> None:
        for one in measures:
            if one.cuda and not self.cuda:
                self.add(one.what, state=OPEN, note=NEEDS_CUDA)
                continue
            try:
                self.check()
                one.add(self)
            except Late:
                self.add(one.what, state=LATE, note="no time was left")
            except Exception as error:
                reason = " ".join(str(error).split())[:160]
                self.add(one.what, state=FAILED, note=f"{type(error).__name__}: {reason}")
                sys.excepthook(type(error), error, error.__traceback__)
            if self.cuda:
                torch.cuda.empty_cache()

    def sized(self, full, quick):
        """Return ``quick`` where only tiny sizes are run."""
        return quick if self.quick else full

    def vit(self) -> Encoder:
        """Return ViT-Base with random weights."""
        return models.load("vit-base", self.sized(VIT_BASE, TINY), None, self.device)

    def small(self, name: str) -> Encoder:
        """Return a small encoder of `KINDS`, with random weights."""
        return models.load(name, kinds(self.sized(192, 32), self.sized(208, 64))[name], None, self.device)

    def noise(self, clips: int, seconds: float, rate: int = 16_000, seed: int = 0) -> Tensor:
        """Return waveforms (clips, samples) of noise on the device."""
        generator = torch.Generator().manual_seed(seed)
        return (0.1 * torch.randn(clips, round(seconds * rate), generator=generator)).to(self.device)

    def clock(self, work: Callable[[], object], passes: int, warm: int = 2) -> tuple[float, float]:
        """Return seconds per call on the device, and seconds per call until the host is free again.

        Nothing waits for the device between calls. On a CPU both are the same.
        """
        for _ in range(warm):
            work()
        if not self.cuda:
            began = time.perf_counter()
            for _ in range(passes):
                work()
            seconds = (time.perf_counter() - began) / passes
            return seconds, seconds
        first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda.synchronize()
        began = time.perf_counter()
        first.record()
        for _ in range(passes):
            work()
        last.record()
        host = time.perf_counter() - began
        torch.cuda.synchronize()
        return first.elapsed_time(last) / 1000 / passes, host / passes

    def wait(self) -> float:
        """Return the time after everything that was queued has ended."""
        if self.cuda:
            torch.cuda.synchronize()
        return time.perf_counter()


_HF = {"adapter": "huggingface", "weights": RANDOM}
KINDS = ("vit", "fbank", "ast", "hubert", "wavlm", "whisper")


def kinds(size: int, frames: int) -> dict[str, dict]:
    """Return blocks of small encoders: hooks depend on the kind, neither on depth nor on width."""
    heads, wide = 4, 4 * size
    vit = {**VIT_BASE, "embed_dim": size, "depth": 2, "num_heads": heads}
    seen = {
        "d_model": size, "encoder_layers": 2, "encoder_attention_heads": heads, "encoder_ffn_dim": wide
    }  # fmt: skip
    own = {
        "hidden_size": size, "num_hidden_layers": 2, "num_attention_heads": heads, "intermediate_size": wide
    }  # fmt: skip
    convolutions = {"num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": heads}
    wave = {**own, "conv_dim": [size // 4] * 7, **convolutions}
    return {
        "vit": {**vit, "input_size": [80, frames]},
        "fbank": {**vit, "front_end": "fbank", "input_size": [128, frames]},
        "ast": {**_HF, "model_type": "audio-spectrogram-transformer", "config": own},
        "hubert": {**_HF, "model_type": "hubert", "config": wave},
        "wavlm": {**_HF, "model_type": "wavlm", "config": wave},
        "whisper": {**_HF, "model_type": "whisper", "context": "clip", "config": seen},
    }


WHISPER_SMALL = {"d_model": 768, "encoder_layers": 12, "encoder_attention_heads": 12, "encoder_ffn_dim": 3072}
BASE = {
    "ast": {**_HF, "model_type": "audio-spectrogram-transformer"},
    "hubert": {**_HF, "model_type": "hubert"},
    "whisper": {**_HF, "model_type": "whisper", "config": WHISPER_SMALL},
}


@contextmanager
def replaced(owner: object, name: str, value: object):
    """Set an attribute inside the block."""
    own, before = name in vars(owner), getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        if own:
            setattr(owner, name, before)
        else:
            delattr(owner, name)
