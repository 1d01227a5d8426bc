"""The code and commands of docs/add-a-model.md, executed as written."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys

import pytest
from common import ROOT

PAGE = (ROOT / "docs" / "add-a-model.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.M | re.S)


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """Copy the package and its schema, and add the tutorial's two files."""
    folder = tmp_path_factory.mktemp("copy")
    for name in ("audio_neurons", "workflow"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "audio_neurons" / "models" / "spectroformer.py").write_text(blocks("python")[0], "utf-8")
    (folder / "models.yaml").write_text(blocks("yaml")[0], "utf-8")
    return folder


def run(folder, *arguments) -> str:
    done = subprocess.run([sys.executable, *arguments], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_commands_print_what_the_page_shows(copy):
    listed, checked = blocks("bash")[:2]
    table, works = blocks("text")
    assert run(copy, *listed.split()[1:]) == table
    output = run(copy, *checked.split()[1:])
    assert works in output
    assert "active:" in output


def test_it_loads_its_own_checkpoint_and_refuses_another(copy):
    code = """
import torch
from audio_neurons import models
block = {"adapter": "spectroformer", "config": {"dim": 16, "heads": 2}}
made = models.load("made", {**block, "weights": {"source": "random", "seed": 1}}, None)
torch.save(made.state_dict(), "made.pth")
same = models.load("same", block, "made.pth")
wave = torch.randn(1, 8000)
assert torch.equal(made(wave), same(wave))
try:
    models.load("other", {**block, "config": {"depth": 3}}, "made.pth")
except models.ModelError as error:
    print(error)
"""
    assert "models.other:" in run(copy, "-c", code)


def test_a_page_of_its_own_module_is_all_that_is_new(copy):
    assert sorted(p.name for p in (copy / "audio_neurons" / "models").glob("*.py")) == sorted(
        [*(p.name for p in (ROOT / "audio_neurons" / "models").glob("*.py")), "spectroformer.py"]
    )
