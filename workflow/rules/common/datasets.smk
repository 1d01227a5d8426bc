"""What rules ask of datasets: their archives, clips, and what a person must bring."""


def archive_paths(dataset):
    """Role → path of each archive, or its paths where it is many."""
    if "files" in DATASETS[dataset]:
        return {"files": DATASETS[dataset]["files"]}
    paths = {}
    for role, facts in sources.archives(DATASETS[dataset]).items():
        names = sources.names(facts)
        folder = f"resources/archives/{dataset}"
        paths[role] = f"{folder}/{names}" if isinstance(names, str) else [f"{folder}/{n}" for n in names]
    return paths


def collections():
    """Names, without the number of the batch, of archives that hold many small files."""
    facts = [f for d in FETCHED for f in sources.archives(DATASETS[d]).values() if "batches" in f]
    return sorted({re.escape(f["file"].removesuffix("{batch}.tar")) for f in facts})


def role_of(wildcards):
    """The archive's role and facts that an output of a download belongs to."""
    for role, facts in sources.archives(DATASETS[wildcards.dataset]).items():
        names = sources.names(facts)
        file = getattr(wildcards, "file", None) or f"{wildcards.collection}{wildcards.batch}.tar"
        if file in ([names] if isinstance(names, str) else names):
            return role, facts
    raise WorkflowError(f"resources/archives/{wildcards.dataset}: no such archive")


def archive_role(wildcards):
    return role_of(wildcards)[0]


def archive_identity(wildcards):
    """What decides an archive's content, as text; where it comes from changes nothing."""
    return canonical(sources.identity(role_of(wildcards)[1]))


def listing_of(wildcards):
    """The archive that names a collection's files, where no manifest does."""
    facts = role_of(wildcards)[1]
    return [archive_paths(wildcards.dataset)[facts["listing"]]] if "listing" in facts else []


def excluded(dataset, wildcards):
    """Recordings left out on purpose, as text; null stands for the dataset's own list."""
    own = datasets.source(DATASETS[dataset]["adapter"]).get("excluded", {})
    return canonical(DATASETS[dataset].get("excluded", own))


def own_listing(dataset, wildcards):
    """What one's own recordings are: Snakemake sees no change in a folder, nor an older file in place."""
    files = DATASETS[dataset].get("files")
    try:
        return custom.listing(Path(files)) if files else ""
    except datasets.DatasetError as error:
        raise WorkflowError(f"datasets.{dataset}.files: {error}") from None


def cell_labels(dataset):
    """Labels whose combinations counts keep apart: the dataset's choice, and what tasks ask for."""
    asked = {task["label"] for task in TASKS.values() if task["dataset"] == dataset}
    own = datasets.source(DATASETS[dataset]["adapter"])
    kept = asked.union(own.get("cells") or own["labels"] or [])
    return [label for label in configuration.labels(DATASETS[dataset]) if label in kept]


def clip_seconds(dataset):
    block = DATASETS[dataset]
    return block.get("clip_seconds", datasets.source(block["adapter"])["clip_seconds"])


def dataset_options(dataset, wildcards):
    """Options of a dataset's adapter, as text: its own defaults, changed by the configuration."""
    block = DATASETS[dataset]
    return canonical({**datasets.source(block["adapter"]).get("options", {}), **block["options"]})


def dataset_labels(dataset, wildcards):
    return canonical(configuration.labels(DATASETS[dataset]))


def shards(dataset):
    return [f"{n:03d}" for n in range(DATASETS[dataset]["shards"])]


def clip_tables(dataset):
    return [f"results/clips/{dataset}/part-{s}.parquet" for s in shards(dataset)]


def all_clips():
    return [path for dataset in DATASETS if dataset not in WANTED for path in clip_tables(dataset)]


# What a person must bring


ACCESS = sources.Access(**config["download"])


def prepared(dataset):
    return all(Path(path).exists() for path in clip_tables(dataset))


def folder_of(dataset):
    return Path(f"resources/archives/{dataset}")


def wanted_of(dataset):
    """Files that only a person can bring; none once the dataset is prepared."""
    return [] if prepared(dataset) else preflight.wanted(DATASETS[dataset], folder_of(dataset), ACCESS)


WANTED = {name: files for name in FETCHED if (files := wanted_of(name))}
# Figures and tables are made of the tasks whose recordings can be had.
HERE = {name: block for name, block in TASKS.items() if block["dataset"] not in WANTED}
COMPARED = {name: block for name, block in COMPARISONS.items() if set(block["tasks"]) <= set(HERE)}
FIGURES = [*COMPARED, "coverage", "layers"]


def left_out():
    """What this run leaves out, and what to do about it."""
    for name, files in WANTED.items():
        tasks = [task for task in TASKS if TASKS[task]["dataset"] == name]
        figures = [c for c in COMPARISONS if set(COMPARISONS[c]["tasks"]) & set(tasks)]
        yield preflight.request(name, DATASETS[name], files, ACCESS, tasks, figures)


def space_warning():
    lacking = {
        name: preflight.lacking_bytes(DATASETS[name], folder_of(name))
        for name in FETCHED
        if name not in WANTED and not prepared(name)
    }
    return preflight.space_warning(lacking, Path())


if workflow.is_main_process:
    _results = Path("results")
    _found = [
        preflight.clock_warning(_results, time.time()),
        preflight.record_warning(_results, Path(".snakemake/metadata")),
        preflight.parts_warning(_results, {name: block["shards"] for name, block in DATASETS.items()}),
    ]
    for _notice in filter(None, [*left_out(), space_warning(), *_found]):
        print(f"{_notice}\n", file=sys.stderr)
if not HERE:
    raise WorkflowError("No task is left to do: bring what is asked for above, or configure other tasks.")
