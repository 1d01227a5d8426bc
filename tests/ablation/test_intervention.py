"""Changes of neurons: exact values, and shared runs that equal separate ones bit by bit."""

import copy
from contextlib import ExitStack

import pytest
import torch

from audio_neurons.ablation import intervention
from audio_neurons.ablation.changes import Change, units_by_layer
from audio_neurons.ablation.intervention import (
    Donors,
    Indexed,
    Intervention,
    InterventionError,
    Means,
    Together,
    run_changes,
)
from audio_neurons.models.encoder import Encoder, numerics

NEURONS = frozenset({(0, 3), (0, 60), (1, 0), (1, 17)})


@pytest.fixture
def wave():
    return torch.randn(3, 16_000, generator=torch.Generator().manual_seed(0)) / 10  # 2 chunks


def by_hand(encoder, wave, change):
    """Features when ``change(layer, hidden)`` is what a down-projection reads."""
    with ExitStack() as stack, torch.inference_mode():
        for number, layer in enumerate(encoder.down_projections()):
            hook = lambda _, inputs, number=number: (change(number, inputs[0].clone()),)  # noqa: E731
            stack.callback(layer.register_forward_pre_hook(hook).remove)
        return encoder(wave)


def changed(encoder, wave, *args):
    with Intervention(encoder, *args), torch.inference_mode():
        return encoder(wave)


@pytest.mark.parametrize("gain", [0, 0.5, 2])
def test_a_gain_multiplies_the_output_of_the_activation_function(encoder, wave, gain):
    def scale(layer, hidden):
        for at, unit in NEURONS:
            if at == layer:
                hidden[..., unit] *= gain
        return hidden

    found = changed(encoder, wave, Change(NEURONS, gain))
    assert torch.equal(found, by_hand(encoder, wave, scale))
    assert not torch.equal(found, encoder(wave))


def test_gain_zero_is_the_model_without_these_neurons(encoder, wave):
    found = changed(encoder, wave, Change(NEURONS))
    for layer, unit in NEURONS:
        encoder.vit.blocks[layer].mlp.fc2.weight[:, unit] = 0
    torch.testing.assert_close(found, encoder(wave))


def test_gain_one_changes_nothing(encoder, wave):
    means = Means(encoder)
    means.add(wave, 3)
    for values in (None, means.values()):
        assert torch.equal(changed(encoder, wave, Change(NEURONS, 1.0), values), encoder(wave))
    assert Change(NEURONS, 1.0).first_layer is None
    assert torch.equal(changed(encoder, wave, Change(frozenset())), encoder(wave))


@pytest.mark.parametrize("gain", [0, 0.5])
def test_mean_replacement(encoder, wave, hidden, gain):
    others = torch.randn(5, 16_000, generator=torch.Generator().manual_seed(1)) / 10
    means = Means(encoder)
    means.add(others[:3], 3)
    means.add(torch.cat([others[3:], others[:1]]), 2)  # the last row only fills the batch up
    seen = hidden(encoder, others)

    def replace(layer, a):
        cls = torch.cat([chunk[:, :1] for chunk in seen[layer]], dim=1).double().mean((0, 1)).float()
        patch = torch.cat([chunk[:, 1:] for chunk in seen[layer]], dim=1).double().mean((0, 1)).float()
        for at, unit in NEURONS:
            if at == layer:
                a[:, :1, unit] = cls[unit] + gain * (a[:, :1, unit] - cls[unit])
                a[:, 1:, unit] = patch[unit] + gain * (a[:, 1:, unit] - patch[unit])
        return a

    found = changed(encoder, wave, Change(NEURONS, gain, "mean"), means.values())
    torch.testing.assert_close(found, by_hand(encoder, wave, replace))


def test_means_leave_out_tokens_after_the_end_of_a_recording(encoder, wave, hidden):
    ends = torch.tensor([16_000, 4000, 9000])
    means = Means(encoder)
    means.add(wave, 2, ends[:2])  # the last row only fills the batch up
    means.add(wave[2:], 1, ends[2:])
    seen = hidden(encoder, wave)
    starts = (encoder.token_seconds(16_000).double() * 16_000).round()
    own = starts < ends[:, None]
    assert own.sum(1).unique().numel() == 3  # every clip has another number of tokens
    units = torch.tensor([3, 60])
    for layer in (0, 1):
        patch = torch.cat([chunk[:, 1:] for chunk in seen[layer]], dim=1).double()[own].mean(0)
        cls = torch.cat([chunk[:, :1] for chunk in seen[layer]], dim=1).double().mean((0, 1))
        found = means.values()(layer, 0, units, 3)
        torch.testing.assert_close(found, torch.stack([cls, patch, patch])[:, units], rtol=1e-12, atol=1e-12)
    whole, full = Means(encoder), Means(encoder)
    whole.add(wave, 3)
    full.add(wave, 3, torch.full((3,), 16_000))
    assert torch.equal(whole.values()(0, 0, units, 9), full.values()(0, 0, units, 9))
    assert not torch.allclose(whole.values()(0, 0, units, 9), means.values()(0, 0, units, 9), rtol=1e-3)


