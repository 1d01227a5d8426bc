"""The benchmarks run and record their measurements; speed itself is not tested."""

import doctest
import importlib
import subprocess
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from snakemake_run import python

from audio_neurons.cost import work
from benchmarks import __main__ as runner
from benchmarks import alternatives, common, cost, workflow

COLUMNS = ["when", "commit", "machine", "benchmark", "what", "value", "unit", "low", "high", "runs"]
# One measurement that each benchmark must record.
MEASURED = {
    "extraction": "time of extraction / bare forward pass, fp32",
    "alternatives": "time of ours / notebook",
    "ablation": "time of 3 conditions from layer 1 / 3 plain runs",
    "inference": "1,000 draws over 10 groups, permutation",
    "end_to_end": "share of extraction: encoder",
    "memory": "memory, 40 clips / 10, 5 groups",
    "growth": "exponent of time over shards (1 to 2)",
    "preparation": "16000 Hz: time of preparation / bare",
    "encoders": "tiny: time of extraction / bare",
    "precision": "time of a forward pass with hooks, bf16 / fp32",
    "context": "noise, 16 clips: time of a forward pass, full / clip",
    "counting": "noise, 16 clips: share of tokens after the end of recordings",
}


@pytest.fixture(autouse=True)
def intervals(monkeypatch):
    """Restore how often progress is shown: benchmarks, usually processes of their own, turn it off."""
    monkeypatch.setattr("audio_neurons.running.runtime.INTERVAL", 5.0)


def rows_of(name, tmp_path, *args):
    history = tmp_path / "history.parquet"
    module = importlib.import_module(f"benchmarks.{name}")
    module.main(["--quick", "--threads", "1", "--history", str(history), *args])
    return pd.read_parquet(history)


@pytest.mark.parametrize("name", MEASURED)
def test_it_runs_and_writes_down_what_it_measures(name, tmp_path, capsys):
    rows = rows_of(name, tmp_path)
    assert list(rows.columns) == COLUMNS
    assert set(rows["benchmark"]) == {name}
    assert rows["what"].is_unique
    assert np.isfinite(rows["value"]).all()
    assert (rows["low"] <= rows["value"]).all()
    assert (rows["value"] <= rows["high"]).all()
    row = rows.set_index("what").loc[MEASURED[name]]
    assert row["runs"] == {"memory": 1, "counting": 1, "context": 1, "encoders": 3}.get(name, 2)
    said = capsys.readouterr().out
    assert said.startswith(f"{name}: ")
    assert all(f"  {what}: " in said for what in rows["what"])


def test_parts_dealt_by_group_are_smaller_and_merge_to_the_same(tmp_path):
    rows = rows_of("growth", tmp_path, "--shards", "1", "4", "--groups", "40").set_index("what")["value"]
    assert rows["different results of the two"] == 0
    held = next(what for what in rows.index if what.startswith("units before they are merged"))
    assert rows[held] < 1


@pytest.mark.workflow
def test_the_workflow_is_timed(tmp_path, monkeypatch):
    """Snakemake is forked, which changes its time alone."""

    def run(command, **given):
        return subprocess.CompletedProcess(command, *python(command[1:]))

    monkeypatch.setattr(workflow, "subprocess", SimpleNamespace(**{**vars(subprocess), "run": run}))
    rows = rows_of("workflow", tmp_path, "--shards", "3").set_index("what")
    assert rows["value"].gt(0).all()
    assert "one figure again, from finished statistics" in rows.index
    assert any(what.startswith("snakemake -n of ") and what.endswith(" jobs") for what in rows.index)


@pytest.mark.parametrize("name", [*MEASURED, "workflow"])
def test_each_says_what_its_options_are(name, capsys):
    with pytest.raises(SystemExit) as left:
        importlib.import_module(f"benchmarks.{name}").main(["--help"])
    assert left.value.code == 0
    assert "--quick" in (said := capsys.readouterr().out)
    assert "--runs" in said


def test_all_of_them_are_run(root):
    scripts = {path.stem for path in (root / "benchmarks").glob("*.py")}
    others = {"__init__", "__main__", "common", "cost", "drawing", "evening", "validity"}
    assert set(runner.ALL) == scripts - others
    assert set(runner.ALL) == {*MEASURED, "workflow"}


def test_their_history_is_not_taken_for_results_of_a_study(root):
    assert root / "results" not in common.HISTORY.parents


@pytest.mark.parametrize("way", alternatives.WAYS)
def test_each_way_counts_the_same(way, tmp_path):
    clips = common.make_clips(tmp_path / "clips.parquet", 10, 1.0)  # longer than one chunk of the encoder
    encoder = alternatives.models.load("tiny", common.TINY, None)
    found = alternatives.WAYS[way](encoder, clips, 16_000, 2, tmp_path)
    ours = alternatives.ours(encoder, clips, 16_000, 2, tmp_path)
    assert found.keys() == ours.keys() == {f"class {i}" for i in range(10)}
    assert all((found[kind] == ours[kind]).all() for kind in ours)
    alternatives.alone(way, common.TINY, "cpu", str(clips), 16_000, 2, str(tmp_path))


