"""Record feed-forward activations during the forward pass.

Forward pre-hooks on the down-projections read the hidden layer after its activation function, in the same
way for all encoders. Hooks keep only sums, so memory does not grow with the number of clips.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from typing import Any
from weakref import WeakValueDictionary

import torch
from torch import Tensor, nn

from audio_neurons.activations import fused
from audio_neurons.activations.counting import BYTE, Counter
from audio_neurons.activations.fused import Sums
from audio_neurons.activations.graphs import Graphed
from audio_neurons.activations.trusted import Trusted
from audio_neurons.models.encoder import Encoder
from audio_neurons.running.runtime import tell

# Devices on which searching for candidate neurons first is cheaper than processing all of them. A GPU
# would have to finish its queued work before the search, and would idle during it: kernels do the work there.
SEARCHED = ("cpu",)


def _count_peak(*given: Any) -> None:
    from audio_neurons.activations import kernels  # Triton is there on Linux only

    kernels.count_peak(*given)


def _insert(*given: Any) -> None:
    from audio_neurons.activations import kernels

    kernels.strongest(*given)


MOST = 32  # strongest clips per neuron that its kernel can hold
_counting = Trusted("counts and peaks of neurons", _count_peak)
_inserting = Trusted("strongest clips of neurons", _insert)


@dataclass(frozen=True)
class Batch:
    """Activations recorded in one batch of B clips, for L layers of W neurons.

    Attributes
    ----------
    active
        int32 (B, L, W): number of tokens on which each neuron is active. Layers that are narrower than W
        fill it up with zeros (`Encoder.flat` leaves these entries out), and ``peak`` with -inf.
    tokens
        Tokens per clip, those after a shorter recording included.
    peak
        float32 (B, L, W): highest activation over the clip's tokens.
    peak_token
        int64 (B, L, W): first token with that activation; valid only where the activation is among the
        strongest that :class:`TopClips` has seen.
    """

    active: Tensor
    tokens: int
    peak: Tensor
    peak_token: Tensor


class Recorder:
    """Context manager that counts the active tokens of every neuron while an encoder runs.

    Tokens that see only the encoder's own padding are never counted (`Encoder.counted`). Tokens after the end
    of a recording that is shorter than the clip are counted unless :meth:`begin` is told where it ends.

    Parameters
    ----------
    tokens
        ``"patch"`` excludes the encoder's special tokens, ``"all"`` includes them.
    threshold, absolute
        A neuron is active where its activation, or its absolute value, is above the threshold: one
        number, or one per neuron (L, W).
    floor
        float (L, W): activations below it need no ``peak_token``; shared with :class:`TopClips`.
    compiled
        Whether the encoder will be compiled: counting is then one operation of its graph in each layer.
    observer
        Called with each layer, whether its neurons are active, bool (B, n, W), on n counted tokens, and the
        number of the first of these.
    """

    def __init__(
        self,
        encoder: Encoder,
        tokens: str = "patch",
        threshold: float | Tensor = 0.0,
        floor: Tensor | None = None,
        absolute: bool = False,
        compiled: bool = False,
        observer: Callable[[int, Tensor, int], None] | None = None,
    ):
        self._layers = encoder.down_projections()
        special = {"patch": False, "all": True}[tokens]
        self._encoder, self._special = encoder, encoder.special_tokens if special else 0
        self._counted = cache(lambda layer, samples, run: encoder.counted_in(layer, samples, run, special))
        self._threshold = threshold if isinstance(threshold, Tensor) else [threshold] * len(self._layers)
        self._bars = cache(self._bar)
        self._absolute = absolute
        self._floor, self._compiled, self._observer = floor, compiled, observer
        self._searched = encoder.device.type in SEARCHED
        self._shape = (len(self._layers), encoder.width)
        self._key = next(_keys)
        self._counted_tokens: dict[torch.Size, int] = {}
        self._placed = cache(self._place)
        self._fused: dict[int, fused.Layer] = {}
        self._by_kernel = False  # whether activation functions of `_fused` count
        self._graphed: Graphed | None = None
        self._counter: Counter | None = None  # of float32 on a CPU
        self._handles: list = []

    def __enter__(self) -> Recorder:
        _entered[self._key] = self
        if self._searched and self._observer is None:
            self._counter = Counter(torch.get_num_threads(), self._absolute)
        if self._encoder.device.type == "cuda" and not self._compiled and self._observer is None:
            self._graphed = Graphed(self._run)
        for number, layer in enumerate(self._layers):
            self._handles.append(layer.register_forward_pre_hook(partial(self._hook, number)))
        return self

    def _hook(self, layer: int, _: nn.Module, inputs: tuple[Tensor]) -> None:
        if self._by_kernel and layer in self._fused:
            return
        if self._compiled:
            _record(inputs[0], *self._sums, self._key, layer)
        else:
            self._record(layer, inputs[0], self._sums)

    def __exit__(self, *_: object) -> None:
        _entered.pop(self._key, None)
        self._graphed = None  # its memory
        if self._counter is not None:
            self._counter.__exit__()
            self._counter = None
        self._fused = {}
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def begin(self, wave: Tensor, recorded: Tensor | None = None) -> None:
        """Start a batch of waveforms (B, samples), over whose chunks the layers then run in turn.

        Only tokens that begin within the first ``recorded`` samples of each clip, int64 (B,), count and have
        a peak; without them all do.
        """
        self._start(wave, self._within(wave, recorded))

    def _within(self, wave: Tensor, recorded: Tensor | None) -> Tensor | None:
        """Return which tokens begin within the recordings, or None if all do."""
        if recorded is None or bool((recorded >= wave.shape[1]).all()):
            return None
        return self._encoder.heard(wave.shape[1], recorded).to(wave.device, non_blocking=True)

    def _start(self, wave: Tensor, heard: Tensor | None) -> None:
        self._heard = heard
        shape, self._samples = (len(wave), *self._shape), wave.shape[1]
        active = torch.zeros(shape, dtype=torch.int32, device=wave.device)
        peak = torch.full(shape, -torch.inf, device=wave.device)
        self._sums = active, peak, torch.zeros(shape, dtype=torch.int64, device=wave.device)
        self._tokens = [0] * self._shape[0]
        self._runs = [0] * self._shape[0]

    def end(self) -> Batch:
        active, peak, peak_token = self._sums
        return Batch(active, self._tokens[0], peak, peak_token)

    def fuse(self, clips: int, samples: int) -> bool:
        """Let :meth:`run` count within the activation functions, if a kernel for both gives right numbers.

        Call it before the first batch, in the precision of all, with the clips and samples of a batch: the
        kernel is compared with PyTorch in every layer, on noise. The last bits of activations may then differ
        from PyTorch's, in every batch alike. It does nothing on a CPU, nor with an observer or a compiled
        encoder. Layers without such an activation function (see :mod:`audio_neurons.activations.fused`), and
        an encoder of which a layer fails, are counted as before.

        Returns
        -------
        Whether any layer counts so.
        """
        if self._searched or self._observer is not None or self._compiled or self._floor is None:
            return False
        device = self._encoder.device
        generator = torch.Generator(device).manual_seed(0)
        wave = 0.1 * torch.randn(clips, samples, generator=generator, device=device)
        self._start(wave[:1], None)
        found = fused.layers(self._encoder, wave[:1])
        problems: dict[str, None] = {}

        def checked(layer: int, own: fused.Layer, plain: Callable[[Tensor], Tensor], given: Tensor) -> Tensor:
            made = plain(given)
            if self._places(layer, given.shape[1]) is None:
                found.pop(layer, None)
            elif why := self._against(layer, own, given, made):
                problems[why] = None
            return made

        # Recordings that end before the window are another form of the kernel.
        self._start(wave, self._within(wave, torch.arange(1, clips + 1) * samples // (clips + 1) + 1))
        by = {own.module: partial(checked, layer, own, own.module.forward) for layer, own in found.items()}
        with fused.replaced(by), torch.inference_mode():
            self._encoder(wave)
        if problems:
            tell(f"counts are no part of activation functions, which is slower ({'; '.join(problems)})")
            return False
        if found:
            tell(
                f"{len(found)} of {self._shape[0]} feed-forward networks count within their activation "
                "functions, whose last bits may differ from PyTorch's"
            )
        self._fused = found
        return bool(found)

    def _against(self, layer: int, own: fused.Layer, given: Tensor, made: Tensor) -> str:
        """Return what speaks against counting within a layer's activation function."""
        counted, _, heard = self._about(layer, given.shape[1])
        for within in (None, heard):

            def plain(output: Tensor, sums: Sums, within: Tensor | None = within) -> None:
                self._reduce(layer, output[:, counted], within, sums)

            given_too = self._beside(layer, given, own.dtype, within)
            if why := fused.problem(own, given, made, self._of(layer, given), given_too, plain):
                return why
        return ""

    @contextmanager
    def _counting_within(self) -> Iterator[None]:
        """Count within the activation functions that :meth:`fuse` found, inside the context."""
        by = {own.module: partial(self._activate, layer, own) for layer, own in self._fused.items()}
        self._by_kernel = True
        try:
            with fused.replaced(by):
                yield
        finally:
            self._by_kernel = False

    def _activate(self, layer: int, own: fused.Layer, given: Tensor) -> Tensor:
        """Return what a layer's activation function gives, counted."""
        _, n, heard = self._about(layer, given.shape[1])
        output = fused.run(own, given, self._of(layer, given), self._beside(layer, given, own.dtype, heard))
        self._runs[layer] += 1
        self._tokens[layer] += n
        return output

    def _beside(self, layer: int, given: Tensor, dtype: torch.dtype, heard: Tensor | None) -> tuple:
        """Return the inputs of `kernels.activate` after the activations."""
        places = self._places(layer, given.shape[1])
        return places, self._bars(layer, dtype), heard, self._absolute, self._tokens[layer]

    def _places(self, layer: int, tokens: int) -> Tensor | None:
        """Return the place of each token among the counted ones, int32 (N,), -1 for others.

        None if a token counts more than once.
        """
        return self._placed(layer, self._samples, self._runs[layer], tokens)

    def _place(self, layer: int, samples: int, run: int, tokens: int) -> Tensor | None:
        counted = self._counted(layer, samples, run)
        rows = torch.arange(tokens)[counted.cpu() if isinstance(counted, Tensor) else counted]
        places = torch.full((tokens,), -1, dtype=torch.int32)
        places[rows] = torch.arange(len(rows), dtype=torch.int32)
        return places.to(self._encoder.device) if len(rows.unique()) == len(rows) else None

    @torch.inference_mode()
    def run(self, wave: Tensor, recorded: Tensor | None = None) -> tuple[Tensor, Batch]:
        """Encode a batch: frame features (B, T, D) of waveforms (B, samples), and what was recorded.

        On a GPU it is a CUDA graph from the fourth batch on, unless something observes or compiles the
        encoder. Hooks of others then do not run.
        """
        heard = self._within(wave, recorded)
        given = (wave,) if heard is None else (wave, heard)
        features, *sums = (self._run if self._graphed is None else self._graphed)(*given)
        active, peak, peak_token = sums
        return features, Batch(active, self._counted_tokens[wave.shape], peak, peak_token)

    def _run(self, wave: Tensor, heard: Tensor | None = None) -> tuple[Tensor, ...]:
        self._start(wave, heard)
        with self._counting_within():
            features = self._encoder(wave)
        self._counted_tokens[wave.shape] = self._tokens[0]  # a replay does not run this
        return features, *self._sums

    def _record(self, layer: int, hidden: Tensor, sums: Sums) -> None:
        """Add the hidden activations (B, N, W) of one call to the batch."""
        places = self._of(layer, hidden, sums)
        counted, n, heard = self._about(layer, hidden.shape[1])
        if self._counter is not None and hidden.dtype == torch.float32:
            self._count(layer, hidden[:, counted], heard, places)
        elif self._searched or self._observer is not None or self._floor is None:
            self._reduce(layer, hidden[:, counted], heard, places)
        else:
            rest = counted, self._bars(layer, hidden.dtype), heard, self._absolute, self._tokens[layer]
            variant = hidden.dtype, n, isinstance(counted, Tensor), heard is None, self._absolute
            plain = lambda: self._reduce(layer, hidden[:, counted], heard, places)  # noqa: E731
            _counting(variant, places, (hidden, *rest), plain)
        self._runs[layer] += 1
        self._tokens[layer] += n

    def _of(self, layer: int, hidden: Tensor, sums: Sums | None = None) -> Sums:
        """Return a layer's part (B, W) of the batch's sums."""
        active, peak, token = (of[:, layer, : hidden.shape[2]] for of in sums or self._sums)
        return active, peak, token

    def _about(self, layer: int, tokens: int) -> tuple[slice | Tensor, int, Tensor | None]:
        """Return which of a run's tokens count, their number, and which of these are heard, (B, n)."""
        counted = self._counted(layer, self._samples, self._runs[layer])
        n = len(counted) if isinstance(counted, Tensor) else len(range(tokens)[counted])
        heard = self._heard
        if heard is not None:
            first = self._tokens[layer] - self._special * self._runs[layer]
            heard = nn.functional.pad(
                heard[:, first : first + n - self._special], (self._special, 0), value=True
            )
        return counted, n, heard

    def _reduce(self, layer: int, hidden: Tensor, heard: Tensor | None, sums: Sums) -> None:
        """Add the hidden activations (B, n, W) of counted tokens to the layer's sums (B, W)."""
        counts, highest, token = sums
        if heard is not None:
            hidden = hidden.masked_fill(~heard[..., None], -torch.inf)
        # Tokens that do not count stay below every threshold: their absolute value would not.
        level = hidden.abs().where(hidden > -torch.inf, hidden) if self._absolute else hidden
        threshold, width = self._threshold[layer], hidden.shape[2]
        if isinstance(threshold, Tensor):
            threshold = threshold[:width]
        active = level > threshold
        for block in active.view(torch.uint8).split(BYTE, dim=1):
            counts += block.sum(1, dtype=torch.uint8)
        if self._observer is not None:
            self._observer(layer, active, self._tokens[layer])
        if self._floor is not None:
            self._record_peak(layer, hidden, self._floor[layer, :width], highest, token)

    def _count(self, layer: int, hidden: Tensor, heard: Tensor | None, sums: Sums) -> None:
        """Do in NumPy, clip by clip, what :meth:`_reduce` does."""
        assert self._counter is not None
        threshold, width = self._threshold[layer], hidden.shape[2]
        bar = threshold[:width].numpy() if isinstance(threshold, Tensor) else threshold
        floor = None if self._floor is None else self._floor[layer, :width].numpy()
        counts, highest, token = (of.numpy() for of in sums)
        within = None if heard is None else heard.numpy()
        self._counter.add(hidden.numpy(), within, bar, floor, (counts, highest, token), self._tokens[layer])

    def _bar(self, layer: int, dtype: torch.dtype) -> Tensor:
        """Return a layer's thresholds (W,); one number is rounded to the activations' type, as in PyTorch."""
        threshold, width = self._threshold[layer], self._layers[layer].in_features
        if isinstance(threshold, Tensor):
            return threshold[:width]
        return torch.full((width,), threshold, dtype=dtype, device=self._encoder.device)

    def _record_peak(self, layer: int, hidden: Tensor, floor: Tensor, highest: Tensor, token: Tensor) -> None:
        if not self._searched:
            peak, where = hidden.max(1)
            token.copy_(torch.where(peak > highest, where + self._tokens[layer], token))
            highest.copy_(torch.maximum(highest, peak.float()))
            return
        peak = hidden.amax(1).float()
        # Locating a peak costs much more than computing it, so only candidates for the strongest are located.
        clip, neuron = ((peak > highest) & (peak >= floor)).nonzero(as_tuple=True)
        where = hidden[clip, :, neuron].argmax(1)
        token[clip, neuron] = where + self._tokens[layer]
        highest.copy_(torch.maximum(highest, peak))


