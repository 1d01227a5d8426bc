"""Encoders of transformers: counts, front ends and bad input; checkpoints are in another file."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

transformers = pytest.importorskip("transformers", reason="adapter huggingface needs transformers")

from audio_neurons import models, tables  # noqa: E402
from audio_neurons.ablation.changes import Change  # noqa: E402
from audio_neurons.ablation.intervention import Donors, Intervention, Means, run_changes  # noqa: E402
from audio_neurons.activations import extraction, statistics  # noqa: E402
from audio_neurons.activations.recorder import Recorder  # noqa: E402
from audio_neurons.models import ModelError  # noqa: E402
from audio_neurons.recordings import audio  # noqa: E402
from audio_neurons.settings.extraction import Pass  # noqa: E402

DEPTH, WIDTH = 2, 40
SIZES = {"hidden_size": 24, "num_hidden_layers": DEPTH, "num_attention_heads": 2, "intermediate_size": WIDTH}
WAVEFORM = {**SIZES, "conv_dim": [8] * 7, "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 2}
CONFIGS = {
    "audio-spectrogram-transformer": SIZES,
    "data2vec-audio": WAVEFORM,
    "hubert": WAVEFORM,
    "wav2vec2": WAVEFORM,
    "wavlm": WAVEFORM,
    "whisper": {
        "d_model": 24, "encoder_layers": DEPTH, "encoder_attention_heads": 2, "encoder_ffn_dim": WIDTH,
        "decoder_layers": 1, "decoder_attention_heads": 2, "decoder_ffn_dim": 16, "vocab_size": 50,
        "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 1,
    },
}  # fmt: skip
TYPES = list(CONFIGS)
AST, WHISPER = "audio-spectrogram-transformer", "whisper"
TWO_SECONDS = 32_000


def block(kind: str, **changes) -> dict:
    own = {"adapter": "huggingface", "model_type": kind, "config": CONFIGS[kind]}
    if kind == AST:
        own["context"] = "full"  # as the library pads; test_context.py tests the other one
    return {**own, "weights": {"source": "random", "seed": 1}, **changes}


def load(kind: str, file: Path | None = None, **changes):
    """Load an encoder; one from a file is described as completely as its config.json would."""
    if file is not None and not (file.parent / "config.json").exists():
        own = {AST: {"norm_stats": [0.0, 1.0]}, WHISPER: {}}.get(kind, {"normalize": True})
        changes = {**own, **changes, "config": {**described(kind), **changes.get("config", CONFIGS[kind])}}
    return models.load("mine", block(kind, **changes), file)


def described(kind: str) -> dict:
    """Return what an encoder's default configuration says and its weights do not show."""
    default = transformers.AutoConfig.for_model(kind)
    keys = (
        "num_attention_heads", "encoder_attention_heads", "hidden_act", "activation_function",
        "layer_norm_eps", "feat_extract_activation", "conv_stride", "do_stable_layer_norm", "scale_embedding",
        "num_buckets", "max_bucket_distance",
    )  # fmt: skip
    return {key: getattr(default, key) for key in keys if key in default.to_dict()}


def noise(clips: int, samples: int, seed: int = 0) -> torch.Tensor:
    return 0.1 * torch.randn(clips, samples, generator=torch.Generator().manual_seed(seed))


def record(encoder, wave, tokens="patch"):
    floor = torch.full((DEPTH, WIDTH), -torch.inf)
    with torch.inference_mode(), Recorder(encoder, tokens, floor=floor) as recorder:
        recorder.begin(wave)
        encoder(wave)
        return recorder.end()


def activations(encoder, wave) -> list[list[torch.Tensor]]:
    """Hidden units (B, tokens, W) by layer and chunk, recomputed from the first linear layer's input."""
    up = [m for m in encoder.modules() if isinstance(m, torch.nn.Linear) and m.out_features == WIDTH]
    seen = [[] for _ in up]
    hooks = [
        m.register_forward_hook(lambda m, inputs, _, kept=kept: kept.append((m, inputs[0])))
        for m, kept in zip(up, seen, strict=True)
    ]
    with torch.inference_mode():
        encoder(wave)
        for hook in hooks:
            hook.remove()
        return [
            [torch.nn.functional.gelu(x @ m.weight.T + m.bias) for m, x in chunks] for chunks in seen
        ]  # fmt: skip


