"""What a header says and what the file holds are not the same."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
import soundfile
from upstream import sound

from audio_neurons.datasets import headers, opening
from audio_neurons.recordings import audio
from audio_neurons.recordings.audio import AudioError

RATE = 16_000
NOISE = np.random.default_rng(0).normal(0, 0.1, 10 * RATE).astype(np.float32)
HALF = np.concatenate([NOISE, 0 * NOISE])  # of many bits, then of few: the bit rate varies


def mp3(samples: np.ndarray, mode: str = "CONSTANT") -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, RATE, format="MP3", bitrate_mode=mode, compression_level=0.5)
    return file.getvalue()


def without_first_frame(data: bytes) -> bytes:
    return data[headers.frame(int.from_bytes(data[:4], "big"))[1] :]


def decoded(data: bytes) -> tuple[np.ndarray, list[str]]:
    notes: list[str] = []
    return audio.decode_scaled(data, notes=notes)[0], notes


def frames(data) -> int:
    with opening.stream(data) as stream, opening.sound(stream) as file:
        return file.frames


# MP3


def test_mp3_of_varying_bit_rate_without_a_header_is_read_to_its_end(tmp_path):
    whole = mp3(HALF, "VARIABLE")
    assert b"Xing" in whole[:100]
    bare = without_first_frame(whole)
    assert soundfile.SoundFile(io.BytesIO(bare)).frames < 0.6 * len(HALF)  # what libsndfile supposes
    (tmp_path / "a.mp3").write_bytes(bare)
    for data in (bare, tmp_path / "a.mp3"):
        samples, notes = decoded(data)
        assert len(samples) == pytest.approx(len(HALF), abs=1200)
        assert frames(data) == len(samples)
        assert notes == []
    # The sound is that of the file with its header, less the encoder's delay, which the header tells.
    expected = audio.decode(whole)
    late = max(range(1200), key=lambda n: np.dot(samples[n : n + RATE], expected[:RATE]))
    np.testing.assert_allclose(samples[late : late + RATE], expected[:RATE], atol=1e-3)


def test_mp3_of_one_bit_rate_needs_no_header():
    data = without_first_frame(mp3(NOISE))
    file = io.BytesIO(data)
    assert headers.repair_mpeg(file, 0) == headers.Repair()
    with soundfile.SoundFile(io.BytesIO(data)) as plain:
        np.testing.assert_array_equal(audio.decode(data), plain.read(dtype="float32"))


@pytest.mark.parametrize("between", [b"", bytes(300), b"ID3\4\0\0\0\0\0\x50" + bytes(80)])
def test_mp3_files_that_are_joined_are_read_to_the_end_and_told(between):
    one = mp3(NOISE)
    samples, notes = decoded(one + between + one)
    assert len(samples) == pytest.approx(2 * len(NOISE), abs=3000)
    assert notes == ["its header says 10.1 s, and it has 20.2"]
    np.testing.assert_allclose(samples[: 9 * RATE], audio.decode(one)[: 9 * RATE], atol=1e-6)


def test_mp3_that_ends_early_is_told():
    whole = mp3(HALF, "VARIABLE")
    samples, notes = decoded(whole[: len(whole) // 2])
    assert 2 * RATE < len(samples) < 8 * RATE
    assert notes[0].startswith("its header says 20.1 s, and it has ")


def test_mp3_whose_header_is_right_is_opened_as_it_is(monkeypatch):
    monkeypatch.setattr(headers, "_count", None)
    for mode in ("CONSTANT", "VARIABLE"):
        data = mp3(HALF, mode)
        assert len(audio.decode(data)) == len(HALF)
        assert len(audio.decode(data + b"TAG" + bytes(125))) == len(HALF)


# WAV and AU


def wav(size: int | None = None, riff: int | None = None, order: str = "<", after: bytes = b"") -> bytes:
    file = io.BytesIO()
    soundfile.write(file, NOISE, RATE, format="WAV", endian="BIG" if order == ">" else "LITTLE")
    data = bytearray(file.getvalue() + after)
    place = data.find(b"data") + 4
    if size is not None:
        data[place : place + 4] = struct.pack(f"{order}I", size)
    if riff is not None:
        data[4:8] = struct.pack(f"{order}I", riff)
    return bytes(data)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("riff", [None, 0, 0xFFFFFFFF, 36])
@pytest.mark.parametrize("size", [0, 0x7FFFFFFF, 0xFFFFFFFF, 100_000])
def test_a_wav_whose_recorder_was_interrupted_is_read_to_its_end(size, riff, order, tmp_path):
    data = wav(size, riff, order)
    (tmp_path / "a.wav").write_bytes(data)
    samples, notes = decoded(tmp_path / "a.wav")
    np.testing.assert_array_equal(samples, audio.decode(wav(order=order)))
    told = {0: ["its header says 0 s, and it has 10"], 100_000: ["its header says 3.12 s, and it has 10"]}
    assert notes == told.get(size, [])


@pytest.mark.parametrize(
    "after", [b"LIST" + struct.pack("<I", 9000) + bytes(9000), bytes(9000), b"\0" * 3 + b"x" * 20]
)
def test_chunks_and_padding_behind_the_sound_are_none(after):
    samples, notes = decoded(wav(after=after))
    assert len(samples) == len(NOISE)
    assert notes == []


def test_a_wav_of_more_channels_than_its_header_says_is_refused():
    data = bytearray(sound(np.stack([NOISE, NOISE], 1), RATE))
    data[22:24] = struct.pack("<H", 1)
    with pytest.raises(
        AudioError, match=r"contradicts itself: 1 channel\(s\) of 16 bits are 2 bytes, but .* 4"
    ):
        audio.decode(bytes(data))
    for subtype in ("PCM_U8", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW", "IMA_ADPCM", "MS_ADPCM"):
        for samples in (NOISE, np.stack([NOISE] * 2, 1), np.stack([NOISE] * 3, 1)):
            if "ADPCM" not in subtype or samples.ndim == 1:
                for kind in ("WAV", "WAVEX", "RF64"):
                    if kind == "WAV" or "ADPCM" not in subtype:
                        found, notes = decoded(sound(samples, RATE, kind, subtype))
                        assert (len(found), notes) == (pytest.approx(len(NOISE), abs=2048), [])


def test_an_au_whose_header_says_that_it_is_empty_is_read():
    data = bytearray(sound(NOISE, RATE, "AU"))
    data[8:12] = bytes(4)
    samples, notes = decoded(bytes(data))
    np.testing.assert_array_equal(samples, audio.decode(sound(NOISE, RATE, "AU")))
    assert notes == ["its header says that it is empty: it is read to its end"]


@pytest.mark.parametrize("kind", ["WAV", "AU", "AIFF", "RF64", "W64"])
def test_files_that_end_early_are_used_and_told(kind):
    data = sound(NOISE, RATE, kind)
    samples, notes = decoded(data[: len(data) // 2])
    np.testing.assert_array_equal(samples, audio.decode(data)[: len(samples)])
    assert len(samples) == pytest.approx(len(NOISE) / 2, abs=100)
    assert len(notes) == 1
    assert notes[0].startswith("its header says ")
    assert decoded(data)[1] == []


# FLAC and Ogg


@pytest.mark.parametrize("damage", ["cut", "zeros"])
def test_flac_is_read_up_to_its_damage_and_told(damage, tmp_path):
    data = sound(NOISE, RATE, "FLAC")
    half = len(data) // 2
    (tmp_path / "a.flac").write_bytes(
        data[:half] + (b"" if damage == "cut" else bytes(99) + data[half + 99 :])
    )
    samples, notes = decoded(tmp_path / "a.flac")
    np.testing.assert_array_equal(samples, audio.decode(data)[: len(samples)])
    assert 0.4 * len(NOISE) < len(samples) <= 0.55 * len(NOISE)
    assert notes == [f"damaged: {len(samples) / RATE:.4g} of 10 s can be read"]
    # What is kept may end before the damage.
    assert len(audio.decode(tmp_path / "a.flac", 2.0)) == 2 * RATE
    with pytest.raises(AudioError, match="unreadable"):
        audio.decode(data[:200] + bytes(len(data) - 200))


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_links_of_an_ogg_file_are_read_one_after_the_other(subtype):
    one = sound(NOISE, RATE, "OGG", subtype)
    samples, notes = decoded(one * 3)
    assert (frames(one * 3), notes) == (3 * frames(one), [])
    np.testing.assert_allclose(samples, np.tile(audio.decode(one), 3), atol=1e-5)
    with opening.stream(one * 3) as stream, opening.sound(stream) as file:
        for place in (0, 25 * RATE, 12 * RATE, 10 * RATE - 1, 29 * RATE):
            assert file.seek(place) == file.tell() == place
            np.testing.assert_allclose(
                file.read(100, dtype="float32"), samples[place : place + 100], atol=0.1
            )
        file.seek(28 * RATE)
        assert len(file.read()) == 2 * RATE
        assert file.tell() == file.frames


def test_links_of_another_rate_are_told():
    other = sound(NOISE, 8_000, "OGG")
    samples, notes = decoded(sound(NOISE, RATE, "OGG") + other)
    assert len(samples) == len(NOISE)
    assert notes == ["1 of its 2 streams have another rate"]


def test_ogg_that_ends_early_is_told():
    data = sound(np.tile(NOISE, 3), RATE, "OGG")
    samples, notes = decoded(data[: len(data) // 2])
    assert 0 < len(samples) < 0.6 * 3 * len(NOISE)
    assert notes == ["it ends in the middle of a page"]


# Formats of other systems, and what is not read


@pytest.mark.parametrize(
    ("kind", "endian"),
    [("AU", "BIG"), ("AU", "LITTLE"), ("WAV", "BIG"), ("RF64", None), ("W64", None), ("CAF", None),
     ("AIFF", "LITTLE"), ("AIFF", "BIG"), ("NIST", None), ("IRCAM", None), ("VOC", None), ("SVX", None)],
)  # fmt: skip
def test_formats_of_other_systems_and_orders_of_bytes_are_read(kind, endian):
    file = io.BytesIO()
    soundfile.write(file, NOISE, RATE, "PCM_16", endian, format=kind)
    np.testing.assert_array_equal(audio.decode(file.getvalue()), audio.decode(sound(NOISE, RATE)))


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (bytes(3) + b"\x20ftypM4A \0\0\0\0", r"MP4 \(AAC in \.m4a, \.mp4, \.3gp\)"),
        (bytes(3) + b"\x18ftyp3gp5", r"MP4 \(AAC"),
        (b"\xff\xf1\x50\x80\x43\xff", "AAC"),
        (b"#!AMR\n", "AMR"),
        (b"\x1a\x45\xdf\xa3", "WebM"),
        (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "Windows Media"),
    ],
)
def test_sound_of_kinds_that_are_not_read_says_how_to_convert_it(tmp_path, head, kind):
    (tmp_path / "a b.m4a").write_bytes(head + NOISE.tobytes())
    with pytest.raises(
        AudioError, match=rf"^{kind}.* is not read here; convert it: ffmpeg -i 'a b\.m4a' FILE\.wav"
    ):
        audio.decode(tmp_path / "a b.m4a")


def test_companions_of_macos_are_named():
    with pytest.raises(AudioError, match="a companion file of macOS, not the recording itself"):
        audio.decode(b"\0\x05\x16\x07\0\x02\0\0Mac OS X        " + bytes(100))
