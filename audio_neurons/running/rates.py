"""The sampling rate of clips for models that ask for no other; read where pandas must not be loaded."""

SAMPLE_RATE = 16_000  # Hz
