"""Interventions on neurons during the forward pass, and shared computation for many changes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any
from weakref import WeakSet

import torch
from torch import Tensor
from torch.utils.hooks import RemovableHandle

from audio_neurons.ablation.changes import Change, units_by_layer
from audio_neurons.ablation.replay import Replay
from audio_neurons.activations.batching import TOKENS
from audio_neurons.models.encoder import Encoder
from audio_neurons.running.runtime import tell

# Devices on which several changes are computed in one pass; a CPU gains nothing by it.
TOGETHER = ("cuda",)
_compared: WeakSet[Encoder] = WeakSet()  # encoders of which such a pass was compared with one of its own

# (layer, number of the audio chunk, units (k,), tokens N) → values that broadcast to (B, N, k).
Values = Callable[[int, int, Tensor, int], Tensor]
Expanded = tuple[Tensor, Tensor]  # what `Encoder.expand` returns


class InterventionError(ValueError):
    """A change names neurons that the encoder does not have."""


class Intervention:
    """Context manager that applies a change while an encoder runs.

    It registers forward pre-hooks on the down-projections, so it works with every encoder and on all
    tokens. Within one context, the audio chunks must pass through each layer in order, as they do in
    complete forward passes.

    Parameters
    ----------
    values
        Replacement values r of the change: :meth:`Means.values`, :class:`Donors`; ``None`` for zero.

    Raises
    ------
    InterventionError
        If the encoder lacks one of the neurons.
    """

    def __init__(self, encoder: Encoder, change: Change, values: Values | None = None):
        indexed = Indexed(encoder, [change])
        self._prepare(indexed, indexed.units[0], change.gain, values)

    @classmethod
    def of(cls, indexed: Indexed, number: int, values: Values | None) -> Intervention:
        """Return the intervention of one of many changes."""
        self = cls.__new__(cls)
        self._prepare(indexed, indexed.units[number], indexed.changes[number].gain, values)
        return self

    def _prepare(
        self, indexed: Indexed, units: Mapping[int, Any], gain: float, values: Values | None
    ) -> None:
        self._layers = indexed.layers
        self._gain, self._values, self._units = gain, values, units
        self._calls = dict.fromkeys(units, 0)
        self._handles: list[RemovableHandle] = []

    def __enter__(self) -> Intervention:
        for number in self._units:
            hook = lambda _, inputs, number=number: (self._apply(number, inputs[0]),)  # noqa: E731
            self._handles.append(self._layers[number].register_forward_pre_hook(hook))
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def _apply(self, layer: int, hidden: Tensor) -> Tensor:
        """Return hidden activations (B, N, W) with the change applied."""
        units, chunk = self._units[layer], self._calls[layer]
        self._calls[layer] += 1
        changed = hidden[..., units]
        if self._values is None:
            changed = changed * self._gain
        else:
            r = self._values(layer, chunk, units, hidden.shape[1]).to(hidden)
            changed = r + self._gain * (changed - r) if self._gain else r.expand_as(changed)
        return hidden.index_copy(-1, units, changed)


class Together(Intervention):
    """Context manager that applies G changes of one gain and replacement in passes over G copies of a batch.

    Row g * B + b of the copies is clip b of B, under the g-th change.
    """

    def __init__(self, indexed: Indexed, numbers: Sequence[int], values: Values | None):
        self._count = len(numbers)
        gain = indexed.changes[numbers[0]].gain
        self._prepare(indexed, indexed.together(tuple(numbers)), gain, values)

    def _apply(self, layer: int, hidden: Tensor) -> Tensor:
        (which, units), chunk = self._units[layer], self._calls[layer]
        self._calls[layer] += 1
        apart = hidden.unflatten(0, (self._count, -1)).clone()  # (G, B, N, W)
        changed = apart[which, :, :, units]  # (k, B, N), of the units of all changes
        if self._values is None:
            changed = changed * self._gain
        else:
            r = self._values(layer, chunk, units, hidden.shape[1]).to(hidden)
            r = r.expand(*apart.shape[1:3], -1).movedim(-1, 0)
            changed = r + self._gain * (changed - r) if self._gain else r
        apart[which, :, :, units] = changed
        return apart.flatten(0, 1)


class Indexed:
    """Changes whose units are checked, and indices on the encoder's device, once for many batches.

    Raises
    ------
    InterventionError
        If the encoder lacks one of the neurons.
    """

    def __init__(self, encoder: Encoder, changes: Sequence[Change]):
        check(encoder, frozenset().union(*(change.neurons for change in changes)))
        self.changes, self.layers, self._device = changes, encoder.down_projections(), encoder.device
        self._lists = [
            units_by_layer(change.neurons) if change.first_layer is not None else {} for change in changes
        ]
        lists = [units for one in self._lists for units in one.values()]
        # One copy to the device, which waits for what the device does, not one for every layer of a change.
        whole = torch.tensor([unit for units in lists for unit in units], dtype=torch.int64).to(self._device)
        parts = iter(whole.split([len(units) for units in lists]))
        self.units = [{layer: next(parts) for layer in one} for one in self._lists]
        self._together: dict[tuple[int, ...], dict[int, tuple[Tensor, ...]]] = {}

    def together(self, numbers: tuple[int, ...]) -> dict[int, tuple[Tensor, ...]]:
        """Return layer → place among ``numbers`` and unit of all units of these changes, int64 (k,) each."""
        if numbers not in self._together:
            found: dict[int, list[tuple[int, int]]] = {}
            for place, number in enumerate(numbers):
                for layer, units in self._lists[number].items():
                    found.setdefault(layer, []).extend((place, unit) for unit in units)
            pairs = {layer: torch.tensor(list(zip(*some, strict=True))) for layer, some in found.items()}
            self._together[numbers] = {layer: tuple(both.to(self._device)) for layer, both in pairs.items()}
        return self._together[numbers]


def check(encoder: Encoder, neurons: Iterable[tuple[int, int]]) -> None:
    """Raise :class:`InterventionError` if the encoder lacks one of the neurons."""
    widths = dict(enumerate(encoder.widths))
    missing = [f"{layer}:{unit}" for layer, unit in neurons if not 0 <= unit < widths.get(layer, 0)]
    if missing:
        sizes = " and ".join(str(width) for width in sorted(set(widths.values())))
        raise InterventionError(
            f"no neuron {', '.join(sorted(missing)[:5])} in an encoder of {len(widths)} layers of {sizes}"
        )


class Means:
    """Mean activation of every neuron over batches of clips, with a separate mean per special token.

    Sums are float64, so batching affects only the last bits of the means.
    """

    def __init__(self, encoder: Encoder):
        self._encoder, self._special = encoder, encoder.special_tokens
        shape = (encoder.depth, self._special + 1, encoder.width)
        self._sum = torch.zeros(shape, dtype=torch.float64, device=encoder.device)
        self._tokens = torch.zeros(shape[:2], dtype=torch.int64, device=encoder.device)

    @torch.inference_mode()
    def add(self, wave: Tensor, clips: int, ends: Tensor | None = None) -> None:
        """Add the first ``clips`` of the waveforms (B, samples); the encoder's own padding is not counted.

        Nor are, with ``ends``, int64 (clips,), tokens that begin at or after that sample of each clip.
        """
        samples = wave.shape[1]
        runs, placed = [0] * self._encoder.depth, [0] * self._encoder.depth
        shorter = ends is not None and bool((ends < samples).any())
        heard = self._encoder.heard(samples, ends) if ends is not None and shorter else None

        def hook(layer: int, hidden: Tensor) -> None:
            index = self._encoder.counted_in(layer, samples, runs[layer])
            runs[layer] += 1
            width = hidden.shape[2]
            tokens = hidden[:clips].double().sum(0)
            self._sum[layer, : self._special, :width] += tokens[: self._special]
            self._tokens[layer, : self._special] += clips
            if heard is None:
                counted = tokens[index]
                number = clips * len(counted)
            else:
                counted = hidden[:clips, index].double()
                own = heard[:, placed[layer] : placed[layer] + counted.shape[1]].to(counted.device)
                placed[layer] += counted.shape[1]
                counted, number = counted[own], int(own.sum())
            self._sum[layer, self._special, :width] += counted.sum(0)
            self._tokens[layer, self._special] += number

        with self._encoder.listening(hook):
            self._encoder(wave)

    def values(self) -> Values:
        """Return the means as replacement values of a change."""
        mean = self._sum / self._tokens[..., None].clamp(min=1)

        def at(layer: int, chunk: int, units: Tensor, tokens: int) -> Tensor:
            special, patch = mean[layer, :-1][:, units], mean[layer, -1:][:, units]
            return torch.cat([special, patch.expand(tokens - len(special), -1)])

        return at


class Donors:
    """Activations of other clips, one per clip of a batch, as replacement values of a change.

    Holds only the given neurons for one batch: B x tokens x neurons values.
    """

    def __init__(self, encoder: Encoder, neurons: Iterable[tuple[int, int]]):
        check(encoder, neurons)
        self._encoder = encoder
        units = units_by_layer(neurons)
        self._units = {layer: torch.tensor(u, device=encoder.device) for layer, u in units.items()}
        self._hidden: dict[int, list[Tensor]] = {}

    @torch.inference_mode()
    def load(self, wave: Tensor) -> None:
        """Run the donors' waveforms (B, samples) and keep their activations."""
        self._hidden = {layer: [] for layer in self._units}

        def hook(layer: int, hidden: Tensor) -> None:
            if layer in self._units:
                self._hidden[layer].append(hidden[..., self._units[layer]])

        with self._encoder.listening(hook):
            self._encoder(wave)

    def __call__(self, layer: int, chunk: int, units: Tensor, tokens: int) -> Tensor:
        kept = self._hidden[layer]
        return kept[chunk % len(kept)][..., torch.searchsorted(self._units[layer], units)]


