"""Folders of transformers, as its own `save_pretrained` writes them: what is read, refused and counted."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from common import SHARED

transformers = pytest.importorskip("transformers", reason="adapter huggingface needs transformers")

from tiny_models import WAVE, save, wave2vec  # noqa: E402

from audio_neurons import models  # noqa: E402
from audio_neurons.activations.recorder import Recorder  # noqa: E402
from audio_neurons.models import ModelError, comparison, registry  # noqa: E402
from audio_neurons.models.encoder import Encoder, numerics  # noqa: E402
from audio_neurons.recordings import audio  # noqa: E402

SECONDS = 2

# Type → widths of its feed-forward networks, tokens and frame features of 2 s.
ENCODERS = {
    "audio-spectrogram-transformer": ([40, 40], 240, 20),
    "data2vec-audio": ([40, 40], 99, 99),
    "hubert": ([40, 40], 99, 99),
    "wav2vec2": ([40, 40], 99, 99),
    "wavlm": ([40, 40], 99, 99),
    "unispeech": ([40, 40], 99, 99),
    "unispeech-sat": ([40, 40], 99, 99),
    "sew": ([40, 40], 49, 98),
    "wav2vec2-conformer": ([40] * 4, 99, 99),
    "wav2vec2-bert": ([40] * 4, 99, 99),
    "whisper": ([40, 40], 100, 100),
    "qwen2_audio_encoder": ([40, 40], 100, 50),
    "moonshine": ([40, 40], 82, 82),
    "clap": ([64, 64, 128, 128], 52, 7),
}


# As in transformers' own pipeline; by default AST encodes clips at their own length.
CONTEXT = {"audio-spectrogram-transformer": {"context": "full"}}


def noise(clips: int = 2, seconds: float = SECONDS) -> torch.Tensor:
    return 0.1 * torch.randn(clips, round(16_000 * seconds), generator=torch.Generator().manual_seed(0))


def load(folder: Path, **block) -> Encoder:
    """Load a folder's model as a run does."""
    weights = {"source": "folder", "path": str(folder)}
    return models.load(
        "mine", {"adapter": "huggingface", "weights": weights, **block}, folder / "config.json"
    )


def theirs(model, extractor, wave: torch.Tensor) -> torch.Tensor:
    """Last hidden states by transformers' own feature extractor and model."""
    inputs = extractor(list(wave.numpy()), sampling_rate=16_000, return_tensors="pt")
    name = model.config.model_type
    model = {
        "whisper": lambda: model.encoder,
        "moonshine": lambda: model.encoder,
        "clap": lambda: model.audio_model,
    }.get(name, lambda: model)()
    if name == "qwen2_audio_encoder" or name == "whisper":
        inputs = {"input_features": inputs["input_features"]}
    with torch.inference_mode():
        return model(**inputs).last_hidden_state


