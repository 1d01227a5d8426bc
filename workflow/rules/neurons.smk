"""Selection of class-specific neurons for each task, and comparison of classes."""


rule select:
    input:
        unpack(study.tasks.task_statistics),
    output:
        neurons=paths.fill(paths.OF_TASK, table="neurons"),
        classes=paths.fill(paths.OF_TASK, table="classes"),
    log:
        "logs/select/{model}/{task}/{selector}.log",
    benchmark:
        "logs/benchmarks/select/{model}/{task}/{selector}.tsv"
    conda:
        "../../envs/audio-neurons.yaml"
    params:
        label=study.tasks.label,
        splits=study.tasks.splits(),
        rule=study.tasks.selection_rule,
        code=code_digest("neurons.selection"),
    message:
        "Select the neurons of {wildcards.model} for {wildcards.task}"
    script:
        "../scripts/select.py"


rule compare:
    input:
        study.tasks.compared_neurons,
    output:
        paths.fill(paths.OF_COMPARISON, table="sharing"),
    log:
        "logs/compare/{model}/{comparison}/{selector}.log",
    benchmark:
        "logs/benchmarks/compare/{model}/{comparison}/{selector}.tsv"
    conda:
        "../../envs/audio-neurons.yaml"
    params:
        pairs=study.tasks.pairs,
        code=code_digest("neurons.sharing"),
    message:
        "Compare the classes of {wildcards.comparison} in {wildcards.model}"
    script:
        "../scripts/compare.py"
