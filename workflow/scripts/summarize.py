"""What was found: a page in words, and a few lines for the terminal."""

import json
from pathlib import Path

from audio_neurons import runtime

runtime.start(snakemake.log[0], snakemake.threads)

from audio_neurons import findings, summary, tables

about = json.loads(snakemake.params.about)
found = {name: tables.read_frame(path) for name, path in snakemake.input.items()}
findings.write(found, about, snakemake.output.text, snakemake.output.html)
more = f"What may be said of it, and by which rules: {Path(snakemake.output.html).name}, beside this file"
summary.write_text(
    found["coverage"],
    found["sharing"],
    snakemake.output.summary,
    demo=about["demo"],
    notes=snakemake.params.notes,
    more=more,
)
