"""The demo's recordings: upstream's layouts, repeatable bytes, disjoint sources, and sound in them."""

from __future__ import annotations

import csv
import importlib.util
import io
import json
import sys
import tarfile
import zipfile
from collections import defaultdict
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import soundfile

from audio_neurons import tables
from audio_neurons.cost.work import facts
from audio_neurons.datasets import source
from audio_neurons.recordings.preparation import prepare
from audio_neurons.synthesis import make_archives, make_pool
from audio_neurons.synthesis.layouts import LAYOUTS
from audio_neurons.synthesis.making import STAND_INS

TAGS = {
    "alarm_bell", "animal", "bass", "drum", "engine", "impact", "keyboard", "music", "plucked", "speech",
    "strings", "synth", "water_wind", "wind_brass",
}  # fmt: skip
MISSING = [name for name in ("espeakng_loader", "pretty_midi") if importlib.util.find_spec(name) is None]
pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"needs {', '.join(MISSING)}: the extra 'demo'")

ARCHIVES = {
    "esc50": {"archive": "ESC-50-master.zip"},
    "gise51": {"archive": "isolated_events.tar.gz"},
    "voxceleb1": {
        "dev": "vox1_dev_wav.zip",
        "test": "vox1_test_wav.zip",
        "split": "iden_split.txt",
        "meta": "vox1_meta.csv",
    },
    "voxforge": {
        "archive": ["voxforge-000.tar"],
        "listing": "voxforge_urls.txt",
        "splits": "voxforge.csv",
    },
    "cremad": {"archive": ["AudioWAV-000.tar"], "actors": "VideoDemographics.csv", "splits": "cremad.csv"},
    "gtzan": {"archive": "genres.tar.gz", **{s: f"{s}_filtered.txt" for s in ("train", "valid", "test")}},
    "nsynth": {split: f"nsynth-{split}.jsonwav.tar.gz" for split in ("train", "valid", "test")},
    "surge": {"archive": "surge-velocity64-2K.tar", "splits": "dataset_surge_tone_splits.csv"},
}
RATES = {"esc50": 44_100, "surge": 44_100, "gise51": 22_050, "gtzan": 22_050}
SECONDS = 0.8


