"""Opening of sound files: the content decides the format, also where something stands before it.

libsndfile looks for a format at the first byte (after an ID3 tag), and falls back on the file's name. This
module gives it no name: a name may be wrong, may be missing, and makes libsndfile read any file called
``.au`` as sound. What is not recognised is searched for its beginning instead.
"""

from __future__ import annotations

import io
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

import soundfile

SCAN = 1 << 20  # bytes in which the beginning of the sound is looked for
CHAIN = 3  # MPEG frames, each where the one before it ends, that tell sound from chance
# Third bytes of a frame: not the bit rates and sampling rates that are not defined.
_THIRD = b"".join(b"\\x%x0-\\x%xb" % (kbits, kbits) for kbits in range(1, 15))
# First bytes of WAV, AIFF, CAF, FLAC and Ogg, and of a frame of MPEG audio.
CONTAINER = re.compile(
    rb"(?:RIFF|RIFX|RF64)....WAVE|FORM....AIF[FC]|caff\x00\x01|fLaC\x00|OggS\x00", re.DOTALL
)
FRAME = re.compile(rb"\xff(?=[\xe2-\xe7\xf2-\xf7\xfa-\xff][%b])" % _THIRD)

# Of MPEG audio: kbit/s by (MPEG-1 or not, layer) and index, and Hz by version and index.
_LOW = (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_KBITS = {
    (True, 1): tuple(range(32, 449, 32)),
    (True, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): _LOW,
    (False, 3): _LOW,
}
_RATES = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}


@contextmanager
def stream(data: bytes | Path) -> Iterator[BinaryIO]:
    """Open the content of a recording, or the file that has it, for reading.

    Raises
    ------
    FileNotFoundError
        If there is no content, or no regular file (a pipe would wait for ever), or it is empty.
    OSError
        If it cannot be opened.
    """
    if isinstance(data, bytes):
        if not data:
            raise FileNotFoundError
        with io.BytesIO(data) as content:
            yield content
        return
    try:
        facts = os.stat(data)
    except (FileNotFoundError, NotADirectoryError, ValueError) as error:
        raise FileNotFoundError(str(data)) from error
    if not stat.S_ISREG(facts.st_mode) or not facts.st_size:
        raise FileNotFoundError(str(data))
    # Without a buffer: libsndfile reads from where the file descriptor is.
    with open(data, "rb", buffering=0) as file:
        yield cast(BinaryIO, file)


def sound(file: BinaryIO) -> soundfile.SoundFile:
    """Open a sound file in a stream of `stream`, which is at its start.

    Raises
    ------
    soundfile.LibsndfileError
        If it holds no sound that libsndfile reads.
    """
    try:
        # By descriptor, libsndfile reads by itself: without Python, and only what is asked for.
        return soundfile.SoundFile(file.fileno() if isinstance(file, io.FileIO) else file, closefd=False)
    except soundfile.LibsndfileError:
        for start in _beginnings(file):
            try:
                return soundfile.SoundFile(_From(file, start))
            except soundfile.LibsndfileError:
                continue
        raise


def _beginnings(file: BinaryIO) -> Iterator[int]:
    """Yield the places after ID3 tags at which sound may begin: a container's, and of a chain of frames."""
    start = _after_tags(file)
    file.seek(start)
    block = file.read(SCAN)
    if match := CONTAINER.search(block):
        yield start + match.start()
    for match in FRAME.finditer(block):
        if _is_chain(block, match.start()):
            yield start + match.start()
            return


def _after_tags(file: BinaryIO) -> int:
    """Return the length of the ID3 tags at the start of a file."""
    end = file.seek(0, os.SEEK_END)
    place = 0
    while True:
        file.seek(place)
        head = file.read(10)
        if len(head) < 10 or not head.startswith(b"ID3"):
            return place
        size = sum((byte & 0x7F) << shift for byte, shift in zip(head[6:], (21, 14, 7, 0), strict=True))
        beyond = place + 10 + size + (10 if head[5] & 0x10 else 0)
        if beyond >= end:  # a tag with a wrong size
            return place
        place = beyond


def _is_chain(block: bytes, place: int) -> bool:
    kinds = set()
    for _ in range(CHAIN):
        if not FRAME.match(block, place):
            return False
        kind, length = _frame(int.from_bytes(block[place : place + 4], "big"))
        kinds.add(kind)
        place += length
    return len(kinds) == 1


def _frame(head: int) -> tuple[tuple[int, int, int], int]:
    """Return version, layer and rate, and the length in bytes, of the frame with this header."""
    version, layer = head >> 19 & 3, 4 - (head >> 17 & 3)
    hertz = _RATES[version][head >> 10 & 3]
    bits = 1000 * _KBITS[version == 3, layer][(head >> 12 & 15) - 1]
    padding = head >> 9 & 1
    if layer == 1:
        return (version, layer, hertz), (12 * bits // hertz + padding) * 4
    return (version, layer, hertz), (72 if layer == 3 and version != 3 else 144) * bits // hertz + padding


class _From:
    """A stream from one of its places on, for `soundfile.SoundFile`."""

    def __init__(self, file: BinaryIO, start: int):
        self._file, self._start = file, start
        self.seek(0)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._file.seek(offset + self._start * (whence == os.SEEK_SET), whence) - self._start

    def tell(self) -> int:
        return self._file.tell() - self._start

    def read(self, size: int = -1) -> bytes:
        return self._file.read(size)

    def readinto(self, buffer: bytearray) -> int:
        return self._file.readinto(buffer)  # type: ignore[attr-defined]  # of every stream of `stream`
