"""Content, splits and archive layouts of the eight stand-in datasets, packed as upstream packs them.

Each function first lists a dataset's files, sorted by name, and then makes them one by one. A
recording's random numbers depend on the seed, the dataset and its number in that list.
"""

from __future__ import annotations

import io
import json
import string
from collections.abc import Callable, Mapping
from itertools import chain, product
from pathlib import Path
from typing import Any

import numpy as np

from audio_neurons.datasets import registry as datasets
from audio_neurons.datasets.registry import SPLITS
from audio_neurons.synthesis import events, instruments, music, speech
from audio_neurons.synthesis.channel import fit, frames, record
from audio_neurons.synthesis.packing import archive, lines, ogg, packed, text, wav
from audio_neurons.synthesis.waves import RATE, generator

Archives = Mapping[str, Any]  # role → path, or list of paths if upstream has many archives
Maker = Callable[[np.random.Generator, int], np.ndarray]
# Recording conditions: cleaner for tasks that are hard by themselves, noisier for easy ones.
CLEANER: dict[str, Any] = {"snr": (8.0, 30.0), "colour": 0.6}
NOISIER: dict[str, Any] = {"snr": (-4.0, 14.0), "colour": 1.6}
# Prefix of VoxForge's uploads, in its list and in the names in its archives.
UPLOADS = "www.repository.voxforge1.org/downloads/{language}/Trunk/Audio/Main/16kHz_16bit"
_LETTERS = string.ascii_letters + string.digits + "-_"


def quotas(clips: int, least: int) -> dict[str, int]:
    """Return the recordings per split: 70, 10 and 20 per cent, but at least ``least`` each."""
    valid, test = (max(round(share * clips), least) for share in (0.1, 0.2))
    if clips - valid - test < least:
        raise ValueError(f"{clips} recordings are too few: at least {3 * least} are needed")
    return {"train": clips - valid - test, "valid": valid, "test": test}


def _only(paths: list[Path]) -> Path:
    """Return the single archive that stands in for a collection of many small files."""
    if len(paths) != 1:
        raise ValueError(f"the demo's small files go into one archive, not into {len(paths)}")
    return paths[0]


def _event(seed: int, name: str, index: int, maker: Maker, seconds: float) -> np.ndarray:
    rng = generator(seed, name, index)
    n = frames(rng, seconds)
    return record(rng, fit(rng, maker(rng, n), n))


def esc50(archives: Archives, clips: int, seconds: float, seed: int) -> None:
    """Write twelve of ESC-50's categories in five folds."""
    per_fold, rest = divmod(clips, 5)
    if per_fold < len(events.ESC50):
        raise ValueError(f"{clips} recordings are too few: at least {5 * len(events.ESC50)} are needed")
    target = datasets.source("esc50")["classes"]["category"].index
    order = sorted(events.ESC50, key=target)
    names = {}
    for fold in range(1, 6):
        for i in range(per_fold + (fold <= rest)):
            category = order[(i + 5 * fold) % len(order)]
            number = 100000 + 1000 * fold + i
            names[f"{fold}-{number}-A-{target(category)}.wav"] = (fold, category, number)
    rows = ["filename,fold,target,category,esc10,src_file,take"]
    for name, (fold, category, number) in sorted(names.items()):  # of these twelve, only the dog is in ESC-10
        rows.append(f"{name},{fold},{target(category)},{category},{category == 'dog'},{number},A")
    with archive(archives["archive"]) as add:
        for index, (name, (_, category, _)) in enumerate(sorted(names.items())):
            audio = _event(seed, "esc50", index, events.ESC50[category], seconds)
            add(f"ESC-50-master/audio/{name}", wav(audio, 44_100))
        add("ESC-50-master/meta/esc50.csv", lines(rows))


def gise51(archives: Archives, clips: int, seconds: float, seed: int) -> None:
    """Write ten of GISE-51's classes."""
    classes, number = sorted(events.GISE51), 100
    names = {}
    for split, count in quotas(clips, len(classes)).items():
        for i in range(count):
            label, number = classes[i % len(classes)], number + 1
            folder = {"valid": "val", "test": "eval"}.get(split, split)
            names[f"isolated_events/{folder}/{label}/{number}_{i % 3}.wav"] = label
    with archive(archives["archive"]) as add:
        for index, (name, label) in enumerate(sorted(names.items())):
            add(name, wav(_event(seed, "gise51", index, events.GISE51[label], seconds), 22_050))


