"""Models that are trained here, and what they are trained on."""


rule make_pool:
    output:
        "results/pools/{pool}.parquet",
    log:
        "logs/make_pool/{pool}.log",
    benchmark:
        "logs/benchmarks/make_pool/{pool}.tsv"
    wildcard_constraints:
        pool=any_of(pools_of("made")),
    # What everything waits for goes first.
    priority: 20
    conda:
        "../../envs/demo.yaml"
    params:
        clips=partial(of_pool, "clips"),
        seconds=partial(of_pool, "clip_seconds"),
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
        model=any_of(trained_on("made")),
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


rule find_audioset:
    output:
        recordings="results/pools/{pool}/recordings.parquet",
        missing="results/pools/{pool}/missing.parquet",
    log:
        "logs/find_audioset/{pool}.log",
    benchmark:
        "logs/benchmarks/find_audioset/{pool}.tsv"
    wildcard_constraints:
        pool=any_of(pools_of("audioset")),
    conda:
        "../../envs/audio-neurons.yaml"
    # Not the folder: the same clips elsewhere are the same clips.
    params:
        train=partial(of_audioset, "train"),
        code=code_digest("training.audioset"),
    message:
        "Find the clips of {wildcards.pool}"
    script:
        "../scripts/find_audioset.py"


rule pack_audioset:
    input:
        "results/pools/{pool}/recordings.parquet",
    output:
        part="results/pools/{pool}/part-{shard}.arrow",
        rejected="results/pools/{pool}/rejected-{shard}.parquet",
    log:
        "logs/pack_audioset/{pool}/{shard}.log",
    benchmark:
        "logs/benchmarks/pack_audioset/{pool}/{shard}.tsv"
    wildcard_constraints:
        pool=any_of(pools_of("audioset")),
    conda:
        "../../envs/audio-neurons.yaml"
    params:
        shards=partial(of_audioset, "shards"),
        code=code_digest("training.audioset"),
    message:
        "Pack the clips of {wildcards.pool}, shard {wildcards.shard}"
    script:
        "../scripts/pack_audioset.py"


# Its state is kept in checkpoint.pt, no output, which Snakemake therefore leaves alone.
rule train_audioset:
    input:
        training_pool,
    output:
        weights="results/training/{model}/model.safetensors",
        log="results/training/{model}/log.parquet",
        evaluation="results/training/{model}/evaluation.parquet",
    log:
        "logs/train/{model}.log",
    benchmark:
        "logs/benchmarks/train/{model}.tsv"
    wildcard_constraints:
        model=any_of(trained_on("audioset")),
    priority: 10
    conda:
        "../../envs/audio-neurons.yaml"
    threads: training_threads
    resources:
        gpu=training_gpus,
    params:
        model=trained_model,
        device=config["extraction"]["device"],
        code=code_digest("training", "training.loop"),
    message:
        "Train {wildcards.model} on AudioSet"
    script:
        "../scripts/train_audioset.py"