def places(kind: str, samples: int, special: bool) -> list[list[int]]:
    """Tokens that count in each chunk, by plain arithmetic."""
    if kind == AST:
        frames, chunks = (samples - 400) // 160 + 1, []
        while frames > 0:
            columns = [t for t in range(101) if 10 * t < frames]
            found = [2 + 101 * row + t for row in range(12) for t in columns]
            chunks.append([0, 1, *found] if special else found)
            frames -= 1024
        return chunks
    if kind == WHISPER:
        return [
            [t for t in range(1500) if start + 320 * t < samples] for start in range(0, samples, 480_000)
        ]  # fmt: skip
    return [list(range((samples - 400) // 320 + 1))]


@pytest.mark.parametrize("special", [False, True])
@pytest.mark.parametrize(
    ("kind", "samples"),
    [*((kind, TWO_SECONDS) for kind in TYPES), ("hubert", 23_457), (AST, 16_001), (AST, 170_000)],
)
def test_counts_are_those_of_the_activations_themselves(kind, samples, special):
    encoder, wave = load(kind), noise(2, samples)
    batch = record(encoder, wave, "all" if special else "patch")
    layers = torch.stack(
        [
            torch.cat(
                [c[:, tokens] for c, tokens in zip(chunks, places(kind, samples, special), strict=True)], 1
            )
            for chunks in activations(encoder, wave)
        ],
        dim=1,
    )
    assert batch.tokens == layers.shape[2]
    # Rounding may change the sign of a value this close to zero.
    slack = (layers.abs() < 1e-6).sum(2)
    assert ((batch.active - (layers > 0).sum(2)).abs() <= slack).all()
    assert slack.sum() < 20
    torch.testing.assert_close(batch.peak, layers.amax(2))
    assert 0 < batch.active.sum() < batch.active.numel() * batch.tokens
    if not special:
        seconds = encoder.token_seconds(samples)
        assert len(seconds) == batch.tokens
        assert seconds[batch.peak_token].max() < samples / 16_000


@pytest.mark.parametrize("kind", TYPES)
def test_an_intervention_at_the_down_projection_changes_the_output(kind):
    encoder, wave = load(kind), noise(1, TWO_SECONDS)
    with torch.inference_mode():
        before = encoder(wave)
        for layer in encoder.down_projections():
            hook = layer.register_forward_pre_hook(lambda _, inputs: (inputs[0] * 0,))
            assert not torch.allclose(encoder(wave), before, atol=1e-3)
            hook.remove()
        assert torch.equal(encoder(wave), before)


@pytest.mark.parametrize("kind", TYPES)
def test_batch_size_does_not_change_counts(kind):
    encoder, wave = load(kind), noise(4, TWO_SECONDS)
    wave[3] = 0  # as the padding rows of a last batch
    together = record(encoder, wave).active
    alone = torch.cat([record(encoder, wave[i : i + 1]).active for i in range(4)])
    assert torch.equal(together, alone)


@pytest.mark.parametrize(("kind", "tokens", "columns"), [(AST, 240, 20), (WHISPER, 100, 100)])
def test_padding_does_not_count(kind, tokens, columns):
    encoder, wave = load(kind), noise(1, TWO_SECONDS)
    batch = record(encoder, wave)
    assert batch.tokens == tokens == len(encoder.token_seconds(TWO_SECONDS))
    with torch.inference_mode():
        features, everything = encoder(wave), encoder.encode(encoder.front_end(wave))
    assert features.shape[1] == columns < everything.shape[1]
    assert torch.equal(features, everything[:, :columns])


@pytest.mark.parametrize("kind", TYPES)
def test_changes_are_measured_on_the_features_that_probes_were_trained_on(kind):
    encoder, wave = load(kind), noise(2, TWO_SECONDS)
    neurons = frozenset({(0, 3), (1, 7)})
    means, donors = Means(encoder), Donors(encoder, neurons)
    means.add(wave, 2)
    donors.load(wave.flip(0) * 2)
    values = {"zero": None, "mean": means.values(), "resample": donors}
    changes = [Change(neurons, 0.0, replacement) for replacement in values]
    found = dict(run_changes(encoder, wave, changes, values))
    with torch.inference_mode():
        assert torch.equal(found[-1], encoder(wave))
        for number, change in enumerate(changes):
            with Intervention(encoder, change, values[change.replacement]):
                assert torch.equal(found[number], encoder(wave))


@pytest.mark.parametrize("kind", TYPES)
def test_means_are_those_of_the_tokens_that_count(kind):
    encoder, wave = load(kind), noise(2, TWO_SECONDS)
    means = Means(encoder)
    means.add(wave, 2)
    units = torch.arange(WIDTH)
    for layer, chunks in enumerate(activations(encoder, wave)):
        counted = [chunk[:, encoder.counted(TWO_SECONDS, run)] for run, chunk in enumerate(chunks)]
        expected = torch.cat(counted, dim=1).double().mean((0, 1))
        found = means.values()(layer, 0, units, encoder.special_tokens + 1)[-1]
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


def test_a_clip_of_the_models_own_length_is_not_cut():
    ast = load(AST)
    assert ast.counted((1024 - 1) * 160 + 400, 0) == slice(2, 1214)
    assert load(WHISPER).counted(480_000, 0) == slice(0, 1500)


@pytest.mark.parametrize(
    ("kind", "config", "length", "kept"),
    [
        (AST, {**SIZES, "max_length": 64}, 63 * 160 + 400, 5),
        (WHISPER, {**CONFIGS[WHISPER], "max_source_positions": 50}, 16_000, 50),
    ],
)
def test_longer_clips_are_chunks_joined_in_time(kind, config, length, kept):
    encoder = load(kind, config=config)
    step = {AST: 64 * 160, WHISPER: length}[kind]  # windows of the filterbank reach into the next chunk
    wave = noise(2, 2 * step + 4_000)
    parts = [wave[:, :length], wave[:, step : step + length], wave[:, 2 * step :]]
    with torch.inference_mode():
        whole, found = encoder(wave), torch.cat([encoder(part) for part in parts], 1)
    torch.testing.assert_close(whole, found, rtol=1e-4, atol=1e-5)
    assert torch.equal(record(encoder, wave).active, sum(record(encoder, part).active for part in parts))
    seconds = encoder.token_seconds(wave.shape[1]).unique()
    assert len(seconds) == whole.shape[1]
    assert seconds[kept] == pytest.approx(step / 16_000)


@pytest.mark.parametrize("kind", [AST, WHISPER, "wav2vec2"])
def test_token_seconds_point_at_the_sound(kind):
    """A change of the sound from one time on changes the Transformer's input from there on."""
    # Without positional convolutions and a norm over time, which see beyond a token's own time span.
    extra = {"feat_extract_norm": "layer"} if kind == "wav2vec2" else {}
    encoder = load(kind, config={**CONFIGS[kind], **extra}, **({"normalize": False} if extra else {}))
    name = {AST: "embeddings", WHISPER: "conv2", "wav2vec2": "feature_projection"}[kind]
    seen = []
    encoder.model.get_submodule(name).register_forward_hook(lambda _, __, out: seen.append(out))
    wave = noise(1, TWO_SECONDS)
    with torch.inference_mode():
        for _ in range(2):
            encoder(wave)
            wave[:, 16_000:] *= -0.5
    before, after = (s[0] if isinstance(s, tuple) else s.mT if kind == WHISPER else s for s in seen)
    moved = (before - after)[0].abs().amax(1) > 1e-5
    moved, starts = moved[encoder.counted(TWO_SECONDS, 0)], encoder.token_seconds(TWO_SECONDS)
    # Patches of AST are 0.175 s long; Whisper's convolutions and window reach 32.5 ms to either side.
    reach = {AST: 0.175, WHISPER: 0.0325, "wav2vec2": 0.025}[kind]
    assert not moved[starts + reach <= 1.0].any()
    assert moved[starts >= 1.0].all()


# Front ends


def clips() -> torch.Tensor:
    """Noise, a quiet tone with an offset, a loud one, a click, silence, and 16-bit rounding noise; 2.1 s."""
    time = torch.arange(33_600) / 16_000
    click = torch.zeros(33_600)
    click[9_000] = 1
    return torch.stack(
        [
            noise(1, 33_600)[0],
            0.001 * torch.sin(2 * torch.pi * 440 * time) + 0.1,
            0.9 * torch.sin(2 * torch.pi * 3000 * time),
            click,
            torch.zeros(33_600),
            (noise(1, 33_600, 1)[0] * 10).round() / 32_768,
        ]
    )


def test_filterbank_is_that_of_asts_extractor():
    wave = clips()
    theirs = transformers.ASTFeatureExtractor()(list(wave.numpy()), sampling_rate=16_000, return_tensors="pt")
    ours = load(AST).front_end(wave)
    np.testing.assert_allclose(ours, theirs["input_values"], rtol=0, atol=1e-4)
    np.testing.assert_allclose(ours[0], theirs["input_values"][0], rtol=0, atol=2e-6)
    stats = {"mean": 1.0, "std": 2.0}
    theirs = transformers.ASTFeatureExtractor(**stats)(wave[0].numpy(), sampling_rate=16_000)
    ours = load(AST, norm_stats=[1.0, 2.0]).front_end(wave[:1])
    np.testing.assert_allclose(ours, np.stack(theirs["input_values"]), rtol=0, atol=2e-6)


@pytest.mark.parametrize("bands", [80, 128])
def test_log_mel_is_that_of_whispers_extractor(bands):
    wave = clips()
    extractor = transformers.WhisperFeatureExtractor(feature_size=bands)
    theirs = extractor(list(wave.numpy()), sampling_rate=16_000, return_tensors="pt")["input_features"]
    ours = load(WHISPER, config={**CONFIGS[WHISPER], "num_mel_bins": bands}).front_end(wave)
    assert ours.shape == theirs.shape == (len(wave), bands, 3000)
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=2e-6)


def test_waveforms_are_those_of_wav2vec2s_extractor():
    wave = clips()
    for normalize in (True, False):
        extractor = transformers.Wav2Vec2FeatureExtractor(do_normalize=normalize)
        theirs = extractor(list(wave.numpy()), sampling_rate=16_000, return_tensors="pt")["input_values"]
        ours = load("wav2vec2", normalize=normalize).front_end(wave)
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)
    assert torch.equal(load("wav2vec2").front_end(wave), load("wav2vec2", normalize=True).front_end(wave))


@pytest.mark.parametrize("kind", [AST, "wavlm"])
def test_clips_too_short_for_a_token_are_refused(kind):
    with pytest.raises(ModelError, match="clips of 399 samples are shorter"):
        load(kind)(torch.zeros(1, 399))


# Bad input


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"model_type": "huber"},
            f"transformers {transformers.__version__} has no model_type 'huber'; did you",
        ),
        ({"model_type": None}, "missing key(s) model_type"),
        ({"config": {"num_hiden_layers": 2}}, "config: hubert has no num_hiden_layers; did you mean num_hid"),
        ({"config": {"num_hidden_layers": "two"}}, "transformers cannot build hubert"),
        ({"config": {"hidden_size": 25}}, "transformers cannot build hubert"),
        ({"norm_stats": [0, 1]}, "model_type hubert has no norm_stats"),
    ],
)
def test_a_block_that_makes_no_model(changes, message):
    with pytest.raises(ModelError) as error:
        load("hubert", **changes)
    assert str(error.value).startswith(f"models.mine: {message}")


