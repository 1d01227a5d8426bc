"""Train a model without the workflow; torchrun starts one such process per GPU.

On one machine with four GPUs::

    torchrun --nproc_per_node=4 -m audio_neurons.training BLOCK CLIPS... --out FILE --losses FILE

All arguments after ``audio_neurons.training`` are those of this module.
"""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

import yaml

from audio_neurons.training.errors import TrainingError
from audio_neurons.training.run import train


def main(arguments: list[str] | None = None) -> None:
    """Parse the command line and train; exit with the message of a `TrainingError`."""
    given = parser().parse_args(arguments)

    from audio_neurons.running.gpus import pick_device

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    block = yaml.safe_load(given.block.read_text(encoding="utf-8"))
    clips = given.clips if len(given.clips) > 1 else given.clips[0]
    try:
        train(
            block, clips, given.out, given.losses, device=pick_device(given.device), name=given.name,
            evaluation=given.evaluation, workers=given.workers,
        )  # fmt: skip
    except TrainingError as error:
        sys.exit(f"error: {error}")


def parser() -> argparse.ArgumentParser:
    """Return the parser of ``python -m audio_neurons.training``."""
    parser = argparse.ArgumentParser("python -m audio_neurons.training", description=__doc__.split("\n")[0])
    parser.add_argument("block", type=Path, help="YAML or JSON: a model's block, with all training settings")
    parser.add_argument("clips", type=Path, nargs="+", help="a table of clips, or the Arrow parts of a pool")
    parser.add_argument("--out", type=Path, required=True, help="weights to write (safetensors)")
    parser.add_argument("--losses", type=Path, required=True, help="table of losses to write")
    parser.add_argument("--evaluation", type=Path, help="table of average precision to write")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--name", default="model", help="name of the model in progress messages")
    parser.add_argument("--workers", type=int, default=0, help="decoding processes per GPU")
    return parser


if __name__ == "__main__":
    main()
