"""Repair of headers that contradict the file: what is there decides, not what the header says of it.

Recorders write a header first and its sizes last, so that an interruption leaves zeros or placeholders;
encoders of MP3 may write no length at all, and files are joined or cut. A repair replaces the beginning of a
file by one that is true, while the file is read; the file itself stays as it is.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

BLOCK = 1 << 20  # bytes in which frames of MPEG audio are looked at
CHAIN = 3  # MPEG frames, each where the one before it ends, that tell sound from chance
UNKNOWN = 0x7FFF0000  # sizes from here on are placeholders of programs that write to a pipe
SLACK = 4096  # bytes of tags behind the sound that no header counts
SHORT = re.compile(r": (\d+) \(should be (\d+)\)")
CHUNK = re.compile(rb"[ -~]{4}")

# Third bytes of a frame: not the bit rates and sampling rates that are not defined.
_THIRD = b"".join(b"\\x%x0-\\x%xb" % (kbits, kbits) for kbits in range(1, 15))
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


class HeaderError(ValueError):
    """A header contradicts itself, so that nobody knows what the samples are; the message is the reason."""


@dataclass(frozen=True)
class Repair:
    """A true beginning ``head`` for the content of a file from byte ``start`` on, and what was wrong.

    ``head`` is empty where the header may stay.
    """

    head: bytes = b""
    start: int = 0
    note: str = ""


def repair(file: BinaryIO, begin: int = 0) -> Repair:
    """Return what is to be read instead of a WAV or AU file from byte ``begin`` on, if anything is.

    Raises
    ------
    HeaderError
        If the number of channels contradicts the size of the samples.
    """
    size = file.seek(0, 2)
    file.seek(begin)
    head = file.read(28)
    if head[:4] in (b"RIFF", b"RIFX") and head[8:12] == b"WAVE":
        return _wave(file, begin, size, "<" if head[:4] == b"RIFF" else ">")
    if head[:4] in (b".snd", b"dns.") and len(head) == 28:
        return _sun(head, begin, size, ">" if head[:4] == b".snd" else "<")
    return Repair()


def _wave(file: BinaryIO, begin: int, size: int, order: str) -> Repair:
    place, per_second = begin + 12, 0
    while place + 8 <= size:
        file.seek(place)
        name, length = struct.unpack(f"{order}4sI", file.read(8))
        if name == b"fmt ":
            per_second = _per_second(file.read(16), order)
        if name == b"data":
            there = size - place - 8
            wrong = length == 0 or (length < there and _goes_on(file, place + 8 + length, size))
            if wrong and there:
                file.seek(begin)
                head = file.read(place + 4 - begin) + struct.pack(f"{order}I", min(there, 0xFFFFFFFF))
                return Repair(head, place + 8, _told(length, there, per_second))
            short = there < length < UNKNOWN
            return Repair(note=_told(length, there, per_second) if short else "")
        place += 8 + length + length % 2
    return Repair()


def _per_second(form: bytes, order: str) -> int:
    """Return the bytes of a second of sound, if the header agrees with itself; 0 if it does not tell.

    Raises
    ------
    HeaderError
        If two of its numbers say that samples have another size, or are more, than two others say.
    """
    if len(form) < 16:
        return 0
    tag, channels, rate, per_second, block, bits = struct.unpack(f"{order}HHIIHH", form)
    if tag in (1, 3) and channels and bits:
        own = channels * -(-bits // 8)
        if block != own and block and per_second == rate * block:
            raise HeaderError(
                f"its header contradicts itself: {channels} channel(s) of {bits} bits are {own} bytes, but "
                f"it has blocks of {block}"
            )
        return rate * own
    return per_second


def _goes_on(file: BinaryIO, place: int, size: int) -> bool:
    """Return whether sound goes on at a place where the header says that it ends: no chunk begins there."""
    if size - place < SLACK:
        return False
    file.seek(place)
    after = file.read(SLACK)
    begins = [after[odd : odd + 4] for odd in (0, 1)]
    return any(after) and not any(CHUNK.fullmatch(name) for name in begins)


def _sun(head: bytes, begin: int, size: int, order: str) -> Repair:
    offset, length, encoding, rate, channels = struct.unpack(f"{order}5I", head[4:24])
    there = size - begin - offset
    if length == 0 and there > 0:
        fixed = head[:8] + struct.pack(f"{order}I", 0xFFFFFFFF) + head[12:]
        return Repair(fixed, begin + len(head), "its header says that it is empty: it is read to its end")
    per_second = {1: 1, 2: 1, 3: 2, 4: 3, 5: 4, 6: 4, 7: 8, 27: 1}.get(encoding, 0) * rate * channels
    return Repair(note=_told(length, there, per_second) if 0 < there < length < UNKNOWN else "")


def cut(log: str) -> list[str]:
    """Return a note if libsndfile's log of a header says that the file ends before it should."""
    sizes = [(int(promised), int(there)) for promised, there in SHORT.findall(log)]
    return [_told(promised, there, 0) for promised, there in sizes if there < promised][:1]


def _told(promised: float, there: float, per_second: float) -> str:
    unit = "bytes"
    if per_second:
        promised, there, unit = promised / per_second, there / per_second, "s"
    return f"its header says {_brief(promised)} {unit}, and it has {_brief(there)}"


