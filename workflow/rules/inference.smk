"""How sure the choice of neurons is: permuted labels, resampled groups, halves."""


rule infer:
    input:
        units=task_units,
        neurons="results/neurons/{model}/{task}/{selector}.parquet",
    output:
        inference="results/inference/{model}/{task}/{selector}.parquet",
        stability="results/stability/{model}/{task}/{selector}.parquet",
        draws="results/draws/{model}/{task}/{selector}.parquet",
    log:
        "logs/infer/{model}/{task}/{selector}.log",
    benchmark:
        "logs/benchmarks/infer/{model}/{task}/{selector}.tsv"
    conda:
        "../../envs/audio-neurons.yaml"
    threads: 2
    params:
        label=task_label,
        splits=counted_splits(),
        rule=selection_rule,
        settings=inference_settings(),
        code=code_digest("inference"),
    message:
        "Resample the selection of {wildcards.model} for {wildcards.task}"
    script:
        "../scripts/infer.py"


rule infer_sharing:
    input:
        units=compared_units,
        neurons=compared_neurons,
    output:
        inference="results/sharing_inference/{model}/{comparison}/{selector}.parquet",
        draws="results/sharing_draws/{model}/{comparison}/{selector}.parquet",
    log:
        "logs/infer_sharing/{model}/{comparison}/{selector}.log",
    benchmark:
        "logs/benchmarks/infer_sharing/{model}/{comparison}/{selector}.tsv"
    conda:
        "../../envs/audio-neurons.yaml"
    threads: 2
    params:
        labels=compared_labels,
        splits=counted_splits(),
        rules=compared_rules,
        pairs=compared_pairs,
        settings=inference_settings(),
        code=code_digest("inference"),
    message:
        "Resample {wildcards.comparison} in {wildcards.model}"
    script:
        "../scripts/infer_sharing.py"