@pytest.mark.parametrize("gain", [0, 2])
def test_resampling_takes_the_same_token_of_another_clip(encoder, wave, hidden, gain):
    others = wave.flip(0) * 2
    donors = Donors(encoder, NEURONS | {(1, 40)})
    donors.load(others)
    seen, calls = hidden(encoder, others), [0, 0]

    def replace(layer, a):
        donor = seen[layer][calls[layer]]
        calls[layer] += 1
        for at, unit in NEURONS:
            if at == layer:
                a[..., unit] = donor[..., unit] + gain * (a[..., unit] - donor[..., unit])
        return a

    found = changed(encoder, wave, Change(NEURONS, gain, "resample"), donors)
    assert torch.equal(found, by_hand(encoder, wave, replace))
    # Every neuron replaced by itself is no change.
    donors.load(wave)
    same = changed(encoder, wave, Change(NEURONS, 0, "resample"), donors)
    assert torch.equal(same, encoder(wave))


def test_special_tokens_are_changed_too(encoder, wave):
    every = Change(frozenset((1, unit) for unit in range(64)))
    encoder.vit.blocks[1].mlp.fc2.bias.zero_()
    with torch.inference_mode():
        (state, *_) = encoder.states(encoder.front_end(wave))
        state = encoder.project(0, *encoder.expand(0, state))
        residual, hidden = encoder.expand(1, state)
        with Intervention(encoder, every):
            assert torch.equal(encoder.project(1, residual, hidden), residual)


def test_the_model_is_left_as_it_was(encoder, wave):
    before = encoder(wave)
    with pytest.raises(ZeroDivisionError), Intervention(encoder, Change(NEURONS)):
        raise ZeroDivisionError
    assert torch.equal(encoder(wave), before)
    assert not any(layer._forward_pre_hooks for layer in encoder.down_projections())


@pytest.mark.parametrize("neuron", [(2, 0), (0, 64), (-1, 0), (0, -1)])
def test_neurons_that_are_not_there(encoder, neuron):
    with pytest.raises(InterventionError, match=f"no neuron {neuron[0]}:{neuron[1]} in an encoder of 2"):
        Intervention(encoder, Change(frozenset({neuron})))
    with pytest.raises(InterventionError):
        Donors(encoder, {neuron})


CHANGES = [
    Change(frozenset({(1, 5), (1, 6)})),
    Change(NEURONS),
    Change(NEURONS, 2.0),
    Change(NEURONS, 1.0),
    Change(NEURONS, 0.5, "mean"),
    Change(frozenset({(1, 7)}), 0.0, "resample"),
    Change(frozenset({(0, 1)}), 0.0, "mean"),
    Change(NEURONS, 0.0, "resample"),
    Change(frozenset()),
]


@pytest.mark.parametrize(("stepwise", "bfloat16"), [(True, False), (False, False), (True, True)])
@pytest.mark.parametrize("batch", [1, 3])
def test_shared_runs_are_those_of_their_own_bit_by_bit(encoder, wave, stepwise, bfloat16, batch):
    encoder.stepwise, encoder.bfloat16 = stepwise, bfloat16
    wave = wave[:batch]
    means, donors = Means(encoder), Donors(encoder, NEURONS | {(1, 7)})
    means.add(wave, batch)
    donors.load(wave.flip(0) * 2)
    values = {"zero": None, "mean": means.values(), "resample": donors}
    done = list(run_changes(encoder, wave, CHANGES, values))
    assert sorted(number for number, _ in done) == [-1, *range(len(CHANGES))]  # each of them once
    found = dict(done)
    assert torch.equal(found[-1], encoder(wave))
    for number, change in enumerate(CHANGES):
        plain = changed(encoder, wave, change, values[change.replacement])
        assert torch.equal(found[number], plain), change
        assert torch.equal(found[number], found[-1]) == (change.first_layer is None)


