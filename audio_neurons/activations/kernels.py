"""GPU kernels (Triton) that read each activation once: counts and peaks of a layer, and the strongest clips.

They give what plain code of :mod:`~audio_neurons.activations.recorder` gives, which holds the definitions. A
third kernel is an activation function that counts what it computes, which costs no read at all.
Triton compiles a kernel at its first call, for which it needs a C compiler and Python's headers. With
``TRITON_INTERPRET=1`` in the environment before Triton is imported, kernels run on the CPU, slowly, which is
how they are tested.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

TOKENS, NEURONS = 32, 128  # of a block of count_peak and activate
CLIPS = 16  # of a block of strongest
LAST = tl.constexpr(2147483647)  # place of a token that does not count, after all others


@triton.jit
def _reduced(x, place, bar, above, best, where, ABSOLUTE: tl.constexpr):
    """Return counts, peaks and their places with a block of activations added."""
    # What is left out is -inf, which stays below every bar; its absolute value would not.
    level = tl.where(x > float("-inf"), tl.abs(x), x) if ABSOLUTE else x
    above += tl.sum((level > bar[None, :]).to(tl.int32), 0)
    top = tl.max(x, 0)
    first = tl.min(tl.where(x == top[None, :], place[:, None], LAST), 0)
    where = tl.where(top > best, first, tl.where(top == best, tl.minimum(first, where), where))
    return above, tl.maximum(top, best), where


@triton.jit
def _store(active, peak, token, above, best, where, inside, seen):
    """Add a run's counts, peaks and places to those of earlier runs."""
    best = tl.where(best == 0, 0.0, best)  # no -0.0, which is as high
    better = inside & (best > tl.load(peak, mask=inside, other=0.0))  # an equal peak keeps the earlier token
    tl.store(active, above + tl.load(active, mask=inside, other=0), mask=inside)
    tl.store(peak, best, mask=better)
    tl.store(token, where.to(tl.int64) + seen, mask=better)


@triton.jit(do_not_specialize=["seen"])
def _count_peak(
    hidden,
    rows,
    heard,
    bars,
    active,
    peak,
    token,
    width,
    seen,
    hidden_clip,
    hidden_token,
    hidden_unit,
    heard_clip,
    heard_token,
    active_clip,
    peak_clip,
    token_clip,
    COUNT: tl.constexpr,
    INDEXED: tl.constexpr,
    HEARD: tl.constexpr,
    ABSOLUTE: tl.constexpr,
    TOKENS: tl.constexpr,
    NEURONS: tl.constexpr,
):
    """Reduce the counted tokens of one clip and ``NEURONS`` neurons, ``TOKENS`` at a time."""
    clip = tl.program_id(1).to(tl.int64)
    unit = tl.program_id(0) * NEURONS + tl.arange(0, NEURONS)
    inside = unit < width
    bar = tl.load(bars + unit, mask=inside, other=float("inf")).to(tl.float32)
    above = tl.zeros([NEURONS], tl.int32)
    best = tl.full([NEURONS], float("-inf"), tl.float32)
    where = tl.zeros([NEURONS], tl.int32)
    for start in range(0, COUNT, TOKENS):
        n = start + tl.arange(0, TOKENS)
        there = n < COUNT
        row = n.to(tl.int64)
        if INDEXED:
            row = tl.load(rows + n, mask=there, other=0)
        if HEARD:
            there = there & (tl.load(heard + clip * heard_clip + n * heard_token, mask=there, other=0) != 0)
        at = clip * hidden_clip + row[:, None] * hidden_token + unit[None, :] * hidden_unit
        x = tl.load(hidden + at, mask=there[:, None] & inside[None, :], other=float("-inf")).to(tl.float32)
        above, best, where = _reduced(x, n, bar, above, best, where, ABSOLUTE)
    active += clip * active_clip + unit
    peak += clip * peak_clip + unit
    token += clip * token_clip + unit
    _store(active, peak, token, above, best, where, inside, seen)