def make(root, dataset, clips=60, seed=7):
    """The archives of a dataset by role; all of them are one file each."""
    roles = ARCHIVES[dataset].items()
    paths = {r: root / name if isinstance(name, str) else [root / n for n in name] for r, name in roles}
    make_archives(dataset, paths, clips=clips, seconds=SECONDS, seed=seed)
    return {role: path[0] if isinstance(path, list) else path for role, path in paths.items()}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Archives by dataset, each made once."""
    root = tmp_path_factory.mktemp("demo")
    return {dataset: make(root / dataset, dataset) for dataset in ARCHIVES}


def members(path):
    """Content of each member of an archive, archives within it included, in order."""
    data = path.read_bytes() if hasattr(path, "read_bytes") else path
    if data[:2] == b"PK":
        with zipfile.ZipFile(io.BytesIO(data)) as file:
            return {name: file.read(name) for name in file.namelist()}
    found = {}
    with tarfile.open(fileobj=io.BytesIO(data)) as file:
        for member in file:
            content = file.extractfile(member).read()
            found |= members(content) if member.name.endswith(".tgz") else {member.name: content}
    return found


def audio(archives):
    """Sound files of a dataset by name."""
    return {
        name: data
        for path in archives.values()
        if path.suffix not in (".csv", ".txt")
        for name, data in members(path).items()
        if name.endswith((".wav", ".ogg")) and "/._" not in name
    }


def table(text, delimiter=","):
    return list(csv.DictReader(io.StringIO(text), delimiter=delimiter))


def esc50(archives):
    rows = table(members(archives["archive"])["ESC-50-master/meta/esc50.csv"].decode())
    assert list(rows[0]) == ["filename", "fold", "target", "category", "esc10", "src_file", "take"]
    for row in rows:
        assert row["filename"] == f"{row['fold']}-{row['src_file']}-{row['take']}-{row['target']}.wav"
        yield (
            f"ESC-50-master/audio/{row['filename']}",
            row["fold"],
            {"category": row["category"]},
            row["src_file"],
        )


def gise51(archives):
    for name in audio(archives):
        top, folder, label, file = name.split("/")
        assert top == "isolated_events"
        yield name, {"val": "valid", "eval": "test"}.get(folder, folder), {"event": label}, file


def voxceleb1(archives):
    meta = table(archives["meta"].read_text(), "\t")
    assert list(meta[0]) == ["VoxCeleb1 ID", "VGGFace1 ID", "Gender", "Nationality", "Set"]
    people = {row["VoxCeleb1 ID"]: row for row in meta}
    assert {row["Set"] for row in meta} == {"dev", "test"}
    for line in archives["split"].read_text().splitlines():
        number, name = line.split(" ")
        row = people[name[:7]]
        assert f"wav/{name}" in members(archives[row["Set"]])
        split = {"1": "train", "2": "valid", "3": "test"}[number]
        yield (
            f"wav/{name}",
            split,
            {"gender": row["Gender"], "nation": row["Nationality"], "id": name[:7]},
            None,
        )


def voxforge(archives):
    with tarfile.open(archives["archive"]) as file:
        names = file.getnames()
    assert archives["listing"].read_text().splitlines() == names
    language = {}
    for name in names:
        host, downloads, code, *folders, upload = name.split("/")
        assert (host, downloads) == ("www.repository.voxforge1.org", "downloads")
        assert folders == ["Trunk", "Audio", "Main", "16kHz_16bit"]
        language[upload.removesuffix(".tgz")] = code
    inside = members(archives["archive"])
    for row in table(archives["splits"].read_text()):
        stem, folder, _ = row["file_name"].split("/")
        assert folder == "wav"
        assert row["label"] == language[stem]
        assert b"Gender: " in inside[f"{stem}/etc/README"]
        yield row["file_name"], row["split"], {"language": row["label"]}, stem.split("-")[0]


def cremad(archives):
    sex = {row["ActorID"]: row["Sex"] for row in table(archives["actors"].read_text())}
    for row in table(archives["splits"].read_text()):
        actor, sentence, emotion, level = row["file_name"].removesuffix(".wav").split("_")
        assert (actor, emotion) == (row["speaker_id"], row["label"])
        assert len(sentence) == 3
        assert level in ("LO", "MD", "HI", "XX")
        labels = {"emotion": emotion, "gender": sex[actor]}
        yield row["file_name"], row["split"], labels, actor


def gtzan(archives):
    for split in ("train", "valid", "test"):
        for line in archives[split].read_text().splitlines():
            yield f"genres/{line}", split, {"genre": line.split("/")[0]}, line


def nsynth(archives):
    fields = (
        "note note_str instrument instrument_str pitch velocity sample_rate qualities qualities_str "
        "instrument_family instrument_family_str instrument_source instrument_source_str"
    )
    for split, path in archives.items():
        for note, row in json.loads(members(path)[f"nsynth-{split}/examples.json"]).items():
            assert set(row) == set(fields.split())
            assert note == f"{row['instrument_str']}-{row['pitch']:03d}-{row['velocity']:03d}"
            labels = {"family": row["instrument_family_str"], "octave": row["pitch"] // 12}
            yield f"nsynth-{split}/audio/{note}.wav", split, labels, row["instrument"]


def surge(archives):
    split = {row["tone"]: row["split"] for row in table(archives["splits"].read_text())}
    for name in audio(archives):
        _, tone, file = name.split("/")
        yield name, split[tone], {"octave": int(file.removesuffix(".ogg")) // 12}, tone
    assert any("/._" in name for name in members(archives["archive"]))


READERS = {
    reader.__name__: reader for reader in (esc50, gise51, voxceleb1, voxforge, cremad, gtzan, nsynth, surge)
}


@pytest.mark.parametrize("dataset", ARCHIVES)
def test_layout_is_upstreams_and_every_class_is_in_every_split(made, dataset):
    rows = list(READERS[dataset](made[dataset]))
    assert sorted(name for name, *_ in rows) == sorted(audio(made[dataset]))
    assert len(rows) == 60
    classes, groups = defaultdict(lambda: defaultdict(set)), defaultdict(set)
    for _, split, labels, group in rows:
        groups[split].add(group)
        for label, value in labels.items():
            classes[label][split].add(value)
    for label, by_split in classes.items():
        assert len(by_split) == (5 if dataset == "esc50" else 3)
        assert len(set(map(frozenset, by_split.values()))) == 1, f"{label}: {dict(by_split)}"
    if dataset != "voxceleb1":  # whose speakers are in all splits
        assert all(a.isdisjoint(b) for a, b in combinations(groups.values(), 2))


@pytest.mark.parametrize("dataset", ARCHIVES)
def test_roles_are_those_of_the_datasets(dataset):
    roles = source(dataset)["archives"]
    names = {
        role: [facts["file"].format(batch="000")] if "batches" in facts else facts["file"]
        for role, facts in roles.items()
    }
    assert names == ARCHIVES[dataset]


@pytest.mark.parametrize("dataset", ARCHIVES)
def test_every_recording_can_be_prepared(made, dataset, tmp_path):
    archives = made[dataset]
    result = prepare(
        dataset, archives, [tmp_path / "part.parquet"], tmp_path / "rejected.parquet", max_rejected=0,
        options={"verify_members": False} if dataset in ("esc50", "gtzan") else {},
    )  # fmt: skip
    assert (result.clips, result.rejected, result.excluded) == (60, 0, 0)
    # The cost of a study that makes them counts by these numbers.
    clips = tables.read(tmp_path / "part.parquet", "clips")
    known = facts()["made"][dataset]["classes"]
    assert {label: clips[label].nunique() for label in known} == known


@pytest.mark.parametrize("dataset", ARCHIVES)
def test_recordings_have_sound_in_them(made, dataset):
    short = 0
    for name, data in audio(made[dataset]).items():
        sound, rate = soundfile.read(io.BytesIO(data), dtype="float32")
        assert rate == RATES.get(dataset, 16_000), name
        assert sound.ndim == 1
        assert np.isfinite(sound).all()
        short += len(sound) < rate * SECONDS
        peak = np.abs(sound).max()
        assert 0.02 < peak < 1, name
        assert (np.abs(sound) > 0.99 * peak).mean() < 0.05, f"{name} is clipped"
        assert sound.std() > 0.01 * peak, name
    assert short < 15


@pytest.mark.parametrize("dataset", ARCHIVES)
def test_seed_decides_every_byte(made, dataset, tmp_path):
    again, other = make(tmp_path / "again", dataset), make(tmp_path / "other", dataset, seed=8)
    for role, path in made[dataset].items():
        assert path.read_bytes() == again[role].read_bytes(), f"{role} differs for the same seed"
        if path.suffix not in (".csv", ".txt"):
            assert path.read_bytes() != other[role].read_bytes(), f"{role} does not depend on the seed"
            assert list(members(path)) == sorted(members(path)) or dataset == "voxforge"


def test_voices_and_programs_are_shared_by_nobody():
    from audio_neurons.synthesis import instruments, music, speech

    for a, b in combinations([set(female) | set(male) for female, male in speech.VOICES.values()], 2):
        assert not a & b
    import espeakng_loader

    for variant in set().union(*(set(female) | set(male) for female, male in speech.VOICES.values())):
        recipe = Path(espeakng_loader.get_data_path(), "voices", "!v", variant).read_text(errors="replace")
        assert "\nbreath " not in recipe, f"{variant} never says the same thing twice"
    splits = [
        [p for family in instruments.FAMILIES.values() for p in family[split]]
        for split in ("train", "valid", "test", "pool")
    ]
    for a, b in combinations(splits, 2):
        assert not set(a) & set(b)
    played = {p for genre in music.GENRES.values() for p in (*genre.bass, *genre.comp, *genre.lead)}
    pool = set(splits[3]) | {p for programs in music._POOL_PROGRAMS.values() for p in programs}
    assert not pool & (played | set(splits[0] + splits[1] + splits[2]))


def is_harmonic(sound, pitch):
    """Whether the strongest partial is a small multiple, or a half, of the pitch's frequency."""
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound)), 1 << 16))
    ratio = spectrum.argmax() * 16_000 / (1 << 16) / (440 * 2 ** ((pitch - 69) / 12))
    return any(abs(12 * np.log2(ratio / k)) < 0.5 for k in (0.5, *range(1, 9)) if ratio > 0)


