"""Data of the pages as classic scripts: browsers load these from a folder, where they refuse to fetch."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

FIRST, STEPS = 93, 200  # code of the letter of 0, and steps up to 1


def write(folder: Path, key: str, value: Any) -> int:
    """Write ``folder/data/KEY.js``, which gives a value to the pages, and return its bytes."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    packed = base64.b64encode(gzip.compress(text.encode(), 9, mtime=0)).decode()
    path = folder / "data" / f"{key}.js"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.write_text(f'atlas.add({json.dumps(key)},"{packed}");\n', encoding="utf-8")


def read(folder: Path, key: str) -> Any:
    """Return the value of a script that :func:`write` wrote."""
    text = (folder / "data" / f"{key}.js").read_text(encoding="utf-8")
    return json.loads(gzip.decompress(base64.b64decode(text.split('"')[3])))


def thousandths(values: np.ndarray) -> list[int]:
    """Return probabilities as whole thousandths, flat; -1 for NaN."""
    return np.where(np.isnan(values), -1, np.rint(1000 * np.nan_to_num(values))).astype(int).ravel().tolist()


def letters(values: np.ndarray) -> str:
    """Return probabilities as text, one letter for each half per cent from `FIRST` on; the last for NaN.

    That takes a third of the bytes of numbers in JSON, and needs no escapes.
    """
    steps = np.where(np.isnan(values), STEPS + 1, np.rint(STEPS * np.nan_to_num(values)))
    return "".join(map(chr, (FIRST + steps.astype(int)).ravel()))


def rounded(values: Sequence[float] | np.ndarray, digits: int = 4) -> list[float | None]:
    """Return numbers with so many significant digits; None for NaN."""
    return [None if not np.isfinite(one) else float(f"{one:.{digits}g}") for one in np.asarray(values)]


def encoded(trace: np.ndarray) -> str:
    """Return bytes as text."""
    return base64.b64encode(trace.astype(np.uint8).tobytes()).decode()
