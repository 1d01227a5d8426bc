"""Which block and feed-forward network a layer is, and how many neurons the encoders of transformers have."""

from __future__ import annotations

import re

import pytest
from common import ROOT, TINY

transformers = pytest.importorskip("transformers", reason="adapter huggingface needs transformers")

from test_huggingface_folders import ENCODERS, load  # noqa: E402
from tiny_models import save  # noqa: E402

from audio_neurons import models, tables  # noqa: E402
from audio_neurons.models import networks  # noqa: E402
from audio_neurons.models.huggingface import default_networks  # noqa: E402


def listed(encoder, path):
    """Block, network of the block, and neurons of each layer, as the table has them."""
    networks.write(encoder, path)
    table = tables.read(path, "networks")
    modules = dict(encoder.named_modules())
    for row in table.itertuples():
        assert modules[row.network] is encoder.down_projections()[row.layer]
    return list(zip(table["block"], table["ffn"], table["neurons"], strict=True))


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("wav2vec2-bert", [(0, 0, 40), (0, 1, 40), (1, 0, 40), (1, 1, 40)]),
        ("wav2vec2-conformer", [(0, 0, 40), (0, 1, 40), (1, 0, 40), (1, 1, 40)]),
        ("clap", [(0, 0, 64), (1, 0, 64), (2, 0, 128), (3, 0, 128)]),
        ("whisper", [(0, 0, 40), (1, 0, 40)]),
    ],
)
def test_layers_are_networks_of_blocks(kind, expected, tmp_path):
    save(tmp_path, kind)
    assert (
        listed(load(tmp_path, **({"sample_rate": 16_000} if kind == "clap" else {})), tmp_path / "n.parquet")
        == expected
    )


def test_a_vit_has_one_network_in_each_block(tmp_path):
    encoder = models.load("tiny", TINY, None)
    assert listed(encoder, tmp_path / "n.parquet") == [(0, 0, 64), (1, 0, 64)]


@pytest.mark.parametrize("kind", ENCODERS)
def test_the_page_has_the_neurons_of_default_configurations(kind):
    """As many as the library's own modules have: an input of each feed-forward network's second layer."""
    page = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")
    (row,) = re.findall(rf"^\| `{re.escape(kind)}`.* \|$", page, re.MULTILINE)
    found = [network.in_features for network in default_networks(kind).values()]
    assert row.split(" | ")[-1].removesuffix(" |") == networks.in_words(found)
