"""Archives and weights: fetched, or made here."""


rule download_archive:
    output:
        "resources/archives/{dataset}/{file}",
    log:
        "logs/download_archive/{dataset}/{file}.log",
    benchmark:
        "logs/benchmarks/download_archive/{dataset}/{file}.tsv"
    wildcard_constraints:
        dataset=any_of(FETCHED),
        file=rf"(?!({any_of(collections())})\d{{3}}\.)[^/]+",
    conda:
        "../../envs/audio-neurons.yaml"
    resources:
        downloads=1,
    params:
        role=archive_role,
        archive=archive_identity,
        lock="resources/checksums/{dataset}/{file}.sha256",
    message:
        "Download {wildcards.file} of {wildcards.dataset}"
    script:
        "../scripts/download_archive.py"


rule download_batch:
    input:
        listing_of,
    output:
        tar="resources/archives/{dataset}/{collection}{batch}.tar",
        missing="resources/archives/{dataset}/{collection}{batch}.missing.csv",
    log:
        "logs/download_batch/{dataset}/{collection}{batch}.log",
    benchmark:
        "logs/benchmarks/download_batch/{dataset}/{collection}{batch}.tsv"
    wildcard_constraints:
        dataset=any_of(FETCHED),
        collection=any_of(collections()),
        batch=r"\d{3}",
    conda:
        "../../envs/audio-neurons.yaml"
    resources:
        downloads=1,
    params:
        role=archive_role,
        archive=archive_identity,
        lock="resources/checksums/{dataset}/{collection}{batch}.sha256",
    message:
        "Download batch {wildcards.batch} of {wildcards.dataset}"
    script:
        "../scripts/download_batch.py"


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
    resources:
        downloads=1,
    params:
        weights=weights_identity,
        lock="resources/checksums/{model}.sha256",
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
