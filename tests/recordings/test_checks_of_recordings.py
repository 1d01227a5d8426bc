"""Each check on the smallest table of facts in which it has something to find."""

from __future__ import annotations

import numpy as np
import pytest
from tabled_facts import GOOD, TERMS, table
from upstream import sound, tone

from audio_neurons import tables
from audio_neurons.recordings import checking, checks, facts
from audio_neurons.recordings.checks import ERROR, NOTE, WARNING, Terms, check


def found(facts, terms=TERMS):
    return {(result.check, result.label): result for result in check(facts, terms)}


def only(facts, terms=TERMS):
    (result,) = check(facts, terms)
    return result


def test_good_recordings_give_nothing():
    assert check(table(), TERMS) == []


def test_every_check_is_in_the_list():
    named = [one.__name__ for one in checks.CHECKS]
    assert len(named) == len(set(named)) == 17


def test_unusable_recordings_stop_a_run_beyond_what_is_allowed():
    rows = GOOD * 5
    problems = [""] * 19 + ["silent"]
    result = only(table(rows, problem=problems))
    assert (result.check, result.level, result.affected) == ("unusable", NOTE, 1)
    assert result.examples == ("19.wav (silent)",)
    problems = [""] * 17 + ["silent", "silent", "missing"]
    result = only(table(rows, problem=problems))
    assert (result.level, result.affected) == (ERROR, 3)
    assert "3 of 20 recordings cannot be used: silent (2); missing (1). That is 15.0%" in result.message
    assert "allows 10.0%" in result.message


def test_what_is_left_out_on_purpose_does_not_count():
    problems = [""] * 4 + ["excluded: rain"] * 4
    result = only(table(GOOD * 2, problem=problems))
    assert (result.check, result.level, result.affected) == ("left out", NOTE, 4)


def test_recordings_that_are_all_unusable_stop_a_run():
    assert found(table(problem="silent"), Terms(["kind"], 2.0, 60.0))["unusable", ""].level == ERROR


def test_the_split_that_selects_neurons_needs_recordings():
    result = found(table([(kind, group, "test") for kind, group, _ in GOOD]))["empty split", ""]
    assert result.level == ERROR
    assert "no recording is in train" in result.message
    assert "selection.statistics_split: all" in result.message


def test_classes_without_recordings_are_named():
    rows = [*GOOD, ("gull", "hill", "test"), ("gull", "lake", "test"), ("crow", "hill", "train")]
    facts = table([*rows, ("crow", "lake", "train")], problem=[""] * 6 + ["silent"] * 2)
    results = check(facts, TERMS)
    messages = [result.message for result in results if result.check == "empty class"]
    assert messages == [
        "no recording can be used of 1 of 4 classes: crow",
        "no recording is in train of 1 of 4 classes: no neurons are selected: gull",
    ]


def test_a_class_without_test_recordings_is_a_note_unless_all_select():
    rows = [
        ("owl", "hill", "train"),
        ("wren", "hill", "train"),
        ("owl", "lake", "train"),
        ("wren", "lake", "test"),
    ]
    result = found(table(rows))["empty test", "kind"]
    assert (result.level, result.examples) == (NOTE, ("owl",))
    everything = Terms(["kind"], 2.0, 60.0, splits=["train", "valid", "test"])
    assert ("empty test", "kind") not in found(table(rows), everything)


def test_duplicates_are_told_by_what_they_endanger():
    rows = [
        ("owl", "hill", "train"), ("owl", "lake", "test"),  # across splits
        ("owl", "hill", "train"), ("wren", "hill", "train"),  # of two classes
        ("wren", "pond", "test"), ("wren", "lake", "test"),  # across groups
        ("wren", "lake", "test"), ("wren", "lake", "test"),  # harmless
        *GOOD,
    ]  # fmt: skip
    digests = ["a", "a", "b", "b", "c", "c", "d", "d", "e", "f", "g", "h"]
    results = found(table(rows, digest=digests))
    assert {name for name, _ in results if name.startswith("dup")} == {
        "duplicates across splits", "duplicates of several classes", "duplicates across groups", "duplicates"
    }  # fmt: skip
    across = results["duplicates across splits", ""]
    assert (across.level, across.affected, across.examples) == (WARNING, 2, ("0.wav = 1.wav",))
    assert results["duplicates of several classes", "kind"].examples == ("2.wav = 3.wav",)
    assert results["duplicates across groups", ""].examples == ("4.wav = 5.wav",)
    assert results["duplicates", ""].level == NOTE
    assert results["duplicates", ""].examples == ("6.wav = 7.wav",)


