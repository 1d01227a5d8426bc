"""Linear probes, and whether they need the chosen neurons."""


rule probe:
    input:
        clips=task_clips,
        embeddings=task_embeddings,
    output:
        weights="results/probes/{model}/{task}.safetensors",
        table="results/probes/{model}/{task}.parquet",
    log:
        "logs/probe/{model}/{task}.log",
    benchmark:
        "logs/benchmarks/probe/{model}/{task}.tsv"
    conda:
        "../../envs/audio-neurons.yaml"
    params:
        label=task_label,
        settings=probe_settings(),
        code=code_digest("probes"),
    message:
        "Train linear probes of {wildcards.model} for {wildcards.task}"
    script:
        "../scripts/probe.py"


rule ablate:
    input:
        clips=task_clips,
        weights=weights,
        probe="results/probes/{model}/{task}.safetensors",
        neurons="results/neurons/{model}/{task}/{selector}.parquet",
        lists=ablated_list_files,
    output:
        **ablation_outputs(),
    log:
        "logs/ablate/{model}/{task}/{selector}.log",
    benchmark:
        "logs/benchmarks/ablate/{model}/{task}/{selector}.tsv"
    conda:
        "../../envs/audio-neurons.yaml"
    threads: extraction_threads
    resources:
        gpu=gpus,
    params:
        model=architecture,
        device=config["extraction"]["device"],
        study=study,
        sets=ablated_sets,
        settings=ablation_settings(),
        selection_split=config["selection"]["statistics_split"],
        code=partial(encoder_code, "ablation"),
    message:
        "Ablate the neurons of {wildcards.model} for {wildcards.task}"
    script:
        "../scripts/ablate.py"


rule screen:
    input:
        clips=task_clips,
        weights=weights,
        probe="results/probes/{model}/{task}.safetensors",
    output:
        screening="results/screening/{model}/{task}.parquet",
        check="results/screening_check/{model}/{task}.parquet",
    log:
        "logs/screen/{model}/{task}.log",
    benchmark:
        "logs/benchmarks/screen/{model}/{task}.tsv"
    conda:
        "../../envs/audio-neurons.yaml"
    threads: extraction_threads
    resources:
        gpu=gpus,
    params:
        model=architecture,
        device=config["extraction"]["device"],
        study=screening_study,
        settings=screening_settings(),
        code=partial(encoder_code, "screening"),
    message:
        "Screen the neurons of {wildcards.model} for {wildcards.task}"
    script:
        "../scripts/screen.py"