# Shared code


def test_turns_change_their_order():
    seen = []
    seconds = common.turns({name: lambda name=name: seen.append(name) for name in "ab"}, 2)
    assert "".join(seen) == "baabba"
    assert seconds.shape == (2, 2)


def test_exponents():
    assert common.exponent([1, 2, 4, 8], [3, 6, 12, 24]) == pytest.approx(1)
    assert common.exponent([10, 100], [5, 500]) == pytest.approx(2)


def test_the_history_grows_and_the_last_run_is_shown(tmp_path, capsys):
    history = tmp_path / "new" / "history.parquet"
    given = common.options("A test.", ["--history", str(history), "--threads", "1"])
    for value in (1.0, 3.0):
        began = pd.Timestamp.now("UTC")
        with common.Report("test", given) as report:
            report.add("a ratio", [value, value + 1, value + 2])
            report.add("a time", 2.5, "s")
    rows = pd.read_parquet(history)
    assert list(rows["value"]) == [2, 2.5, 4, 2.5]
    assert list(rows["low"]) == [1.5, 2.5, 3.5, 2.5]
    assert list(rows["runs"]) == [3, 1, 3, 1]
    assert str(rows["when"].dt.tz) == "UTC"
    capsys.readouterr()
    runner.show(history, began)
    said = capsys.readouterr().out
    assert "a ratio: 4 [3.5, 4.5], 3 runs" in said
    assert "a time: 2.5 s\n" in said
    assert "a ratio: 2 " not in said


def test_what_fails_is_not_written_down(tmp_path):
    given = common.options("A test.", ["--history", str(tmp_path / "h.parquet"), "--threads", "1"])

    def fails():
        with common.Report("test", given) as report:
            report.add("a ratio", 1.0)
            raise KeyError

    with pytest.raises(KeyError):
        fails()
    assert not (tmp_path / "h.parquet").exists()


def test_time_is_recorded_and_the_function_set_back():
    class Owner:
        def work(self, value):
            return value + 1

    owner, seconds = Owner(), {}
    with (
        common.recorded(owner, "work", seconds, "it", "cpu"),
        common.recorded(Owner, "work", seconds, "all", "cpu"),
    ):
        assert owner.work(1) == 2
        assert Owner().work(2) == 3
    assert set(seconds) == {"it", "all"}
    assert "work" not in vars(owner)
    assert Owner.work.__name__ == "work"


# Costs


def test_the_page_of_costs_is_that_of_the_rates(root):
    rates = yaml.safe_load(cost.RATES.read_text(encoding="utf-8"))
    page = (root / "docs" / "cost.md").read_text(encoding="utf-8")
    readme = (root / "README.md").read_text(encoding="utf-8")
    assert cost.filled(page, rates) == page, "run `make reference`"
    assert cost.named(readme, rates) == readme, "run `make reference`"
    assert set(cost.UNITS) == {name for name, fact in rates["measured"].items() if isinstance(fact, dict)}


def test_costs_follow_the_rates():
    rates = yaml.safe_load(cost.RATES.read_text(encoding="utf-8"))
    one = cost.Costs(rates)
    models = {kind: 2 * count for kind, count in rates["assumed"]["models"].items()}
    two = cost.Costs({**rates, "assumed": {**rates["assumed"], "models": models}})
    assert two.total_work() == 2 * one.total_work()
    assert dict(cost.sizes(two))["clips"] == dict(cost.sizes(one))["clips"]
    assert dict(cost.sizes(two))["embeddings"] == 2 * dict(cost.sizes(one))["embeddings"]
    assert one.clips["esc50"] == 2000


def test_operations_are_those_that_torch_counts():
    from torch.utils.flop_counter import FlopCounterMode

    from audio_neurons import models

    full = models.load("vit-base", common.VIT_BASE, None)
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        full.encode(full.front_end(torch.zeros(1, 112_000)))  # 7 s: two chunks
    # The counter leaves out attention on a CPU, some 3 %.
    assert counter.get_total_flops() == pytest.approx(work.vit(7.0), rel=0.04)


@pytest.mark.parametrize("module", [cost, common])
def test_examples(module):
    assert doctest.testmod(module).failed == 0


def test_a_page_without_a_place_for_a_table_is_refused():
    rates = yaml.safe_load(cost.RATES.read_text(encoding="utf-8"))
    with pytest.raises(ValueError, match="no place for the table 'work'"):
        cost.filled("# Costs\n", rates)
    with pytest.raises(ValueError, match=r"config/config\.yaml 0 times"):
        cost.named("# README\n", rates)