@pytest.mark.parametrize("kind", ENCODERS)
def test_features_are_those_of_transformers_own_pipeline(tmp_path, kind):
    model, extractor = save(tmp_path, kind)
    encoder, wave = load(tmp_path, **CONTEXT.get(kind, {})), noise()
    expected = theirs(model, extractor, wave)
    with torch.inference_mode():
        found = encoder(wave)
    if kind == "audio-spectrogram-transformer":
        expected = expected[:, 2:].unflatten(1, (12, 101)).transpose(1, 2).flatten(2)
    if kind == "clap":
        expected = expected.permute(0, 3, 2, 1).flatten(2)
    assert found.shape[1] == ENCODERS[kind][2]
    torch.testing.assert_close(found, expected[:, : found.shape[1]], rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("kind", ENCODERS)
def test_weights_cast_once_to_bfloat16_give_the_features_of_autocast(tmp_path, kind):
    save(tmp_path, kind)
    encoder, wave = load(tmp_path), noise()
    with torch.inference_mode():
        single = encoder(wave)
        with numerics(encoder, "bf16"):
            assert any(own.dtype is torch.bfloat16 for own in encoder.parameters())
            found = encoder(wave)
        assert torch.equal(encoder(wave), single)
        encoder.bfloat16 = True  # autocast alone, which casts weights in every pass
        assert torch.equal(found, encoder(wave))
    assert not torch.equal(found, single)


@pytest.mark.parametrize("kind", ENCODERS)
def test_neurons_of_every_network_are_counted_on_the_clips_tokens(tmp_path, kind):
    save(tmp_path, kind)
    encoder, wave = load(tmp_path, **CONTEXT.get(kind, {})), noise()
    widths, tokens, _ = ENCODERS[kind]
    assert encoder.widths == widths
    with torch.inference_mode(), Recorder(encoder) as recorder:
        recorder.begin(wave)
        encoder(wave)
        batch = recorder.end()
    assert batch.tokens == tokens == len(encoder.token_seconds(wave.shape[1]))
    assert encoder.token_seconds(wave.shape[1]).max() < SECONDS
    seen: list[torch.Tensor] = []
    with torch.inference_mode(), encoder.listening(lambda _, hidden: seen.append(hidden.clone())):
        encoder(wave)
    for layer, hidden in enumerate(seen):
        counted = hidden[:, by_hand(kind, layer, wave.shape[1])]
        assert torch.equal(batch.active[:, layer, : widths[layer]], (counted > 0).sum(1))
        assert not batch.active[:, layer, widths[layer] :].any()
    flat = encoder.flat(batch.active)
    assert flat.shape[1] == sum(widths) == len(encoder.neurons)
    assert encoder.neurons.tolist() == [[layer, unit] for layer, w in enumerate(widths) for unit in range(w)]
    assert 0 < flat.sum() < flat.numel() * tokens


def by_hand(kind: str, layer: int, samples: int) -> list[int]:
    """Tokens of a layer that a clip of 2 s counts, by plain arithmetic."""
    if kind == "audio-spectrogram-transformer":
        return [2 + 101 * row + column for row in range(12) for column in range(20)]
    if kind != "clap":
        return list(range(ENCODERS[kind][1]))
    # 16 x 16 tokens: four rows for each quarter of the 10 s, whose 2.5 s are 16 columns; then 8 x 8.
    first = [
        (row, column) for row in range(4) for column in range(16) if column * 2.5 / 16 < samples / 16_000
    ]
    if layer < 2:
        return [row * 16 + column for row, column in first]
    return [(row // 2) * 8 + column // 2 for row, column in first]


@pytest.mark.parametrize("kind", ["sew", "moonshine", "qwen2_audio_encoder", "clap"])
def test_only_the_recording_counts_where_it_is_shorter_than_the_clip(tmp_path, kind):
    """Of clips of 2 s whose recording is 0.8 s; a recorder may ask for token times while it listens."""
    save(tmp_path, kind)
    encoder, wave, ends = load(tmp_path), noise(), torch.tensor([12_800, 32_000])
    wave[0, 12_800:] = 0
    with torch.inference_mode(), Recorder(encoder) as recorder:
        recorder.begin(wave, ends)
        features = encoder(wave)
        active = recorder.end().active
    seen: list[torch.Tensor] = []
    with torch.inference_mode(), encoder.listening(lambda _, hidden: seen.append(hidden.clone())):
        encoder(wave)
    heard = encoder.token_seconds(32_000) < 0.8 - 1e-6
    assert 0 < heard.sum() < len(heard)
    for layer, hidden in enumerate(seen):
        counted = hidden[:1, by_hand(kind, layer, 32_000)][:, heard]
        assert torch.equal(active[:1, layer, : encoder.widths[layer]], (counted > 0).sum(1))
    frames = encoder.frame_seconds(32_000, features.shape[1])
    assert len(frames) == features.shape[1]
    assert frames[0] == 0
    assert frames.diff().max() - frames.diff().min() < 1e-5
    assert frames[-1] < 2.0 <= frames[-1] + 3.5 * frames[1]
    expected = torch.stack([features[0, frames < 0.8 - 1e-6].mean(0), features[1].mean(0)])
    torch.testing.assert_close(encoder.pooled(features, 32_000, ends), expected)


def test_networks_are_named_by_block_and_ffn(tmp_path):
    save(tmp_path, "wav2vec2-bert")
    assert [name.removeprefix("model.encoder.layers.") for name in load(tmp_path).networks()] == [
        f"{block}.ffn{number}.output_dense" for block in (0, 1) for number in (1, 2)
    ]


# What is read together


@pytest.mark.parametrize("form", ["safetensors", "parts", "bin", "bin parts"])
def test_all_forms_of_weights_are_the_same_model(tmp_path, form):
    model, _ = save(tmp_path, "hubert", **({"max_shard_size": "20KB"} if form == "parts" else {}))
    expected = load(tmp_path)(noise())
    if form == "parts":
        assert len(list(tmp_path.glob("model-*.safetensors"))) > 1
    if form.startswith("bin"):
        (tmp_path / "model.safetensors").unlink()
        state = model.state_dict()
        if form == "bin":
            torch.save(state, tmp_path / "pytorch_model.bin")
        else:
            halves = list(state)[::2], list(state)[1::2]
            files = {f"pytorch_model-0000{i}-of-00002.bin": half for i, half in enumerate(halves, 1)}
            for file, names in files.items():
                torch.save({name: state[name] for name in names}, tmp_path / file)
            listed = {"weight_map": {name: file for file, names in files.items() for name in names}}
            (tmp_path / "pytorch_model.bin.index.json").write_text(json.dumps(listed))
        assert torch.equal(load(tmp_path)(noise()), expected)
    with torch.inference_mode():
        front = load(tmp_path).front_end(noise())
        assert torch.equal(expected, model(front).last_hidden_state)


@pytest.mark.parametrize("change", [{"do_stable_layer_norm": True}, {"num_attention_heads": 1}])
def test_what_weights_do_not_show_is_read_or_demanded(tmp_path, change):
    """HuBERT with another order of norms, or half the heads, whose weights look the same."""
    torch.manual_seed(3)
    config = {**WAVE, "feat_extract_norm": "layer", "conv_bias": True}
    model = transformers.HubertModel(transformers.HubertConfig(**{**config, **change})).eval()
    model.save_pretrained(tmp_path)
    wave2vec(do_normalize=False).save_pretrained(tmp_path)
    with torch.inference_mode():
        expected = model(noise()).last_hidden_state
    assert torch.equal(load(tmp_path)(noise()), expected)
    block = {"adapter": "huggingface", "model_type": "hubert", "weights": {"source": "checkpoint"}}
    assert torch.equal(models.load("m", block, tmp_path / "model.safetensors")(noise()), expected)
    for name in ("config.json", "preprocessor_config.json"):
        (tmp_path / name).unlink()
    del config["num_attention_heads"]
    with pytest.raises(ModelError, match=r"models\.m: the weights in .* do not show ") as error:
        models.load("m", {**block, "config": config}, tmp_path / "model.safetensors")
    named = {"num_attention_heads", "hidden_act", "layer_norm_eps", "feat_extract_activation", "conv_stride"}
    for key in {f"config.{key}" for key in {*named, "do_stable_layer_norm"}} | {"normalize"}:
        assert f"{key}," in str(error.value) or f"{key}:" in str(error.value), key
    assert "dropout" not in str(error.value)
    own = {key: getattr(model.config, key) for key in (*named, "do_stable_layer_norm")}
    told = {**block, "config": {**config, **own}, "normalize": False}
    assert torch.equal(models.load("m", told, tmp_path / "model.safetensors")(noise()), expected)


@pytest.mark.parametrize(
    ("block", "told"),
    [
        ({"model_type": "wavlm"}, "model_type is wavlm in the configuration, but hubert in .*config.json"),
        (
            {"config": {"num_attention_heads": 4}},
            r"config.num_attention_heads is 4 in .*, but 2 in .*config\.json",
        ),
        (
            {"normalize": False},
            "normalize is False in .*, but do_normalize is True in preprocessor_config.json",
        ),
        ({"norm_stats": [0, 1]}, "model_type hubert has no norm_stats"),
        ({"config": {"num_heads": 4}}, "config: hubert has no num_heads"),
    ],
)
def test_a_key_that_contradicts_the_files_is_told_with_both_values(tmp_path, block, told):
    save(tmp_path, "hubert")
    with pytest.raises(ModelError, match=rf"^models\.mine: {told}"):
        load(tmp_path, **block)


def test_keys_that_agree_with_the_files_are_allowed(tmp_path):
    save(tmp_path, "hubert")
    same = {"model_type": "hubert", "normalize": True, "config": {"num_attention_heads": 2}}
    assert torch.equal(load(tmp_path, **same)(noise()), load(tmp_path)(noise()))


# Bad input


def edited(folder: Path, file: str, **values) -> None:
    content = json.loads((folder / file).read_text())
    (folder / file).write_text(json.dumps({**content, **values}))


def test_bad_folders_are_told(tmp_path):
    save(tmp_path / "good", "hubert", max_shard_size="20KB")

    def broken(name: str) -> Path:
        return Path(shutil.copytree(tmp_path / "good", tmp_path / name))

    cases = {}
    folder = broken("code")
    edited(folder, "config.json", auto_map={"AutoModel": "modeling.Mine"})
    cases[folder] = r"asks to run code of its own \(auto_map\), which is refused.*docs/add-a-model.md"
    folder = broken("processor-code")
    edited(folder, "preprocessor_config.json", auto_map={"AutoFeatureExtractor": "mine.Mine"})
    cases[folder] = r"preprocessor_config.json asks to run code of its own"
    folder = broken("half")
    next(folder.glob("model-00002*")).unlink()
    cases[folder] = r"is incomplete: model.safetensors.index.json lists model-00002.* finish the download"
    folder = broken("cut")
    part = next(folder.glob("model-00002*"))
    part.write_bytes(part.read_bytes()[:-100])
    cases[folder] = r"model-00002.* is not a readable safetensors file"
    folder = broken("other")
    values = json.loads((folder / "config.json").read_text())
    config = transformers.WavLMConfig(**WAVE).to_dict()
    (folder / "config.json").write_text(json.dumps({**config, "architectures": None}))
    assert values["model_type"] == "hubert"
    cases[folder] = (
        r"does not fit this architecture: missing .*names the architecture wavlm; are the weights of"
    )
    folder = broken("unknown")
    edited(folder, "config.json", model_type="hubet")
    cases[folder] = r"transformers .* has no model_type 'hubet'; did you mean 'hubert'\?"
    folder = broken("untyped")
    edited(folder, "config.json", model_type=None)
    cases[folder] = "names no model_type"
    folder = broken("text")
    (folder / "config.json").write_text("{")
    cases[folder] = "config.json is not readable JSON"
    for folder, told in cases.items():
        with pytest.raises(ModelError, match=rf"(?s)^models\.mine: .*{told}"):
            load(folder)


def test_clips_have_the_rate_that_a_folders_processor_asks_for(tmp_path):
    save(tmp_path, "hubert")
    block = {"adapter": "huggingface", "weights": {"source": "folder", "path": str(tmp_path)}}
    assert registry.sample_rate("mine", block) == 16_000
    edited(tmp_path, "preprocessor_config.json", sampling_rate=48_000)
    assert registry.sample_rate("mine", block) == 48_000
    assert load(tmp_path).sample_rate == 48_000
    with pytest.raises(
        ModelError, match=r"the encoder hears 48000 Hz, but its clips have 16000 Hz; set sample_r"
    ):
        load(tmp_path, sample_rate=16_000)
    (tmp_path / "preprocessor_config.json").write_text("{")
    with pytest.raises(ModelError, match=r"preprocessor_config\.json is not readable JSON"):
        registry.sample_rate("mine", block)


def test_a_front_end_that_nothing_describes_is_told(tmp_path):
    save(tmp_path, "moonshine")
    (tmp_path / "preprocessor_config.json").unlink()
    with pytest.raises(
        ModelError, match=r"the input of moonshine is described by a preprocessor_config\.json"
    ):
        load(tmp_path)


def test_clips_longer_than_the_extractor_takes_are_refused(tmp_path):
    save(tmp_path, "clap")
    with pytest.raises(
        ModelError, match=r"clips of 11 s are longer than the 10 s that ClapFeatureExtractor takes"
    ):
        load(tmp_path)(noise(1, 11))


# Real weights

REAL = SHARED / "models" / "whisper-base"


@pytest.fixture(scope="module")
def real():
    if not REAL.is_dir():
        pytest.skip("needs the real weights of ../shared")
    return load(REAL)


@pytest.fixture(scope="module")
def recordings() -> torch.Tensor:
    files = sorted((SHARED / "data" / "real" / "ravdess").iterdir())[:6:2]
    if not files:
        pytest.skip("needs the real recordings of ../shared")
    clips = [audio.read(audio.encode(audio.decode(path)), 48_000) for path in files]
    return torch.from_numpy(np.stack(clips))


def test_the_real_whisper_has_the_features_of_transformers_own(real, recordings):
    own = transformers.WhisperModel.from_pretrained(REAL, dtype=torch.float32).encoder.eval()
    extractor = transformers.AutoFeatureExtractor.from_pretrained(REAL)
    inputs = extractor(list(recordings.numpy()), sampling_rate=16_000, return_tensors="pt")
    with torch.inference_mode():
        expected = own(inputs["input_features"]).last_hidden_state[:, :150]
        found = real(recordings)
    assert found.shape == expected.shape == (len(recordings), 150, 512)
    assert (found - expected).abs().max() < 1e-3
    assert (found - expected).abs().max() / expected.std() < 1e-3


def test_counts_of_the_real_whisper_are_those_by_hand(real, recordings):
    """From the weights of each block's first linear layer, which no code of the recorder reads."""
    seen = []
    hooks = [
        layer.fc1.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
        for layer in real.model.layers
    ]
    with torch.inference_mode(), Recorder(real) as recorder:
        recorder.begin(recordings)
        real(recordings)
        batch = recorder.end()
    for hook in hooks:
        hook.remove()
    assert batch.active.shape == (len(recordings), 6, 2048)
    assert batch.tokens == 150
    for number, (layer, given) in enumerate(zip(real.model.layers, seen, strict=True)):
        with torch.inference_mode():
            before = (given @ layer.fc1.weight.T + layer.fc1.bias)[:, :150]  # of the same sign as after
        slack = (before.abs() < 1e-5).sum(1)  # where rounding may change the sign
        assert ((batch.active[:, number] - (before > 0).sum(1)).abs() <= slack).all()
        assert slack.sum() < 1e-4 * before.numel()


# Comparison with transformers' own pipeline


@pytest.mark.parametrize("kind", ["hubert", "sew", "clap", "qwen2_audio_encoder"])
def test_the_comparison_loads_the_folder_anew_and_sees_a_difference(tmp_path, kind):
    save(tmp_path, kind)
    encoder, block = load(tmp_path), {"adapter": "huggingface"}
    found = comparison.difference(encoder, block, tmp_path / "config.json", noise())
    assert found.small
    with torch.no_grad():
        encoder.down_projections()[-1].weight.mul_(-3)
    assert not comparison.difference(encoder, block, tmp_path / "config.json", noise()).small


def test_what_cannot_be_compared_is_told(tmp_path):
    save(tmp_path, "hubert")
    encoder = load(tmp_path)
    (tmp_path / "preprocessor_config.json").unlink()
    with pytest.raises(ModelError, match=r"no feature extractor without preprocessor_config\.json"):
        comparison.difference(encoder, {"adapter": "huggingface"}, tmp_path / "config.json", noise())
    with pytest.raises(ModelError, match=r"loads no model without config\.json"):
        comparison.difference(encoder, {"adapter": "huggingface"}, None, noise())


def test_what_was_read_from_where_is_told(tmp_path):
    save(tmp_path, "hubert")
    values = json.loads((tmp_path / "config.json").read_text())
    del values["layer_norm_eps"]
    (tmp_path / "config.json").write_text(json.dumps(values))
    places = {
        key: (value, place) for key, value, place in load(tmp_path, config={"layer_norm_eps": 1e-3}).origins
    }
    where = str(tmp_path / "config.json")
    assert places["model_type"] == ("hubert", where)
    assert places["num_attention_heads"] == ("2", where)
    assert places["layer_norm_eps"] == ("0.001", "configuration")
    assert places["normalize"] == ("True", "preprocessor_config.json")
    assert {key: place for key, _, place in load(tmp_path).origins}[
        "layer_norm_eps"
    ] == "transformers' default"
