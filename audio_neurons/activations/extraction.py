"""Forward pass over a shard of clips: counts per cell and unit, clip embeddings, strongest clips."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from audio_neurons import tables
from audio_neurons.activations import normalisation
from audio_neurons.activations.acoustics import Acoustics, ahead, measure, of_clips
from audio_neurons.activations.batching import clips_per_pass
from audio_neurons.activations.correlator import Correlator
from audio_neurons.activations.decoding import ExtractionError, Wave, batches
from audio_neurons.activations.medians import read as read_medians
from audio_neurons.activations.recorder import Batch, Recorder, TopClips
from audio_neurons.activations.transfers import Transfers
from audio_neurons.activations.units import Tally
from audio_neurons.models import registry as models
from audio_neurons.models.encoder import Encoder, numerics
from audio_neurons.models.facts import CHECKPOINT, DEFAULT
from audio_neurons.running import provenance
from audio_neurons.running.gpus import pick_device
from audio_neurons.running.runtime import Meter, tell
from audio_neurons.settings.extraction import Pass


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


@dataclass(frozen=True)
class Job:
    """A model's pass over clips.

    Attributes
    ----------
    folder
        Folder of the ``cells``, ``counts``, ``units`` and ``top_clips`` tables.
    embeddings, responses, acoustics
        Paths of these tables; without a path, no ``responses`` and ``acoustics`` are written. With
        ``acoustics``, ``acoustic_sums`` is written into ``folder``, too.
    medians
        Path of the table that activity ``"median"`` needs.
    """

    encoder: Encoder
    folder: Path
    embeddings: Path
    settings: Pass
    responses: Path | None = None
    acoustics: Path | None = None
    medians: Path | None = None


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
    """Do what :func:`extract_together` does for one :class:`Job`."""
    job = Job(encoder, folder, embeddings, settings, responses, acoustics, medians)
    extract_together([job], clips, name, workers)


def extract_together(jobs: Sequence[Job], clips: Path, name: str = "extract", workers: int = 1) -> None:
    """Run encoders over a part of a clips table, and write the tables that later stages need.

    Each batch is decoded once for all encoders, which must have one sampling rate and clips of one length.
    While they process a batch, ``workers`` threads, or processes if an encoder is on a GPU, decode the next
    ones (`decoding.batches`), and another thread per encoder writes the previous one. Tables depend neither
    on these nor on the other encoders, if they have the same batch size; otherwise the smallest is used.

    Raises
    ------
    ExtractionError
        If a clip does not decode or features are not finite; the message names the clips.
    """
    first = jobs[0]
    heard = {(job.encoder.sample_rate, job.settings.clip_seconds) for job in jobs}
    if len(heard) > 1:
        raise ExtractionError(f"models of one job hear different clips (Hz, s): {sorted(heard)}")
    rate, samples = first.encoder.sample_rate, round(first.settings.clip_seconds * first.encoder.sample_rate)
    sizes = [clips_per_pass(job.encoder, job.settings.batch_size, samples) for job in jobs]
    size = min(sizes)
    if size < max(sizes):
        tell(f"{size} clips per forward pass of all these models, the fewest of any")
    pin = any(job.encoder.device.type == "cuda" for job in jobs)
    frame = tables.read(clips, "clips", columns=_described(clips))
    # Half the bytes to copy; acoustics are measured on the host, in floating point.
    integers = pin and not any(job.acoustics for job in jobs)
    # Processes begin here, while there are few threads and nothing is on its way to the GPU.
    decoded = _numbered(batches(clips, samples, size, workers, pin, rate, integers, processes=pin))
    with ExitStack() as stack:
        stack.callback(decoded.close)  # ends what decodes, also when something fails
        passes = [_Pass(job, clips, frame, samples, size, stack) for job in jobs]
        if fused := sum(one.fused for one in passes):
            provenance.note("fused", f"in {fused} of {len(passes)} models")
        for one in passes:
            one.open(stack)
        meter = Meter(len(frame), name, "clips")
        listened: Iterable[tuple[Numbered, Sequence[Acoustics | None]]]
        if any(job.acoustics for job in jobs):
            listened = ahead(decoded, lambda batch: [one.listen(batch) for one in passes])
        else:
            listened = ((batch, [None] * len(passes)) for batch in decoded)
        for batch, acoustics in listened:
            for one, own in zip(passes, acoustics, strict=True):
                one.add(batch, own)
            meter.add(batch[2])
        for one in passes:
            one.finish()
        meter.finish()
    for one in passes:
        one.write()


class _Pass:
    """A job while its batches pass: hooks, sums, and writers (:meth:`open`), which ``stack`` closes.

    Attributes
    ----------
    fused
        Whether neurons are counted within activation functions.
    """

    def __init__(self, job: Job, clips: Path, frame: pd.DataFrame, samples: int, size: int, stack: ExitStack):
        self._job, self._clips, self._samples = job, clips, samples
        encoder, settings = job.encoder, job.settings
        labels = tables.labels_of("clips", frame.columns) if settings.labels is None else settings.labels
        self._names = names = frame["clip_id"].to_numpy()
        # Ties between clips are broken by name, whatever the shard.
        self._rank = np.argsort(np.argsort(names))
        self._recorded = torch.from_numpy(np.minimum(frame["frames"].to_numpy(np.int64), samples))
        self._by_recording = settings.count == "recording"
        ends = self._recorded if self._by_recording else torch.full_like(self._recorded, samples)
        self._counting = ends
        self._padded = (~encoder.heard(samples, self._recorded)).sum(1).numpy()
        self._strongest = TopClips(
            encoder.depth, encoder.width, settings.top_clips, encoder.device, encoder.present
        )
        self._neurons = encoder.neurons.cpu().numpy()
        self._tally = Tally(frame, list(labels), len(self._neurons), job.folder)
        self._window = 0
        threshold: float | Tensor = settings.threshold
        if settings.activity == "median":
            assert job.medians is not None
            threshold = threshold + read_medians(job.medians, encoder)
        self._correlator = Correlator(encoder, frame["split"].tolist()) if job.acoustics else None
        self._recorder = stack.enter_context(
            Recorder(
                encoder,
                settings.tokens,
                threshold,
                self._strongest.floor,
                absolute=settings.activity == "absolute",
                compiled=settings.compile,
                observer=self._correlator.add if self._correlator else None,
            )
        )
        stack.enter_context(numerics(encoder, settings.precision, settings.compile))
        # With float32 products, activations are PyTorch's own.
        self.fused = settings.precision != "fp32" and self._recorder.fuse(size, samples)

    def open(self, stack: ExitStack) -> None:
        """Begin to write; what is written records how the job computes."""
        job = self._job

        def writer(path: Path | None, table: str) -> tables.Writer | None:
            return stack.enter_context(tables.writer(path, table)) if path else None

        embedded, responded = writer(job.embeddings, "embeddings"), writer(job.responses, "responses")
        self._sounds = writer(job.acoustics, "acoustics")
        assert embedded is not None
        self._transfers = Transfers(job.encoder.device)
        self._notes = stack.enter_context(
            Notes(self._names, self._tally, embedded, responded, self._clips, self._transfers)
        )

    def listen(self, batch: Numbered) -> Acoustics | None:
        """Measure what a batch sounds like on each token, if the job asks for it."""
        if self._correlator is None:
            return None
        first, wave, size = batch
        ends = self._filled(self._counting[first : first + size], len(wave))
        encoder = self._job.encoder
        starts = encoder.token_seconds(self._samples).cpu()
        return measure(wave, encoder.sample_rate, starts, encoder.heard(self._samples, ends))

    def add(self, batch: Numbered, acoustics: Acoustics | None) -> None:
        """Run the encoder over a batch, with what :meth:`listen` measured."""
        first, wave, size = batch
        encoder, settings = self._job.encoder, self._job.settings
        here = slice(first, first + size)
        ends = self._filled(self._recorded[here], len(wave))
        if acoustics is not None:
            assert self._correlator
            assert self._sounds
            self._correlator.begin(acoustics, size)
            self._sounds.append({"clip_id": self._names[here]} | _columns(of_clips(acoustics), size))
        features, found = self._recorder.run(
            self._transfers.to_device(wave), ends if self._by_recording else None
        )
        self._window = found.tokens
        mean = (
            features.mean(1) if settings.pool == "window" else encoder.pooled(features, self._samples, ends)
        )
        active = encoder.flat(found.active[:size])
        if settings.share == "clips":  # a clip counts as one token, on which neurons are active or not
            active = (active > 0).to(active.dtype)
        self._notes.add(mean[:size].float(), active, self._counted()[here])
        numbers = torch.from_numpy(self._rank[here])
        self._strongest.update(found, numbers.to(encoder.device, non_blocking=True))

    def finish(self) -> None:
        """Wait until all batches are noted."""
        self._notes.finish()

    def write(self) -> None:
        """Write the tables of the whole pass."""
        encoder, folder, names = self._job.encoder, self._job.folder, self._names
        seconds = encoder.token_seconds(self._samples).numpy()
        self._tally.write(folder, self._counted(), self._padded, len(seconds), self._neurons)
        if self._job.settings.tokens != "patch":  # special tokens have no time
            seconds = np.full(self._window, np.nan)
        top = _top_clips(self._strongest, np.sort(names), seconds, self._tokens()[np.argsort(names)])
        tables.write(folder / "top_clips.parquet", "top_clips", top)
        if self._correlator:
            self._correlator.write(folder / "acoustic_sums.parquet")

    def _filled(self, ends: Tensor, clips: int) -> Tensor:
        """Return where recordings end, and the end of the window for rows that are no clips."""
        return nn.functional.pad(ends, (0, clips - len(ends)), value=self._samples)

    def _tokens(self) -> np.ndarray:
        """Return the tokens of each clip over which its neurons may be active, (clips,)."""
        return self._window - self._padded * self._by_recording

    def _counted(self) -> np.ndarray:
        """Return what the counts of each clip are a share of, (clips,)."""
        tokens = self._tokens()
        return tokens if self._job.settings.share == "tokens" else np.ones_like(tokens)


Numbered = tuple[int, Tensor, int]  # number of the first clip of a batch, its waveforms, its clips


def _numbered(decoded: Iterable[Wave]) -> Generator[Numbered, None, None]:
    done = 0
    for wave, size in decoded:
        yield done, wave, size
        done += size


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
    transfers
        Copies results to the host.
    """

    def __init__(
        self,
        names: np.ndarray,
        tally: Tally,
        embeddings: tables.Writer,
        responses: tables.Writer | None,
        where: Path,
        transfers: Transfers,
    ):
        self._transfers = transfers
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
        (mean, active), copied = self._transfers.to_host([mean, active])
        self.finish()
        here = slice(self._done, self._done + len(mean))
        self._done = here.stop
        self._last = self._thread.submit(self._write, here, mean, active, tokens, copied)

    def finish(self) -> None:
        """Wait until everything is written; raises the same errors as :meth:`add`."""
        if self._last:
            self._last.result()

    def _write(
        self, here: slice, mean: Tensor, active: Tensor, tokens: np.ndarray, copied: Callable[[], None]
    ) -> None:
        copied()  # the writing thread waits for the copies
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
