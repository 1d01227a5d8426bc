"""Audio files and archives whose bytes depend only on their content."""

from __future__ import annotations

import gzip
import io
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from math import gcd
from pathlib import Path

import numpy as np
import soundfile
from scipy.signal import resample_poly

from audio_neurons.running.files import atomic
from audio_neurons.synthesis.waves import RATE

MOMENT = 1_577_836_800  # modification time of every member: 2020-01-01T00:00:00Z
Add = Callable[[str, bytes], None]


def at_rate(audio: np.ndarray, rate: int) -> np.ndarray:
    """Resample ``audio`` (16 kHz) to another rate."""
    if rate == RATE:
        return audio
    factor = gcd(rate, RATE)
    return np.clip(resample_poly(audio, rate // factor, RATE // factor), -1, 1)


def pcm(audio: np.ndarray) -> np.ndarray:
    """Convert samples to 16-bit integers."""
    return np.round(audio * 32767).astype("<i2")


def wav(audio: np.ndarray, rate: int = RATE) -> bytes:
    """Encode 16 kHz audio as a WAV file, mono, 16 bit, resampled to ``rate``."""
    data = pcm(at_rate(audio, rate)).tobytes()
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, rate, 2 * rate, 2, 16)
    return (
        struct.pack("<4sI4s", b"RIFF", 36 + len(data), b"WAVE")
        + form
        + struct.pack("<4sI", b"data", len(data))
        + data
    )


def flac(audio: np.ndarray) -> bytes:
    """Encode 16 kHz audio as a FLAC file, mono, 16 bit."""
    file = io.BytesIO()
    soundfile.write(file, pcm(audio), RATE, format="FLAC", subtype="PCM_16")
    return file.getvalue()


def ogg(audio: np.ndarray, rate: int) -> bytes:
    """Encode 16 kHz audio as an Ogg Vorbis file, mono, resampled to ``rate``."""
    file, sound = io.BytesIO(), at_rate(audio, rate)
    with soundfile.SoundFile(file, "w", rate, 1, format="OGG", subtype="VORBIS") as writer:
        for start in range(0, len(sound), 8192):  # libsndfile overflows its stack on long writes
            writer.write(sound[start : start + 8192])
    return _same_serial(file.getvalue())


_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def _ogg_checksum(page: bytes) -> int:
    """Return Ogg's CRC-32: zlib's polynomial with reversed bits, without inverting the register."""
    crc = zlib.crc32(page.translate(_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{crc:032b}"[::-1], 2)


def _same_serial(file: bytes) -> bytes:
    """Set the stream's serial number, which libsndfile draws from the clock, to 1 on every page."""
    pages, at = [], 0
    while at < len(file):
        segments = file[at + 26]
        size = 27 + segments + sum(file[at + 27 : at + 27 + segments])
        page = (
            file[at : at + 14]
            + struct.pack("<I", 1)
            + file[at + 18 : at + 22]
            + bytes(4)
            + file[at + 26 : at + size]
        )
        pages.append(page[:22] + struct.pack("<I", _ogg_checksum(page)) + page[26:])
        at += size
    return b"".join(pages)


@contextmanager
def archive(path: Path) -> Iterator[Add]:
    """Write a ``.zip``, ``.tar``, ``.tar.gz`` or ``.tgz`` through ``add(name, data)``, atomically.

    Members carry fixed times, owners and modes. Add them sorted by name.
    """
    with atomic(path) as temporary, open(temporary, "wb") as file, packed(file, path.name) as add:
        yield add


@contextmanager
def packed(file: io.IOBase, name: str) -> Iterator[Add]:
    """Write an archive as :func:`archive` does, into an open file; ``name`` determines the format."""
    with ExitStack() as stack:
        if name.endswith(".zip"):
            target = stack.enter_context(zipfile.ZipFile(file, "w", zipfile.ZIP_STORED))

            def add(name: str, data: bytes) -> None:
                member = zipfile.ZipInfo(name, (2020, 1, 1, 0, 0, 0))
                member.external_attr, member.create_system = 0o644 << 16, 3
                target.writestr(member, data)
        else:
            if name.endswith(("gz", "tgz")):  # an empty name and a fixed time: reproducible header
                file = stack.enter_context(gzip.GzipFile("", "wb", 1, file, MOMENT))
            tar = stack.enter_context(tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT))

            def add(name: str, data: bytes) -> None:
                member = tarfile.TarInfo(name)
                member.size, member.mtime, member.mode = len(data), MOMENT, 0o644
                tar.addfile(member, io.BytesIO(data))

        yield add


def lines(rows: Iterable[str]) -> bytes:
    """Encode rows as UTF-8 text, each ended by a line feed."""
    return "".join(f"{row}\n" for row in rows).encode()


def text(path: Path, rows: Iterable[str]) -> None:
    """Write rows of text atomically."""
    with atomic(path) as temporary:
        temporary.write_bytes(lines(rows))
