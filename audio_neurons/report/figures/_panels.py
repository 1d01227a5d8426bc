"""Page layout for heatmaps of many models.

Automatic layouts do not give equal cells with only as much space around them as the labels need.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from audio_neurons.report.figures import _style as style
from audio_neurons.report.figures._crowded import crowded

# Inches: smallest and largest side of a cell, and smallest with room for a number; gap between panels;
# colour bar; its numbers and label; line of text; title of the page; model names left of their means, and
# numbers right of them.
SMALLEST, LARGEST, NUMBERED = 0.083, 0.42, 0.16
GAP, BAR, SCALE, LINE, TITLE = 0.12, 0.08, 0.62, 0.13, 0.22
BESIDE, NUMBERS = 1.6, 2.2

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Panels:
    """Layout with two panels per model; models stand side by side as long as cells stay readable.

    Lengths are in inches; boxes are arguments of ``Figure.add_axes``.

    Attributes
    ----------
    rows, columns
        Classes along the two sides of the panels.
    titles
        Titles of the models, broken into lines.
    across
        Number of models side by side.
    slot, cell
        Width available to a model; side of a cell.
    lines
        Height of the panel of means, in lines of text.
    """

    rows: list[str]
    columns: list[str]
    titles: list[str]
    across: int
    slot: float
    cell: float
    lines: int

    @classmethod
    def of(cls, rows: Sequence[str], columns: Sequence[str], models: Sequence[Mapping], lines: int) -> Panels:
        room = style.WIDE - _beside(rows) - BAR - SCALE
        most = max(1, len(columns))
        for blocks in range(1, len(models) + 1):
            across = -(-len(models) // blocks)
            slot = room / across - GAP
            if slot / most >= SMALLEST or crowded(rows, columns):
                break
        cell = min(slot / most, LARGEST if blocks == 1 else LARGEST / 4)
        titles = [textwrap.fill(m["title"], max(8, int(slot / 0.068))) for m in models]
        widest = style.text_width([line for title in titles for line in title.splitlines()])
        slot = min(slot, max(most * cell, widest))
        return cls(list(rows), list(columns), titles, across, slot, cell, lines)

    @property
    def blocks(self) -> int:
        return -(-len(self.titles) // self.across)

    @property
    def numbered(self) -> bool:
        return self.cell >= NUMBERED

    @property
    def height(self) -> float:
        return self._legend + 0.7

    @property
    def legend(self) -> tuple[float, float]:
        """Middle of the legend's upper edge, in shares of the page."""
        return 0.5, 1 - self._legend / self.height

    def panel(self, model: int, row: int) -> Box:
        block, column = divmod(model, self.across)
        return self._box(self._left + column * (self.slot + GAP), self._top(block, row), *self._size)

    def bar(self, block: int, row: int) -> Box:
        height = max(self._size[1], 0.4)
        y = self._top(block, row) + (self._size[1] - height) / 2
        return self._box(self._left + self.across * (self.slot + GAP), y, BAR, height)

    def side(self, block: int) -> tuple[float, float]:
        """Return the centre of the title of a block's rows, in shares of the page."""
        return (
            (self._left - _beside(self.rows) + 0.02) / style.WIDE,
            1 - (self._top(block, 1) - GAP / 2) / self.height,
        )

    def means(self, numbers: bool) -> Box:
        width = style.WIDE - BESIDE - (NUMBERS if numbers else SCALE)
        return self._box(BESIDE, self._means, width, LINE * self.lines)

    @property
    def _size(self) -> tuple[float, float]:
        return max(1, len(self.columns)) * self.cell, max(1, len(self.rows)) * self.cell

    @property
    def _left(self) -> float:
        """Left edge of the first panel; everything together is centred on the page."""
        used = _beside(self.rows) + self.across * (self.slot + GAP) + BAR + SCALE
        return (style.WIDE - used) / 2 + _beside(self.rows)

    @property
    def _head(self) -> float:
        return LINE * max(title.count("\n") + 1 for title in self.titles) + 0.06

    @property
    def _block(self) -> float:
        return self._head + 2 * self._size[1] + GAP + _beside(self.columns) + 0.12

    @property
    def _means(self) -> float:
        return TITLE + self.blocks * self._block + 0.04

    @property
    def _legend(self) -> float:
        return self._means + (LINE * self.lines + 0.36 if self.lines else 0)

    def _top(self, block: int, row: int) -> float:
        return TITLE + block * self._block + self._head + row * (self._size[1] + GAP)

    def _box(self, x: float, y: float, width: float, height: float) -> Box:
        """Convert inches from the page's upper left corner to a box in shares of the page."""
        return x / style.WIDE, 1 - (y + height) / self.height, width / style.WIDE, height / self.height


def _beside(names: Sequence[str]) -> float:
    """Return the inches that class names and the title of their task take beside a panel."""
    return style.text_width([style.readable(name) for name in names], style.TEXT - 0.5) + 0.26