def test_another_number_of_networks_than_configured():
    encoder = load("hubert")
    encoder.ffn = (3, WIDTH)
    with pytest.raises(ModelError, match=r"2 feed-forward networks of 40 neurons .* 3 of 40"):
        encoder.down_projections()


def test_without_the_library(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ModelError, match=r"models\.mine: .*pip install 'audio-neurons\[huggingface\]'"):
        load("hubert")


@pytest.mark.parametrize("version", ["4.56.1", "6.0.0"])
def test_another_version_of_the_library(monkeypatch, version):
    # transformers replaces its entry in sys.modules when it first loads a model.
    monkeypatch.setattr(sys.modules["transformers"], "__version__", version)
    with pytest.raises(ModelError, match=rf"transformers {version} is not supported, use 4\.57 to 5"):
        load("hubert")


# The interface


def test_sizes_that_configurations_leave_out_are_those_of_the_published_models():
    for kind in TYPES:
        config = transformers.AutoConfig.for_model(kind)
        if kind != WHISPER:
            assert (config.num_hidden_layers, config.intermediate_size) == (12, 3072)
    assert load(AST).grid == (12, 101)
    assert load(WHISPER).length == 30 * 16_000


def test_random_weights_follow_the_seed_alone():
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = load("hubert").state_dict()
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    again = load("hubert").state_dict()
    other = load("hubert", weights={"source": "random", "seed": 4}).state_dict()
    assert all(torch.equal(first[k], again[k]) for k in first)
    assert not all(torch.equal(first[k], other[k]) for k in first)


