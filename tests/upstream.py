"""Small archives in the exact layouts of the datasets' upstreams, made by code."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
import soundfile

from audio_neurons.archives import members
from audio_neurons.datasets import source

TOOL = Path(__file__).parents[1].parent / "shared" / "tools" / "make_esc50_subset.py"
KEY = "test-key"
BATCHES = 2  # archives of a collection
SERVED = "served"  # folder of what is served and not in an archive of its own


def tone(hertz: float = 440.0, seconds: float = 0.1, rate: int = 16_000, gain: float = 0.5) -> np.ndarray:
    return (gain * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def sound(
    samples: np.ndarray | None = None, rate: int = 16_000, kind: str = "WAV", subtype: str | None = None
) -> bytes:
    """A sound file; 0.1 s of a tone unless told."""
    file = io.BytesIO()
    soundfile.write(file, tone(rate=rate) if samples is None else samples, rate, subtype, format=kind)
    return file.getvalue()


def real_esc50(folder: Path) -> Path:
    """ESC-50's zip with five real recordings of each of ten categories; without them the test is skipped."""
    if not TOOL.is_file():
        pytest.skip("no real recordings beside the repository")
    path = folder / "ESC-50-master.zip"
    subprocess.run([sys.executable, TOOL, path, "--clips-per-class", "5"], check=True)
    return path


