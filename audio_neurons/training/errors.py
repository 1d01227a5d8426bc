"""Exception of this package."""


class TrainingError(ValueError):
    """Training cannot start or continue; the message says what to change."""
