"""Part C: time of a pass on the device, bare and with statistics, by precision and batch size."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial

import torch
from torch import Tensor, nn

from audio_neurons import models
from audio_neurons.activations import recorder
from audio_neurons.activations.batching import clips_per_pass
from audio_neurons.activations.extraction import forward
from audio_neurons.activations.recorder import Recorder, TopClips
from audio_neurons.models.encoder import Encoder, numerics
from benchmarks.gpu.sheet import BASE, NEEDS_CUDA, OPEN, Measure, Sheet, replaced

SECONDS = 5.0  # of a clip
FUSED = "statistics within activations"


def bare_and_with(
    sheet: Sheet, encoder: Encoder, wave: Tensor, precision: str
) -> dict[str, tuple[float, float]]:
    """Return the times (`Sheet.clock`) of a bare pass, one with hooks, and one with strongest clips too.

    So also of one with these whose activation functions count, in the precisions in which they do.
    """
    strongest = TopClips(encoder.depth, encoder.width, 5, encoder.device, encoder.present)
    numbers = torch.arange(len(wave), device=encoder.device)
    found: dict[str, list[tuple[float, float]]] = {"bare": [], "hooks": [], "statistics": []}

    def bare() -> None:
        with torch.inference_mode():
            encoder(wave)

    with numerics(encoder, precision):
        once, _ = sheet.clock(bare, 2, warm=2)
        passes = sheet.sized(max(3, min(20, round(0.4 / once))), 1)

        def hooks() -> None:
            forward(encoder, recording, wave)

        def statistics() -> None:
            strongest.update(forward(encoder, recording, wave)[1], numbers)

        def fused() -> None:
            strongest.update(recording.run(wave)[1], numbers)

        ways: dict[str, Callable[[], None]] = {"bare": bare, "hooks": hooks, "statistics": statistics}
        if sheet.cuda and precision != "fp32":
            ways[FUSED], found[FUSED] = fused, []
        for turn in range(2):
            for name in sorted(ways, reverse=turn == 1):
                if name == "bare":
                    found[name].append(sheet.clock(bare, passes, warm=1))
                    continue
                with Recorder(encoder, floor=strongest.floor) as recording:
                    if name == FUSED and not fuse(recording, wave):
                        continue  # why is told
                    found[name].append(sheet.clock(ways[name], passes, warm=1))
            sheet.check()
    return {name: min(times) for name, times in found.items() if times}


def fuse(recording: Recorder, wave: Tensor) -> bool:
    """Let a recorder count within activation functions, in passes that are no CUDA graphs."""
    recording._graphed = None
    return recording.fuse(len(wave), wave.shape[1])


def add(sheet: Sheet, about: str, times: dict[str, tuple[float, float]], seconds: float) -> None:
    """Add the times of passes over ``seconds`` of audio."""
    bare, host = times["bare"]
    note = f"{seconds / bare:,.0f} audio-s/s; host {1000 * host:.1f} ms"
    sheet.add(f"{about}: bare", 1000 * bare, "ms", note)
    for name, (took, host) in list(times.items())[1:]:
        sheet.add(f"{about}: {name} / bare", took / bare, "", f"host {1000 * host:.1f} ms")


def vit(sheet: Sheet) -> None:
    encoder = sheet.vit()
    for precision in sheet.precisions:
        for size in sheet.sized((8, 32, 128, 256), (2,)):
            wave = sheet.noise(size, sheet.sized(SECONDS, 0.7))
            add(
                sheet,
                f"vit-base, {precision}, batch {size}",
                bare_and_with(sheet, encoder, wave, precision),
                size,
            )
    if not sheet.cuda:
        sheet.add(FUSED, state=OPEN, note=NEEDS_CUDA)


def others(sheet: Sheet) -> None:
    for name in BASE:
        encoder = sheet.small(name) if sheet.quick else models.load(name, BASE[name], None, sheet.device)
        seconds = sheet.sized(SECONDS, 0.7)
        size = 2 if sheet.quick else clips_per_pass(encoder, "auto", round(seconds * encoder.sample_rate))
        for precision in sheet.precisions:
            times = bare_and_with(sheet, encoder, sheet.noise(size, seconds), precision)
            add(sheet, f"{name}, {precision}, batch {size}", times, size * seconds)


def replayed(sheet: Sheet) -> None:
    """Time a CUDA graph of whole passes with statistics; what it gives is compared with eager passes."""
    encoder, size = sheet.vit(), 32
    wave = sheet.noise(size, SECONDS)
    for precision in ("bf16", "tf32"):
        strongest = TopClips(encoder.depth, encoder.width, 5, encoder.device, encoder.present)
        numbers = torch.arange(size, device=encoder.device)
        with Recorder(encoder, floor=strongest.floor) as recording, numerics(encoder, precision):
            eager = forward(encoder, recording, wave)

            def work(recording=recording, strongest=strongest, numbers=numbers):
                features, batch = forward(encoder, recording, wave)
                strongest.update(batch, numbers)
                return features, batch

            aside = torch.cuda.Stream()
            aside.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(aside):
                work()
                work()
            torch.cuda.current_stream().wait_stream(aside)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                features, batch = work()
            seconds, host = sheet.clock(graph.replay, 20)
            differ = int((batch.active != eager[1].active).sum())
        sheet.add(
            f"statistics in a CUDA graph, vit-base, batch {size}: {precision}", 1000 * seconds, "ms",
            f"host {1000 * host:.2f} ms; {differ} counts differ, features by "
            f"{float((features - eager[0]).abs().max()):.1e}",
        )  # fmt: skip
        sheet.check()


class Through(nn.Module):
    """A down-projection that only shows its hooks the hidden layer."""

    def __init__(self, width: int):
        super().__init__()
        self.in_features = width

    def forward(self, hidden: Tensor) -> Tensor:
        return hidden


class Layers(Encoder):
    """An encoder that does nothing but to show the same hidden activations (B, N, W) in every layer."""

    def __init__(self, hidden: Tensor, depth: int):
        super().__init__()
        self.layers = nn.ModuleList([Through(hidden.shape[-1]) for _ in range(depth)])
        self.hidden = nn.Parameter(hidden, requires_grad=False)

    def networks(self) -> dict[str, nn.Linear]:
        return {str(i): layer for i, layer in enumerate(self.layers)}  # type: ignore[misc]

    def front_end(self, wave: Tensor) -> Tensor:
        return wave

    def encode(self, features: Tensor) -> Tensor:
        for layer in self.layers:
            layer(self.hidden)
        return self.hidden[..., :1]

    def token_seconds(self, samples: int) -> Tensor:
        return torch.arange(self.hidden.shape[1]) / 100


def reductions(sheet: Sheet) -> None:
    """Time what hooks do with hidden activations, alone; by plain code too where there are kernels."""
    clips, tokens, width, depth = sheet.sized((128, 160, 3072, 12), (2, 20, 64, 2))
    wave = sheet.noise(clips, tokens / 100)
    numbers = torch.arange(clips, device=sheet.device)
    kernels = [name for name in ("_counting", "_inserting") if hasattr(recorder, name)]
    for dtype in (torch.bfloat16, torch.float32):
        encoder = Layers(torch.randn(clips, tokens, width, device=sheet.device).to(dtype), depth)
        kind = str(dtype).removeprefix("torch.")
        for way in ("", *([", plain"] if kernels else [])):
            strongest = TopClips(depth, width, 5, sheet.device)
            with ExitStack() as stack:
                for name in kernels if way else ():
                    stack.enter_context(replaced(recorder, name, lambda *given: given[-1]()))
                recording = stack.enter_context(Recorder(encoder, "all", floor=strongest.floor))
                _, batch = forward(encoder, recording, wave)
                hooks = partial(forward, encoder, recording, wave)
                seconds, host = sheet.clock(hooks, sheet.sized(20, 2))
                top, _ = sheet.clock(partial(strongest.update, batch, numbers), sheet.sized(20, 2))
            told = f"{depth * encoder.hidden.nbytes / seconds / 1e9:,.0f} GB/s; host {1000 * host:.1f} ms"
            sheet.add(f"hooks alone, {depth} layers, {clips} clips: {kind}{way}", 1000 * seconds, "ms", told)
            sheet.add(f"strongest clips alone, {clips} clips: {kind}{way}", 1000 * top, "ms")
            sheet.check()


def profile(sheet: Sheet) -> None:
    """Write what one batch spends its time on into profile.txt."""
    from torch.profiler import ProfilerActivity

    encoder, size = sheet.vit(), sheet.sized(128, 2)
    wave = sheet.noise(size, sheet.sized(SECONDS, 0.7))
    strongest = TopClips(encoder.depth, encoder.width, 5, encoder.device, encoder.present)
    numbers = torch.arange(size, device=encoder.device)
    activities = [ProfilerActivity.CPU, *[ProfilerActivity.CUDA] * sheet.cuda]
    with Recorder(encoder, floor=strongest.floor) as recording, numerics(encoder, "bf16"):
        fuse(recording, wave)
        strongest.update(recording.run(wave)[1], numbers)
        sheet.wait()
        with torch.profiler.profile(activities=activities) as seen:
            strongest.update(recording.run(wave)[1], numbers)
            sheet.wait()
    key = "self_device_time_total" if sheet.cuda else "self_cpu_time_total"
    events = sorted(seen.key_averages(), key=lambda one: getattr(one, key), reverse=True)
    if sheet.cuda:  # kernels, not the operations that launch them, whose time is the same
        events = [one for one in events if one.device_type == torch.autograd.DeviceType.CUDA]
    total = sum(getattr(one, key) for one in events)
    text = seen.key_averages().table(sort_by=key, row_limit=60, max_name_column_width=90)
    (sheet.out / "profile.txt").write_text(text, encoding="utf-8")
    for one in events[:8]:
        name = one.key if len(one.key) < 70 else one.key[:67] + "..."
        sheet.add(f"profile: {name}", 100 * getattr(one, key) / total, "%", f"{one.count} times")


MEASURES = (
    Measure("ViT-Base by precision and batch size", vit),
    Measure("hooks alone", reductions),
    Measure("a CUDA graph of passes with statistics", replayed, cuda=True),
    Measure("profile of one batch in bf16", profile),
    Measure("other encoders at their batch", others),
)
