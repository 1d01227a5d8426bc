"""`make bench-gpu` runs where there is no GPU, says what is open, and survives what fails."""

import argparse
import io
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import redirect_stderr, redirect_stdout
from types import SimpleNamespace

import pytest
import torch
from forks import Forked
from snakemake_run import server

from benchmarks.gpu import __main__ as gpu
from benchmarks.gpu import table
from benchmarks.gpu.sheet import Measure, Sheet

pytest.importorskip("transformers", reason="the benchmark measures encoders of transformers")


def row(what, value=None, note="", state="measured", part="C", unit=""):
    return {"part": part, "what": what, "value": value, "unit": unit, "note": note, "state": state}


class Part(Forked):
    """Stands for `subprocess.Popen` of a part, so that it does not import PyTorch anew."""

    def __init__(self, command, cwd, **given):
        end, begin = os.pipe()
        super().__init__(server(), command[1:], {**os.environ, "OMP_NUM_THREADS": "1"}, (begin, 2), str(cwd))
        os.close(begin)
        self.stdout = os.fdopen(end)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The results and what was printed, of all parts in tiny sizes on the CPU; the first starts in full."""
    out = tmp_path_factory.mktemp("gpu")
    given = ["--device", "cpu", "--quick", "--minutes", "60", "--out", str(out), "--commit", "abc1234"]

    def start(command, **given):
        first = command[command.index("--parts") + 1] == "A"
        return (subprocess.Popen if first else Part)(command, **given)

    printed, told, before = io.StringIO(), io.StringIO(), signal.getsignal(signal.SIGTERM)
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(printed), redirect_stderr(told):
        patch.setattr(gpu, "subprocess", SimpleNamespace(**{**vars(subprocess), "Popen": start}))
        gpu.main(given)
    signal.signal(signal.SIGTERM, before)
    found = json.loads((out / "gpu.json").read_text(encoding="utf-8"))
    return found, printed.getvalue(), told.getvalue(), out


def test_every_part_measures_or_says_that_it_needs_cuda(run):
    found, _, said, out = run
    assert set(found["seconds"]) == set(gpu.PARTS)
    assert not [one for one in found["rows"] if one["state"] in ("failed", "late")], said[-3000:]
    for letter in gpu.PARTS:
        assert any(one["part"] == letter and one["state"] == "measured" for one in found["rows"]), letter
    assert {one["note"] for one in found["rows"] if one["state"] == "open"} == {
        "needs CUDA", "one card cannot show it",
    }  # fmt: skip
    assert (out / "profile.txt").stat().st_size > 1000
    assert len(list(out.iterdir())) == 2


def test_the_table_comes_last_and_fits_what_comes_back(run):
    _, said, _, _ = run
    assert len(said) < 12_000
    assert said.startswith("bench-gpu, ")
    assert "commit abc1234, cpu (tiny sizes: these are no measurements)" in said.splitlines()[0]
    assert [line[:2] for line in said.splitlines() if line[1:3] == ". "] == [f"{one}." for one in gpu.PARTS]
    end = said[said.index("\nopen  statistics on the device") :]
    assert "ok    recorder equals sums in int64" in end
    assert "ok    shared runs of changes have the bits of their own" in end
    assert "ok    an interrupted training has the bytes of a whole one" in end
    assert "NOT" not in end
    assert "open  a late card changes no table" in end


def test_nothing_of_the_workflow_is_needed(root):
    modules = ", ".join(f"benchmarks.gpu.{module}" for module, _, _ in gpu.PARTS.values())
    code = f"import sys; sys.modules['snakemake'] = None; import {modules}; print(*sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    roots = {name.partition(".")[0] for name in said.stdout.split()}
    assert not roots & {"jsonschema", "matplotlib", "seaborn", "snakemake_interface_common"}


def test_a_python_that_lacks_a_package_says_so(monkeypatch, capsys):
    monkeypatch.setattr(gpu, "NEEDED", ("torch", "no_such_package"))
    with pytest.raises(SystemExit):
        gpu.main(["--device", "cpu", "--quick"])
    assert "this Python lacks no_such_package; install it" in capsys.readouterr().err


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_the_reason_is_told_before_anything_runs(tmp_path, capsys):
    with pytest.raises(SystemExit):
        gpu.main(["--out", str(tmp_path)])
    said = capsys.readouterr().err
    assert "--device cpu --quick tries everything without a GPU" in said
    assert any(reason in said for reason in ("NVIDIA driver", "without CUDA", "no GPU is visible"))


@pytest.mark.parametrize(
    ("ends", "why"), [("sleep 60", "it was ended after 1 s"), ("kill -9 $$", "its process ended with -9")]
)
def test_a_part_that_hangs_or_dies_is_a_row(ends, why, tmp_path, monkeypatch):
    fake = tmp_path / "python"
    measured = json.dumps(row("a copy", 3.0))
    fake.write_text(f"#!/bin/sh\necho '{measured}'\necho noise\n{ends}\n", encoding="utf-8")
    fake.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(fake))
    args = argparse.Namespace(device="cpu", out=tmp_path, quick=True)
    began = time.monotonic()
    first, last = gpu.part(args, "C", 1.0)
    assert time.monotonic() - began < 30
    assert first == row("a copy", 3.0)
    assert (last["part"], last["state"], last["note"]) == ("C", "failed", why)


def test_what_fails_or_is_late_or_needs_a_gpu_is_a_row(tmp_path, capsys):
    sheet = Sheet("C", "cpu", True, 3600, tmp_path)

    def late(sheet):
        print("3 changes in one pass: features differ", file=sys.stderr)
        sheet._end = 0
        sheet.add("first", 1)
        sheet.check()

    sheet.run([
        Measure("broken", lambda sheet: 1 / 0),
        Measure("card", lambda sheet: None, cuda=True),
        Measure("slow", late),
        Measure("never", lambda sheet: sheet.add("never", 1)),
    ])  # fmt: skip
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(one["what"], one["state"]) for one in rows] == [
        ("broken", "failed"), ("card", "open"), ("first", "measured"), ("slow", "late"), ("never", "late"),
        ("told", "measured"),
    ]  # fmt: skip
    assert rows[0]["note"] == "ZeroDivisionError: division by zero"
    assert rows[-1]["note"] == "3 changes in one pass: features differ"


def test_a_long_table_is_cut_and_says_so():
    rows = [row(f"copy {i}: of many", 1.0, "x" * 60) for i in range(400)] + [row("late", state="late")]
    found = {"when": "now", "commit": "c", "device": "cuda", "quick": False, "seconds": {}, "rows": rows}
    said = table.shown(found, {"C": "copies"}, 11_800)
    assert len(said) <= 11_800
    assert "Some rows are in gpu.json only." in said
    assert said.endswith("1 late: no time was left: C: late")


def test_figures_are_judged_by_the_best_batch_and_the_worst_case():
    rows = [
        row("vit-base, bf16, batch 32: bare", 3.5, unit="ms"),
        row("vit-base, bf16, batch 32: statistics / bare", 1.45),
        row("vit-base, bf16, batch 128: bare", 12.4, unit="ms"),
        row("vit-base, bf16, batch 128: statistics / bare", 1.02),
        row("extract, time / bare passes: bf16, batch 128", 1.3),
        row("recorder, wrong of 18 cases: vit", 0.0),
        row("recorder, wrong of 18 cases: ast", 2.0),
        row("reading Parquet", 4000.0),
        row("decoding, in threads: 8", 2500.0),
        row("writing: embeddings, counts", 5600.0),
    ]
    said = list(table.accepted(rows))
    best = "1.02 (vit-base, bf16, batch 128: statistics / bare)"
    assert f"ok    statistics on the device / bare passes, bf16, at most 1.03: {best}" in said
    assert any(line.startswith("NOT   extraction from end to end / bare passes, bf16") for line in said)
    assert "NOT   recorder equals sums in int64: 2 (recorder, wrong of 18 cases: ast)" in said
    assert "none  strongest clips equal a sort: nothing was measured" in said
    told = "decoding binds (device 10,300 clips/s; reading 4,000, decoding 2,500, writing 5,600)"
    assert f"      bf16: {told}" in said
