"""Checkpoints of transformers: with and without heads, of both versions, and mismatched ones."""

from __future__ import annotations

import pytest
import torch
from test_huggingface import (
    AST,
    CONFIGS,
    DEPTH,
    TWO_SECONDS,
    TYPES,
    WAVEFORM,
    WHISPER,
    WIDTH,
    load,
    noise,
    transformers,
)
from test_models import Intruder

from audio_neurons.models import ModelError

# Classes whose checkpoints each type may have; the first is the bare encoder.
HEADS = {
    AST: ("ASTModel", "ASTForAudioClassification"),
    "data2vec-audio": ("Data2VecAudioModel", "Data2VecAudioForCTC"),
    "hubert": ("HubertModel", "HubertForCTC", "HubertForSequenceClassification"),
    "wav2vec2": ("Wav2Vec2Model", "Wav2Vec2ForPreTraining", "Wav2Vec2ForCTC"),
    "wavlm": ("WavLMModel", "WavLMForXVector"),
    WHISPER: ("WhisperModel", "WhisperForConditionalGeneration", "WhisperForAudioClassification"),
}


def reference(kind: str, head: str):
    """A transformers model of the small configuration, with weights other than its initial ones."""
    torch.manual_seed(7)
    config = transformers.AutoConfig.for_model(kind, **CONFIGS[kind])
    model = getattr(transformers, head)(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.01 * torch.randn_like(parameter))
    return model


def output(model, features):
    """Last hidden state of the encoder inside a model with any head."""
    with torch.inference_mode():
        if hasattr(model, "get_encoder") and model.config.model_type == WHISPER:
            model = model.get_encoder()
        elif model.config.model_type == WHISPER:
            model = model.encoder
        else:
            model = getattr(model, model.base_model_prefix, model)
        return model(features).last_hidden_state


def same(encoder, model) -> bool:
    features = encoder.front_end(noise(1, TWO_SECONDS))
    with torch.inference_mode():
        return torch.equal(encoder.model(features).last_hidden_state, output(model, features))


@pytest.mark.parametrize(("kind", "head"), [(kind, head) for kind in TYPES for head in HEADS[kind]])
def test_saved_models_give_identical_outputs(tmp_path, kind, head):
    model = reference(kind, head)
    model.save_pretrained(tmp_path)
    (tmp_path / "config.json").unlink()
    assert same(load(kind, tmp_path / "model.safetensors"), model)


@pytest.mark.parametrize("kind", TYPES)
def test_pytorch_files_under_the_librarys_own_names(tmp_path, kind):
    model = reference(kind, HEADS[kind][-1])
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    assert same(load(kind, tmp_path / "pytorch_model.bin"), model)


def test_whispers_encoder_alone(tmp_path):
    model = reference(WHISPER, "WhisperModel")
    torch.save(model.encoder.state_dict(), tmp_path / "encoder.pt")
    assert same(load(WHISPER, tmp_path / "encoder.pt"), model)


def test_names_of_older_versions(tmp_path):
    """Weight normalisation before torch 2, and AST before transformers 5."""
    model = reference("hubert", "HubertForCTC")
    weight = "hubert.encoder.pos_conv_embed.conv."
    old = {f"{weight}parametrizations.weight.original{i}": f"{weight}weight_{n}" for i, n in enumerate("gv")}
    state = model.state_dict()
    assert old.keys() < state.keys()
    torch.save({old.get(k, k): v for k, v in state.items()}, tmp_path / "hubert.bin")
    assert same(load("hubert", tmp_path / "hubert.bin"), model)

    model = reference(AST, "ASTForAudioClassification")
    names = {
        ".layers.": ".encoder.layer.",
        ".attention.q_proj.": ".attention.attention.query.",
        ".attention.k_proj.": ".attention.attention.key.",
        ".attention.v_proj.": ".attention.attention.value.",
        ".attention.o_proj.": ".attention.output.dense.",
        ".mlp.fc1.": ".intermediate.dense.",
        ".mlp.fc2.": ".output.dense.",
    }
    state = {}
    for key, value in model.state_dict().items():
        for new, name in names.items():
            key = key.replace(new, name)
        state[key] = value
    assert "audio_spectrogram_transformer.encoder.layer.1.attention.output.dense.bias" in state
    torch.save(state, tmp_path / "ast.bin")
    assert same(load(AST, tmp_path / "ast.bin"), model)


