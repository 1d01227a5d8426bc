"""Counting within activation functions: on a GPU if there is one, else in Triton's interpreter."""

import pytest
import torch
from common import TINY
from torch import nn
from torch.nn import functional

from benchmarks.common import make_clips

pytest.importorskip("triton", reason="Triton is there on Linux only")

from audio_neurons import models, tables
from audio_neurons.activations import fused, kernels, recorder
from audio_neurons.activations.extraction import extract
from audio_neurons.activations.recorder import Recorder
from audio_neurons.models.encoder import Encoder, numerics
from audio_neurons.settings.extraction import Pass

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
HF = {"adapter": "huggingface", "weights": {"source": "random", "seed": 1}}
SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 40}
WAVE = {**SIZES, "conv_dim": [4] * 7, "num_conv_pos_embeddings": 4, "num_conv_pos_embedding_groups": 2}
WHISPER = {"d_model": 16, "encoder_layers": 2, "encoder_attention_heads": 2, "encoder_ffn_dim": 40}
BLOCKS = {
    "vit": TINY,
    "ast": {
        **HF,
        "model_type": "audio-spectrogram-transformer",
        "context": "full",
        "config": {**SIZES, "max_length": 128},
    },
    "hubert": {**HF, "model_type": "hubert", "config": WAVE},
    "wavlm": {**HF, "model_type": "wavlm", "config": {**WAVE, "hidden_act": "gelu_pytorch_tanh"}},
    "data2vec-audio": {**HF, "model_type": "data2vec-audio", "config": {**WAVE, "hidden_act": "gelu_new"}},
    "conformer": {**HF, "model_type": "wav2vec2-conformer", "config": {**WAVE, "hidden_act": "swish"}},
    "whisper": {**HF, "model_type": "whisper", "context": "clip", "config": WHISPER},
}
KIND_OF = {"wavlm": "gelu_tanh", "data2vec-audio": "gelu_tanh", "conformer": "silu"}


