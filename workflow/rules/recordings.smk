"""Preparation of clips from archives: 16 kHz mono with labels, splits and groups, in shards."""

for _dataset in study.datasets:

    rule:
        name:
            f"prepare_{_dataset}"
        input:
            **study.datasets.archives(_dataset),
        output:
            parts=study.datasets.clips(_dataset),
            rejected=paths.fill(paths.REJECTED, dataset=_dataset),
            inventory=paths.fill(paths.INVENTORY, dataset=_dataset),
        log:
            f"logs/prepare/{_dataset}.log",
        benchmark:
            f"logs/benchmarks/prepare/{_dataset}.tsv"
        conda:
            "../../envs/audio-neurons.yaml"
        threads: 2
        params:
            adapter=study.datasets.adapter(_dataset),
            settings=partial(study.datasets.preparation, _dataset),
            listing=without_traceback(partial(study.datasets.own_files, _dataset)),
            # Snakemake does not notice a smaller number of outputs.
            shards=len(study.datasets.shards(_dataset)),
            code=code_digest("recordings.preparation", f"datasets.{study.datasets.adapter(_dataset)}"),
        message:
            f"Prepare the clips of {_dataset}"
        script:
            "../scripts/prepare.py"