def write_clips(path: Path, waves: list[np.ndarray]) -> Path:
    with tables.writer(path, "clips", ["kind"]) as writer:
        writer.append(
            {
                "clip_id": [f"{n}.wav" for n in range(len(waves))],
                "audio": [audio.encode(w) for w in waves],
                "frames": [len(w) for w in waves],
                "split": ["train"] * len(waves),
                "fold": [0] * len(waves),
                "group": ["g"] * len(waves),
                "kind": ["dog", "cat", "cat"][: len(waves)],
            }
        )
    return path


def by_hand(encoder, wave: np.ndarray, recorded: int) -> tuple[torch.Tensor, int]:
    """Active tokens (neurons,) of a clip that begin within its recording, and the number of these tokens."""
    config, seen = encoder.model.config, []
    hop, rows = {
        AST: lambda: (config.time_stride * 160, encoder.grid[0]),
        "wav2vec2": lambda: (int(np.prod(config.conv_stride)), 1),
        WHISPER: lambda: (320, 1),
    }[config.model_type]()
    with encoder.listening(lambda layer, hidden: seen.append((layer, hidden[0]))), torch.inference_mode():
        encoder(torch.from_numpy(wave)[None])
    counted = encoder.counted(len(wave), 0)
    columns = seen[0][1][counted].shape[0] // rows
    heard = (torch.arange(columns) * hop < recorded).repeat(rows)  # tokens in order of frequency
    hidden = [hidden[counted][heard] for _, hidden in sorted(seen, key=lambda one: one[0])]
    return torch.cat([(layer > 0).sum(0, dtype=torch.int32) for layer in hidden]), int(heard.sum())


