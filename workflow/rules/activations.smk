"""One forward pass per model, dataset and shard; the shards' statistics are added up."""


rule list_networks:
    input:
        weights=weights,
    output:
        paths.NETWORKS,
    log:
        "logs/list_networks/{model}.log",
    benchmark:
        "logs/benchmarks/list_networks/{model}.tsv"
    conda:
        "../../envs/audio-neurons.yaml"
    params:
        model=study.models.architecture,
        weights=study.models.weights_content,
        code=partial(study.models.code, "models.networks"),
    message:
        "List the feed-forward networks of {wildcards.model}"
    script:
        "../scripts/list_networks.py"


rule measure_norm_stats:
    input:
        clips=study.tasks.dataset_clips,
        weights=weights,
    output:
        paths.NORM_STATS,
    log:
        "logs/measure_norm_stats/{model}/{dataset}.log",
    benchmark:
        "logs/benchmarks/measure_norm_stats/{model}/{dataset}.tsv"
    conda:
        "../../envs/audio-neurons.yaml"
    params:
        model=study.models.architecture,
        clip_seconds=study.tasks.clip_seconds,
        weights=study.models.weights_content,
        code=partial(study.models.code, "activations.normalisation"),
    message:
        "Measure the spectrograms of {wildcards.dataset} for {wildcards.model}"
    script:
        "../scripts/measure_norm_stats.py"


rule estimate_medians:
    input:
        clips=study.tasks.dataset_clips,
        weights=weights,
        norm_stats=study.tasks.norm_stats,
    output:
        paths.MEDIANS,
    log:
        "logs/estimate_medians/{model}/{dataset}.log",
    benchmark:
        "logs/benchmarks/estimate_medians/{model}/{dataset}.tsv"
    conda:
        "../../envs/audio-neurons.yaml"
    threads: study.models.threads
    resources:
        gpu=study.models.gpus,
    params:
        model=study.models.architecture,
        settings=study.tasks.median_pass,
        sample=study.tasks.median_sample,
        device=study.config.extraction.device,
        weights=study.models.weights_content,
        code=partial(study.models.code, "activations.medians"),
    message:
        "Estimate the medians of {wildcards.model} on {wildcards.dataset}"
    script:
        "../scripts/estimate_medians.py"


rule extract:
    input:
        clips=study.tasks.shard_clips,
        weights=weights,
        norm_stats=study.tasks.norm_stats,
        medians=study.tasks.medians,
    output:
        **study.tasks.shard_outputs(),
    log:
        "logs/extract/{model}/{dataset}/{shard}.log",
    benchmark:
        "logs/benchmarks/extract/{model}/{dataset}/{shard}.tsv"
    wildcard_constraints:
        model=any_of(study.models.alone),
    conda:
        "../../envs/audio-neurons.yaml"
    threads: study.models.threads
    resources:
        gpu=study.models.gpus,
    params:
        model=study.models.architecture,
        settings=study.tasks.passes,
        device=study.config.extraction.device,
        weights=study.models.weights_content,
        code=partial(study.models.code, "activations.extraction"),
    message:
        "Run {wildcards.model} over {wildcards.dataset}, shard {wildcards.shard}"
    script:
        "../scripts/extract.py"


# With extraction.together: its inputs and outputs are those of `extract`, numbered by model.
if study.models.together:

    rule extract_together:
        input:
            **study.models.named(
                {
                    "weights": weights,
                    "norm_stats": study.tasks.norm_stats,
                    "medians": study.tasks.medians,
                }
            ),
            clips=study.tasks.clips_together,
        output:
            **study.tasks.outputs_together(study.tasks.shard_outputs()),
        log:
            "logs/extract_together/{dataset}/{shard}.log",
        benchmark:
            "logs/benchmarks/extract_together/{dataset}/{shard}.tsv"
        conda:
            "../../envs/audio-neurons.yaml"
        threads: study.models.threads
        resources:
            gpu=study.models.gpus,
        params:
            names=study.models.together,
            models=study.models.of_each(study.models.architecture),
            settings=study.tasks.passes,
            device=study.config.extraction.device,
            weights=study.models.of_each(study.models.weights_content),
            code=study.models.of_each(partial(study.models.code, "activations.extraction")),
        message:
            "Run all models over {wildcards.dataset}, shard {wildcards.shard}"
        script:
            "../scripts/extract_together.py"


rule merge:
    input:
        unpack(study.tasks.statistics_of_shards),
    output:
        **{name: paths.fill(paths.STATISTICS, table=name) for name in paths.SHARD_TABLES},
    log:
        "logs/merge/{model}/{dataset}.log",
    benchmark:
        "logs/benchmarks/merge/{model}/{dataset}.tsv"
    conda:
        "../../envs/audio-neurons.yaml"
    params:
        top_clips=study.config.extraction.top_clips,
        code=code_digest("activations.units"),
    message:
        "Merge the statistics of {wildcards.model} on {wildcards.dataset}"
    script:
        "../scripts/merge.py"


# With extraction.acoustics.
rule correlate:
    input:
        study.tasks.acoustic_sums,
    output:
        paths.fill(paths.STATISTICS, table="correlations"),
    log:
        "logs/correlate/{model}/{dataset}.log",
    benchmark:
        "logs/benchmarks/correlate/{model}/{dataset}.tsv"
    conda:
        "../../envs/audio-neurons.yaml"
    params:
        code=code_digest("activations.correlations"),
    message:
        "Correlate the neurons of {wildcards.model} with the acoustics of {wildcards.dataset}"
    script:
        "../scripts/correlate.py"