def voxceleb1(archives: Archives, clips: int, seconds: float, seed: int) -> None:
    """Write speakers reading English; every speaker is in all three splits of the identification task."""
    parts = quotas(clips, 6)
    who, accent, held, meta, names, script = {}, {}, set(), [], {}, {}
    for k in range(min(parts["valid"], max(6, clips // 40 * 2), 240)):
        # A woman and a man share an accent, so that neither label reveals the other. Every sixth pair
        # is in the verification test's archive, whose speakers have numbers from 10270 on.
        identity = f"id{10270 + k if k // 2 % 6 == 2 else 10001 + k}"
        accent[identity], nation = speech.ACCENTS[k // 2 % len(speech.ACCENTS)]
        rng = generator(seed, "voxceleb1 speaker", k)
        who[identity] = speech.speaker(rng, "voxceleb1", speech.GENDERS[k % 2], k // 2)
        script[identity] = list(rng.permutation(speech.SENTENCE_COUNT))  # no repetition
        if identity >= "id10270":
            held.add(identity)
        where = "test" if identity in held else "dev"
        meta.append(f"{identity}\tDemo_Speaker_{k + 1}\t{who[identity].gender[0]}\t{nation}\t{where}")
    rng = generator(seed, "voxceleb1 videos")
    for number, split in enumerate(SPLITS, start=1):
        videos = {identity: "".join(rng.choice(list(_LETTERS), 11)) for identity in who}
        for i in range(parts[split]):
            identity = list(who)[i % len(who)]
            words = speech.sentence("en", script[identity].pop())
            names[f"{identity}/{videos[identity]}/{i // len(who) + 1:05d}.wav"] = (number, identity, words)
    text(archives["meta"], ["VoxCeleb1 ID\tVGGFace1 ID\tGender\tNationality\tSet", *sorted(meta)])
    text(archives["split"], [f"{number} {name}" for name, (number, _, _) in sorted(names.items())])
    with speech.voice() as voice, archive(archives["dev"]) as dev, archive(archives["test"]) as test:
        for index, (name, (_, identity, words)) in enumerate(sorted(names.items())):
            rng = generator(seed, "voxceleb1", index)
            sound = voice.say(rng, who[identity], words, accent[identity])
            audio = record(rng, fit(rng, sound, frames(rng, seconds)), **NOISIER)
            (test if identity in held else dev)(f"wav/{name}", wav(audio))


def voxforge(archives: Archives, clips: int, seconds: float, seed: int) -> None:
    """Write six languages, one archive per speaker; speakers are disjoint between splits."""
    stems: dict[str, tuple] = {}
    rows = []
    for split, count in quotas(clips, len(speech.LANGUAGES)).items():
        for j, language in enumerate(speech.LANGUAGES):
            mine = count // 6 + (j < count % 6)
            for k, first in enumerate(range(0, mine, 6)):
                number = len(stems) + 1
                # Languages start with alternating genders, so that a small split has both.
                gender = speech.GENDERS[(k + j) % 2]
                rng = generator(seed, "voxforge speaker", number)
                who = speech.speaker(rng, f"voxforge/{split}", gender, number // 2)
                stem = f"speaker{number:04d}-2008{1 + number % 12:02d}{1 + number % 28:02d}-{number % 8:03o}"
                path = f"{UPLOADS.format(language=language)}/{stem}.tgz"
                stems[path] = (stem, language, split, number, who, min(6, mine - first))
    text(archives["listing"], sorted(stems))
    with speech.voice() as voice, archive(_only(archives["archive"])) as add:
        for path, (stem, language, split, number, who, count) in sorted(stems.items()):
            prompts, waves = [], {}
            for i in range(1, count + 1):
                rng = generator(seed, "voxforge", number, i)
                words = speech.sentence(language, int(rng.integers(speech.SENTENCE_COUNT)))
                sound = voice.say(rng, who, words, language)
                audio = record(rng, fit(rng, sound, frames(rng, seconds)), **CLEANER)
                waves[f"{stem}/wav/a{i:04d}.wav"] = wav(audio)
                prompts.append(f"{stem}/mfc/a{i:04d} {words.upper()}")
            rows += [f"{name},{language},{split}" for name in waves]
            who_is = ["Speaker Characteristics:", "", f"Gender: {who.gender}"]
            readme = [f"User Name:{stem.split('-')[0]}", "", *who_is]
            file = io.BytesIO()
            with packed(file, path) as put:
                put(f"{stem}/etc/PROMPTS", lines(prompts))
                put(f"{stem}/etc/README", lines(readme))
                for name, data in waves.items():
                    put(name, data)
            add(path, file.getvalue())
    text(archives["splits"], ["file_name,label,split", *sorted(rows)])


def cremad(archives: Archives, clips: int, seconds: float, seed: int) -> None:
    """Write actors speaking twelve sentences in six emotions; actors are disjoint between splits."""
    sentences, actor, people, names = list(speech.SENTENCES), 1000, [], {}
    for split, count in quotas(clips, 12).items():
        cast = max(2, round(count / 24 / 2) * 2)
        script = list(product(range(12), speech.EMOTIONS))
        for k in range(cast):
            actor += 1
            gender = speech.GENDERS[k % 2]
            people.append(f"{actor},{20 + actor * 7 % 50},{gender.capitalize()},Caucasian,Not Hispanic")
            who = speech.speaker(generator(seed, "cremad speaker", actor), f"cremad/{split}", gender, k // 2)
            for i, emotion in script[: count // cast + (k < count % cast)]:
                sentence = sentences[(i + 5 * actor) % 12]
                level = "XX" if sentence != "IEO" or emotion == "NEU" else ("LO", "MD", "HI")[actor % 3]
                names[f"{actor}_{sentence}_{emotion}_{level}.wav"] = (who, sentence, emotion, actor, split)
    rows = [f"{name},{what[2]},{what[3]},{what[4]}" for name, what in sorted(names.items())]
    text(archives["splits"], ["file_name,label,speaker_id,split", *rows])
    text(archives["actors"], ["ActorID,Age,Sex,Race,Ethnicity", *people])
    with speech.voice() as voice, archive(_only(archives["archive"])) as add:
        for index, (name, (who, sentence, emotion, _, _)) in enumerate(sorted(names.items())):
            rng = generator(seed, "cremad", index)
            sound = voice.say(rng, who, speech.SENTENCES[sentence], "en-us", speech.EMOTIONS[emotion])
            audio = record(rng, fit(rng, sound, frames(rng, seconds)), **CLEANER)
            add(name, wav(audio))


def gtzan(archives: Archives, clips: int, seconds: float, seed: int) -> None:
    """Write ten genres and the fault-filtered split lists."""
    genres = sorted(music.GENRES)
    lists: dict[str, list[str]] = {}
    counts = dict.fromkeys(genres, 0)
    for split, count in quotas(clips, len(genres)).items():
        lists[split] = []
        for i in range(count):
            genre = genres[i % len(genres)]
            lists[split].append(f"{genre}/{genre}.{counts[genre]:05d}.wav")
            counts[genre] += 1
        text(archives[split], sorted(lists[split]))
    with archive(archives["archive"]) as add:
        for index, name in enumerate(sorted(chain.from_iterable(lists.values()))):
            rng = generator(seed, "gtzan", index)
            n = frames(rng, seconds)
            sound = music.band(rng, music.GENRES[name.split("/")[0]], n / RATE)
            add(f"genres/{name}", wav(record(rng, sound[:n], **CLEANER), 22_050))


def nsynth(archives: Archives, clips: int, seconds: float, seed: int) -> None:
    """Write eleven families over seven octaves; instruments are disjoint between splits."""
    families = sorted(instruments.FAMILIES)
    sources, velocities = ("acoustic", "electronic", "synthetic"), (25, 50, 75, 100, 127)
    first = 0
    for split, count in quotas(clips, len(families)).items():
        makes = 2 if split == "train" else 1
        notes = {}
        for i in range(count):
            rng = generator(seed, f"nsynth {split}", i)
            family = families[i % len(families)]
            programs = instruments.FAMILIES[family][split]
            which = int(rng.integers(len(programs) * makes))
            program, number = programs[which // makes], 100 * SPLITS.index(split) + which
            build = instruments.instrument(generator(seed, "nsynth build", program, which), program)
            source = sources[instruments.source(program)]
            low, high = instruments.COMPASS[family]
            turn = i // len(families) + i % len(families)  # the first round covers every octave
            octave = instruments.LOWEST + 12 * (low + turn % (high - low))
            note = None
            while note is None or note in notes:
                pitch, velocity = octave + int(rng.integers(12)), int(rng.choice(velocities))
                note = f"{family}_{source}_{number:03d}-{pitch:03d}-{velocity:03d}"
            notes[note] = (rng, build, pitch, velocity, family, source, number, first + i)
        first += count
        table = {
            note: {
                "note": number, "note_str": note, "pitch": pitch, "velocity": velocity, "sample_rate": RATE,
                "instrument": instrument + 1000 * families.index(family),
                "instrument_str": note.split("-")[0],
                "instrument_family": families.index(family), "instrument_family_str": family,
                "instrument_source": sources.index(source), "instrument_source_str": source,
                "qualities": [0] * 10, "qualities_str": [],
            }
            for note, (_, _, pitch, velocity, family, source, instrument, number) in sorted(notes.items())
        }  # fmt: skip
        with archive(archives[split]) as add:
            for note, (rng, build, pitch, velocity, *_) in sorted(notes.items()):
                n = frames(rng, seconds)
                sound = instruments.play(rng, build, pitch, velocity, n / RATE)
                add(f"nsynth-{split}/audio/{note}.wav", wav(record(rng, fit(rng, sound[:n], n), **CLEANER)))
            add(f"nsynth-{split}/examples.json", json.dumps(table, indent=4).encode())


def surge(archives: Archives, clips: int, seconds: float, seed: int) -> None:
    """Write synthesiser tones, one note in each of seven octaves; tones are disjoint between splits."""
    octaves, kinds = instruments.OCTAVES, ("Basses", "Leads", "Pads", "Plucks", "Keys", "Polysynths")
    double = b"\0\x05\x16\x07\0\x02\0\0Mac OS X        " + bytes(60)  # AppleDouble, left by macOS's tar
    tones: dict[str, tuple[int, int]] = {}
    rows = []
    for split, count in quotas(clips, octaves).items():
        for first in range(0, count, octaves):
            number, vendor = len(tones), ("factory", "3rdparty", "3rdparty")[len(tones) % 3]
            name = f"surge-patches-{vendor}-{kinds[number % 6]}-Demo_{number:04d}-velocity64"
            tones[name] = (number, min(octaves, count - first))
            rows.append(f"{name},{split}")
    text(archives["splits"], ["tone,split", *sorted(rows)])
    with archive(archives["archive"]) as add:
        for name in sorted(tones)[::5]:
            add(f"surge/._{name}", double)
        for place, (name, (number, count)) in enumerate(sorted(tones.items())):
            rng = generator(seed, "surge tone", number)
            patch = instruments.tone(rng)
            pitches = [instruments.LOWEST + 12 * octave + int(rng.integers(12)) for octave in range(count)]
            if place % 5 == 0:
                add(f"surge/{name}/._{pitches[0]}.ogg", double)
            for pitch in sorted(pitches, key=str):
                rng = generator(seed, "surge", number, pitch)
                n = frames(rng, seconds)
                sound = instruments.synthesise(rng, patch, pitch, n / RATE)
                add(f"surge/{name}/{pitch}.ogg", ogg(record(rng, fit(rng, sound[:n], n)), 44_100))


_ALL = (esc50, gise51, voxceleb1, voxforge, cremad, gtzan, nsynth, surge)
LAYOUTS: Mapping[str, Callable[[Archives, int, float, int], None]] = {one.__name__: one for one in _ALL}