def _brief(number: float) -> str:
    return f"{number:.0f}" if number >= 1000 else f"{number:.3g}"


# MPEG audio


def repair_mpeg(file: BinaryIO, begin: int) -> Repair:
    """Return a beginning with the true number of frames for an MP3 file without one, or with a wrong one.

    ``begin`` is the place of the first frame. libsndfile reads as many samples as the number says; without
    it, as many as the file would have if all frames were as long as the first.
    """
    size = file.seek(0, 2)
    file.seek(begin)
    first = file.read(4)
    if not FRAME.match(first):
        return Repair()
    (version, layer, hertz), length = frame(int.from_bytes(first, "big"))
    if layer != 3:
        return Repair()
    file.seek(begin)
    head = bytearray(file.read(length))
    side = _side(version, head[3] >> 6 == 3)
    if head[36:40] == b"VBRI":
        return Repair()
    place = side + 4 if bytes(head[side + 4 : side + 8]) in (b"Xing", b"Info") else None
    flags = 0 if place is None else int.from_bytes(head[place + 4 : place + 8], "big")
    told = int.from_bytes(head[place + 8 : place + 12], "big") if place and flags & 1 else None
    if place and flags & 3 == 3:
        claimed = int.from_bytes(head[place + 12 : place + 16], "big")
        if abs(begin + claimed - size) <= SLACK:
            return Repair()
    frames, same = _count(file, begin)
    seconds = (1152 if version == 3 else 576) / hertz
    if place and told is not None:
        frames -= 1  # the first holds no sound
        if abs(frames - told) <= max(CHAIN, told // 100):
            return Repair()
        head[place + 8 : place + 12] = frames.to_bytes(4, "big")
        if flags & 2:
            head[place + 12 : place + 16] = min(size - begin, 0xFFFFFFFF).to_bytes(4, "big")
        note = _told(told * seconds, frames * seconds, 1)
        return Repair(bytes(head), begin + length, note)
    if same or place:
        return Repair()
    silent = bytearray(length)
    silent[:4] = head[:4]
    silent[1] |= 1  # without a checksum
    silent[side + 4 : side + 16] = b"Xing" + (1).to_bytes(4, "big") + frames.to_bytes(4, "big")
    return Repair(bytes(silent), begin) if length >= side + 16 else Repair()


def _side(version: int, mono: bool) -> int:
    """Return the bytes of a frame's side information."""
    return (17 if mono else 32) if version == 3 else (9 if mono else 17)


def _count(file: BinaryIO, begin: int) -> tuple[int, bool]:
    """Return the number of frames from byte ``begin`` on, and whether all have the bit rate of the first."""
    count, rates = 0, set()
    for head in frames(file, begin):
        count += 1
        rates.add(head >> 12 & 15)
    return count, len(rates) < 2


def frames(file: BinaryIO, begin: int) -> Iterator[int]:
    """Yield the headers of the frames from byte ``begin`` on; what stands between chains is passed over."""
    place = begin
    file.seek(place)
    block, start = file.read(BLOCK), place
    while True:
        at = place - start
        if at + 2 * 1441 * CHAIN > len(block) and start + len(block) <= place + BLOCK:
            file.seek(place)
            more = file.read(BLOCK)
            block, start, at = more, place, 0
        if at + 4 > len(block):
            return
        if FRAME.match(block, at):
            head = int.from_bytes(block[at : at + 4], "big")
            yield head
            place += frame(head)[1]
            continue
        found = next((m.start() for m in FRAME.finditer(block, at) if is_chain(block, m.start())), None)
        if found is None:
            return
        place = start + found


def is_chain(block: bytes, place: int) -> bool:
    """Return whether `CHAIN` frames of one kind follow each other from a place on."""
    kinds = set()
    for _ in range(CHAIN):
        if not FRAME.match(block, place):
            return False
        kind, length = frame(int.from_bytes(block[place : place + 4], "big"))
        kinds.add(kind)
        place += length
    return len(kinds) == 1


def frame(head: int) -> tuple[tuple[int, int, int], int]:
    """Return version, layer and rate, and the length in bytes, of the frame with this header."""
    version, layer = head >> 19 & 3, 4 - (head >> 17 & 3)
    hertz = _RATES[version][head >> 10 & 3]
    bits = 1000 * _KBITS[version == 3, layer][(head >> 12 & 15) - 1]
    padding = head >> 9 & 1
    if layer == 1:
        return (version, layer, hertz), (12 * bits // hertz + padding) * 4
    return (version, layer, hertz), (72 if layer == 3 and version != 3 else 144) * bits // hertz + padding


# Ogg


def ogg_links(file: BinaryIO, begin: int) -> tuple[list[int], bool]:
    """Return where the links of an Ogg file begin (one, or several in a row), and if the last is whole."""
    size, place = file.seek(0, 2), begin
    links: list[int] = []
    inside = ended = False
    while place + 27 <= size:
        file.seek(place)
        page = file.read(27)
        if page[:4] != b"OggS":
            break
        first = bool(page[5] & 2)
        if first and not inside:  # streams that begin together belong to one link
            links.append(place)
        inside, ended = first, bool(page[5] & 4)
        place += 27 + page[26] + sum(file.read(page[26]))
    return links, ended and place <= size
