"""Copies between host and device that run beside the computation.

On a GPU each direction has a stream of its own. On a CPU nothing is copied.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from audio_neurons.recordings.audio import STEPS


class Transfers:
    """Copies of waveforms to a device, and of results back.

    Use it from one thread, in whose current stream the device computes.
    """

    def __init__(self, device: torch.device):
        self._device = device
        if device.type == "cuda":
            self._to, self._back = torch.cuda.Stream(device), torch.cuda.Stream(device)

    def to_device(self, wave: Tensor) -> Tensor:
        """Return waveforms on the device as float32.

        They come from page-locked memory, as float32 or as int16, whose steps are 1 / `STEPS`.
        """
        if self._device.type == "cuda":
            computing = torch.cuda.current_stream(self._device)
            with torch.cuda.stream(self._to):
                wave = wave.to(self._device, non_blocking=True)
            computing.wait_stream(self._to)
            wave.record_stream(computing)  # allocated in the other stream, which must not reuse it yet
        return wave / STEPS if wave.dtype is torch.int16 else wave

    def to_host(self, tensors: Sequence[Tensor]) -> tuple[list[Tensor], Callable[[], None]]:
        """Return copies of tensors on the host, and what to call, in any thread, before they are read."""
        if self._device.type != "cuda":
            return list(tensors), lambda: None
        self._back.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(self._back):
            copies = [tensor.to("cpu", non_blocking=True) for tensor in tensors]
            for tensor in tensors:
                tensor.record_stream(self._back)
            copied = torch.cuda.Event(blocking=True)  # the thread that waits leaves its core to others
            copied.record(self._back)
        return copies, copied.synchronize