def test_unusable_recordings_are_no_duplicates():
    rows = [*GOOD, ("owl", "hill", "train"), ("wren", "lake", "test")]
    facts = table(rows, digest=[*"abcd", "", ""], problem=[""] * 4 + ["silent"] * 2)
    assert only(facts).check == "unusable"


def test_groups_in_several_splits_are_told():
    rows = [*GOOD, ("owl", "hill", "test")]
    result = only(table(rows))
    assert (result.check, result.level, result.affected) == ("group in several splits", WARNING, 1)
    assert result.examples == ("hill (train, test)",)


def test_a_class_of_one_group_is_told():
    rows = [*GOOD, ("gull", "hill", "train"), ("gull", "hill", "train")]
    result = found(table(rows))["class of one group", "kind"]
    assert (result.level, result.affected) == (WARNING, 1)
    assert result.examples == ("gull (hill, 2 recordings)",)


def test_recordings_without_groups_are_told_what_groups_are_for():
    rows = [(kind, str(number), split) for number, (kind, _, split) in enumerate(GOOD * 2)]
    result = only(table(rows))
    assert (result.check, result.level) == ("no groups", NOTE)


@pytest.mark.parametrize(
    ("one", "other"),
    [("owl", "Owl"), ("owl", "owl "), ("barn owl", "barn  owl"), ("\u00e9", "e\u0301"), ("\uff4f", "o")],
)
def test_names_that_look_alike_are_told(one, other):
    rows = [(other if kind == "wren" else one, group, split) for kind, group, split in GOOD]
    result = only(table(rows))
    assert (result.check, result.level, result.affected) == ("names alike", WARNING, 2)
    shown = result.examples[0].split(" = ")
    assert len(set(shown)) == 2  # and looks different


def test_other_names_are_not_alike():
    rows = [("owls" if kind == "wren" else "owl", group, split) for kind, group, split in GOOD]
    assert check(table(rows), TERMS) == []


@pytest.mark.parametrize(
    ("column", "values", "told"),
    [
        ("rate", [8_000, 44_100], "sampling rate tells owl (8,000 Hz), wren (44,100 Hz)"),
        ("channels", [2, 1], "number of channels tells owl (2), wren (1)"),
        ("encoding", ["VORBIS", "PCM_16"], "encoding tells owl (WAV VORBIS), wren (WAV PCM_16)"),
    ],
)
def test_a_class_that_its_file_format_tells_apart_is_told(column, values, told):
    of = dict(zip(("owl", "wren"), values, strict=True))
    facts = table(**{column: [of[kind] for kind, *_ in GOOD]})
    assert told in found(facts)["class told apart", "kind"].message
    facts.loc[0, column] = values[1]  # one owl like a wren: no longer
    assert ("class told apart", "kind") not in found(facts)


def test_unlike_silence_is_told_whether_padded_or_in_the_file():
    for changed in ({"kept": [1.0, 2.0, 1.0, 2.0]}, {"silence": [1.0, 0.0, 1.0, 0.0]}):
        result = found(table(**changed))["unlike silence", "kind"]
        assert result.level == WARNING
        assert "50% is silence at the ends of recordings in 'owl', and 0% in 'wren'" in result.message
    assert ("unlike silence", "kind") not in found(table(silence=[0.4, 0.0, 0.4, 0.0]))


def test_what_is_silent_where_the_model_listens_is_told():
    results = found(table(kept=3.0, seconds=3.0, silence=[2.0, 1.0, 0.0, 0.0]))
    assert results["silent where heard", ""].level == WARNING
    assert results["silent where heard", ""].examples == ("0.wav (3 s)",)
    assert results["silent ends", ""].examples == ("1.wav (50%)",)


