"""Every command in the documentation is run, or listed with the reason why it is not."""

from __future__ import annotations

import re
import shlex
import subprocess

import pytest
from common import ROOT
from snakemake_run import snakemake

from audio_neurons.__main__ import main
from audio_neurons.training.__main__ import parser as training_parser

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^ *```bash\n(.*?)^ *```$", re.M | re.S)
BLOCKS = [block for page in PAGES for block in BLOCK.findall(page.read_text("utf-8"))]

# Run by other tests, on files that these write.
ELSEWHERE = {
    "snakemake --report report.zip --configfile config/demo.yaml --directory demo": "test_workflow.py::"
    "test_report_holds_the_figures_and_their_captions",
    "snakemake --cores 4 --configfile doorbells.yaml": "test_tutorials.py::test_added_dataset_to_figures",
    "snakemake --cores 4 --configfile study/study.yaml --directory study": "test_tutorials.py::"
    "test_own_recordings_to_figures",
    "python -m audio_neurons init sounds": "test_own_study.py::test_what_init_writes_can_be_run",
    "python -m audio_neurons check study/study.yaml --directory study --html "
    "study/recordings.html": "test_check_command.py::test_the_page_is_written_where_it_is_asked_for",
    "python -m audio_neurons models --configfile models.yaml": "test_add_a_model.py::"
    "test_the_commands_print_what_the_page_shows",
    "python -m audio_neurons models spectroformer --configfile models.yaml": "test_add_a_model.py::"
    "test_the_commands_print_what_the_page_shows",
    "nohup .venv/bin/snakemake --workflow-profile mine > run.log 2>&1 &": "test_slurm.py::"
    "test_the_next_run_makes_what_is_missing_and_all_of_it_in_slurm",
    # Measuring five models takes minutes; the other test measures a small one.
    "python -m audio_neurons cost config/paper.yaml": "test_cost_command.py::"
    "test_the_cost_of_every_stage_is_told_before_anything_runs",
    # AST would take a minute; the other test uses small models.
    "python -m audio_neurons models ast": "test_main.py::test_a_named_model_is_checked",
    "torchrun ... -m audio_neurons.training BLOCK.yaml results/pools/audioset/part-*.arrow --workers 8 "
    "--out results/training/sl/model.safetensors --losses results/training/sl/log.parquet "
    "--evaluation results/training/sl/evaluation.parquet": "test_training_large.py::"
    "test_launch_runs_torchrun_and_reports_failure",
}
NETWORK = "needs a network"
NOT_RUN = {
    "pip install --no-deps --require-hashes -r envs/lock.txt": NETWORK,
    "python3 -m pip download --no-deps --require-hashes -r envs/lock.txt -d wheels": NETWORK,
    "python3 -m pip download --no-deps --require-hashes -r envs/uv.txt -d wheels": NETWORK,
    "git clone https://gitlab.com/cs-cooper-lab/crema-d-mirror": NETWORK,
    "mkdir -p resources/by_hand": "prepares the link to that clone",
    'ln -s "$PWD/crema-d-mirror/AudioWAV" resources/by_hand/cremad': "links that clone",
    "export VOXCELEB_KEY=...": "needs a personal key",
    "git clone URL audio-neurons": NETWORK,
    "cd audio-neurons": "enters that clone",
    "cp -r profiles/slurm profiles/mine": "the dry run takes profiles/slurm itself",
    "sinfo --summarize": "asks a cluster",
    "sacctmgr show associations user=$USER format=account": "asks a cluster",
    "tail -f run.log": "never ends",
    "mutmut show audio_neurons.neurons.sharing.x_ratio__mutmut_1": "prints what `make mutants` has made",
    "ls results/figures": "lists what a run has made",
}


def commands(block: str) -> list[str]:
    """Return a block's commands without comments and the environment's folder; continued lines are joined."""
    found = []
    for line in block.replace("\\\n", " ").splitlines():
        line = re.sub(r"(^|\s)#.*", "", line)
        found += [" ".join(part.split()).removeprefix(".venv/bin/") for part in line.split("&&")]
    return [command for command in found if command]