def test_notes_have_their_pitch():
    from audio_neurons.synthesis import instruments
    from audio_neurons.synthesis.waves import generator

    rng, right = generator(0, "test"), []
    for family, programs in instruments.FAMILIES.items():
        low, high = instruments.COMPASS[family]
        for program in programs["train"][:3]:
            for pitch in (instruments.LOWEST + 12 * low + 7, instruments.LOWEST + 12 * high - 7):
                plain = instruments.Instrument(program, 0, 0, 0, 0.1)
                right.append(is_harmonic(instruments.play(rng, plain, pitch, 100, 1.0), pitch))
    assert np.mean(right) > 0.85
    patch = instruments.Tone(1, 1, 0, 0, 0, 1, 3, 0, (0.01, 0.5, 0.2, 0.5), 0.01, 0)
    assert all(is_harmonic(instruments.synthesise(rng, patch, p, 1.0), p) for p in range(24, 108, 7))


def test_pool_is_a_table_of_tagged_clips(tmp_path):
    from audio_neurons import tables

    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        make_pool(tmp_path / f"{name}.parquet", clips=40, seconds=SECONDS, seed=seed)
    first, same, other = ((tmp_path / f"{name}.parquet").read_bytes() for name in "abc")
    assert first == same
    assert first != other
    clips = tables.read(tmp_path / "a.parquet", "clips")
    assert clips.clip_id.is_unique
    assert len(clips) == 40
    tags = [set(joined.split(",")) for joined in clips.tags]
    assert set().union(*tags) <= TAGS
    assert all(tags)
    for row in clips.itertuples():
        sound, rate = soundfile.read(io.BytesIO(row.audio), dtype="int16")
        assert rate == tables.SAMPLE_RATE
        assert sound.shape == (row.frames,)
        assert np.abs(sound).max() > 500


