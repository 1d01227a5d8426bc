"""Groups of equal weight (`weights: groups` of a selector)."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import simulated

from audio_neurons import tables
from audio_neurons.activations.rows import WEIGHT, NamedUnits, counted, equal_groups, sums
from audio_neurons.activations.units import Tally, Units
from audio_neurons.inference.inference import Task, infer_task
from audio_neurons.inference.permutation import Exchange
from audio_neurons.inference.sharing import read_together
from audio_neurons.neurons.selection import probabilities, select_task
from audio_neurons.settings.inference import Inference
from audio_neurons.settings.selection import rule_of

RULE = rule_of("aape", {"weights": "groups", "top_share": 0.1})
QUICK = Inference(draws=19, bootstrap=9, halves=3)


def test_the_probability_of_a_class_is_the_mean_over_its_groups():
    # Class a: 8 of 10 tokens of one group, and 100 of 1,000 of another; class b: one group, 1 of 4.
    rows = Units(
        np.array([[8], [100], [1]], np.uint32), np.array([10, 1_000, 4]), np.array([0, 0, 1]),
        np.arange(3), ("a", "b"),
    )  # fmt: skip
    own = equal_groups(rows)
    assert probabilities(*sums(rows))[:, 0] == pytest.approx([108 / 1_010, 1 / 4])
    assert probabilities(*sums(own))[:, 0] == pytest.approx([(0.8 + 0.1) / 2, 1 / 4], abs=1 / WEIGHT)
    assert own.tokens.tolist() == [WEIGHT] * 3
    assert counted(own).tolist() == [10, 1_000, 4] == counted(equal_groups(own)).tolist()


def test_rows_of_one_group_and_class_share_its_weight_by_their_tokens():
    rows = Units(
        np.array([[30], [0], [50]], np.uint32), np.array([30, 10, 100]), np.array([0, 0, 0]),
        np.array([0, 0, 1]), ("a",),
    )  # fmt: skip
    own = equal_groups(rows)
    assert own.tokens.tolist() == [WEIGHT * 3 // 4, WEIGHT // 4, WEIGHT]
    assert probabilities(*sums(own))[0, 0] == (0.75 + 0.5) / 2


def test_a_class_without_rows_has_no_probability():
    rows = Units(np.ones((1, 2), np.uint32), np.array([4]), np.array([1]), np.array([0]), ("a", "b"))
    assert np.isnan(probabilities(*sums(equal_groups(rows)))).all(1).tolist() == [True, False]


def test_sizes_that_go_with_the_class_are_those_that_were_counted():
    rows, _ = simulated.units(0, groups=24, classes=2, neurons=5)
    rows = replace(rows, tokens=np.where(rows.labels == 0, 100, 4_000), active=rows.active % 100)
    assert Exchange(rows).association > 0.9
    own = equal_groups(rows)
    assert Exchange(own).association == Exchange(rows).association
    assert not Exchange(own).movable.any()


def written(folder, rows: Units, other: tuple[str, ...] | None = None):
    """Write the tables of clips, one per row, as a forward pass does."""
    clips = pd.DataFrame(
        {"split": "train", "fold": 0, "group": [f"g{g}" for g in rows.groups]}
        | {"kind": [rows.classes[c] for c in rows.labels]}
        | ({} if other is None else {"other": other})
    )
    neurons = rows.active.shape[1]
    tally = Tally(clips, ["kind", "other"][: 1 + (other is not None)], neurons, folder)
    tally.add(0, rows.active)
    tally.write(folder, rows.tokens, np.zeros(len(clips), np.int64), window=rows.tokens.max(), neurons=1)
    return folder / "units.parquet"


def test_the_draws_start_from_what_is_selected(tmp_path):
    rows, _ = simulated.units(1, groups=12, classes=3, neurons=60, planted=3)
    path = written(tmp_path, rows)
    out = [tmp_path / name for name in ("neurons.parquet", "classes.parquet")]
    select_task(tmp_path, "kind", None, RULE, *out)
    found = tables.read(out[0], "neurons")
    rates = rows.active / rows.tokens[:, None]
    by_hand = np.stack([rates[rows.labels == c].mean(0) for c in range(3)])
    np.testing.assert_allclose(found["response"].to_numpy().reshape(3, 60), by_hand, atol=1 / WEIGHT)
    assert tables.read(out[1], "classes")["tokens"].tolist() == sums(rows)[1].tolist()
    inferred = [tmp_path / f"{name}.parquet" for name in ("inference", "stability", "draws")]
    infer_task(path, out[0], "kind", None, RULE, QUICK, 1, *inferred)  # refuses another selection


def test_a_group_that_speaks_much_decides_nothing_by_itself():
    rows, _ = simulated.units(1, groups=12, classes=3, neurons=60, planted=3)
    times = np.where(rows.groups == 0, 50, 1)
    heavy = replace(rows, active=rows.active * times[:, None].astype(np.uint32), tokens=rows.tokens * times)
    of_groups, of_tokens = (
        [Task.of(one, rule).chosen.response for one in (rows, heavy)] for rule in (RULE, rule_of("aape", {}))
    )
    np.testing.assert_array_equal(*of_groups)
    assert (of_tokens[0] != of_tokens[1]).any()


def test_two_labels_of_the_same_clips_have_groups_of_equal_weight(tmp_path):
    rows, _ = simulated.units(2, groups=10, classes=2, neurons=20, within=True)
    path = written(tmp_path, rows, ("x", "x", "y", "y") * 5)
    for task in read_together(path, ["kind", "other"], None, [RULE] * 2):
        assert isinstance(task.units, NamedUnits)
        of = task.units.groups * 10 + task.units.labels
        assert set(np.bincount(of, task.units.tokens)[np.unique(of)]) == {WEIGHT}