SHOWN = list(dict.fromkeys(command for block in BLOCKS for command in commands(block)))
OPEN = [command for command in SHOWN if command not in ELSEWHERE and command not in NOT_RUN]
DRY = [command for command in OPEN if command.startswith("snakemake ")]
MODELS = [command for command in OPEN if command.startswith("python -m audio_neurons ")]
MAKE = [command for command in OPEN if re.match(r"(\w+=\S+ )*make ", command)]
REMOVE = [command for command in OPEN if command.startswith("rm ")]


def test_every_command_is_run_or_listed():
    assert len(BLOCKS) > 15
    assert sorted(OPEN) == sorted(DRY + MODELS + MAKE + REMOVE)
    assert [command for command in (*ELSEWHERE, *NOT_RUN) if command not in SHOWN] == []


@pytest.mark.parametrize("command", ELSEWHERE)
def test_what_is_run_elsewhere_is_run_there(command):
    file, name = ELSEWHERE[command].split("::")
    (path,) = (ROOT / "tests").rglob(file)
    assert f"def {name}(" in path.read_text("utf-8")


def test_blocks_are_bash():
    subprocess.run(["bash", "-n"], input="\n".join(BLOCKS), text=True, check=True)


def targets(command: str) -> list[str] | None:
    """Return what a command asks for if it has no option but the cores; else None."""
    found = re.fullmatch(r"snakemake --cores \d+((?: [^ -]\S*)*)", command)
    return (found[1].split() or ["all"]) if found else None


PLAIN = {command: wanted for command in DRY if (wanted := targets(command))}


@pytest.fixture(scope="module")
def dry_runs(tmp_path_factory):
    """Return the exit code and output of each command's dry run; those in `PLAIN` have one run together."""
    alone = [command for command in DRY if command not in PLAIN]
    asked = [["--cores", "2", *(target for wanted in PLAIN.values() for target in wanted)]]
    for command in alone:
        arguments = shlex.split(command)[1:]
        if "--directory" in arguments:
            where = arguments.index("--directory")
            del arguments[where : where + 2]
        asked.append(["slurm" if argument == "mine" else argument for argument in arguments])
    given = [["-n", "--directory", str(tmp_path_factory.mktemp("dry")), *arguments] for arguments in asked]
    together, *found = snakemake(given)
    return dict.fromkeys(PLAIN, together) | dict(zip(alone, found, strict=True))


@pytest.mark.workflow
@pytest.mark.parametrize("command", DRY)
def test_snakemake_knows_what_to_do(command, dry_runs):
    if "--workflow-profile" in command:
        pytest.importorskip("snakemake_executor_plugin_slurm")
    code, output = dry_runs[command]
    assert code == 0, output[-4000:]
    assert re.search(r"^total +[1-9]", output, re.M), output[-4000:]
    # Nothing is there yet, so that Snakemake has jobs for all targets, or fails; rules are counted.
    for target in PLAIN.get(command, ()):
        assert "/" in target or re.search(rf"^{target} +1$", output, re.M), target


@pytest.mark.parametrize("command", MODELS)
def test_models_commands_work(command, capsys, monkeypatch):
    words = shlex.split(command)
    assert words[:3] == ["python", "-m", "audio_neurons"]
    monkeypatch.chdir(ROOT)
    assert main(words[3:]) == 0
    assert "m2d" in capsys.readouterr().out


@pytest.mark.parametrize("command", MAKE)
def test_make_knows_the_target(command):
    words = shlex.split(command)
    targets = words[words.index("make") + 1 :]
    subprocess.run(["make", "-n", *targets], cwd=ROOT, check=True, capture_output=True)


def test_targets_named_in_the_text_exist():
    text = "\n".join(p.read_text("utf-8") for p in PAGES)
    for target in set(re.findall(r"`make ([a-z-]+)`", text)):
        subprocess.run(["make", "-n", target], cwd=ROOT, check=True, capture_output=True)


@pytest.mark.parametrize("command", REMOVE)
def test_removal_removes(command, tmp_path):
    target = tmp_path / shlex.split(command)[-1]
    target.parent.mkdir(parents=True)
    target.touch()
    subprocess.run(shlex.split(command), cwd=tmp_path, check=True)
    assert not target.exists()


def test_training_by_torchrun_has_these_options():
    command = next(command for command in SHOWN if command.startswith("torchrun "))
    given = training_parser().parse_args(shlex.split(command.partition("audio_neurons.training ")[2]))
    assert (given.workers, str(given.losses)) == (8, "results/training/sl/log.parquet")
