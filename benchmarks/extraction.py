"""Cost of the statistics: extraction compared with the bare forward pass, and with that of a LAPE-style hook.

The machine may be shared with other work, so the three are interleaved batch by batch: while extraction
runs, every batch also goes through two twins of the encoder, before or after it in turn. One has no hooks
(``bare``), the other has what LAPE has, a hook per layer that adds ``(activation > 0).sum((0, 1))``.
``extraction`` is the rest of the run: reading and decoding clips, the forward pass with its hooks, counts,
embeddings, strongest clips, and writing all tables. Full size (ViT-Base), random weights. Decoding is also
timed alone, in one and in several threads.
"""

import copy
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor, nn

from audio_neurons.activations.decoding import batches
from audio_neurons.activations.extraction import extract
from audio_neurons.models.encoder import Encoder
from audio_neurons.settings.extraction import Pass
from benchmarks.common import Report, full_size, make_clips, now, options, turns


def count_like_lape(encoder: Encoder) -> None:
    """Add up a class's active tokens of every neuron in each layer, and nothing else."""
    total = torch.zeros(encoder.depth, encoder.width, dtype=torch.int64, device=encoder.device)

    def keep(layer: int, _: nn.Module, inputs: tuple[Tensor]) -> None:
        total[layer] += (inputs[0][:, encoder.special_tokens :] > 0).sum((0, 1))

    for number, layer in enumerate(encoder.down_projections()):
        layer.register_forward_pre_hook(partial(keep, number))


class Twins:
    """Runs copies of an encoder beside every forward pass of the encoder itself, in rotating order.

    ``ways`` prepares each copy. ``seconds`` are those that each has taken until now.
    """

    def __init__(self, encoder: Encoder, **ways: Callable[[Encoder], None]):
        self.encoder, self._calls = encoder, 0
        self._copies = {name: copy.deepcopy(encoder) for name in ways}
        for name, prepare in ways.items():
            prepare(self._copies[name])
        self.seconds = dict.fromkeys(ways, 0.0)
        encoder.forward = self._all

    def leave(self) -> None:
        del self.encoder.forward  # uncovers the class's own

    def _all(self, wave: Tensor) -> Tensor:
        order = [*self._copies, None]
        shift = self._calls % len(order)
        self._calls += 1
        for name in order[shift:] + order[:shift]:
            if name is None:
                features = type(self.encoder).forward(self.encoder, wave)
            else:
                self._run(name, wave)
        return features

    def _run(self, name: str, wave: Tensor) -> None:
        twin = self._copies[name]
        twin.bfloat16 = self.encoder.bfloat16
        began = now(wave.device.type)
        twin(wave)
        self.seconds[name] += now(wave.device.type) - began


def main(argv: Sequence[str] | None = None) -> None:
    args = options(
        __doc__,
        argv,
        {"clips": 6, "seconds": 0.5, "batch_size": 2},
        clips=(160, "clips per run"),
        seconds=(5.0, "length of a clip"),
        batch_size=(8, "clips per forward pass"),
        workers=(1, "decoding threads"),
        precision=("fp32", "precision of the encoder", ("fp32", "tf32", "bf16")),
    )
    encoder = full_size(args)
    settings = Pass(clip_seconds=args.seconds, batch_size=args.batch_size, precision=args.precision)
    samples = round(args.seconds * encoder.sample_rate)
    with tempfile.TemporaryDirectory() as folder, Report("extraction", args) as report:
        out = Path(folder)
        clips = make_clips(out / "clips.parquet", args.clips, args.seconds)

        def run() -> None:
            extract(encoder, clips, out, out / "embeddings.parquet", settings, workers=args.workers)

        def decode(workers: int) -> None:
            for _ in batches(clips, samples, args.batch_size, workers):
                pass

        run()  # warm-up
        rows = []
        for _ in range(args.runs):
            twins = Twins(encoder, bare=lambda _: None, hooks=count_like_lape)
            began = now(args.device)
            run()
            total = now(args.device) - began
            twins.leave()
            rows.append({"extraction": total - sum(twins.seconds.values()), **twins.seconds})
        took = pd.DataFrame(rows)
        bare = took["extraction"] / took["bare"]
        report.add(f"time of extraction / bare forward pass, {args.precision}", bare)
        report.add("time of extraction / LAPE-style hooks", took["extraction"] / took["hooks"])
        report.add("extraction", args.clips * args.seconds / took["extraction"], "audio-s/s")
        threads = sorted({1, 2, args.threads})
        seconds = turns({f"{n}": lambda n=n: decode(n) for n in threads}, args.runs)
        report.add("time of decoding, in one thread of its own / bare", seconds["1"] / took["bare"].median())
        for n in threads:
            report.add(f"decoding in {n} threads", args.clips / seconds[f"{n}"], "clips/s")
        began = time.process_time()
        decode(1)
        used = time.process_time() - began
        report.add("decoding, by processor time", args.clips * args.seconds / used, "audio-s/s per core")


if __name__ == "__main__":
    main()
