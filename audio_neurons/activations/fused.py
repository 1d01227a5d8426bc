"""Activation functions of encoders that one kernel can compute together with the statistics of their output.

The kernel (`kernels.activate`) reads what the activation function reads, so that counting costs no read of
its own. Its last bits may differ from PyTorch's, within :func:`alike`. Layers whose activation function is no
module of a known kind, or not the last step before the down-projection (gated networks), are left out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from audio_neurons.activations.trusted import OTHER, attempt
from audio_neurons.models.encoder import Encoder

# Kinds of activation functions by the name that the kernel knows.
KINDS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": functional.gelu,
    "gelu_tanh": partial(functional.gelu, approximate="tanh"),
    "silu": functional.silu,
    "relu": functional.relu,
}
EXACT = 2.0**-21  # of the input: four steps of float32, in which exp, erf and tanh are computed


# Counts, peaks, and the first tokens of these, of a batch or of a layer in it.
Sums = tuple[Tensor, Tensor, Tensor]


class Layer(NamedTuple):
    """A layer's activation function, its kind, and the type of its output."""

    module: nn.Module
    kind: str
    dtype: torch.dtype


def _activate(*given: Any) -> None:
    from audio_neurons.activations import kernels  # Triton is there on Linux only

    kernels.activate(*given)


def layers(encoder: Encoder, wave: Tensor) -> dict[int, Layer]:
    """Return the layers whose activation function the kernel can replace, found by encoding waveforms.

    The output of such a module is the very tensor that the down-projection reads: dropout, which does nothing
    here, may lie between. It serves one layer only, and is a function of single values of a known kind.
    """
    leaves = [
        module
        for module in encoder.modules()
        if not any(module.children()) and not module._parameters and not module._buffers
    ]
    last: tuple[nn.Module, Tensor, Tensor] | None = None
    calls: Counter[nn.Module] = Counter()
    read: dict[int, Counter[nn.Module | None]] = {}
    types: dict[nn.Module, torch.dtype] = {}

    def made(module: nn.Module, inputs: tuple, options: dict, output: object) -> None:
        nonlocal last
        calls[module] += 1
        alone = len(inputs) == 1 and not options
        if alone and isinstance(output, Tensor) and output is not inputs[0]:
            last = module, inputs[0], output
        elif output is not inputs[0]:
            last = None

    def reads(layer: int, hidden: Tensor) -> None:
        own = last is not None and last[2] is hidden and hidden.ndim == 3 and hidden.shape == last[1].shape
        module = last[0] if own and last is not None else None
        read.setdefault(layer, Counter())[module] += 1
        if module is not None:
            types[module] = hidden.dtype

    handles = [module.register_forward_hook(made, with_kwargs=True) for module in leaves]
    try:
        with encoder.listening(reads), torch.inference_mode():
            encoder(wave)
    finally:
        for handle in handles:
            handle.remove()
    found = {}
    for layer, modules in read.items():
        (module, runs), *others = modules.items()
        if module is None or others or calls[module] != runs or "forward" in module.__dict__:
            continue
        if kind := kind_of(module, encoder.device):
            found[layer] = Layer(module, kind, types[module])
    return found


@torch.inference_mode()
def kind_of(module: nn.Module, device: torch.device) -> str | None:
    """Return which of `KINDS` a module computes, if any, by its values between -12 and 12."""
    grid = torch.linspace(-12, 12, 24_577, device=device).view(1, 1, -1)
    output = module(grid.clone())
    if not isinstance(output, Tensor) or output.shape != grid.shape or output.dtype is not grid.dtype:
        return None
    return next((kind for kind, known in KINDS.items() if alike(output, known(grid), grid)), None)


def alike(one: Tensor, other: Tensor, given: Tensor) -> bool:
    """Whether activations of ``given`` differ by no more than one step of their type.

    To it comes `EXACT`, for activation functions that are rounded differently in float32.
    """
    step = torch.finfo(other.dtype).eps * other.float().abs() + EXACT * given.float().abs()
    return bool(((one.float() - other.float()).abs() <= step).all())


def problem(
    layer: Layer,
    given: Tensor,
    made: Tensor,
    sums: Sums,
    inputs: Sequence[object],
    plain: Callable[[Tensor, Sums], object],
) -> str:
    """Return what speaks against the kernel for one run of a layer; empty if nothing does.

    Parameters
    ----------
    given, made
        What the activation function reads, and its output.
    sums
        The layer's sums so far; they stay as they are.
    inputs
        Further inputs of the kernel, without the kind.
    plain
        Adds activations to sums by plain code.
    """
    output, own = torch.empty_like(given, dtype=layer.dtype), _copied(sums)
    if failed := attempt(_activate, output, *own, given, *inputs, layer.kind):
        return failed
    if not alike(output, made, given):
        return f"{type(layer.module).__name__} rounds otherwise, by more than a step"
    expected = _copied(sums)
    plain(output, expected)
    return "" if all(map(torch.equal, own, expected)) else f"the GPU's kernel {OTHER}"


def _copied(sums: Sums) -> Sums:
    active, peak, token = (one.clone() for one in sums)
    return active, peak, token


def run(layer: Layer, given: Tensor, sums: Sums, inputs: Sequence[object]) -> Tensor:
    """Return the activations, and add them to the sums."""
    output = torch.empty_like(given, dtype=layer.dtype)
    _activate(output, *sums, given, *inputs, layer.kind)
    return output


@contextmanager
def replaced(by: Mapping[nn.Module, Callable[[Tensor], Tensor]]) -> Iterator[None]:
    """Compute modules by other functions within the context."""
    for module, function in by.items():
        module.forward = function
    try:
        yield
    finally:
        for module in by:
            del module.forward
