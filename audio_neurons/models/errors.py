"""Errors of this package."""


class ModelError(ValueError):
    """A model cannot be built from its configuration block and checkpoint."""
