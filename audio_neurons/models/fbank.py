"""Kaldi's log-mel filterbank for batches of waveforms."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torchaudio.compliance.kaldi import get_mel_banks

from audio_neurons.models.errors import ModelError
from audio_neurons.tables import SAMPLE_RATE

WINDOW, HOP, FFT = 400, 160, 512
LOWEST, PREEMPHASIS = 20.0, 0.97
# Mean and standard deviation over AudioSet, from the training of AST and AudioMAE.
NORM_STATS = (-4.2677393, 4.5689974)


class Fbank(nn.Module):
    """Log-mel filterbank of 25 ms Hann windows every 10 ms, without dither, as AST and AudioMAE use it.

    The result equals that of ``torchaudio.compliance.kaldi.fbank``, which takes one waveform at a time,
    up to rounding.
    """

    filters: Tensor
    window: Tensor

    def __init__(self, bands: int):
        super().__init__()
        banks, _ = get_mel_banks(bands, FFT, SAMPLE_RATE, LOWEST, 0.0, 100.0, -500.0, 1.0)
        # get_mel_banks has no column for the highest frequency of the spectrum.
        self.register_buffer("filters", nn.functional.pad(banks, (0, 1)).T.contiguous())
        self.register_buffer("window", torch.hann_window(WINDOW, periodic=False))

    def forward(self, wave: Tensor) -> Tensor:
        """Convert waveforms (B, samples) to log-mel (B, frames, bands), without an incomplete last window.

        Raises
        ------
        ModelError
            If the waveforms are shorter than one window.
        """
        if wave.shape[1] < WINDOW:
            raise ModelError(f"clips of {wave.shape[1]} samples are shorter than a window of {WINDOW}")
        frames = wave.unfold(1, WINDOW, HOP)
        frames = frames - frames.mean(-1, keepdim=True)
        before = torch.cat([frames[..., :1], frames[..., :-1]], dim=-1)
        spectrum = torch.fft.rfft((frames - PREEMPHASIS * before) * self.window, FFT).abs().square()
        return (spectrum @ self.filters).clamp_min(torch.finfo(torch.float32).eps).log()


def frames(samples: int) -> int:
    """Return the number of frames of a waveform.

    >>> frames(160_000)
    998
    """
    return max(0, 1 + (samples - WINDOW) // HOP)
