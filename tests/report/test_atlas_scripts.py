"""The atlas's own JavaScript, which no compiler sees."""

import subprocess
import sys
from pathlib import Path

import pytest
from common import ROOT

from audio_neurons.report.atlas import building


def test_a_linter_finds_nothing_in_the_scripts_as_a_page_loads_them(tmp_path):
    oxlint = Path(sys.prefix) / "bin" / "oxlint"
    if not oxlint.is_file():
        pytest.skip("oxlint is not installed")
    folder = ROOT / "audio_neurons/report/atlas/templates"
    scripts = [(folder / name).read_text("utf-8") for name in building.SCRIPTS]
    assert sorted(building.SCRIPTS) == sorted(path.name for path in folder.glob("*.js"))
    assert all('"use strict";\n' in script for script in scripts)
    joined = tmp_path / "atlas.js"  # one scope, as in a page: names of other files are known
    joined.write_text("".join(script.replace('"use strict";\n', "") for script in scripts), "utf-8")
    command = [oxlint, "--config", ROOT / ".oxlintrc.json", "--deny-warnings", joined]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