def test_lengths_are_told_beside_what_is_heard():
    results = found(table(seconds=[1.0, 2.0, 4.0, 2.04], kept=[1.0, 2.0, 4.0, 2.04]))
    short, long = results["short", ""], results["long", ""]
    assert short.examples == ("0.wav (1 s)",)
    assert "12.5% of what the model hears is this silence" in short.message
    assert long.examples == ("2.wav (4 s)",)  # some frames more are not told


def test_a_file_that_ends_early_is_told():
    results = found(table(seconds=[5.0, 90.0, 2.0, 2.0], kept=[3.0, 60.0, 2.0, 2.0]))
    assert results["truncated", ""].examples == ("0.wav (3 s of 5 s)",)


@pytest.mark.parametrize(
    ("column", "value", "name", "told"),
    [
        ("clipped", 0.02, "clipped", "0.wav (2 %)"),
        ("halvings", 3, "beyond full scale", "0.wav (1/8)"),
        ("mixdown", 6.02, "mixdown", "0.wav (6 dB)"),
        ("mixdown", np.inf, "mixdown", "0.wav (all)"),
    ],
)
def test_levels_are_told(column, value, name, told):
    result = only(table(**{column: [value, 0, 0, 0]}))
    assert (result.check, result.level, result.affected, result.examples) == (name, NOTE, 1, (told,))


def test_low_rates_are_told():
    result = only(table(rate=[8_000, 44_100, 44_100, 8_000]))
    assert (result.check, result.affected) == ("low rate", 2)
    assert "nothing is above half of it, 4,000 Hz" in result.message


def test_the_worst_is_first():
    rows = [*GOOD, ("owl", "hill", "test")]
    levels = [r.level for r in check(table(rows, clipped=0.1, problem=["x", "x", "", "", ""]), TERMS)]
    assert levels == sorted(levels, key=checks.LEVELS.index)
    assert set(levels) == {ERROR, WARNING, NOTE}


def test_results_are_a_table(tmp_path):
    results = check(table([*GOOD, ("owl", "hill", "test")]), TERMS)
    for path, rows in ((tmp_path / "some.parquet", results), (tmp_path / "none.parquet", [])):
        tables.write(path, "checks", checking.table("birds", rows))
        back = tables.read(path, "checks")
        assert len(back) == len(rows)
    assert tables.read_all([tmp_path / "some.parquet"] * 2, "checks")["dataset"].tolist() == ["birds"] * 2
    assert tables.read_all([], "checks").columns.tolist() == tables.SCHEMAS["checks"].names


def test_a_dataset_is_checked_into_tables(tmp_path, capfd):
    lines = ["path,kind,group,split"]
    for number, (kind, group, split) in enumerate(GOOD):
        (tmp_path / f"{number}.wav").write_bytes(sound(tone(300 + 100 * number, 2.0)))
        lines.append(f"{number}.wav,{kind},{group},{split}")
    (tmp_path / "3.wav").write_bytes((tmp_path / "0.wav").read_bytes())
    (tmp_path / "own.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    out = {"facts_file": tmp_path / "facts.parquet", "checks_file": tmp_path / "checks.parquet"}
    checking.write("birds", "custom", {"files": tmp_path / "own.csv"}, TERMS, **out)
    written = tables.read(out["facts_file"], "facts")
    assert written["clip_id"].tolist() == ["0.wav", "1.wav", "2.wav", "3.wav"]
    assert len(written["digest"].unique()) == 3
    told = tables.read(out["checks_file"], "checks")
    assert set(told["check"]) == {"duplicates across splits", "duplicates of several classes"}
    assert "birds: warning: kind: 2 recordings hold the same sound" in capfd.readouterr().err
    assert [field for field in facts.MEASURED if field not in written] == []


def test_padding_is_no_silence_where_it_does_not_count():
    terms = Terms(["kind"], 2.0, 60.0, splits=["train"])
    results = found(table(kept=[1.0, 2.0, 1.0, 2.0]), terms)
    assert ("unlike silence", "kind") not in results
    assert "what is padded does not count" in results["short", ""].message
    assert ("unlike silence", "kind") in found(table(silence=[1.0, 0.0, 1.0, 0.0]), terms)
