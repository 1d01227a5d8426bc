"""The forward pass: ``extraction`` of the configuration."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from audio_neurons.settings.section import FREE, Count, Seconds, Section, Seed

ON_CPU = 8  # clips per forward pass: a CPU gains nothing from more


class ForwardPass(Section):
    """Settings that decide the numbers of a forward pass."""

    precision: Literal["fp32", "tf32", "bf16"] = "fp32"
    """Precision of matrix products behind the front end; docs/models.md says what bf16 changes."""
    compile: bool = False
    """Compile the encoder (torch.compile); worth it on GPUs only."""
    batch_size: Count | Annotated[str, Field(pattern="^auto$")] = "auto"
    """Clips per forward pass; auto is 8 on a CPU, and on a GPU as many as have 32,768 tokens (fewer for
    screening). A job of several models takes the smallest."""
    tokens: Literal["patch", "all"] = "patch"
    """Tokens that count: patches only, or special tokens (CLS) too."""
    count: Literal["recording", "window"] = "recording"
    """Tokens that count: those that begin within the recording, or all of the window that the encoder hears,
    the silence after a shorter recording included (the paper's)."""
    pool: Literal["recording", "window"] = "window"
    """Frames whose mean is a clip's embedding, for probes: those of the window, silence included, as EVAR has
    it; or those that begin within the recording."""
    threshold: float = 0
    """A neuron is active on a token when its activation exceeds this value."""
    activity: Literal["positive", "absolute", "median"] = "positive"
    """What must exceed the threshold: the activation, its absolute value, or its excess over the neuron's
    median."""
    share: Literal["tokens", "clips"] = "tokens"
    """What a response is a share of: tokens on which the neuron is active, or clips with such a token."""
    top_clips: Count = 5
    """Strongest clips kept per neuron."""

    def contradictions(self) -> Iterator[tuple[str, str]]:
        if self.activity == "absolute" and self.threshold <= 0:
            yield "threshold", "activity 'absolute' needs one above 0, or every neuron is active"


class Pass(ForwardPass):
    """Settings of one job's forward pass over the clips of one dataset.

    The last batch is filled up with silence, since a matrix product over another number of rows may round
    differently.
    """

    clip_seconds: Seconds
    """Length that the encoder hears; longer clips are cropped from the start, shorter ones padded with
    silence."""
    labels: tuple[str, ...] | None = None
    """Label columns whose combinations the counts keep apart; None keeps all apart."""


class Median(Section):
    """``extraction.median``: the sample from which activity ``median`` estimates medians."""

    clips: Count = 256
    """Clips of the training split, drawn at random; all of them if there are fewer."""
    per_clip: Count = 16
    """Tokens of each clip, evenly spaced (of each chunk, where clips are cut into chunks)."""
    seed: Seed = 0
    """Seed of the draw."""


class Extraction(ForwardPass):
    """The forward pass."""

    device: Annotated[Literal["auto", "cpu", "cuda"], FREE] = "auto"
    """Device of the encoders; auto is a GPU where PyTorch sees one."""
    clips_per_shard: Annotated[Count, FREE] = 5000
    """Clips per shard that datasets.NAME.shards auto aims at; results are the same for any number."""
    median: Annotated[Median, FREE] = Median()
    """Sample from which activity median estimates medians."""
    together: Annotated[bool, FREE] = False
    """Run all models of one sampling rate over each decoded batch, in one job per shard: one decoding and one
    start instead of one per model; but they are in memory together, and none is finished before the others.
    Results are the same, up to rounding where batch_size auto differs between models (on a GPU)."""
    responses: Annotated[bool, FREE] = False
    """Also keep every clip's own counts (results/responses), for resampling."""
    acoustics: Annotated[bool, FREE] = False
    """Also measure what the clips sound like (level, spectrum, pitch), correlate it with every neuron's
    activity, and take it out of the effects of classes (docs/method.md); needs `responses`."""

    def contradictions(self) -> Iterator[tuple[str, str]]:
        yield from super().contradictions()
        if self.acoustics and not self.responses:
            yield "acoustics", "needs every clip's counts; set `extraction.responses: true`"
        if self.acoustics and self.tokens == "all":
            yield "acoustics", "special tokens have no time, so no sound; set `extraction.tokens: patch`"

    def for_clips(self, clip_seconds: float, labels: tuple[str, ...]) -> Pass:
        """Return the settings of a pass over one dataset."""
        return Pass(**self.dump(), clip_seconds=clip_seconds, labels=labels)
