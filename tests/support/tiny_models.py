"""Tiny encoders of transformers with random weights, saved as its own `save_pretrained` does."""

from __future__ import annotations

from pathlib import Path

import torch
import transformers

SIZES = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 40}
WAVE = {**SIZES, "conv_dim": [8] * 7, "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 2}
TEXT = {"vocab_size": 50, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
SEEN = {"d_model": 24, "encoder_layers": 2, "encoder_attention_heads": 2, "encoder_ffn_dim": 40}


def wave2vec(**kind):
    return transformers.Wav2Vec2FeatureExtractor(**kind)


def clap():
    """A whole CLAP, of which only the audio encoder is read; at the rate of clips, not at its own 48 kHz."""
    audio_config = {
        "spec_size": 64, "num_mel_bins": 16, "depths": [2, 2], "num_attention_heads": [2, 4],
        "patch_embeds_hidden_size": 16, "hidden_size": 32, "window_size": 8, "projection_dim": 8,
    }  # fmt: skip
    text = {**SIZES, "vocab_size": 50, "max_position_embeddings": 20, "projection_dim": 8}
    config = transformers.ClapConfig(audio_config=audio_config, text_config=text, projection_dim=8)
    extractor = transformers.ClapFeatureExtractor(
        feature_size=16, sampling_rate=16_000, hop_length=626, max_length_s=10, fft_window_size=1024,
        frequency_max=8000, truncation="rand_trunc",
    )  # fmt: skip
    return transformers.ClapModel(config), extractor


def made(kind: str):
    """Return a tiny model of a type, with random weights, and its feature extractor."""
    if kind == "clap":
        return clap()
    if kind == "qwen2_audio_encoder":
        config = {**SEEN, "num_mel_bins": 80, "max_source_positions": 1500}
        extractor = transformers.WhisperFeatureExtractor()
    elif kind == "whisper":
        decoder = {"decoder_layers": 1, "decoder_attention_heads": 2, "decoder_ffn_dim": 16}
        config = {**SEEN, **TEXT, **decoder, "decoder_start_token_id": 1}
        extractor = transformers.WhisperFeatureExtractor()
    elif kind == "moonshine":
        layers = {"encoder_num_hidden_layers": 2, "decoder_num_hidden_layers": 1}
        heads = {"encoder_num_attention_heads": 2, "decoder_num_attention_heads": 2}
        config = {**TEXT, **layers, **heads, "hidden_size": 24, "intermediate_size": 40}
        config, extractor = {**config, "decoder_start_token_id": 1}, wave2vec(do_normalize=False)
    elif kind == "wav2vec2-bert":
        config, extractor = (
            {**SIZES, "feature_projection_input_dim": 160},
            transformers.SeamlessM4TFeatureExtractor(),
        )
    elif kind == "audio-spectrogram-transformer":
        config, extractor = SIZES, transformers.ASTFeatureExtractor(mean=-3.0, std=2.0)
    else:
        config, extractor = (
            {**WAVE, **({"conv_dim": [8] * 13} if kind == "sew" else {})},
            wave2vec(do_normalize=True),
        )
    return transformers.AutoModel.from_config(transformers.AutoConfig.for_model(kind, **config)), extractor


def save(folder: Path, kind: str, **save):
    torch.manual_seed(3)
    model, extractor = made(kind)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    model.eval().save_pretrained(folder, **save)
    extractor.save_pretrained(folder)
    return model, extractor
