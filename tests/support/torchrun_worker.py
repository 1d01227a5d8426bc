"""A process of torchrun in test_training_large: compares gradients, trains, and writes its weights."""

import json
import sys
from pathlib import Path

import pytest
import torch
from torch import distributed

from audio_neurons.models.vit import Architecture
from audio_neurons.training import TrainingError, loop, processes, train
from audio_neurons.training.block import settings_of
from audio_neurons.training.stream import Stream

blocks, out, *parts = sys.argv[1:]
out, parts = Path(out), [Path(part) for part in parts]
torch.set_num_threads(1)
kept = []


def averaged_gradients(block: dict) -> float:
    """Return the largest difference of DistributedDataParallel's gradients from the mean over processes."""
    architecture, settings = Architecture.of(block), settings_of(block)
    pool = Stream(parts, architecture, settings.clip_seconds, True, "model")
    objective = loop.OBJECTIVES[settings.objective](architecture, settings, pool)
    (batch,) = pool.batches(1, settings.batch_size, architecture.input_size[1], 0, torch.device("cpu"))
    state = torch.get_rng_state()
    objective.loss(batch).backward()
    own = [p.grad.clone() for p in objective.parameters() if p.requires_grad]
    objective.zero_grad()
    torch.set_rng_state(state)
    wrapped = processes.shared(objective)  # must stay referenced, otherwise it averages nothing
    wrapped(batch).backward()
    averaged = [p.grad for p in objective.parameters() if p.requires_grad]
    worst, apart = 0.0, 0.0
    for mine, both in zip(own, averaged, strict=True):
        apart = max(apart, (mine - both).abs().max().item())
        distributed.all_reduce(mine)
        worst = max(worst, (mine / processes.count() - both).abs().max().item())
    assert apart > 1e-4, "the processes saw the same clips"
    return worst


def fit(objective, *args):
    kept.append(objective)
    return real(objective, *args)


real, loop.fit = loop.fit, fit
with processes.joined("cpu"), loop.seeded(0):
    for name, block in json.loads(Path(blocks).read_text()).items():
        outputs = out / f"{name}.safetensors", out / f"{name}.parquet"
        train(block, parts, *outputs, evaluation=out / f"{name}.evaluation")
        told = {"rank": processes.rank(), "count": processes.count(), "gradients": averaged_gradients(block)}
        torch.save({**told, "state": kept[-1].state_dict()}, out / f"{name}-{processes.rank()}.pt")
        odd = {**block, "training": {**block["training"], "batch_size": 7}}
        with pytest.raises(TrainingError, match="cannot be shared by 2 processes"):
            train(odd, parts, out / "odd.safetensors", out / "odd.parquet")
