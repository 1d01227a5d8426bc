"""An encoder with planted class-specific neurons, and recordings that it distinguishes."""

import numpy as np
import pandas as pd
import torch
from torch import nn

from audio_neurons import tables
from audio_neurons.activations.extraction import extract
from audio_neurons.activations.statistics import merge
from audio_neurons.models.encoder import Encoder
from audio_neurons.neurons.selection import select_task
from audio_neurons.recordings import audio
from audio_neurons.settings.extraction import Pass
from audio_neurons.settings.selection import rule_of

TONES = {"high": 3000, "low": 1000, "middle": 2000}  # Hz; clips of the class "none" have no tone
CLASSES = ("high", "low", "middle", "none")
# Class → the neurons that distinguish it from "none". The shared neuron belongs to two classes and has a
# smaller effect than their own neurons.
SHARED = (1, 8)
PLANTED = {"high": {(0, 0), (0, 2)}, "low": {(1, 2), SHARED}, "middle": {(1, 5), SHARED}}
FRAME, WIDTH, DEPTH, NOISE = 160, 32, 3, 4
SECONDS = 0.08


class Block(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(size, WIDTH), "fc2": nn.Linear(WIDTH, size)})


class Planted(Encoder):
    """Tokens are frames of 10 ms; the stream is [strength of each tone, noise, output of neurons].

    Planted neurons read a tone and write it to the output; all others read noise and write noise.
    """

    def __init__(self, stepwise=True):
        super().__init__()
        self.stepwise = stepwise
        tones, rng = len(TONES), np.random.default_rng(0)
        size = 2 * (tones + NOISE)
        self.blocks = nn.ModuleList([Block(size) for _ in range(DEPTH)])
        for layer, block in enumerate(self.blocks):
            into, out = np.zeros((WIDTH, size)), np.zeros((size, WIDTH))
            into[:, tones : tones + NOISE] = rng.normal(0, 40, (WIDTH, NOISE))
            out[-NOISE:] = rng.normal(0, 0.1, (NOISE, WIDTH))
            bias = np.zeros(WIDTH)
            for tone, name in enumerate(TONES):
                for unit in sorted(unit for at, unit in PLANTED[name] if at == layer):
                    into[unit, tones:], out[-NOISE:, unit] = 0, 0
                    into[unit, tone], bias[unit] = 10, -2
                    out[tones + NOISE + tone, unit] = 0.2 if (layer, unit) == SHARED else 0.5
            for parameter, value in zip(
                block.mlp.parameters(), (into, bias, out, 0 * out[:, 0]), strict=True
            ):
                parameter.data = torch.from_numpy(value).float()
        self.eval().requires_grad_(False)

    def front_end(self, wave):
        spectrum = torch.fft.rfft(wave.unflatten(1, (-1, FRAME))).abs() / (FRAME / 2)
        places = [hertz * FRAME // 16000 for hertz in TONES.values()]
        return torch.cat([spectrum[..., places], spectrum[..., 60 : 60 + NOISE] - 0.002], dim=-1)

    def states(self, features):
        return [nn.functional.pad(features, (0, features.shape[-1]))]

    def expand(self, layer, state):
        return state, nn.functional.gelu(self.blocks[layer].mlp["fc1"](state))

    def project(self, layer, residual, hidden):
        return residual + self.blocks[layer].mlp["fc2"](hidden)

    def assemble(self, states):
        return states[0][..., len(TONES) + NOISE :]

    def encode(self, features):
        (state,) = self.states(features)
        for layer in range(DEPTH):
            state = self.project(layer, *self.expand(layer, state))
        return self.assemble([state])

    def token_seconds(self, samples):
        return torch.arange(samples // FRAME) * (FRAME / 16000)


def make_clips(folder, parts=1, train=32, test=8):
    """Write parts of a clips table: ``train`` and ``test`` clips per class in groups of two; return paths."""
    rng, rows = np.random.default_rng(1), []
    samples = round(SECONDS * 16000)
    for name in CLASSES:
        for i in range(train + test):
            # Differences in loudness between clips outweigh the effect of any neuron that reads noise.
            wave = rng.normal(0, 10 ** rng.uniform(-2.5, -1.2), samples)
            if name in TONES:
                wave += rng.uniform(0.3, 0.6) * np.sin(2 * np.pi * TONES[name] * np.arange(samples) / 16000)
            rows.append(
                {
                    "clip_id": f"{rng.integers(10**9)}-{name}-{i}",
                    "audio": audio.encode(wave),
                    "frames": samples,
                    "split": "train" if i < train else "test",
                    "fold": 0,
                    "group": f"{name}{i // 2}",
                    "pitch": name,
                }
            )
    frame = pd.DataFrame(rows).sort_values("clip_id")
    paths = [folder / f"part-{n:03d}.parquet" for n in range(parts)]
    for n, path in enumerate(paths):
        tables.write(path, "clips", frame.iloc[n::parts])
    return paths


def extract_and_select(encoder, folder, clips, preset="aape"):
    """Extract clips and select neurons; return the paths of the embeddings and of the ``neurons`` table."""
    settings, shards, embeddings = Pass(clip_seconds=SECONDS), [], []
    for n, part in enumerate(clips):
        shards.append(folder / f"shard-{n}")
        embeddings.append(folder / f"embeddings-{n}.parquet")
        extract(encoder, part, shards[-1], embeddings[-1], settings)
    merge(shards, folder / "statistics", settings.top_clips)
    rule = rule_of(preset, {"top_share": 5 / (DEPTH * WIDTH)})
    select_task(
        folder / "statistics",
        "pitch",
        ["train"],
        rule,
        folder / "neurons.parquet",
        folder / "classes.parquet",
    )
    return embeddings, folder / "neurons.parquet"
