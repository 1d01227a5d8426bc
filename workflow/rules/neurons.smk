"""Class-specific neurons of each task, and how many of them classes share."""


rule select:
    input:
        unpack(task_statistics),
    output:
        neurons="results/neurons/{model}/{task}/{selector}.parquet",
        classes="results/classes/{model}/{task}/{selector}.parquet",
    log:
        "logs/select/{model}/{task}/{selector}.log",
    benchmark:
        "logs/benchmarks/select/{model}/{task}/{selector}.tsv"
    conda:
        "../../envs/audio-neurons.yaml"
    params:
        label=task_label,
        splits=counted_splits(),
        rule=selection_rule,
        code=code_digest("selection"),
    message:
        "Select the neurons of {wildcards.model} for {wildcards.task}"
    script:
        "../scripts/select.py"


rule compare:
    input:
        compared_neurons,
    output:
        "results/sharing/{model}/{comparison}/{selector}.parquet",
    log:
        "logs/compare/{model}/{comparison}/{selector}.log",
    benchmark:
        "logs/benchmarks/compare/{model}/{comparison}/{selector}.tsv"
    conda:
        "../../envs/audio-neurons.yaml"
    params:
        pairs=compared_pairs,
        code=code_digest("sharing"),
    message:
        "Compare the classes of {wildcards.comparison} in {wildcards.model}"
    script:
        "../scripts/compare.py"