@torch.inference_mode(False)  # stored tensors are to tell whether they were modified
@torch.no_grad()
def run_changes(
    encoder: Encoder,
    wave: Tensor,
    changes: Sequence[Change] | Indexed,
    values: Mapping[str, Values | None],
    tokens: int | None = None,
) -> Iterator[tuple[int, Tensor]]:
    """Yield frame features (B, T, D) of waveforms (B, samples) under every change and without change.

    Everything below a change's first layer, and that layer up to its hidden activations, is computed once for
    all changes. The outputs equal those of separate forward passes bit for bit, if they are computed one by
    one. If the encoder can run stepwise, memory holds one layer's input and hidden activations, and one
    forward pass; else also the inputs of all blocks (:mod:`~audio_neurons.ablation.replay`).

    Parameters
    ----------
    values
        Replacement → its values, as in :class:`Intervention`.
    tokens
        Of an encoder that runs stepwise: changes of one first layer, gain and replacement are computed in one
        pass of at most so many tokens. A device whose products round by their number of rows then gives other
        last bits, which is told. By default `batching.TOKENS` on a GPU, and one by one on a CPU.

    Yields
    ------
    Number of a change and its features, in order of the changes' first layers; -1 (no change) comes last.
    """
    inputs = encoder.prepared(wave)
    indexed = changes if isinstance(changes, Indexed) else Indexed(encoder, changes)
    changes = indexed.changes
    order = sorted(range(len(changes)), key=lambda i: (_place(changes[i]), i))
    unchanged = [i for i in order if changes[i].first_layer is None]
    changing = order[: len(order) - len(unchanged)]
    if not encoder.stepwise:
        replay = Replay(encoder)
        with replay.first():
            without = encoder.frames(inputs, wave.shape[1])
        for block, own in groupby(changing, lambda i: replay.block(changes[i].first_layer or 0)):
            with replay.within(block):
                for i in own:
                    layers = {layer for layer, _ in changes[i].neurons}
                    one = Intervention.of(indexed, i, values[changes[i].replacement])
                    with one, replay.again(layers):
                        features = encoder.frames(inputs, wave.shape[1])
                    yield i, features
        features = without
    else:
        if tokens is None:
            tokens = TOKENS if encoder.device.type in TOGETHER else 0
        steps = Steps(encoder, indexed, values)
        states = steps.states(inputs)
        at_once = max(1, tokens // max(state.shape[0] * state.shape[1] for state in states))
        of_layer = {layer: list(own) for layer, own in groupby(changing, lambda i: changes[i].first_layer)}
        for layer in range(encoder.depth):
            expanded = steps.expand(layer, states)
            for some in _groups(of_layer.get(layer, []), changes, at_once):
                yield from zip(some, steps.under(some, layer, expanded), strict=True)
            states = steps.project(layer, expanded)
        features = steps.features(encoder.depth, states)
    for i in (*unchanged, -1):
        yield i, features


class Steps:
    """The layers of an encoder that runs stepwise, in its precision."""

    def __init__(self, encoder: Encoder, indexed: Indexed, values: Mapping[str, Values | None]):
        self._encoder, self._indexed, self._values = encoder, indexed, values

    def states(self, inputs: Tensor) -> list[Tensor]:
        with self._encoder.autocast():
            return self._encoder.states(inputs)

    def expand(self, layer: int, states: Sequence[Tensor]) -> list[Expanded]:
        with self._encoder.autocast():
            return [self._encoder.expand(layer, state) for state in states]

    def project(self, layer: int, expanded: Sequence[Expanded]) -> list[Tensor]:
        with self._encoder.autocast():
            return [self._encoder.project(layer, *one) for one in expanded]

    def features(self, layer: int, states: list[Tensor]) -> Tensor:
        """Return frame features from the output of a layer."""
        encoder = self._encoder
        with encoder.autocast():  # once for all layers, since to enter it takes time
            for later in range(layer + 1, encoder.depth):
                states = [encoder.project(later, *encoder.expand(later, state)) for state in states]
            features = encoder.assemble(states)
        return features.float() if encoder.bfloat16 else features

    def under(self, numbers: Sequence[int], layer: int, expanded: Sequence[Expanded]) -> Sequence[Tensor]:
        """Return frame features under each of the changes, given what `expand` returned for their layer."""
        values = self._values[self._indexed.changes[numbers[0]].replacement]
        if len(numbers) == 1:
            with Intervention.of(self._indexed, numbers[0], values):
                return [self.features(layer, self.project(layer, expanded))]
        copies = [
            (_copies(stream, len(numbers)), _copies(hidden, len(numbers))) for stream, hidden in expanded
        ]
        with Together(self._indexed, numbers, values):
            found = self.features(layer, self.project(layer, copies)).tensor_split(len(numbers))
        if self._encoder not in _compared:
            _compared.add(self._encoder)
            (alone,) = self.under(numbers[:1], layer, expanded)
            if not torch.equal(alone, found[0]):
                most = (alone - found[0]).abs().max()
                tell(
                    f"{len(numbers)} changes in one pass: features differ by up to {most:.1g} from those of "
                    "passes of their own, since products round by their number of rows on this device"
                )
        return found


def _copies(tensor: Tensor, count: int) -> Tensor:
    return tensor.expand(count, *tensor.shape).flatten(0, 1)


def _groups(numbers: list[int], changes: Sequence[Change], most: int) -> Iterator[list[int]]:
    """Yield changes that one pass may compute: of one gain and replacement, and at most so many."""
    if most == 1:
        yield from ([number] for number in numbers)
        return
    alike = lambda i: (changes[i].replacement, changes[i].gain)  # noqa: E731
    for _, own in groupby(sorted(numbers, key=alike), alike):
        every = list(own)
        yield from (every[first : first + most] for first in range(0, len(every), most))


def _place(change: Change) -> float:
    return float("inf") if change.first_layer is None else change.first_layer
