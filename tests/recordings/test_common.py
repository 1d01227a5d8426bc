"""Recordings in two datasets, found by what they hold."""

import numpy as np
import pandas as pd
import soundfile

from audio_neurons import tables
from audio_neurons.recordings import common
from audio_neurons.recordings.facts import MEASURED, read
from audio_neurons.report import recordings


def dataset(folder, sounds):
    """Facts of a list of the user's own recordings: name → samples and sampling rate."""
    folder.mkdir()
    for name, (samples, rate) in sounds.items():
        soundfile.write(folder / name, samples, rate, subtype="PCM_16")
    rows = [f"{folder / name},{name[0]},g{i}" for i, name in enumerate(sounds)]
    (folder / "list.csv").write_text("\n".join(["path,kind,group", *rows]) + "\n")
    settings = {"max_seconds": 5.0, "clip_seconds": 1.0, "name": folder.name}
    return read("custom", {"files": folder / "list.csv"}, **settings)


def test_the_same_samples_are_found_whatever_their_name_and_format(tmp_path):
    rng = np.random.default_rng(0)
    a, b, c = (rng.integers(-3000, 3000, 16_000, "int16") for _ in range(3))
    nothing = np.zeros(16_000, "int16")
    first = dataset(
        tmp_path / "first", {"a.wav": (a, 16_000), "b.wav": (b, 16_000), "n.wav": (nothing, 16_000)}
    )
    second = dataset(
        tmp_path / "second",
        {"x.flac": (a, 16_000), "c.wav": (c, 16_000), "b.wav": (b, 22_050), "n.wav": (nothing, 16_000)},
    )
    (found,) = common.common({"first": first, "second": second})
    assert (found.check, found.level, found.affected) == ("recordings in both datasets", "warning", 1)
    assert found.message.startswith("1 recording of second is also in first, so that what neurons of these")
    assert "a.wav = " in found.message
    assert "x.flac" in found.message
    assert "`datasets.second.excluded`" in found.message
    assert common.common({"first": first, "third": second[second["clip_id"].str.contains("c.wav")]}) == []


def test_it_is_written_as_a_check_of_both_datasets_and_told(tmp_path, capsys):
    facts = pd.DataFrame([dict.fromkeys(MEASURED, 0)] * 2).assign(
        clip_id=["a", "b"], format="WAV", encoding="PCM_16", digest=["1", "2"], problem="", peak=-3.0
    )
    for name, some in (("one", facts), ("two", facts.assign(problem=["", "damaged"]))):
        tables.write(tmp_path / name, "facts", some[tables.SCHEMAS["facts"].names])
    common.write({"one": tmp_path / "one", "two": tmp_path / "two"}, tmp_path / "out.parquet")
    (row,) = tables.read(tmp_path / "out.parquet", "checks").to_dict("records")
    assert row["dataset"] == "one and two"
    assert row["affected"] == 1  # what is damaged is not heard
    assert recordings.warnings([row])[0].startswith("one and two: warning: 1 recording of two is also in one")
    assert "1 recording of two is also in one" in capsys.readouterr().err
    common.write({"one": tmp_path / "one", "none": tmp_path / "one"}, tmp_path / "out.parquet")
    assert tables.read(tmp_path / "out.parquet", "checks")["affected"].tolist() == [2]