def test_changes_have_the_bits_of_autocast_where_weights_are_cast_once(encoder, wave):
    def outputs():
        means, donors = Means(encoder), Donors(encoder, NEURONS | {(1, 7)})
        means.add(wave, len(wave))
        donors.load(wave.flip(0) * 2)
        values = {"zero": None, "mean": means.values(), "resample": donors}
        return dict(run_changes(encoder, wave, CHANGES, values))

    encoder.bfloat16 = True  # autocast alone, which casts weights in every pass
    expected = outputs()
    encoder.bfloat16 = False
    with numerics(encoder, "bf16"):
        found = outputs()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[number], expected[number]) for number in expected)


@pytest.mark.parametrize("bfloat16", [False, True])
@pytest.mark.parametrize("tokens", [1, 150, 10_000])
def test_several_changes_in_one_pass_give_what_passes_of_their_own_do(
    encoder, wave, bfloat16, tokens, monkeypatch
):
    encoder.bfloat16 = bfloat16
    more = [Change(frozenset({(0, unit), (1, unit + 1)}), gain, kind) for unit in (8, 9, 20)
            for gain, kind in ((0.0, "zero"), (0.5, "mean"), (0.0, "mean"), (2.0, "resample"))]  # fmt: skip
    given, sizes = [*CHANGES, *more], []
    means, donors = Means(encoder), Donors(encoder, frozenset().union(*(c.neurons for c in given)))
    means.add(wave, 3)
    donors.load(wave.flip(0) * 2)
    values = {"zero": None, "mean": means.values(), "resample": donors}
    together = Together.__enter__
    monkeypatch.setattr(Together, "__enter__", lambda self: sizes.append(self._count) or together(self))
    found = dict(run_changes(encoder, wave, given, values, tokens))
    assert sorted(found) == [-1, *range(len(given))]
    # Of 63 tokens a chunk: two of a kind in one pass, or all of them.
    assert set(sizes) == {1: set(), 150: {2}, 10_000: {3, 4}}[tokens]
    close = {"rtol": 0.05, "atol": 0.05} if bfloat16 else {"rtol": 1e-5, "atol": 1e-6}
    for number, change in enumerate(given):
        alone = changed(encoder, wave, change, values[change.replacement])
        torch.testing.assert_close(found[number], alone, **close)
        assert torch.equal(found[number], found[-1]) == (change.first_layer is None)
    assert torch.equal(found[-1], encoder(wave))


def test_other_last_bits_of_changes_in_one_pass_are_told_once(encoder, wave, capsys, monkeypatch):
    given = [Change(frozenset({(0, unit)})) for unit in range(6)]
    list(run_changes(encoder, wave, given, {"zero": None}))
    assert not capsys.readouterr().err  # one by one on a CPU

    assemble = encoder.assemble
    monkeypatch.setattr(encoder, "assemble", lambda states: assemble(states) + 1e-3 * (len(states[0]) > 3))
    for _ in range(2):
        list(run_changes(encoder, wave, given, {"zero": None}, 10_000))
    said = capsys.readouterr().err
    assert said.startswith("6 changes in one pass: features differ by up to 0.001 from those of passes of")
    assert said.count("\n") == 1


