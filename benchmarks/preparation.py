"""What preparation costs, against decoding and resampling the same recordings and nothing else.

The machine is not ours alone, so the two are paired: each run of preparation has a run of the bare
decoder directly before or after it, in turn, and the ratio is taken within the pair. ``bare`` is what no
way of preparing can do without; preparation also reads the archive and its list, encodes FLAC, and writes
the tables. Peak memory is that of a process of its own per size of dataset, from its start.
"""

import argparse
import io
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile

from audio_neurons import audio, runtime
from audio_neurons.archives import members
from audio_neurons.preparation import prepare

# A process reads its own peak: in what the system tells of a child, the parent's size is included.
PEAK = """
import sys
from pathlib import Path
from benchmarks.preparation import run
run(Path(sys.argv[1]), int(sys.argv[2]))
status = Path("/proc/self/status").read_text()
print(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))
"""


def make_archive(path: Path, clips: int, seconds: float, rate: int) -> None:
    """A zip in ESC-50's layout, of noise: enough for a cost that does not depend on what is heard."""
    rng = np.random.default_rng(0)
    rows = ["filename,fold,target,category,esc10,src_file,take"]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for i in range(clips):
            name, file = f"{i % 5 + 1}-{i}-A-0.wav", io.BytesIO()
            wave = 0.1 * rng.standard_normal(round(seconds * rate))
            soundfile.write(file, wave, rate, "PCM_16", format="WAV")
            archive.writestr(f"ESC-50-master/audio/{name}", file.getvalue())
            rows.append(f"{name},{i % 5 + 1},0,class {i % 10},False,{i},A")
        archive.writestr("ESC-50-master/meta/esc50.csv", "\n".join(rows))


def run(archive: Path, workers: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        options = {"verify_members": False}
        parts, rejected = [out / "part-000.parquet"], out / "rejected.parquet"
        prepare("esc50", {"archive": archive}, parts, rejected, workers=workers, options=options)


def bare(recordings: list[bytes], workers: int) -> None:
    with ThreadPoolExecutor(workers) as pool:
        for _ in pool.map(audio.decode, recordings):
            pass


def timed(work: Callable, *args) -> tuple[float, float]:
    """Seconds of the clock and of all cores."""
    wall, cpu = time.perf_counter(), time.process_time()
    work(*args)
    return time.perf_counter() - wall, time.process_time() - cpu


def throughput(archive: Path, workers: int, runs: int) -> pd.DataFrame:
    """Seconds of both in each pair of runs."""
    recordings = [data for _, data in members(archive, ".wav")]
    works = {"bare": (bare, recordings, workers), "preparation": (run, archive, workers)}
    rows = []
    for pair in range(-1, runs):  # the first warms up
        row = {"run": pair}
        for name in sorted(works, reverse=pair % 2 == 0):
            row[f"{name} wall"], row[f"{name} cpu"] = timed(*works[name])
        rows.append(row)
    return pd.DataFrame(rows[1:])


def peak(archive: Path, workers: int) -> float:
    """Megabytes."""
    script = [sys.executable, "-c", PEAK, archive, str(workers)]
    root = Path(__file__).parents[1]
    done = subprocess.run(script, check=True, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    return int(done.stdout) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5, help="pairs of runs (default: 5)")
    parser.add_argument("--clips", type=int, default=200, help="clips per run (default: 200)")
    parser.add_argument("--seconds", type=float, default=5.0, help="length of a clip (default: 5)")
    parser.add_argument(
        "--rates", type=int, nargs="+", default=[44_100, 16_000], help="sampling rates (default: 44100 16000)"
    )
    parser.add_argument("--workers", type=int, default=1, help="threads (default: 1)")
    parser.add_argument(
        "--sizes", type=int, nargs="*", default=[200, 4000],
        help="numbers of clips, of one second at 16 kHz, at which memory is measured (default: 200 4000)",
    )  # fmt: skip
    parser.add_argument("--out", type=Path, help="also write the runs to this Parquet file")
    args = parser.parse_args()

    runtime.limit_threads(args.workers)
    runtime.INTERVAL = float("inf")
    machine = {"cpu": platform.machine(), "cores": os.cpu_count(), "workers": args.workers}
    print(json.dumps(machine | {"clips": args.clips, "seconds": args.seconds, "runs": args.runs}))
    tables = []
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder) / "ESC-50-master.zip"
        for rate in args.rates:
            make_archive(archive, args.clips, args.seconds, rate)
            table = throughput(archive, args.workers, args.runs)
            tables.append(table.assign(rate=rate))
            for clock in ("wall", "cpu"):
                ratio = table[f"preparation {clock}"] / table[f"bare {clock}"]
                low, middle, high = ratio.quantile([0.25, 0.5, 0.75])
                speed, best = (
                    args.clips * args.seconds / table[f"{name} {clock}"].median()
                    for name in ("preparation", "bare")
                )
                print(
                    f"{rate} Hz: {speed:.0f} audio-seconds per {clock} second, bare {best:.0f}; time / bare: "
                    f"{middle:.2f} [{low:.2f}, {high:.2f}] (medians [quartiles] of {args.runs} pairs)"
                )
        peaks = {}
        for clips in args.sizes if Path("/proc/self/status").is_file() else []:
            make_archive(archive, clips, 1.0, 16_000)
            peaks[clips] = peak(archive, args.workers)
    if peaks:
        print(f"peak memory: {', '.join(f'{mb:.0f} MB for {clips} clips' for clips, mb in peaks.items())}")
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        pd.concat(tables).assign(**machine).to_parquet(args.out)


if __name__ == "__main__":
    main()
