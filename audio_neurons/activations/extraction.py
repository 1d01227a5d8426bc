"""Forward pass over a shard of clips: counts per cell and unit, clip embeddings, strongest clips."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from audio_neurons import tables
from audio_neurons.activations import normalisation
from audio_neurons.activations.acoustics import Acoustics, ahead, measure, of_clips
from audio_neurons.activations.correlator import Correlator
from audio_neurons.activations.medians import read as read_medians
from audio_neurons.activations.recorder import Batch, Recorder, TopClips
from audio_neurons.activations.units import Tally
from audio_neurons.models import registry as models
from audio_neurons.models.encoder import Encoder, numerics
from audio_neurons.models.facts import CHECKPOINT, DEFAULT
from audio_neurons.recordings import audio
from audio_neurons.running.gpus import pick_device
from audio_neurons.running.runtime import Meter, tell
from audio_neurons.settings.extraction import Pass


class ExtractionError(RuntimeError):
    """A clip does not decode, or the encoder's output is not finite."""


def load_encoder(
    name: str, block: Mapping, weights: Sequence[str], device: str, norm_stats: str | None = None
) -> Encoder:
    """Load model ``name`` of a job, and tell what was read from its checkpoint or by default.

    ``weights`` holds the path of the checkpoint, if there is one; ``norm_stats`` is the table of the
    dataset's statistics, if the model normalises by them.
    """
    encoder = models.load(name, block, weights[0] if weights else None, pick_device(device))
    told = [
        f"{key} {value} ({source})"
        for key, value, source in encoder.origins
        if source in (CHECKPOINT, DEFAULT)
    ]
    if told and block["weights"]["source"] == "checkpoint":
        tell(f"{name}: {'; '.join(told)}")
    if norm_stats:
        mean, std = normalisation.read(norm_stats)
        encoder.normalise(mean, std)
        tell(f"{name}: norm_stats [{mean:g}, {std:g}] ({norm_stats})")
    return encoder


