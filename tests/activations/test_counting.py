"""Counting clip by clip gives what a plain reading of all activations gives."""

import numpy as np
import pytest

from audio_neurons.activations.counting import Counter

B, N, W = 5, 40, 33


def plain(hidden, heard, threshold, absolute):
    """Active tokens, peaks and their first tokens, (B, W) each, of float32 (B, N, W), by definition."""
    hidden = np.where(heard[..., None], hidden, -np.inf)
    level = np.where(hidden > -np.inf, np.abs(hidden) if absolute else hidden, -np.inf)
    return (level > threshold).sum(1), hidden.max(1), hidden.argmax(1)


def given(seed, n=N, levels=None):
    """Activations; with levels, of few values, so that many are equal."""
    rng = np.random.default_rng(seed)
    hidden = rng.normal(size=(B, n, W)).astype(np.float32)
    return hidden if levels is None else (np.round(hidden * levels) / levels).astype(np.float32)


def empty():
    return (
        np.zeros((B, W), np.int32),
        np.full((B, W), -np.inf, np.float32),
        np.zeros((B, W), np.int64),
    )


HEARD = {
    "all": np.ones((B, N), bool),
    "some": np.arange(N) < np.array([[N], [1], [7], [0], [39]]),
    "scattered": np.random.default_rng(9).random((B, N)) < 0.3,
}


@pytest.mark.parametrize("threads", [1, 2, 9])
@pytest.mark.parametrize("absolute", [False, True])
@pytest.mark.parametrize("levels", [None, 2])
@pytest.mark.parametrize("heard", HEARD)
def test_sums_are_those_of_the_definition(threads, absolute, levels, heard):
    hidden, sums = given(0, levels=levels), empty()
    bars = np.linspace(-1, 1, W, dtype=np.float32)
    with Counter(threads, absolute) as counter:
        counter.add(hidden, HEARD[heard], bars, np.full(W, -np.inf, np.float32), sums, 0)
    counts, peak, token = plain(hidden, HEARD[heard], bars, absolute)
    np.testing.assert_array_equal(sums[0], counts)
    np.testing.assert_array_equal(sums[1], peak)
    some = HEARD[heard].any(1)
    np.testing.assert_array_equal(sums[2][some], token[some])


def test_several_runs_add_up_and_the_first_of_equal_peaks_stays():
    hidden, sums = given(1, levels=1), empty()
    with Counter(2) as counter:
        for first in range(0, N, 8):
            part = hidden[:, first : first + 8]
            counter.add(part, None, 0.5, np.full(W, -np.inf, np.float32), sums, first)
    counts, peak, token = plain(hidden, HEARD["all"], 0.5, False)
    for mine, expected in zip(sums, (counts, peak, token), strict=True):
        np.testing.assert_array_equal(mine, expected)


@pytest.mark.parametrize("n", [255, 256, 300, 70_000])
def test_more_tokens_than_a_byte_or_two_can_number(n):
    hidden = np.zeros((1, n, 2), np.float32)
    hidden[0, :, 0] = 1
    hidden[0, n - 2, 1] = 2
    sums = np.zeros((1, 2), np.int32), np.full((1, 2), -np.inf, np.float32), np.zeros((1, 2), np.int64)
    with Counter(1) as counter:
        counter.add(hidden, None, 0.0, np.zeros(2, np.float32), sums, 0)
    assert [one.tolist() for one in sums] == [[[n, 1]], [[1.0, 2.0]], [[0, n - 2]]]


@pytest.mark.parametrize("share", [0, 0.02, 0.5, 1])
def test_only_peaks_from_the_floor_on_are_placed_and_all_are_kept(share):
    hidden, sums = given(2), empty()
    sums[2].fill(-1)
    peak = hidden.max(1)
    floor = np.quantile(peak.max(0), 1 - share).astype(np.float32) if share else np.float32(99)
    with Counter(1) as counter:
        counter.add(hidden, None, 0.0, np.full(W, floor), sums, 0)
    np.testing.assert_array_equal(sums[1], peak)
    np.testing.assert_array_equal(sums[2], np.where(peak >= floor, hidden.argmax(1), -1))


def test_without_a_floor_nothing_but_counts_changes():
    sums = empty()
    with Counter(1) as counter:
        counter.add(given(3), None, 0.0, None, sums, 0)
    assert sums[0].sum() > 0
    assert np.isneginf(sums[1]).all()
    assert (sums[2] == 0).all()


def test_an_error_in_a_thread_reaches_the_caller():
    with Counter(2) as counter, pytest.raises(ValueError, match="broadcast"):
        counter.add(given(4), None, np.zeros(W + 1, np.float32), None, empty(), 0)
