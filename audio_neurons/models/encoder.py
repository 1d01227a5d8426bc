"""The interface of all encoders, and the lookup of their feed-forward neurons."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from audio_neurons.models.errors import ModelError
from audio_neurons.tables import SAMPLE_RATE

# Name endings of the second linear layer of a feed-forward network. Its input is the hidden layer after
# the activation function, whether that function is a module or not. In BERT and related models, such as
# the AST of transformers 4, a layer of attention has one of these endings too.
DOWN_PROJECTIONS = (".fc2", ".output_dense", ".output.dense", ".down_proj", ".linear2", ".ffw_layer_2")
OF_ATTENTION = (".attention.output.dense",)

# Modules whose forward pass autocast computes in bfloat16.
CAST = (nn.Linear, nn.modules.conv._ConvNd)


class Encoder(nn.Module, ABC):
    """An audio encoder: waveform in, frame features out.

    Attributes
    ----------
    sample_rate
        Sampling rate of the input in Hz. Clips are prepared at that rate (``sample_rate`` of the block).
    special_tokens
        Number of leading tokens of every sequence that represent no part of the audio (such as CLS).
    ffn
        Number of feed-forward networks and of neurons in each, according to the configuration of the
        architecture; ``None`` if it does not give them.
    bfloat16
        Whether matrix products after the front end are computed in bfloat16 (autocast).
    stepwise
        Whether the encoder can run layer by layer (:meth:`states`, :meth:`expand`, :meth:`project`,
        :meth:`assemble`), so that runs that differ only from some layer on share the layers below it.
    spectral
        Whether the input is a log-mel that is normalised by a mean and a standard deviation (:meth:`log_mel`,
        :meth:`normalise`).
    lacks_statistics
        Whether these two are a dataset's (``norm_stats: dataset``), and have not been given yet.
    origins
        What decides the numbers beside the weights: name, value, and where it was read.
    """

    sample_rate: int = SAMPLE_RATE
    special_tokens: int = 0
    ffn: tuple[int, int] | None = None
    # This hides the method of nn.Module, which no encoder needs.
    bfloat16: bool = False  # type: ignore[assignment]
    stepwise: bool = False
    spectral: bool = False
    lacks_statistics: bool = False
    origins: tuple[tuple[str, str, str], ...] = ()

    @abstractmethod
    def front_end(self, wave: Tensor) -> Tensor:
        """Convert waveforms (B, samples) in [-1, 1) to the encoder's input."""

    @abstractmethod
    def encode(self, features: Tensor) -> Tensor:
        """Encode the encoder's input to frame features (B, T, D)."""

    @abstractmethod
    def token_seconds(self, samples: int) -> Tensor:
        """Return the start time in seconds of each counted token, without special tokens, in token order."""

    def forward(self, wave: Tensor) -> Tensor:
        """Encode waveforms (B, samples) to frame features (B, T, D), without the frames of padding."""
        return self.frames(self.prepared(wave), wave.shape[1])

    def prepared(self, wave: Tensor) -> Tensor:
        """Return the output of :meth:`front_end`, whose products are never rounded to TF32."""
        if self.lacks_statistics:
            raise ModelError(
                "norm_stats: dataset: the mean and the standard deviation of the dataset have not been given "
                "(Encoder.normalise)"
            )
        before = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("highest")
        try:
            return self.front_end(wave)
        finally:
            torch.set_float32_matmul_precision(before)

    def frames(self, features: Tensor, samples: int) -> Tensor:
        """Encode the front end's output for clips of ``samples`` samples, as :meth:`forward` does."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16):
            encoded = self.encode(features)
        return encoded.float() if self.bfloat16 else encoded

    def autocast(self) -> AbstractContextManager[object]:
        """Return the context of everything behind the front end, in which `bfloat16` takes effect."""
        if not self.bfloat16:
            return nullcontext()  # which takes no time
        return torch.autocast(self.device.type, torch.bfloat16)

    def counted(self, samples: int, run: int, special: bool = False) -> slice | Tensor:
        """Return the tokens to count in one run of the layers, as an index along the sequence.

        ``run`` numbers the runs over one batch of clips of ``samples`` samples, one run per chunk. An encoder
        that pads clips excludes the tokens that see only padding; ``special`` includes special tokens.
        """
        return slice(0 if special else self.special_tokens, None)

    def counted_in(self, layer: int, samples: int, run: int, special: bool = False) -> slice | Tensor:
        """Return :meth:`counted` for one layer.

        An encoder whose layers have unequal numbers of tokens overrides it. It returns as many indices for
        every layer, and thereby counts a coarser token once for each of the finest tokens that it covers.
        """
        return self.counted(samples, run, special)

    def heard(self, samples: int, recorded: Tensor) -> Tensor:
        """Return which counted tokens begin within the recording, bool (B, N), in order of `token_seconds`.

        Parameters
        ----------
        samples
            Samples of a clip, the silence after a shorter recording included.
        recorded
            (B,): samples of each recording, at least 1.
        """
        # In whole samples: seconds are rounded, which decides at edges.
        starts = (self.token_seconds(samples).double() * self.sample_rate).round().to(recorded.device)
        return starts < recorded[:, None]

    def frame_seconds(self, samples: int, frames: int) -> Tensor:
        """Return the start time in seconds of each of the ``frames`` frame features of a clip.

        By default frames are columns of tokens, or averages of neighbouring ones.
        """
        starts = self.token_seconds(samples).unique()
        return starts[:: max(1, len(starts) // frames)][:frames]

    def pooled(self, features: Tensor, samples: int, recorded: Tensor) -> Tensor:
        """Return the mean (B, D) of frame features (B, T, D) over frames that begin within the recording."""
        if (recorded >= samples).all():
            return features.mean(1)
        seconds = self.frame_seconds(samples, features.shape[1])
        first = (seconds.double() * self.sample_rate).round()
        heard = (first.to(recorded.device) < recorded[:, None]).to(features.device, features.dtype)
        return (features * heard[..., None]).sum(1) / heard.sum(1, keepdim=True)

    def log_mel(self, wave: Tensor) -> Tensor:
        """Return the log-mel of waveforms (B, samples) without padding, as it is before it is normalised."""
        raise NotImplementedError

    def normalise(self, mean: float, std: float) -> None:
        """Normalise the log-mel by this mean and standard deviation from now on."""
        raise NotImplementedError

    def states(self, features: Tensor) -> list[Tensor]:
        """Return the input of the first layer, (B, N, D) per chunk of the audio, from the encoder's input."""
        raise NotImplementedError

    def expand(self, layer: int, state: Tensor) -> tuple[Tensor, Tensor]:
        """Return the residual stream (B, N, D) and the hidden units (B, N, W) of a layer, from its input.

        The down-projection reads the hidden units, and its output is added to the residual stream.
        """
        raise NotImplementedError

    def project(self, layer: int, residual: Tensor, hidden: Tensor) -> Tensor:
        """Return the next layer's input from :meth:`expand`'s output; runs the down-projection's hooks."""
        raise NotImplementedError

    def assemble(self, states: list[Tensor]) -> Tensor:
        """Return frame features (B, T, D) from the last layer's output per chunk, as :meth:`encode` ends."""
        raise NotImplementedError

    def down_projections(self) -> list[nn.Linear]:
        """Return the down-projections of the feed-forward networks, in order of depth.

        Neuron ``(l, j)`` is feature ``j`` of the input of the ``l``-th down-projection: "layer" ``l`` is a
        feed-forward network, of which a block may have more than one. Down-projections are the linear layers
        whose names end as in `DOWN_PROJECTIONS`. Their number and width must match ``ffn``; without ``ffn``,
        only layers that have fewer outputs than inputs are used.

        Raises
        ------
        ModelError
            If none are found, or they do not match ``ffn``.
        """
        return list(self.networks().values())

    def networks(self) -> dict[str, nn.Linear]:
        """Return name → down-projection of all feed-forward networks (see :meth:`down_projections`)."""
        known = self.__dict__.get("_networks")
        if known is None or known[0] != self.ffn or not all(map(self._has, known[1], known[1].values())):
            known = self.__dict__["_networks"] = self.ffn, networks_of(self, self.ffn)
        return dict(known[1])

    def _has(self, name: str, module: nn.Module) -> bool:
        try:
            return self.get_submodule(name) is module
        except AttributeError:
            return False

    @contextmanager
    def listening(self, hook: Callable[[int, Tensor], Any]) -> Iterator[None]:
        """Call ``hook(layer, hidden)`` with the input of every down-projection, within the context.

        If the hook returns a tuple, the down-projection reads that instead.
        """
        handles = [
            layer.register_forward_pre_hook(lambda _, inputs, number=number: hook(number, inputs[0]))
            for number, layer in enumerate(self.down_projections())
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    @property
    def depth(self) -> int:
        """Number of feed-forward networks."""
        return len(self.widths)

    @property
    def widths(self) -> list[int]:
        """Neurons of each feed-forward network."""
        return [layer.in_features for layer in self.down_projections()]

    @property
    def width(self) -> int:
        """Neurons of the widest feed-forward network."""
        return max(self.widths)

    @property
    def present(self) -> Tensor:
        """Entries of an array (L, W) over layers and units that are neurons, bool."""
        widths = torch.tensor(self.widths, device=self.device)
        return torch.arange(self.width, device=self.device) < widths[:, None]

    @property
    def neurons(self) -> Tensor:
        """Layer and unit of every neuron, int64 (N, 2), layer-major."""
        return self.present.nonzero()

    def flat(self, values: Tensor) -> Tensor:
        """Return values (..., L, W) as (..., N), layer-major, without the entries that are no neurons."""
        return values.flatten(-2) if len(set(self.widths)) == 1 else values[..., self.present]

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device


def networks_of(model: nn.Module, ffn: tuple[int, int] | None = None) -> dict[str, nn.Linear]:
    """Return name → down-projection of the feed-forward networks of a model (`Encoder.down_projections`)."""
    linear = {name: m for name, m in model.named_modules() if isinstance(m, nn.Linear)}
    found = {name: m for name, m in linear.items() if _is_down_projection(name)}
    if ffn is None:
        found = {name: m for name, m in found.items() if m.in_features > m.out_features}
    if not found:
        endings = ", ".join(f"*{ending}" for ending in DOWN_PROJECTIONS)
        raise ModelError(
            f"no feed-forward network found: looked for linear layers named {endings}; "
            f"there are {', '.join(list(linear)[:8]) or 'none'}{', ...' if len(linear) > 8 else ''}"
        )
    widths = [m.in_features for m in found.values()]
    if ffn not in (None, (len(found), widths[0])) or (ffn and len(set(widths)) > 1):
        raise ModelError(
            f"{len(found)} feed-forward networks of {' and '.join(map(str, sorted(set(widths))))} neurons "
            f"found, but the configuration says {ffn[0]} of {ffn[1]}"
        )
    return found


def _is_down_projection(name: str) -> bool:
    return f".{name}".endswith(DOWN_PROJECTIONS) and not f".{name}".endswith(OF_ATTENTION)


@contextmanager
def numerics(encoder: Encoder, precision: str, compiled: bool = False) -> Iterator[None]:
    """Run the encoder in the given precision, compiled or not, within the context.

    Enter it after registering hooks, because compilation includes them. On exit, the previous settings
    are restored, and after bf16 the state in float32.
    """
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    tf32 = precision == "tf32"
    try:
        torch.set_float32_matmul_precision("high" if tf32 else "highest")
        torch.backends.cudnn.allow_tf32 = tf32
        encoder.bfloat16 = precision == "bf16"
        if compiled:
            encoder.encode = torch.compile(encoder.encode)  # type: ignore[method-assign]  # of one object
        with _weights_in_bfloat16(encoder) if encoder.bfloat16 else nullcontext():
            yield
    except Exception as error:
        if compiled and type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
            reason = str(error).strip().partition("\n")[0]
            raise ModelError(
                f"torch.compile does not work here ({reason}): it needs a C compiler and Python's headers; "
                "install them, or set extraction.compile to false"
            ) from error
        raise
    finally:
        torch.set_float32_matmul_precision(before[0])
        torch.backends.cudnn.allow_tf32 = before[1]
        encoder.bfloat16 = False
        encoder.__dict__.pop("encode", None)


@contextmanager
def _weights_in_bfloat16(encoder: Encoder) -> Iterator[None]:
    """Cast weights and biases of linear layers and convolutions once; autocast would do so in every pass.

    Others, such as those of normalisations, stay in float32, as in autocast.
    """
    kept = [
        (module._parameters, name, own)
        for module in encoder.modules()
        if isinstance(module, CAST)
        for name in ("weight", "bias")  # of a normalised weight, the parts from which it is computed stay
        if (own := module._parameters.get(name)) is not None and own.dtype is torch.float32
    ]
    # Some encoders of transformers cast their tables of positions when they see what they are added to.
    buffers = [(module, dict(module._buffers)) for module in encoder.modules() if module._buffers]
    try:
        for parameters, name, own in kept:
            parameters[name] = nn.Parameter(own.detach().bfloat16(), own.requires_grad)
        yield
    finally:
        for parameters, name, own in kept:
            parameters[name] = own
        for module, before in buffers:
            module._buffers.update(before)