def test_half_precision_becomes_single(tmp_path):
    model = reference("wavlm", "WavLMModel").half()
    torch.save(model.state_dict(), tmp_path / "half.bin")
    assert same(load("wavlm", tmp_path / "half.bin"), model.float())


@pytest.mark.parametrize("kind", ["hubert", WHISPER])
def test_loading_prints_nothing_and_leaves_the_library_as_it_was(tmp_path, capfd, kind):
    logging = transformers.utils.logging
    model = reference(kind, HEADS[kind][1])
    model.save_pretrained(tmp_path)
    (tmp_path / "config.json").unlink()
    before, state = (logging.get_verbosity(), logging.is_progress_bar_enabled()), torch.get_rng_state()
    capfd.readouterr()
    load(kind, tmp_path / "model.safetensors")
    with pytest.raises(ModelError):
        load(kind, tmp_path / "model.safetensors", config={})
    assert "".join(capfd.readouterr()) == ""
    assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == before
    assert torch.equal(torch.get_rng_state(), state)


def test_a_parameter_of_training_alone_may_be_missing(tmp_path):
    model = reference("wav2vec2", "Wav2Vec2Model")
    state = {k: v for k, v in model.state_dict().items() if k != "masked_spec_embed"}
    torch.save(state, tmp_path / "a.bin")
    assert same(load("wav2vec2", tmp_path / "a.bin"), model)
    torch.save(model.state_dict(), tmp_path / "b.bin")
    unmasked = {**WAVEFORM, "mask_time_prob": 0.0}
    assert same(load("wav2vec2", tmp_path / "b.bin", config=unmasked), model)


@pytest.mark.parametrize("kind", [AST, "hubert", WHISPER])
def test_misfit_names_model_and_keys(tmp_path, kind):
    model = reference(kind, HEADS[kind][1])
    state = model.state_dict()
    down = next(k for k in state if k.endswith((".fc2.bias", ".output.dense.bias", ".output_dense.bias")))
    depth, width = {WHISPER: ("encoder_layers", "encoder_ffn_dim")}.get(
        kind, ("num_hidden_layers", "intermediate_size")
    )
    cases = [
        ({k: v for k, v in state.items() if k != down}, {}, "missing "),
        ({**state, "something.weight": torch.ones(3)}, {}, "unexpected something.weight"),
        (state, {depth: DEPTH + 1}, "missing "),
        (state, {depth: DEPTH - 1}, "unexpected "),
        (state, {width: WIDTH * 2}, " is not (80, 24)"),
        ({}, {}, "holds no weights, but nothing"),
        ({**state, down: torch.zeros(3)}, {}, " is not (24,)"),
    ]
    for number, (content, changes, message) in enumerate(cases):
        torch.save(dict(content), tmp_path / f"{number}.bin")
        with pytest.raises(ModelError) as error:
            load(kind, tmp_path / f"{number}.bin", config={**CONFIGS[kind], **changes})
        assert str(error.value).startswith("models.mine: ")
        assert (f"{number}.bin does not fit" in str(error.value)) == bool(content)
        assert message in str(error.value), error.value


def test_checkpoint_that_runs_code_is_refused_and_not_run(tmp_path):
    footprint = tmp_path / "was-here"
    torch.save({"weight": Intruder(footprint)}, tmp_path / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"models\.mine: .*run code.* Convert it to safetensors"):
        load("hubert", tmp_path / "pytorch_model.bin")
    assert not footprint.exists()
