"""What rules ask of the files that results were made of."""


def used_datasets():
    used = {task["dataset"] for task in HERE.values()}
    return [name for name in DATASETS if name in used]


def source_files(wildcards):
    """A dataset's archives, or one's own files, and its clips."""
    paths = archive_paths(wildcards.dataset).values()
    archives = [file for one in paths for file in ([one] if isinstance(one, str) else one)]
    return archives + clip_tables(wildcards.dataset)


def source_lists():
    return [f"results/sources/{dataset}.json" for dataset in used_datasets()]


def all_results():
    """What a run is for."""
    data = [path.replace(".pdf", kind) for path in all_figures()[::2] for kind in (".parquet", ".csv")]
    tables = [path.replace(".csv", ".parquet") for path in all_tables()]
    words = [f"results/{name}" for name in ("findings.rst", "findings.html", "summary.txt")]
    return [*all_figures(), *data, *all_tables(), *tables, *words]


def training_files(model):
    """What a model is trained on here, and how it went; of AudioSet, the list of its clips."""
    if model not in with_weights("training"):
        return []
    pool = MODELS[model]["training"]["pool"]
    clips = f"{pool}/recordings" if pool in pools_of("audioset") else pool
    return [f"results/pools/{clips}.parquet", f"results/training/{model}/log.parquet"]


def made_between():
    """What results are made of, beside what the lists of datasets have."""
    folders = [f"results/statistics/{m}/{d}" for m in MODELS for d in used_datasets()]
    effects = ablation_tables()
    probes = [f"results/probes/{m}/{t}" for m, t in ablated_in()]
    return [
        *(path for model in MODELS for path in weights_of(model) + training_files(model)),
        *(f"{folder}/{name}.parquet" for folder in folders for name in SHARD_TABLES),
        *neuron_tables(),
        *class_tables(),
        *inference_tables(),
        *stability_tables(),
        *draws_tables(),
        *sharing_tables(COMPARED),
        *sharing_inference_tables(COMPARED),
        *sharing_draws_tables(),
        *(f"{probe}.{kind}" for probe in probes for kind in ("parquet", "safetensors")),
        *effects,
        *(path.replace("results/ablation/", "results/ablation_sets/") for path in effects),
    ]
