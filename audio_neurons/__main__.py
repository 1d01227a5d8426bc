"""``python -m audio_neurons models``: the models of a configuration, and whether one works."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import chdir
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from audio_neurons import config as configuration
from audio_neurons.config import ConfigError
from audio_neurons.models import ModelError

if TYPE_CHECKING:
    from audio_neurons.models.encoder import Encoder

HOME = Path(__file__).parents[1]
SCHEMA = HOME / "workflow" / "schemas" / "config.schema.yaml"
SECONDS = 2.0
COLUMNS = ("model", "kind", "adapter", "layers x neurons", "parameters", "weights")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; 0 if every model that was asked for can be used."""
    options = parser().parse_args(arguments)
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
    """The command line of ``python -m audio_neurons``."""
    parser = argparse.ArgumentParser(prog="python -m audio_neurons", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    models = commands.add_parser(
        "models",
        help="list the models of a configuration, or check some",
        description="List the models of a configuration; with names, also run them over noise and check "
        "what the statistics rely on. Weights that are not there are replaced by random ones.",
    )
    models.add_argument("names", nargs="*", metavar="NAME", help="models to check (default: list all)")
    models.add_argument(
        "--configfile", type=Path, default=HOME / "config" / "config.yaml", help="default: %(default)s"
    )
    models.add_argument(
        "--directory", type=Path, default=Path(), help="working directory of the runs (default: here)"
    )
    return parser


def _models(path: Path, directory: Path) -> dict[str, dict]:
    """Models of a configuration, checked like a run in a working directory would."""
    config = yaml.safe_load(path.read_text(encoding="utf-8"))
    with chdir(directory):
        return configuration.complete(config, SCHEMA, [path])["models"]


def _weights(name: str, block: Mapping, directory: Path) -> Path | None:
    """Where a run keeps the model's checkpoint; ``None`` for a model that has none."""
    source = block["weights"]["source"]
    if source == "checkpoint":
        return directory / "resources" / "weights" / name / block["weights"]["file"]
    return directory / "results" / "training" / name / "model.safetensors" if source == "training" else None


def _load(name: str, block: Mapping, options: argparse.Namespace) -> Encoder:
    from audio_neurons import models

    path = _weights(name, block, options.directory)
    if path is None or path.is_file():
        return models.load(name, block, path)
    return models.load(name, {**block, "weights": {"source": "random", "seed": 0}}, None)


def _row(name: str, block: Mapping, options: argparse.Namespace) -> tuple[str, ...]:
    encoder = _load(name, block, options)
    path = _weights(name, block, options.directory)
    where = "random" if path is None else str(path) if path.is_file() else f"not here yet: {path}"
    parameters = sum(p.numel() for p in encoder.parameters())
    size = f"{encoder.depth} x {encoder.width:,} = {encoder.depth * encoder.width:,}"
    return name, block["kind"], block["adapter"], size, f"{parameters / 1e6:.1f} M", where


def _check(name: str, block: Mapping, options: argparse.Namespace) -> Iterable[str]:
    """Run a model over noise, and see that its neurons are what the output depends on."""
    import torch

    from audio_neurons.extraction import forward
    from audio_neurons.recorder import Recorder

    encoder = _load(name, block, options)
    samples = round(SECONDS * encoder.sample_rate)
    wave = 0.1 * torch.randn(2, samples, generator=torch.Generator().manual_seed(0))
    with Recorder(encoder) as recorder:
        features, batch = forward(encoder, recorder, wave)
    if not features.isfinite().all():
        raise ModelError(f"models.{name}: the features of {SECONDS:g} s of noise are not finite")
    if batch.tokens != len(encoder.token_seconds(samples)):
        raise ModelError(
            f"models.{name}: {batch.tokens} tokens are counted, token_seconds tells of "
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
    return [
        f"{name}: works",
        f"  neurons:  inputs of {names[layers[0]]} ... {names[layers[-1]]}",
        f"  tokens:   {batch.tokens} that count in {SECONDS:g} s, {encoder.special_tokens} special ones",
        f"  features: {features.shape[1]} x {features.shape[2]}",
        f"  active:   {active.min():.0%} to {active.max():.0%} of the tokens of noise, by layer",
    ]


def _print_table(rows: Sequence[Sequence[str]]) -> None:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


if __name__ == "__main__":
    sys.exit(main())