def extract(
    encoder: Encoder,
    clips: Path,
    folder: Path,
    embeddings: Path,
    settings: Pass,
    responses: Path | None = None,
    name: str = "extract",
    medians: Path | None = None,
    workers: int = 1,
    acoustics: Path | None = None,
) -> None:
    """Run ``encoder`` over a part of a clips table, and write the tables that later stages need.

    Writes ``cells``, ``counts``, ``units`` and ``top_clips`` into ``folder``, the ``embeddings`` table,
    and, if ``responses`` is given, the counts of every clip. If ``acoustics`` is given, it writes there what
    clips sound like, and ``acoustic_sums`` into ``folder``. ``medians`` is the table that activity
    ``"median"`` needs. While the encoder processes a batch, ``workers`` threads decode the next ones and
    another thread writes the previous one; the result does not depend on the threads.

    Raises
    ------
    ExtractionError
        If a clip does not decode or features are not finite; the message names the clips.
    """
    frame = tables.read(clips, "clips", columns=_described(clips))
    labels = tables.labels_of("clips", frame.columns) if settings.labels is None else list(settings.labels)
    names = frame["clip_id"].to_numpy()
    rank = np.argsort(np.argsort(names))  # ties between clips are broken by name, whatever the shard

    samples = round(settings.clip_seconds * encoder.sample_rate)
    recorded = torch.from_numpy(np.minimum(frame["frames"].to_numpy(np.int64), samples))
    strongest = TopClips(encoder.depth, encoder.width, settings.top_clips, encoder.device, encoder.present)
    neurons = encoder.neurons.cpu().numpy()
    tally = Tally(frame, labels, len(neurons), folder)
    threshold: float | Tensor = settings.threshold
    if settings.activity == "median":
        assert medians is not None
        threshold = threshold + read_medians(medians, encoder)
    with ExitStack() as stack:
        embedded = stack.enter_context(tables.writer(embeddings, "embeddings"))
        responded = stack.enter_context(tables.writer(responses, "responses")) if responses else None
        sounds = stack.enter_context(tables.writer(acoustics, "acoustics")) if acoustics else None
        correlator = Correlator(encoder, frame["split"].tolist()) if acoustics else None
        recorder = stack.enter_context(
            Recorder(
                encoder,
                settings.tokens,
                threshold,
                strongest.floor,
                absolute=settings.activity == "absolute",
                compiled=settings.compile,
                observer=correlator.add if correlator else None,
            )
        )
        stack.enter_context(numerics(encoder, settings.precision, settings.compile))
        notes = stack.enter_context(Notes(names, tally, embedded, responded, clips))
        meter = Meter(len(names), name, "clips")
        padded = (~encoder.heard(samples, recorded)).sum(1).numpy()
        done = window = 0
        pin = encoder.device.type == "cuda"
        rate = encoder.sample_rate
        decoded = batches(clips, samples, settings.batch_size, workers, pin, rate)
        counting = recorded if settings.count == "recording" else torch.full_like(recorded, samples)
        listened: Iterable[tuple[Numbered, Acoustics | None]] = ((item, None) for item in _numbered(decoded))
        if acoustics:
            listened = ahead(_numbered(decoded), partial(_listen, encoder, counting))
        for (_, wave, size), heard in listened:
            here = slice(done, done + size)
            ends = nn.functional.pad(recorded[here], (0, len(wave) - size), value=samples)  # and of filling
            if heard is not None:
                assert correlator
                assert sounds
                correlator.begin(heard, size)
                sounds.append({"clip_id": names[here]} | _columns(of_clips(heard), size))
            features, batch = forward(
                encoder,
                recorder,
                wave.to(encoder.device, non_blocking=True),
                ends if settings.count == "recording" else None,
            )
            window = batch.tokens
            tokens = window - padded * (settings.count == "recording")
            mean = features.mean(1) if settings.pool == "window" else encoder.pooled(features, samples, ends)
            active = encoder.flat(batch.active[:size])
            if settings.share == "clips":  # a clip counts as one token, on which neurons are active or not
                active = (active > 0).to(active.dtype)
            counted = tokens if settings.share == "tokens" else np.ones_like(tokens)
            notes.add(mean[:size].float(), active, counted[here])
            numbers = torch.from_numpy(rank[done : done + size])
            strongest.update(batch, numbers.to(encoder.device, non_blocking=True))
            done += size
            meter.add(size)
        notes.finish()
        meter.finish()

    tokens = window - padded * (settings.count == "recording")
    counted = tokens if settings.share == "tokens" else np.ones_like(tokens)
    seconds = encoder.token_seconds(samples).numpy()
    tally.write(folder, counted, padded, len(seconds), neurons)
    if settings.tokens != "patch":  # special tokens have no time
        seconds = np.full(window, np.nan)
    top = _top_clips(strongest, np.sort(names), seconds, tokens[np.argsort(names)])
    tables.write(folder / "top_clips.parquet", "top_clips", top)
    if correlator:
        correlator.write(folder / "acoustic_sums.parquet")


Numbered = tuple[int, Tensor, int]  # number of the first clip of a batch, its waveforms, its clips


def _numbered(decoded: Iterable[tuple[Tensor, int]]) -> Iterator[Numbered]:
    done = 0
    for wave, size in decoded:
        yield done, wave, size
        done += size


def _listen(encoder: Encoder, counting: Tensor, batch: Numbered) -> Acoustics:
    """Measure a batch of which tokens before ``counting`` samples of each clip count."""
    first, wave, size = batch
    ends = nn.functional.pad(counting[first : first + size], (0, len(wave) - size), value=wave.shape[1])
    samples = wave.shape[1]
    starts = encoder.token_seconds(samples).cpu()
    return measure(wave, encoder.sample_rate, starts, encoder.heard(samples, ends))


def _columns(values: Mapping[str, np.ndarray], size: int) -> dict[str, Sequence]:
    return {name: list(value[:size]) for name, value in values.items()}


def _described(clips: Path) -> list[str]:
    """Return the columns of a clips table except the audio."""
    with tables.open_table(clips, "clips") as file:
        return [c for c in file.schema_arrow.names if c != "audio"]


