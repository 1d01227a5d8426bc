"""Cost of preparation, compared with only decoding and resampling the same recordings.

Each run of preparation has a run of the bare decoder directly before or after it, alternately, and the ratio
is taken within the pair. ``bare`` is the work that every preparation needs; preparation also reads the
archive and its list, encodes FLAC, and writes the tables. Peak memory is measured in a separate process per
size of dataset.
"""

import io
import tempfile
import zipfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import soundfile

from audio_neurons.datasets.archives import members
from audio_neurons.recordings import audio
from audio_neurons.recordings.preparation import prepare
from benchmarks.common import Report, options, peak, turns


def make_archive(path: Path, clips: int, seconds: float, rate: int) -> None:
    """Write a zip of noise in ESC-50's layout: the measured costs do not depend on the content."""
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


def run(archive: str | Path, workers: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        unverified = {"verify_members": False}
        parts, rejected = [out / "part-000.parquet"], out / "rejected.parquet"
        prepare("esc50", {"archive": Path(archive)}, parts, rejected, workers=workers, options=unverified)


def bare(recordings: list[bytes], workers: int) -> None:
    with ThreadPoolExecutor(workers) as pool:
        for _ in pool.map(audio.decode, recordings):
            pass


def main(argv: Sequence[str] | None = None) -> None:
    args = options(
        __doc__,
        argv,
        {"clips": 10, "seconds": 0.5, "sizes": [5]},
        clips=(200, "clips per run"),
        seconds=(5.0, "length of a clip"),
        rates=([44_100, 16_000], "sampling rates"),
        workers=(1, "decoding threads"),
        sizes=([200, 4000], "numbers of clips, of a second each, at which memory is measured"),
    )
    with tempfile.TemporaryDirectory() as folder, Report("preparation", args) as report:
        archive = Path(folder) / "ESC-50-master.zip"
        for rate in args.rates:
            make_archive(archive, args.clips, args.seconds, rate)
            recordings = [data for _, data in members(archive, ".wav")]
            ways = {
                "bare": lambda recordings=recordings: bare(recordings, args.workers),
                "preparation": lambda: run(archive, args.workers),
            }
            seconds = turns(ways, args.runs)
            report.add(f"{rate} Hz: time of preparation / bare", seconds["preparation"] / seconds["bare"])
            speed = args.clips * args.seconds / seconds["preparation"]
            report.add(f"{rate} Hz: preparation", speed, "audio-s/s")
        for clips in args.sizes:
            make_archive(archive, clips, 1.0, 16_000)
            memory = peak("benchmarks.preparation", "run", archive, args.workers)
            report.add(f"peak memory, {clips} clips", memory, "MB")


if __name__ == "__main__":
    main()
