"""Tests of changes that keep clips of one group together, which McNemar's test takes for independent."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np

EXHAUSTIVE = 12  # groups up to which all signs are tried
SAMPLED = 9999  # draws of signs beyond
FEWEST = 10  # groups below which percentile intervals hold too little to call anything by them


def sign_flip(values: np.ndarray, group: Sequence, seed: Sequence[int]) -> np.ndarray:
    """Return two-sided p-values (M,) that the sums over groups of M statistics of n clips are 0 on average.

    Under the null hypothesis a group's net change is as likely as its opposite. p is the share of signs of
    the groups, including those of the data, whose sum is as far from 0. All signs are tried if there are few
    groups; with G groups that change p is at least 2 / 2^G. 1 where no group changes.

    Parameters
    ----------
    values
        (M, n): changes of clips, such as the net number of probes that are right now.
    group
        (n,): group of each clip.
    """
    number = np.unique(np.asarray(group), return_inverse=True)[1]
    net = np.zeros((len(values), number.max() + 1))
    np.add.at(net.T, number, values.T)
    found = np.empty(len(net))
    for i, one in enumerate(net):
        one = one[one != 0]
        if not len(one):
            found[i] = 1.0
        elif len(one) <= EXHAUSTIVE:
            sums = np.array(list(product((1, -1), repeat=len(one)))) @ one
            found[i] = (np.abs(sums) >= abs(one.sum()) - 1e-9).mean()
        else:
            signs = np.random.default_rng(seed).choice((1, -1), (SAMPLED, len(one)))
            found[i] = (1 + (np.abs(signs @ one) >= abs(one.sum()) - 1e-9).sum()) / (SAMPLED + 1)
    return found
