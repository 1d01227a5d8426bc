"""Training in several processes, started by torchrun: each has its share of every batch.

All processes always have the same random state: each draws for the whole batch and keeps its own rows.
The result therefore does not depend on their number, except for the order of sums.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

T = TypeVar("T")


def count() -> int:
    """Return the number of processes that train together."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def rank() -> int:
    """Return the number of this process, from 0."""
    return distributed.get_rank() if distributed.is_initialized() else 0


@contextmanager
def joined(device: str) -> Iterator[torch.device]:
    """Join the processes started by torchrun, if any, and yield the device of this process."""
    alone = int(os.environ.get("WORLD_SIZE", "1")) == 1
    if device.startswith("cuda") and not alone:
        device = f"cuda:{os.environ['LOCAL_RANK']}"
        torch.cuda.set_device(device)
    if alone or distributed.is_initialized():
        yield torch.device(device)
        return
    distributed.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    try:
        yield torch.device(device)
    finally:
        distributed.destroy_process_group()


def shared(module: nn.Module) -> nn.Module:
    """Return the module with gradients averaged over all processes; unchanged if there is only this one."""
    return DistributedDataParallel(module, broadcast_buffers=False) if count() > 1 else module


def mine(rows: int) -> slice:
    """Return the slice of this process in a whole batch with ``rows`` rows per process."""
    return slice(rank() * rows, (rank() + 1) * rows)


def drawn(draw: Callable[[int], Tensor], rows: int) -> Tensor:
    """Draw for the whole batch, and return the ``rows`` of this process."""
    return draw(rows * count())[mine(rows)]


def previous(values: Tensor) -> Tensor:
    """Return, for each row, the row before it in the whole batch; for the first row, the last one."""
    rolled = values.roll(1, 0)
    if count() > 1:
        last = [torch.empty_like(values[-1]) for _ in range(count())]
        distributed.all_gather(last, values[-1].contiguous())
        rolled[0] = last[rank() - 1]
    return rolled


def mean(value: Tensor) -> float:
    """Return the mean of a scalar over all processes."""
    value = value.detach().clone()
    if count() > 1:
        distributed.all_reduce(value)
        value /= count()
    return value.item()


def gathered(value: T) -> list[T]:
    """Return the values of all processes, in their order."""
    values = [value] * count()
    if count() > 1:
        distributed.all_gather_object(values, value)
    return values
