"""Shared computation between passes of any encoder: calls of modules are not repeated with the same input.

A pass under a change calls most modules with what they were called with before: all below the first changed
network. Such a call returns the stored output. That an input is the same is checked, not supposed: it is the
very tensor of the earlier pass, unmodified, or has the same bits. The outputs are therefore those of a pass
of its own, whatever an encoder does between its modules, in any precision.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from audio_neurons.models.encoder import Encoder

NUMBERED = (nn.ModuleList, nn.Sequential)


class Replay:
    """Stored calls of an encoder's modules, with the same input in every pass.

    Calls of whole blocks, and of what is beside them (convolutions, embeddings), are stored in a
    :meth:`first` pass. Those of the parts of one block are stored in passes :meth:`within` it, so that passes
    that begin to differ in that block share what comes before. Memory holds the inputs and outputs of all
    blocks, and those of the parts of one.
    """

    def __init__(self, encoder: Encoder):
        self._modules = dict(encoder.named_modules())
        self._networks = list(encoder.networks())
        self._blocks = [self._block(name) for name in self._networks]
        outside = {name for block in self._blocks for name in _above(block)}
        self._names = [name for name in self._modules if name not in outside]
        self._calls: dict[tuple[str, int], Call] = {}
        self._within = ""

    def block(self, layer: int) -> str:
        """Return the name of the block of a feed-forward network: the innermost module of a list with it."""
        return self._blocks[layer]

    @contextmanager
    def first(self) -> Iterator[None]:
        """Store the calls of one pass without change."""
        with self._patched(self._names, lambda name: True):
            yield

    @contextmanager
    def within(self, block: str) -> Iterator[None]:
        """Share also the parts of a block between passes :meth:`again`."""
        self._within = f"{block}."
        try:
            yield
        finally:
            for key in [key for key in self._calls if key[0].startswith(self._within)]:
                del self._calls[key]

    @contextmanager
    def again(self, layers: Iterable[int]) -> Iterator[None]:
        """Replay what is stored, in one pass under a change of networks ``layers``."""
        changed = {
            name for layer in layers for name in (self._networks[layer], *_above(self._networks[layer]))
        }
        names = [name for name in self._names if name not in changed]
        with self._patched(names, lambda name: name.startswith(self._within)):
            yield

    def _block(self, name: str) -> str:
        for above in (name, *_above(name)):
            if above and isinstance(self._modules[above.rpartition(".")[0]], NUMBERED):
                return above
        return name

    @contextmanager
    def _patched(self, names: Iterable[str], stores: Callable[[str], bool]) -> Iterator[None]:
        """Replay and store calls of these modules, but for those that others of them make."""
        runs: Counter[str] = Counter()
        self._inside = False
        modules = [(name, self._modules[name]) for name in names]
        before = [(module, module.__dict__.get("forward")) for _, module in modules]
        for name, module in modules:
            module.forward = self._forward(name, module.forward, runs, stores(name))
        try:
            yield
        finally:
            self._inside = False
            for module, own in before:
                if own is None:
                    del module.forward
                else:
                    module.forward = own

    def _forward(
        self, name: str, forward: Callable[..., Any], runs: Counter[str], stores: bool
    ) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            if self._inside:
                return forward(*args, **kwargs)
            key = name, runs[name]
            runs[name] += 1
            stored = self._calls.get(key)
            if stored is not None and stored.repeated(args, kwargs):
                return stored.output
            self._inside = True
            output = forward(*args, **kwargs)
            self._inside = False
            if stores:
                self._calls[key] = Call.of(args, kwargs, output)
            return output

        return call


def _above(name: str) -> Iterator[str]:
    """Yield the names of the modules that a module is in, the innermost first."""
    while name:
        name = name.rpartition(".")[0]
        yield name


@dataclass(frozen=True)
class Call:
    """A module's input and output, and how often each of their tensors had been modified."""

    inputs: tuple[Any, ...]
    output: Any
    versions: tuple[int, ...]

    @classmethod
    def of(cls, args: tuple, kwargs: Mapping, output: Any) -> Call:
        inputs = tuple(_kept(one) for one in _flat((args, kwargs)))
        return cls(inputs, output, _versions((inputs, output)))

    def repeated(self, args: tuple, kwargs: Mapping) -> bool:
        """Return whether a call with this input has this output, which nothing has modified since."""
        given = list(_flat((args, kwargs)))
        return (
            len(given) == len(self.inputs)
            and _versions((self.inputs, self.output)) == self.versions
            and all(_same(a, b) for a, b in zip(self.inputs, given, strict=True))
        )


def _flat(value: Any) -> Iterator[Any]:
    """Yield the leaves of nested sequences and mappings, and what they are nested in."""
    if isinstance(value, Mapping):
        yield tuple(value)
        for one in value.values():
            yield from _flat(one)
    elif isinstance(value, (tuple, list)):
        yield len(value)
        for one in value:
            yield from _flat(one)
    else:
        yield value


def _kept(value: Any) -> Any:
    """Return a value to compare with later; a copy of tensors that do not count their modifications."""
    return value.clone() if isinstance(value, Tensor) and value.is_inference() else value


def _versions(value: Any) -> tuple[int, ...]:
    return tuple(
        one._version if not one.is_inference() else -1 for one in _flat(value) if isinstance(one, Tensor)
    )


def _same(a: Any, b: Any) -> bool:
    if a is b:
        return True
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        alike = a.shape == b.shape and a.dtype == b.dtype and a.device == b.device
        return alike and torch.equal(a, b)
    return isinstance(a, (bool, int, float, str, tuple)) and type(a) is type(b) and a == b
