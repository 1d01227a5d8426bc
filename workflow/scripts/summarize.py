"""Write the findings as a page, and a short summary for the terminal."""

import json
from pathlib import Path

from audio_neurons.running import runtime

runtime.start(snakemake.log[0], snakemake.threads)

from audio_neurons import tables
from audio_neurons.report import findings, recordings, summary

about = json.loads(snakemake.params.about)
given = dict(snakemake.input.items())
figures = list(given.pop("figures"))
found = {"checks": tables.read_all(given.pop("checks"), "checks")}
found |= {name: tables.read_frame(path) for name, path in given.items()}
findings.write(found, about, figures, snakemake.output.html)
more = f"What may be said of it, with figures: {Path(snakemake.output.html).name}, beside this file"
summary.write_text(
    found["coverage"],
    found["sharing"],
    snakemake.output.summary,
    demo=about["demo"],
    notes=[*snakemake.params.notes, *recordings.warnings(found["checks"].to_dict("records"))],
    more=more,
    answers=[f"{said.lead} {said.text}" for said in findings.answered(found, about).sentences],
)
