"""Shared by tests of all rooms: the folder of the checkout, and the configuration of a tiny encoder."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared"  # real recordings, weights and reference outputs; not published
TINY = {
    "adapter": "vit",
    "input_size": [80, 64],
    "embed_dim": 16,
    "depth": 2,
    "num_heads": 2,
    "weights": {"source": "random", "seed": 5},
}
