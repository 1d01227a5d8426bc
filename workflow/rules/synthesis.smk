"""Synthetic recordings for the demo: archives of eight datasets, and a pool for training."""


rule make_pool:
    output:
        paths.POOL,
    log:
        "logs/make_pool/{pool}.log",
    benchmark:
        "logs/benchmarks/make_pool/{pool}.tsv"
    wildcard_constraints:
        pool=any_of(study.models.pools("made")),
    # Run this first: training and all later jobs wait for it.
    priority: 20
    conda:
        "../../envs/demo.yaml"
    params:
        clips=study.models.pool_clips,
        seconds=study.models.pool_seconds,
        seed=study.config.seed,
        code=code_digest("synthesis.making"),
    message:
        "Make the training recordings {wildcards.pool}"
    script:
        "../scripts/make_pool.py"


for _dataset in study.datasets.made_here:

    rule:
        name:
            f"synthesize_{_dataset}"
        output:
            **study.datasets.archives(_dataset),
        log:
            f"logs/synthesize/{_dataset}.log",
        benchmark:
            f"logs/benchmarks/synthesize/{_dataset}.tsv"
        conda:
            "../../envs/demo.yaml"
        params:
            **study.datasets.making(_dataset),
            record=paths.fill(paths.SYNTHESIS, dataset=_dataset),
            making=serialise(study.datasets.making(_dataset)),
        message:
            f"Make the recordings of {_dataset}"
        script:
            "../scripts/synthesize.py"
