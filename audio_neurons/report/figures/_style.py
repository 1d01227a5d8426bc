"""Style of all figures: widths of a paper, readable text sizes, and colours for colour-blind readers."""

from __future__ import annotations

import logging
import os
import textwrap
import warnings
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.text import Text
from matplotlib.textpath import text_to_path
from matplotlib.transforms import Bbox

from audio_neurons.running import provenance
from audio_neurons.running.files import atomic
from audio_neurons.running.runtime import hidden, tell

with hidden("scipy.cluster", "scipy.stats"):  # for plots that no figure has, a fifth of a figure's job
    import seaborn as sns

logging.getLogger("fontTools").setLevel(logging.WARNING)  # logs every letter it embeds

# Inches: one and two columns of a paper. Every figure has exactly one of these widths.
COLUMN, WIDE = 3.5, 7.2
# Points: text, and the smallest text that is readable in print.
TEXT, SMALL = 7.0, 6.0
LONGEST = 18
FONT = "DejaVu Sans"  # part of matplotlib

# Okabe and Ito's colours: distinct for colour-blind readers. Hatches and markers tell models apart in grey.
KINDS = {"ssl": "#0072B2", "sl": "#E69F00", "random": "#999999"}
HATCHES = ("", "////", "....", "xxxx", "\\\\\\\\", "----")
MARKERS = ("o", "s", "^", "v", "P", "X")
INK = "#222222"
# Chance levels: a light band, or an open marker.
BAND: dict[str, Any] = {"color": "0.85", "linewidth": 0}
NULL: dict[str, Any] = {
    "marker": "D", "facecolor": "white", "edgecolor": INK, "linewidth": 0.7, "s": 10, "zorder": 4
}  # fmt: skip
NULL_HANDLE: dict[str, Any] = {
    "linestyle": "none", "marker": "D", "markersize": 3.2, "markerfacecolor": "white",
    "markeredgecolor": INK, "markeredgewidth": 0.7,
}  # fmt: skip
INTERVAL: dict[str, Any] = {"color": INK, "linewidth": 0.9, "zorder": 3}

# Brightness grows with the value. Grey marks undefined values: neither scale contains it at its brightness.
SEQUENTIAL = mpl.colormaps["cividis"]
DIVERGING = mpl.colors.LinearSegmentedColormap.from_list(
    "blue-white-orange", ["#0072B2", "#FFFFFF", "#D55E00"]
)
UNDEFINED = mpl.colors.to_rgba("0.80")


def style() -> None:
    """Set the style of everything drawn afterwards."""
    warnings.filterwarnings("ignore", "Glyph .* missing from font")  # :func:`save` reports all at once
    sns.set_theme(style="white", context="paper", font=FONT)
    sizes: list[Any] = ["font.size", "axes.labelsize", "axes.titlesize", "legend.title_fontsize"]
    small: list[Any] = ["xtick.labelsize", "ytick.labelsize", "legend.fontsize"]
    plt.rcParams.update(
        {
            **dict.fromkeys(sizes, TEXT),
            **dict.fromkeys(small, TEXT - 0.5),
            "figure.titlesize": TEXT + 1,
            "legend.title_fontsize": TEXT + 1,
            "axes.linewidth": 0.6,
            "grid.linewidth": 0.5,
            "lines.linewidth": 1.0,
            "lines.markersize": 4,
            "hatch.linewidth": 0.5,
            "xtick.major.size": 2.5,
            "ytick.major.size": 2.5,
            "xtick.major.pad": 2,
            "ytick.major.pad": 2,
            "axes.labelpad": 3,
            "legend.frameon": False,
            "pdf.fonttype": 42,  # letters, not outlines
            "savefig.dpi": 300,
        }
    )


