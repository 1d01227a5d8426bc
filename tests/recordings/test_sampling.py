"""Samples: which clips are drawn, that they are stable, and what is told of them."""

from __future__ import annotations

from collections import Counter

import pandas as pd
import pytest
from upstream import esc50, sound, table, tone

from audio_neurons import tables
from audio_neurons.recordings import audio
from audio_neurons.recordings.preparation import prepare
from audio_neurons.recordings.sampling import Candidate, SampleError, draw, mixed, place
from audio_neurons.settings.datasets import Sample

SIZES = {"dog": 40, "owl": 10, "wren": 25}


def candidates(sizes=SIZES, per_group=1, split="train"):
    """Clips of some classes, each with groups of its own."""
    return [
        Candidate(f"{name}/{i}.wav", f"{name}{i // per_group}", split, {"species": name})
        for name, size in sizes.items()
        for i in range(size)
    ]


def by_class(chosen):
    return Counter(name.partition("/")[0] for name in chosen)


def test_classes_fill_up_evenly_and_a_small_class_leaves_its_share_to_the_others():
    sizes = by_class(draw(candidates(), Sample(clips=45, per="species")))
    assert sizes["owl"] == 10
    assert sorted((sizes["dog"], sizes["wren"])) == [17, 18]
    assert by_class(draw(candidates(), Sample(clips=30, per="species"))) == {"dog": 10, "owl": 10, "wren": 10}


def test_without_a_label_the_clips_of_the_lowest_hashes_are_drawn():
    names = [clip.clip_id for clip in candidates()]
    assert draw(candidates(), Sample(clips=20, seed=7)) == set(sorted(names, key=lambda n: place(n, 7))[:20])
    assert draw(candidates(), Sample(clips=20, seed=8)) != draw(candidates(), Sample(clips=20, seed=7))
    assert place("a.wav", 0)[0] == 0xC8E9B13810B9292A


def test_order_does_not_matter_and_more_than_there_is_are_all():
    assert draw(candidates()[::-1], Sample(clips=31, per="species")) == draw(
        candidates(), Sample(clips=31, per="species")
    )
    assert len(draw(candidates(), Sample(clips=1000, per="species"))) == 75


@pytest.mark.parametrize("per", [None, "species"])
def test_a_recording_that_is_added_displaces_at_most_one(per):
    sample = Sample(clips=41, per=per)
    before = draw(candidates(), sample)
    changed = 0
    for i in range(60):
        name = ("dog", "owl", "wren", "jay")[i % 4]
        added = Candidate(f"{name}/new{i}.wav", f"new{i}", "train", {"species": name})
        after = draw([*candidates(), added], sample)
        assert len(after) == 41
        assert after - before <= {added.clip_id}
        assert len(before - after) <= 1
        changed += after != before
    assert 0 < changed < 60


def test_a_smaller_sample_is_part_of_a_larger_one():
    small, large = (draw(candidates(), Sample(clips=n, per="species")) for n in (20, 33))
    assert small < large


def test_whole_groups_are_drawn_with_all_their_clips_and_never_more_than_asked_for():
    clips = candidates(per_group=5)
    chosen = draw(clips, Sample(clips=33, per="species", whole_groups=True))
    assert len(chosen) == 30
    assert by_class(chosen) == {"dog": 10, "owl": 10, "wren": 10}
    of_group = Counter(clip.group for clip in clips if clip.clip_id in chosen)
    assert set(of_group.values()) == {5}


def test_a_group_of_several_classes_is_of_that_of_most_of_its_clips():
    clips = [Candidate(str(i), "g", "train", {"species": "owl" if i else "dog"}) for i in range(3)]
    assert mixed(clips, "species") == 1
    other = [Candidate(f"d{i}", "h", "train", {"species": "dog"}) for i in range(3)]
    assert len(draw(clips + other, Sample(clips=6, per="species", whole_groups=True))) == 6


def test_what_cannot_be_drawn_is_refused():
    with pytest.raises(
        SampleError, match=r"2 clips, balanced by species, which has 3 classes; .* at least 3"
    ):
        draw(candidates(), Sample(clips=2, per="species"))
    with pytest.raises(SampleError, match="no group: the first one drawn has more clips"):
        draw(candidates(per_group=50), Sample(clips=4, whole_groups=True))
    clips = candidates({"owl": 500}, split="test") + candidates({"dog": 1})
    with pytest.raises(SampleError, match="none of the training clips"):
        draw(clips, Sample(clips=2))