def test_what_can_be_made_is_what_there_are_layouts_and_sizes_of():
    assert set(STAND_INS) == set(LAYOUTS) == set(facts()["made"])


def test_unknown_dataset_and_too_few_clips_are_refused(tmp_path):
    with pytest.raises(ValueError, match="no recordings for 'audioset'"):
        make_archives("audioset", {}, clips=60, seconds=1, seed=0)
    with pytest.raises(ValueError, match="too few"):
        make(tmp_path, "esc50", clips=20)
    two = {
        "archive": [tmp_path / "a.tar", tmp_path / "b.tar"],
        "splits": tmp_path / "s",
        "actors": tmp_path / "a",
    }
    with pytest.raises(ValueError, match="into one archive, not into 2"):
        make_archives("cremad", two, clips=60, seconds=SECONDS, seed=0)


@pytest.mark.parametrize(("dataset", "package"), [("cremad", "espeakng_loader"), ("nsynth", "pretty_midi")])
def test_missing_package_names_the_remedy(tmp_path, monkeypatch, dataset, package):
    from audio_neurons.synthesis import soundfont

    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    soundfont._font.cache_clear()
    with pytest.raises(ImportError, match=r"audio-neurons\[demo\]"):
        make(tmp_path, dataset)
    assert not [path for path in tmp_path.iterdir() if path.suffix in (".zip", ".gz")]
