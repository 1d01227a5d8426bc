"""Figures: every one readable without the code, in print and by colour-blind readers.

A module per figure has two functions. ``data(inputs, about)`` makes one table of everything that is
drawn, from the tables of the workflow; ``draw(data, about)`` draws that table and nothing else.
``inputs`` are the paths of tables by role; ``about`` says what a table does not: ``models`` in their order
(``name``, ``title``, ``kind``), and what a figure's module names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module

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
    style.save(module.draw(data, about), out["pdf"], out["png"])