@pytest.fixture
def listed(tmp_path):
    """A list of 40 recordings of two species and two splits; the last one is left out on purpose."""
    lines = []
    for i in range(40):
        (tmp_path / f"{i}.wav").write_bytes(sound(tone(200 + i)))
        lines.append(f"{i}.wav,{('owl', 'wren')[i % 4 == 0]},{('train', 'test')[i % 5 == 0]}")
    (tmp_path / "list.csv").write_text(table("path,species,split", *lines))
    return tmp_path


def run(folder, parts=1, **options):
    shards = [folder / "out" / f"part-{i}.parquet" for i in range(parts)]
    prepare(
        "custom", {"files": folder / "list.csv"}, shards, folder / "out" / "rejected.parquet",
        excluded={"39.wav": "a plane"}, inventory=folder / "out" / "inventory.parquet", **options,
    )  # fmt: skip
    clips = pd.concat([tables.read(path, "clips") for path in shards], ignore_index=True)
    return clips, tables.read(folder / "out" / "inventory.parquet", "inventory")


def test_only_what_is_drawn_is_decoded_and_both_are_counted(listed, monkeypatch, capsys):
    decoded, excerpt = [], audio.excerpt
    monkeypatch.setattr(audio, "excerpt", lambda *given: (decoded.append(given), excerpt(*given))[1])
    clips, counted = run(listed, parts=2, sample=Sample(clips=12, per="species", seed=3))
    assert len(decoded) == len(clips) == 12
    assert Counter(clips["species"]) == {"owl": 6, "wren": 6}
    assert "39.wav" not in set(clips["clip_id"])
    rows = counted.set_index(["label", "class", "split"])
    assert rows.loc["*", "*"]["available"].to_dict() == {"train": 31, "test": 8}
    assert rows.loc["*", "*"]["drawn"].sum() == rows.loc["*", "*"]["clips"].sum() == 12
    assert rows.loc["species", "wren"]["available"].sum() == 10
    assert rows.loc["species", "wren"]["clips"].sum() == 6
    assert "sample: 12 of 39 clips, balanced by species, seed 3" in capsys.readouterr().err


def test_without_a_sample_everything_is_drawn(listed):
    clips, counted = run(listed)
    assert len(clips) == 39
    assert (counted["available"] == counted["drawn"]).all()
    assert counted.iloc[0].tolist() == ["*", "*", "train", 31, 31, 31]


def test_a_drawn_clip_that_cannot_be_used_is_not_replaced(listed, capsys):
    clips, _ = run(listed, sample=Sample(clips=12))
    (listed / clips["clip_id"][0]).write_bytes(b"broken")
    fewer, counted = run(listed, sample=Sample(clips=12), max_rejected=0.1)
    assert set(fewer["clip_id"]) == set(clips["clip_id"][1:])
    everything = counted[counted["label"] == "*"]
    assert (everything["drawn"].sum(), everything["clips"].sum()) == (12, 11)


def test_more_clips_than_there_are_and_what_is_left_without_clips_is_told(listed, capsys):
    run(listed, sample=Sample(clips=100, per="species"))
    assert "the sample asks for 100 clips, and there are 39: all are used" in capsys.readouterr().err
    run(listed, sample=Sample(clips=2, seed=4))
    told = capsys.readouterr().err
    assert "the sample leaves no clip in the split test" in told
    assert "the sample leaves no training clip of 1 of the 2 classes of species: wren" in told


def test_a_sample_of_an_archive_is_that_of_its_list(tmp_path):
    parts = [tmp_path / "part.parquet"]
    archive = {"archive": esc50(tmp_path / "a.zip")}
    options = {"verify_members": False}
    prepare("esc50", archive, parts, tmp_path / "rejected", options=options)
    every = tables.read(parts[0], "clips")
    prepare(
        "esc50",
        archive,
        parts,
        tmp_path / "rejected",
        options=options,
        sample=Sample(clips=6, per="category"),
    )
    drawn = tables.read(parts[0], "clips")
    assert Counter(drawn["category"]) == {"dog": 2, "rain": 2, "rooster": 2}
    merged = drawn.merge(every, on="clip_id", suffixes=("", "_before"))
    assert len(merged) == 6
    assert (merged["audio"] == merged["audio_before"]).all()
