"""Whether probes need the chosen neurons: ``ablation`` of the configuration."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from audio_neurons.settings.section import FREE, Count, Name, Probability, Section, Seed

UNIQUE = Field(json_schema_extra={"uniqueItems": True})


class NeuronList(Section):
    """Neurons of your own, or published ones."""

    file: str | None = None
    """CSV with columns layer and neuron, from 0."""
    published: str | None = None
    """Instead of file: name of a CSV under resources/published/neurons."""
    classes: list[str] = []
    """Classes on which it should have an effect."""
    models: Annotated[list[str], Field(min_length=1)] | None = None
    """Models that it fits; by default all that are ablated."""


class AblatedTask(Section):
    """What is ablated in one task."""

    models: Annotated[list[str], Field(min_length=1)] | None = None
    """Names under `models`; by default all."""
    classes: Annotated[list[str], UNIQUE] | None = None
    """Classes whose specific neurons are ablated; by default every one."""
    shared: Annotated[list[Annotated[list[str], Field(min_length=2), UNIQUE]], UNIQUE] = []
    """Classes whose common neurons are ablated, and those common to exactly them."""
    lists: dict[Name, NeuronList] = {}
    """Neurons of your own, or published ones."""

    def contradictions(self) -> Iterator[tuple[str, str]]:
        for name, one in self.lists.items():
            if (one.file is None) == (one.published is None):
                yield f"lists.{name}", "needs either file or published"


class Conditions(Section):
    """The conditions that are run for every set of neurons, and the intervals of their effects."""

    gains: Annotated[tuple[float, ...], Field(min_length=1, json_schema_extra={"uniqueItems": True})] = (0,)
    """Activations a become r + gain (a - r): 0 ablates, 0.5 weakens, 2 strengthens."""
    replacements: Annotated[
        tuple[Literal["zero", "mean", "resample"], ...],
        Field(min_length=1, json_schema_extra={"uniqueItems": True}),
    ] = ("zero", "mean")
    """What r is: 0 (the paper's), the mean over training clips, by which effects are called, or the
    activation in another training clip."""
    random: Annotated[int, Field(ge=0)] = 100
    """Most random control sets per set, matched in number per layer and response; 0 draws none."""
    stop_after: Annotated[int, Field(ge=0)] = 10
    """Random sets that do as much harm after which no more are drawn; 0 draws all. At least
    findings.alpha times random calls the same effects as all."""
    random_at: Literal["call", "all"] = "call"
    """Whether random sets run only at the gain and replacement by which effects are called, or at all."""
    bins: Count = 10
    """Parts of a layer, by response, within which random sets match; the strongest is four parts."""
    match: Literal["targets", "all"] = "targets"
    """Whether random sets match the response to the classes that a set should affect, or the mean of all."""
    shifted: bool = True
    """Also run the paper's control, every index + 1, at the gain nearest to 0."""
    donors: Count = 256
    """Training clips that resample draws from."""
    bootstrap: Annotated[int, Field(ge=0)] = 1000
    """Resamples of groups for intervals of the change of log-probability; 0 gives none."""
    confidence: Probability = 0.95
    """Probability that these intervals are meant to cover."""
    seed: Seed = 0
    """Seed of random sets, donors and intervals."""


class Screening(Section):
    """First-order estimates of zeroing each neuron (results/screening)."""

    split: Annotated[Literal["train", "valid", "test"], FREE] = "test"
    """Split whose clips are used; choose neurons by estimates of train only."""
    sample: Annotated[int, Field(ge=3)] = 60
    """Neurons that are also ablated one by one, to check the estimates."""


class Ablation(Conditions):
    """Whether probes need the chosen neurons (results/ablation)."""

    tasks: Annotated[dict[Name, AblatedTask], FREE] = {}
    """What is ablated, by name under `tasks`."""
    clips: Annotated[bool, FREE] = True
    """Also keep what becomes of every clip under every set (results/ablation_clips)."""
    jobs: Annotated[Count, FREE] = 1
    """Jobs of each model and task, among which the sets of neurons are divided; results are the same for any
    number. docs/cluster.md says how to change it when some are finished."""
    screening: Annotated[Screening, FREE] = Screening()
    """First-order estimates of zeroing each neuron (results/screening)."""
