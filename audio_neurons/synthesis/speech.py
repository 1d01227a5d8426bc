"""Speakers of the demo: voices, sentences in six languages, and emotions as prosody.

``VOICES`` assigns voices to datasets: no two datasets share one, and if a dataset's speakers are disjoint
between splits, so are their voices.
"""

from __future__ import annotations

import importlib.util
import json
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from scipy.signal import butter, sosfilt

from audio_neurons.synthesis import espeak
from audio_neurons.synthesis.soundfont import DemoPackageMissing
from audio_neurons.synthesis.waves import RATE, glide, phase, shaped

GENDERS = ("female", "male")
LANGUAGES = ("de", "en", "es", "fr", "it", "ru")

# eSpeak variants by owner: (female, male). Variants with `breath` are left out: for them, eSpeak reads
# uninitialised memory, so that its speech is not repeatable.
VOICES = {
    "voxceleb1": (
        ("f1", "shelby", "aunty"),
        ("m1", "m4", "m7", "Alex", "Nguyen", "Jacky", "Mike", "ed", "paul", "Gene2", "travis", "Marco"),
    ),
    "cremad/train": (("Andrea", "belinda", "f4"), ("m2", "m5", "Andy", "Denis", "robert", "john")),
    "cremad/valid": (("steph3",), ("m8", "adam")),
    "cremad/test": (("linda",), ("david", "pablo")),
    "voxforge/train": (("steph",), ("m3", "Lee", "Michael", "norbert", "edward", "antonio")),
    "voxforge/valid": (("steph2",), ("max", "Diogo")),
    "voxforge/test": (("Annie",), ("michel", "benjamin", "ian")),
    "pool": (
        ("anika", "grandma"),
        ("m6", "Mario", "Gene", "Hugo", "rob", "quincy", "gustave", "miguel", "boris", "Tweaky", "marcelo"),
    ),
}

ACCENTS = (  # eSpeak voice reading English, and the nationality it stands for
    ("en-us", "USA"), ("en", "UK"), ("de", "Germany"), ("en-us-nyc", "USA"), ("it", "Italy"),
    ("en-gb-scotland", "UK"), ("es", "Spain"), ("en-gb-x-rp", "UK"), ("en-us", "USA"),
)  # fmt: skip

SENTENCES = {  # CREMA-D's twelve
    "IEO": "It's eleven o'clock.", "TIE": "That is exactly what happened.",
    "IOM": "I'm on my way to the meeting.", "IWW": "I wonder what this is about.",
    "TAI": "The airplane is almost full.", "MTI": "Maybe tomorrow it will be cold.",
    "IWL": "I would like a new alarm clock.", "ITH": "I think I have a doctor's appointment.",
    "DFA": "Don't forget a jacket.", "ITS": "I think I've seen this before.",
    "TSI": "The surface is slick.", "WSI": "We'll stop in a couple of minutes.",
}  # fmt: skip

