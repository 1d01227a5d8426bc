"""Models that are trained here, and what they are trained on."""


rule make_pool:
    output:
        "results/pools/{pool}.parquet",
    log:
        "logs/make_pool/{pool}.log",
    benchmark:
        "logs/benchmarks/make_pool/{pool}.tsv"
    wildcard_constraints:
        pool=any_of(config["pools"]),
    # What everything waits for goes first.
    priority: 20
    conda:
        "../../envs/demo.yaml"
    params:
        clips=pool_clips,
        seconds=pool_seconds,
        seed=config["seed"],
        code=code_digest("synthesis"),
    message:
        "Make the training recordings {wildcards.pool}"
    script:
        "../scripts/make_pool.py"


rule train:
    input:
        training_pool,
    output:
        weights="results/training/{model}/model.safetensors",
        log="results/training/{model}/log.parquet",
    log:
        "logs/train/{model}.log",
    benchmark:
        "logs/benchmarks/train/{model}.tsv"
    wildcard_constraints:
        model=any_of(with_weights("training")),
    priority: 10
    conda:
        "../../envs/audio-neurons.yaml"
    resources:
        gpu=gpus,
    params:
        model=trained_model,
        device=config["extraction"]["device"],
        code=code_digest("training", "training.loop"),
    message:
        "Train {wildcards.model}"
    script:
        "../scripts/train.py"
