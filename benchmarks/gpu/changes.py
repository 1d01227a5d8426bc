"""Part F: changes per second, shared and one by one; whole measurements through probes; screening."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch

from audio_neurons.ablation import ablation, screening
from audio_neurons.ablation.ablation import Study
from audio_neurons.ablation.changes import Change
from audio_neurons.ablation.intervention import run_changes
from audio_neurons.models.encoder import Encoder, numerics
from audio_neurons.settings.ablation import Conditions
from audio_neurons.settings.probe import Probe
from benchmarks.ablation import make_changes, plain, shared
from benchmarks.common import make_clips
from benchmarks.gpu.right import probes_of
from benchmarks.gpu.sheet import Measure, Sheet

CHANGES = 100


def passes(sheet: Sheet) -> None:
    """Time changes of neurons of all layers, on few short clips and on more of them."""
    encoder = sheet.vit()
    count, depth, width = sheet.sized(CHANGES, 4), encoder.depth, encoder.width
    changes = [
        one
        for first in range(depth)
        for one in make_changes(first, max(1, count // depth), sheet.sized(25, 3), depth, width)
    ]
    for clips, seconds in sheet.sized(((8, 2.5), (64, 2.5), (8, 30.0)), ((2, 0.7),)):
        wave = sheet.noise(clips, seconds)
        for precision in sheet.precisions:
            with numerics(encoder, precision):
                bare, _ = sheet.clock(lambda: _bare(encoder, wave), sheet.sized(5, 1))  # noqa: B023
                together, _ = sheet.clock(lambda: shared(encoder, wave, changes), 1, warm=1)  # noqa: B023
                turns, _ = sheet.clock(lambda: in_turn(encoder, wave, changes), 1, warm=0)  # noqa: B023
                few = changes[:: sheet.sized(5, 1)]
                alone, _ = sheet.clock(lambda: plain(encoder, wave, few), 1, warm=0)  # noqa: B023
            rate, own = len(changes) / together, (len(few) + 1) / alone
            told = f"in turn {len(changes) / turns:,.0f}, unshared {own:,.0f}, bare passes {1 / bare:,.0f}"
            sheet.add(f"changes, {clips} clips of {seconds:g} s: {precision}", rate, "changes/s", told)
            sheet.check()


def in_turn(encoder: Encoder, wave: torch.Tensor, changes: Sequence[Change]) -> None:
    """Share what lies below, and compute one change in a pass."""
    for _ in run_changes(encoder, wave, changes, {"zero": None}, 0):
        pass


@torch.inference_mode()
def _bare(encoder: Encoder, wave: torch.Tensor) -> None:
    encoder(wave)


def measured(sheet: Sheet) -> None:
    """Time `ablation.measure` and `screening.estimates`, from clips to outcomes of probes."""
    encoder = sheet.vit()
    clips, seconds, size = sheet.sized((64, 2.5, 8), (8, 0.7, 4))
    changes = make_changes(encoder.depth // 2, sheet.sized(CHANGES, 3), 3, encoder.depth, encoder.width)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path, probe = make_clips(folder / "clips.parquet", clips, seconds), folder / "probe.safetensors"
        classes = tuple(f"class {i}" for i in range(10))
        probes_of(encoder, sheet.noise(1, seconds), classes).to("cpu").save(probe, Probe())
        for precision in sheet.precisions:
            study = Study([path], "kind", probe, seconds, size, "train", precision)
            began = sheet.wait()
            ablation.measure(encoder, study, changes, (), Conditions())
            took = sheet.wait() - began
            rate = len(changes) * clips / took
            sheet.add(f"ablation.measure, batches of {size}: {precision}", rate, "clips x changes/s")
            sheet.check()
            began = sheet.wait()
            screening.estimates(encoder, study)
            sheet.add(f"screening.estimates: {precision}", clips / (sheet.wait() - began), "clips/s")
            sheet.check()


MEASURES = (
    Measure("changes per second", passes),
    Measure("ablation and screening through probes", measured),
)
