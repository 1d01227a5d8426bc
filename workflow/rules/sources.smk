"""Archives and weights: fetched, or made here."""

MADE_HERE = [name for name in DATASETS if made_here(name)]
FETCHED = [name for name in DATASETS if not made_here(name)]


rule download_archive:
    output:
        "resources/archives/{dataset}/{file}",
    log:
        "logs/download_archive/{dataset}/{file}.log",
    benchmark:
        "logs/benchmarks/download_archive/{dataset}/{file}.tsv"
    wildcard_constraints:
        dataset=any_of(FETCHED),
        file=r"[^/]+",
    conda:
        "../../envs/audio-neurons.yaml"
    params:
        archive=archive_facts,
    message:
        "Download {wildcards.file} of {wildcards.dataset}"
    script:
        "../scripts/download_archive.py"


rule download_weights:
    output:
        "resources/weights/{model}/{file}",
    log:
        "logs/download_weights/{model}/{file}.log",
    benchmark:
        "logs/benchmarks/download_weights/{model}/{file}.tsv"
    wildcard_constraints:
        model=any_of(with_weights("checkpoint")),
        file=r".+",
    conda:
        "../../envs/audio-neurons.yaml"
    params:
        weights=weights_facts,
    message:
        "Download the weights of {wildcards.model}"
    script:
        "../scripts/download_weights.py"


for _dataset in MADE_HERE:

    rule:
        name:
            f"synthesize_{_dataset}"
        output:
            **archive_paths(_dataset),
        log:
            f"logs/synthesize/{_dataset}.log",
        benchmark:
            f"logs/benchmarks/synthesize/{_dataset}.tsv"
        conda:
            "../../envs/demo.yaml"
        params:
            adapter=DATASETS[_dataset]["adapter"],
            clips=DATASETS[_dataset]["synthesis"]["clips"],
            seconds=clip_seconds(_dataset),
            seed=config["seed"],
            code=code_digest("synthesis"),
        message:
            f"Make the recordings of {_dataset}"
        script:
            "../scripts/synthesize.py"
