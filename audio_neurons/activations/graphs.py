"""Replay of passes as CUDA graphs, which take the host as little time as one operation."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from audio_neurons.running.runtime import tell

WARM, COMPARED = 3, 2  # passes before the capture, and replays that are compared with a pass

Tensors = tuple[Tensor, ...]
Function = Callable[..., Tensors]


class Graphed:
    """A function of tensors on a GPU that is captured once its shapes are known, and then replayed.

    The first calls of each combination of shapes run the function, so that libraries choose their algorithms
    and kernels are compiled. The next ones replay its graph and run the function too. Where the capture
    fails, or a replay gives other bits, that is told once, and the function runs in all further calls.

    Parameters
    ----------
    function
        It must do the same operations whatever its inputs hold, and must not wait for the GPU.
    capture
        Returns a replay of the function, whose outputs the next replay overwrites.
    """

    def __init__(self, function: Function, capture: Callable[[Function, Tensors], Function] | None = None):
        self._function, self._capture = function, capture or captured
        self._calls: dict[tuple, int] = {}
        self._replays: dict[tuple, Function] = {}
        self._refused = False

    def __call__(self, *inputs: Tensor) -> Tensors:
        """Return what the function returns; outputs belong to the caller."""
        shapes = tuple((given.shape, given.dtype) for given in inputs)
        done = self._calls[shapes] = self._calls.get(shapes, 0) + 1
        if self._refused or done <= WARM:
            return self._function(*inputs)
        if shapes not in self._replays:
            try:
                self._replays[shapes] = self._capture(self._function, inputs)
            except RuntimeError as error:  # PyTorch's and CUDA's, of all kinds
                return self._refuse(str(error).strip().partition("\n")[0], inputs)
        found = tuple(output.clone() for output in self._replays[shapes](*inputs))
        if done <= WARM + COMPARED:
            expected = self._function(*inputs)
            if not all(map(torch.equal, found, expected)):
                return self._refuse("a replay gives other numbers; please report that", inputs)
        return found

    def _refuse(self, problem: str, inputs: Tensors) -> Tensors:
        self._refused = True
        self._replays.clear()
        tell(f"passes run without a CUDA graph, which is slower with small batches ({problem})")
        return self._function(*inputs)


def captured(function: Function, inputs: Tensors) -> Function:
    """Return a replay of a function as a CUDA graph, whose outputs the next replay overwrites."""
    own = tuple(given.clone() for given in inputs)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    # Other threads copy results meanwhile, which must not spoil the capture.
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        outputs = function(*own)

    def replay(*given: Tensor) -> Tensors:
        for to, one in zip(own, given, strict=True):
            to.copy_(one)
        graph.replay()
        return outputs

    return replay
