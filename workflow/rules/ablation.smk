"""Linear probes, and the ablation and screening of neurons."""


rule probe:
    input:
        clips=study.tasks.clips,
        embeddings=study.tasks.embeddings,
    output:
        weights=paths.fill(paths.PROBES, kind="safetensors"),
        table=paths.fill(paths.PROBES, kind="parquet"),
    log:
        "logs/probe/{model}/{task}.log",
    benchmark:
        "logs/benchmarks/probe/{model}/{task}.tsv"
    conda:
        "../../envs/audio-neurons.yaml"
    params:
        label=study.tasks.label,
        settings=study.tasks.probe(),
        code=code_digest("ablation.probes"),
    message:
        "Train linear probes of {wildcards.model} for {wildcards.task}"
    script:
        "../scripts/probe.py"


ABLATED_FROM = {
    "clips": study.tasks.clips,
    "weights": weights,
    "norm_stats": study.tasks.norm_stats,
    "probe": paths.fill(paths.PROBES, kind="safetensors"),
    "neurons": paths.fill(paths.OF_TASK, table="neurons"),
    "lists": study.tasks.list_files,
}


# One rule for one job and for several, whose tables it joins: results, and what Snakemake records of them, are
# the same. Nor does it compare `parts`, since it is a function of `input`.
rule ablate:
    input:
        **ABLATED_FROM,
        parts=study.tasks.all_ablation_parts,
    output:
        **study.tasks.ablation_outputs(),
    log:
        "logs/ablate/{model}/{task}/{selector}.log",
    benchmark:
        "logs/benchmarks/ablate/{model}/{task}/{selector}.tsv"
    conda:
        "../../envs/audio-neurons.yaml"
    threads: study.tasks.ablation_threads
    resources:
        gpu=study.tasks.ablation_gpus,
    params:
        model=study.models.architecture,
        device=study.config.extraction.device,
        clips=study.tasks.effects_on,
        sets=study.tasks.sets,
        settings=study.tasks.conditions(),
        selection_split=study.config.selection.statistics_split,
        parts=lambda wildcards, input: study.tasks.ablation_parts(wildcards),
        weights=study.models.weights_content,
        code=partial(study.models.code, "ablation.ablation"),
    message:
        "Ablate the neurons of {wildcards.model} for {wildcards.task}"
    script:
        "../scripts/ablate.py"


use rule ablate as ablate_part with:
    input:
        **ABLATED_FROM,
    output:
        **study.tasks.ablation_outputs(paths.ABLATION_PART),
    log:
        "logs/ablate_part/{model}/{task}/{selector}/{part}.log",
    benchmark:
        "logs/benchmarks/ablate_part/{model}/{task}/{selector}/{part}.tsv"
    threads: study.models.threads
    resources:
        gpu=study.models.gpus,
    message:
        "Ablate the neurons of {wildcards.model} for {wildcards.task}, part {wildcards.part}"


rule screen:
    input:
        clips=study.tasks.clips,
        weights=weights,
        norm_stats=study.tasks.norm_stats,
        probe=paths.fill(paths.PROBES, kind="safetensors"),
    output:
        screening=paths.fill(paths.SCREENING, table="screening"),
        check=paths.fill(paths.SCREENING, table="screening_check"),
    log:
        "logs/screen/{model}/{task}.log",
    benchmark:
        "logs/benchmarks/screen/{model}/{task}.tsv"
    conda:
        "../../envs/audio-neurons.yaml"
    threads: study.models.threads
    resources:
        gpu=study.models.gpus,
    params:
        model=study.models.architecture,
        device=study.config.extraction.device,
        clips=study.tasks.screened_on,
        settings=study.tasks.screening(),
        weights=study.models.weights_content,
        code=partial(study.models.code, "ablation.screening"),
    message:
        "Screen the neurons of {wildcards.model} for {wildcards.task}"
    script:
        "../scripts/screen.py"