@pytest.mark.parametrize("gain", [0, 0.3, 2])
@pytest.mark.parametrize("kind", ["zero", "mean", "resample"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_changes_together_have_the_bits_of_each(kind, gain, dtype):
    """Of what down-projections read; only products may round by the number of rows."""
    encoder, generator = Reader(1, width=9), torch.Generator().manual_seed(0)
    chunks = torch.randn(2, 3, 5, 9, generator=generator).to(dtype)
    changes = [Change(frozenset({(0, unit), (0, 7), (0, unit + 2)}), gain, kind) for unit in range(4)]
    means, donors = Means(encoder), Donors(encoder, frozenset().union(*(c.neurons for c in changes)))
    means.add(chunks, 3)
    donors.load(chunks.flip(1) * 2)
    values = {"zero": None, "mean": means.values(), "resample": donors}[kind]
    indexed = Indexed(encoder, changes)
    with Together(indexed, range(4), values):
        found = encoder(chunks.repeat(1, 4, 1, 1))
    for number, change in enumerate(changes):
        with Intervention(encoder, change, values):
            own = encoder(chunks)
        for mine, theirs in zip(own, found, strict=True):
            assert torch.equal(theirs.tensor_split(4)[number], mine)


def test_what_lies_below_is_computed_once(encoder, wave):
    calls, front_ends, expand, front_end = [], [], encoder.expand, encoder.front_end
    encoder.expand = lambda layer, state: calls.append(layer) or expand(layer, state)
    encoder.front_end = lambda wave: front_ends.append(1) or front_end(wave)
    changes = [Change(frozenset({(layer, unit)})) for unit in range(10) for layer in (1, 0)]
    order = [number for number, _ in run_changes(encoder, wave, changes, {"zero": None})]
    assert order == [*range(1, 20, 2), *range(0, 20, 2), -1]
    assert len(front_ends) == 1
    assert calls.count(0) == 2  # once per chunk
    assert calls.count(1) == 2 * (10 + 1)  # for those that begin in layer 0, and once for all others


def test_bfloat16_runs_stepwise_too(encoder, wave, monkeypatch):
    encoder.bfloat16 = True
    monkeypatch.setattr(intervention, "Replay", None)
    inside = []
    for _ in run_changes(encoder, wave, CHANGES[:2], {"zero": None}):
        inside.append(torch.is_autocast_enabled("cpu"))  # what the caller does with features is exact
    assert inside == [False] * 3


def test_a_network_that_was_exchanged_is_found(encoder, wave):
    before = encoder.down_projections()
    assert encoder.down_projections() == before
    block = encoder.vit.blocks[1].mlp
    block.fc2 = copy.deepcopy(block.fc2)
    assert encoder.down_projections() == [before[0], block.fc2]
    other = copy.deepcopy(encoder)
    assert not set(other.down_projections()) & set(encoder.down_projections())
    with Intervention(other, Change(NEURONS)):
        assert not torch.equal(other(wave), encoder(wave))


def test_units_by_layer():
    assert units_by_layer({(3, 5), (1, 9), (3, 2)}) == {1: [9], 3: [2, 5]}


class Reader:
    """An encoder of one layer whose down-projection reads what it is given, (B, tokens, width), by chunks."""

    depth, device = 1, torch.device("cpu")

    def __init__(self, special, width=3):
        self.special_tokens, self.width, self.widths = special, width, [width]
        self.layer = torch.nn.Identity()

    def down_projections(self):
        return [self.layer]

    def listening(self, hook):
        return Encoder.listening(self, hook)

    def counted_in(self, layer, samples, run):
        return Encoder.counted(self, samples, run)

    def __call__(self, chunks):
        return [self.layer(chunk) for chunk in chunks]


def test_replacements_know_the_number_of_the_chunk_and_do_not_depend_on_what_they_replace():
    encoder, change = Reader(0), Change(frozenset({(0, 1)}), 0.0, "resample")
    chunks = torch.full((4, 1, 2, 3), float("inf"))
    for _ in range(2):  # every context counts anew
        with Intervention(encoder, change, lambda layer, chunk, units, tokens: torch.tensor([10.0 + chunk])):
            seen = torch.stack(encoder(chunks))
        assert (seen[..., 1] == torch.tensor([10.0, 11, 12, 13])[:, None, None]).all()
        assert torch.equal(seen[..., [0, 2]], chunks[..., [0, 2]])


def test_gain_one_is_exact_whatever_the_replacement():
    encoder, small = Reader(0), torch.full((1, 1, 2, 3), 1e-9)
    with Intervention(encoder, Change(frozenset({(0, 1)}), 1.0), lambda *_: torch.tensor([1000.0])):
        assert torch.equal(encoder(small)[0], small[0])


@pytest.mark.parametrize("special", [0, 1, 2])
@pytest.mark.parametrize("clips", [1, 4])
def test_means_by_hand(special, clips):
    """Of every special token, and of all others together, in double precision; the last clip is filler."""
    chunks = torch.randn(2, clips + 1, 5, 3, generator=torch.Generator().manual_seed(0)) + 1000
    for given in (chunks, chunks[:1]):
        means = Means(Reader(special))
        means.add(given, clips)
        tokens = given[:, :clips].double().mean((0, 1))  # of every position
        expected = [*tokens[:special], *[tokens[special:].mean(0)] * (6 - special)]
        units = torch.tensor([2, 0])
        found = means.values()(0, 0, units, 6)  # of another number of tokens
        torch.testing.assert_close(found, torch.stack(expected)[:, units], rtol=1e-12, atol=0)


def test_means_of_more_tokens_than_single_precision_can_count():
    means = Means(Reader(0, width=1))
    for clips in (2**12, 1):
        means.add(torch.ones(1, clips, clips, 1), clips)
    assert means.values()(0, 0, torch.tensor([0]), 1) == 1


def test_a_layer_that_no_clip_went_through_has_means_of_zero():
    assert (Means(Reader(1)).values()(0, 0, torch.tensor([1]), 4) == 0).all()
