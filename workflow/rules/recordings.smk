"""Preparation of clips from archives: mono with labels, splits and groups, in shards, per sampling rate."""

for _dataset, _rate in study.datasets.stored:

    rule:
        name:
            study.datasets.named(f"prepare_{_dataset}", _rate)
        input:
            **study.datasets.archive_inputs(_dataset, ancient),
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
        threads: study.datasets.threads(_dataset)
        params:
            adapter=study.datasets.adapter(_dataset),
            settings=partial(study.datasets.preparation, _dataset),
            content=without_traceback(partial(study.datasets.content, _dataset)),
            rate=_rate,
            # Snakemake does not notice a smaller number of outputs.
            shards=len(study.datasets.shards(_dataset)),
            code=code_digest("recordings.preparation", f"datasets.{study.datasets.adapter(_dataset)}"),
        message:
            f"Prepare the clips of {_dataset} at {_rate} Hz"
        script:
            "../scripts/prepare.py"


for _dataset in dict.fromkeys(name for name, _ in study.datasets.stored):

    # Before all else, so that what is wrong with recordings is told at the beginning of a run.
    rule:
        name:
            f"check_{_dataset}"
        input:
            **study.datasets.archive_inputs(_dataset, ancient),
        output:
            facts=paths.fill(paths.FACTS, dataset=_dataset),
            checks=paths.fill(paths.CHECKS, dataset=_dataset),
        log:
            f"logs/check/{_dataset}.log",
        benchmark:
            f"logs/benchmarks/check/{_dataset}.tsv"
        priority: 30
        conda:
            "../../envs/audio-neurons.yaml"
        threads: study.datasets.threads(_dataset)
        params:
            adapter=study.datasets.adapter(_dataset),
            settings=partial(study.datasets.check, _dataset),
            content=without_traceback(partial(study.datasets.content, _dataset)),
            cache=study.datasets.facts_cache(_dataset),
            code=code_digest("recordings.checking", f"datasets.{study.datasets.adapter(_dataset)}"),
        message:
            f"Check the recordings of {_dataset}"
        script:
            "../scripts/check.py"


rule compare_recordings:
    input:
        study.tasks.compared_facts,
    output:
        paths.COMMON,
    log:
        "logs/compare_recordings/{comparison}.log",
    benchmark:
        "logs/benchmarks/compare_recordings/{comparison}.tsv"
    conda:
        "../../envs/audio-neurons.yaml"
    params:
        datasets=study.tasks.compared_datasets,
        code=code_digest("recordings.common"),
    message:
        "Look for recordings in both datasets of {wildcards.comparison}"
    script:
        "../scripts/compare_recordings.py"
