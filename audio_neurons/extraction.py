"""One forward pass over a shard of clips: counts per cell and unit, clip embeddings, strongest clips."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from audio_neurons import audio, tables
from audio_neurons.medians import read as read_medians
from audio_neurons.models.encoder import Encoder
from audio_neurons.recorder import Batch, Recorder, TopClips
from audio_neurons.runtime import progress
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


def extract(
    encoder: Encoder,
    clips: Path,
    folder: Path,
    embeddings: Path,
    settings: Settings,
    responses: Path | None = None,
    label: str = "extract",
    medians: Path | None = None,
) -> None:
    """Run ``encoder`` over a part of a clips table, and write what later stages need.

    Writes ``cells``, ``counts``, ``units`` and ``top_clips`` into ``folder``, the ``embeddings`` table,
    and, if asked for, every clip's own counts (``responses``). ``medians`` is the table that activity
    ``"median"`` needs.

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
    threshold = settings.threshold
    if settings.activity == "median":
        threshold = threshold + read_medians(medians, encoder)
    tokens = 0
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
        waves = batches(clips, samples, settings.batch_size)
        done = 0
        for wave, size in progress(waves, -(-len(names) // settings.batch_size), label, "batches"):
            here = slice(done, done + size)
            features, batch = forward(encoder, recorder, torch.from_numpy(wave).to(encoder.device))
            mean = features[:size].mean(1).float()
            if not mean.isfinite().all():
                broken = names[here][~mean.isfinite().all(1).cpu().numpy()]
                raise ExtractionError(
                    f"the encoder returns NaN or infinity for {', '.join(broken[:5])} in {clips}"
                )
            active = batch.active[:size].flatten(1).cpu().numpy()
            tally.add(done, active)
            strongest.update(batch, torch.from_numpy(rank[here]).to(encoder.device))
            embedded.append({"clip_id": names[here], "embedding": list(mean.cpu().numpy())})
            if responded:
                columns = {
                    "tokens": np.full(size, batch.tokens),
                    "active": list(active.astype(np.uint16)),
                }
                responded.append({"clip_id": names[here], **columns})
            tokens = batch.tokens
            done += size

    tally.write(folder, tokens, encoder.depth)
    seconds = encoder.token_seconds(samples).numpy()
    if settings.tokens != "patch":  # a special token stands for no time
        seconds = np.full(tokens, np.nan)
    top = _top_clips(strongest, np.sort(names), seconds, tokens)
    tables.write(folder / "top_clips.parquet", "top_clips", top)


@contextmanager
def numerics(encoder: Encoder, precision: str, compiled: bool = False) -> Iterator[None]:
    """The encoder computes in this precision, compiled or not, and afterwards as before.

    To be entered after hooks are in place: what is compiled has them inside.
    """
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    tf32 = precision == "tf32"
    try:
        torch.set_float32_matmul_precision("high" if tf32 else "highest")
        torch.backends.cudnn.allow_tf32 = tf32
        encoder.bfloat16 = precision == "bf16"
        if compiled:
            encoder.encode = torch.compile(encoder.encode)
        yield
    finally:
        torch.set_float32_matmul_precision(before[0])
        torch.backends.cudnn.allow_tf32 = before[1]
        encoder.bfloat16 = False
        encoder.__dict__.pop("encode", None)


def _described(clips: Path) -> list[str]:
    """Columns of a clips table without the audio itself."""
    with tables.open_table(clips, "clips") as file:
        return [c for c in file.schema_arrow.names if c != "audio"]


@torch.inference_mode()
def forward(encoder: Encoder, recorder: Recorder, wave: Tensor) -> tuple[Tensor, Batch]:
    """Frame features (B, T, D) of waveforms (B, samples), and what the recorder saw."""
    recorder.begin(wave)
    return encoder(wave), recorder.end()


def batches(clips: Path, samples: int, size: int) -> Iterator[tuple[np.ndarray, int]]:
    """Waveforms float32 (size, samples) of a clips table and how many of them are clips, in its order.

    The next batch is decoded while the caller works on this one.

    Raises
    ------
    ExtractionError
        If a clip does not decode; the message names it and the table.
    """
    with ThreadPoolExecutor(1) as pool:
        waiting = None
        for block in tables.blocks(clips, "clips", size, ["clip_id", "audio"]):
            ready, waiting = waiting, pool.submit(_decode, clips, block, samples, size)
            if ready:
                yield ready.result()
        if waiting:
            yield waiting.result()


def _decode(clips: Path, block: Mapping[str, list], samples: int, size: int) -> tuple[np.ndarray, int]:
    wave = np.zeros((size, samples), np.float32)
    for row, name, flac in zip(wave, block["clip_id"], block["audio"], strict=False):
        try:
            row[:] = audio.read(flac, samples)
        except audio.AudioError as error:
            raise ExtractionError(f"{clips}: clip {name}: {error}; {tables.REMEDY}") from error
    return wave, len(block["audio"])


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
