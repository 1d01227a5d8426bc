"""The checked configuration, and what rules ask of it. Paths are spelt in rules only."""

from audio_neurons import config as configuration
from audio_neurons import datasets
from audio_neurons.config import canonical
from audio_neurons.digest import code_digest
from snakemake.exceptions import WorkflowError

try:
    config = configuration.complete(
        config, Path(workflow.basedir) / "workflow" / "schemas" / "config.schema.yaml"
    )
except configuration.ConfigError as error:
    raise WorkflowError(str(error)) from None

DATASETS = config["datasets"]
TASKS = config["tasks"]
MODELS = config["models"]
COMPARISONS = config["comparisons"]
SELECTORS = config["selection"]["selectors"]
FIGURES = [*COMPARISONS, "coverage"]


def any_of(names):
    """Regular expression of exactly these names; one that matches nothing where there are none."""
    return "|".join(names) or "(?!)"


wildcard_constraints:
    dataset=any_of(DATASETS),
    task=any_of(TASKS),
    model=any_of(MODELS),
    comparison=any_of(COMPARISONS),
    selector=any_of(SELECTORS),
    shard=r"\d{3}",


# Datasets and their archives


def archives(dataset):
    """Role → facts of each archive: the dataset's own, changed by the configuration."""
    block = DATASETS[dataset]
    facts = datasets.source(block["adapter"])["archives"]
    return {role: {**own, **block["archives"].get(role, {})} for role, own in facts.items()}


def archive_paths(dataset):
    """Role → path of each archive."""
    return {
        role: f"resources/archives/{dataset}/{facts['file']}" for role, facts in archives(dataset).items()
    }


def archive_facts(wildcards):
    """Facts of the archive that a file name belongs to."""
    for facts in archives(wildcards.dataset).values():
        if facts["file"] == wildcards.file:
            return canonical(facts)
    raise WorkflowError(f"resources/archives/{wildcards.dataset}/{wildcards.file}: no such archive")


def made_here(dataset):
    return "synthesis" in DATASETS[dataset]


def clip_seconds(dataset):
    block = DATASETS[dataset]
    return block.get("clip_seconds", datasets.source(block["adapter"])["clip_seconds"])


def dataset_options(dataset):
    """Options of a dataset's adapter: its own defaults, changed by the configuration."""
    block = DATASETS[dataset]
    return {**datasets.source(block["adapter"]).get("options", {}), **block["options"]}


def shards(dataset):
    return [f"{n:03d}" for n in range(DATASETS[dataset]["shards"])]


def all_clips():
    return [f"results/clips/{d}/part-{s}.parquet" for d in DATASETS for s in shards(d)]


# Models


def with_weights(source):
    return [name for name, block in MODELS.items() if block["weights"]["source"] == source]


def weights(wildcards):
    """A model's checkpoint; nothing for a random one."""
    block = MODELS[wildcards.model]["weights"]
    return {
        "checkpoint": [f"resources/weights/{wildcards.model}/{block.get('file')}"],
        "training": [f"results/training/{wildcards.model}/model.safetensors"],
        "random": [],
    }[block["source"]]


def weights_facts(wildcards):
    return canonical(MODELS[wildcards.model]["weights"])


def without(block, *keys):
    return {k: v for k, v in block.items() if k not in keys}


def trained_model(wildcards):
    """What of a model's block decides its training, as text."""
    return canonical(without(MODELS[wildcards.model], "title", "kind", "licence", "citation"))


def training_pool(wildcards):
    return f"results/pools/{MODELS[wildcards.model]['training']['pool']}.parquet"


def pool_clips(wildcards):
    return config["pools"][wildcards.pool]["clips"]


def pool_seconds(wildcards):
    return config["pools"][wildcards.pool]["clip_seconds"]


def encoder_code(wildcards):
    return code_digest("extraction", f"models.{MODELS[wildcards.model]['adapter']}")


def architecture(wildcards):
    """What of a model's block decides its numbers beside its weights, as text."""
    block = without(MODELS[wildcards.model], "title", "kind", "licence", "citation", "training")
    # The checkpoint itself is an input; where it came from changes nothing.
    weights = without(block["weights"], "file", "urls", "sha256", "bytes")
    return canonical({**block, "weights": weights})


