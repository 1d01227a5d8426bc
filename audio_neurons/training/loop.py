"""The loop both objectives share: AdamW under a cosine schedule with warm-up."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from audio_neurons.runtime import progress
from audio_neurons.training import Settings, TrainingError
from audio_neurons.training.masked import Masked
from audio_neurons.training.pool import Pool
from audio_neurons.training.supervised import Supervised

OBJECTIVES: dict[str, type[nn.Module]] = {"m2d": Masked, "supervised": Supervised}
ROWS = 50


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Everything random inside follows ``seed``; outside, nothing changes."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield


def fit(objective: nn.Module, pool: Pool, settings: Settings, name: str) -> list[dict]:
    """Train ``objective`` in place and return the rows of its log.

    Raises
    ------
    TrainingError
        At the first step whose loss is not finite.
    """
    objective.train()
    optimiser = torch.optim.AdamW(
        parameter_groups(objective, settings.weight_decay), betas=(0.9, 0.95), fused=True
    )
    device = next(objective.parameters()).device
    frames = objective.encoder.architecture.input_size[1]
    batches = pool.batches(settings.steps, settings.batch_size, frames, settings.seed, device)
    rows: list[dict] = []
    losses: list[float] = []
    for step, batch in enumerate(progress(batches, settings.steps, f"train {name}", "steps"), start=1):
        rate = learning_rate(step, settings)
        for group in optimiser.param_groups:
            group["lr"] = rate
        optimiser.zero_grad()
        loss = objective.loss(batch)
        losses.append(loss.item())
        if not math.isfinite(losses[-1]):
            raise TrainingError(
                f"the loss is {losses[-1]} at step {step} of {settings.steps}: lower training.learning_rate "
                f"({settings.learning_rate:g}) or raise training.warmup_steps ({settings.warmup_steps})"
            )
        loss.backward()
        optimiser.step()
        objective.after_step(step / settings.steps)
        if step * ROWS // settings.steps > (step - 1) * ROWS // settings.steps:
            rows.append({"step": step, "loss": math.fsum(losses) / len(losses), "learning_rate": rate})
            losses = []
    return rows


def learning_rate(step: int, settings: Settings) -> float:
    """Of step 1, 2, ...: linear rise over the warm-up, then half a cosine down to zero."""
    if step <= settings.warmup_steps:
        return settings.learning_rate * step / settings.warmup_steps
    done = (step - settings.warmup_steps) / max(settings.steps - settings.warmup_steps, 1)
    return settings.learning_rate * (1 + math.cos(math.pi * done)) / 2


def parameter_groups(module: nn.Module, weight_decay: float) -> list[dict]:
    """Weight decay for the weights of layers alone: not for norms, biases and tokens."""
    trained = [(name, p) for name, p in module.named_parameters() if p.requires_grad]
    spared = [p for name, p in trained if p.ndim < 2 or name.endswith("_token")]
    decayed = [p for name, p in trained if p.ndim >= 2 and not name.endswith("_token")]
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": spared, "weight_decay": 0.0}]
