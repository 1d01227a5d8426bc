from __future__ import annotations

import errno
import io
import os

import numpy as np
import pytest
import soundfile
from upstream import sound, tone

from audio_neurons.datasets import opening
from audio_neurons.recordings import audio
from audio_neurons.recordings.audio import AudioError


def test_sixteen_bit_audio_at_16_khz_survives_bit_by_bit():
    integers = np.random.default_rng(0).integers(-32768, 32768, 4000).astype(np.int16)
    decoded = audio.decode(sound(integers))
    assert decoded.dtype == np.float32
    np.testing.assert_array_equal(decoded * 32768, integers)
    np.testing.assert_array_equal(audio.read(audio.encode(decoded), 4000), decoded)


def test_encoding_clips_to_the_range():
    kept = audio.read(audio.encode(np.array([2.0, 1.0, -1.0, -3.0, 0.25])), 5)
    np.testing.assert_array_equal(kept * 32768, [32767, 32767, -32768, -32768, 8192])


def decibels(samples):
    return 20 * np.log10(np.abs(samples).max())


@pytest.mark.parametrize("subtype", ["FLOAT", "DOUBLE"])
@pytest.mark.parametrize("rate", [16_000, 44_100])
@pytest.mark.parametrize(
    ("gain", "halvings"), [(0.99, 0), (1.01, 1), (2.0, 2), (4.0, 3), (200.0, 8), (300.0, 15), (9000.0, 15),
                           (40_000.0, 16), (2.0**30, 31)],
)  # fmt: skip
def test_beyond_full_scale_the_shape_is_kept(gain, halvings, rate, subtype):
    wave = tone(441, 0.5, rate, gain=1)
    samples, told = audio.decode_scaled(sound(gain * wave, rate, subtype=subtype))
    assert told == halvings
    expected = tone(441, 0.5, gain=gain / 2**halvings)
    np.testing.assert_allclose(samples[500:-500], expected[500:-500], atol=1e-3)
    stored = audio.read(audio.encode(samples), len(samples))
    assert (np.abs(stored - samples)[500:-500] <= 1 / 32768).all()


@pytest.mark.parametrize("bits", [16, 24, 32])
@pytest.mark.parametrize("level", [1.0, 0.01])
def test_integers_in_floats_keep_their_level(bits, level):
    """Loud and quiet recordings of a dataset keep their relation, as if they were stored as integers."""
    full = 2 ** (bits - 1)
    whole = np.rint(level * tone(441, 0.5, gain=full - 256))
    stereo = np.stack([whole, whole - 2 * (whole > 1)], axis=1)
    samples, halvings = audio.decode_scaled(sound(stereo, subtype="DOUBLE"))
    assert halvings == bits - 1
    np.testing.assert_allclose(samples, whole / full, atol=1e-4)


def test_integers_in_floats_that_are_nearly_silent_are_silent():
    noise = np.random.default_rng(0).integers(-2, 3, 16_000).astype(np.float32)
    with pytest.raises(AudioError, match="silent"):
        audio.decode(sound(noise, subtype="FLOAT"))


def test_what_is_within_full_scale_or_overshoots_it_in_decoding_is_not_scaled():
    loud = np.sign(np.random.default_rng(0).uniform(-1, 1, 44_100))
    for kind, subtype in (
        ("WAV", "PCM_16"),
        ("WAV", "FLOAT"),
        ("FLAC", "PCM_24"),
        ("OGG", None),
        ("MP3", None),
    ):
        samples, halvings = audio.decode_scaled(sound(loud, 44_100, kind, subtype))
        assert halvings == 0
        assert np.abs(samples).max() > 1  # clipped by `encode`, as everywhere
    assert audio.decode_scaled(sound(20 * loud, 44_100, "OGG"))[1] > 0


def test_samples_that_no_scale_has_are_refused():
    with pytest.raises(AudioError, match=r"samples of up to 1e\+30, where full scale is 1"):
        audio.decode(sound(_with(tone(), 1e30), subtype="FLOAT"))


