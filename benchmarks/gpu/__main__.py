"""Measure extraction, ablation and training on a GPU, in ten minutes, on a machine that has little.

Every part runs in a process of its own, within a time of its own: what fails, or breaks the GPU for its
process, is a row of the table. Results are in OUT/gpu.json after every part, and in a table at the end. What
needs CUDA is called open where there is none (``--device cpu``).

The machine needs Python 3.11 and torch, torchaudio, torchvision, timm, transformers, pandas, pyarrow, scipy,
safetensors, soundfile, soxr, pydantic, lazy_loader and PyYAML; neither Snakemake nor a network.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

NEEDED = (
    "torch", "torchaudio", "torchvision", "timm", "transformers", "numpy", "pandas", "pyarrow", "scipy",
    "safetensors", "soundfile", "soxr", "pydantic", "lazy_loader", "yaml",
)  # fmt: skip
HOME = Path(__file__).parents[2]
# Part → its module, what it measures, and its share of the time.
PARTS = {
    "A": ("ceilings", "ceilings and versions", 20),
    "B": ("right", "is it right?", 110),
    "C": ("device", "time on the device", 140),
    "D": ("host", "the host", 70),
    "E": ("whole", "extraction from end to end", 100),
    "F": ("changes", "ablation and screening", 60),
    "G": ("learning", "training", 40),
}
START = 12  # seconds that a process takes to start, at most; not taken from what it measures
CHARACTERS = 11_800  # of the table


def main(argv: Sequence[str] | None = None) -> None:
    style = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("python -m benchmarks.gpu", description=__doc__, formatter_class=style)
    parser.add_argument("--minutes", type=float, default=9, help="time of all parts (default: 9)")
    parser.add_argument("--out", type=Path, default=Path("gpu"), help="folder of gpu.json (default: gpu)")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda", help="(default: cuda)")
    parser.add_argument("--commit", help="what is measured (default: git's)")
    parser.add_argument("--parts", default="".join(PARTS), help=f"of {''.join(PARTS)} (default: all)")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: only check that everything runs")
    parser.add_argument("--seconds", type=float, help=argparse.SUPPRESS)  # of a part in its own process
    args = parser.parse_args(argv)
    if unknown := set(args.parts) - set(PARTS):
        parser.error(f"no part {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    if missing := [name for name in NEEDED if importlib.util.find_spec(name) is None]:
        parser.error(f"this Python lacks {', '.join(missing)}; install it, or run with another Python")
    args.out.mkdir(parents=True, exist_ok=True)
    if args.seconds is not None:
        return alone(args)
    if args.device == "cuda" and (why := unusable()):
        parser.error(f"{why}; --device cpu --quick tries everything without a GPU")
    from benchmarks.gpu.table import shown

    found = collect(args)
    print(shown(found, {letter: what for letter, (_, what, _) in PARTS.items()}, CHARACTERS), flush=True)


def unusable() -> str:
    """Return why PyTorch cannot use a GPU; empty if it can. Asked in another process, which frees it."""
    code = "from audio_neurons.running.gpus import _unusable; print(_unusable())"
    done = subprocess.run([sys.executable, "-c", code], cwd=HOME, capture_output=True, text=True)
    return (done.stdout if not done.returncode else done.stderr).strip().rpartition("\n")[2]


def alone(args: argparse.Namespace) -> None:
    """Measure one part in this process; rows go to standard output."""
    from audio_neurons.running import runtime
    from benchmarks.gpu.sheet import Sheet

    runtime.INTERVAL = float("inf")
    sheet = Sheet(args.parts, args.device, args.quick, args.seconds, args.out)
    module = importlib.import_module(f"benchmarks.gpu.{PARTS[args.parts][0]}")
    sheet.run(module.MEASURES)


def collect(args: argparse.Namespace) -> dict:
    """Run all parts, and return what gpu.json holds."""
    from audio_neurons.running.files import atomic
    from benchmarks.common import commit

    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by SIGTERM"))  # so that a part is ended too
    end = time.monotonic() + 60 * args.minutes
    found: dict = {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": args.commit or commit(),
        "device": args.device,
        "quick": args.quick,
        "seconds": {},
        "rows": [],
    }
    for letter in args.parts:
        later = sum(PARTS[one][2] for one in args.parts[args.parts.index(letter) :])
        seconds = (end - time.monotonic()) * PARTS[letter][2] / later
        began = time.monotonic()
        found["rows"] += part(args, letter, seconds)
        found["seconds"][letter] = round(time.monotonic() - began, 1)
        with atomic(args.out / "gpu.json") as temporary:
            temporary.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        print(f"part {letter}: {found['seconds'][letter]:.0f} s", file=sys.stderr, flush=True)
    return found


def part(args: argparse.Namespace, letter: str, seconds: float) -> list[dict]:
    """Run one part in a process of its own, which ends within ``seconds``; return its rows."""
    inside = max(seconds - START, 0.8 * seconds)
    command = [
        *(sys.executable, "-m", "benchmarks.gpu", "--parts", letter, "--seconds", f"{inside:.1f}"),
        *("--device", args.device, "--out", str(args.out.absolute()), *["--quick"] * args.quick),
    ]
    process = subprocess.Popen(command, cwd=HOME, stdout=subprocess.PIPE, text=True, start_new_session=True)
    rows: list[dict] = []
    reader = threading.Thread(target=lambda: rows.extend(filter(None, map(_row, process.stdout))))
    reader.start()
    why = ""
    try:
        if code := process.wait(max(seconds, 1)):
            why = f"its process ended with {code}"
    except subprocess.TimeoutExpired:
        why = f"it was ended after {seconds:.0f} s"
    finally:
        _end(process.pid)  # also what it started
        process.wait()
    reader.join(10)
    if why:
        failed = {"what": "this part", "value": None, "unit": "", "note": why, "state": "failed"}
        rows.append({"part": letter, **failed})
    return rows


def _row(line: str) -> dict | None:
    """Return a row of a part; what else stands on its output is shown."""
    try:
        row = json.loads(line)
        return row if isinstance(row, dict) and "part" in row else None
    except ValueError:
        print(line, end="", file=sys.stderr)
        return None


def _end(group: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


if __name__ == "__main__":
    main()
