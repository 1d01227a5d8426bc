"""One forward pass per model, dataset and shard; shards merge by addition."""


rule estimate_medians:
    input:
        clips=dataset_clips,
        weights=weights,
    output:
        "results/medians/{model}/{dataset}.parquet",
    log:
        "logs/estimate_medians/{model}/{dataset}.log",
    benchmark:
        "logs/benchmarks/estimate_medians/{model}/{dataset}.tsv"
    conda:
        "../../envs/audio-neurons.yaml"
    threads: extraction_threads
    resources:
        gpu=gpus,
    params:
        model=architecture,
        settings=median_settings,
        device=config["extraction"]["device"],
        code=partial(encoder_code, "medians"),
    message:
        "Find the medians of {wildcards.model} on {wildcards.dataset}"
    script:
        "../scripts/estimate_medians.py"


rule extract:
    input:
        clips="results/clips/{dataset}/part-{shard}.parquet",
        weights=weights,
        medians=medians,
    output:
        **shard_outputs(),
    log:
        "logs/extract/{model}/{dataset}/{shard}.log",
    benchmark:
        "logs/benchmarks/extract/{model}/{dataset}/{shard}.tsv"
    conda:
        "../../envs/audio-neurons.yaml"
    threads: extraction_threads
    resources:
        gpu=gpus,
    params:
        model=architecture,
        settings=extraction_settings,
        device=config["extraction"]["device"],
        code=partial(encoder_code, "extraction"),
    message:
        "Run {wildcards.model} over {wildcards.dataset}, shard {wildcards.shard}"
    script:
        "../scripts/extract.py"


rule merge:
    input:
        unpack(statistics_of_shards),
    output:
        cells="results/statistics/{model}/{dataset}/cells.parquet",
        counts="results/statistics/{model}/{dataset}/counts.parquet",
        units="results/statistics/{model}/{dataset}/units.parquet",
        top_clips="results/statistics/{model}/{dataset}/top_clips.parquet",
    log:
        "logs/merge/{model}/{dataset}.log",
    benchmark:
        "logs/benchmarks/merge/{model}/{dataset}.tsv"
    conda:
        "../../envs/audio-neurons.yaml"
    params:
        top_clips=config["extraction"]["top_clips"],
        code=code_digest("units"),
    message:
        "Add up the statistics of {wildcards.model} on {wildcards.dataset}"
    script:
        "../scripts/merge.py"
