"""Real recordings through the whole workflow: ESC-10 in ESC-50's layout, the full-size M2D architecture."""

import argparse
import functools
import http.server
import subprocess
import sys
import threading
import zipfile

import pandas as pd
import pytest
import torch
from common import SHARED
from snakemake_run import configuration, run

from audio_neurons import models

TOOL = SHARED / "tools" / "make_esc50_subset.py"
FOLDER = "m2d_vit_base-80x608p16x16-221006-mr7"
pytestmark = [
    pytest.mark.workflow,
    pytest.mark.recordings,
    pytest.mark.skipif(not TOOL.is_file(), reason="the 400 real recordings are not here (../shared)"),
]
CLASSES = {
    "chainsaw", "clock_tick", "crackling_fire", "crying_baby", "dog",
    "helicopter", "rain", "rooster", "sea_waves", "sneezing",
}  # fmt: skip


@pytest.fixture(scope="module")
def mirror(tmp_path_factory):
    """A server on loopback with ESC-50's zip and M2D's, whose weights are random."""
    pytest.importorskip("espeakng_loader", reason="the demo's SSL model is trained on synthesised sound")
    folder = tmp_path_factory.mktemp("mirror")
    subprocess.run([sys.executable, TOOL, folder / "ESC-50-master.zip"], check=True)

    block = {"adapter": "vit", "weights": {"source": "random", "seed": 3}}
    state = models.load("m2d", block, None).vit.state_dict()
    # As the released file: the decoder's weights and the training's arguments beside the encoder's.
    state |= {"mask_token": torch.zeros(1, 1, 512), "decoder_blocks.0.norm1.weight": torch.ones(512)}
    torch.save({"model": state, "args": argparse.Namespace(mask_ratio=0.7)}, folder / "checkpoint.pth")
    with zipfile.ZipFile(folder / f"{FOLDER}.zip", "w") as archive:
        archive.write(folder / "checkpoint.pth", f"{FOLDER}/checkpoint-300.pth")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    handler = functools.partial(Quiet, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.timeout(1800)
def test_esc10_through_full_size_m2d_and_the_demos_ssl_model(mirror, tmp_path):
    config = configuration("esc10")
    config["datasets"]["esc50"]["archives"]["archive"]["urls"] = [f"{mirror}/ESC-50-master.zip"]
    config["models"]["m2d"]["weights"]["urls"] = [f"{mirror}/{FOLDER}.zip"]
    # Two threads for the one large job: the small ones are few.
    targets = [f"results/neurons/{model}/esc50/aape.parquet" for model in config["models"]]
    run(tmp_path, config, *targets, "results/figures/esc10.png", "--set-threads", "extract=2")

    results = tmp_path / "results"
    assert len(pd.read_parquet(results / "rejected/esc50.parquet")) == 0
    cells = pd.read_parquet(results / "statistics/m2d/esc50/cells.parquet")
    assert set(cells["category"]) == CLASSES
    assert cells["clips"].sum() == 100
    assert cells["tokens"].sum() == 100 * 50  # 1.59 s: 10 columns of 5 patches
    assert set(cells.loc[cells["split"] == "test", "fold"]) == {5}
    neurons = pd.read_parquet(results / "neurons/m2d/esc50/aape.parquet")
    assert len(neurons) == 12 * 3072 * 10
    chosen = neurons.drop_duplicates(["layer", "neuron"])["selected"].sum()
    assert 0 < chosen <= round(0.02 * 12 * 3072)
    top = pd.read_parquet(results / "statistics/m2d/esc50/top_clips.parquet")
    assert len(top) == 12 * 3072 * 5
    assert top["seconds"].between(0, 1.6).all()
    embeddings = pd.read_parquet(results / "embeddings/m2d/esc50/part-000.parquet")
    assert embeddings["embedding"].map(len).unique().tolist() == [3840]
    sharing = pd.read_parquet(results / "sharing/ssl/esc10/aape.parquet")
    assert set(sharing["class_a"]) == CLASSES
    assert (results / "figures/esc10.png").stat().st_size > 10_000
