"""Interventions on neurons during the forward pass, and shared computation for many changes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby

import torch
from torch import Tensor
from torch.utils.hooks import RemovableHandle

from audio_neurons.ablation.changes import Change, units_by_layer
from audio_neurons.ablation.replay import Replay
from audio_neurons.models.encoder import Encoder

# (layer, number of the audio chunk, units (k,), tokens N) → values that broadcast to (B, N, k).
Values = Callable[[int, int, Tensor, int], Tensor]


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
        check(encoder, change.neurons)
        self._layers = encoder.down_projections()
        self._gain, self._values = change.gain, values
        units = units_by_layer(change.neurons) if change.first_layer is not None else {}
        self._units = {layer: torch.tensor(u, device=encoder.device) for layer, u in units.items()}
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
    encoder: Encoder, wave: Tensor, changes: Sequence[Change], values: Mapping[str, Values | None]
) -> Iterator[tuple[int, Tensor]]:
    """Yield frame features (B, T, D) of waveforms (B, samples) under every change and without change.

    Everything below a change's first layer, and that layer up to its hidden activations, is computed once for
    all changes. The outputs equal those of separate forward passes bit for bit. If the encoder can run
    stepwise, memory holds one layer's input and hidden activations, and one change's forward pass; else, and
    in bfloat16, also the inputs of all blocks (:mod:`~audio_neurons.ablation.replay`).

    Parameters
    ----------
    values
        Replacement → its values, as in :class:`Intervention`.

    Yields
    ------
    Number of a change and its features, in order of the changes' first layers; -1 (no change) comes last.
    """
    inputs = encoder.prepared(wave)
    order = sorted(range(len(changes)), key=lambda i: (_place(changes[i]), i))
    contexts = {i: (encoder, changes[i], values[changes[i].replacement]) for i in order}
    unchanged = [i for i in order if changes[i].first_layer is None]
    if not encoder.stepwise or encoder.bfloat16:  # autocast covers only whole passes
        replay = Replay(encoder)
        with replay.first():
            without = encoder.frames(inputs, wave.shape[1])
        changing = order[: len(order) - len(unchanged)]
        for block, own in groupby(changing, lambda i: replay.block(changes[i].first_layer or 0)):
            with replay.within(block):
                for i in own:
                    layers = {layer for layer, _ in changes[i].neurons}
                    with Intervention(*contexts[i]), replay.again(layers):
                        features = encoder.frames(inputs, wave.shape[1])
                    yield i, features
        features = without
    else:
        waiting, states = iter(order), encoder.states(inputs)  # changes without effect match no layer
        depth, this = encoder.depth, next(waiting, None)
        for layer in range(depth):
            expanded = [encoder.expand(layer, state) for state in states]
            while this is not None and changes[this].first_layer == layer:
                with Intervention(*contexts[this]):
                    features = _from(encoder, layer, expanded, depth)
                yield this, features
                this = next(waiting, None)
            states = [encoder.project(layer, *one) for one in expanded]
        features = encoder.assemble(states)
    for i in (*unchanged, -1):
        yield i, features


def _place(change: Change) -> float:
    return float("inf") if change.first_layer is None else change.first_layer


def _from(encoder: Encoder, layer: int, expanded: list[tuple[Tensor, Tensor]], depth: int) -> Tensor:
    """Return frame features, given the output of :meth:`Encoder.expand` for a layer, per chunk."""
    states = [encoder.project(layer, *one) for one in expanded]
    for later in range(layer + 1, depth):
        states = [encoder.project(later, *encoder.expand(later, state)) for state in states]
    return encoder.assemble(states)
