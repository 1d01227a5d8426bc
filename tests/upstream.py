"""Small archives in the exact layouts of the datasets' upstreams, made by code."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import soundfile


def tone(hertz: float = 440.0, seconds: float = 0.1, rate: int = 16_000, gain: float = 0.5) -> np.ndarray:
    return (gain * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def sound(
    samples: np.ndarray | None = None, rate: int = 16_000, kind: str = "WAV", subtype: str | None = None
) -> bytes:
    """A sound file; 0.1 s of a tone unless told."""
    file = io.BytesIO()
    soundfile.write(file, tone(rate=rate) if samples is None else samples, rate, subtype, format=kind)
    return file.getvalue()


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


def dataset(name: str, folder: Path) -> dict[str, Path]:
    """Archives of a dataset by role: a few recordings and everything around them."""
    folder.mkdir(parents=True, exist_ok=True)
    return globals()[f"_{name}"](folder)


def _written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def _esc50(folder: Path) -> dict[str, Path]:
    return {"archive": esc50(folder / "ESC-50-master.zip")}


def _gise51(folder: Path) -> dict[str, Path]:
    names = [
        "isolated_events/train/Coin_(dropping)/1234_0.wav",
        "isolated_events/train/Coin_(dropping)/1234_1.wav",
        "isolated_events/val/Dog/77.wav", "isolated_events/eval/Dog/bark.wav",
    ]  # fmt: skip
    files = {name: sound() for name in names} | {"isolated_events/train/Dog/._5.wav": b"apple"}
    return {"archive": tarred(folder / "isolated_events.tar.gz", files)}


def _voxceleb1(folder: Path) -> dict[str, Path]:
    dev = ["id10001/1zcIwhmdeo4/00001.wav", "id10001/1zcIwhmdeo4/00002.wav", "id10002/7w0IBEWc9Qw/00001.wav"]
    test = ["id10270/5r0dWxy17C8/00001.wav"]
    people = [
        "id10001\tA.J._Buckley\tm\tIreland\tdev", "id10002\tA.R._Rahman\tm\tIndia\tdev",
        "id10270\tEartha_Kitt\tf\tTrinidad and Tobago\ttest",
    ]  # fmt: skip
    header = "VoxCeleb1 ID\tVGGFace1 ID\tGender\tNationality\tSet"
    split = "".join(f"{code} {name}\n" for code, name in zip("1231", dev + test, strict=True))
    return {
        "dev": zipped(folder / "vox1_dev_wav.zip", {f"wav/{name}": sound() for name in dev}),
        "test": zipped(folder / "vox1_test_wav.zip", {f"wav/{name}": sound() for name in test}),
        "split": _written(folder / "iden_split.txt", split),
        "meta": _written(folder / "vox1_meta.csv", table(header, *people)),
    }


def _voxforge(folder: Path) -> dict[str, Path]:
    stems = {"de": "guenter-20140214-afn", "en": "anonymous-20080425-bws", "ru": "ivan-petrov-20101010-x"}
    files = {}
    for language, stem in stems.items():
        inner = {f"{stem}/wav/a1.wav": sound(), f"{stem}/wav/a2.wav": sound(), f"{stem}/etc/README": "x"}
        upload = tarred(io.BytesIO(), inner).getvalue()
        files[f"{language}/Trunk/Audio/Main/16kHz_16bit/{stem}.tgz"] = upload
    split = dict(zip(stems, ("train", "valid", "test"), strict=True))
    lines = [f"{stem}/wav/{a}.wav,{la},{split[la]}" for la, stem in stems.items() for a in ("a1", "a2")]
    return {
        "archive": tarred(folder / "voxforge.tar", files, "w"),
        "splits": _written(folder / "voxforge.csv", table("file_name,label,split", *lines)),
    }


def _cremad(folder: Path) -> dict[str, Path]:
    names = ["1001_DFA_ANG_XX.wav", "1002_IEO_HAP_HI.wav", "1003_IEO_SAD_LO.wav"]
    files = {f"CREMA-D-master/AudioWAV/{n}": sound() for n in [*names, "1001_ITH_SAD_XX.wav"]}
    files["CREMA-D-master/VideoDemographics.csv"] = table(
        "ActorID,Age,Sex,Race,Ethnicity",
        "1001,51,Male,Caucasian,Not Hispanic", "1002,21,Female,Caucasian,Hispanic", "1003,21,Female,Asian,x",
    )  # fmt: skip
    lines = [
        f"AudioWAV/{names[0]},ANG,1001,train", f"{names[1]},HAP,1002,valid", f"{names[2]},SAD,1003,test"
    ]  # fmt: skip
    return {
        "archive": zipped(folder / "CREMA-D.zip", files),
        "splits": _written(folder / "cremad.csv", table("file_name,label,speaker_id,split", *lines)),
    }


def _gtzan(folder: Path) -> dict[str, Path]:
    names = ["blues/blues.00000.wav", "jazz/jazz.00053.wav", "jazz/jazz.00054.wav", "rock/rock.00001.wav"]
    files = {f"genres/{name}": sound(rate=22_050) for name in [*names, "rock/rock.00099.wav"]}
    files["genres/jazz/jazz.00054.wav"] = b"\x00" * 1000
    files["genres/blues/._blues.00000.wav"] = b"apple"
    lists = {"train": names[1:3], "valid": names[:1], "test": names[3:]}
    return {"archive": tarred(folder / "genres.tar.gz", files)} | {
        split: _written(folder / f"{split}_filtered.txt", "".join(f"{name}\n" for name in lines))
        for split, lines in lists.items()
    }


def _nsynth(folder: Path) -> dict[str, Path]:
    notes = {
        "train": ["synth_lead_synthetic_001-060-100", "guitar_acoustic_001-021-025"],
        "valid": ["bass_synthetic_009-009-025"],
        "test": ["organ_electronic_028-116-127"],
    }
    archives = {}
    for split, names in notes.items():
        files = {f"nsynth-{split}/audio/{name}.wav": sound() for name in names}
        about = {}
        for name in names:
            instrument, pitch, _ = name.rsplit("-", 2)
            about[name] = {
                "note_str": name, "pitch": int(pitch), "instrument_str": instrument,
                "instrument_family_str": instrument.rsplit("_", 2)[0],
            }  # fmt: skip
        files[f"nsynth-{split}/examples.json"] = json.dumps(about)  # last, as in upstream's tar it may be
        archives[split] = tarred(folder / f"nsynth-{split}.jsonwav.tar.gz", files)
    return archives


def _surge(folder: Path) -> dict[str, Path]:
    tones = {"factory-Bass 1-velocity64": "train", "3rdparty-Pad-velocity64": "valid", "x-velocity64": "test"}
    ogg = sound(tone(rate=44_100, seconds=0.5), 44_100, "OGG", "VORBIS")
    files = {f"surge/{name}/{note}.ogg": ogg for name in tones for note in ("021", "60", "108")}
    files |= {f"surge/{name}/._60.ogg": b"apple" for name in tones}
    lines = [f"{i},{name},{split}" for i, (name, split) in enumerate(tones.items())]
    return {
        "archive": tarred(folder / "surge-velocity64-2K.tar", files, "w"),
        "splits": _written(folder / "dataset_surge_tone_splits.csv", table(",tone,split", *lines)),
    }
