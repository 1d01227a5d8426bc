"""Copies between host and device; the streams need a GPU."""

import numpy as np
import torch

from audio_neurons.activations.transfers import Transfers
from audio_neurons.recordings import audio

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def test_all_integers_of_16_bits_become_the_samples_that_are_decoded_as_float():
    steps = np.arange(-32768, 32768).astype(np.int16)
    flac = audio.encode(steps / np.float32(audio.STEPS))
    samples, integers = audio.read(flac, len(steps)), audio.read(flac, len(steps), integers=True)
    assert integers.dtype == np.int16
    np.testing.assert_array_equal(integers, steps)
    found = Transfers(DEVICE).to_device(torch.from_numpy(integers))
    assert found.dtype == torch.float32
    assert found.device.type == DEVICE.type
    assert torch.equal(found.cpu(), torch.from_numpy(samples))


def test_samples_of_finer_steps_stay_as_they_are():
    quiet = (np.random.default_rng(0).normal(0, 1e-4, 1000)).astype(np.float32)
    flac = audio.encode(quiet)
    samples, read = audio.read(flac, 1200), audio.read(flac, 1200, integers=True)
    assert read.dtype == np.float32
    np.testing.assert_array_equal(read, samples)
    assert not np.array_equal(samples * audio.STEPS, np.rint(samples * audio.STEPS))
    assert torch.equal(Transfers(DEVICE).to_device(torch.from_numpy(read)).cpu(), torch.from_numpy(samples))


def test_results_come_back_as_they_were_even_if_their_memory_is_used_again():
    transfers = Transfers(DEVICE)
    kept = []
    for number in range(5):
        values = torch.arange(200_000, device=DEVICE, dtype=torch.float32) + number
        kept.append(transfers.to_host([values, values.int()]))
        del values
    for number, (copies, wait) in enumerate(kept):
        wait()
        expected = torch.arange(200_000) + number
        assert torch.equal(copies[0], expected.float())
        assert torch.equal(copies[1], expected.int())
