"""Part A: what the machine can do at best, and the versions on which all figures depend."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from audio_neurons.models.encoder import numerics
from benchmarks.gpu.sheet import Measure, Sheet

PACKAGES = ("torch", "timm", "transformers", "numpy", "pyarrow", "triton", "numba")
CUBLAS = ("nvidia-cublas", "nvidia-cublas-cu13", "nvidia-cublas-cu12")
ASKED = (
    "driver_version,compute_cap,memory.total,clocks.sm,clocks.max.sm,clocks.mem,power.limit,mig.mode.current"
)


def installed(names: tuple[str, ...]) -> list[str]:
    found = []
    for name in names:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return found


def versions(sheet: Sheet) -> None:
    sheet.add("python and packages", note=", ".join([platform.python_version(), *installed(PACKAGES)]))
    file = Path("/proc/cpuinfo")
    lines = file.read_text().splitlines() if file.is_file() else []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    sheet.add("processor", os.cpu_count(), "cores", note=f"{(*named, platform.machine())[0]}{load}")


def card(sheet: Sheet) -> None:
    cudnn = torch.backends.cudnn.version()
    about = [f"CUDA {torch.version.cuda}", f"cuDNN {cudnn}", *installed(CUBLAS)[:1]]
    sheet.add(
        "card", torch.cuda.device_count(), "visible", f"{torch.cuda.get_device_name()}; {', '.join(about)}"
    )
    asked = ["nvidia-smi", f"--query-gpu={ASKED}", "--format=csv,noheader"]
    said = subprocess.run(asked, capture_output=True, text=True, timeout=20)
    first = next(iter(said.stdout.splitlines()), said.stderr.strip() or "nothing")
    sheet.add("nvidia-smi", note=f"{ASKED}: {first}")


class _Precise(torch.nn.Module):
    """Something for `numerics` to set a precision on; a GEMM has no encoder."""

    bfloat16 = False


def products(sheet: Sheet) -> None:
    size = sheet.sized(8192, 128)
    for precision in sheet.precisions:
        dtype = torch.bfloat16 if precision == "bf16" else torch.float32
        a, b = (torch.randn(size, size, device=sheet.device).to(dtype) for _ in range(2))
        with numerics(_Precise(), precision):  # type: ignore[arg-type]
            seconds, _ = sheet.clock(lambda a=a, b=b: a @ b, sheet.sized(10, 2))
        sheet.add(
            f"product of {size} x {size} matrices: {precision}", 2 * size**3 / seconds / 1e12, "TFLOP/s"
        )
        sheet.check()


def memory(sheet: Sheet) -> None:
    size = sheet.sized(2**30, 2**20)
    one, two = (torch.empty(size, dtype=torch.uint8, device=sheet.device) for _ in range(2))
    seconds, _ = sheet.clock(lambda: two.copy_(one), 10)
    sheet.add("copy within memory, read and written", 2 * size / seconds / 1e9, "GB/s")


def bus(sheet: Sheet) -> None:
    host = torch.empty(2**28, dtype=torch.uint8, pin_memory=True)
    there = torch.empty_like(host, device="cuda")
    seconds, _ = sheet.clock(lambda: there.copy_(host, non_blocking=True), 5)
    sheet.add("page-locked memory to card", len(host) / seconds / 1e9, "GB/s")
    seconds, _ = sheet.clock(lambda: host.copy_(there, non_blocking=True), 5)
    sheet.add("card to page-locked memory", len(host) / seconds / 1e9, "GB/s")


MEASURES = (
    Measure("versions", versions),
    Measure("card, driver, CUDA, cuBLAS and clocks", card, cuda=True),
    Measure("matrix products", products),
    Measure("copies within memory", memory),
    Measure("copies between memory and card", bus, cuda=True),
)
