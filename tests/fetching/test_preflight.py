from __future__ import annotations

import shutil

import pytest

from audio_neurons.fetching import preflight
from audio_neurons.fetching.sources import Access

VOXCELEB = {"adapter": "voxceleb1", "archives": {}}


@pytest.fixture
def access(tmp_path, monkeypatch):
    monkeypatch.delenv("VOXCELEB_KEY", raising=False)
    return Access(archives=str(tmp_path / "mine"))


def names(files):
    return [file["file"] for file in files]


PARTS = [f"vox1_dev_wav_parta{letter}" for letter in "abcd"]


def test_what_only_a_person_can_bring_is_wanted(access, tmp_path):
    folder = tmp_path / "voxceleb1"
    assert names(preflight.wanted(VOXCELEB, folder, access)) == [*PARTS, "vox1_test_wav.zip"]
    for adapter in ("esc50", "gise51", "voxforge", "cremad", "gtzan", "nsynth", "surge"):
        assert preflight.wanted({"adapter": adapter, "archives": {}}, folder, access) == []


def test_a_key_makes_it_fetchable(access, tmp_path, monkeypatch):
    monkeypatch.setenv("VOXCELEB_KEY", "k")
    assert preflight.wanted(VOXCELEB, tmp_path / "voxceleb1", access) == []
    monkeypatch.setenv("VOXCELEB_KEY", "")
    assert len(preflight.wanted(VOXCELEB, tmp_path / "voxceleb1", access)) == 5


def test_what_is_here_or_brought_is_not_wanted(access, tmp_path):
    folder = tmp_path / "voxceleb1"
    brought = tmp_path / "mine" / "voxceleb1"
    brought.mkdir(parents=True)
    for part in (PARTS[0], PARTS[2]):
        (brought / part).touch()
    assert names(preflight.wanted(VOXCELEB, folder, access)) == [PARTS[1], PARTS[3], "vox1_test_wav.zip"]
    (tmp_path / "mine" / "vox1_dev_wav.zip").touch()  # the joined archive, outside the dataset's folder
    assert names(preflight.wanted(VOXCELEB, folder, access)) == ["vox1_test_wav.zip"]
    folder.mkdir()
    (folder / "vox1_test_wav.zip").touch()
    assert preflight.wanted(VOXCELEB, folder, access) == []


def test_parts_that_are_joined_already_are_not_wanted(access, tmp_path):
    folder = tmp_path / "voxceleb1"
    folder.mkdir()
    (folder / "vox1_dev_wav.zip.joined").write_bytes(b"12345")
    (folder / "vox1_dev_wav.zip.joined.json").write_text("[2, 4]")  # killed while appending the third part
    assert names(preflight.wanted(VOXCELEB, folder, access)) == [*PARTS[2:], "vox1_test_wav.zip"]
    (folder / "vox1_dev_wav.zip.joined").unlink()
    assert names(preflight.wanted(VOXCELEB, folder, access)) == [*PARTS, "vox1_test_wav.zip"]


def test_a_url_of_the_configuration_makes_it_fetchable(access, tmp_path):
    urls = {"urls": ["https://lab.example/vox/dev.zip"]}
    block = {"adapter": "voxceleb1", "archives": {"dev": urls, "test": urls}}
    assert preflight.wanted(block, tmp_path / "voxceleb1", access) == []


def test_the_request_says_all_there_is_to_do(access, tmp_path):
    files = preflight.wanted(VOXCELEB, tmp_path / "voxceleb1", access)
    text = preflight.request("vox", VOXCELEB, files, access, ["gender_task"], ["gender"])
    for needed in (
        f"What to get: {', '.join(PARTS)}, vox1_test_wav.zip\n", "vox1_test_wav.zip     1.1 GB  md5 185fdc",
        "VOXCELEB_KEY", "https://cn01.mmai.io/keyreq/voxceleb", str(tmp_path / "mine" / "vox"),
        "gender_task", "figures (gender)", "--config 'datasets={vox: false}'",
    ):  # fmt: skip
        assert needed in text, needed
    assert all(len(line) < 120 for line in text.replace(str(tmp_path), "").splitlines())


def test_files_of_which_no_text_tells_are_described(access, tmp_path):
    files = [{"file": "a.zip", "bytes": 2_000_000_000, "sha256": "12ab", "urls": []}]
    text = preflight.request("vox", VOXCELEB, files, access, [], [])
    assert "What to get:\n    a.zip (2.0 GB, sha256 12ab)\n" in text


def test_a_disk_that_is_too_small_is_told(tmp_path, monkeypatch):
    nsynth = {"adapter": "nsynth", "archives": {}}
    folder = tmp_path / "nsynth"
    lacking = preflight.lacking_bytes(nsynth, folder)
    assert 25e9 < lacking < 26e9
    folder.mkdir()
    with open(folder / "a.tar.gz", "wb") as file:
        file.truncate(10**9)  # sparse
    assert preflight.lacking_bytes(nsynth, folder) == lacking - 1e9
    usage = shutil.disk_usage(tmp_path)._replace(free=20 * 10**9)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    text = preflight.space_warning({"nsynth": lacking, "esc50": 0}, tmp_path)
    assert "need 25 GB (nsynth 25.2), and" in text
    assert f"{tmp_path} has 20 GB free" in text
    assert preflight.space_warning({"nsynth": 19e9}, tmp_path) == ""


def test_results_without_a_record_of_how_they_were_made_are_told(tmp_path):
    results, records = tmp_path / "results", tmp_path / ".snakemake/metadata"
    assert preflight.record_warning(results, records) == ""
    (results / "clips").mkdir(parents=True)
    (results / "clips" / "part-000.parquet").touch()
    told = preflight.record_warning(results, records)
    assert f"({results}/clips/part-000.parquet for one)" in told
    assert "--forceall" in told
    records.mkdir(parents=True)
    assert preflight.record_warning(results, records) == told
    (records / "Y2xpcHM=").touch()
    assert preflight.record_warning(results, records) == ""


def test_what_a_larger_number_of_shards_left_is_told(tmp_path):
    results = tmp_path / "my results"
    for part in ("000", "001", "012"):
        for folder in ("clips/own", "clips/other", "embeddings/ssl/own", "responses/ssl/own"):
            file = results / folder / f"part-{part}.parquet"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()
        (results / "shards/ssl/own" / part).mkdir(parents=True)
    assert preflight.parts_warning(results, {"own": 13}) == ""
    told = preflight.parts_warning(results, {"own": 1, "absent": 1})
    assert told.count("001") == told.count("012") == 4
    assert "000" not in told
    assert "other" not in told
    assert f"'{results}/shards/ssl/own/001'" in told
