"""One forward pass over a shard of clips: counts per cell and unit, clip embeddings, strongest clips."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from audio_neurons import audio, models, tables
from audio_neurons.medians import read as read_medians
from audio_neurons.models.encoder import Encoder, numerics
from audio_neurons.recorder import Batch, Recorder, TopClips
from audio_neurons.runtime import Meter
from audio_neurons.units import Tally


class ExtractionError(RuntimeError):
    """A forward pass gave something that is no statistic."""


@dataclass(frozen=True)
class Settings:
    """How clips go through the encoder.

    Attributes
    ----------
    clip_seconds
        Longer clips are cropped from the start, shorter ones padded with silence at the end.
    batch_size
        Clips per forward pass; the last batch is filled up with silence, since a matrix product
        over another number of rows may round differently.
    tokens
        ``"patch"`` leaves special tokens out of the counts, ``"all"`` counts them.
    threshold
        A neuron is active above it.
    activity
        What is above it: the activation (``"positive"``, LAPE's rule), its ``"absolute"`` value, since
        GELU's negative values carry information too, or what it has more than the neuron's ``"median"``.
    top_clips
        Strongest clips kept per neuron.
    labels
        Label columns whose combinations the counts keep apart; ``None`` for all that there are.
    precision
        ``"fp32"``; ``"tf32"``, products of matrices in TensorFloat-32 where a GPU has it; ``"bf16"``,
        in bfloat16 behind the front end.
    compile
        Compile the encoder behind its front end (`torch.compile`).
    """

    clip_seconds: float
    batch_size: int = 8
    tokens: str = "patch"
    threshold: float = 0.0
    activity: str = "positive"
    top_clips: int = 5
    labels: Sequence[str] | None = None
    precision: str = "fp32"
    compile: bool = False


def pick_device(wish: str) -> str:
    """``auto`` is a GPU where PyTorch sees one, else the CPU."""
    return ("cuda" if torch.cuda.is_available() else "cpu") if wish == "auto" else wish


def load_encoder(name: str, block: Mapping, weights: Sequence[str], device: str) -> Encoder:
    """Model ``name`` of a job: its checkpoint is the only one of ``weights``, where it has one."""
    return models.load(name, block, weights[0] if weights else None, pick_device(device))


def extract(
    encoder: Encoder,
    clips: Path,
    folder: Path,
    embeddings: Path,
    settings: Settings,
    responses: Path | None = None,
    name: str = "extract",
    medians: Path | None = None,
    workers: int = 1,
) -> None:
    """Run ``encoder`` over a part of a clips table, and write what later stages need.

    Writes ``cells``, ``counts``, ``units`` and ``top_clips`` into ``folder``, the ``embeddings`` table,
    and, if asked for, every clip's own counts (``responses``). ``medians`` is the table that activity
    ``"median"`` needs. The next batches are decoded in ``workers`` threads and the last one is written down
    in another while the encoder works on this one; the result does not depend on them.

    Raises
    ------
    ExtractionError
        If features are not finite; the message names the clips.
    """
    frame = tables.read(clips, "clips", columns=_described(clips))
    labels = tables.labels_of("clips", frame.columns) if settings.labels is None else list(settings.labels)
    names = frame["clip_id"].to_numpy()
    rank = np.argsort(np.argsort(names))  # ties between clips are broken by name, whatever the shard

    samples = round(settings.clip_seconds * encoder.sample_rate)
    strongest = TopClips(encoder.depth, encoder.width, settings.top_clips, encoder.device)
    tally = Tally(frame, labels, encoder.depth * encoder.width, folder)
    threshold: float | Tensor = settings.threshold
    if settings.activity == "median":
        assert medians is not None
        threshold = threshold + read_medians(medians, encoder)
    with ExitStack() as stack:
        embedded = stack.enter_context(tables.writer(embeddings, "embeddings"))
        responded = stack.enter_context(tables.writer(responses, "responses")) if responses else None
        recorder = stack.enter_context(
            Recorder(
                encoder,
                settings.tokens,
                threshold,
                strongest.floor,
                absolute=settings.activity == "absolute",
                compiled=settings.compile,
            )
        )
        stack.enter_context(numerics(encoder, settings.precision, settings.compile))
        notes = stack.enter_context(Notes(names, tally, embedded, responded, clips))
        meter = Meter(len(names), name, "clips")
        done = tokens = 0
        pin = encoder.device.type == "cuda"
        for wave, size in batches(clips, samples, settings.batch_size, workers, pin):
            features, batch = forward(encoder, recorder, wave.to(encoder.device, non_blocking=True))
            tokens = batch.tokens
            notes.add(features[:size].mean(1).float(), batch.active[:size].flatten(1), tokens)
            numbers = torch.from_numpy(rank[done : done + size])
            strongest.update(batch, numbers.to(encoder.device, non_blocking=True))
            done += size
            meter.add(size)
        notes.finish()
        meter.finish()

    tally.write(folder, tokens, encoder.depth)
    seconds = encoder.token_seconds(samples).numpy()
    if settings.tokens != "patch":  # a special token stands for no time
        seconds = np.full(tokens, np.nan)
    top = _top_clips(strongest, np.sort(names), seconds, tokens)
    tables.write(folder / "top_clips.parquet", "top_clips", top)


def _described(clips: Path) -> list[str]:
    """Columns of a clips table without the audio itself."""
    with tables.open_table(clips, "clips") as file:
        return [c for c in file.schema_arrow.names if c != "audio"]


@torch.inference_mode()
def forward(encoder: Encoder, recorder: Recorder, wave: Tensor) -> tuple[Tensor, Batch]:
    """Frame features (B, T, D) of waveforms (B, samples), and what the recorder saw."""
    recorder.begin(wave)
    return encoder(wave), recorder.end()


def batches(
    clips: Path, samples: int, size: int, workers: int = 1, pin: bool = False
) -> Iterator[tuple[Tensor, int]]:
    """Waveforms float32 (size, samples) of a clips table and how many of them are clips, in its order.

    As many batches as there are ``workers`` are decoded, a thread each, while the caller works on another;
    no more wait. ``pin`` puts them where a GPU reads without a copy (page-locked memory).

    Raises
    ------
    ExtractionError
        If a clip does not decode; the message names it and the table.
    """
    with ThreadPoolExecutor(workers) as pool:
        waiting: deque[Future] = deque()
        for block in tables.blocks(clips, "clips", size, ["clip_id", "audio"]):
            waiting.append(pool.submit(_decode, clips, block, samples, size, pin))
            if len(waiting) > workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _decode(clips: Path, block: Mapping[str, list], samples: int, size: int, pin: bool) -> tuple[Tensor, int]:
    wave = torch.zeros(size, samples, pin_memory=pin)
    for row, name, flac in zip(wave.numpy(), block["clip_id"], block["audio"], strict=False):
        try:
            row[:] = audio.read(flac, samples)
        except audio.AudioError as error:
            raise ExtractionError(f"{clips}: clip {name}: {error}; {tables.REMEDY}") from error
    return wave, len(block["audio"])


class Notes:
    """Writes down what batches gave, in a thread of its own, while the encoder works on the next.

    A context manager; it is one batch behind at most, and what goes wrong there is raised by the next
    call here.

    Parameters
    ----------
    names
        ``clip_id`` of all clips, in the order in which their batches come.
    tally
        Adds up the counts.
    embeddings, responses
        Tables that are being written.
    where
        The table of clips, for errors.
    """

    def __init__(
        self,
        names: np.ndarray,
        tally: Tally,
        embeddings: tables.Writer,
        responses: tables.Writer | None,
        where: Path,
    ):
        self._names, self._tally, self._where = names, tally, where
        self._embeddings, self._responses = embeddings, responses
        self._thread, self._done = ThreadPoolExecutor(1), 0
        self._last: Future[None] | None = None

    def __enter__(self) -> Notes:
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.shutdown()

    def add(self, mean: Tensor, active: Tensor, tokens: int) -> None:
        """Features (clips, D) and active tokens (clips, neurons) of the next clips.

        Raises
        ------
        ExtractionError
            If the features of the batch before are not finite.
        """
        copied = None
        if mean.device.type == "cuda":  # the copies arrive when the GPU gets there; nobody waits here
            mean, active = (tensor.to("cpu", non_blocking=True) for tensor in (mean, active))
            copied = torch.cuda.Event()
            copied.record()
        self.finish()
        here = slice(self._done, self._done + len(mean))
        self._done = here.stop
        self._last = self._thread.submit(self._write, here, mean, active, tokens, copied)

    def finish(self) -> None:
        """Wait until all is written down; raises as `add`."""
        if self._last:
            self._last.result()

    def _write(
        self, here: slice, mean: Tensor, active: Tensor, tokens: int, copied: torch.cuda.Event | None
    ) -> None:
        if copied:
            copied.synchronize()
        names, counts = self._names[here], active.numpy()
        if not mean.isfinite().all():
            broken = names[~mean.isfinite().all(1).numpy()]
            raise ExtractionError(
                f"the encoder returns NaN or infinity for {', '.join(broken[:5])} in {self._where}"
            )
        self._tally.add(here.start, counts)
        self._embeddings.append({"clip_id": names, "embedding": list(mean.numpy())})
        if self._responses:
            columns = {"tokens": np.full(len(names), tokens), "active": list(counts.astype(np.uint16))}
            self._responses.append({"clip_id": names, **columns})


def _top_clips(strongest: TopClips, names: np.ndarray, seconds: np.ndarray, tokens: int) -> pd.DataFrame:
    """The table of strongest clips; neurons that saw fewer clips than asked for have fewer rows."""
    place = (strongest.clip >= 0).nonzero(as_tuple=True)
    layer, neuron, rank = (index.cpu().numpy() for index in place)
    columns = {
        "layer": layer,
        "neuron": neuron,
        "rank": rank,
        "clip_id": names[strongest.clip[place].cpu().numpy()],
        "activation": strongest.activation[place].cpu().numpy(),
        "seconds": seconds[strongest.token[place].cpu().numpy()],
        "response": strongest.active[place].cpu().numpy() / tokens,
    }
    return pd.DataFrame(columns)
