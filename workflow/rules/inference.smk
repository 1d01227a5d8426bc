"""Uncertainty of the selection: permuted labels, resampled groups, halves."""


rule infer:
    input:
        unpack(study.tasks.inferred_from),
        neurons=paths.fill(paths.OF_TASK, table="neurons"),
    output:
        inference=paths.fill(paths.OF_TASK, table="inference"),
        stability=paths.fill(paths.OF_TASK, table="stability"),
        draws=paths.fill(paths.OF_TASK, table="draws"),
    log:
        "logs/infer/{model}/{task}/{selector}.log",
    benchmark:
        "logs/benchmarks/infer/{model}/{task}/{selector}.tsv"
    conda:
        "../../envs/audio-neurons.yaml"
    params:
        label=study.tasks.label,
        splits=study.tasks.splits(),
        rule=study.tasks.selection_rule,
        settings=study.tasks.inference(),
        code=code_digest("inference.inference"),
    message:
        "Resample the selection of {wildcards.model} for {wildcards.task}"
    script:
        "../scripts/infer.py"


rule infer_sharing:
    input:
        unpack(study.tasks.compared_from),
        neurons=study.tasks.compared_neurons,
    output:
        inference=paths.fill(paths.OF_COMPARISON, table="sharing_inference"),
        draws=paths.fill(paths.OF_COMPARISON, table="sharing_draws"),
        pairs=paths.fill(paths.OF_COMPARISON, table="pair_draws"),
    log:
        "logs/infer_sharing/{model}/{comparison}/{selector}.log",
    benchmark:
        "logs/benchmarks/infer_sharing/{model}/{comparison}/{selector}.tsv"
    conda:
        "../../envs/audio-neurons.yaml"
    params:
        labels=study.tasks.compared_labels,
        splits=study.tasks.splits(),
        rules=study.tasks.compared_rules,
        pairs=study.tasks.pairs,
        settings=study.tasks.inference(),
        code=code_digest("inference.sharing"),
    message:
        "Resample the comparison {wildcards.comparison} in {wildcards.model}"
    script:
        "../scripts/infer_sharing.py"


# With extraction.acoustics.
rule partial_out:
    input:
        unpack(study.tasks.partialled_from),
        neurons=paths.fill(paths.OF_TASK, table="neurons"),
    output:
        neurons=paths.fill(paths.OF_TASK, table="acoustic_neurons"),
        classes=paths.fill(paths.OF_TASK, table="acoustic_classes"),
    log:
        "logs/partial_out/{model}/{task}/{selector}.log",
    benchmark:
        "logs/benchmarks/partial_out/{model}/{task}/{selector}.tsv"
    conda:
        "../../envs/audio-neurons.yaml"
    params:
        label=study.tasks.label,
        splits=study.tasks.splits(),
        settings=study.tasks.partialling(),
        code=code_digest("inference.partialling"),
    message:
        "Partial acoustics out of what {wildcards.model} responds to in {wildcards.task}"
    script:
        "../scripts/partial_out.py"
