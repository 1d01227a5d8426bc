"""Preparation of clips from archives: mono with labels, splits and groups, in shards, per sampling rate."""

for _dataset, _rate in study.datasets.stored:

    rule:
        name:
            study.datasets.named(f"prepare_{_dataset}", _rate)
        input:
            **study.datasets.archives(_dataset),
        output:
            parts=study.datasets.clips(_dataset, _rate),
            rejected=study.datasets.at_rate(paths.REJECTED, _dataset, _rate),
            inventory=study.datasets.at_rate(paths.INVENTORY, _dataset, _rate),
        log:
            study.datasets.named(f"logs/prepare/{_dataset}", _rate) + ".log",
        benchmark:
            study.datasets.named(f"logs/benchmarks/prepare/{_dataset}", _rate) + ".tsv"
        conda:
            "../../envs/audio-neurons.yaml"
        threads: 2
        params:
            adapter=study.datasets.adapter(_dataset),
            settings=partial(study.datasets.preparation, _dataset),
            listing=without_traceback(partial(study.datasets.own_files, _dataset)),
            rate=_rate,
            # Snakemake does not notice a smaller number of outputs.
            shards=len(study.datasets.shards(_dataset)),
            code=code_digest("recordings.preparation", f"datasets.{study.datasets.adapter(_dataset)}"),
        message:
            f"Prepare the clips of {_dataset} at {_rate} Hz"
        script:
            "../scripts/prepare.py"
