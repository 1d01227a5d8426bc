"""Figures: every one readable without the code, in print and by colour-blind readers.

A module per figure has two functions. ``data(inputs, about)`` makes one table of everything that is
drawn, from the tables of the workflow; ``draw(data, about)`` draws that table and nothing else.
``inputs`` are the paths of tables by role; ``about`` says what a table does not: ``models`` in their order
(``name``, ``title``, ``kind``), and what a figure's module names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

import pandas as pd

from audio_neurons import tables
from audio_neurons.figures import style


def make(figure: str, inputs: Mapping[str, Sequence[str]], about: Mapping, out: Mapping[str, str]) -> None:
    """Write a figure and what it shows.

    Parameters
    ----------
    figure
        Module of this package.
    inputs, about
        See the figure's ``data``.
    out
        Where to write the figure (``pdf``, ``png``) and its data (``data``, Parquet, and ``csv``).
    """
    module = import_module(f"{__name__}.{figure}")
    data = module.data(inputs, about)
    tables.write_frame(out["data"], out["csv"], data)
    style.save(module.draw(_plain(data), _plain(about)), out["pdf"], out["png"])


def _plain(value: Any) -> Any:
    """The same with dollars that are drawn as such: names and titles are text, not formulas."""
    if isinstance(value, str):
        return value.replace("$", r"\$")
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if isinstance(value, pd.DataFrame):
        texts = value.select_dtypes(exclude=["number", "bool"])
        return value.assign(**{name: texts[name].map(_plain) for name in texts})
    return value
