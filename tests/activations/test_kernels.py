"""Kernels for GPUs, against plain code: on a GPU if there is one, else in Triton's interpreter."""

import os
import subprocess
import sys

import pytest
import torch
from common import ROOT, TINY

pytest.importorskip("triton", reason="Triton is there on Linux only")

from audio_neurons import models
from audio_neurons.activations import kernels, recorder
from audio_neurons.activations.recorder import Batch, Recorder, TopClips
from audio_neurons.activations.trusted import Trusted

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def drawn(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def sums(clips, width, layers=3):
    shape = clips, layers, width
    peak = torch.full(shape, -torch.inf, device=DEVICE)
    return (
        torch.zeros(shape, dtype=torch.int32, device=DEVICE),
        peak,
        torch.zeros(shape, dtype=torch.int64, device=DEVICE),
    )


def by_definition(chunks, bars, absolute):
    """Counts, peaks and their first tokens over chunks, each (B, n, W), in which -inf does not count."""
    whole = torch.cat(chunks, 1)
    level = whole.abs().where(whole > -torch.inf, whole) if absolute else whole
    active = (level > bars).sum(1, dtype=torch.int32)
    first = (whole == whole.amax(1, keepdim=True)).float().argmax(1)
    peak = whole.float().amax(1)
    return active, peak, first.where(peak > -torch.inf, torch.zeros_like(first))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("absolute", [False, True])
@pytest.mark.parametrize(
    ("tokens", "width", "runs", "counted"),
    [
        (1, 40, 1, slice(None)),
        (33, 200, 1, slice(1, None)),
        (161, 128, 2, slice(1, None)),
        (20, 130, 3, slice(2, 19)),
        (50, 64, 2, torch.tensor([0, 49, 7, 20, 21, 3])),
        (1500, 16, 1, slice(0, 1500)),
    ],
)
def test_counts_and_peaks_are_those_of_the_definition(tokens, width, runs, counted, absolute, dtype):
    found, chunks, seen = sums(2, width), [], 0
    # Steps of an eighth, so that peaks are equal, and values equal bars; some are -0.0.
    bars = ((drawn(1, width) * 8).round() / 8).to(DEVICE)
    for run in range(runs):
        hidden = ((drawn(2 + run, 2, tokens, width) * 8).round() / 8).to(DEVICE, dtype)
        own = hidden[:, counted]
        heard = (drawn(9 + run, 2, own.shape[1]) > -0.5).to(DEVICE) if run != 1 else None
        kernels.count_peak(*(s[:, 1] for s in found), hidden, counted, bars, heard, absolute, seen)
        chunks.append(own if heard is None else own.masked_fill(~heard[..., None], -torch.inf))
        seen += own.shape[1]
    for mine, expected in zip(found, by_definition(chunks, bars, absolute), strict=True):
        assert torch.equal(mine[:, 1], expected)
    for mine, untouched in zip(found, sums(2, width), strict=True):
        assert torch.equal(mine[:, ::2], untouched[:, ::2])


@pytest.mark.parametrize("heard", [0, 5])
def test_clips_of_which_little_is_heard(heard):
    found, hidden = sums(2, 48), drawn(0, 2, 70, 48).to(DEVICE)
    within = (torch.arange(70) < heard).expand(2, 70).to(DEVICE)
    kernels.count_peak(
        *(s[:, 0] for s in found), hidden, slice(None), torch.zeros(48, device=DEVICE), within, False, 0
    )
    chunk = hidden.masked_fill(~within[..., None], -torch.inf)
    for mine, expected in zip(found, by_definition([chunk], 0.0, False), strict=True):
        assert torch.equal(mine[:, 0], expected)


def test_a_hidden_layer_that_is_not_contiguous():
    found, hidden = sums(2, 24), drawn(0, 24, 2, 9).to(DEVICE).permute(1, 2, 0)
    bars = torch.zeros(24, device=DEVICE)
    kernels.count_peak(*(s[:, 2] for s in found), hidden, slice(1, None), bars, None, False, 0)
    for mine, expected in zip(found, by_definition([hidden[:, 1:]], bars, False), strict=True):
        assert torch.equal(mine[:, 2], expected)


@pytest.mark.parametrize(("k", "clips", "size"), [(1, 20, 7), (3, 2, 2), (5, 40, 17), (32, 40, 20)])
def test_strongest_clips_are_those_of_plain_code(k, clips, size):
    """With ties, -0.0, neurons that no clip excites, and layers of unequal widths."""
    generator = torch.Generator().manual_seed(k)
    shape = clips, 2, 21
    peak = torch.randint(-3, 4, shape, generator=generator).float() / 4
    peak[(peak == 0) & (torch.rand(shape, generator=generator) < 0.5)] = -0.0
    present = torch.ones(2, 21, dtype=torch.bool)
    present[1, 17:] = False
    peak[:, ~present] = -torch.inf
    peak[1:9, 0, 5] = -torch.inf
    token = torch.randint(0, 1500, shape, generator=generator)
    active = torch.randint(0, 1500, shape, generator=generator).int()
    plain = TopClips(2, 21, k, present=present)
    best = [one.clone().to(DEVICE) for one in (plain.activation, plain.clip, plain.token, plain.active)]
    for part in torch.randperm(clips, generator=generator).split(size):
        rows = torch.nn.functional.pad(part, (0, size - len(part)))  # the last batch is filled up
        batch = Batch(active[rows], 1500, peak[rows], token[rows])
        plain.update(batch, part)
        given = (batch.peak, batch.peak_token, batch.active, part)
        kernels.strongest(*best, *(one.to(DEVICE) for one in given))
    for mine, expected in zip(best, (plain.activation, plain.clip, plain.token, plain.active), strict=True):
        assert torch.equal(mine.cpu(), expected)


@pytest.fixture
def with_kernels(monkeypatch):
    """Recorders use kernels on the CPU too, as on a GPU."""
    told = []
    monkeypatch.setattr("audio_neurons.activations.trusted.tell", told.append)
    monkeypatch.setattr(recorder, "_counting", Trusted("counts", recorder._count_peak))
    monkeypatch.setattr(recorder, "_inserting", Trusted("clips", recorder._insert))

    def use(kernels):
        monkeypatch.setattr(recorder, "SEARCHED", () if kernels else ("cpu",))

    return use, told


def whole(encoder, threshold, absolute, ends):
    """Strongest clips, and all batches, of six clips in two batches."""
    strongest = TopClips(encoder.depth, encoder.width, 3, encoder.device, encoder.present)
    wave, batches = 0.1 * drawn(0, 8, 24_000).to(encoder.device), []
    with (
        torch.inference_mode(),
        Recorder(encoder, "patch", threshold, strongest.floor, absolute) as recording,
    ):
        for part in torch.arange(8).split(4):
            recording.begin(wave[part], ends[part] if ends is not None else None)
            encoder(wave[part])
            batches.append(recording.end())
            size = 4 if part[-1] < 7 else 2
            strongest.update(batches[-1], part[:size].to(encoder.device))
    return strongest, batches


@pytest.mark.parametrize(
    ("precision", "absolute", "shorter", "per_neuron"),
    [
        ("fp32", False, False, False),
        ("fp32", True, True, True),
        ("bf16", False, True, False),
        ("bf16", True, False, False),
        ("bf16", False, False, True),
    ],
)
def test_a_recorder_gives_the_same_with_kernels(with_kernels, precision, absolute, shorter, per_neuron):
    use, told = with_kernels
    encoder = models.load("tiny", TINY, None)
    if DEVICE == "cuda":
        encoder.cuda()
    encoder.bfloat16 = precision == "bf16"
    threshold = 0.01 * drawn(3, 2, 64).abs().to(DEVICE) if per_neuron else 0.01
    ends = torch.tensor([24_000, 10_240, 5_000, 1] * 2) if shorter else None
    use(False)
    expected, batches = whole(encoder, threshold, absolute, ends)
    use(True)
    found, mine = whole(encoder, threshold, absolute, ends)
    assert not told
    assert recorder._counting._compared
    assert recorder._inserting._compared
    for name in ("activation", "clip", "token", "active"):
        assert torch.equal(getattr(found, name), getattr(expected, name))
    for one, other in zip(mine, batches, strict=True):
        assert torch.equal(one.active, other.active)
        assert torch.equal(one.peak, other.peak)
        assert one.tokens == other.tokens


def fails(*given):
    raise RuntimeError("Python.h: No such file or directory\nin a file of Triton")


def gives_other_numbers(*given):
    given[0].add_(1)


@pytest.mark.parametrize(
    ("kernel", "reason"),
    [(fails, "RuntimeError: Python.h: No such file"), (gives_other_numbers, "other numbers")],
)
def test_plain_code_stands_in_for_a_kernel_that_does_not_work_and_that_is_told_once(
    with_kernels, monkeypatch, kernel, reason
):
    use, told = with_kernels
    encoder = models.load("tiny", TINY, None)
    use(False)
    expected, _ = whole(encoder, 0.0, False, None)
    use(True)
    monkeypatch.setattr(recorder, "_counting", Trusted("counts", kernel))
    found, _ = whole(encoder, 0.0, False, None)
    assert torch.equal(found.clip, expected.clip)
    assert torch.equal(found.active, expected.active)
    assert len(told) == 1
    assert told[0].startswith("counts: by slower code, with the same numbers")
    assert reason in told[0]


COMPILE = """
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from audio_neurons.activations import fused, kernels

def types(kernel, given, constant):
    return {n: given.get(n, "constexpr") for n in kernel.arg_names}, constant

wide = {"rows": "*i64", "heard": "*u8", "bars": "*fp32", "active": "*i32", "peak": "*fp32", "token": "*i64"}
short = "width seen hidden_clip hidden_token heard_clip active_clip peak_clip token_clip".split()
constant = {"hidden_unit": 1, "heard_token": 1, "COUNT": 600, "INDEXED": True, "HEARD": True}
constant |= {"ABSOLUTE": True, "TOKENS": kernels.TOKENS, "NEURONS": kernels.NEURONS}
activate = {"places": "*i32", "heard": "*u8", "active": "*i32", "peak": "*fp32", "token": "*i64"}
strides = ["output_clip", "output_token", *short]
fixed = {"output_unit": 1, "hidden_unit": 1, "heard_token": 1, "COUNT": 1500}
fixed |= {"TOKENS": kernels.TOKENS, "NEURONS": kernels.NEURONS}
best = {"best_activation": "*fp32", "best_clip": "*i64", "best_token": "*i64", "best_active": "*i32"}
best |= {"peak": "*fp32", "token": "*i64", "active": "*i32", "number": "*i64"}
best |= dict.fromkeys(["clips", "neurons"], "i32")
sizes = {"BATCH": 32, "K": 5, "SLOTS": 8, "NEURONS": 64, "CLIPS": kernels.CLIPS}
for card in (75, 80, 90):
    for dtype, full in (("fp32", True), ("bf16", True), ("bf16", False)):
        given = {"hidden": "*" + dtype, **wide, **dict.fromkeys(short, "i32")}
        given |= {} if full else {"bars": "*bf16"}
        flags = constant | dict.fromkeys(["INDEXED", "HEARD", "ABSOLUTE"], full)
        source = ASTSource(kernels._count_peak, *types(kernels._count_peak, given, flags))
        assert triton.compile(source, target=GPUTarget("cuda", card, 32)).asm["cubin"]
    # All kinds for one card, and the one with most of libdevice for all.
    for kind in fused.KINDS if card == 80 else ["gelu"]:
        for dtype, full in (("fp32", True), ("bf16", False))[kind != "gelu" :]:
            given = dict.fromkeys(["output", "hidden", "bars"], "*" + dtype) | activate
            given |= dict.fromkeys(strides, "i32")
            flags = fixed | {"HEARD": full, "ABSOLUTE": full, "KIND": kind}
            source = ASTSource(kernels._activate, *types(kernels._activate, given, flags))
            assert triton.compile(source, target=GPUTarget("cuda", card, 32)).asm["cubin"]
    source = ASTSource(kernels._strongest, *types(kernels._strongest, best, sizes))
    assert triton.compile(source, target=GPUTarget("cuda", card, 32)).asm["cubin"]
"""


def test_kernels_compile_for_cards_that_are_not_here(tmp_path):
    """Turing, Ampere and Hopper; Triton brings NVIDIA's assembler."""
    own = {"TRITON_CACHE_DIR": str(tmp_path), "PYTHONPATH": str(ROOT)}
    environment = {**os.environ, **own}
    environment.pop("TRITON_INTERPRET", None)
    subprocess.run([sys.executable, "-c", COMPILE], env=environment, check=True)
