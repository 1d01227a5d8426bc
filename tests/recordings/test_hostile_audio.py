"""Unusual sound files through preparation and a forward pass, and files with wrong headers."""

from __future__ import annotations

import csv
import struct
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from upstream import sound, tone

from audio_neurons import tables
from audio_neurons.activations import extraction
from audio_neurons.recordings import audio, preparation
from audio_neurons.settings.extraction import Pass

# libsndfile seeks to offsets of damaged headers; soundfile reports that as an unraisable exception.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


def noise(seconds: float, rate: int, channels: int = 1, gain: float = 0.3) -> np.ndarray:
    samples = gain * np.random.default_rng(0).standard_normal((round(seconds * rate), channels))
    return samples.clip(-1, 1).astype(np.float32)


def spoilt(value: float) -> np.ndarray:
    samples = noise(1, 16_000)
    samples[100] = value
    return samples


HOUR = 3600
USABLE = {  # file content, and number of frames at 16 kHz
    "10 ms": (sound(noise(0.01, 44_100), 44_100), 160),
    "one sample": (sound(np.full(1, 0.5, np.float32)), 1),
    "one hour": (sound(np.tile(noise(1, 8000), (HOUR, 1)), 8000, subtype="PCM_U8"), 60 * 16_000),
    "8 channels": (sound(noise(1, 48_000, 8), 48_000), 16_000),
    "8 bits": (sound(noise(1, 8000), 8000, subtype="PCM_U8"), 16_000),
    "192 kHz": (sound(noise(1, 192_000), 192_000, subtype="PCM_24"), 16_000),
    "24,414 Hz": (sound(noise(1, 24_414), 24_414), 16_000),
    "clipped": (sound(np.sign(tone(seconds=1.0))), 16_000),
    "beyond full scale": (sound(5 * tone(seconds=1.0), subtype="FLOAT"), 16_000),
}
UNUSABLE = {
    "no samples": (sound(np.zeros(0, np.float32)), "no samples"),
    "silent": (sound(np.zeros(16_000, np.float32)), "silent"),
    "NaN": (sound(spoilt(np.nan), subtype="FLOAT"), "NaN or infinite samples"),
    "infinite": (sound(spoilt(-np.inf), subtype="FLOAT"), "NaN or infinite samples"),
    "infinite together": (sound(np.full((100, 8), 3e38, np.float32), subtype="FLOAT"), "NaN or infinite"),
}


def test_every_odd_clip_is_prepared_and_measured_or_refused_with_the_reason(tmp_path, encoder):
    given = {**USABLE, **UNUSABLE}
    for name, (data, _) in given.items():
        (tmp_path / f"{name}.wav").write_bytes(data)
    with open(tmp_path / "list.csv", "w", newline="") as file:
        csv.writer(file).writerows(
            [("path", "split", "kind"), *((f"{name}.wav", "train", name) for name in given)]
        )
    clips, rejected = tmp_path / "clips.parquet", tmp_path / "rejected.parquet"
    preparation.prepare("custom", {"files": tmp_path / "list.csv"}, [clips], rejected, max_rejected=0.5)
    frames = tables.read(clips, "clips").set_index("kind")["frames"].to_dict()
    assert frames == {name: length for name, (_, length) in USABLE.items()}
    refused = tables.read(rejected, "rejected").set_index("clip_id")["reason"].to_dict()
    assert refused.keys() == {f"{name}.wav" for name in UNUSABLE}
    assert all(reason in refused[f"{name}.wav"] for name, (_, reason) in UNUSABLE.items())

    extraction.extract(encoder, clips, tmp_path, tmp_path / "e.parquet", Pass(clip_seconds=1.0))
    embeddings = tables.read(tmp_path / "e.parquet", "embeddings")
    assert len(embeddings) == len(USABLE)
    assert np.isfinite(np.stack(embeddings["embedding"])).all()
    counts = tables.read(tmp_path / "counts.parquet", "counts")
    cells = tables.read(tmp_path / "cells.parquet", "cells").set_index("cell")
    assert (counts["active"] <= counts["cell"].map(cells["tokens"])).all()


def test_channels_of_a_long_recording_are_averaged_in_parts(monkeypatch):
    data = sound(noise(0.5, 16_000, 3), subtype="FLOAT")
    whole = audio.decode(data)
    for block in (1, 700, 24_000):
        monkeypatch.setattr(audio, "BLOCK", block)
        np.testing.assert_array_equal(audio.decode(data), whole)


# Headers


def wav(
    tag: int, channels: int, rate: int, width: int, bits: int, riff: int, size: int, rest: bytes
) -> bytes:
    facts = struct.pack("<HHIIHH", tag, channels, rate, (rate * width) % 2**32, width, bits)
    chunks = b"WAVEfmt " + struct.pack("<I", len(facts)) + facts + b"data" + struct.pack("<I", size)
    return b"RIFF" + struct.pack("<I", riff) + chunks + rest


few, many = st.integers(0, 2**16 - 1), st.integers(0, 2**32 - 1)
rates = st.sampled_from([0, 1, 8000, 16_000, 44_100, 2**31 - 1, 2**31, 2**32 - 1]) | st.integers(0, 400_000)


@settings(deadline=None, max_examples=150)
@given(
    tag=st.sampled_from([1, 2, 3, 6, 7, 17, 0x55, 0xFFFE]) | few,
    channels=st.integers(0, 9) | few,
    rate=rates,
    width=st.integers(0, 32) | few,
    bits=st.sampled_from([0, 1, 8, 12, 16, 24, 32, 64]) | few,
    riff=many,
    size=st.integers(0, 4000) | many,
    rest=st.binary(max_size=300).map(lambda data: data * 7),
)
def test_no_header_of_a_wav_is_worse_than_unusable(**header):
    refused_or_sound(wav(**header))


KINDS = [("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("AIFF", "PCM_16"), ("AU", "PCM_16"), ("CAF", "PCM_16")]
WHOLE = [sound(kind=kind, subtype=subtype) for kind, subtype in KINDS]


@settings(deadline=None, max_examples=100)
@given(
    st.sampled_from(WHOLE),
    st.lists(st.tuples(st.integers(0, 80), st.sampled_from([0, 1, 127, 128, 255])), min_size=1, max_size=4),
    st.integers(0, 2000),
)
def test_no_damage_to_a_header_is_worse_than_unusable(data, changes, cut):
    changed = bytearray(data)
    for place, value in changes:
        changed[place] = value
    refused_or_sound(bytes(changed[: len(data) - cut]))


def refused_or_sound(data: bytes) -> None:
    try:
        samples = audio.decode(data, 60.0)
    except audio.AudioError:
        return
    assert samples.dtype == np.float32
    assert 0 < len(samples) <= 60 * 16_000
    assert np.isfinite(samples).all()
    assert len(audio.read(audio.encode(samples), len(samples))) == len(samples)


def vm_peak() -> int:
    """Return the peak memory of this process, in bytes."""
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) << 10 for line in status.splitlines() if line.startswith("VmPeak"))


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="memory is read from /proc")
@pytest.mark.parametrize("claimed", [2**31 - 1, 2**36 - 1])
def test_a_header_that_promises_terabytes_takes_no_memory(claimed):
    flac = bytearray(sound(kind="FLAC"))
    before = vm_peak()
    facts = int.from_bytes(flac[18:26], "big")  # rate, channels, bits, and 36 bits of frames
    flac[18:26] = ((facts >> 36 << 36) | claimed).to_bytes(8, "big")
    with suppress(audio.AudioError):
        assert len(audio.decode(bytes(flac))) == 1600
    assert vm_peak() - before < 200 << 20
