"""From upstream's servers to clips, for real: every dataset's own URLs, served from this machine."""

import os
import shutil

import pandas as pd
import pytest
import upstream
import yaml
from common import ROOT
from server import Server
from snakemake_run import demo, planned, run

from audio_neurons.datasets import adapters, source

pytestmark = pytest.mark.workflow

DATASETS = [name for name in adapters() if name != "custom"]
KEY = "a-key-that-nobody-may-see"


def config_of(server, folder, names=DATASETS):
    """The full configuration's datasets and tasks, whose archives are small ones that ``server`` has."""
    config = yaml.safe_load((ROOT / "config" / "config.yaml").read_text(encoding="utf-8"))
    config["datasets"] = {}
    for name in names:
        upstream.dataset(name, folder / name)
        for url, path in upstream.served(name, folder / name).items():
            server.put(url.split("://", 1)[1].replace("test-key", KEY), path)
        config["datasets"][name] = {"shards": 2, **upstream.changes(name, folder / name)}
    config["tasks"] = {n: t for n, t in config["tasks"].items() if t["dataset"] in names}
    config["comparisons"] = {
        n: c for n, c in config["comparisons"].items() if set(c["tasks"]) <= set(config["tasks"])
    }
    config["comparisons"].pop("events", None)  # the small archives have few of its classes
    del config["ablation"]
    small = demo()
    config |= {"inference": small["inference"], "probe": small["probe"]}
    config["models"] = {"random": small["models"]["random"]}
    config["extraction"] = {"device": "cpu", "batch_size": 4}
    config["preparation"] = {"max_rejected": 0.9}  # upstream's defects are many among so few
    config["download"] = {
        "mirror": {"https://": f"{server.url}/", "http://": f"{server.url}/"},
        "retries": 1,
        "max_missing": 0.5,
    }
    return config


