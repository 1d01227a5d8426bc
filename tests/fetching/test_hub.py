"""Downloads from a hub on this machine, which speaks the protocol of the real one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from common import ROOT
from hub import Hub, Repository, serving
from server import closed_port

from audio_neurons.fetching.checksums import mismatch
from audio_neurons.fetching.download import DownloadError
from audio_neurons.fetching.hub import fetch_snapshot
from audio_neurons.running.files import checksum

CONFIG, PREPROCESSOR = b'{"model_type": "hubert"}', b'{"do_normalize": false}'
WEIGHTS = bytes(range(256)) * 4000


@pytest.fixture
def hub(monkeypatch, tmp_path):
    from huggingface_hub import constants

    for name in ("HF_TOKEN", "HF_HUB_OFFLINE", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    # The client reads these from the environment when it is imported.
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
    with serving() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        yield hub


def model(hub: Hub, name: str = "me/tiny", files=None, **kind) -> Repository:
    hub.models[name] = Repository(**kind)
    wanted = {"config.json": CONFIG, "preprocessor_config.json": PREPROCESSOR, "model.safetensors": WEIGHTS}
    hub.models[name].push(wanted if files is None else files)
    return hub.models[name]


def fetch(folder: Path, name: str = "me/tiny", revision: str | None = None) -> dict[str, bytes]:
    """Fetch as the rule does; return the content of all files that then lie there."""
    facts = {"name": name} if revision is None else {"name": name, "revision": revision}
    out = folder / "weights" / "hub" / "snapshot.json"
    fetch_snapshot(facts, out, folder / "hub.json", "mine")
    return {path.name: path.read_bytes() for path in out.parent.iterdir()}


def asked(hub: Hub, method: str = "GET") -> list[str]:
    return [path.rsplit("/", 1)[1] for how, path, _ in hub.requests if how == method and "/resolve/" in path]


def test_description_and_weights_are_fetched_and_nothing_else(hub, tmp_path):
    others = {"README.md": b"x", "tf_model.h5": b"y", "pytorch_model.bin": b"z", "vocab.json": b"{}"}
    model(hub)
    commit = hub.models["me/tiny"].push({**others, "config.json": CONFIG, "model.safetensors": WEIGHTS})
    found = fetch(tmp_path)
    assert found.keys() == {"config.json", "model.safetensors", "snapshot.json"}
    assert found["model.safetensors"] == WEIGHTS
    assert sorted(asked(hub)) == ["config.json", "model.safetensors"]
    told = json.loads(found["snapshot.json"])
    where = tmp_path / "weights" / "hub"
    assert told == {
        "name": "me/tiny", "commit": commit, "licence": "mit",
        "files": {n: checksum(where / n) for n in ("config.json", "model.safetensors")},
    }  # fmt: skip


def test_parts_are_fetched_with_their_list_and_pytorch_files_if_there_is_nothing_else(hub, tmp_path):
    parts = {f"pytorch_model-0000{i}-of-00002.bin": bytes([i]) * 9 for i in (1, 2)}
    listed = json.dumps({"weight_map": {f"w{i}": name for i, name in enumerate(parts)}}).encode()
    files = {
        "config.json": CONFIG,
        "pytorch_model.bin.index.json": listed,
        **parts,
        "x-00001-of-00002.bin": b"",
    }
    model(hub, files=files)
    assert fetch(tmp_path).keys() == {*parts, "config.json", "pytorch_model.bin.index.json", "snapshot.json"}
    part = {**files}
    del part["pytorch_model-00002-of-00002.bin"]
    model(hub, "me/half", part)
    with pytest.raises(
        DownloadError, match=r"models\.mine: me/half: .* is incomplete: .*00002-of-00002\.bin"
    ):
        fetch(tmp_path / "half", "me/half")


def test_later_runs_are_held_to_the_commit_of_the_first(hub, tmp_path, capsys):
    repository = model(hub)
    first = repository.branches["main"]
    before = fetch(tmp_path)
    assert f"main is commit {first}; later downloads are held to it" in capsys.readouterr().err
    second = repository.push({"config.json": b"{}", "model.safetensors": b"new"})
    assert fetch(tmp_path) == before
    assert json.loads((tmp_path / "hub.json").read_text()) == {"me/tiny@main": first}
    # Another revision is another pin, and its files take the place of the old ones.
    found = fetch(tmp_path, revision=second)
    assert found["model.safetensors"] == b"new"
    assert "preprocessor_config.json" not in found
    assert json.loads((tmp_path / "hub.json").read_text()) == {
        "me/tiny@main": first, f"me/tiny@{second}": second,
    }  # fmt: skip
    del repository.commits[first]
    with pytest.raises(DownloadError, match=rf"no commit {first} any more, which .*hub\.json pins for main"):
        fetch(tmp_path)


def test_a_download_that_breaks_off_is_resumed(hub, tmp_path):
    weights = WEIGHTS * 24  # the client writes 10 MB at a time
    model(hub, files={"config.json": CONFIG, "model.safetensors": weights}, cut=1)
    assert fetch(tmp_path)["model.safetensors"] == weights
    ranges = [span for how, path, span in hub.requests if how == "GET" and path.endswith("model.safetensors")]
    assert len(ranges) == 2
    assert ranges[0] is None
    assert int(ranges[1].removeprefix("bytes=").rstrip("-")) >= 10_000_000


def test_a_damaged_copy_in_the_cache_is_removed_and_told(hub, tmp_path):
    model(hub)
    fetch(tmp_path)
    copy = next((tmp_path / "cache").rglob("snapshots/*/model.safetensors"))
    with open(copy.resolve(), "r+b") as file:
        file.write(b"\xff" * 5)
    with pytest.raises(DownloadError, match=r"models\.mine: model\.safetensors of me/tiny: its sha256 is"):
        fetch(tmp_path)
    assert not mismatch(next((tmp_path / "cache").rglob("config.json")), {"size": len(CONFIG)})
    assert fetch(tmp_path)["model.safetensors"] == WEIGHTS


@pytest.mark.parametrize(
    ("name", "revision", "told"),
    [
        ("me/none", None, r"there is no model me/none on http://127.0.0.1:\d+, or it is private: .*HF_TOKEN"),
        ("me/tiny", "v9", "me/tiny has no revision 'v9'"),
        ("no name", None, "'no name' is no name of a model on the Hub .*OWNER/NAME"),
        (
            "me/data",
            None,
            "me/data has no config.json at main, so it is no model of transformers; it has README",
        ),
        ("me/bare", None, "me/bare: .* has no weights: looked for model.safetensors, "),
        ("me/gated", None, r"me/gated is gated: .* licence \(cc-by-nc-4.0\) on .*/me/gated, .*HF_TOKEN"),
    ],
)
def test_what_cannot_be_had_names_the_block_and_the_remedy(hub, tmp_path, name, revision, told):
    model(hub)
    model(hub, "me/data", {"README.md": b"x"})
    model(hub, "me/bare", {"config.json": CONFIG})
    model(hub, "me/gated", gated=True, licence="cc-by-nc-4.0")
    with pytest.raises(DownloadError, match=rf"^models\.mine: {told}"):
        fetch(tmp_path, name, revision)
    assert not (tmp_path / "weights").exists()
    assert not (tmp_path / "hub.json").exists()


def test_a_gated_model_comes_with_a_token(hub, tmp_path, monkeypatch):
    model(hub, gated=True)
    monkeypatch.setenv("HF_TOKEN", hub.token)
    assert fetch(tmp_path)["model.safetensors"] == WEIGHTS


def test_without_a_network_the_cache_serves(hub, tmp_path, monkeypatch):
    model(hub)
    before = fetch(tmp_path)
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{closed_port()}")
    found = fetch(tmp_path)
    assert {k: v for k, v in found.items() if k != "snapshot.json"} == {
        k: v for k, v in before.items() if k != "snapshot.json"
    }
    with pytest.raises(
        DownloadError, match=r"models\.mine: me/other cannot be fetched from http.*`folder: PATH`"
    ):
        fetch(tmp_path, "me/other")


def test_offline_mode_asks_nothing(hub, tmp_path):
    model(hub)
    code = """