@pytest.mark.parametrize("count", ["recording", "window"])
@pytest.mark.parametrize("kind", [AST, "wav2vec2", WHISPER])
def test_extraction_end_to_end(tmp_path, kind, count):
    rng = np.random.default_rng(0)
    waves = [rng.normal(0, 0.1, n).astype(np.float32) for n in (9_000, 16_000, 20_000)]
    clips = write_clips(tmp_path / "clips.parquet", waves)
    encoder = load(kind)
    extraction.extract(
        encoder,
        clips,
        tmp_path,
        tmp_path / "embeddings.parquet",
        Pass(clip_seconds=1.0, batch_size=2, top_clips=2, count=count),
    )
    cropped = [audio.read(f, 16_000) for f in tables.read(clips, "clips")["audio"]]
    batches = [record(encoder, torch.from_numpy(wave)[None]) for wave in cropped]
    active = torch.cat([b.active for b in batches]).flatten(1)
    tokens = [b.tokens for b in batches]
    if count == "recording":
        active[0], tokens[0] = by_hand(encoder, cropped[0], 9_000)
        assert tokens[0] < batches[0].tokens
    cells = tables.read(tmp_path / "cells.parquet", "cells").set_index("kind")
    counts, _ = statistics.read_counts(tmp_path / "counts.parquet")
    assert cells["tokens"].to_dict() == {"cat": tokens[1] + tokens[2], "dog": tokens[0]}
    np.testing.assert_array_equal(counts[cells.loc["dog", "cell"]], active[0])
    np.testing.assert_array_equal(counts[cells.loc["cat", "cell"]], active[1:].sum(0))
    with torch.inference_mode():
        mean = encoder(torch.from_numpy(np.stack(cropped))).mean(1)
    embedded = tables.read(tmp_path / "embeddings.parquet", "embeddings")["embedding"]
    np.testing.assert_allclose(np.stack(embedded), mean, rtol=1e-4, atol=1e-5)
    top = tables.read(tmp_path / "top_clips.parquet", "top_clips")
    assert isinstance(top, pd.DataFrame)
    assert top["seconds"].between(0, 1, inclusive="left").all()
    assert len(top) == DEPTH * WIDTH * 2
