"""Commands: ``python -m audio_neurons models``, ``check``, ``cost`` and ``init``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import chdir
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from audio_neurons.commands import check, cost, init
from audio_neurons.cost import encoders
from audio_neurons.models.errors import ModelError
from audio_neurons.models.twins import resolved
from audio_neurons.running.runtime import spare_searches
from audio_neurons.study.loading import HOME, ConfigError, complete

if TYPE_CHECKING:
    from torch import Tensor

    from audio_neurons.models.encoder import Encoder

SECONDS = 2.0
COLUMNS = ("model", "kind", "adapter", "layers x neurons", "parameters", "weights")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status; 2 stands for invalid arguments."""
    options = parser().parse_args(arguments)
    try:
        return options.run(options)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


def _run_models(options: argparse.Namespace) -> int:
    """Return 0 if every requested model works, 1 if some do not, 2 for invalid arguments."""
    try:
        models = _models(options.configfile.resolve(), options.directory)
        if unknown := [name for name in options.names if name not in models]:
            raise ConfigError(f"no model {', '.join(unknown)}; there are {', '.join(models)}")
    except (ConfigError, OSError, yaml.YAMLError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    chosen = {name: models[name] for name in options.names or models}
    rows, problems = [], []
    for name, block in chosen.items():
        try:
            rows.append(_row(name, block, options))
        except ModelError as error:
            problems.append(str(error))
    _print_table([COLUMNS, *rows])
    for name, block in chosen.items():
        if options.names and not problems:
            try:
                print("\n" + "\n".join(_check(name, block, options)))
            except ModelError as error:
                problems.append(str(error))
    for problem in problems:
        print(f"error: {problem}", file=sys.stderr)
    return bool(problems)


def parser() -> argparse.ArgumentParser:
    """Return the parser of ``python -m audio_neurons``."""
    parser = argparse.ArgumentParser(
        prog="python -m audio_neurons",
        description="Begin a study of your own recordings. Before a run, check recordings and models, and "
        "count what it costs.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    init.add(commands)
    check.add(commands)
    cost.add(commands)
    models = commands.add_parser(
        "models",
        help="list the models of a configuration, or check some",
        description="List the models of a configuration. Models given by NAME are also run over noise, to "
        "check the assumptions of the statistics. Missing weights are replaced by random ones.",
    )
    models.add_argument("names", nargs="*", metavar="NAME", help="models to check (default: list all)")
    models.add_argument(
        "--configfile", type=Path, default=HOME / "config" / "config.yaml", help="default: %(default)s"
    )
    models.add_argument(
        "--record",
        type=Path,
        metavar="FILE",
        help="table to which checkpoints that equal transformers' own pipeline are added",
    )
    models.add_argument(
        "--directory", type=Path, default=Path(), help="working directory of the runs (default: current)"
    )
    models.set_defaults(run=_run_models)
    return parser


def _models(path: Path, directory: Path) -> dict[str, dict]:
    """Return the models of a configuration, after the checks of a run in the working directory."""
    config = yaml.safe_load(path.read_text(encoding="utf-8"))
    with chdir(directory):
        models = complete(config, [path])["models"]
    return {name: dict(resolved(models, name)) for name in models}


def _row(name: str, block: Mapping, options: argparse.Namespace) -> tuple[str, ...]:
    path = encoders.checkpoint(name, block, options.directory)
    if block["weights"]["source"] == "hub" and path is not None and not path.is_file() and not options.names:
        return name, block["kind"], block["adapter"], "?", "?", f"not here yet: {block['weights']['name']}"
    encoder = encoders.load(name, block, options.directory)
    where = "random" if path is None else str(path) if path.is_file() else f"not here yet: {path}"
    parameters = sum(p.numel() for p in encoder.parameters())
    return name, block["kind"], block["adapter"], _size(encoder), f"{parameters / 1e6:.1f} M", where


def _size(encoder: Encoder) -> str:
    from audio_neurons.models import networks

    return networks.in_words(encoder.widths)


def _check(name: str, block: Mapping, options: argparse.Namespace) -> Iterable[str]:
    """Run a model over noise, and check that its output depends on its neurons."""
    import torch

    from audio_neurons.activations.extraction import forward
    from audio_neurons.activations.recorder import Recorder
    from audio_neurons.models.towers import Chunked

    encoder = encoders.load(name, block, options.directory)
    samples = round(SECONDS * encoder.sample_rate)
    wave = 0.1 * torch.randn(2, samples, generator=torch.Generator().manual_seed(0))
    if encoder.lacks_statistics:
        log_mel = encoder.log_mel(wave)
        encoder.normalise(float(log_mel.mean()), float(log_mel.std()))
    with Recorder(encoder) as recorder:
        features, batch = forward(encoder, recorder, wave)
    if not features.isfinite().all():
        raise ModelError(f"models.{name}: the features of {SECONDS:g} s of noise are not finite")
    if batch.tokens != len(encoder.token_seconds(samples)):
        raise ModelError(
            f"models.{name}: {batch.tokens} tokens are counted, but token_seconds lists "
            f"{len(encoder.token_seconds(samples))}"
        )
    layers = encoder.down_projections()
    for number, layer in enumerate(layers):
        silenced = layer.register_forward_pre_hook(lambda _, inputs: (torch.zeros_like(inputs[0]),))
        with torch.inference_mode():
            changed = not torch.equal(encoder(wave), features)
        silenced.remove()
        if not changed:
            raise ModelError(f"models.{name}: silencing the neurons of layer {number} changes no output")
    names = {module: path for path, module in encoder.named_modules()}
    active = batch.active.float().mean((0, 2)) / batch.tokens
    path = encoders.checkpoint(name, block, options.directory)
    compared = _compare(encoder, block, path if path is not None and path.is_file() else None, wave, options)
    return [
        f"{name}: works",
        f"  neurons:  inputs of {names[layers[0]]} ... {names[layers[-1]]}",
        *([f"  context:  {encoder.context}"] if isinstance(encoder, Chunked) else []),
        f"  tokens:   {batch.tokens} that count in {SECONDS:g} s, {encoder.special_tokens} special ones",
        f"  features: {features.shape[1]} x {features.shape[2]}",
        f"  active:   {active.min():.0%} to {active.max():.0%} of the tokens of noise, by layer",
        *_layers(encoder),
        *_read(encoder),
        f"  compared: {compared}",
    ]


def _layers(encoder: Encoder) -> Iterable[str]:
    """Say which feed-forward network is which layer, if blocks have two of them or widths are unequal."""
    from audio_neurons.models import networks

    table = networks.table(encoder)
    if table["ffn"].any() or table["neurons"].nunique() > 1:
        for row in table.itertuples():
            place = f"block {row.block}, network {row.ffn}"
            yield f"  layer {row.layer}:  {row.network} ({place}; {row.neurons:,} neurons)"


def _read(encoder: Encoder) -> Iterable[str]:
    """Say what was read from where, one line per place."""
    by_place: dict[str, list[str]] = {}
    for key, value, place in encoder.origins:
        by_place.setdefault(place, []).append(f"{key}={value}")
    for place, values in by_place.items():
        yield f"  read:     {place}: {', '.join(values)}"


def _compare(
    encoder: Encoder, block: Mapping, path: Path | None, wave: Tensor, options: argparse.Namespace
) -> str:
    """Compare the features of noise with transformers' own pipeline, and record the result if asked to."""
    if "shuffled" in block:
        return "not with transformers: its weights are shuffled"
    if block["adapter"] != "huggingface":
        return f"not with transformers: adapter {block['adapter']} is none of its models"
    from audio_neurons.models import comparison
    from audio_neurons.models.towers import HuggingFace

    assert isinstance(encoder, HuggingFace)
    try:
        found = comparison.difference(encoder, block, path, wave)
    except ModelError as error:
        return f"not with transformers: {error}"
    told = f"largest difference {found.largest:.1e}, at a deviation of {found.deviation:.2f}"
    if not found.small:
        raise ModelError(f"features of noise differ from transformers' own pipeline: {told}")
    if options.record is not None:
        assert path is not None
        comparison.record(options.record, encoder, block, path, found, _size(encoder))
    return f"features of noise equal those of transformers' own pipeline ({told})"


def _print_table(rows: Sequence[Sequence[str]]) -> None:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


if __name__ == "__main__":
    spare_searches()
    sys.exit(main())
