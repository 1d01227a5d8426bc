"""The workflow, run for real on a small demo: complete, deterministic, resumable, and clear about errors."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import time
import zipfile

import numpy as np
import pandas as pd
import pytest
import upstream
from snakemake_run import command, configuration, demo, planned, run

pytest.importorskip("espeakng_loader", reason="the demo's sound sources are not installed")
pytestmark = pytest.mark.workflow

# The number of shards divides clips, and lists of files name them.
DIVIDED = ("clips", "shards", "embeddings", "sources", "provenance.json")


def digests(folder):
    """Path → digest of every result that the same seed must give again, byte by byte."""
    results = folder / "results"
    files = (p for p in sorted(results.rglob("*")) if p.relative_to(results).parts[0] not in DIVIDED)
    return {str(p.relative_to(folder)): hashlib.md5(p.read_bytes()).hexdigest() for p in files if p.is_file()}


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A folder in which the small demo has run, each script once on its own imports; and what was printed."""
    folder = tmp_path_factory.mktemp("demo")
    return folder, run(folder, demo(), firsts=True).stdout


def copy_of(done, tmp_path):
    folder = tmp_path / "demo"
    shutil.copytree(done[0], folder, copy_function=shutil.copy2)
    return folder


def test_makes_every_figure_table_and_summary(done):
    folder, output = done
    results = folder / "results"
    ablated = [f"{figure}/gtzan" for figure in ("ablation", "ablation_matrix", "confusion", "dose")]
    for name in ("events", "genre", "coverage", "layers", "entropy", *ablated):
        assert (results / "figures" / f"{name}.pdf").read_bytes().startswith(b"%PDF")
        assert (results / "figures" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        drawn = pd.read_parquet(results / "figures" / f"{name}.parquet")
        assert len(pd.read_csv(results / "figures" / f"{name}.csv")) == len(drawn) > 0
    coverage = pd.read_csv(results / "tables" / "coverage.csv")
    assert set(coverage["model"]) == {"ssl", "random"}
    assert set(coverage["task"]) == {"esc50", "gise51", "gtzan"}
    assert coverage["coverage"].between(0, 1).all()
    published = pd.read_csv(results / "tables" / "published.csv")
    assert published["ours"].isna().all()
    assert published["remark"].str.len().gt(0).all()
    assert "no evidence for or against the paper" in output
    assert "no evidence" in (results / "findings.html").read_text(encoding="utf-8")
    assert str(results / "figures") in output


def test_every_result_is_listed_with_its_checksum_and_says_how_it_was_made(done):
    folder = done[0]
    listed = json.loads((folder / "results/provenance.json").read_text(encoding="utf-8"))
    assert listed["configuration"]["seed"] == listed["seeds"]["seed"] == demo()["seed"]
    found = {path: facts["sha256"] for path, facts in listed["files"].items() if (folder / path).is_file()}
    assert found == {path: hashlib.sha256((folder / path).read_bytes()).hexdigest() for path in found}
    kinds = ("archives", "clips", "training", "statistics", "neurons", "inference", "ablation")
    assert {path.split("/")[1] for path in found} >= {*kinds, "figures", "tables", "findings.html"}
    made = {str(p.relative_to(folder)) for name in ("figures", "tables") for p in
            (folder / "results" / name).rglob("*") if p.is_file()}  # fmt: skip
    assert made <= found.keys()
    told = {path: facts["made_by"] for path, facts in listed["files"].items() if path.endswith(".parquet")}
    assert all(one["rule"] and one["params"]["code"] for one in told.values())
    assert str(folder) not in json.dumps([listed["files"], listed["configuration"]])


def test_pandas_alone_reads_every_table(done):
    for path in sorted((done[0] / "results").rglob("*.parquet")):
        table = pd.read_parquet(path)
        assert len(table.columns) > 1, path
    neurons = pd.read_parquet(done[0] / "results/neurons/random/gtzan/aape.parquet")
    assert len(neurons) == 2 * 128 * 10  # layers, neurons per layer, genres
    cells = pd.read_parquet(done[0] / "results/statistics/random/gtzan/cells.parquet")
    assert cells["clips"].sum() == 60
    assert cells["window"].sum() == 60 * 50
    assert (cells["tokens"] == cells["window"] - cells["padded"]).all()


def test_nothing_is_left_to_do(done):
    assert "Nothing to be done" in run(done[0], demo(), "-n").stdout


def test_killed_and_run_again_in_three_shards_gives_the_same_bytes(done, tmp_path):
    """All of it, in another folder and at another time; every result but the list of files itself."""
    config = demo()
    config["datasets"]["gise51"]["shards"] = 3
    folder = tmp_path / "again"
    run(folder, config, "--omit-from", "extract")
    first = [f"results/statistics/{model}/gise51/counts.parquet" for model in config["models"]]
    process = subprocess.Popen(
        command(folder, config, *first),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + 1800
    while not list((folder / "results" / "shards").glob("*/gise51/*/counts.parquet")):
        assert process.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)  # Snakemake and its jobs, in the middle of extraction
    process.wait()
    run(folder, config, "--unlock")
    run(folder, config)
    mine, reference = digests(folder), digests(done[0])
    assert mine.keys() == reference.keys()
    assert [path for path in mine if mine[path] != reference[path]] == []


def test_one_figure_is_drawn_alone(done, tmp_path):
    folder = copy_of(done, tmp_path)
    figure = folder / "results/figures/genre.pdf"
    before = figure.read_bytes()
    figure.unlink()
    output = run(folder, demo(), "results/figures/genre.pdf").stdout
    assert planned(output) == {"draw_sharing": 1}
    assert figure.read_bytes() == before


def test_a_changed_threshold_re_runs_only_what_depends_on_it(done):
    config = demo()
    config["selection"]["selectors"]["aape"]["top_share"] = 0.2
    rules = planned(run(done[0], config, "-n").stdout)
    tables = {"tabulate", "tabulate_published", "tabulate_expectations", "summarize", "provenance"}
    atlas = {"find_examples", "cut_excerpts", "atlas"}
    cheap = {"select", "compare", "infer", "infer_sharing", *tables, *atlas}
    drawn = {"sharing", "coverage", "layers", "entropy", "ablation", "matrix", "confusion", "dose"}
    assert set(rules) == {"all", "ablate", *cheap, *(f"draw_{figure}" for figure in drawn)}
    assert rules["select"] == 6


def test_another_title_only_draws_again(done):
    config = demo()
    config["models"]["ssl"].update(title="another", licence="free")
    rules = planned(run(done[0], config, "-n").stdout)
    drawn = {"sharing": 2, "coverage": 1, "layers": 1, "entropy": 1}
    tabulated = (
        "tabulate",
        "tabulate_published",
        "tabulate_expectations",
        "summarize",
        "provenance",
        "atlas",
    )
    tables = dict.fromkeys(tabulated, 1)
    assert rules == {"all": 1, **tables, **{f"draw_{figure}": n for figure, n in drawn.items()}}


def test_what_changes_no_result_only_lists_the_configuration_again(done):
    config = demo()
    config["models"]["ssl"]["training"]["checkpoint_minutes"] = 1
    config["inference"]["block"] = 4
    config["preparation"] = {"max_rejected": 0.5}
    assert planned(run(done[0], config, "-n").stdout) == {"all": 1, "provenance": 1}


def test_any_preset_is_a_target(done, tmp_path):
    folder = copy_of(done, tmp_path)
    config = demo()
    config["selection"]["selectors"]["lape"] = {}
    run(folder, config, "results/neurons/random/gtzan/lape.parquet")
    table = pd.read_parquet(folder / "results/neurons/random/gtzan/lape.parquet")
    assert table.drop_duplicates(["layer", "neuron"])["selected"].sum() == round(0.01 * 256)


def test_report_holds_the_figures_and_their_captions(done, tmp_path):
    folder = copy_of(done, tmp_path)
    run(folder, demo(), "--report", "report.zip")
    with zipfile.ZipFile(folder / "report.zip") as report:
        content = "".join(
            report.read(n).decode("utf-8", "replace")
            for n in report.namelist()
            if n.endswith((".js", ".html"))
        )
    assert "Shared neurons" in content
    assert "Class-specific neurons" in content
    assert "Common-neuron ratio (Jaccard)" in content


def test_nulls_and_intervals_need_no_audio(done, tmp_path):
    folder = copy_of(done, tmp_path)
    for made in ("clips", "inference", "sharing_inference"):
        shutil.rmtree(folder / "results" / made)
    config = demo()
    config["selection"]["selectors"]["f1"] = {}
    targets = [
        "results/inference/random/gtzan/aape.parquet",
        "results/inference/random/gtzan/f1.parquet",
        "results/sharing_inference/random/events/aape.parquet",
    ]
    output = run(folder, config, *targets, "--rerun-triggers", "mtime").stdout
    assert planned(output) == {"infer": 2, "infer_sharing": 1, "select": 1}
    rows = pd.read_parquet(folder / targets[0])
    classes = pd.read_parquet(folder / "results/classes/random/gtzan/aape.parquet")
    assert rows.loc[rows["statistic"] == "coverage", "value"].item() == classes["covered"].mean()
    stability = pd.read_parquet(folder / "results/stability/random/gtzan/aape.parquet")
    assert len(stability) == 2 * 128 * 10
    assert "contrast" in set(pd.read_parquet(folder / targets[2])["statistic"])


# Bad input


def fetched(archive, **block):
    """A configuration of ESC-50 alone, from an archive that is there, with the random model."""
    config = configuration("one-task")
    esc50 = config["datasets"]["esc50"]
    del esc50["synthesis"]
    esc50["archives"] = {"archive": {"urls": [str(archive)], **block}}
    return config


def made_archive(done):
    return done[0] / "resources/archives/esc50/ESC-50-master.zip"


def test_archive_comes_from_a_file_url(done, tmp_path):
    run(tmp_path, fetched(made_archive(done).as_uri()), "results/figures/within.png")
    mine = tmp_path / "results/statistics/random/esc50/counts.parquet"
    assert mine.read_bytes() == (done[0] / "results/statistics/random/esc50/counts.parquet").read_bytes()
    # Another clip length needs another forward pass, but no other clips.
    config = fetched(made_archive(done).as_uri())
    config["datasets"]["esc50"]["clip_seconds"] = 1.0
    rules = planned(run(tmp_path, config, "-n", "results/figures/within.png").stdout)
    made = ("extract", "merge", "select", "compare", "infer_sharing", "draw_sharing")
    assert rules == dict.fromkeys(made, 1)


def test_encoders_of_another_library_run_like_any_other(done, tmp_path):
    pytest.importorskip("transformers")
    config = fetched(made_archive(done))
    small = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}
    config["models"] = {
        "ast": {"model_type": "audio-spectrogram-transformer", "config": small, "note": "It stands in."},
        "hubert": {"model_type": "hubert", "config": small | {"conv_dim": [8] * 7}},
    }
    for block in config["models"].values():
        block |= {"kind": "random", "adapter": "huggingface", "weights": {"source": "random", "seed": 0}}
    config["ablation"] = {"random": 1, "bootstrap": 0, "clips": True, "tasks": {"esc50": {"models": ["ast"]}}}
    output = run(tmp_path, config).stdout
    assert "ast: It stands in. It encodes clips at their own length (context: clip)." in " ".join(
        output.split()
    )
    for name, tokens in (("ast", 12 * 15), ("hubert", 79)):  # of 1.59 s
        cells = pd.read_parquet(tmp_path / f"results/statistics/{name}/esc50/cells.parquet")
        assert (cells["window"] == cells["clips"] * tokens).all()
        assert (cells["tokens"] == cells["window"] - cells["padded"]).all()
        # A patch of AST begins every 100 ms, the last one within every clip.
        assert cells["padded"].any() == (name == "hubert")
        counts = pd.read_parquet(tmp_path / f"results/statistics/{name}/esc50/counts.parquet")
        assert counts.groupby("cell").size().unique().tolist() == [2 * 48]
    # Without any change the probe says what it said of the embeddings: padding has no part in either.
    said = pd.read_parquet(tmp_path / "results/probes/ast/esc50.parquet").set_index(["seed", "clip_id"])
    asked = pd.read_parquet(tmp_path / "results/ablation_clips/ast/esc50/aape.parquet")
    asked = asked[asked["condition"] == "unablated"].set_index(["seed", "clip_id"])
    expected = said.loc[asked.index, "log_probability"]
    np.testing.assert_allclose(asked["log_probability"], expected, atol=1e-4)
    assert (tmp_path / "results/figures/within.png").exists()
    run(tmp_path, config, "--report", "report.zip")
    with zipfile.ZipFile(tmp_path / "report.zip") as report:
        names = [name for name in report.namelist() if name.endswith((".js", ".html"))]
        assert sum(report.read(name).decode("utf-8", "replace").count("It stands in.") for name in names) >= 4