def save(figure: Figure, pdf: str | os.PathLike, png: str | os.PathLike) -> None:
    """Write a figure as PDF and PNG, with its own width and cropped to the height of its content.

    The same figure gives the same bytes. Both files contain their :mod:`~audio_neurons.running.provenance`:
    the PDF as its keywords, the PNG as a text chunk.
    """
    made = provenance.stamp()
    files = ((pdf, {"CreationDate": None, "Keywords": made}), (png, {"Software": None, provenance.KEY: made}))
    figure.draw_without_rendering()  # runs the layout
    figure.set_layout_engine(None)  # once for both files, in which everything then has the same place
    written = {letter for text in figure.findobj(Text) for letter in text.get_text() if letter.isprintable()}
    if lacking := sorted(letter for letter in written if ord(letter) not in _letters()):
        tell(f"{png}: the font has no {''.join(lacking)}, drawn as boxes; the CSV beside it has them")
    drawn = figure.get_tightbbox()
    page = Bbox([[0, drawn.y0 - 0.03], [figure.get_figwidth(), drawn.y1 + 0.03]])
    for path, metadata in files:
        with atomic(path) as temporary:
            figure.savefig(temporary, metadata=metadata, bbox_inches=page)
    plt.close(figure)


def footnote(figure: Figure, lines: Sequence[str]) -> None:
    """Write lines below everything that a figure shows."""
    if not lines:
        return
    figure.draw_without_rendering()  # runs the layout, which texts of the figure do not change
    width, height = figure.get_size_inches()
    bottom = figure.get_tightbbox().y0 - 0.08
    text = "\n".join(line for one in lines for line in textwrap.wrap(one, round(16 * width)))
    figure.text(0.01, bottom / height, text, va="top", size=SMALL, in_layout=True)


def readable(name: str) -> str:
    """Return the name of a class for an axis."""
    return shortened(name.replace("_", " "), LONGEST)


def shortened(text: str, most: int) -> str:
    """Cut a text to at most ``most`` letters."""
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"


def interval_handle(label: str) -> Line2D:
    """Return the legend entry of an interval."""
    return Line2D([], [], color=INTERVAL["color"], linewidth=INTERVAL["linewidth"], label=label)


def text_width(texts: Sequence[str], size: float = TEXT) -> float:
    """Return the width in inches of the longest text."""
    return max((_letters_width(text) for text in texts), default=0.0) * size / 72


@cache
def _letters() -> frozenset[int]:
    """Return the code points that the font can draw."""
    return frozenset(get_font(findfont(FONT)).get_charmap())


@cache
def _letters_width(text: str) -> float:
    """Return the width of a text, relative to the font size."""
    font = FontProperties(family=FONT, size=100)
    return text_to_path.get_text_width_height_descent(text, font, ismath=False)[0] / 100


def spaced(figure: Figure, **pads: Any) -> None:
    """Set the paddings of a figure with constrained layout."""
    engine = figure.get_layout_engine()
    assert isinstance(engine, ConstrainedLayoutEngine)
    engine.set(**pads)


def legend(figure: Figure, handles: Sequence, where: Any = "outside upper center", **more: Any) -> None:
    """Draw a legend for the whole figure, in as many columns as its width has room for.

    The ``title`` of the figure belongs here: matplotlib would draw a figure title over an outside legend.
    """
    widest = text_width([handle.get_label() for handle in handles], TEXT - 0.5) + 0.5
    columns = max(1, min(len(handles), int(figure.get_figwidth() / widest)))
    if "title" in more:
        more["title"] = textwrap.fill(more["title"], int(figure.get_figwidth() / 0.08))
    figure.legend(handles=list(handles), loc=where, ncols=columns, **more)


def colours(models: Sequence[Mapping]) -> dict[str, tuple]:
    """Return name of model → colour of its kind, lighter for each further model of the kind."""
    seen: dict[str, int] = {}
    found = {}
    for model in models:
        n = seen[model["kind"]] = seen.get(model["kind"], 0) + 1
        lighter = sns.light_palette(KINDS[model["kind"]], n_colors=n + 1, reverse=True)
        found[model["name"]] = tuple(lighter[n - 1])
    return found


def hatches(models: Sequence[Mapping]) -> dict[str, str]:
    """Return name of model → hatch."""
    return {model["name"]: HATCHES[i % len(HATCHES)] for i, model in enumerate(models)}


def markers(models: Sequence[Mapping]) -> dict[str, str]:
    """Return name of model → marker."""
    return {model["name"]: MARKERS[i % len(MARKERS)] for i, model in enumerate(models)}


def ink(colour: Sequence[float] | np.ndarray) -> str:
    """Return black or white, whichever is more readable on a colour (contrast ratio of WCAG 2)."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour[:3]]
    return "black" if np.dot(linear, (0.2126, 0.7152, 0.0722)) > 0.179 else "white"
