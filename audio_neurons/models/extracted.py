"""Encoders of transformers whose input the model's own feature extractor computes, clip by clip on the CPU.

These serve every audio encoder of the library for which :mod:`audio_neurons.models.towers` has no front end.
How many tokens an encoder makes of a clip is measured by running it once over silence.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from audio_neurons.models.errors import ModelError
from audio_neurons.models.towers import HuggingFace

if TYPE_CHECKING:
    from transformers import PreTrainedModel

CHECKED = 1.0, 2.0  # seconds of silence by which lengths are measured


class Extracted(HuggingFace):
    """Sequence encoder behind its own feature extractor: tokens are evenly spaced in time.

    An extractor that pads every clip to one length is allowed, and its padding is not counted: a token counts
    if its share of that length begins within the clip. Longer clips than that are refused.

    Parameters
    ----------
    extractor
        A feature extractor of transformers; its ``sampling_rate`` is the encoder's.

    Raises
    ------
    ModelError
        If the extractor does not give the model's input, or the hidden units are no sequences of tokens of
        one length in all layers.
    """

    def __init__(self, model: PreTrainedModel, extractor: Any):
        super().__init__(model)
        self._extractor = extractor
        self.sample_rate = extractor.sampling_rate
        self._accepted = set(inspect.signature(model.forward).parameters)
        self._others = cache(self._inputs_beside)
        self._beside: dict[str, Tensor] = {}
        self.longest = self._fixed_length()
        self._tokens = cache(self._count_tokens)
        self._whole = self._check()

    # The front end

    def _extract(self, wave: Tensor) -> dict[str, Tensor]:
        clips = list(wave.detach().cpu().numpy())
        return dict(self._extractor(clips, sampling_rate=self.sample_rate, return_tensors="pt"))

    def front_end(self, wave: Tensor) -> Tensor:
        """Return the extractor's features of waveforms (B, samples), in its own shape."""
        if self.longest is not None and wave.shape[1] > self.longest:
            raise ModelError(
                f"clips of {wave.shape[1] / self.sample_rate:g} s are longer than the "
                f"{self.longest / self.sample_rate:g} s that {type(self._extractor).__name__} takes; set "
                "clip_seconds to at most that"
            )
        return self._extract(wave)[self.model.main_input_name].float().to(wave.device)

    def _inputs_beside(self, samples: int) -> dict[str, Tensor]:
        """Return the inputs that depend on the clips' length alone (masks), for one clip."""
        found = self._extract(torch.zeros(1, samples))
        return {k: v for k, v in found.items() if k != self.model.main_input_name and k in self._accepted}

    def frames(self, features: Tensor, samples: int) -> Tensor:
        others = self._others(samples).items()
        self._beside = {k: v.expand(len(features), *v.shape[1:]).to(features.device) for k, v in others}
        encoded = super().frames(features, samples)
        if self.longest is None:
            return encoded
        return encoded[:, : math.ceil(encoded.shape[1] * samples / self.longest)]

    def encode(self, features: Tensor) -> Tensor:
        """Encode the extractor's features to the last hidden states (B, T, D), padding included."""
        return self.model(features, **self._beside).last_hidden_state

    # Tokens

    def counted(self, samples: int, run: int, special: bool = False) -> slice | Tensor:
        if self.longest is None:
            return slice(None)
        return slice(0, math.ceil(self._whole * samples / self.longest))

    def token_seconds(self, samples: int) -> Tensor:
        if self.longest is None:
            return torch.arange(self._tokens(samples)) * (samples / self.sample_rate / self._tokens(samples))
        seconds = self.longest / self.sample_rate / self._whole
        return torch.arange(math.ceil(self._whole * samples / self.longest)) * seconds

    def _fixed_length(self) -> int | None:
        """Return the number of samples that the extractor pads every clip to; None if it does not."""
        found = [self._extract(torch.zeros(1, round(s * self.sample_rate))) for s in CHECKED]
        name = self.model.main_input_name
        if name not in found[0]:
            raise ModelError(
                f"{type(self._extractor).__name__} gives {', '.join(found[0])}, but "
                f"{type(self.model).__name__} "
                f"takes {name}; check preprocessor_config.json"
            )
        if found[0][name].shape != found[1][name].shape:
            return None
        known = ("n_samples", "nb_max_samples")
        lengths = [getattr(self._extractor, key) for key in known if hasattr(self._extractor, key)]
        if not lengths:
            raise ModelError(f"{type(self._extractor).__name__} pads clips to a length that it does not tell")
        return int(lengths[0])

    def _count_tokens(self, samples: int) -> int:
        """Return the tokens of every layer for clips of some length, by running the encoder over silence."""
        shapes: list[tuple[int, ...]] = []
        wave = torch.zeros(2, samples, device=self.device)
        with torch.inference_mode(), self._alone(lambda _, hidden: shapes.append(tuple(hidden.shape))):
            others = self._others(samples).items()
            beside = {k: v.expand(2, *v.shape[1:]).to(self.device) for k, v in others}
            self.model(self.front_end(wave), **beside)
        return self._length_of(shapes)

    @contextmanager
    def _alone(self, hook: Callable[[int, Tensor], Any]) -> Iterator[None]:
        """Listen as :meth:`listening` does, while other hooks of the down-projections rest.

        A recorder asks for the times of tokens while its own hooks are registered.
        """
        layers = self.down_projections()
        resting = [dict(layer._forward_pre_hooks) for layer in layers]
        for layer in layers:
            layer._forward_pre_hooks.clear()
        try:
            with self.listening(hook):
                yield
        finally:
            for layer, hooks in zip(layers, resting, strict=True):
                layer._forward_pre_hooks.update(hooks)

    def _length_of(self, shapes: list[tuple[int, ...]]) -> int:
        tokens = {shape[1] for shape in shapes if len(shape) == 3 and shape[0] == 2}
        if len(tokens) != 1 or any(len(shape) != 3 or shape[0] != 2 for shape in shapes):
            raise ModelError(
                f"hidden units of {type(self.model).__name__} are {sorted(set(shapes))} for 2 clips, not "
                "(clips, "
                "tokens, units) with the same tokens in every layer; write an adapter (docs/add-a-model.md)"
            )
        if len(shapes) != self.depth:
            raise ModelError(
                f"the {self.depth} feed-forward networks of {type(self.model).__name__} run {len(shapes)} "
                "times "
                "for one clip; write an adapter (docs/add-a-model.md)"
            )
        return tokens.pop()

    def _check(self) -> int:
        return self._tokens(round(CHECKED[0] * self.sample_rate))


