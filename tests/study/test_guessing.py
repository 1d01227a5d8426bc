"""What names and columns are taken for, and what is left alone."""

from __future__ import annotations

import pytest

from audio_neurons.datasets import custom
from audio_neurons.datasets.groups import drawing
from audio_neurons.study import guessing

CLASSES = [name for name in ("owl", "wren") for _ in range(6)]


def rows(**columns):
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def names(pattern, groups):
    """Two recordings of each of three groups, in each of two classes."""
    return [pattern.format(c=c, g=g, n=n) for c in ("owl", "wren") for g in groups for n in (1, 2)]


# Groups


@pytest.mark.parametrize(
    ("pattern", "groups", "where"),
    [
        ("{c}/{g}_{n}.wav", ["spk1", "spk2", "spk3"], "part 1 of the file's name"),
        ("{c}/{g}-take{n}.wav", ["F01", "M02", "M03"], "part 1 of the file's name"),
        ("{c}_{n}_{g}.wav", ["s01", "s02", "s03"], "part 3 of the file's name"),
        ("{c}/{g}/{n}.wav", ["Actor_01", "Actor_02", "Actor_03"], "the folder above the file"),
        ("{c}/{g}/{n}.wav", ["1272", "1462", "1673"], "the folder above the file"),
        ("{g}/{c}/{n}.wav", ["id1", "id2", "id3"], "the folder 2 levels above the file"),
    ],
)
def test_what_numbers_a_source_in_several_classes_is_a_group(pattern, groups, where):
    found, why = guessing.groups(names(pattern, groups), CLASSES)
    assert found == [group for _ in range(2) for group in groups for _ in range(2)]
    assert why.startswith(f"{where} ({groups[0]}, {groups[1]}, {groups[2]}, ...)")


@pytest.mark.parametrize(
    ("pattern", "groups", "why"),
    [
        (
            "{c}/{g}_{n}.wav",
            ["anna", "carl", "dora"],
            "part 1 of the file's name (anna, carl, dora, ...) might",
        ),
        ("{c}/{g}_{n}.wav", ["alphabet", "misc", "intro"], "might be"),  # topics look like names
        ("{c}/{g}_{n}.wav", ["take1", "take2", "take3"], "not evident"),
        ("{c}/{g}/{n}.wav", ["fold1", "fold2", "fold3"], "not evident"),
        ("{c}/{g}_{n}.wav", ["01", "02", "03"], "no part of the names"),
        ("{c}/{g}_{n}.wav", ["spk1", "spk2"], "no part of the names"),  # two may be a condition
        ("{c}/{c}{g}_{n}.wav", ["1", "2", "3"], "no part of the names"),  # each in one class
    ],
)
def test_what_is_not_evident_is_no_group(pattern, groups, why):
    classes = CLASSES if len(groups) == 3 else [name for name in ("owl", "wren") for _ in range(4)]
    found, told = guessing.groups(names(pattern, groups), classes)
    assert found is None
    assert why in told


def test_of_two_parts_that_might_be_groups_none_is_chosen():
    listed = [f"{c}/s{i}_p{j}_{n}.wav" for c in "ab" for i in range(3) for j in range(3) for n in (1, 2)]
    found, why = guessing.groups(listed, [name[0] for name in listed])
    assert found is None
    assert (
        "part 1 of the file's name (s0, s1, s2, ...) and part 2 of the file's name (p0, p1, p2, ...)" in why
    )


def test_real_names_of_ravdess_and_emodb_have_no_evident_group():
    ravdess = [f"03-01-{e:02d}-01-01-01-{a:02d}.flac" for e in range(1, 9) for a in range(1, 25)]
    assert guessing.groups(ravdess, [name[6:8] for name in ravdess])[0] is None
    emodb = [f"{s:02d}a{t:02d}{e}{v}.flac" for s in range(3, 13) for t in (1, 2) for e in "FNW" for v in "ab"]
    assert guessing.groups(emodb, [name[5] for name in emodb])[0] is None


def test_the_group_is_the_column_that_is_called_so_and_shared():
    assert guessing.group_column(rows(Speaker=["a", "a", "b"], site=["x", "x", "y"])) == "Speaker"
    assert guessing.group_column(rows(speaker=["a", "b", "c"], site=["x", "x", "y"])) == "site"
    assert guessing.group_column(rows(speaker=["a", "", ""], age=["1", "1", "2"])) is None


# Columns


def test_the_column_of_paths_is_the_one_that_names_files(tmp_path):
    (tmp_path / "clips").mkdir()
    for name in ("a.wav", "b.wav"):
        (tmp_path / "clips" / name).touch()
    listed = rows(id=["1", "2"], file=["a.wav", "b.wav"], path=["x", "y"])
    assert guessing.path_column(listed, tmp_path) == ("file", tmp_path / "clips")
    assert guessing.path_column(rows(id=["1", "\0"]), tmp_path) is None


def test_splits_are_known_by_their_values():
    assert guessing.split_column(rows(subset=["Train", "dev", "test"])) == "subset"
    assert guessing.split_column(rows(split=["train", "x", "test"])) is None
    assert guessing.split_column(rows(kind=["train", "test", "test"])) is None  # trains can be heard


@pytest.mark.parametrize(
    ("values", "why"),
    [
        (["a", "b"] * 4, None),
        (["1", "2"] * 4, None),
        (["a"] * 8, "has one value"),
        ([str(i) for i in range(8)], "has a value of its own in most rows"),
        (["0.5", "1.5"] * 4, "is a measurement"),
        (["", "", "", "", "", "a", "b", "b"], "is empty in most rows"),
        (["what a long text " * 4, "and another one " * 4] * 4, "is a text"),
        (["g", "g", "h", "h"] * 2, "is the group"),
    ],
)
def test_columns_are_labels_or_have_a_reason_why_not(values, why):
    group = ["1", "1", "2", "2"] * 2
    labels, reasons = guessing.label_columns(rows(column=values), ["column"], group)
    assert (labels, reasons) == ((["column"], {}) if why is None else ([], {"column": why}))


def test_of_two_columns_that_divide_alike_the_first_is_a_label():
    listed = rows(category=["dog", "rain"] * 3, target=["0", "10"] * 3)
    found = guessing.label_columns(listed, ["category", "target"], ["1", "2", "2", "1", "3", "4"])
    assert found == (["category"], {"target": "divides the recordings as category does"})


# Splits and lengths


def test_the_seed_is_the_first_that_leaves_every_class_in_train_and_test():
    groups = [group for group in "abcd" for _ in range(2)]
    labels = [["owl", "wren"] * 4]
    seed = guessing.seed(groups, labels)
    splits = [{drawing(custom.SHARES, number)(group) for group in groups} for number in range(seed + 1)]
    assert {"train", "test"} <= splits[-1]
    assert all(not {"train", "test"} <= found for found in splits[:-1])


def test_no_seed_fits_classes_of_one_group():
    assert guessing.seed(["a", "b"], [["owl", "wren"]]) is None


@pytest.mark.parametrize(
    ("lengths", "seconds"),
    [
        ([3.14] * 20, 3.1),
        ([0.478] * 20, 0.47),
        ([1.0] * 2 + [5.0] * 18, 5.0),
        ([60.0] * 5, 10.0),
    ],
)
def test_clips_are_as_long_as_nine_of_ten_recordings(lengths, seconds):
    assert guessing.clip_seconds([*lengths, float("nan")]) == seconds


def test_without_any_length_the_default_is_taken():
    assert guessing.clip_seconds([float("nan")]) == 5.0
