"""Values of a configuration that change an encoder's output and that no weight's shape shows.

They are found by trying: a value is changed, and the encoder is built with one layer and the same weights. If
all weights fit as before and the output differs, then a checkpoint without config.json does not tell the
value.
"""

from __future__ import annotations

import importlib
from collections.abc import Collection, Iterator
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

DEPTHS = ("num_hidden_layers", "encoder_layers", "encoder_num_hidden_layers")


def unseen(model: PreTrainedModel, features: Tensor, told: Collection[str] = ()) -> list[str]:
    """Return the keys of a model's configuration that no weight shows, other than those in ``told``.

    ``features`` is an input of the model, of any length.
    """
    from transformers import PretrainedConfig

    cls: Any = type(model)
    config = deepcopy(model.config)
    depths = {config.attribute_map.get(key, key) for key in DEPTHS}
    for key in depths:
        if isinstance(getattr(config, key, None), int):
            setattr(config, key, 1)
    told = {config.attribute_map.get(key, key) for key in told} | depths
    told |= PretrainedConfig().to_dict().keys()  # what every configuration has is no architecture's own
    asked: set[str] = set()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        base = cls(_listening(config, asked)).float().eval()
    state, expected = base.state_dict(), _output(base, features)
    return [
        key
        for key in config.to_dict()
        if key in asked - told
        and any(_differs(cls, other, state, features, expected) for other in _others(config, key))
    ]


def _others(config: PretrainedConfig, key: str) -> Iterator[PretrainedConfig]:
    """Yield copies of a configuration with other values of one key."""
    value = getattr(config, key, None)
    values: list[Any] = []
    if isinstance(value, bool):
        values = [not value]
    elif isinstance(value, int):
        values = [2 * value, value // 2, 1]
    elif isinstance(value, float):
        values = [2 * value + 0.1]
    elif isinstance(value, str):
        values = ["relu" if value != "relu" else "gelu", "layer", "rotary", "relative"]
    elif isinstance(value, list | tuple) and value and all(type(one) is int for one in value):
        values = [[*value[:-1], value[-1] + 1]]
    for other in values:
        if other != value and other != 0:
            copy = deepcopy(config)
            try:
                setattr(copy, key, other)
            except Exception:  # the library refuses the value itself
                continue
            yield copy


def _listening(config: PretrainedConfig, asked: set[str]) -> PretrainedConfig:
    """Return a copy of a configuration that notes in ``asked`` which of its values are read."""

    def read(self: Any, key: str) -> Any:
        asked.add(key)
        return super(type(config), self).__getattribute__(key)

    copy = deepcopy(config)
    copy.__class__ = type(type(config).__name__, (type(config),), {"__getattribute__": read})
    return copy


def _built(cls: Any, config: PretrainedConfig) -> PreTrainedModel:
    """Return a model whose weights are not initialised, which takes most of the time."""
    try:
        without: Any = importlib.import_module("transformers.initialization")
    except ImportError:  # before version 5
        without = importlib.import_module("transformers.modeling_utils")
    with torch.random.fork_rng(devices=[]), without.no_init_weights():
        return cls(config).float().eval()


def _output(model: PreTrainedModel, features: Tensor) -> Tensor:
    with torch.inference_mode():
        return model(features)[0]


def _differs(
    cls: Any, config: PretrainedConfig, state: dict[str, Tensor], features: Tensor, expected: Tensor
) -> bool:
    """Whether weights of the unchanged model fit, and the output is another."""
    try:
        with torch.device("meta"):
            shapes = {name: value.shape for name, value in cls(config).state_dict().items()}
        if shapes != {name: value.shape for name, value in state.items()}:
            return False
        model = _built(cls, config)
        model.load_state_dict(state)
        found = _output(model, features)
    except Exception:  # the value is impossible, and so is no other model
        return False
    return found.shape != expected.shape or not torch.equal(found, expected)
