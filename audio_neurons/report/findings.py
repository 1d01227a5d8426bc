"""Findings page: answers that fixed rules derive from the tables, in the order of the paper's questions.

No verdict is written by hand: words like "more" or "specific" appear only where a rule of the page's glossary
allows them. The page is one HTML file, from the templates in ``templates/``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import pandas as pd

from audio_neurons.ablation.clustered import FEWEST
from audio_neurons.report import ablations, acoustics, beside, cautions, expectations, ratios, specificity
from audio_neurons.report.answer import Answer, answer
from audio_neurons.report.layout import Section, embedded, figures_of, template
from audio_neurons.running.files import write_text

TEMPLATE = "findings.html.jinja"


def sections(found: Mapping, about: Mapping) -> list[Section]:
    """Return the sections of the page in the paper's order, from rows of tables."""
    return [
        specificity.section(found, about),
        *acoustics.sections(found, about),
        ratios.section(found, about),
        ablations.section(found, about),
        beside.section(found, about, expectations.parts(found["expectations"], about)),
        cautions.section(found, about),
    ]


def page(found: Mapping[str, pd.DataFrame], about: Mapping, figures: Mapping[str, str]) -> str:
    """Return the page as HTML that needs no other file; only links to tables lead out of it.

    Parameters
    ----------
    found
        Tables by name: ``clips`` (:mod:`~audio_neurons.report.conditions`), ``coverage``, ``sharing``,
        ``pairs`` (:mod:`~audio_neurons.report.summary`), ``differences``
        (:mod:`audio_neurons.inference.differences`), ``published``, ``ablation``, ``overlap``
        (:mod:`~audio_neurons.report.published`), ``expectations``
        (:mod:`~audio_neurons.report.expectations`), ``checks`` (:mod:`audio_neurons.recordings.checks`), and
        ``acoustics`` (:mod:`~audio_neurons.report.acoustics`) if they were measured.
    about
        ``models`` and ``tasks`` (mappings with ``name`` and ``title``; models also with ``kind`` and
        optionally ``note``), ``level``, ``confidence`` (of the ablation intervals), ``alpha``,
        ``equivalence``, ``draws``, ``replications``, ``count`` (of tokens), ``demo``, and ``left_out``:
        titles of tasks that could not be run.
    figures
        Paths of PNG files by the name of the figure; a figure that is not there is left out.
    """
    rows = {name: table.to_dict("records") for name, table in found.items()}
    levels = [f"{about[key]:.0%}".replace("%", " %") for key in ("level", "confidence")]
    return template(TEMPLATE).render(
        answer=answer(rows, about),
        caveat=cautions.caveat(about),
        foremost=cautions.foremost(rows, about),
        sections=sections(rows, about),
        figures={name: embedded(path) for name, path in figures.items()},
        level=levels[0] if levels[0] == levels[1] else f"{levels[0]} (those of ablation: {levels[1]})",
        alpha=f"{about['alpha']:g}",
        equivalence=f"{about['equivalence']:g}",
        fewest=FEWEST,
    )


def write(
    found: Mapping[str, pd.DataFrame], about: Mapping, figures: Sequence[str], html: str | os.PathLike
) -> None:
    """Write the page, with the figures at these paths (``.../figures/NAME.png``)."""
    text = page(found, about, figures_of(figures))
    write_text(html, text)


def answered(found: Mapping[str, pd.DataFrame], about: Mapping) -> Answer:
    """Return the answer at the top of the page, from tables."""
    return answer({name: table.to_dict("records") for name, table in found.items()}, about)