@pytest.mark.parametrize("level", [-50, -60, -70, -79])
@pytest.mark.parametrize("subtype", ["FLOAT", "PCM_24"])
def test_quiet_recordings_keep_their_detail(level, subtype):
    wave = tone(441, 0.5, gain=10 ** (level / 20))
    samples = audio.decode(sound(wave, subtype=subtype))
    kept = audio.read(audio.encode(samples), len(samples))
    assert decibels(kept - wave) < -130
    np.testing.assert_array_equal(audio.read(audio.encode(kept), len(kept)), kept)


def test_quiet_integers_are_stored_with_16_bits():
    """As they are; finer samples are stored with 24 bits only where 16 leave less than 8."""
    integers = np.random.default_rng(0).integers(-90, 91, 4000).astype(np.int16)
    for samples, bits in (
        (audio.decode(sound(integers)), 16),
        (tone(gain=2**-8 - 1e-4), 24),
        (tone(gain=2**-7), 16),
    ):
        assert soundfile.info(io.BytesIO(audio.encode(samples))).subtype == f"PCM_{bits}"


# Usual rates, those of field recorders and neural recordings (24,414 Hz), and odd ones.
RATES = [
    *(1000, 8000, 11_025, 15_999, 16_001, 22_050, 24_414, 44_100, 44_101, 48_000, 48_828),
    *(96_000, 192_000, 352_800, 999_983),
]


@pytest.mark.parametrize("rate", RATES)
def test_resampling_keeps_duration_pitch_and_level(rate):
    hertz = min(1000, rate / 4)
    decoded = audio.decode(sound(tone(hertz, 1.0, rate), rate, subtype="FLOAT"))
    assert len(decoded) == 16_000
    # Away from the ends, where the kernel reaches beyond the clip.
    np.testing.assert_allclose(decoded[2000:-2000], tone(hertz, 1.0)[2000:-2000], atol=1e-4)


@pytest.mark.parametrize("rate", [rate for rate in RATES if rate > 17_000])
def test_resampling_keeps_7_khz_and_removes_all_that_would_alias(rate):
    kept = audio.decode(sound(tone(7200, 1.0, rate), rate, subtype="FLOAT"))
    np.testing.assert_allclose(kept[2000:-2000], tone(7200, 1.0)[2000:-2000], atol=1e-3)
    for hertz in (8100, 0.49 * rate):
        both = tone(hertz, 1.0, rate) + tone(500, 1.0, rate, 0.1)
        kept = audio.decode(sound(both, rate, subtype="FLOAT"))
        np.testing.assert_allclose(kept[2000:-2000], tone(500, 1.0, gain=0.1)[2000:-2000], atol=2e-5)


@pytest.mark.parametrize("rate", [*RATES, 100, 10_000_000])
@pytest.mark.parametrize("frames", [1, 2, 441, 5000])
def test_all_that_began_is_kept_of_short_recordings(rate, frames):
    decoded = audio.decode(sound(np.full(frames, 0.5, np.float32), rate))
    assert len(decoded) == -(-frames * 16_000 // rate)


@pytest.mark.parametrize("rate", [24_414, 44_100])
def test_parts_in_which_a_recording_is_read_change_nothing(monkeypatch, rate):
    data = sound(np.random.default_rng(0).uniform(-0.5, 0.5, rate).astype(np.float32), rate)
    whole = audio.decode(data)
    for block in (999, 20_000):
        monkeypatch.setattr(audio, "BLOCK", block)
        np.testing.assert_array_equal(audio.decode(data), whole)


@pytest.mark.parametrize("rate", [0, 1, 99, 10_000_001, 2**31 - 1, 2**31, 2**32 - 1])
def test_rates_that_no_sound_has_are_refused(rate):
    data = bytearray(sound())
    data[24:28] = rate.to_bytes(4, "little")
    with pytest.raises(AudioError, match=r"sampling rate of .* Hz; looked for 100 to 10000000|unreadable"):
        audio.decode(bytes(data))


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "FLOAT"])
def test_sample_formats(subtype):
    np.testing.assert_allclose(audio.decode(sound(tone(), subtype=subtype)), tone(), atol=1 / 120)


