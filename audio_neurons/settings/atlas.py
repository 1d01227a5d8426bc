"""The atlas: ``atlas`` of the configuration."""

from __future__ import annotations

from typing import Annotated

from audio_neurons.settings.section import FREE, NULLABLE, Count, Name, Section, Seed


class Examples(Section):
    """Which clips stand for a neuron beside the strongest ones."""

    clips: Count = 256
    """Clips that are drawn from every dataset, all of them if there are fewer; a neuron's random clips are
    among these."""
    seed: Seed = 0
    """Seed of the draw."""


class Atlas(Examples):
    """Pages on which neurons are seen and heard (results/atlas)."""

    make: Annotated[bool, FREE] = True
    """Make the atlas in a run; false leaves out its pages and the forward passes for them."""
    sounds: Count = 1000
    """Excerpts of sound that are kept of every dataset; those that most neurons show come first."""
    audio: Annotated[list[Name] | None, NULLABLE] = None
    """Datasets whose sounds may be passed on; null goes by each dataset's licence. The others are heard where
    the atlas was made, and are not in the folder that is passed on."""

    @property
    def examples(self) -> Examples:
        return Examples(clips=self.clips, seed=self.seed)
