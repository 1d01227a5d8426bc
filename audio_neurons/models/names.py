"""What the name of the folder of an M2D checkpoint says, which is known before the weights are here."""

from __future__ import annotations

import re
from typing import Any

from audio_neurons.models.errors import ModelError

SOURCE = "the folder's name"
# -{mel bands}x{frames}p{bands}x{frames of a patch}, and p{kHz}k if clips have another rate than 16 kHz.
_SIZES = re.compile(r"-(\d+)x(\d+)p(\d+)x(\d+)(?:p(\d+)k)?(?=-|$)")
_WIDTH = re.compile(r"(?:^|_)vit_(tiny|small|base|large|huge)(?=[_-]|$)")
# Width, depth and heads of the Vision Transformers of these names (timm's, and MAE's for huge).
_VITS = {
    "tiny": (192, 12, 3), "small": (384, 12, 6), "base": (768, 12, 12), "large": (1024, 24, 16),
    "huge": (1280, 32, 16),
}  # fmt: skip
RATES = (16_000, 32_000)  # sampling rates of M2D's front ends


def facts(folder: str) -> dict[str, Any]:
    """Return the sizes and the sampling rate that the name of an M2D checkpoint's folder gives.

    The checkpoint itself does not contain the sampling rate, the heads, and how bands and frames share the
    positions. An empty result means that the name is not one of M2D's.

    Raises
    ------
    ModelError
        If it names a sampling rate for which M2D has no front end.

    >>> facts("m2d_vit_base-80x608p16x16-221006-mr7")["input_size"]
    (80, 608)
    >>> facts("m2d_as_vit_base-80x1001p16x16p32k-240413_AS-FT_enconly")["sample_rate"]
    32000
    >>> facts("checkpoints")
    {}
    """
    found: dict[str, Any] = {}
    if match := _SIZES.search(folder):
        bands, frames, height, width = map(int, match.groups()[:4])
        rate = 1000 * int(match[5] or 16)
        if rate not in RATES:
            known = " and ".join(f"p{rate // 1000}k" for rate in RATES)
            raise ModelError(f"{folder}: M2D has no front end for p{match[5]}k, only for {known}")
        found = {"input_size": (bands, frames), "patch_size": (height, width), "sample_rate": rate}
        if size := _WIDTH.search(folder[: match.start()]):
            found |= dict(zip(("embed_dim", "depth", "num_heads"), _VITS[size[1]], strict=True))
            found["mlp_ratio"] = 4.0
    return found