@pytest.mark.parametrize(("kind", "subtype"), [("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("AU", "PCM_16")])
def test_containers(kind, subtype):
    decoded = audio.decode(sound(tone(seconds=1.0), kind=kind, subtype=subtype))
    assert np.corrcoef(decoded, tone(seconds=1.0))[0, 1] > 0.99


@pytest.mark.parametrize("reason", ["problem with initialization of the flac decoder.", "malloc () failed."])
def test_no_memory_is_no_fault_of_the_recording(monkeypatch, reason):
    def short(*_, **__):
        raise soundfile.LibsndfileError(1, reason)

    monkeypatch.setattr(soundfile.LibsndfileError, "error_string", reason)
    for function in ("SoundFile", "write", "read"):
        monkeypatch.setattr(soundfile, function, short)
    for job in (lambda: audio.decode(b"x"), lambda: audio.encode(tone()), lambda: audio.read(b"x", 1)):
        with pytest.raises(MemoryError, match=r"flac|malloc"):
            job()


def test_stereo_is_the_mean_of_its_channels():
    left, right = tone(300), tone(700, gain=0.2)
    decoded = audio.decode(sound(np.stack([left, right], 1), subtype="FLOAT"))
    np.testing.assert_allclose(decoded, (left + right) / 2, atol=1e-7)
    with pytest.raises(AudioError, match="silent"):
        audio.decode(sound(np.stack([left, -left], 1)))


def test_very_short_clips_are_kept_and_padded():
    decoded = audio.decode(sound(tone(seconds=0.01, rate=44_100), 44_100))
    assert len(decoded) == 160
    padded = audio.read(audio.encode(decoded), 1000)
    assert padded.shape == (1000,)
    assert padded.dtype == np.float32
    assert not padded[160:].any()
    np.testing.assert_allclose(padded[:160], decoded, atol=1 / 32768)


def test_reading_crops_from_the_start():
    flac = audio.encode(tone(seconds=1.0))
    np.testing.assert_array_equal(audio.read(flac, 100), audio.read(flac, 16_000)[:100])


def test_decoding_stops_at_the_given_length():
    long = sound(tone(seconds=2.0, rate=44_100), 44_100)
    assert len(audio.decode(long, 0.5)) == 8_000
    assert len(audio.decode(long, 60)) == 32_000


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "OGG", "MP3"])
@pytest.mark.parametrize("seconds", [0.3, None])
def test_a_file_and_its_content_give_the_same(tmp_path, kind, seconds):
    (tmp_path / "a").write_bytes(sound(tone(seconds=1.0, rate=44_100), 44_100, kind))
    content = audio.decode((tmp_path / "a").read_bytes(), seconds)
    np.testing.assert_array_equal(audio.decode(tmp_path / "a", seconds), content)
    (tmp_path / "b").write_bytes(bytes(200) + (tmp_path / "a").read_bytes())
    np.testing.assert_array_equal(audio.decode(tmp_path / "b", seconds), content)


def test_files_that_are_none_say_why(tmp_path):
    os.mkfifo(tmp_path / "pipe.wav")
    (tmp_path / "empty.wav").touch()
    for name in ("pipe.wav", "empty.wav", "gone.wav", ".", "\0.wav", "empty.wav/a.wav"):
        with pytest.raises(AudioError, match="missing, or an empty file"):
            audio.decode(tmp_path / name)
    (tmp_path / "page.wav").write_bytes(b"no sound at all")
    with pytest.raises(AudioError, match="unreadable: Format not recognised"):
        audio.decode(tmp_path / "page.wav")
    (tmp_path / "pointer.wav").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(AudioError, match="Git LFS pointer"):
        audio.decode(tmp_path / "pointer.wav")
    with pytest.raises(AudioError, match="cannot be opened: File name too long"):
        audio.decode(tmp_path / f"{'a' * 300}.wav")


def test_files_that_the_machine_does_not_open_are_no_fault_of_the_recording(tmp_path, monkeypatch):
    (tmp_path / "a.wav").write_bytes(sound())

    def refuse(number):
        def opened(*_, **__):
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(opening, "open", opened, raising=False)

    refuse(errno.EACCES)
    with pytest.raises(AudioError, match="cannot be opened: Permission denied"):
        audio.decode(tmp_path / "a.wav")
    refuse(errno.EMFILE)
    with pytest.raises(OSError, match="Too many open files"):
        audio.decode(tmp_path / "a.wav")


def _with(samples, value):
    samples = samples.copy()
    samples[10] = value
    return samples


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "missing"),
        (b"no sound at all", "unreadable"),
        (b"\x00" * 4000, "unreadable"),
        (sound()[:20], "unreadable"),
        (sound(kind="FLAC")[:60], "unreadable|no samples"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 72862\n", "Git LFS pointer"),
        (sound(np.zeros(0, np.float32)), "no samples"),
        (sound(np.zeros(1600, np.float32)), "silent"),
        (sound(tone(gain=0.9e-4), subtype="FLOAT"), "silent"),
        (sound(_with(tone(), np.nan), subtype="FLOAT"), "NaN"),
        (sound(_with(tone(), np.inf), subtype="FLOAT"), "infinite"),
    ],
)
def test_unusable_recordings_say_why(data, reason):
    with pytest.raises(AudioError, match=reason):
        audio.decode(data)


