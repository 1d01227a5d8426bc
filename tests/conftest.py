import gc
import os
import signal

import pytest
import torch
from common import ROOT, TINY
from hypothesis import Phase, settings
from threadpoolctl import threadpool_limits

from audio_neurons import models

gc.disable()  # until all tests are collected: imports leave no garbage

# The same examples in every run; HYPOTHESIS_PROFILE=default draws others.
settings.register_profile("same", derandomize=True)
# A mutant is killed by an example that fails; the smallest such example is of no use.
settings.register_profile("mutants", derandomize=True, phases=[Phase.explicit, Phase.generate])
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))

# Shells start what runs in the background with SIGINT ignored, which all that tests start would inherit.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Kernels for GPUs run on the CPU, if there is no GPU; Triton sees it when it is imported.
if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"

# Files that take half a minute or more.
LONG = ["test_workflow.py", "test_slurm.py", "test_faults.py", "test_tutorials.py", "test_recordings.py"]
LONG += ["test_benchmarks.py", "test_environment.py", "test_figures_ablation.py", "test_training_large.py"]
LONG += ["test_bench_gpu.py", "test_cost_command.py", "test_docs_commands.py", "test_figures.py"]

# Encoders and tables of the tests are small, and workers share the cores.
torch.set_num_threads(1)
threadpool_limits(1)


def pytest_collection_modifyitems(items):
    """The longest file first, then Slurm's, which waits much, others that run Snakemake, and other long ones.

    Workers, each with one file at a time, then end together. Tests of a trained world come last: a mutant
    is then killed by a test that takes no time.
    """
    first = {name: rank for rank, name in enumerate(LONG)}
    long = {item.path for item in items if any(map(item.get_closest_marker, ("slurm", "workflow")))}

    def rank(item):
        return first.get(item.path.name, len(first)), item.path not in long, "world" in item.fixturenames

    items.sort(key=rank)


@pytest.fixture(autouse=True)
def as_before():
    """Restore what tests, and commands that they run in this process, change for all that follow."""
    threads, environment = torch.get_num_threads(), dict(os.environ)
    yield
    torch.set_num_threads(threads)
    os.environ.clear()
    os.environ.update(environment)


@pytest.fixture
def encoder():
    """A real ViT of 2 layers of 64 neurons, random weights; 0.64 s (20 patches) per chunk."""
    return models.load("tiny", TINY, None)


@pytest.fixture
def hidden():
    """What the down-projections of an encoder read, as (B, tokens, width) by layer and chunk."""

    def capture(encoder, wave):
        seen = [[] for _ in encoder.down_projections()]
        hooks = [
            layer.register_forward_pre_hook(lambda _, inputs, kept=kept: kept.append(inputs[0].clone()))
            for layer, kept in zip(encoder.down_projections(), seen, strict=True)
        ]
        with torch.inference_mode():
            encoder(wave)
        for hook in hooks:
            hook.remove()
        return seen

    return capture


@pytest.fixture(scope="session")
def root():
    return ROOT


def pytest_collection_finish():
    """Leave what is imported out of the search for garbage, which takes an eighth of the tests' time."""
    gc.collect()
    gc.freeze()
    gc.enable()