PHRASES = {  # subject | predicate | place or time: every combination is a sentence
    "en": (
        "my old neighbour,the young doctor,our teacher,a tall woman,the captain,his brother",
        "bought a red bicycle,is reading the newspaper,forgot the umbrella,wants to learn to swim,saw a"
        " strange light,has written a long letter",
        "near the river,last summer,behind the church,every single morning,on the way home,before "
        "breakfast",
    ),
    "de": (
        "mein alter Nachbar,die junge Ärztin,unser Lehrer,eine große Frau,der Kapitän,sein Bruder",
        "kaufte ein rotes Fahrrad,liest gerade die Zeitung,vergaß den Regenschirm,möchte schwimmen "
        "lernen,sah ein seltsames Licht,schrieb einen langen Brief",
        "in der Nähe des Flusses,im letzten Sommer,hinter der Kirche,jeden Morgen,auf dem Heimweg,vor "
        "dem Frühstück",
    ),
    "es": (
        "mi viejo vecino,la joven doctora,nuestro profesor,una mujer alta,el capitán,su hermano",
        "compró una bicicleta roja,está leyendo el periódico,olvidó el paraguas,quiere aprender a "
        "nadar,vio una luz extraña,escribió una carta larga",
        "cerca del río,el verano pasado,detrás de la iglesia,todas las mañanas,de camino a casa,antes "
        "del desayuno",
    ),
    "fr": (
        "mon vieux voisin,la jeune doctoresse,notre professeur,une grande femme,le capitaine,son frère",
        "a acheté un vélo rouge,est en train de lire le journal,a oublié le parapluie,veut apprendre à "
        "nager,a vu une lumière étrange,a écrit une longue lettre",
        "près de la rivière,l'été dernier,derrière l'église,tous les matins,sur le chemin du "
        "retour,avant le petit déjeuner",
    ),
    "it": (
        "il mio vecchio vicino,la giovane dottoressa,il nostro professore,una donna alta,il "
        "capitano,suo fratello",
        "ha comprato una bicicletta rossa,sta leggendo il giornale,ha dimenticato l'ombrello,vuole "
        "imparare a nuotare,ha visto una luce strana,ha scritto una lunga lettera",
        "vicino al fiume,l'estate scorsa,dietro la chiesa,ogni mattina,sulla strada di casa,prima di "
        "colazione",
    ),
    "ru": (
        "мой старый сосед,молодая докторша,наш учитель,высокая женщина,капитан,его брат",
        "купил красный велосипед,читает утреннюю газету,забыл дома зонтик,хочет научиться "
        "плавать,увидел странный свет,написал длинное письмо",
        "недалеко от реки,прошлым летом,за старой церковью,каждое утро,по дороге домой,перед завтраком",
    ),
}  # fmt: skip
SENTENCE_COUNT = 216


@dataclass(frozen=True)
class Speaker:
    """One person: an eSpeak variant, and values that distinguish speakers of the same variant."""

    gender: str
    variant: str
    pitch: float  # eSpeak's 0-99
    range: float
    rate: float  # words per minute
    tract: float  # factor on formants and pitch: the inverse length of the vocal tract
    effort: float  # dB per octave


@dataclass(frozen=True)
class Prosody:
    """Deviation of an emotion from neutral speech; every value is a mean around which utterances vary."""

    rate: float = 0  # words per minute
    pitch: float = 0
    range: float = 0
    effort: float = 0  # dB per octave
    tremor: float = 0  # of pitch, relative
    rise: float = 0  # tempo and pitch at the end over those at the beginning, log2
    creak: float = 0  # depth of a slow roughness
    whisper: float = 0  # part of the voice replaced by breath


EMOTIONS = {
    "ANG": Prosody(rate=30, pitch=6, range=32, effort=4.0, rise=-0.08, creak=0.3),
    "DIS": Prosody(rate=-30, pitch=-12, range=10, effort=-0.5, rise=-0.14, creak=0.7),
    "FEA": Prosody(rate=40, pitch=20, range=-15, effort=0.5, tremor=0.05, rise=0.05, whisper=0.4),
    "HAP": Prosody(rate=15, pitch=18, range=45, effort=1.5, rise=0.2),
    "NEU": Prosody(),
    "SAD": Prosody(rate=-50, pitch=-8, range=-35, effort=-4.5, tremor=0.01, rise=-0.1, whisper=0.2),
}


def speaker(rng: np.random.Generator, owner: str, gender: str, number: int) -> Speaker:
    """Return the ``number``-th speaker of a gender among ``owner``'s voices; the genders' pitches overlap."""
    variants = VOICES[owner][GENDERS.index(gender)]
    female = gender == "female"
    return Speaker(
        gender=gender,
        variant=variants[number % len(variants)],
        pitch=rng.uniform(10, 60) if female else rng.uniform(30, 85),
        range=rng.uniform(35, 65),
        rate=rng.uniform(145, 195),
        tract=rng.uniform(0.92, 1.03) if female else rng.uniform(0.97, 1.1),
        effort=rng.uniform(-1.5, 1.5),
    )


