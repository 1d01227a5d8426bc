"""Cost of the statistics in each adapter: extraction compared with the bare forward pass, by batch.

Extraction is interleaved with a twin without hooks, as in ``extraction``, at real shapes: base-size encoders,
random weights, clips shorter than AST's and Whisper's own length, so that padding is left out of the counts.
A ratio is that of one batch, from the end of a forward pass to the end of the next. It leaves out the first
batches, in which almost every clip is a neuron's strongest, and the writing of tables at the end.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from torch import Tensor

from audio_neurons import models
from audio_neurons.activations.extraction import extract
from audio_neurons.models.encoder import Encoder
from audio_neurons.settings.extraction import Pass
from benchmarks.common import RANDOM, TINY, Report, make_clips, now, options
from benchmarks.extraction import Twins

WHISPER_BASE = {"d_model": 512, "encoder_layers": 6, "encoder_attention_heads": 8, "encoder_ffn_dim": 2048}
BLOCKS = {
    "m2d": {"adapter": "vit"},
    "audiomae": {"adapter": "vit", "front_end": "fbank", "input_size": [128, 1024]},
    "ast": {"adapter": "huggingface", "model_type": "audio-spectrogram-transformer"},
    "wav2vec2": {"adapter": "huggingface", "model_type": "wav2vec2"},
    "whisper": {"adapter": "huggingface", "model_type": "whisper", "config": WHISPER_BASE},
    "tiny": TINY,
}


class Watch(Twins):
    """A twin that records when each batch ends, and the total time of bare passes until then."""

    def __init__(self, encoder: Encoder):
        super().__init__(encoder, bare=lambda _: None)
        self.ends: list[tuple[float, float]] = []

    def _all(self, wave: Tensor) -> Tensor:
        features = super()._all(wave)
        self.ends.append((now(wave.device.type), self.seconds["bare"]))
        return features


def main(argv: Sequence[str] | None = None) -> None:
    args = options(
        __doc__,
        argv,
        {"models": ["tiny"], "batches": 3, "first": 1, "seconds": 0.5, "batch_size": 2},
        models=([name for name in BLOCKS if name != "tiny"], "encoders", tuple(BLOCKS)),
        batches=(10, "batches that are timed"),
        first=(4, "batches before them that are not timed"),
        seconds=(5.0, "length of a clip"),
        batch_size=(4, "clips per forward pass"),
    )
    with tempfile.TemporaryDirectory() as folder, Report("encoders", args) as report:
        out = Path(folder)
        clips = (args.first + args.batches) * args.batch_size
        make_clips(out / "clips.parquet", clips, args.seconds)
        for name in args.models:
            watch = Watch(models.load(name, {**BLOCKS[name], "weights": RANDOM}, None, args.device))
            # Among tens of clips, the one strongest changes as often as the five strongest among thousands.
            settings = Pass(clip_seconds=args.seconds, batch_size=args.batch_size, top_clips=1)
            extract(watch.encoder, out / "clips.parquet", out, out / "embeddings.parquet", settings)
            batches = pd.DataFrame(watch.ends, columns=["extraction", "bare"]).diff()[args.first :]
            batches["extraction"] -= batches["bare"]
            report.add(f"{name}: time of extraction / bare", batches["extraction"] / batches["bare"])
            speed = args.batch_size * args.seconds / batches["extraction"]
            report.add(f"{name}: extraction", speed, "audio-s/s")


if __name__ == "__main__":
    main()
