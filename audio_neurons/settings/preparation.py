"""From archives to clips: ``download`` and ``preparation`` of the configuration."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from audio_neurons.settings.section import FREE, Count, Fraction, Seconds, Section, Text


class Download(Section):
    """How archives and weights are fetched; no setting here re-runs anything."""

    archives: Annotated[Text, FREE] = "resources/by_hand"
    """Folder of files fetched by hand, here or in a folder of the dataset's or model's name in it; verified
    and linked."""
    mirror: Annotated[dict[str, str], FREE] = {}
    """URL prefix: another prefix, tried before the URL itself."""
    retries: Annotated[int, Field(ge=0), FREE] = 4
    """Further attempts per URL after an interruption."""
    parallel: Annotated[Count, FREE] = 8
    """Small files fetched at a time by one job (CREMA-D, VoxForge)."""
    max_missing: Annotated[Fraction, FREE] = 0.01
    """Share of a batch of small files that may be unavailable."""


class Preparation(Section):
    """From archives to clips."""

    max_rejected: Annotated[Fraction, FREE] = 0.01
    """Largest share of recordings that may be unusable before the run stops."""
    max_seconds: Seconds = 60
    """Longer recordings are stored from their start up to this length."""
