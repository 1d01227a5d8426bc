"""Profiles name what exists: Snakemake says nothing of a rule, resource or mapping that it does not know."""

import re
import subprocess
import sys
from importlib import resources
from importlib.util import find_spec

import pytest
import yaml
from common import ROOT
from snakemake.cli import get_argument_parser, get_profile_dir

PROFILES = sorted((ROOT / "profiles").iterdir())
SMK = "".join(p.read_text(encoding="utf-8") for p in (ROOT / "workflow" / "rules").glob("*.smk"))
# What a profile may hold one value of per rule, resource or group.
OF_RULES = ("set-threads", "set-resources", "groups")
SNAKEMAKE_KNOWS = {"mem_mb", "disk_mb", "runtime", "tmpdir"}

pytestmark = pytest.mark.workflow


@pytest.fixture(scope="module")
def rules(tmp_path_factory):
    """Names of rules, some of which are datasets' own, in the full reproduction or in the demo."""
    names = set()
    for name in ("config", "demo"):
        where = ["--snakefile", ROOT / "Snakefile", "--directory", tmp_path_factory.mktemp(name)]
        args = [*where, "--configfile", ROOT / "config" / f"{name}.yaml", "--list-rules"]
        listed = subprocess.run(
            [sys.executable, "-m", "snakemake", *args], capture_output=True, text=True, check=True
        )
        names |= set(listed.stdout.split())
    return names


def requested():
    """Resources that rules ask for."""
    return {name for block in re.findall(r"^    resources:\n((?:        .+\n)+)", SMK, re.M)
            for name in re.findall(r"^        (\w+)=", block, re.M)}  # fmt: skip


def understood(executor):
    """Resources that an executor's plugin reads, by its own code."""
    if not executor:
        return set()
    code = "".join(
        file.read_text(encoding="utf-8")
        for file in resources.files(f"snakemake_executor_plugin_{executor}").iterdir()
        if file.name.endswith(".py")
    )
    return set(re.findall(r'resources(?:\.get\(\s*"|\.)(\w+)', code)) - {"get", "keys", "items"}


def problems(profile, rules):
    """What a profile names that does not exist."""
    options = {o.lstrip("-") for a in get_argument_parser()._actions for o in a.option_strings}
    known = requested() | understood(profile.get("executor")) | SNAKEMAKE_KNOWS
    yield from (f"option {key}" for key in set(profile) - options)
    for section in OF_RULES:
        yield from (f"{section}: rule {rule}" for rule in set(profile.get(section, {})) - rules)
    for rule, block in [
        ("default", profile.get("default-resources", {})),
        *profile.get("set-resources", {}).items(),
    ]:
        yield from (f"{rule}: resource {name}" for name in set(block) - known)
    # A limit of what nobody asks for limits nothing.
    yield from (f"limit of {name}" for name in set(profile.get("resources", {})) - requested())
    groups = set(profile.get("groups", {}).values())
    yield from (f"group {name}" for name in set(profile.get("group-components", {})) - groups)


def read(folder):
    profile = yaml.safe_load(get_profile_dir(str(folder))[1].read_text(encoding="utf-8"))
    plugin = f"snakemake_executor_plugin_{profile.get('executor')}"
    if "executor" in profile and not find_spec(plugin):
        pytest.skip(f"{plugin} is not installed")
    return profile


@pytest.mark.parametrize("folder", PROFILES, ids=lambda p: p.name)
def test_whatever_a_profile_names_exists(folder, rules):
    assert list(problems(read(folder), rules)) == []


MISSPELT = {
    "option set-resourcess": {"set-resourcess": {"extract": {"gpu": 1}}},
    "option slurm-status-comand": {"slurm-status-comand": "squeue"},
    "set-resources: rule extracts": {"set-resources": {"extracts": {"mem_mb": 1}}},
    "set-threads: rule prepare_cremat": {"set-threads": {"prepare_cremat": 2}},
    "groups: rule selects": {"groups": {"selects": "neurons"}},
    "extract: resource gpus": {"set-resources": {"extract": {"gpus": 1}}},
    "default: resource slurm_partion": {"default-resources": {"slurm_partion": "x"}},
    "limit of gpus": {"resources": {"gpus": 1}},
    "group neuron": {"group-components": {"neuron": 2}},
}


@pytest.mark.parametrize("problem", MISSPELT)
def test_what_is_misspelt_is_found(problem, rules):
    profile = read(ROOT / "profiles" / "slurm")
    broken = {key: {**profile.get(key, {}), **value} if isinstance(value, dict) else value
              for key, value in MISSPELT[problem].items()}  # fmt: skip
    assert list(problems({**profile, **broken}, rules)) == [problem]


def test_a_gpu_is_of_the_partition_that_has_them():
    """Each rule that asks for a GPU, and none besides, goes where GPUs are."""
    rule = r"^ *(?:use )?rule (?:\w+ as )?"
    blocks = re.split(rule, SMK, flags=re.M)[1:]
    asking = {re.match(r"\w+", block)[0] for block in blocks if re.search(r"\n +gpu=", block)}
    blocks = read(ROOT / "profiles" / "slurm")["set-resources"]
    assert {rule for rule, block in blocks.items() if block.get("slurm_partition") == "gpu"} == asking
    assert len(asking) == 10


def test_slurm_is_asked_in_the_way_that_does_not_hang():
    profile = read(ROOT / "profiles" / "slurm")
    assert profile["slurm-status-command"] == "squeue"
    assert 3 * profile["slurm-init-seconds-before-status-checks"] <= 300  # Slurm's own MinJobAge
    # A rule's retries would run inside the job that Slurm has killed.
    assert profile["retries"] > 0
    assert not re.search(r"^ +retries:", SMK, re.M)
