"""Run `config/evening.yaml` without its hosts: from the real recordings and weights beside the checkout.

Archives are packed in the layouts of the originals (EmoDB, RAVDESS, the ten classes ESC-10 of ESC-50), and
put where files that are brought by hand lie. The configuration is written with these changes, and no others:
checksums are not asked for; datasets and models that are not here are left out (CREMA-D, FSDD, HuBERT);
samples are smaller; two lists of own recordings are added, with the tasks octave and language. The command to
run is printed.
"""

import argparse
import csv
import io
import subprocess
import sys
import zipfile
from pathlib import Path

import soundfile
import yaml

from benchmarks.common import HOME

SHARED = HOME.parent / "shared"
REAL = SHARED / "data" / "real"
SAMPLES = {"emodb": 280, "esc50": 200, "fluid": 180, "gcompris": 120}
OWN = {"fluid": ("octave", 3.0, "FluidR3 octave"), "gcompris": ("language", 2.0, "GCompris language")}


def pack(listed: Path, archive: Path, top: str) -> None:
    """Write the recordings of a list as a zip of WAV files, as upstream has them."""
    archive.parent.mkdir(parents=True, exist_ok=True)
    with open(listed, newline="", encoding="utf-8") as file, zipfile.ZipFile(archive, "w") as packed:
        for row in csv.DictReader(file):
            path = listed.parent / row["path"]
            samples, rate = soundfile.read(path, dtype="int16")
            wav = io.BytesIO()
            soundfile.write(wav, samples, rate, "PCM_16", format="WAV")
            packed.writestr(f"{top}/{path.stem}.wav", wav.getvalue())


def changed(config: dict, by_hand: Path, context: str) -> dict:
    """Return the configuration for the recordings and weights that are here."""
    unchecked = {"archives": {"archive": {"md5": None}}}
    for name in ("cremad", "fsdd", "gtzan"):
        config["datasets"][name] = False
    for name in ("ravdess", "emodb"):
        config["datasets"][name].update(unchecked)
    config["datasets"]["emodb"]["clip_seconds"] = 2.0  # these copies were cut
    config["datasets"]["esc50"]["options"] = {"verify_members": False}
    for name, (label, seconds, title) in OWN.items():
        config["datasets"][name] = {"files": str(REAL / f"{name}.csv"), "clip_seconds": seconds}
        config["tasks"][label] = {"dataset": name, "label": label, "title": title}
        config["comparisons"][label] = {"tasks": [label], "title": title.split()[-1].capitalize()}
    for name, number in SAMPLES.items():
        per = OWN[name][0] if name in OWN else config["datasets"][name]["sample"]["per"]
        config["datasets"][name]["sample"] = {"clips": number, "per": per, "seed": 0}
    whisper = config["models"]["whisper"]
    config["models"]["whisper"] = {**whisper, "folder": str(SHARED / "models" / "whisper-base")}
    del config["models"]["whisper"]["hub"]
    for name in ("whisper", "whisper_random"):
        config["models"][name]["context"] = context
    config["models"]["hubert"] = config["models"]["hubert_random"] = False
    return {"download": {"archives": str(by_hand)}, **config}


def main() -> None:
    parser = argparse.ArgumentParser("python -m benchmarks.evening", description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="new folder for archives, configuration and results")
    parser.add_argument(
        "--context",
        choices=("full", "clip"),
        default="clip",
        help="what Whisper hears (default: clip, its length)",
    )
    args = parser.parse_args()
    folder = args.folder.absolute()
    if not REAL.is_dir():
        sys.exit(
            f"{REAL}: there are no recordings here; run config/evening.yaml itself, which fetches its own"
        )
    by_hand = folder / "by_hand"
    pack(REAL / "ravdess.csv", by_hand / "ravdess" / "Audio_Speech_Actors_01-24.zip", "Actors")
    pack(REAL / "emodb.csv", by_hand / "emodb" / "emodb.zip", "emodb/wav")
    tool, out = SHARED / "tools" / "make_esc50_subset.py", by_hand / "esc50" / "ESC-50-master.zip"
    subprocess.run([sys.executable, tool, out], check=True)
    config = yaml.safe_load((HOME / "config" / "evening.yaml").read_text(encoding="utf-8"))
    path = folder / "evening.yaml"
    text = yaml.safe_dump(changed(config, by_hand, args.context), sort_keys=False, width=110)
    path.write_text(text, encoding="utf-8")
    print(f"snakemake --cores 2 --configfile {path} --directory {folder}")


if __name__ == "__main__":
    main()
