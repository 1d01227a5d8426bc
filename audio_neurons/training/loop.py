"""Training loop of both objectives: AdamW with warm-up and a cosine schedule."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from audio_neurons.running.runtime import Meter
from audio_neurons.settings.training import Training
from audio_neurons.training import processes
from audio_neurons.training.errors import TrainingError
from audio_neurons.training.evaluation import evaluate
from audio_neurons.training.masked import Masked
from audio_neurons.training.pool import Pool
from audio_neurons.training.resume import History, Keeper
from audio_neurons.training.stream import Stream
from audio_neurons.training.supervised import Supervised

OBJECTIVES: dict[str, type[Masked | Supervised]] = {"m2d": Masked, "supervised": Supervised}
ROWS = 50


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed all random numbers inside the block, and restore the random state afterwards."""
    # Other GPUs are not used.
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices):
        torch.manual_seed(seed)
        yield


def fit(
    objective: Masked | Supervised,
    pool: Pool | Stream,
    settings: Training,
    name: str,
    keeper: Keeper | None = None,
) -> History:
    """Train ``objective`` in place, resuming from the state of ``keeper``, and return its history.

    Raises
    ------
    TrainingError
        If the loss of a step is not finite, or the state is that of another training.
    """
    objective.train()
    optimiser = torch.optim.AdamW(
        parameter_groups(objective, settings.weight_decay), betas=(0.9, 0.95), fused=True
    )
    device = next(objective.parameters()).device
    frames = objective.encoder.architecture.input_size[1]
    history = keeper.restore(objective, optimiser, name) if keeper else History()
    trained = processes.shared(objective)
    steps = settings.steps
    batches = pool.batches(steps, settings.batch_size, frames, settings.seed, device, history.step)
    meter = Meter(steps, f"train {name}", "steps", history.step)
    for step, batch in enumerate(batches, start=history.step + 1):
        rate = learning_rate(step, settings)
        for group in optimiser.param_groups:
            group["lr"] = rate
        optimiser.zero_grad()
        with torch.autocast(device.type, torch.bfloat16, enabled=settings.precision == "bfloat16"):
            loss = trained(batch)
        history.losses.append(processes.mean(loss))
        if not math.isfinite(history.losses[-1]):
            raise TrainingError(
                f"the loss is {history.losses[-1]} at step {step} of {steps}: lower training.learning_rate "
                f"({settings.learning_rate:g}) or raise training.warmup_steps ({settings.warmup_steps})"
            )
        loss.backward()
        if settings.clip_gradient:
            nn.utils.clip_grad_norm_(objective.parameters(), settings.clip_gradient)
        optimiser.step()
        objective.after_step(step / steps)
        history.step = step
        if step * ROWS // steps > (step - 1) * ROWS // steps:
            mean = math.fsum(history.losses) / len(history.losses)
            history.rows.append({"step": step, "loss": mean, "learning_rate": rate})
            history.losses.clear()
        every = settings.evaluate_steps
        if every and (step % every == 0 or step == steps):
            assert isinstance(objective, Supervised)
            assert isinstance(pool, Stream)
            history.scores += evaluate(objective, pool, step, name)
        if keeper:
            keeper.offer(objective, optimiser, history)
        if processes.rank() == 0:
            meter.add()
    if processes.rank() == 0:
        meter.finish()
    return history


def learning_rate(step: int, settings: Training) -> float:
    """Return the learning rate of step 1, 2, ...: linear warm-up, then half a cosine down to zero."""
    if step <= settings.warmup_steps:
        return settings.learning_rate * step / settings.warmup_steps
    done = (step - settings.warmup_steps) / max(settings.steps - settings.warmup_steps, 1)
    return settings.learning_rate * (1 + math.cos(math.pi * done)) / 2


def parameter_groups(module: nn.Module, weight_decay: float) -> list[dict]:
    """Return parameter groups with weight decay for weights of layers, not for norms, biases and tokens."""
    trained = [(name, p) for name, p in module.named_parameters() if p.requires_grad]
    spared = [p for name, p in trained if p.ndim < 2 or name.endswith("_token")]
    decayed = [p for name, p in trained if p.ndim >= 2 and not name.endswith("_token")]
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": spared, "weight_decay": 0.0}]
