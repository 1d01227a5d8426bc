"""What a GPU makes of extraction, ablation and training, measured in ten minutes by ``make bench-gpu``."""