def drawn(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def load(name):
    if BLOCKS[name] is not TINY:
        pytest.importorskip("transformers", reason="the encoder is one of transformers")
    return models.load(name, BLOCKS[name], None, DEVICE)


# The kernel


def sums(clips, width, layers=3):
    shape = clips, layers, width
    return (
        torch.zeros(shape, dtype=torch.int32, device=DEVICE),
        torch.full(shape, -torch.inf, device=DEVICE),
        torch.zeros(shape, dtype=torch.int64, device=DEVICE),
    )


def by_definition(chunks, bars, absolute):
    """Counts, peaks and their first tokens over chunks, each (B, n, W), in which -inf does not count."""
    whole = torch.cat(chunks, 1)
    level = whole.abs().where(whole > -torch.inf, whole) if absolute else whole
    first = (whole == whole.amax(1, keepdim=True)).float().argmax(1)
    peak = whole.float().amax(1)
    return (
        (level > bars).sum(1, dtype=torch.int32),
        peak,
        first.where(peak > -torch.inf, torch.zeros_like(first)),
    )


COUNTED = {
    "one token": (1, 40, False, slice(None)),
    "wide": (33, 200, True, slice(1, None)),
    "blocks": (70, 40, False, slice(2, 69)),
    "listed": (50, 64, True, torch.tensor([0, 49, 7, 20, 21, 3])),
}


@pytest.mark.filterwarnings("ignore:overflow encountered in exp")  # as on a GPU, without a word there
@pytest.mark.parametrize(
    ("kind", "dtype", "made", "case"),
    [
        *(("gelu", torch.bfloat16, torch.bfloat16, case) for case in COUNTED),
        ("gelu", torch.float32, torch.float32, "blocks"),
        ("gelu_tanh", torch.bfloat16, torch.float32, "blocks"),
        ("silu", torch.float32, torch.float32, "blocks"),
        ("relu", torch.bfloat16, torch.bfloat16, "blocks"),
    ],
)
def test_activations_are_those_of_pytorch_and_their_counts_those_of_the_definition(kind, dtype, made, case):
    tokens, width, absolute, counted = COUNTED[case]
    found, chunks, seen = sums(2, width), [], 0
    bars = ((drawn(1, width) * 8).round() / 8).to(DEVICE, made)
    places = torch.full((tokens,), -1, dtype=torch.int32)
    rows = torch.arange(tokens)[counted]
    places[rows] = torch.arange(len(rows), dtype=torch.int32)
    for run in range(2):
        # Steps of a quarter, so that peaks are equal in places, and some negative far from 0.
        given = ((drawn(2 + run, 2, tokens, width) * 12).round() / 4).to(DEVICE, dtype)
        heard = (drawn(9, 2, len(rows)) > -0.5).to(DEVICE) if run else None
        output = torch.full_like(given, torch.nan, dtype=made)
        inputs = given, places.to(DEVICE), bars, heard, absolute, seen, kind
        kernels.activate(output, *(s[:, 1] for s in found), *inputs)
        expected = fused.KINDS[kind](given.float()).to(made)
        assert fused.alike(output, expected, given)
        own = output[:, counted]
        chunks.append(own if heard is None else own.masked_fill(~heard[..., None], -torch.inf))
        seen += len(rows)
    for mine, expected in zip(found, by_definition(chunks, bars, absolute), strict=True):
        assert torch.equal(mine[:, 1], expected)
    for mine, untouched in zip(found, sums(2, width), strict=True):
        assert torch.equal(mine[:, ::2], untouched[:, ::2])


@pytest.mark.parametrize("kind", fused.KINDS)
def test_what_is_no_number_stays_none(kind):
    given = torch.tensor([1.0, torch.nan, -2.0, torch.inf], device=DEVICE).view(1, 1, 4)
    output, places = torch.empty_like(given), torch.zeros(1, dtype=torch.int32, device=DEVICE)
    own = [one[:, 0] for one in sums(1, 4)]
    kernels.activate(output, *own, given, places, torch.zeros(4, device=DEVICE), None, False, 0, kind)
    assert output.isnan().flatten().tolist() == [False, True, False, False]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_another_activation_function_is_not_taken_for_one(dtype):
    given = torch.linspace(-6, 6, 4001).to(dtype).view(1, 1, -1)
    gelu = functional.gelu(given)
    assert fused.alike(gelu, gelu, given)
    assert not fused.alike(functional.gelu(given, approximate="tanh"), gelu, given)
    assert not fused.alike(gelu + 3 * torch.finfo(dtype).eps * gelu.abs().max(), gelu, given)


# Which layers


@pytest.mark.parametrize("name", BLOCKS)
def test_activation_functions_before_all_down_projections_are_found(name):
    encoder = load(name)
    found = fused.layers(encoder, 0.1 * drawn(0, 1, 16_000).to(DEVICE))
    assert sorted(found) == list(range(encoder.depth))
    assert {own.kind for own in found.values()} == {KIND_OF.get(name, "gelu")}
    assert len({own.module for own in found.values()}) == encoder.depth
    assert not any(module._forward_hooks for module in encoder.modules())


class Networks(Encoder):
    """Two feed-forward networks of some kind over frames of 160 samples."""

    def __init__(self, how, act=nn.GELU):
        super().__init__()
        torch.manual_seed(0)
        self.how, self.ffn = how, (2, 24)
        own = [nn.Linear(160, 24) for _ in range(4)], [nn.Linear(24, 160) for _ in range(2)]
        self.up, self.blocks = nn.ModuleList(own[0]), nn.ModuleList(nn.ModuleDict({"fc2": m}) for m in own[1])
        self.acts = nn.ModuleList([act() for _ in range(2)])
        self.norm, self.dropout = nn.LayerNorm(24), nn.Dropout(0.5)
        self.eval().requires_grad_(False)

    def front_end(self, wave):
        return wave.unflatten(1, (-1, 160))

    def encode(self, x):
        for i, block in enumerate(self.blocks):
            hidden, act = self.up[i](x), self.acts[i]
            if self.how == "gated":
                hidden = act(hidden) * self.up[i + 2](x)
            elif self.how == "function":
                hidden = functional.gelu(hidden)
            elif self.how == "normalised":
                hidden = self.norm(act(hidden))
            elif self.how == "shared":
                hidden = self.acts[0](hidden)
            elif self.how == "twice":
                hidden = act(hidden + 0 * act(hidden))
            else:
                hidden = functional.dropout(self.dropout(act(hidden)), 0.5, self.training)
            x = x + block["fc2"](hidden)
        return x

    def token_seconds(self, samples):
        return torch.arange(samples // 160) / 100


@pytest.mark.parametrize("how", ["gated", "function", "normalised", "shared", "twice"])
def test_what_no_kernel_can_replace_is_left_out(how):
    assert not fused.layers(Networks(how).to(DEVICE), 0.1 * drawn(0, 1, 3200).to(DEVICE))


@pytest.mark.parametrize(
    ("act", "kind"),
    [
        (nn.GELU, "gelu"),
        (lambda: nn.GELU("tanh"), "gelu_tanh"),
        (nn.SiLU, "silu"),
        (nn.ReLU, "relu"),
        (lambda: nn.ReLU(inplace=True), None),
        (lambda: nn.LeakyReLU(1e-3), None),
        (nn.Mish, None),
        (nn.PReLU, None),
        (nn.Identity, None),
    ],
)
def test_kinds_are_known_by_their_values(act, kind):
    found = fused.layers(Networks("dropout", act).to(DEVICE), 0.1 * drawn(0, 1, 3200).to(DEVICE))
    assert {own.kind for own in found.values()} == ({kind} if kind else set())


# The recorder


@pytest.fixture
def told(monkeypatch):
    """Recorders use kernels on the CPU too, as on a GPU; returns what is told."""
    lines = []
    monkeypatch.setattr(recorder, "SEARCHED", ())
    monkeypatch.setattr(recorder, "tell", lines.append)
    return lines


def passed(encoder, wave, ends=None, size=2, fuse=True, seen=None, precision="bf16", **how):
    """Features and batches of a pass, and whether it was fused; ``seen`` gets hidden activations."""
    floor = torch.full((encoder.depth, encoder.width), -torch.inf, device=DEVICE)
    batches, kept = [], [] if seen is None else seen
    with Recorder(encoder, floor=floor, **how) as recording, numerics(encoder, precision):
        done = recording.fuse(size, wave.shape[1]) if fuse else False
        recording._graphed = None
        with encoder.listening(lambda layer, hidden: kept.append((layer, hidden.clone()))):
            for part in torch.arange(len(wave)).split(size):
                batches.append(recording.run(wave[part], None if ends is None else ends[part]))
        assert not any("forward" in module.__dict__ for module in encoder.modules())
    return batches, done


@pytest.mark.parametrize(
    ("name", "precision", "tokens", "absolute", "shorter"),
    [
        ("vit", "bf16", "patch", False, True),
        ("vit", "tf32", "all", True, True),
        ("vit", "bf16", "all", False, False),
        ("ast", "bf16", "patch", False, True),
        ("conformer", "bf16", "patch", True, False),
        ("data2vec-audio", "tf32", "patch", False, True),
    ],
)
def test_counts_are_those_of_the_activations_that_the_next_layer_reads(
    told, name, precision, tokens, absolute, shorter
):
    encoder, wave = load(name), 0.1 * drawn(0, 2, 16_000).to(DEVICE)
    ends = torch.tensor([16_000, 5_000]) if shorter else None
    seen = []
    how = {"tokens": tokens, "threshold": 0.01, "absolute": absolute}
    [(features, batch)], done = passed(encoder, wave, ends, seen=seen, precision=precision, **how)
    assert done
    assert told == [
        f"{encoder.depth} of {encoder.depth} feed-forward networks count within their activation functions, "
        "whose last bits may differ from PyTorch's"
    ]
    heard = encoder.heard(16_000, ends).to(DEVICE) if shorter else None
    special = encoder.special_tokens if tokens == "all" else 0
    for layer in range(encoder.depth):
        chunks = [hidden for of, hidden in seen if of == layer]
        own = [
            chunk[:, encoder.counted_in(layer, 16_000, run, tokens == "all")]
            for run, chunk in enumerate(chunks)
        ]
        whole, first = [], 0
        for chunk in own:
            n = chunk.shape[1] - special
            if heard is not None:
                here = functional.pad(heard[:, first : first + n], (special, 0), value=True)
                chunk = chunk.masked_fill(~here[..., None], -torch.inf)
            whole.append(chunk)
            first += n
        active, peak, token = by_definition(whole, 0.01, absolute)
        width = active.shape[1]
        assert torch.equal(batch.active[:, layer, :width], active)
        assert torch.equal(batch.peak[:, layer, :width], peak)
        assert torch.equal(batch.peak_token[:, layer, :width], token)
        assert batch.tokens == sum(chunk.shape[1] for chunk in own)
    assert 0 < batch.active.sum() < batch.active.numel() * batch.tokens
    [(plain, _)], _ = passed(encoder, wave, ends, fuse=False, precision=precision, **how)
    assert torch.allclose(features, plain, atol=0.05 if precision == "bf16" else 1e-5)


def test_batches_and_their_order_do_not_matter(told):
    encoder, wave = load("vit"), 0.1 * drawn(0, 6, 10_000).to(DEVICE)
    ends = torch.tensor([10_000, 5_000, 10_000, 10_000, 1, 7_000])
    mixed = torch.tensor([3, 0, 5, 1, 4, 2])

    def counts(order, size):
        batches, done = passed(encoder, wave[order], ends[order], size, precision="tf32")
        assert done
        return torch.cat([batch.active for _, batch in batches])[order.argsort()]

    one = counts(torch.arange(6), 2)
    assert torch.equal(counts(mixed, 2), one)
    assert torch.equal(counts(torch.arange(6), 3), one)


def test_a_pass_outside_of_run_has_the_activation_functions_of_pytorch(told):
    encoder, wave = load("vit"), 0.1 * drawn(0, 2, 16_000).to(DEVICE)
    floor, calls = torch.full((2, 64), -torch.inf, device=DEVICE), []
    with Recorder(encoder, floor=floor) as recording, torch.inference_mode():
        assert recording.fuse(2, 16_000)
        for number, block in enumerate(encoder.vit.blocks):
            block.mlp.act.register_forward_pre_hook(
                lambda own, _, n=number: calls.append("forward" in vars(own))
            )
        recording.begin(wave)
        encoder(wave)
        batch = recording.end()
        assert calls == [False] * 4  # two chunks in two layers
        _, found = recording.run(wave)
        assert calls == [False] * 4 + [True] * 4
    assert torch.equal(batch.active, found.active)


def test_modules_are_as_before_when_a_pass_fails(told):
    encoder, wave = load("vit"), 0.1 * drawn(0, 2, 16_000).to(DEVICE)
    with Recorder(encoder, floor=torch.zeros(2, 64, device=DEVICE)) as recording:
        assert recording.fuse(2, 16_000)

        def fails(*_):
            raise RuntimeError("stop")

        encoder.vit.norm.register_forward_hook(fails)
        with pytest.raises(RuntimeError, match="stop"):
            recording.run(wave)
    assert not any("forward" in module.__dict__ for module in encoder.modules())


def shifted(output, *given):
    kernels.activate(output, *given)
    output[:, 1:] += 0.1


def miscounted(output, active, *given):
    kernels.activate(output, active, *given)
    active.add_(1)


def broken(*given):
    raise RuntimeError("Python.h: No such file or directory\nin a file of Triton")


@pytest.mark.parametrize(
    ("kernel", "reason"),
    [
        (broken, "RuntimeError: Python.h: No such file or directory"),
        (shifted, "GELU rounds otherwise, by more than a step"),
        (miscounted, "the GPU's kernel gives other numbers here; please report that"),
    ],
)
def test_where_the_kernel_does_not_work_nothing_changes_and_that_is_told(told, monkeypatch, kernel, reason):
    encoder, wave = load("vit"), 0.1 * drawn(0, 4, 16_000).to(DEVICE)
    plain, _ = passed(encoder, wave, fuse=False)
    monkeypatch.setattr(fused, "_activate", kernel)
    found, done = passed(encoder, wave)
    assert not done
    assert told == [f"counts are no part of activation functions, which is slower ({reason})"]
    for (features, batch), (expected, counted) in zip(found, plain, strict=True):
        assert torch.equal(features, expected)
        assert torch.equal(batch.active, counted.active)
        assert torch.equal(batch.peak, counted.peak)


def test_tokens_that_count_more_than_once_are_left_to_the_hook(told, monkeypatch):
    encoder, wave = load("vit"), 0.1 * drawn(0, 2, 10_000).to(DEVICE)
    twice = torch.tensor([1, 1, 2, 2], device=DEVICE)
    once = torch.tensor([1, 2, 3, 4], device=DEVICE)
    monkeypatch.setattr(encoder, "counted_in", lambda layer, *_: twice if layer else once)
    seen = []
    [(_, batch)], done = passed(encoder, wave, seen=seen)
    assert done
    assert told[0].startswith("1 of 2 feed-forward networks")
    hidden = dict(seen)
    assert torch.equal(batch.active[:, 0], (hidden[0][:, 1:5] > 0).sum(1, dtype=torch.int32))
    assert torch.equal(batch.active[:, 1], (hidden[1][:, twice] > 0).sum(1, dtype=torch.int32))


@pytest.mark.parametrize(
    "how",
    [{"observer": lambda *_: None}, {"compiled": True}, {"floor": None}],
    ids=["observer", "compiled", "floor"],
)
def test_observed_and_compiled_encoders_are_counted_by_their_hooks(told, how):
    floor = torch.zeros(2, 64, device=DEVICE)
    with Recorder(load("vit"), **{"floor": floor, **how}) as recording:
        assert not recording.fuse(2, 16_000)
    assert not told


@pytest.mark.skipif(DEVICE == "cuda", reason="there is a GPU")
def test_a_cpu_counts_by_hooks(encoder):
    with Recorder(encoder, floor=torch.zeros(2, 64)) as recording:
        assert not recording.fuse(2, 16_000)


# Extraction


@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16"])
def test_tables_record_that_activation_functions_counted_and_fp32_has_none(
    told, monkeypatch, tmp_path, precision
):
    monkeypatch.setenv("AUDIO_NEURONS_JOB", "{}")
    encoder = load("vit")
    clips = make_clips(tmp_path / "clips.parquet", 6, 0.6, 3, 6)
    settings = Pass(clip_seconds=0.6, batch_size=4, precision=precision)
    extract(encoder, clips, tmp_path, tmp_path / "embeddings.parquet", settings)
    expected = None if precision == "fp32" else "in 1 of 1 models"
    for name in ("embeddings", "counts", "units", "top_clips"):
        assert (tables.made_by(tmp_path / f"{name}.parquet") or {}).get("fused") == expected
    assert bool(told) == (precision != "fp32")