def zipped(path: Path, files: Mapping[str, bytes | str]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def tarred(
    path: Path | io.BytesIO, files: Mapping[str, bytes | str], mode: str = "w:gz"
) -> Path | io.BytesIO:
    opened = {"fileobj": path} if isinstance(path, io.BytesIO) else {"name": path}
    with tarfile.open(mode=mode, **opened) as archive:
        for name, data in files.items():
            data = data.encode() if isinstance(data, str) else data
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def table(header: str, *lines: str) -> str:
    return "\n".join([header, *lines]) + "\n"


def lfs_pointer(data: bytes) -> bytes:
    """What is in the place of a file whose content is in Git LFS."""
    digest = hashlib.sha256(data).hexdigest()
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{digest}\nsize {len(data)}\n".encode()


CATEGORIES = {0: "dog", 1: "rooster", 10: "rain"}


def esc50(
    path: Path,
    top: str = "ESC-50-master",
    extra: Mapping[str, bytes] | None = None,
    data: bytes | None = None,
) -> Path:
    """15 clips: three categories in five folds; ``extra`` replaces or adds recordings by name."""
    names = [f"{fold}-{100 * target + fold}-A-{target}.wav" for fold in range(1, 6) for target in CATEGORIES]
    lines = []
    for name in names:
        fold, source, take, target = name.removesuffix(".wav").split("-")
        lines.append(f"{name},{fold},{target},{CATEGORIES[int(target)]},False,{source},{take}")
    contents = {
        name: sound(tone(200 + 30 * i, rate=44_100), 44_100) if data is None else data
        for i, name in enumerate(names)
    }
    contents |= extra or {}
    files = {f"{top}/audio/{name}": content for name, content in contents.items()}
    header = "filename,fold,target,category,esc10,src_file,take"
    return zipped(path, {f"{top}/README.md": "", **files, f"{top}/meta/esc50.csv": table(header, *lines)})


def dataset(name: str, folder: Path, **variant) -> dict[str, Path | list[Path]]:
    """Archives of a dataset by role: a few recordings, everything around them, and upstream's defects."""
    folder.mkdir(parents=True, exist_ok=True)
    return globals()[f"_{name}"](folder, **variant)


def served(name: str, folder: Path) -> dict[str, Path]:
    """What each URL of a dataset's YAML gives, where `dataset` made the dataset in ``folder``.

    The first URL of each role; of a joined archive those of its parts, of a collection that of each
    file, of a Zenodo record what its API tells. The key in URLs is `KEY`.
    """
    given = {}
    for facts in source(name)["archives"].values():
        path, urls = folder / facts["file"], facts.get("urls", [])
        if "batches" in facts:
            for item, data in _items(facts, folder):
                given[urls[0].replace("{name}", item)] = _bytes(folder / SERVED / item, data)
        elif "parts" in facts:
            for part, file in _parts(facts, folder):
                given[part["urls"][0]] = file
        else:
            given[urls[0]] = path
        if "zenodo" in facts:
            md5 = hashlib.md5(path.read_bytes()).hexdigest()
            entry = {"key": path.name, "size": path.stat().st_size, "checksum": f"md5:{md5}"}
            record = json.dumps({"id": facts["zenodo"], "files": [entry]}).encode()
            given[f"https://zenodo.org/api/records/{facts['zenodo']}"] = _bytes(
                folder / SERVED / f"{facts['zenodo']}.json", record
            )
    return {url.replace("${VOXCELEB_KEY}", KEY): file for url, file in given.items()}


def changes(name: str, folder: Path) -> dict:
    """Block of configuration with which the dataset that `dataset` made in ``folder`` is upstream's.

    Its files' sizes and checksums in the place of upstream's, and members of upstream's names that are
    not upstream's.
    """
    archives = {}
    for role, facts in source(name)["archives"].items():
        if "batches" in facts:
            archives[role] = {"batches": BATCHES}
            if "manifest" in facts:
                archives[role]["manifest"] = str(_manifest(facts, folder))
            continue
        others = {kind: None for kind in ("md5", "git_blob", "zenodo") if kind in facts}
        archives[role] = _identity(folder / facts["file"]) | others
        if "parts" in facts:
            archives[role]["parts"] = [
                {"file": part["file"], "urls": part["urls"], **_identity(file)}
                for part, file in _parts(facts, folder)
            ]
    verified = "verify_members" in source(name).get("options", {})
    return {"archives": archives} | ({"options": {"verify_members": False}} if verified else {})


def _identity(path: Path) -> dict[str, int | str]:
    data = path.read_bytes()
    return {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def _items(facts: Mapping, folder: Path) -> Iterator[tuple[str, bytes]]:
    """Files of a collection."""
    for path in sorted(folder.glob(facts["file"].format(batch="*"))):
        yield from members(path)


def _manifest(facts: Mapping, folder: Path) -> Path:
    path = folder / f"small_{facts['manifest']}"
    with open(path, "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["name", "bytes", "sha256"])
        for item, data in _items(facts, folder):
            table.writerow([item, len(data), hashlib.sha256(data).hexdigest()])
    return path


def _parts(facts: Mapping, folder: Path) -> Iterator[tuple[Mapping, Path]]:
    """Parts of a joined archive, the last of them the shortest."""
    data = (folder / facts["file"]).read_bytes()
    size = -(-len(data) // len(facts["parts"]))
    for i, part in enumerate(facts["parts"]):
        yield part, _bytes(folder / SERVED / part["file"], data[i * size : (i + 1) * size])


def _bytes(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def _written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def _batched(folder: Path, file: str, items: Mapping[str, bytes]) -> list[Path]:
    """A collection, as the download packs it."""
    names, size = list(items), -(-len(items) // BATCHES)
    return [
        tarred(
            folder / file.format(batch=f"{i:03d}"),
            {name: items[name] for name in names[i * size : (i + 1) * size]},
            "w",
        )
        for i in range(BATCHES)
    ]


def _esc50(folder: Path) -> dict[str, Path]:
    return {"archive": esc50(folder / "ESC-50-master.zip")}


GISE51_LAYOUTS = {
    "split": ("isolated_events/train/", "isolated_events/val/", "isolated_events/eval/"),
    "suffix": ("isolated_events_train/", "isolated-events-Validation/x/", "ISOLATED_EVENTS_TEST/"),
    "none": ("isolated_events/", "isolated_events/", "isolated_events/"),
    "mixed": ("isolated_events/train/", "isolated_events/", "isolated_events/eval/"),
}


def _gise51(folder: Path, layout: str = "split") -> dict[str, Path]:
    """What its folders are called is not known: ``layout`` is one of `GISE51_LAYOUTS`."""
    train, valid, test = GISE51_LAYOUTS[layout]
    files = {
        f"{train}Coin_(dropping)/1234_0.wav": sound(rate=44_100),
        f"{train}Coin_(dropping)/1234_1.wav": sound(rate=22_050),
        f"{train}Dog/._5.wav": b"apple",
        f"{valid}Train/77.wav": sound(),
        f"{test}Dog/bark.wav": sound(),
    }
    return {"archive": tarred(folder / "isolated_events.tar.gz", files)}


def _voxceleb1(folder: Path, top: str = "wav/") -> dict[str, Path]:
    dev = ["id10001/1zcIwhmdeo4/00001.wav", "id10001/1zcIwhmdeo4/00002.wav", "id10002/7w0IBEWc9Qw/00001.wav"]
    test = ["id10270/5r0dWxy17C8/00001.wav"]
    people = [
        "id10001\tA.J._Buckley\tm\tIreland\tdev", "id10002\tA.R._Rahman\tm\tIndia\tdev",
        "id10270\tEartha_Kitt\tf\tTrinidad and Tobago\ttest",
    ]  # fmt: skip
    header = "VoxCeleb1 ID\tVGGFace1 ID\tGender\tNationality\tSet"
    split = "".join(f"{code} {name}\n" for code, name in zip("1231", dev + test, strict=True))
    return {
        "dev": zipped(folder / "vox1_dev_wav.zip", {f"{top}{name}": sound() for name in dev}),
        "test": zipped(folder / "vox1_test_wav.zip", {f"{top}{name}": sound() for name in test}),
        "split": _written(folder / "iden_split.txt", split),
        "meta": _written(folder / "vox1_meta.csv", table(header, *people)),
    }


def _voxforge(folder: Path) -> dict[str, Path | list[Path]]:
    """Three uploads; one of them at 48 kHz, one with a file that the list lacks."""
    stems = {"de": "guenter-20140214-afn", "en": "anonymous-20080425-bws", "ru": "ivan-petrov-20101010-x"}
    files, lines = {}, []
    for (language, stem), split in zip(stems.items(), ("train", "valid", "test"), strict=True):
        rate = 48_000 if language == "en" else 16_000
        inner = {f"{stem}/wav/{a}.wav": sound(rate=rate) for a in ("a1", "a2")}
        lines += [f"{name},{language},{split}" for name in inner]
        inner |= {f"{stem}/wav/late.wav": sound()} if language == "ru" else {}
        upload = tarred(io.BytesIO(), inner | {f"{stem}/etc/README": "x"}).getvalue()
        host = "www.repository.voxforge1.org/downloads"
        files[f"{host}/{language}/Trunk/Audio/Main/16kHz_16bit/{stem}.tgz"] = upload
    return {
        "archive": _batched(folder, "voxforge-{batch}.tar", files),
        "listing": _written(folder / "voxforge_urls.txt", "".join(f"{name}\n" for name in files)),
        "splits": _written(folder / "voxforge.csv", table("file_name,label,split", *lines)),
    }


def _cremad(folder: Path) -> dict[str, Path | list[Path]]:
    """Five recordings of the list, one of them silent, and a copy of one under another emotion."""
    splits = {
        "1001_DFA_ANG_XX.wav": "train", "1002_IEO_HAP_HI.wav": "valid", "1003_IEO_SAD_LO.wav": "test",
        "1006_TIE_HAP_XX.wav": "train", "1076_MTI_SAD_XX.wav": "train",
    }  # fmt: skip
    files = {name: sound() for name in splits} | {"1006_TIE_NEU_XX.wav": sound()}
    files["1076_MTI_SAD_XX.wav"] = sound(np.zeros(1600, np.float32))
    people = [
        "1001,51,Male,Caucasian,Not Hispanic", "1002,21,Female,Caucasian,Hispanic", "1003,21,Female,Asian,x",
        "1006,58,Male,Caucasian,Not Hispanic", "1076,25,Female,Caucasian,Not Hispanic",
    ]  # fmt: skip
    lines = [f"{name},{name.split('_')[2]},{name[:4]},{split}" for name, split in splits.items()]
    return {
        "archive": _batched(folder, "AudioWAV-{batch}.tar", dict(sorted(files.items()))),
        "actors": _written(
            folder / "VideoDemographics.csv", table("ActorID,Age,Sex,Race,Ethnicity", *people)
        ),
        "splits": _written(folder / "cremad.csv", table("file_name,label,speaker_id,split", *lines)),
    }


def _gtzan(folder: Path, suffix: str = ".wav") -> dict[str, Path]:
    """Four listed songs, one of them broken, and one that no list has."""
    names = ["blues/blues.00000.wav", "jazz/jazz.00053.wav", "jazz/jazz.00054.wav", "rock/rock.00001.wav"]
    files = {name: sound(rate=22_050) for name in [*names, "rock/rock.00099.wav"]}
    files["jazz/jazz.00054.wav"] = b"\x00" * 1000
    files["blues/._blues.00000.wav"] = b"apple"
    files = {f"genres/{name.removesuffix('.wav')}{suffix}": data for name, data in files.items()}
    lists = {"train": names[1:3], "valid": names[:1], "test": names[3:]}
    return {"archive": tarred(folder / "genres.tar.gz", files)} | {
        split: _written(folder / f"{split}_filtered.txt", "".join(f"{name}\n" for name in lines))
        for split, lines in lists.items()
    }


def _nsynth(folder: Path) -> dict[str, Path]:
    """Notes as low as 9 and as high as 116, and one that is noise."""
    notes = {
        "train": ["synth_lead_synthetic_001-060-100", "guitar_acoustic_001-021-025"],
        "valid": ["bass_synthetic_009-009-025", "bass_synthetic_009-033-050"],
        "test": [
            "organ_electronic_028-108-127", "organ_electronic_028-116-127", "brass_acoustic_046-083-025",
            "brass_acoustic_046-084-025",
        ],
    }  # fmt: skip
    noise = np.random.default_rng(0).uniform(-0.1, 0.1, 1600).astype(np.float32)
    archives = {}
    for split, names in notes.items():
        files = {f"nsynth-{split}/audio/{name}.wav": sound() for name in names}
        files |= {name: sound(noise) for name in files if "brass_acoustic_046-084" in name}
        about = {}
        for number, name in enumerate(names):
            instrument, pitch, velocity = name.rsplit("-", 2)
            family, kind, _ = instrument.rsplit("_", 2)
            about[name] = {
                "note": number, "note_str": name, "pitch": int(pitch), "velocity": int(velocity),
                "sample_rate": 16000, "instrument": 1, "instrument_str": instrument, "qualities": [0, 1],
                "qualities_str": ["dark"], "instrument_family": 1, "instrument_family_str": family,
                "instrument_source": 0, "instrument_source_str": kind,
            }  # fmt: skip
        files[f"nsynth-{split}/examples.json"] = json.dumps(about)  # last, as in upstream's tar it may be
        archives[split] = tarred(folder / f"nsynth-{split}.jsonwav.tar.gz", files)
    return archives


def _surge(folder: Path) -> dict[str, Path]:
    """Three notes of three tones, zero-padded or not, and what macOS left beside them."""
    tones = {"factory-Bass 1-velocity64": "train", "3rdparty-Pad-velocity64": "valid", "x-velocity64": "test"}
    ogg = sound(tone(rate=44_100, seconds=0.5), 44_100, "OGG", "VORBIS")
    files = {"surge/._factory-Bass 1-velocity64": b"apple"}
    files |= {f"surge/{name}/{note}.ogg": ogg for name in tones for note in ("021", "60", "108")}
    files |= {f"surge/{name}/._60.ogg": b"apple" for name in tones}
    lines = [f"{name},{split}" for name, split in tones.items()]
    return {
        "archive": tarred(folder / "surge-velocity64-2K.tar", files, "w"),
        "splits": _written(folder / "dataset_surge_tone_splits.csv", table("tone,split", *lines)),
    }
