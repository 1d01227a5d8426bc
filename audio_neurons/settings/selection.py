"""How neurons are chosen: ``selection`` of the configuration."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Literal, get_args

from pydantic import Field

from audio_neurons.settings.section import Name, Section, Share, unknown

Measure = Literal["aape", "lap", "mad", "probeless", "f1", "iou", "pearson", "auroc"]
Preset = Literal[
    "aape", "aape-bottom5", "aape-text", "lape", "lap", "mad", "probeless", "f1", "iou", "pearson", "auroc"
]


class Rule(Section):
    """How neurons are chosen, and every number in it."""

    measure: Measure = "aape"
    """The three filters of AAPE, or a measure that ranks neurons for each class and keeps the top_share."""
    response_filter: Literal["percentile", "weakest"] = "percentile"
    """Candidates are neurons above the response percentile (LAPE's), or all but the weakest share."""
    response_percentile: Share = 0.95
    """Order statistic of all probabilities that some class must exceed."""
    weakest_share: Annotated[float, Field(ge=0, lt=1)] = 0.05
    """Share of neurons that are dropped as the weakest, by `weakest_by`."""
    weakest_by: Literal["highest", "mean"] = "highest"
    """A neuron is as weak as its highest probability, or the mean of its probabilities over the classes."""
    top_share: Share = 0.01
    """Neurons that are chosen, as a share of all; by a ranking, for each class."""
    assignment_percentile: Share = 0.95
    """Order statistic of probabilities above which a neuron is specific to a class."""
    assignment_within: Literal["all", "class"] = "all"
    """That order statistic is one of all probabilities, or each class's own, of the chosen neurons."""
    weights: Literal["tokens", "groups"] = "tokens"
    """A class's probability is over all its tokens, or the mean over its groups, all of equal weight."""
    fill: bool = False
    """As LAPE's code, choose the full number even where fewer neurons are candidates; true for lape."""


PRESETS: dict[str, Rule] = {
    "aape": Rule(),
    "aape-bottom5": Rule(response_filter="weakest"),
    "aape-text": Rule(response_filter="weakest", weakest_by="mean", assignment_within="class"),
    "lape": Rule(fill=True),
    **{measure: Rule(measure=measure) for measure in get_args(Measure) if measure != "aape"},
}


def rule_of(preset: str, changes: Mapping[str, object]) -> Rule:
    """Return a preset with some of its settings changed; other keys of ``changes`` are ignored."""
    given = {name: value for name, value in changes.items() if name in Rule.model_fields}
    return Rule(**{**PRESETS[preset].dump(), **given})


class Selector(Rule):
    """Changes to a preset; settings that are not given are the preset's."""

    preset: Preset | None = None
    """Rule that the other keys change; by default the selector's name."""

    def rule(self, **changes: object) -> Rule:
        """Return the preset, changed by ``changes``, then by the settings that were given."""
        assert self.preset is not None
        given = {name: getattr(self, name) for name in self.model_fields_set}
        return rule_of(self.preset, {**changes, **given})


class Selection(Section):
    """How neurons are chosen."""

    statistics_split: Literal["train", "all"] = "train"
    """Split whose clips select neurons; all makes an ablation scored on test circular."""
    selector: str = "aape"
    """The selector whose neurons figures and tables show."""
    selectors: Annotated[dict[Name, Selector], Field(json_schema_extra={"default": {"aape": {}}})] = {
        "aape": Selector()
    }
    """Selectors by name; a name that is a preset needs no more."""

    def contradictions(self) -> Iterator[tuple[str, str]]:
        yield from unknown("selector", self.selector, self.selectors, "selector")
        for name, selector in self.selectors.items():
            if selector.preset is None and name not in PRESETS:
                yield f"selectors.{name}", f"needs a preset; there are {', '.join(PRESETS)}"
