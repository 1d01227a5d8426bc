"""Archives to clips: 16 kHz mono, with labels, splits and groups, in shards."""

for _dataset in DATASETS:

    rule:
        name:
            f"prepare_{_dataset}"
        input:
            **archive_paths(_dataset),
        output:
            parts=clip_tables(_dataset),
            rejected=f"results/rejected/{_dataset}.parquet",
        log:
            f"logs/prepare/{_dataset}.log",
        benchmark:
            f"logs/benchmarks/prepare/{_dataset}.tsv"
        conda:
            "../../envs/audio-neurons.yaml"
        threads: 2
        params:
            adapter=DATASETS[_dataset]["adapter"],
            options=partial(dataset_options, _dataset),
            labels=partial(dataset_labels, _dataset),
            excluded=partial(excluded, _dataset),
            listing=partial(own_listing, _dataset),
            # Snakemake sees no change in fewer outputs.
            shards=DATASETS[_dataset]["shards"],
            max_seconds=config["preparation"]["max_seconds"],
            code=code_digest("preparation", f"datasets.{DATASETS[_dataset]['adapter']}"),
        message:
            f"Prepare the clips of {_dataset}"
        script:
            "../scripts/prepare.py"
