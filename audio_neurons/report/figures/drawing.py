"""Write a figure and its data.

Each figure is a module with two functions. ``data(inputs, about)`` returns one table of everything that is
drawn, made from the tables of the workflow; ``draw(data, about)`` draws that table and nothing else.
``inputs`` are the paths of tables by role; ``about`` contains what is not in the tables: ``models`` in their
order (``name``, ``title``, ``kind``), and the keys that the figure's module documents.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

import pandas as pd

from audio_neurons import tables
from audio_neurons.report import conditions
from audio_neurons.report.figures import _style as style


def make(figure: str, inputs: Mapping[str, Sequence[str]], about: Mapping, out: Mapping[str, str]) -> None:
    """Write a figure and the data that it shows.

    Parameters
    ----------
    figure
        Name of a module of this package.
    inputs, about
        See the figure's ``data``. Below the figure stands of which clips the ``datasets`` of ``about`` are,
        where they are not all, from the tables ``inventory`` of ``inputs``.
    out
        Where to write the figure (``pdf``, ``png``) and its data (``data``, Parquet, and ``csv``).
    """
    module = import_module(f"{__package__}.{figure}")
    data = module.data(inputs, about)
    tables.write_frame(out["data"], out["csv"], data)
    drawn = module.draw(_plain(data), _plain(about))
    style.footnote(drawn, _plain(conditions.notes(inputs.get("inventory", []), about.get("datasets", []))))
    style.save(drawn, out["pdf"], out["png"])


def _plain(value: Any) -> Any:
    """Escape dollar signs: names and titles are text, not formulas."""
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