def count_peak(
    active: Tensor,
    peak: Tensor,
    token: Tensor,
    hidden: Tensor,
    counted: slice | Tensor,
    bars: Tensor,
    heard: Tensor | None,
    absolute: bool,
    seen: int,
) -> None:
    """Add the hidden activations (B, N, W) of one run of a layer to its sums.

    Parameters
    ----------
    active, peak, token
        int32, float32 and int64 (B, W): number of active tokens, highest activation, and its first token.
    counted
        Index of the tokens that count, along N; n of them, and none negative.
    bars
        (W,): a neuron is active where its activation, or its absolute value, is above.
    heard
        bool (B, n): counted tokens that are within the recording; by default all.
    seen
        Counted tokens of earlier runs.
    """
    rows = counted if isinstance(counted, Tensor) else None
    if rows is None:
        hidden = hidden[:, counted]
    else:
        rows = rows.to(hidden.device, torch.int64)
    clips, count, width = hidden.shape[0], len(rows) if rows is not None else hidden.shape[1], hidden.shape[2]
    seen_by = heard.view(torch.uint8) if heard is not None else None
    assert {active.stride(1), peak.stride(1), token.stride(1), bars.stride(0)} == {1}
    _count_peak[(triton.cdiv(width, NEURONS), clips)](
        hidden,
        hidden if rows is None else rows,
        hidden if seen_by is None else seen_by,
        bars,
        active,
        peak,
        token,
        width,
        seen,
        *hidden.stride(),
        *(seen_by.stride() if seen_by is not None else (0, 0)),
        active.stride(0),
        peak.stride(0),
        token.stride(0),
        COUNT=count,
        INDEXED=rows is not None,
        HEARD=seen_by is not None,
        ABSOLUTE=absolute,
        TOKENS=TOKENS,
        NEURONS=NEURONS,
        num_warps=4,
    )


@triton.jit
def _activated(x, KIND: tl.constexpr):
    """Return the activation function of float32, by the formulas of PyTorch; NaN stays NaN."""
    if KIND == "gelu":
        return 0.5 * x * (1.0 + tl.erf(x * 0.7071067811865476))
    elif KIND == "gelu_tanh":
        # Small values of 1 + tanh are lost as in PyTorch; x * sigmoid would keep them.
        inner = 0.7978845608028654 * (x + 0.044715 * (x * x * x))
        return 0.5 * x * (1.0 + (2.0 * tl.sigmoid(2.0 * inner) - 1.0))
    elif KIND == "silu":
        return x * tl.sigmoid(x)
    else:
        return tl.where(x <= 0, 0.0, x)


@triton.jit(do_not_specialize=["seen"])
def _activate(
    output,
    hidden,
    places,
    heard,
    bars,
    active,
    peak,
    token,
    width,
    seen,
    output_clip,
    output_token,
    output_unit,
    hidden_clip,
    hidden_token,
    hidden_unit,
    heard_clip,
    heard_token,
    active_clip,
    peak_clip,
    token_clip,
    COUNT: tl.constexpr,
    HEARD: tl.constexpr,
    ABSOLUTE: tl.constexpr,
    KIND: tl.constexpr,
    TOKENS: tl.constexpr,
    NEURONS: tl.constexpr,
):
    """Activate one clip's tokens and ``NEURONS`` neurons, ``TOKENS`` at a time, and reduce what counts."""
    clip = tl.program_id(1).to(tl.int64)
    unit = tl.program_id(0) * NEURONS + tl.arange(0, NEURONS)
    inside = unit < width
    bar = tl.load(bars + unit, mask=inside, other=float("inf")).to(tl.float32)
    above = tl.zeros([NEURONS], tl.int32)
    best = tl.full([NEURONS], float("-inf"), tl.float32)
    where = tl.zeros([NEURONS], tl.int32)
    for start in range(0, COUNT, TOKENS):
        row = start + tl.arange(0, TOKENS)
        there = row < COUNT
        block = there[:, None] & inside[None, :]
        long = row.to(tl.int64)[:, None]
        x = tl.load(
            hidden + clip * hidden_clip + long * hidden_token + unit[None, :] * hidden_unit, mask=block
        )
        y = _activated(x.to(tl.float32), KIND).to(output.dtype.element_ty)
        tl.store(
            output + clip * output_clip + long * output_token + unit[None, :] * output_unit, y, mask=block
        )
        place = tl.load(places + row, mask=there, other=-1)
        counts = place >= 0
        if HEARD:
            at = heard + clip * heard_clip + place * heard_token
            counts = counts & (tl.load(at, mask=counts, other=0) != 0)
        # Counted is what the next layer reads, as it is rounded.
        y = tl.where(counts[:, None] & inside[None, :], y.to(tl.float32), float("-inf"))
        above, best, where = _reduced(y, tl.where(counts, place, LAST), bar, above, best, where, ABSOLUTE)
    active += clip * active_clip + unit
    peak += clip * peak_clip + unit
    token += clip * token_clip + unit
    _store(active, peak, token, above, best, where, inside, seen)