class Htsat(Extracted):
    """HTSAT, the audio encoder of CLAP (Wu et al. 2023): a Swin Transformer over a folded spectrogram.

    The spectrogram of 10 s is cut into four parts in time, which are stacked along frequency to a square
    image. Each stage halves the image's sides and doubles the width. All layers are counted on the grid of
    the first stage: a token of a later stage counts once for each of the first stage's tokens that it covers
    and that begin within the clip. Repetitions of the clip, by which the extractor fills 10 s, are not
    counted.

    Features are per column in time: of every part's columns, in order, the features of both frequency rows.
    """

    def __init__(self, model: PreTrainedModel, extractor: Any):
        config = model.config
        self._folds = config.spec_size // config.num_mel_bins
        stride = config.patch_stride
        self._patch = stride if isinstance(stride, int) else stride[0]
        self._side = config.spec_size // self._patch
        self._stages = [stage for stage, depth in enumerate(config.depths) for _ in range(depth)]
        super().__init__(model, extractor)

    def _inputs_beside(self, samples: int) -> dict[str, Tensor]:
        # Of clips that are not longer than 10 s, the extractor marks one at random as longer.
        return {"is_longer": torch.zeros(1, 1, dtype=torch.bool)}

    def encode(self, features: Tensor) -> Tensor:
        """Encode the extractor's log-mel to (B, columns, frequency rows * D), padding included."""
        found = self.model(features, **self._beside).last_hidden_state  # (B, D, rows, columns)
        return found.permute(0, 3, 2, 1).flatten(2)

    def counted(self, samples: int, run: int, special: bool = False) -> slice | Tensor:
        return self.counted_in(0, samples, run, special)

    def counted_in(self, layer: int, samples: int, run: int, special: bool = False) -> Tensor:
        rows, columns, _ = self._within(samples)
        stage = self._stages[layer]
        return ((rows >> stage) * (self._side >> stage) + (columns >> stage)).to(self.device)

    def token_seconds(self, samples: int) -> Tensor:
        return self._within(samples)[2]

    def frame_seconds(self, samples: int, frames: int) -> Tensor:
        assert self.longest is not None
        columns = self._folds * (self._side >> max(self._stages))
        return torch.arange(frames) * (self.longest / self.sample_rate / columns)

    def _within(self, samples: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return row, column and start in seconds of the first stage's tokens that begin within the clip."""
        assert self.longest is not None
        place = torch.arange(self._side * self._side)
        rows, columns = place // self._side, place % self._side
        part = rows // (self._side // self._folds)
        starts = (part * self._side + columns) * (self.longest / self.sample_rate / self._side / self._folds)
        here = starts < samples / self.sample_rate
        return rows[here], columns[here], starts[here]

    def _length_of(self, shapes: list[tuple[int, ...]]) -> int:
        wanted = [(2, (self._side >> s) ** 2, w) for s, w in zip(self._stages, self.widths, strict=True)]
        if shapes != wanted:
            raise ModelError(f"hidden units of {type(self.model).__name__} are {shapes}, not {wanted}")
        return self._side**2
