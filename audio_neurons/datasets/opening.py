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
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
import soundfile

from audio_neurons.datasets import headers

SCAN = 1 << 20  # bytes in which the beginning of the sound is looked for
GLANCE = 1 << 14  # the same, in a file whose name does not say that it holds sound
STEP = 1 << 12  # frames that are read at a time up to a damage
# First bytes of WAV, AIFF, CAF, FLAC and Ogg.
CONTAINER = re.compile(
    rb"(?:RIFF|RIFX|RF64)....WAVE|FORM....AIF[FC]|caff\x00\x01|fLaC\x00|OggS\x00", re.DOTALL
)
# First bytes of sound that libsndfile does not read, and what it is. Of MP4's brands, not those of pictures.
UNREAD = {
    "MP4 (AAC in .m4a, .mp4, .3gp)": rb"....ftyp(?!hei[cmsx]|hev[cmsx]|mif1|msf1|avi[fs]|jp2|jpx|crx)",
    "AAC": rb"\xff[\xf0\xf1\xf8\xf9][\x40-\x7f]",
    "AMR": rb"#!AMR",
    "Windows Media": rb"\x30\x26\xb2\x75\x8e\x66\xcf\x11",
    "WebM or Matroska": rb"\x1a\x45\xdf\xa3",
    "AC-3": rb"\x0b\x77",
    "Monkey's Audio": rb"MAC .\x0f",
    "WavPack": rb"wvpk",
    "Musepack": rb"MP\+[\x07\x17\x27]|MPCK",
    "True Audio": rb"TTA1[\x01-\x03]\x00",
    "DSD": rb"DSD \x1c\x00|FRM8",
    "RealAudio": rb"\.RMF|\.ra\xfd",
    "Flash video": rb"FLV\x01",
}
_UNREAD = {kind: re.compile(first, re.DOTALL) for kind, first in UNREAD.items()}


class Sound(soundfile.SoundFile):  # type: ignore[misc]  # soundfile has no types
    """A sound file, read as far as it can be.

    Attributes
    ----------
    notes
        What is not as the header says, or damaged: known at the start, or found when it is read.
    """

    def __init__(self, file: Any):
        self.notes: list[str] = []
        self._content, self._damaged = file, False
        super().__init__(file, closefd=False)

    def read(self, frames: int = -1, *args: Any, **more: Any) -> np.ndarray:
        """Read as soundfile does; of FLAC up to a damage, of which `notes` then tells."""
        if self.format != "FLAC":
            return super().read(frames, *args, **more)
        if self._damaged:
            return np.zeros((0, self.channels), np.float32)
        place = self.tell()
        try:
            return super().read(frames, *args, **more)
        except soundfile.LibsndfileError:
            self._damaged = True
            if not len(found := self._before_damage(*args, **more)[place:]):
                raise
        read, whole = (place + len(found)) / self.samplerate, self.frames / self.samplerate
        self.notes.append(f"damaged: {read:.4g} of {whole:.4g} s can be read")
        return found

    def _before_damage(self, *args: Any, **more: Any) -> np.ndarray:
        """Return all frames before the first that cannot be read; after an error libsndfile is lost."""
        if isinstance(self._content, int):
            os.lseek(self._content, 0, os.SEEK_SET)
        else:
            self._content.seek(0)
        parts: list[np.ndarray] = []
        with suppress(soundfile.LibsndfileError), soundfile.SoundFile(self._content, closefd=False) as again:
            while len(part := again.read(STEP, *args, **more)):
                parts.append(part)
        return np.concatenate(parts) if parts else np.zeros((0, self.channels), np.float32)


