"""Training of models, and preparation of the AudioSet clips for it."""


rule train:
    input:
        study.models.training_pool,
    output:
        weights=paths.TRAINED,
        log=paths.fill(paths.TRAINING, table="log"),
    log:
        "logs/train/{model}.log",
    benchmark:
        "logs/benchmarks/train/{model}.tsv"
    wildcard_constraints:
        model=any_of(study.models.trained_on("made")),
    priority: 10
    conda:
        "../../envs/audio-neurons.yaml"
    resources:
        gpu=study.models.gpus,
    params:
        model=study.models.trained_model,
        device=study.config.extraction.device,
        code=code_digest("training.run", "training.loop"),
    message:
        "Train {wildcards.model}"
    script:
        "../scripts/train.py"


rule find_audioset:
    output:
        recordings=paths.fill(paths.POOL_TABLE, table="recordings"),
        missing=paths.fill(paths.POOL_TABLE, table="missing"),
    log:
        "logs/find_audioset/{pool}.log",
    benchmark:
        "logs/benchmarks/find_audioset/{pool}.tsv"
    wildcard_constraints:
        pool=any_of(study.models.pools("audioset")),
    conda:
        "../../envs/audio-neurons.yaml"
    # The folder is not a parameter: moving the clips does not change the result.
    params:
        train=study.models.audioset_lists,
        code=code_digest("training.audioset"),
    message:
        "Find the clips of {wildcards.pool}"
    script:
        "../scripts/find_audioset.py"


rule pack_audioset:
    input:
        paths.fill(paths.POOL_TABLE, table="recordings"),
    output:
        part=paths.POOL_PART,
        rejected=paths.fill(paths.POOL_TABLE, table="rejected-{shard}"),
    log:
        "logs/pack_audioset/{pool}/{shard}.log",
    benchmark:
        "logs/benchmarks/pack_audioset/{pool}/{shard}.tsv"
    wildcard_constraints:
        pool=any_of(study.models.pools("audioset")),
    conda:
        "../../envs/audio-neurons.yaml"
    params:
        shards=study.models.audioset_shards,
        code=code_digest("training.audioset"),
    message:
        "Pack the clips of {wildcards.pool}, shard {wildcards.shard}"
    script:
        "../scripts/pack_audioset.py"


# checkpoint.pt, the state of the training, is not an output, so that Snakemake does not delete it.
rule train_audioset:
    input:
        study.models.training_pool,
    output:
        weights=paths.TRAINED,
        log=paths.fill(paths.TRAINING, table="log"),
        evaluation=paths.fill(paths.TRAINING, table="evaluation"),
    log:
        "logs/train/{model}.log",
    benchmark:
        "logs/benchmarks/train/{model}.tsv"
    wildcard_constraints:
        model=any_of(study.models.trained_on("audioset")),
    priority: 10
    conda:
        "../../envs/audio-neurons.yaml"
    threads: study.models.training_threads
    resources:
        gpu=study.models.training_gpus,
    params:
        model=study.models.trained_model,
        device=study.config.extraction.device,
        code=code_digest("training.run", "training.loop"),
    message:
        "Train {wildcards.model} on AudioSet"
    script:
        "../scripts/train_audioset.py"