@torch.inference_mode()
def forward(
    encoder: Encoder, recorder: Recorder, wave: Tensor, recorded: Tensor | None = None
) -> tuple[Tensor, Batch]:
    """Return the frame features (B, T, D) of waveforms (B, samples), and the recorder's `Batch`.

    ``recorded`` is where recordings end (see `Recorder.begin`).
    """
    recorder.begin(wave, recorded)
    return encoder(wave), recorder.end()


def batches(
    clips: Path,
    samples: int,
    size: int,
    workers: int = 1,
    pin: bool = False,
    rate: int = tables.SAMPLE_RATE,
) -> Iterator[tuple[Tensor, int]]:
    """Yield waveforms float32 (size, samples) of a clips table at ``rate`` (Hz), and the clips in each.

    Rows beyond that number are zero. ``workers`` threads decode one batch each, while the caller processes
    another; no more batches are kept. ``pin`` places them in page-locked memory, which a GPU reads directly.

    Raises
    ------
    ExtractionError
        If a clip does not decode; the message names it and the table.
    """
    with ThreadPoolExecutor(workers) as pool:
        waiting: deque[Future] = deque()
        for block in tables.blocks(clips, "clips", size, ["clip_id", "audio"]):
            waiting.append(pool.submit(_decode, clips, block, samples, size, pin, rate))
            if len(waiting) > workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _decode(
    clips: Path, block: Mapping[str, list], samples: int, size: int, pin: bool, rate: int
) -> tuple[Tensor, int]:
    wave = torch.zeros(size, samples, pin_memory=pin)
    for row, name, flac in zip(wave.numpy(), block["clip_id"], block["audio"], strict=False):
        try:
            row[:] = audio.read(flac, samples, rate)
        except audio.AudioError as error:
            raise ExtractionError(f"{clips}: clip {name}: {error}; {tables.REMEDY}") from error
    return wave, len(block["audio"])


class Notes:
    """Writes the results of each batch in a thread, while the encoder processes the next batch.

    Use it as a context manager. At most one batch is pending; its errors are raised by the next call of
    :meth:`add` or :meth:`finish`.

    Parameters
    ----------
    names
        ``clip_id`` of all clips, in the order of their batches.
    tally
        Sums the counts.
    embeddings, responses
        Open writers of these tables.
    where
        Path of the clips table, for error messages.
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

    def add(self, mean: Tensor, active: Tensor, tokens: np.ndarray) -> None:
        """Write features (clips, D), numbers of active tokens (clips, neurons) and tokens of the next clips.

        Raises
        ------
        ExtractionError
            If the features of the previous batch are not finite.
        """
        copied = None
        if mean.device.type == "cuda":  # asynchronous: the writing thread waits for the copies
            mean, active = (tensor.to("cpu", non_blocking=True) for tensor in (mean, active))
            copied = torch.cuda.Event()
            copied.record()
        self.finish()
        here = slice(self._done, self._done + len(mean))
        self._done = here.stop
        self._last = self._thread.submit(self._write, here, mean, active, tokens, copied)

    def finish(self) -> None:
        """Wait until everything is written; raises the same errors as :meth:`add`."""
        if self._last:
            self._last.result()

    def _write(
        self, here: slice, mean: Tensor, active: Tensor, tokens: np.ndarray, copied: torch.cuda.Event | None
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
            columns = {"tokens": tokens, "active": list(counts.astype(np.uint16))}
            self._responses.append({"clip_id": names, **columns})


def _top_clips(
    strongest: TopClips, names: np.ndarray, seconds: np.ndarray, tokens: np.ndarray
) -> pd.DataFrame:
    """Build the ``top_clips`` table; neurons that saw fewer clips than requested have fewer rows.

    ``names`` and ``tokens`` are those of all clips, sorted by name.
    """
    place = (strongest.clip >= 0).nonzero(as_tuple=True)
    layer, neuron, rank = (index.cpu().numpy() for index in place)
    columns = {
        "layer": layer,
        "neuron": neuron,
        "rank": rank,
        "clip_id": names[strongest.clip[place].cpu().numpy()],
        "activation": strongest.activation[place].cpu().numpy(),
        "seconds": seconds[strongest.token[place].cpu().numpy()],
        "response": strongest.active[place].cpu().numpy() / tokens[strongest.clip[place].cpu().numpy()],
    }
    return pd.DataFrame(columns)
