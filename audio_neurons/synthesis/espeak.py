"""Speech process: requests as JSON lines on standard input, 16-bit samples on standard output.

eSpeak NG (GPL-3.0-or-later, from the package espeakng_loader; used only here) keeps the state of its
noise and flutter from one utterance to the next, and nothing resets it. Speech is therefore repeatable
only in a fresh process that receives the same requests in the same order.
"""

from __future__ import annotations

import ctypes
import json
import struct
import sys
from typing import Any

AUDIO_OUTPUT_SYNCHRONOUS, CHARS_UTF8, POSITION_CHARACTER = 2, 1, 1
PARAMETERS = {"rate": 1, "pitch": 3, "range": 4}
CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


def main() -> None:
    import espeakng_loader

    library = ctypes.CDLL(espeakng_loader.get_library_path())
    data = espeakng_loader.get_data_path().encode()
    rate = library.espeak_Initialize(AUDIO_OUTPUT_SYNCHRONOUS, 0, data, 0)
    pieces: list[bytes] = []

    def receive(samples: Any, count: int, _events: Any) -> int:
        if samples and count > 0:
            pieces.append(ctypes.string_at(samples, 2 * count))
        return 0

    callback = CALLBACK(receive)  # a reference must exist as long as it may be called
    library.espeak_SetSynthCallback(callback)
    for line in sys.stdin.buffer:
        request = json.loads(line)
        pieces.clear()
        text = request["text"].encode() + b"\0"
        ok = rate > 0 and library.espeak_SetVoiceByName(request["voice"].encode()) == 0
        for name, number in PARAMETERS.items():
            library.espeak_SetParameter(number, request[name], 0)
        ok = (
            ok
            and library.espeak_Synth(text, len(text), 0, POSITION_CHARACTER, 0, CHARS_UTF8, None, None) == 0
        )
        samples = b"".join(pieces) if ok else b""
        sys.stdout.buffer.write(struct.pack("<ii", rate, len(samples)) + samples)
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