def activate(
    output: Tensor,
    active: Tensor,
    peak: Tensor,
    token: Tensor,
    hidden: Tensor,
    places: Tensor,
    bars: Tensor,
    heard: Tensor | None,
    absolute: bool,
    seen: int,
    kind: str,
) -> None:
    """Apply an activation function to one run of a layer, and add its output to sums as :func:`count_peak`.

    Parameters
    ----------
    output
        (B, N, W): where activations go. It is computed in float32, and rounded to its type.
    hidden
        (B, N, W): what the activation function reads.
    places
        int32 (N,): place of each token among the n that count; -1 if it does not.
    kind
        ``gelu``, ``gelu_tanh``, ``silu`` or ``relu``.
    """
    clips, count, width = hidden.shape
    within = heard.view(torch.uint8) if heard is not None else None
    assert {active.stride(1), peak.stride(1), token.stride(1), bars.stride(0), places.stride(0)} == {1}
    _activate[(triton.cdiv(width, NEURONS), clips)](
        output,
        hidden,
        places,
        places if within is None else within,
        bars,
        active,
        peak,
        token,
        width,
        seen,
        *output.stride(),
        *hidden.stride(),
        *(within.stride() if within is not None else (0, 0)),
        active.stride(0),
        peak.stride(0),
        token.stride(0),
        COUNT=count,
        HEARD=within is not None,
        ABSOLUTE=absolute,
        KIND=kind,
        TOKENS=TOKENS,
        NEURONS=NEURONS,
        num_warps=4,
    )


@triton.jit
def _key(activation, number):
    """Return int64 numbers whose order is that of activations, and among equal ones from the last clip on."""
    bits = tl.where(activation == 0, 0.0, activation).to(tl.int32, bitcast=True)  # -0.0 is 0.0
    # Negative numbers have the sign bit; the larger their other bits, the smaller they are.
    ordered = tl.where(bits < 0, bits ^ 0x7FFFFFFF, bits).to(tl.int64)
    return (ordered << 31) | (0x7FFFFFFF - tl.maximum(number, 0))