class Links(Sound):
    """Several sounds after each other in one Ogg file, of one rate and number of channels."""

    def __init__(self, links: list[Sound]):
        self._links, self._at, self.notes = links, 0, [note for link in links for note in link.notes]
        self._name, self._mode, self._file, self._info = (
            getattr(links[0], name) for name in ("_name", "_mode", "_file", "_info")
        )

    @property
    def frames(self) -> int:
        return sum(link.frames for link in self._links)

    def read(self, frames: int = -1, *args: Any, **more: Any) -> np.ndarray:
        """Read across the links."""
        frames = self.frames if frames < 0 else frames
        parts = [self._links[self._at].read(frames, *args, **more)]
        while (lacking := frames - sum(map(len, parts))) > 0 and self._at + 1 < len(self._links):
            self._at += 1
            parts.append(self._links[self._at].read(lacking, *args, **more))
        return np.concatenate(parts)

    def seek(self, frames: int, whence: int = os.SEEK_SET) -> int:
        """Go to a frame of the whole; return its number."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self.tell(), os.SEEK_END: self.frames}[whence]
        left = place = min(max(base + frames, 0), self.frames)
        for number, link in enumerate(self._links):
            if left < link.frames or number + 1 == len(self._links):
                self._at = number
                link.seek(left)
                break
            left -= link.frames
        for later in self._links[self._at + 1 :]:
            later.seek(0)
        return place

    def tell(self) -> int:
        """Return the number of the next frame."""
        return sum(link.frames for link in self._links[: self._at]) + self._links[self._at].tell()

    def close(self) -> None:
        for link in self._links:
            link.close()


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


def sound(file: BinaryIO) -> Sound:
    """Open a sound file in a stream of `stream`; what its header says wrongly is corrected (`headers`).

    Raises
    ------
    soundfile.LibsndfileError
        If it holds no sound that libsndfile reads.
    HeaderError
        If its header contradicts itself.
    """
    try:
        return _opened(file, 0)
    except soundfile.LibsndfileError:
        for start in _beginnings(file, SCAN):
            try:
                return _opened(file, start)
            except soundfile.LibsndfileError:
                continue
        raise


def kind(file: BinaryIO) -> str | None:
    """Return what kind of sound a stream holds that libsndfile does not read, or None."""
    file.seek(0)
    head = file.read(64)
    return next((kind for kind, first in _UNREAD.items() if first.match(head)), None)


def holds_sound(path: Path) -> bool:
    """Return whether a file of any name holds sound, whether it can be read or not."""
    try:
        with stream(path) as file:
            if kind(file):
                return True
            file.seek(0)
            for start in (0, *_beginnings(file, GLANCE)):
                try:
                    with _opened(file, start):
                        return True
                except soundfile.LibsndfileError:
                    continue
                except headers.HeaderError:
                    return True
    except OSError:
        pass
    return False


def _opened(file: BinaryIO, start: int) -> Sound:
    """Open what begins at a place of a stream."""
    fixed = headers.repair(file, start)
    opened = _plain(file, start, fixed)
    place = file.tell()  # libsndfile goes on from here
    if opened.format == "MP3":
        mended = headers.repair_mpeg(file, start or _after_tags(file))
        if mended.head:
            opened.close()
            opened, fixed = _plain(file, mended.start, mended), mended
    elif opened.format == "OGG":
        links, ends = headers.ogg_links(file, start)
        if len(links) > 1:
            opened.close()
            opened = _joined([Sound(_From(file, link)) for link in links])
        if not ends:
            opened.notes.append("it ends in the middle of a page")
    elif opened.format in ("AIFF", "RF64", "W64"):
        opened.notes += headers.cut(opened.extra_info)
    file.seek(place)
    opened.notes += [fixed.note] * bool(fixed.note)
    return opened


def _plain(file: BinaryIO, start: int, fixed: headers.Repair) -> Sound:
    if fixed.head:
        opened = Sound(_From(file, fixed.start, fixed.head))
    elif start:
        opened = Sound(_From(file, start))
    else:
        file.seek(0)
        # By descriptor, libsndfile reads by itself: without Python, and only what is asked for.
        opened = Sound(file.fileno() if isinstance(file, io.FileIO) else file)
    return opened


def _joined(links: list[Sound]) -> Sound:
    first = links[0]
    alike = [one for one in links if (one.samplerate, one.channels) == (first.samplerate, first.channels)]
    joined = Links(alike)
    if len(alike) < len(links):
        joined.notes.append(f"{len(links) - len(alike)} of its {len(links)} streams have another rate")
    return joined


def _beginnings(file: BinaryIO, scan: int) -> Iterator[int]:
    """Yield the places after ID3 tags at which sound may begin: a container's, and of a chain of frames."""
    start = _after_tags(file)
    file.seek(start)
    block = file.read(scan)
    if match := CONTAINER.search(block):
        yield start + match.start()
    for match in headers.FRAME.finditer(block):
        if headers.is_chain(block, match.start()):
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


class _From:
    """A stream from one of its places on, with another beginning before it, for `soundfile.SoundFile`."""

    def __init__(self, file: BinaryIO, start: int, head: bytes = b""):
        self._file, self._start, self._head, self._place = file, start, head, 0

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        if whence == os.SEEK_CUR:
            offset += self._place
        elif whence == os.SEEK_END:
            offset += len(self._head) + self._file.seek(0, os.SEEK_END) - self._start
        self._place = max(0, offset)
        return self._place

    def tell(self) -> int:
        return self._place

    def read(self, size: int = -1) -> bytes:
        head = self._head[self._place :] if size < 0 else self._head[self._place : self._place + size]
        self._file.seek(self._start + max(0, self._place - len(self._head)))
        data = head + self._file.read(-1 if size < 0 else size - len(head))
        self._place += len(data)
        return data

    def readinto(self, buffer: bytearray) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)