import sys
from audio_neurons.fetching.hub import fetch_snapshot
fetch_snapshot({"name": sys.argv[1]}, sys.argv[2] + "/hub/snapshot.json", sys.argv[2] + "/hub.json", "mine")
"""

    def run(name, folder, **more):
        environment = {**os.environ, "HF_HUB_CACHE": str(tmp_path / "cache"), **more}
        command = [sys.executable, "-c", code, name, str(tmp_path / folder)]
        return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)

    assert run("me/tiny", "a").returncode == 0
    count = len(hub.requests)
    done = run("me/tiny", "b", HF_HUB_OFFLINE="1")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "b/hub/model.safetensors").read_bytes() == WEIGHTS
    assert (tmp_path / "a/hub.json").read_text() == (tmp_path / "b/hub.json").read_text()
    failed = run("me/other", "c", HF_HUB_OFFLINE="1")
    assert "models.mine: me/other cannot be fetched" in failed.stderr
    assert "HF_HUB_OFFLINE is set" in failed.stderr
    assert len(hub.requests) == count


def test_a_damaged_lock_is_told(hub, tmp_path):
    model(hub)
    (tmp_path / "hub.json").write_text("{")
    with pytest.raises(DownloadError, match=r"hub\.json is damaged"):
        fetch(tmp_path)
