"""Download and verification of archives and model weights."""


rule download_archive:
    output:
        paths.ARCHIVE,
    log:
        "logs/download_archive/{dataset}/{file}.log",
    benchmark:
        "logs/benchmarks/download_archive/{dataset}/{file}.tsv"
    wildcard_constraints:
        dataset=any_of(study.datasets.fetched),
        file=rf"(?!({any_of(study.datasets.collections())})\d{{3}}\.)[^/]+",
    conda:
        "../../envs/audio-neurons.yaml"
    resources:
        downloads=1,
    params:
        role=without_traceback(study.datasets.archive_role),
        archive=without_traceback(study.datasets.archive_identity),
        lock=paths.ARCHIVE_LOCK,
    message:
        "Download {wildcards.file} of {wildcards.dataset}"
    script:
        "../scripts/download_archive.py"


rule download_batch:
    input:
        # Verified by its checksum: its time does not count.
        without_traceback(lambda wildcards: ancient(study.datasets.listing(wildcards))),
    output:
        tar="resources/archives/{dataset}/{collection}{batch}.tar",
        missing="resources/archives/{dataset}/{collection}{batch}.missing.csv",
    log:
        "logs/download_batch/{dataset}/{collection}{batch}.log",
    benchmark:
        "logs/benchmarks/download_batch/{dataset}/{collection}{batch}.tsv"
    wildcard_constraints:
        dataset=any_of(study.datasets.fetched),
        collection=any_of(study.datasets.collections()),
        batch=r"\d{3}",
    conda:
        "../../envs/audio-neurons.yaml"
    resources:
        downloads=1,
    params:
        role=without_traceback(study.datasets.archive_role),
        archive=without_traceback(study.datasets.archive_identity),
        lock="resources/checksums/{dataset}/{collection}{batch}.sha256",
    message:
        "Download batch {wildcards.batch} of {wildcards.dataset}"
    script:
        "../scripts/download_batch.py"


rule download_weights:
    output:
        paths.WEIGHTS,
    log:
        "logs/download_weights/{model}/{file}.log",
    benchmark:
        "logs/benchmarks/download_weights/{model}/{file}.tsv"
    wildcard_constraints:
        model=any_of(study.models.with_weights("checkpoint")),
        file=r".+",
    conda:
        "../../envs/audio-neurons.yaml"
    resources:
        downloads=1,
    params:
        weights=study.models.weights_identity,
        lock=paths.WEIGHTS_LOCK,
    message:
        "Download the weights of {wildcards.model}"
    script:
        "../scripts/download_weights.py"


rule download_snapshot:
    output:
        paths.SNAPSHOT,
    log:
        "logs/download_snapshot/{model}.log",
    benchmark:
        "logs/benchmarks/download_snapshot/{model}.tsv"
    wildcard_constraints:
        model=any_of(study.models.with_weights("hub")),
    conda:
        "../../envs/audio-neurons.yaml"
    resources:
        downloads=1,
    params:
        weights=study.models.weights_identity,
        lock=paths.SNAPSHOT_LOCK,
    message:
        "Download {wildcards.model} from the Hub"
    script:
        "../scripts/download_snapshot.py"
