from __future__ import annotations

import struct
from contextlib import suppress

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from upstream import sound, tone

from audio_neurons.datasets import headers, opening
from audio_neurons.recordings import audio
from audio_neurons.recordings.audio import AudioError

RATE = 44_100
TONE = tone(seconds=1.0, rate=RATE)
MP3 = sound(TONE, RATE, "MP3")
OTHERS = {kind: sound(TONE, RATE, kind) for kind in ("WAV", "FLAC", "OGG", "AIFF", "CAF")}
NOISE = np.random.default_rng(0).bytes(3000)


def tag(size: int, claimed: int | None = None, footer: bool = False) -> bytes:
    """Return an ID3 tag."""
    digits = [(size if claimed is None else claimed) >> shift & 0x7F for shift in (21, 14, 7, 0)]
    after = b"3DI\4\0\x10" + bytes(digits) if footer else b""
    return b"ID3\4\0" + bytes([0x10 * footer, *digits]) + bytes(size) + after


BEFORE = {
    "200 zeros": bytes(200),
    "5000 zeros": bytes(5000),
    "a tag and zeros": tag(1000) + bytes(200),
    "two tags and zeros": tag(70) + tag(1000, footer=True) + bytes(200),
    "a tag that claims more than the file has": tag(100, claimed=2**27),
    "a tag that claims less than it has": tag(4000, claimed=100),
    "noise": NOISE,
    "an APE tag": b"APETAGEX" + bytes(24) + b"Title\0a song" * 20,
    "a page": b"HTTP/1.1 200 OK\r\nContent-Type: audio/mpeg\r\n\r\n",
    "0xFF for nearly a megabyte": b"\xff" * (opening.SCAN - 10_000),
}


@pytest.mark.parametrize("before", BEFORE)
def test_sound_begins_where_its_first_frame_is(before):
    np.testing.assert_array_equal(audio.decode(BEFORE[before] + MP3), audio.decode(MP3))


@pytest.mark.parametrize("before", [bytes(200), b"\xef\xbb\xbf", tag(1000) + bytes(9), bytes(128) + NOISE])
@pytest.mark.parametrize("kind", OTHERS)
def test_containers_begin_where_their_name_is(kind, before):
    np.testing.assert_array_equal(audio.decode(before + OTHERS[kind]), audio.decode(OTHERS[kind]))


def test_a_tag_before_any_container_is_passed_over():
    np.testing.assert_array_equal(audio.decode(tag(900) + OTHERS["OGG"]), audio.decode(OTHERS["OGG"]))


def test_what_is_recognised_is_not_searched(monkeypatch):
    monkeypatch.setattr(opening, "_beginnings", None)
    for data in (MP3, tag(1000) + MP3, *OTHERS.values()):
        assert len(audio.decode(data)) == 16_000


@pytest.mark.parametrize(
    "data",
    [
        b"<html>not found</html>" * 2000,
        b"junk" + np.random.default_rng(1).bytes(1 << 20),
        b"\xff" * (1 << 20),
        b"junk" + b"\xff\xfb\x90\xc4" * (1 << 18),
        tag(500) + bytes(5000),
        bytes(opening.SCAN + 100) + MP3,  # too far
        bytes(200) + MP3[:900],  # fewer frames than tell it from chance
        bytes(200) + OTHERS["FLAC"][:30],
        tag(10)[:15],
    ],
)
def test_what_is_no_sound_stays_none(data):
    with pytest.raises(AudioError, match="unreadable: Format not recognised"):
        audio.decode(data)


HEADS = {  # header of a frame → bytes of the frame, samples of a frame
    "MPEG-1 layer III, 128 kbit/s, 44.1 kHz": (0xFFFB9064, 417, 1152),
    "the same, padded": (0xFFFB9264, 418, 1152),
    "MPEG-1 layer III, 320 kbit/s, 32 kHz": (0xFFFBE864, 1440, 1152),
    "MPEG-2 layer III, 64 kbit/s, 22.05 kHz": (0xFFF38064, 208, 576),
    "MPEG-2.5 layer III, 8 kbit/s, 8 kHz": (0xFFE318C4, 72, 576),
    "MPEG-1 layer II, 192 kbit/s, 48 kHz": (0xFFFDA4C0, 576, 1152),
    "MPEG-2 layer II, 64 kbit/s, 24 kHz": (0xFFF584C0, 384, 1152),
    "MPEG-1 layer I, 256 kbit/s, 44.1 kHz": (0xFFFF80C0, 276, 384),
    "MPEG-2 layer I, 256 kbit/s, 16 kHz": (0xFFF7E8C0, 768, 384),
}


@pytest.mark.parametrize("name", HEADS)
def test_frames_of_each_kind_are_found(name):
    head, length, samples = HEADS[name]
    silence = 20 * (struct.pack(">I", head) + bytes(length - 4))
    with opening.stream(b"\xff\0" * 50 + silence) as stream, opening.sound(stream) as file:
        assert file.format == "MP3"
        assert f"{file.samplerate / 1000:g} kHz" in name or "padded" in name
        assert 18 * samples <= len(file.read()) <= 20 * samples  # without a decoder's delay


@pytest.mark.parametrize("bad", [0xFFEB9064, 0xFFF99064, 0xFFFB0064, 0xFFFBF064, 0xFFFB9C64, 0x7FFB9064])
def test_undefined_headers_are_no_frames(bad):
    assert not headers.FRAME.match(struct.pack(">I", bad))


@settings(deadline=None, max_examples=50)
@given(st.binary(max_size=600), st.sampled_from([MP3, *OTHERS.values()]), st.integers(0, 3000))
def test_nothing_before_or_missing_is_worse_than_unreadable(before, data, lost):
    with suppress(AudioError):
        assert len(audio.decode(before + data[lost:])) > 0


def test_the_content_decides_and_not_the_name(tmp_path):
    """libsndfile itself reads any text as sound if only its name ends in .au."""
    page = tmp_path / "page.au"
    page.write_bytes(b"<html>not found</html>" * 100)
    assert soundfile.info(page).frames > 2000
    with opening.stream(page) as stream, pytest.raises(soundfile.LibsndfileError):
        opening.sound(stream)
    for name, kind in (("a.mp3", "WAV"), ("a.raw", "FLAC"), ("a", "OGG"), ("a.wav", "AIFF")):
        (tmp_path / name).write_bytes(OTHERS[kind])
        with opening.stream(tmp_path / name) as stream, opening.sound(stream) as file:
            assert (file.format, len(file.read())) == (kind, RATE)
