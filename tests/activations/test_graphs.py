"""Replay of passes: what is captured, when, and what happens where that fails. A real graph needs a GPU."""

import pytest
import torch
from common import TINY

from audio_neurons import models
from audio_neurons.activations import graphs
from audio_neurons.activations.graphs import COMPARED, WARM, Graphed
from audio_neurons.activations.recorder import Recorder, TopClips

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


@pytest.fixture
def told(monkeypatch):
    lines = []
    monkeypatch.setattr(graphs, "tell", lines.append)
    return lines


def stand_in(function, inputs):
    """Like a graph, with inputs and outputs in places that stay, but run by the function."""
    own = [given.clone() for given in inputs]
    outputs = [output.clone() for output in function(*own)]

    def replay(*given):
        for to, one in zip(own, given, strict=True):
            to.copy_(one)
        for to, one in zip(outputs, function(*own), strict=True):
            to.copy_(one)
        return outputs

    return replay


CAPTURE = None if DEVICE == "cuda" else stand_in


class Counted:
    def __init__(self):
        self.calls = 0

    def __call__(self, x):
        self.calls += 1
        return x * 2, x.sum(1)


def test_what_is_returned_is_what_the_function_returns_and_stays():
    function = Counted()
    graphed, seen = Graphed(function, CAPTURE), []
    for number in range(10):
        x = torch.full((2, 3), float(number), device=DEVICE)
        seen.append((x, graphed(x)))
    for x, (doubled, total) in seen:
        assert torch.equal(doubled, x * 2)
        assert torch.equal(total, x.sum(1))


def test_a_graph_is_captured_after_some_calls_of_its_shapes(told):
    captures = []

    def capture(function, inputs):
        captures.append(tuple(given.shape for given in inputs))
        return stand_in(function, inputs)

    graphed = Graphed(Counted(), capture)
    small, large = torch.ones(1, 3), torch.ones(4, 3)
    for _ in range(WARM):
        graphed(small)
        graphed(large)
    assert not captures
    for _ in range(3):
        graphed(large)
    assert captures == [((4, 3),)]
    graphed(small)
    assert captures == [((4, 3),), ((1, 3),)]
    assert not told


def test_a_capture_that_fails_is_told_once_and_the_function_runs(told):
    def capture(function, inputs):
        raise RuntimeError("operation not permitted when stream is capturing\nCUDA kernel errors might ...")

    function = Counted()
    graphed = Graphed(function, capture)
    for number in range(2 * WARM + COMPARED):
        x = torch.full((2, 3), float(number))
        assert torch.equal(graphed(x)[0], x * 2)
    assert function.calls == 2 * WARM + COMPARED
    assert len(told) == 1
    assert "operation not permitted when stream is capturing)" in told[0]


@pytest.mark.skipif(DEVICE == "cuda", reason="where CUDA is, the capture works")
def test_without_cuda_the_capture_itself_is_refused(told):
    graphed = Graphed(Counted())
    for number in range(WARM + 2):
        x = torch.full((2, 3), float(number))
        assert torch.equal(graphed(x)[0], x * 2)
    assert len(told) == 1
    assert told[0].startswith("passes run without a CUDA graph, which is slower with small batches (")


def test_a_replay_that_does_not_follow_its_inputs_is_found_and_told(told):
    def capture(function, inputs):
        frozen = function(*inputs)
        return lambda *given: frozen

    graphed = Graphed(Counted(), capture)
    for number in range(10):
        x = torch.full((2, 3), float(number))
        assert torch.equal(graphed(x)[0], x * 2)
    assert len(told) == 1
    assert "other numbers" in told[0]


@pytest.mark.parametrize("shorter", [False, True])
def test_a_replayed_recorder_gives_the_same_as_one_that_runs(told, shorter):
    encoder = models.load("tiny", TINY, None).to(DEVICE)
    generator = torch.Generator().manual_seed(0)
    waves = 0.1 * torch.randn(8, 2, 24_000, generator=generator).to(DEVICE)
    ends = torch.randint(1, 24_000, (8, 2), generator=generator)
    results = []
    for capture in (None, CAPTURE or graphs.captured):
        top, own = TopClips(2, 64, 3, DEVICE), []
        with Recorder(encoder, "patch", 0.01, top.floor) as recorder:
            recorder._graphed = Graphed(recorder._run, capture) if capture else None
            for number, wave in enumerate(waves):
                # Every third batch has whole recordings only, which is another graph.
                some = ends[number] if shorter and number % 3 else None
                features, batch = recorder.run(wave, some)
                top.update(batch, torch.arange(2, device=DEVICE) + 2 * number)
                own.append((features, batch.active, batch.peak, torch.tensor(batch.tokens)))
        assert recorder._graphed is None
        results.append((own, top))
    (plain, expected), (found, top) = results
    for mine, other in zip(found, plain, strict=True):
        assert all(map(torch.equal, mine, other))
    assert not torch.equal(plain[0][1], plain[1][1])
    for name in ("activation", "clip", "token", "active"):
        assert torch.equal(getattr(top, name), getattr(expected, name))
    assert not told


def test_a_recorder_on_a_cpu_has_no_graph(encoder):
    with Recorder(encoder) as recorder:
        assert recorder._graphed is None
