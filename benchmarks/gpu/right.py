"""Part B: whether the numbers of a GPU are right, and which of them are the same bytes again."""

from __future__ import annotations

import filecmp
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from audio_neurons.ablation.changes import Change
from audio_neurons.ablation.intervention import Donors, Intervention, Means, run_changes
from audio_neurons.ablation.probes import Probes
from audio_neurons.ablation.screening import first_order
from audio_neurons.activations.extraction import extract, forward
from audio_neurons.activations.medians import medians
from audio_neurons.activations.recorder import Batch, Recorder, TopClips
from audio_neurons.models.encoder import Encoder, numerics
from audio_neurons.settings.extraction import Pass
from benchmarks.ablation import make_changes
from benchmarks.common import HOME, make_clips
from benchmarks.gpu.learning import RESUMING
from benchmarks.gpu.sheet import KINDS, Measure, Sheet, replaced

CLASSES = ("a", "b", "c")


def recorder(sheet: Sheet) -> None:
    """Compare the recorder with sums in int64 of the same activations, and look for any difference."""
    samples = sheet.sized(66_000, 16_000)  # two chunks, where the encoder cuts clips
    wave = sheet.noise(4, samples / 16_000)
    ends = torch.tensor([samples, samples // 3, 3 * samples // 4, 1])
    for name in KINDS:
        encoder = sheet.small(name)
        wrong = cases = 0
        for precision in sheet.precisions:
            for activity in ("positive", "absolute", "median"):
                for heard in (None, ends):
                    # Activation functions count in these precisions, on a GPU.
                    for fused in (False, True)[: 1 + (sheet.cuda and precision != "fp32")]:
                        wrong += _differences(encoder, wave, precision, activity, heard, fused)
                        cases += 1
                    sheet.check()
        sheet.add(f"recorder, wrong of {cases} cases: {name}", wrong)


def _differences(
    encoder: Encoder, wave: Tensor, precision: str, activity: str, ends: Tensor | None, fused: bool
) -> int:
    """Return 1 if counts, peaks or their tokens differ from the plain definition, else 0."""
    seen: list[list[Tensor]] = [[] for _ in range(encoder.depth)]
    bars: float | Tensor = {"positive": 0.0, "absolute": 0.1}.get(activity, 0.0)
    if activity == "median":
        generator = torch.Generator().manual_seed(1)
        bars = (0.05 * torch.randn(encoder.depth, encoder.width, generator=generator)).to(wave.device)
    floor = torch.full((encoder.depth, encoder.width), -torch.inf, device=wave.device)
    absolute, samples = activity == "absolute", wave.shape[1]
    with (
        encoder.listening(lambda layer, hidden: seen[layer].append(hidden.clone())),
        Recorder(encoder, "patch", bars, floor, absolute) as recording,
        numerics(encoder, precision),
    ):
        # A kernel is compared with plain code in its first pass, whose numbers are those of the plain code.
        forward(encoder, recording, wave, ends)
        recording._graphed = None
        if fused:
            recording.fuse(len(wave), samples)
        for chunks in seen:
            chunks.clear()
        if fused:
            _, batch = recording.run(wave, ends)
        else:
            _, batch = forward(encoder, recording, wave, ends)
    own = None if ends is None else encoder.heard(samples, ends).to(wave.device)
    for layer, chunks in enumerate(seen):
        hidden = torch.cat(
            [chunk[:, encoder.counted_in(layer, samples, run)] for run, chunk in enumerate(chunks)], dim=1
        )
        counts = torch.ones(hidden.shape[:2], dtype=torch.bool, device=hidden.device) if own is None else own
        bar = bars[layer, : hidden.shape[2]] if isinstance(bars, Tensor) else bars
        active = ((hidden.abs() if absolute else hidden) > bar) & counts[..., None]
        values = hidden.float().masked_fill(~counts[..., None], -torch.inf)
        peak = values.amax(1)
        token = (values == peak[:, None]).to(torch.uint8).argmax(1)
        width, valid = hidden.shape[2], peak > -torch.inf
        if not (
            torch.equal(batch.active[:, layer, :width].long(), active.sum(1, dtype=torch.int64))
            and torch.equal(batch.peak[:, layer, :width], peak)
            and torch.equal(batch.peak_token[:, layer, :width].long()[valid], token[valid])
        ):
            return 1
    return 0


def against_cpu(sheet: Sheet) -> None:
    """Compare features and counts of a GPU with those of a CPU in fp32."""
    encoder, wave = sheet.vit(), sheet.noise(4, 5.0)
    there = {precision: counted(encoder, wave, 4, precision) for precision in sheet.precisions}
    sheet.check()
    features, active = counted(encoder.to("cpu"), wave.cpu(), 4, "fp32")
    for precision, (mine, counts) in there.items():
        error = (mine - features).norm() / features.norm()
        sheet.add(f"card against CPU in fp32, {precision}: relative error of features", error)
        share = (counts != active).float().mean()
        sheet.add(f"card against CPU in fp32, {precision}: share of counts that differ", share)


def counted(
    encoder: Encoder, wave: Tensor, size: int, precision: str, compiled: bool = False
) -> tuple[Tensor, Tensor]:
    """Return mean features and counts of clips in batches of ``size``, the last one filled with silence."""
    features, active = [], []
    floor = torch.zeros(encoder.depth, encoder.width, device=wave.device)
    with (
        Recorder(encoder, floor=floor, compiled=compiled) as recording,
        numerics(encoder, precision, compiled),
    ):
        for some in wave.split(size):
            filled = torch.nn.functional.pad(some, (0, 0, 0, size - len(some)))
            frames, batch = forward(encoder, recording, filled)
            features.append(frames[: len(some)].mean(1).float().cpu())
            active.append(batch.active[: len(some)].cpu())
    return torch.cat(features), torch.cat(active)


def same(sheet: Sheet) -> None:
    """Look which changes of batching change a bit of features or a count."""
    encoder = sheet.vit()
    clips, size = sheet.sized((130, 32), (11, 4))
    wave = sheet.noise(clips, sheet.sized(5.0, 0.7))
    mixed = torch.randperm(clips, generator=torch.Generator().manual_seed(0))
    back = mixed.argsort()

    def shards(number: int, precision: str) -> tuple[Tensor, Tensor]:
        parts = [counted(encoder, one, size, precision) for one in wave.tensor_split(number)]
        return torch.cat([one for one, _ in parts]), torch.cat([one for _, one in parts])

    def permuted(precision: str) -> tuple[Tensor, Tensor]:
        features, active = counted(encoder, wave[mixed.to(wave.device)], size, precision)
        return features[back], active[back]

    ways: dict[str, Callable[[str], tuple[Tensor, Tensor]]] = {
        "again": lambda p: counted(encoder, wave, size, p),
        "clips in another order": permuted,
        "3 shards": lambda p: shards(3, p),
        "7 shards": lambda p: shards(7, p),
        f"batches of {size // 4}": lambda p: counted(encoder, wave, size // 4, p),
        f"batches of {4 * size}": lambda p: counted(encoder, wave, 4 * size, p),
    }
    for precision in sheet.precisions:
        base = counted(encoder, wave, size, precision)
        for name, way in ways.items():
            _differ(sheet, f"{precision}: {name}", base, way(precision))
            sheet.check()


def _differ(sheet: Sheet, what: str, one: tuple[Tensor, Tensor], other: tuple[Tensor, Tensor]) -> None:
    share = (one[1] != other[1]).double().mean()
    most = (one[0] - other[0]).abs().max()
    sheet.add(f"share of counts that differ, {what}", share, note=f"features by {most:.0e}" if most else "")


def compiled(sheet: Sheet) -> None:
    """Compare a compiled encoder with the eager one."""
    encoder = sheet.vit()
    size = sheet.sized(32, 2)
    wave = sheet.noise(size, 5.0)
    for precision in ("bf16", "fp32"):
        base = counted(encoder, wave, size, precision)
        _differ(sheet, f"{precision}: compiled", base, counted(encoder, wave, size, precision, compiled=True))
        sheet.check()


def race(sheet: Sheet) -> None:
    """Compare tables of an extraction whose card is late with those of one that waits for every batch."""
    encoder = sheet.small("vit")
    late = encoder.front_end

    def delayed(wave: Tensor) -> Tensor:
        torch.cuda._sleep(40_000_000)  # some 20 ms
        return late(wave)

    def synchronous(wave: Tensor) -> Tensor:
        torch.cuda.synchronize()
        features = late(wave)
        torch.cuda.synchronize()
        return features

    with tempfile.TemporaryDirectory() as folder:
        clips = make_clips(Path(folder) / "clips.parquet", 200, 1.0)
        for name, way in (("late", delayed), ("waits", synchronous)):
            with replaced(encoder, "front_end", way):
                _extracted(encoder, clips, Path(folder) / name, 8, workers=8)
        wrong = _unequal(Path(folder) / "late", Path(folder) / "waits")
    sheet.add("tables that differ where the card is late", len(wrong), "of 6", ", ".join(wrong))


def _extracted(encoder: Encoder, clips: Path, out: Path, size: int, workers: int = 1) -> None:
    out.mkdir()
    settings = Pass(clip_seconds=1.0, batch_size=size)
    extract(
        encoder, clips, out, out / "embeddings.parquet", settings, out / "responses.parquet", workers=workers
    )


def _unequal(one: Path, other: Path) -> list[str]:
    names = sorted(path.name for path in one.iterdir())
    return [name for name in names if not filecmp.cmp(one / name, other / name, shallow=False)]


def changes_of(encoder: Encoder) -> list[Change]:
    last = encoder.depth - 1
    return [
        Change(frozenset({(last, 1), (last, 3)})),
        Change(frozenset({(0, 2), (last, 1)}), 2.0, "mean"),
        Change(frozenset({(0, 2)}), 1.0),
        Change(frozenset({(last, 5)}), 0.0, "resample"),
        Change(frozenset({(0, 7)}), 0.5),
    ]


def stepwise(sheet: Sheet) -> None:
    """Compare shared runs of changes with a pass of their own for each."""
    for name in ("vit", "ast", "hubert"):
        encoder = sheet.small(name)
        wave, given = sheet.noise(4, sheet.sized(2.5, 0.7)), changes_of(encoder)
        for precision in sheet.precisions:
            with numerics(encoder, precision), torch.inference_mode():
                means = Means(encoder)
                means.add(wave, len(wave))
                donors = Donors(encoder, frozenset().union(*(c.neurons for c in given)))
                donors.load(wave.flip(0))
                values = {"zero": None, "mean": means.values(), "resample": donors}
                found = {i: one.cpu() for i, one in run_changes(encoder, wave, given, values, 0)}
                most, bits = 0.0, torch.equal(found[-1], encoder(wave).cpu())
                for number, change in enumerate(given):
                    with Intervention(encoder, change, values[change.replacement]):
                        own = encoder(wave).cpu()
                    bits &= torch.equal(found[number], own)
                    most = max(most, float((found[number] - own).abs().max()))
            told = "" if bits else f"features by {most:.0e}"
            sheet.add(f"shared runs of changes differ: {name}, {precision}", not bits, "", told)
            sheet.check()


def together(sheet: Sheet) -> None:
    """Compare several changes in one pass with passes one after another."""
    encoder = sheet.small("vit")
    wave, given = sheet.noise(4, sheet.sized(2.5, 0.7)), make_changes(0, 24, 5, encoder.depth, encoder.width)
    for precision in sheet.precisions:
        with numerics(encoder, precision):
            most = 0.0
            alone = dict(run_changes(encoder, wave, given, {"zero": None}, 0))
            for number, features in run_changes(encoder, wave, given, {"zero": None}, 32_768):
                most = max(most, float((features - alone[number]).abs().max()))
        sheet.add(f"24 changes in one pass, features differ by: {precision}", most)
        sheet.check()


def probes_of(encoder: Encoder, wave: Tensor, classes: tuple[str, ...] = CLASSES) -> Probes:
    """Return random probes of two seeds."""
    seeds = 2
    with torch.inference_mode():
        size = encoder(wave[:1]).shape[-1]
    generator = torch.Generator().manual_seed(0)
    shapes = ((1, seeds, size), (1, seeds, size), (1, seeds, len(classes), size), (1, seeds, len(classes)))
    mean, scale, weight, bias = (torch.randn(shape, generator=generator) for shape in shapes)
    return Probes(classes, (0,), tuple(range(seeds)), mean, scale.abs() + 1, weight, bias).to(wave.device)


def screening(sheet: Sheet) -> None:
    """Compare first-order estimates with central differences of the gain."""
    encoder = sheet.small("vit")
    wave = sheet.noise(4, 1.0)
    probes, step = probes_of(encoder, wave), 0.02
    frame = pd.DataFrame({"class": list("abca"), "fold": 0, "frames": wave.shape[1]})
    codes = torch.tensor([CLASSES.index(one) for one in frame["class"]], device=wave.device)

    def total(change: Change) -> Tensor:
        with Intervention(encoder, change), torch.no_grad():
            logs = probes.log_probabilities(encoder(wave).mean(1))
        return logs[:, torch.arange(len(codes), device=wave.device), codes].mean(0)

    chosen = np.linspace(0, encoder.depth * encoder.width - 1, 24).round().astype(int).tolist()
    exact = []
    for i in chosen:
        neuron = frozenset({(i // encoder.width, i % encoder.width)})
        up, down = (total(Change(neuron, 1 + sign * step)) for sign in (1, -1))
        exact.append(-(up - down) / (2 * step))
    measured = torch.stack(exact, dim=1).double()
    for precision in sheet.precisions:
        with numerics(encoder, precision):
            found = first_order(encoder, probes, wave, frame)[:, chosen].double()
        error = (found - measured).norm() / measured.norm()
        sheet.add(f"screening against central differences in fp32, relative error: {precision}", error)
        sheet.check()


def median_bars(sheet: Sheet) -> None:
    """Measure on which share of tokens neurons are above medians that one precision or another gave."""
    encoder = sheet.small("hubert")
    wave = sheet.noise(8, 2.5)
    ends = torch.full((len(wave),), wave.shape[1])
    bars = {}
    for precision in sheet.precisions:
        with numerics(encoder, precision):
            found = medians(encoder, [(wave, ends)], "patch", 10_000)
        bars[precision] = torch.from_numpy(found).view(encoder.depth, encoder.width).to(wave.device)
    for judged, estimated in [*((one, one) for one in sheet.precisions), ("bf16", "fp32")]:
        with Recorder(encoder, threshold=bars[estimated]) as recording, numerics(encoder, judged):
            _, batch = forward(encoder, recording, wave)
        share = batch.active.double().mean(0) / batch.tokens
        off = (share - 0.5).abs().mean()
        sheet.add(f"share of active tokens, off 0.5 by: {judged} activations, {estimated} medians", off)


_CLAIM = """
from audio_neurons.running import gpus
own = gpus.claim(1)
import torch
assert own and torch.cuda.device_count() == 1, (own, torch.cuda.device_count())
print(own[0], gpus.pick_device("auto"), torch.cuda.get_device_name(), sep="; ")
"""
_UNUSABLE = """
from audio_neurons.running import gpus
try:
    print("used", gpus.pick_device("auto"))
except gpus.GpuError as error:
    print("refused:", error)
"""


def claims(sheet: Sheet) -> None:
    """Claim a card by its identifier in another process."""
    free = {name: value for name, value in os.environ.items() if name != "CUDA_VISIBLE_DEVICES"}
    sheet.add("gpus.claim, then device auto", note=_child(_CLAIM, free))


def unusable(sheet: Sheet) -> None:
    """See what device auto does where a card is assigned that PyTorch cannot use."""
    said = _child(_UNUSABLE, {**os.environ, "CUDA_VISIBLE_DEVICES": "99"})
    state = {} if said.startswith("refused") else {"state": "failed"}
    sheet.add("device auto, of a card that is not there", note=said[:150], **state)


def _child(code: str, environment: dict) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=HOME, env=environment, capture_output=True, text=True, timeout=60
    )
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-1])
    return done.stdout.strip().splitlines()[-1]


def strongest(sheet: Sheet) -> None:
    """Compare the strongest clips with a sort of all, among few values and so many ties."""
    generator, k, shape = torch.Generator().manual_seed(0), 5, (3, 40)
    batches = [_batch(sheet.device, torch.randint(-3, 4, (7, *shape), generator=generator)) for _ in range(6)]
    numbers = torch.randperm(42, generator=generator).split(7)
    for _ in range(2):  # as with the recorder, the first update is that of plain code
        best = TopClips(*shape, k, sheet.device)
        for batch, some in zip(batches, numbers, strict=True):
            best.update(batch, some.to(sheet.device))
    peak, number = torch.cat([batch.peak for batch in batches]).cpu().numpy(), torch.cat(numbers).numpy()
    chosen = np.lexsort((np.broadcast_to(number[:, None, None], peak.shape), -peak), axis=0)[:k]
    clip, activation = number[chosen], np.take_along_axis(peak, chosen, 0)
    right = np.array_equal(np.moveaxis(clip, 0, -1), best.clip.cpu().numpy())
    right &= np.array_equal(np.moveaxis(activation, 0, -1), best.activation.cpu().numpy())
    sheet.add("strongest clips, among many ties, wrong", not right)


def _batch(device: str, values: Tensor) -> Batch:
    peak = values.float().to(device)
    return Batch(values.int().to(peak.device), 9, peak, torch.zeros_like(peak, dtype=torch.int64))


MEASURES = (
    Measure("recorder against sums in int64", recorder),
    Measure("strongest clips against a sort", strongest),
    Measure("shared runs of changes against passes of their own", stepwise),
    Measure("changes in one pass against one after another", together),
    Measure("screening against central differences", screening),
    Measure("medians by precision", median_bars),
    Measure("the same again, by order, shards and batches", same),
    Measure("card against CPU", against_cpu, cuda=True),
    Measure("a card that is late", race, cuda=True),
    Measure("a claimed card", claims, cuda=True),
    Measure("a card that is not there", unusable),
    *RESUMING,
    Measure("compiled against eager", compiled, cuda=True),
)