def test_unknown_key_stops_before_any_job(tmp_path):
    config = demo()
    config["models"]["ssl"]["wieghts"] = {}
    config["extraction"]["batch_size"] = "many"
    result = run(tmp_path, config, check=False)
    assert result.returncode != 0
    assert "models.ssl.wieghts: unknown key; did you mean 'weights'?" in result.stdout
    assert "extraction.batch_size: 'many' is neither a whole number nor auto" in result.stdout
    assert "Traceback" not in result.stdout
    assert not (tmp_path / "results").exists()


def test_missing_archive_is_named_with_the_remedy(tmp_path):
    result = run(tmp_path, fetched(tmp_path / "nowhere.zip"), check=False)
    assert result.returncode != 0
    assert "nowhere.zip" in result.stdout
    assert "Remedy: bring the file by hand" in result.stdout


def test_other_checksum_is_refused(done, tmp_path):
    result = run(tmp_path, fetched(made_archive(done), sha256="0" * 64), check=False)
    assert result.returncode != 0
    assert "expected 0000" in result.stdout
    assert not (tmp_path / "resources/archives/esc50/ESC-50-master.zip").exists()


def spoilt(source, target, spoil):
    """An ESC-50 zip in which ``spoil`` recordings are silent, empty, or no audio at all."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        left = [b"", b"RIFF nonsense", upstream.sound(np.zeros(16000, np.float32))][:spoil]
        for name in old.namelist():
            new.writestr(name, left.pop() if left and name.endswith(".wav") else old.read(name))


def test_broken_recordings_are_listed_and_the_run_goes_on(done, tmp_path):
    spoilt(made_archive(done), tmp_path / "spoilt.zip", 3)
    config = fetched(tmp_path / "spoilt.zip")
    config["preparation"] = {"max_rejected": 0.1}
    run(tmp_path, config, "results/clips/esc50/part-000.parquet")
    rejected = pd.read_parquet(tmp_path / "results/rejected/esc50.parquet")
    assert len(rejected) == 3
    assert rejected["reason"].str.contains("silent").sum() == 1
    assert len(pd.read_parquet(tmp_path / "results/clips/esc50/part-000.parquet")) == 57


def test_too_many_broken_recordings_stop_the_run(done, tmp_path):
    spoilt(made_archive(done), tmp_path / "spoilt.zip", 3)
    result = run(tmp_path, fetched(tmp_path / "spoilt.zip"), check=False)
    assert result.returncode != 0
    assert "max_rejected" in result.stdout


def test_checkpoint_of_another_shape_is_named(done, tmp_path):
    config = fetched(made_archive(done))
    config["models"] = {
        "mine": {
            "kind": "sl",
            "embed_dim": 48,
            "weights": {"source": "checkpoint", "file": "model.safetensors"},
        }
    }
    target = tmp_path / "resources/weights/mine/model.safetensors"
    target.parent.mkdir(parents=True)
    shutil.copy(done[0] / "results/training/ssl/model.safetensors", target)
    result = run(tmp_path, config, check=False)
    assert result.returncode != 0
    assert "models.mine:" in result.stdout
    assert "embed_dim is 48 by the configuration, but 32 by the shapes of its weights" in result.stdout


def test_ablations_of_a_task_and_a_list_of_ones_own(done, tmp_path):
    folder = copy_of(done, tmp_path)
    (folder / "mine.csv").write_text("layer,neuron\n1,7\n0,3\n")
    config = demo()
    config["probe"] = {"learning_rate": 0.01, "epochs": 10, "seeds": [0, 6]}
    config["ablation"] = {
        "random": 2,
        "gains": [0, 2],
        "screening": {"sample": 5},
        "tasks": {
            "gtzan": {
                "models": ["random"],
                "classes": ["jazz"],
                "lists": {"mine": {"file": "mine.csv", "classes": ["jazz"]}},
            }
        },
    }
    output = run(folder, config, "ablations").stdout
    assert planned(output) == {"ablate": 1, "ablations": 1, "probe": 1, "screen": 1}
    results = folder / "results"
    table = pd.read_parquet(results / "ablation/random/gtzan/aape.parquet")
    assert {"list:mine gain=2 zero", "list:mine random 1 gain=0 mean"} <= set(table["condition"])
    assert set(table["probe"]) == {"0", "6", "mean"}
    clips = pd.read_parquet(results / "ablation_clips/random/gtzan/aape.parquet")
    scored = pd.read_parquet(results / "probes/random/gtzan.parquet").set_index(["seed", "clip_id"])
    before = clips[clips["condition"] == "unablated"].set_index(["seed", "clip_id"]).loc[scored.index]
    np.testing.assert_allclose(before["log_probability"], scored["log_probability"], atol=1e-5)
    screened = pd.read_parquet(results / "screening/random/gtzan.parquet")
    assert screened["exact"].notna().sum() == 5 * screened["class"].nunique()
    # Other random sets need neither probes nor forward passes of another kind.
    config["ablation"]["random"] = 3
    assert set(planned(run(folder, config, "-n", "ablations").stdout)) == {"ablate", "ablations"}


def test_several_jobs_ablate_as_one_does(done, tmp_path):
    folder = copy_of(done, tmp_path)
    config = demo()
    config["ablation"]["jobs"] = 3
    kinds = ("ablation", "confusion", "ablation_sets", "ablation_clips")
    files = [folder / f"results/{kind}/random/gtzan/aape.parquet" for kind in kinds]
    target = str(files[0].relative_to(folder))
    triggers = ("--rerun-triggers", "code", "mtime", "params", "software-env")  # as docs/cluster.md says
    assert planned(run(folder, config, "-n", target, *triggers).stdout) == {}
    before = [file.read_bytes() for file in files]
    output = run(folder, config, target).stdout
    assert planned(output) == {"ablate": 1, "ablate_part": 3}
    assert [file.read_bytes() for file in files] == before
    assert planned(run(folder, config, "-n", target).stdout) == {}
    config["ablation"]["random"] = 4
    assert planned(run(folder, config, "-n", target).stdout) == {"ablate": 1, "ablate_part": 3}
