"""Neuron sets that several jobs ablate."""

import pytest
from test_ablation import STOPPING, TASK, world  # noqa: F401  (a fixture)

from audio_neurons import tables
from audio_neurons.ablation import parts
from audio_neurons.ablation.ablation import ablate_task
from audio_neurons.running import provenance

SETTINGS = STOPPING.changed(replacements=("mean", "resample"), gains=(0,), shifted=True, donors=4)


def ablated(world, folder, jobs, task, files, settings=SETTINGS):  # noqa: F811
    """Ablate in one job, or in several whose tables are joined; return the bytes of every table."""
    encoder, study, neurons = world

    def run(name, part):
        out = {table: folder / name / f"{table}.parquet" for table in parts.TABLES}
        (folder / name).mkdir(parents=True)
        ablate_task(encoder, study, neurons, task, files, settings, out, part=part)
        return out

    if jobs == 1:
        out = run("whole", None)
    else:
        made = [run(f"{k}", f"{k:03d}-of-{jobs:03d}") for k in range(jobs)]
        out = {table: folder / f"{table}.parquet" for table in parts.TABLES}
        parts.join(made, out)
    return {table: path.read_bytes() for table, path in out.items()}


@pytest.fixture(scope="module")
def lists(tmp_path_factory):
    """The neurons of two classes, and two lists of neurons that do nothing."""
    folder = tmp_path_factory.mktemp("lists")
    for name, unit in (("mine", 7), ("theirs", 11)):
        (folder / f"{name}.csv").write_text(f"layer,neuron\n0,1\n1,{unit}\n")
    task = {
        "classes": ["low", "high"],
        "shared": [["low", "middle"]],
        "lists": {"mine": ["low"], "theirs": ["low"]},
    }
    return task, [folder / "mine.csv", folder / "theirs.csv"]


@pytest.fixture(scope="module")
def whole(world, lists, tmp_path_factory):  # noqa: F811
    return ablated(world, tmp_path_factory.mktemp("whole"), 1, *lists)


@pytest.mark.parametrize("jobs", [3, 9])
def test_any_number_of_jobs_gives_the_bytes_of_one(world, lists, whole, tmp_path, jobs):  # noqa: F811
    found = ablated(world, tmp_path, jobs, *lists)
    table = tables.read(tmp_path / "ablation.parquet", "ablation")
    assert table["set"].nunique() == 6
    assert table["controls"].nunique() > 2  # none, all, and some where drawing ended early
    assert {name for name in parts.TABLES if found[name] != whole[name]} == set()


def test_jobs_without_any_set_give_the_bytes_of_one(world, tmp_path):  # noqa: F811
    task = {**TASK, "classes": ["none"], "shared": []}
    one, three = (ablated(world, tmp_path / str(n), n, task, []) for n in (1, 3))
    assert one == three
    clips = tables.read(tmp_path / "3" / "clips.parquet", "ablation_clips")
    assert set(clips["condition"]) == {parts.UNABLATED}


def test_every_set_is_in_one_share(world):  # noqa: F811
    for sets in range(1, 12):
        for jobs in range(1, 12):
            shares = [parts.share(range(sets), f"{k:03d}-of-{jobs:03d}") for k in range(jobs)]
            given = [len(one) for one in shares if one is not None]
            assert [s for one in shares if one is not None for s in one] == list(range(sets))
            assert max(given) - min(given) <= 1
            assert len(given) == min(sets, jobs)


def test_joined_tables_tell_the_devices_of_the_parts(world, lists, tmp_path, monkeypatch, capsys):  # noqa: F811
    made = []
    for number, device in enumerate(["cpu", "Some Card"]):
        monkeypatch.setenv(provenance._JOB, "{}")
        provenance.note("device", device)
        folder = tmp_path / "sets" / str(number)
        folder.mkdir(parents=True)
        made.append({"sets": folder / "sets.parquet"})
        parts.write_empty(made[-1])
    monkeypatch.setenv(provenance._JOB, "{}")
    parts.join(made, {"sets": tmp_path / "sets.parquet"})
    assert tables.made_by(tmp_path / "sets.parquet")["device"] == "Some Card; cpu"
    assert (
        "were computed on different devices (Some Card; cpu), which round differently"
        in capsys.readouterr().err
    )