def sentence(language: str, number: int) -> str:
    """Return one of a language's ``SENTENCE_COUNT`` sentences."""
    words = []
    for part in PHRASES[language]:
        choices = part.split(",")
        number, which = divmod(number, len(choices))
        words.append(choices[which])
    return " ".join(words)


class Voice:
    """Speaks through one eSpeak process; runs are repeatable only with the same order of requests."""

    def __init__(self, asked: IO[bytes], told: IO[bytes]):
        self._asked, self._told = asked, told

    def _ask(self, **request: object) -> tuple[int, np.ndarray]:
        self._asked.write(json.dumps(request).encode() + b"\n")
        self._asked.flush()
        head = self._told.read(8)
        rate, size = struct.unpack("<ii", head) if len(head) == 8 else (0, 0)
        samples = np.frombuffer(self._told.read(size), "<i2")
        if not len(samples):
            raise RuntimeError(f"eSpeak NG gave no sound for {request}")
        return rate, samples.astype(np.float32) / 32768

    def say(
        self,
        rng: np.random.Generator,
        who: Speaker,
        text: str,
        language: str,
        mood: Prosody = EMOTIONS["NEU"],
    ) -> np.ndarray:
        """Return an utterance, float32 ``(n,)`` at 16 kHz; its prosody varies around that of the mood."""

        def about(value: float, deviation: float, low: float, high: float) -> int:
            return round(float(np.clip(rng.normal(value, deviation), low, high)))

        rate, sound = self._ask(
            text=text,
            voice=f"{language}+{who.variant}",
            rate=about(who.rate + mood.rate, 11, 90, 300),
            pitch=about(who.pitch + mood.pitch, 5, 0, 99),
            range=about(who.range + mood.range, 10, 5, 99),
        )
        sound = _trimmed(sound)
        n = round(len(sound) * RATE / rate / who.tract)
        speed = 1 + mood.tremor * rng.uniform(0.4, 1.6) * np.sin(phase(rng.uniform(5, 9), n))
        speed *= 2 ** np.linspace(0, mood.rise + rng.normal(0, 0.04), n)
        read = np.cumsum(speed)
        read *= (len(sound) - 1) / read[-1]
        sound = np.interp(read, np.arange(len(sound)), sound).astype(np.float32)
        if mood.whisper:
            sound = _breathy(rng, sound, mood.whisper * rng.uniform(0, 1.7))
        if mood.creak:
            pulse = 0.5 + 0.5 * np.sin(phase(25 + 12 * glide(rng, n, 3), n))
            sound *= 1 - mood.creak * rng.uniform(0, 1.4) * pulse
        tilt = who.effort + mood.effort + rng.normal(0, 0.8)
        return shaped(sound, lambda hertz: ((hertz + 100) / 1000) ** (tilt / 6.02))


def _trimmed(sound: np.ndarray) -> np.ndarray:
    loud = np.flatnonzero(np.abs(sound) > 0.02 * np.abs(sound).max())
    return sound[loud[0] : loud[-1] + 1]


def _breathy(rng: np.random.Generator, sound: np.ndarray, part: float) -> np.ndarray:
    """Replace part of the voice with noise that follows its envelope."""
    envelope = sosfilt(butter(1, 30, fs=RATE, output="sos"), np.abs(sound))
    breath = shaped(envelope * rng.standard_normal(len(sound), dtype=np.float32), lambda f: f / (f + 1500))
    return ((1 - min(part, 0.9)) * sound + 2 * part * breath).astype(np.float32)


@contextmanager
def voice() -> Iterator[Voice]:
    """Start a speech process, and end it with the block."""
    if importlib.util.find_spec("espeakng_loader") is None:
        raise DemoPackageMissing("espeakng_loader")
    command = [sys.executable, "-P", str(Path(espeak.__file__))]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin
        assert process.stdout
        try:
            yield Voice(process.stdin, process.stdout)
        finally:
            process.stdin.close()
            process.wait(timeout=30)