_entered: WeakValueDictionary[int, Recorder] = WeakValueDictionary()
_keys = itertools.count()


# The compiler sees an operation that changes sums, so that it need not cut its graph at every layer; which
# tokens count, and what was counted before, it does not see.
@torch.library.custom_op("audio_neurons::record", mutates_args=("active", "peak", "peak_token"))
def _record(
    hidden: Tensor, active: Tensor, peak: Tensor, peak_token: Tensor, recorder: int, layer: int
) -> None:
    _entered[recorder]._record(layer, hidden, (active, peak, peak_token))


class TopClips:
    """The ``k`` clips with the highest activation of every neuron.

    Among equal activations, the clip with the lower number is kept. If clips are numbered by name, the
    result therefore depends neither on their order nor on their division into shards.

    Parameters
    ----------
    present
        bool (L, W): the entries that are neurons, if layers are of unequal widths; by default all.
    """

    def __init__(
        self,
        depth: int,
        width: int,
        k: int,
        device: torch.device | str = "cpu",
        present: Tensor | None = None,
    ):
        self._k = k
        every = torch.ones(depth, width, dtype=torch.bool, device=device) if present is None else present
        self._present = every
        self.activation = torch.full((depth, width, k), -torch.inf, device=device)
        self.clip = torch.full((depth, width, k), -1, dtype=torch.int64, device=device)
        self.token = torch.zeros((depth, width, k), dtype=torch.int64, device=device)
        self.active = torch.zeros((depth, width, k), dtype=torch.int32, device=device)
        searched = self.activation.device.type in SEARCHED
        self._every = None if searched else every.nonzero(as_tuple=True)
        self._last = -1  # highest number of a clip so far

    @property
    def floor(self) -> Tensor:
        """Lowest activation among the strongest clips, (L, W); a view that is always current."""
        return self.activation[..., -1]

    def update(self, batch: Batch, numbers: Tensor) -> None:
        """Add the first ``len(numbers)`` clips of a batch, with the numbers ``numbers`` (int64)."""
        if self._every is None or self._k > MOST:
            self._insert(batch, numbers)
            return
        best = self.activation, self.clip, self.token, self.active
        given = batch.peak, batch.peak_token, batch.active, numbers
        _inserting((len(batch.peak), self._k), best, given, lambda: self._insert(batch, numbers))

    def _insert(self, batch: Batch, numbers: Tensor) -> None:
        new = slice(len(numbers))
        layer, neuron = self._every or ((batch.peak[new] >= self.floor).any(0) & self._present).nonzero(
            as_tuple=True
        )
        clip = torch.cat([self.clip[layer, neuron], numbers.expand(len(layer), -1)], dim=1)
        by_number: Tensor | None = None
        if not self._follow(numbers):
            clip, by_number = clip.sort(dim=1)

        def join(mine: Tensor, batch_values: Tensor) -> Tensor:
            both = torch.cat([mine[layer, neuron], batch_values[new, layer, neuron].T], dim=1)
            return both if by_number is None else both.gather(1, by_number)

        activation, order = join(self.activation, batch.peak).sort(dim=1, descending=True, stable=True)
        order = order[:, : self._k]
        token, active = join(self.token, batch.peak_token), join(self.active, batch.active)
        self.activation[layer, neuron] = activation[:, : self._k]
        self.clip[layer, neuron] = clip.gather(1, order)
        self.token[layer, neuron] = token.gather(1, order)
        self.active[layer, neuron] = active.gather(1, order)

    def _follow(self, numbers: Tensor) -> bool:
        """Return whether clips are in order: their numbers ascend, and are above those of all before."""
        if self._every is not None:  # a GPU would have to finish its queued work
            return False
        last, self._last = self._last, max(self._last, int(numbers.max()))
        return bool((numbers.diff(prepend=numbers.new_tensor([last])) > 0).all())