def test_quiet_recordings_are_not_silent():
    assert len(audio.decode(sound(tone(gain=1.5e-4), subtype="FLOAT")))


@pytest.mark.parametrize("data", [b"", b"nothing", sound(tone(rate=8_000), 8_000)])
def test_only_prepared_clips_are_read_back(data):
    with pytest.raises(AudioError):
        audio.read(data, 100)


# Other sampling rates than 16 kHz


@pytest.mark.parametrize("rate", [8000, 16_000, 32_000, 44_100, 48_000])
def test_recordings_are_resampled_from_the_original_to_the_rate_that_is_asked_for(rate):
    samples, _ = audio.decode_scaled(sound(tone(3000, 1.0, rate), rate, subtype="FLOAT"), rate=32_000)
    assert len(samples) == 32_000
    np.testing.assert_allclose(samples[4000:-4000], tone(3000, 1.0, 32_000)[4000:-4000], atol=1e-3)
    stored = audio.encode(samples, 32_000)
    assert soundfile.info(io.BytesIO(stored)).samplerate == 32_000
    np.testing.assert_allclose(audio.read(stored, 32_000, 32_000), samples, atol=1 / 32768)
    with pytest.raises(AudioError, match=r"not a prepared clip at 16000 Hz: 32000 Hz"):
        audio.read(stored, 16_000)


def test_what_16_khz_does_not_have_is_kept_at_32():
    high = sound(tone(12_000, 1.0, 44_100) + tone(500, 1.0, 44_100, 0.1), 44_100, subtype="FLOAT")
    samples, _ = audio.decode_scaled(high, rate=32_000)
    expected = tone(12_000, 1.0, 32_000) + tone(500, 1.0, 32_000, 0.1)
    np.testing.assert_allclose(samples[4000:-4000], expected[4000:-4000], atol=1e-3)


def test_the_same_recordings_are_silent_at_every_rate():
    """What is above 8 kHz alone is no clip at 16 kHz, hence none at 32: models are compared on one set."""
    high = sound(tone(12_000, 1.0, 44_100) * np.hanning(44_100), 44_100, subtype="FLOAT")
    for rate in (16_000, 32_000):
        with pytest.raises(AudioError, match="silent"):
            audio.decode_scaled(high, rate=rate)
    loud = sound(8 * tone(500, 1.0, 44_100), 44_100, subtype="FLOAT")
    assert len({audio.decode_scaled(loud, rate=rate)[1] for rate in (16_000, 32_000, 44_100)}) == 1