@triton.jit(do_not_specialize=["clips"])
def _strongest(
    best_activation,
    best_clip,
    best_token,
    best_active,
    peak,
    token,
    active,
    number,
    clips,
    neurons,
    BATCH: tl.constexpr,
    K: tl.constexpr,
    SLOTS: tl.constexpr,
    NEURONS: tl.constexpr,
    CLIPS: tl.constexpr,
):
    """Put clips in the place of the weakest of the ``K`` best of ``NEURONS`` neurons; ``SLOTS`` >= ``K``."""
    unit = tl.program_id(0) * NEURONS + tl.arange(0, NEURONS).to(tl.int64)
    inside = unit < neurons
    slot = tl.arange(0, SLOTS)
    at = unit[:, None] * K + slot[None, :]
    used = inside[:, None] & (slot < K)[None, :]
    value = tl.load(best_activation + at, mask=used, other=0.0)
    clip = tl.load(best_clip + at, mask=used, other=0)
    where = tl.load(best_token + at, mask=used, other=0)
    count = tl.load(best_active + at, mask=used, other=0)
    # Slots that are not used are never the weakest.
    key = tl.where(used, _key(value, clip), 9223372036854775807)
    weakest = tl.min(key, 1)
    changed = 0
    for first in range(0, BATCH, CLIPS):
        b = first + tl.arange(0, CLIPS)
        known = (b < clips)[:, None] & inside[None, :]
        x = tl.load(peak + b.to(tl.int64)[:, None] * neurons + unit[None, :], mask=known, other=float("-inf"))
        mine = _key(x, tl.load(number + b, mask=b < clips, other=0)[:, None])
        if tl.max(tl.max((known & (mine > weakest[None, :])).to(tl.int32), 1), 0) > 0:
            changed = 1  # rare once many clips were seen
            for place in range(CLIPS):
                one = first + place
                of = one * neurons.to(tl.int64) + unit
                here = inside & (one < clips)
                new = tl.load(peak + of, mask=here, other=float("-inf"))
                its = tl.load(number + one, mask=one < clips, other=0)
                new_key = _key(new, its)
                enters = here & (new_key > weakest)
                # The last of equal keys, which only empty slots have.
                last = tl.max(tl.where(key == weakest[:, None], slot[None, :], -1), 1)
                there = enters[:, None] & (slot[None, :] == last[:, None])
                key = tl.where(there, new_key[:, None], key)
                value = tl.where(there, new[:, None], value)
                clip = tl.where(there, its, clip)
                where = tl.where(there, tl.load(token + of, mask=enters, other=0)[:, None], where)
                count = tl.where(there, tl.load(active + of, mask=enters, other=0)[:, None], count)
                weakest = tl.min(key, 1)
    if changed > 0:
        # Place of each slot in descending order; empty slots, which are equal, stay in theirs.
        mine, other = key[:, :, None], key[:, None, :]
        before = (other > mine) | ((other == mine) & (slot[None, None, :] < slot[None, :, None]))
        before = before & (slot < K)[None, None, :]
        to = unit[:, None] * K + tl.sum(before.to(tl.int32), 2)
        tl.store(best_activation + to, value, mask=used)
        tl.store(best_clip + to, clip, mask=used)
        tl.store(best_token + to, where, mask=used)
        tl.store(best_active + to, count, mask=used)


def strongest(
    best_activation: Tensor,
    best_clip: Tensor,
    best_token: Tensor,
    best_active: Tensor,
    peak: Tensor,
    token: Tensor,
    active: Tensor,
    numbers: Tensor,
) -> None:
    """Add clips to the ``k`` strongest of every neuron, in place, as `recorder.TopClips` does.

    Parameters
    ----------
    best_activation, best_clip, best_token, best_active
        float32, int64, int64 and int32 (L, W, k): the strongest clips in descending order. Registers hold
        them, so ``k`` must be small.
    peak, token, active
        float32, int64 and int32 (B, L, W): a batch, in which what is no neuron is -inf.
    numbers
        int64 (n,): numbers, below 2^31, of the first n of its clips; each clip comes once.
    """
    k = best_activation.shape[2]
    neurons = best_activation.shape[0] * best_activation.shape[1]
    best = best_activation, best_clip, best_token, best_active
    given = *best, peak, token, active, numbers
    assert all(tensor.is_contiguous() for tensor in given)
    slots = triton.next_power_of_2(k)
    block = max(1, min(64, 8192 // slots**2))  # neurons x slots x slots are compared at the end
    _strongest[(triton.cdiv(neurons, block),)](
        *given,
        len(numbers),
        neurons,
        BATCH=len(peak),
        K=k,
        SLOTS=slots,
        NEURONS=block,
        CLIPS=CLIPS,
        num_warps=4,
    )