def shard_outputs():
    """What one forward pass writes, by name."""
    shard = "results/shards/{model}/{dataset}/{shard}"
    outputs = {name: f"{shard}/{name}.parquet" for name in ("cells", "counts", "top_clips")}
    outputs["embeddings"] = "results/embeddings/{model}/{dataset}/part-{shard}.parquet"
    if config["extraction"]["responses"]:
        outputs["responses"] = "results/responses/{model}/{dataset}/part-{shard}.parquet"
    return outputs


def statistics_of_shards(wildcards):
    """The tables of every shard of a model and dataset, by name."""
    shard = f"results/shards/{wildcards.model}/{wildcards.dataset}"
    return {
        name: [f"{shard}/{number}/{name}.parquet" for number in shards(wildcards.dataset)]
        for name in ("cells", "counts", "top_clips")
    }


def extraction_settings(wildcards):
    """What of the configuration decides the numbers of a forward pass, as text."""
    keys = ("batch_size", "tokens", "threshold", "top_clips")
    settings = {key: config["extraction"][key] for key in keys}
    return canonical({"clip_seconds": clip_seconds(wildcards.dataset), **settings})


def gpus(wildcards):
    return 0 if config["extraction"]["device"] == "cpu" else 1


def extraction_threads(wildcards):
    """Without a GPU many jobs of one thread are faster than one job of many."""
    return 1 if config["extraction"]["device"] == "cpu" else 8


# Tasks, selectors, comparisons


def task_statistics(wildcards):
    folder = f"results/statistics/{wildcards.model}/{TASKS[wildcards.task]['dataset']}"
    return {name: f"{folder}/{name}.parquet" for name in ("cells", "counts")}


def selection_rule(wildcards):
    """A selector for a task, as text: the preset, changed by the task, then by the selector itself."""
    task = {k: v for k, v in TASKS[wildcards.task].items() if k == "top_share"}
    return canonical({**task, **SELECTORS[wildcards.selector]})


def counted_splits():
    """Splits that choose neurons, as text; null stands for all."""
    return canonical(None if config["selection"]["statistics_split"] == "all" else ["train"])


def compared_neurons(wildcards):
    tasks = COMPARISONS[wildcards.comparison]["tasks"]
    return [f"results/neurons/{wildcards.model}/{t}/{wildcards.selector}.parquet" for t in tasks]


def task_label(wildcards):
    return TASKS[wildcards.task]["label"]


def compared_pairs(wildcards):
    return canonical(COMPARISONS[wildcards.comparison].get("pairs"))


# Figures


def title(blocks, name):
    return blocks[name].get("title", name)


def model_titles():
    """Models in the order of the configuration, as text."""
    return canonical([{"name": m, "title": title(MODELS, m), "kind": MODELS[m]["kind"]} for m in MODELS])


def task_titles():
    return canonical([{"name": t, "title": title(TASKS, t)} for t in TASKS])


def comparison_titles(names):
    return canonical(
        [
            {
                "name": name,
                "title": title(COMPARISONS, name),
                "tasks": [title(TASKS, t) for t in COMPARISONS[name]["tasks"]],
            }
            for name in names
        ]
    )


def comparison_title(wildcards):
    return comparison_titles([wildcards.comparison])


def main_selector():
    return config["selection"]["selector"]


def sharing_tables(comparisons):
    return [f"results/sharing/{m}/{c}/{main_selector()}.parquet" for c in comparisons for m in MODELS]


def figure_sharing(wildcards):
    return sharing_tables([wildcards.comparison])


def class_tables():
    return [f"results/classes/{m}/{t}/{main_selector()}.parquet" for t in TASKS for m in MODELS]


def all_figures():
    return [f"results/figures/{name}.{kind}" for name in FIGURES for kind in ("pdf", "png")]


def announce():
    """What was found, once a run has finished that wrote it."""
    summary = Path("results/summary.txt")
    if summary.is_file():
        print(summary.read_text(encoding="utf-8"))
        print(f"Figures: {summary.parent.resolve() / 'figures'}")
