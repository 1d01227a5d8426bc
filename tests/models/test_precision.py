"""Precision of a pass: what `numerics` sets, and leaves behind."""

import pytest
import torch

from audio_neurons.models.encoder import numerics

WAVE = 0.1 * torch.randn(2, 24_000, generator=torch.Generator().manual_seed(0))


def described(encoder):
    return {name: (own.dtype, own.data_ptr()) for name, own in encoder.named_parameters()}


def test_weights_of_matrix_products_are_cast_once_with_the_features_of_autocast(encoder):
    with torch.inference_mode():
        encoder.bfloat16 = True  # autocast alone, which casts them in every pass
        expected = encoder(WAVE)
        encoder.bfloat16 = False
        with numerics(encoder, "bf16"):
            cast = {name for name, own in encoder.named_parameters() if own.dtype is torch.bfloat16}
            found = encoder(WAVE)
    assert torch.equal(found, expected)
    named = dict(encoder.named_parameters())
    assert {"vit.blocks.0.mlp.fc1.weight", "vit.patch_embed.proj.bias"} <= cast
    assert not any("norm" in name for name in cast)
    assert {name for name in named if name.endswith("weight") and named[name].ndim > 1} <= cast


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16"])
def test_the_encoder_is_left_as_it_was(encoder, precision, fails):
    before = described(encoder), torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    try:
        with numerics(encoder, precision):
            if fails:
                raise RuntimeError("stop")
    except RuntimeError:
        assert fails
    after = described(encoder), torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    assert after == before
    assert not encoder.bfloat16
