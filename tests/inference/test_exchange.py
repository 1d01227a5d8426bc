"""Single clips that change places within groups of several classes (`inference.exchange: clips`)."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import simulated

from audio_neurons import tables
from audio_neurons.activations.rows import read, read_clips
from audio_neurons.activations.units import Tally, Units
from audio_neurons.inference.inference import Task, infer
from audio_neurons.inference.permutation import Exchange, Permutation
from audio_neurons.inference.resampling import pooled
from audio_neurons.inference.sharing import infer_ratios
from audio_neurons.settings.inference import Inference
from audio_neurons.settings.selection import rule_of

RULE = rule_of("aape", {"top_share": 0.1})
QUICK = Inference(draws=59, bootstrap=9, halves=3, replications=5, splits=1)


def clips(seed: int, groups: int = 12, numbers=(1, 12), neurons: int = 150, planted: int = 0) -> Units:
    """Return clips of speakers that have each class; counts vary by clip and by speaker."""
    rng = np.random.default_rng(seed)
    group = np.repeat(np.arange(groups), sum(numbers))
    label = np.tile(np.repeat(np.arange(len(numbers)), numbers), groups)
    p = rng.beta(1, 4, neurons) + 0.05 * rng.normal(size=(groups, neurons))[group]
    for c in range(len(numbers)):
        p[:, c * planted : (c + 1) * planted] += 0.4 * (label == c)[:, None]
    p = np.clip(p + 0.1 * rng.normal(size=p.shape), 0.01, 0.99)
    active = rng.binomial(40, p).astype(np.uint16)
    return Units(active, np.full(len(group), 40), label, group, tuple("abc"[: len(numbers)]))


def test_clips_of_a_rare_class_change_places_where_its_rows_cannot():
    single = clips(0)
    task = Task.of(single, RULE, single)
    assert not Exchange(task.units).movable.any()  # each row of the rare class is of another size
    assert Exchange(task.exchanged).movable.all()
    assert Exchange(task.exchanged).association == 0
    (labels,), _ = Permutation(task.exchanged)(np.random.default_rng(0))
    for group in range(12):  # each speaker keeps what he has of each class
        assert sorted(labels[single.groups == group]) == sorted(single.labels[single.groups == group])
    assert (labels != single.labels).any()


def test_p_of_single_neurons_is_uniform_if_classes_do_nothing_and_finds_what_is_planted():
    single = clips(1, neurons=400)
    *_, found = infer(Task.of(single, RULE, single), QUICK.changed(draws=199))
    assert (found["p_value"] <= 0.05).mean() == pytest.approx(0.05, abs=0.033)  # 3 standard errors
    planted = clips(2, planted=10)
    rows, _, found = infer(Task.of(planted, RULE, planted), QUICK.changed(draws=199))
    assert (found["p_value"][:20] <= 0.01).all()
    assert rows.set_index("statistic").loc["size_association", "value"] == 0


def test_nothing_but_permutations_changes():
    single = clips(3, numbers=(2, 3))
    tables_of = [infer(Task.of(single, RULE, own), QUICK)[0] for own in (None, single)]
    rows = [table[~table["statistic"].isin(["movable", "size_association"])] for table in tables_of]
    for column in ("statistic", "class_a", "value", "low", "high", "repeatability", "groups"):
        pd.testing.assert_series_equal(rows[0][column], rows[1][column])
    assert (rows[0]["null_mean"] != rows[1]["null_mean"]).any()


def test_groups_of_one_class_move_whole_as_before():
    rows, _ = simulated.units(4, groups=20, classes=2, neurons=30)
    assert Task.of(rows, RULE, rows).clips is None


def test_what_transfers_is_judged_by_rows_of_a_group_and_class():
    tasks = [Task.of(one, RULE, one) for one in (clips(5, planted=6), clips(6, planted=6))]
    rows, _ = infer_ratios(tasks, None, QUICK)
    without, _ = infer_ratios([replace(task, clips=None) for task in tasks], None, QUICK)
    rows, without = (table.set_index("statistic").loc["transfer"] for table in (rows, without))
    assert rows["value"] == without["value"] > 0.6  # of the data, single clips change nothing
    assert rows["null_mean"] == pytest.approx(0.5, abs=0.05)


def test_clips_read_from_tables_add_up_to_the_units(tmp_path):
    single = clips(7, groups=3, numbers=(1, 2, 2), neurons=8)
    order = np.random.default_rng(0).permutation(len(single.labels))
    frame = pd.DataFrame({"clip_id": [f"c{n:02d}" for n in range(len(order))], "split": "train", "fold": 0})
    frame["group"] = [f"g{g}" for g in single.groups]
    frame["kind"] = [single.classes[c] for c in single.labels]
    frame.loc[frame["kind"] == "c", "split"] = "test"  # a class without training clips
    tally = Tally(frame, ["kind"], 8, tmp_path)
    tally.add(0, single.active.astype(np.int32))
    tally.write(tmp_path, single.tokens, 0 * single.tokens, window=40, neurons=1)
    parts = [tmp_path / f"part-{n}.parquet" for n in range(2)]
    for part, here in zip(parts, (order[:6], order[6:]), strict=True):
        with tables.writer(part, "responses") as out:
            tokens = single.tokens[here].astype(np.int32)
            names = frame["clip_id"][here].tolist()
            out.append({"clip_id": names, "tokens": tokens, "active": list(single.active[here])})
    described = tmp_path / "clips.parquet"
    tables.write(described, "clips", frame.assign(audio=b"", frames=1))
    units = pooled(read(tmp_path / "units.parquet", "kind", ["train"]))
    own = read_clips(parts, [described], "kind", ["train"])
    task = Task.of(units, RULE, own)
    again = pooled(task.exchanged)
    for name in ("active", "tokens", "labels", "groups"):
        np.testing.assert_array_equal(getattr(again, name), getattr(units, name))
    assert again.classes == units.classes == ("a", "b")
    other = replace(own, tokens=own.tokens + (own.groups == 0))
    with pytest.raises(tables.TableError, match="not of the same clips as the units"):
        Task.of(units, RULE, other)