@pytest.fixture(scope="module")
def reachable():
    """Nothing but this machine can be reached, and a key for VoxCeleb1 is there."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("HTTP_PROXY", "HTTPS_PROXY"):
            patch.setenv(name, "http://127.0.0.1:9")
        patch.setenv("NO_PROXY", "127.0.0.1")
        patch.setenv("VOXCELEB_KEY", KEY)
        yield


@pytest.fixture(scope="module")
def fetched(reachable, tmp_path_factory):
    """A folder in which all clips were prepared from a server, its configuration, the server, two outputs."""
    folder = tmp_path_factory.mktemp("run")
    with Server() as server:
        config = config_of(server, tmp_path_factory.mktemp("upstream"))
        outputs = [run(folder, config, target).stdout for target in ("downloads", "clips")]
        yield folder, config, server, outputs


@pytest.mark.parametrize("name", DATASETS)
def test_clips_come_from_upstreams_urls(fetched, name):
    folder = fetched[0]
    parts = [pd.read_parquet(folder / f"results/clips/{name}/part-00{i}.parquet") for i in range(2)]
    clips = pd.concat(parts)
    assert len(clips) > 1
    assert clips["clip_id"].is_unique
    assert set(source(name)["labels"]) <= set(clips.columns)
    assert clips["split"].isin(["train", "valid", "test"]).all()
    assert clips["audio"].map(lambda flac: flac[:4] == b"fLaC").all()
    groups = [set(part["group"]) for part in parts]
    assert not groups[0] & groups[1]
    assert abs(len(parts[0]) - len(parts[1])) <= clips["group"].value_counts().max()


def test_downloads_are_all_that_needs_a_network(fetched):
    folder, config, _, (downloads, clips) = fetched
    assert set(planned(downloads)) == {"downloads", "download_archive", "download_batch"}
    assert set(planned(clips)) == {"clips", *(f"prepare_{name}" for name in DATASETS)}
    model = {
        "kind": "sl",
        "weights": {"source": "checkpoint", "file": "a/b.pth", "urls": ["https://x.example/b.pth"]},
    }
    more = planned(run(folder, {**config, "models": {"m": model}}, "downloads", "-n").stdout)
    assert more == {"download_weights": 1, "downloads": 1}


def test_secrets_are_in_no_file_and_no_output(fetched):
    folder, _, server, outputs = fetched
    assert any(KEY in path for path, _ in server.requests)
    assert KEY not in "".join(outputs)
    for path in folder.rglob("*"):
        if path.is_file() and path.stat().st_size < 1_000_000:
            assert KEY.encode() not in path.read_bytes(), path


def test_files_without_a_published_checksum_are_held_to_their_first_download(fetched):
    locks = {
        p.relative_to(fetched[0]).as_posix() for p in (fetched[0] / "resources/checksums").rglob("*.sha256")
    }
    assert "resources/checksums/voxforge/voxforge-000.sha256" in locks
    assert not any("cremad" in lock or "nsynth" in lock for lock in locks)


def test_where_archives_come_from_changes_nothing(fetched):
    folder, config, _, _ = fetched
    assert "Nothing to be done" in run(folder, config, "clips", "-n").stdout
    moved = yaml.safe_load(yaml.safe_dump(config))
    moved["download"] = {"retries": 9}
    moved["datasets"]["gtzan"]["archives"]["archive"]["urls"] = ["https://elsewhere.example/genres.tar.gz"]
    assert "Nothing to be done" in run(folder, moved, "clips", "-n").stdout
    moved["datasets"]["gtzan"]["archives"]["archive"]["sha256"] = "0" * 64
    again = planned(run(folder, moved, "clips", "-n").stdout)
    assert again == {"clips": 1, "download_archive": 1, "prepare_gtzan": 1}


def test_a_batch_that_is_lacking_is_fetched_alone(fetched, tmp_path):
    folder, config, server, _ = fetched
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy, copy_function=shutil.copy2)
    lost = copy / "resources/archives/cremad/AudioWAV-001.tar"
    before = lost.read_bytes()
    lost.unlink()
    (copy / "resources/archives/cremad/AudioWAV-001.missing.csv").unlink()
    server.requests.clear()
    run(copy, config, "--force", str(lost.relative_to(copy)))
    assert lost.read_bytes() == before
    assert server.requests
    assert all("AudioWAV" in path for path, _ in server.requests)


# What a person must bring


def test_without_a_key_the_run_says_what_to_bring_and_does_the_rest(reachable, tmp_path, monkeypatch):
    monkeypatch.delenv("VOXCELEB_KEY")
    with Server() as server:
        config = config_of(server, tmp_path / "upstream", ["voxceleb1", "cremad"])
        for dataset in config["datasets"].values():
            dataset["shards"] = 1
        folder = tmp_path / "run"
        output = run(folder, config, "-n").stdout
        assert output.count("VoxCeleb1 cannot be fetched without you") == 1
        assert str(folder / "resources/by_hand/voxceleb1") in output
        assert "--config 'datasets={voxceleb1: false}'" in output
        assert "figures (gender)" in output
        assert "prepare_voxceleb1" not in planned(output)
        output = run(folder, config, "--config", "datasets={voxceleb1: false}", "-n").stdout
        assert "cannot be fetched" not in output
        assert not {"prepare_voxceleb1", "results/figures/gender.png"} & set(planned(output))

        output = run(folder, config).stdout
        assert "Left out, since its archives are missing: voxceleb1" in output
        figures = {path.name for path in (folder / "results/figures").iterdir()}
        assert {name for name in figures if name.endswith(".pdf")} == {
            f"{name}.pdf" for name in ("emotion", "coverage", "layers", "entropy")
        }
        tasks = set(pd.read_csv(folder / "results/tables/coverage.csv")["task"])
        assert tasks == {"cremad_gender", "cremad_emotion"}

        # Brought by hand, the dataset joins what is there.
        mine = folder / "resources" / "by_hand" / "voxceleb1"
        mine.mkdir(parents=True)
        for name in ("vox1_dev_wav.zip", "vox1_test_wav.zip"):
            shutil.copy(tmp_path / "upstream" / "voxceleb1" / name, mine)
        output = run(folder, config, "results/figures/gender.pdf").stdout
        assert "cannot be fetched" not in output
        assert "download_batch" not in planned(output)
        assert os.path.samefile(
            mine / "vox1_test_wav.zip", folder / "resources/archives/voxceleb1/vox1_test_wav.zip"
        )


def test_the_full_configuration_plans_all_datasets_without_the_network(reachable, tmp_path):
    """Nothing but a closed port can be reached; a dry run must not even try."""
    config = yaml.safe_load((ROOT / "config" / "config.yaml").read_text(encoding="utf-8"))
    jobs = planned(run(tmp_path, config, "-n").stdout)
    assert {f"prepare_{name}" for name in config["datasets"]} <= set(jobs)
    assert jobs["download_batch"] == 8 + 64
