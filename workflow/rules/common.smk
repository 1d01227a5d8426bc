"""The checked configuration, and what rules ask of it. Paths are spelt in rules only."""

import json
import re
import sys

from audio_neurons import config as configuration
from audio_neurons import datasets, preflight, sources
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
SHARD_TABLES = ("cells", "counts", "units", "top_clips")
MADE_HERE = [name for name, block in DATASETS.items() if "synthesis" in block]
FETCHED = [name for name, block in DATASETS.items() if "synthesis" not in block and "files" not in block]


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


def excluded(dataset):
    """Recordings left out on purpose, as text; null stands for the dataset's own list."""
    own = datasets.source(DATASETS[dataset]["adapter"]).get("excluded", {})
    return canonical(DATASETS[dataset].get("excluded", own))


def cell_labels(dataset):
    """Labels whose combinations counts keep apart: the dataset's choice, and what tasks ask for."""
    asked = {task["label"] for task in TASKS.values() if task["dataset"] == dataset}
    own = datasets.source(DATASETS[dataset]["adapter"])
    kept = asked.union(own.get("cells") or own["labels"] or [])
    return [label for label in configuration.labels(DATASETS[dataset]) if label in kept]


def clip_seconds(dataset):
    block = DATASETS[dataset]
    return block.get("clip_seconds", datasets.source(block["adapter"])["clip_seconds"])


def dataset_options(dataset):
    """Options of a dataset's adapter: its own defaults, changed by the configuration."""
    block = DATASETS[dataset]
    return {**datasets.source(block["adapter"]).get("options", {}), **block["options"]}


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
    for _notice in filter(None, [*left_out(), space_warning()]):
        print(f"{_notice}\n", file=sys.stderr)
if not HERE:
    raise WorkflowError("No task is left to do: bring what is asked for above, or configure other tasks.")


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


def weights_identity(wildcards):
    return canonical(sources.identity(MODELS[wildcards.model]["weights"]))


def without(block, *keys):
    return {k: v for k, v in block.items() if k not in keys}


def trained_model(wildcards):
    """What of a model's block decides its training, as text."""
    return canonical(without(MODELS[wildcards.model], "title", "kind", "licence", "citation", "note"))


def pools_of(kind):
    """Pools that come from a folder of AudioSet, or those that are made here."""
    return [name for name, block in config["pools"].items() if ("audioset" in block) == (kind == "audioset")]


def trained_on(kind):
    pools = pools_of(kind)
    return [name for name in with_weights("training") if MODELS[name]["training"]["pool"] in pools]


def training_pool(wildcards):
    """The clips that a model is trained on: one table, or the parts of AudioSet."""
    pool = MODELS[wildcards.model]["training"]["pool"]
    if pool in pools_of("audioset"):
        numbers = range(config["pools"][pool]["audioset"]["shards"])
        return [f"results/pools/{pool}/part-{number:03d}.arrow" for number in numbers]
    return [f"results/pools/{pool}.parquet"]


def audioset(wildcards, key):
    return config["pools"][wildcards.pool]["audioset"][key]


def audioset_train(wildcards):
    return audioset(wildcards, "train")


def audioset_shards(wildcards):
    return audioset(wildcards, "shards")


def audioset_max_missing(wildcards):
    return audioset(wildcards, "max_missing")


def training_gpus(wildcards):
    return gpus(wildcards) * MODELS[wildcards.model]["training"]["processes"]


def training_threads(wildcards):
    """Most of them decode: eight keep one GPU busy."""
    return 1 if config["extraction"]["device"] == "cpu" else 8 * training_gpus(wildcards)


def pool_clips(wildcards):
    return config["pools"][wildcards.pool]["clips"]


def pool_seconds(wildcards):
    return config["pools"][wildcards.pool]["clip_seconds"]


def encoder_code(wildcards):
    return code_digest("extraction", f"models.{MODELS[wildcards.model]['adapter']}")


def median_code(wildcards):
    return code_digest("medians", f"models.{MODELS[wildcards.model]['adapter']}")


def all_downloads():
    """Archives that are still to be prepared, and checkpoints."""
    archives = [p for d in FETCHED if d not in WANTED and not prepared(d) for p in archive_paths(d).values()]
    weights = [f"resources/weights/{m}/{MODELS[m]['weights']['file']}" for m in with_weights("checkpoint")]
    return archives + weights


def architecture(wildcards):
    """What of a model's block decides its numbers beside its weights, as text."""
    block = without(MODELS[wildcards.model], "title", "kind", "licence", "citation", "note", "training")
    # The checkpoint itself is an input; where it came from changes nothing.
    weights = without(block["weights"], "file", "urls", "sha256", "bytes")
    return canonical({**block, "weights": weights})


def shard_outputs():
    """What one forward pass writes, by name."""
    shard = "results/shards/{model}/{dataset}/{shard}"
    outputs = {name: f"{shard}/{name}.parquet" for name in SHARD_TABLES}
    outputs["embeddings"] = "results/embeddings/{model}/{dataset}/part-{shard}.parquet"
    if config["extraction"]["responses"]:
        outputs["responses"] = "results/responses/{model}/{dataset}/part-{shard}.parquet"
    return outputs


def statistics_of_shards(wildcards):
    """The tables of every shard of a model and dataset, by name."""
    shard = f"results/shards/{wildcards.model}/{wildcards.dataset}"
    return {
        name: [f"{shard}/{number}/{name}.parquet" for number in shards(wildcards.dataset)]
        for name in SHARD_TABLES
    }


def extraction_settings(wildcards):
    """What of the configuration decides the numbers of a forward pass, as text."""
    keys = ("batch_size", "tokens", "threshold", "activity", "top_clips", "precision", "compile")
    settings = {key: config["extraction"][key] for key in keys}
    settings["labels"] = cell_labels(wildcards.dataset)
    return canonical({"clip_seconds": clip_seconds(wildcards.dataset), **settings})


def medians(wildcards):
    """The bars that activity 'median' asks for."""
    wanted = config["extraction"]["activity"] == "median"
    return [f"results/medians/{wildcards.model}/{wildcards.dataset}.parquet"] if wanted else []


def dataset_clips(wildcards):
    return clip_tables(wildcards.dataset)


def median_settings(wildcards):
    keys = ("batch_size", "tokens")
    settings = {key: config["extraction"][key] for key in keys} | config["extraction"]["median"]
    return canonical({"clip_seconds": clip_seconds(wildcards.dataset), **settings})


def gpus(wildcards):
    return 0 if config["extraction"]["device"] == "cpu" else 1


def extraction_threads(wildcards):
    """Without a GPU many jobs of one thread are faster than one job of many."""
    return 1 if config["extraction"]["device"] == "cpu" else 8


# Tasks, selectors, comparisons


def task_statistics(wildcards):
    folder = f"results/statistics/{wildcards.model}/{TASKS[wildcards.task]['dataset']}"
    return {name: f"{folder}/{name}.parquet" for name in ("cells", "counts", "units")}


def task_units(wildcards):
    return task_statistics(wildcards)["units"]


def rule_for(task, selector):
    """A selector for a task: the preset, changed by the task, then by the selector itself."""
    return {**{k: v for k, v in TASKS[task].items() if k == "top_share"}, **SELECTORS[selector]}


def selection_rule(wildcards):
    return canonical(rule_for(wildcards.task, wildcards.selector))


def counted_splits():
    """Splits that choose neurons, as text; null stands for all."""
    return canonical(None if config["selection"]["statistics_split"] == "all" else ["train"])


def compared_tasks(wildcards):
    return COMPARISONS[wildcards.comparison]["tasks"]


def compared_neurons(wildcards):
    folder = f"results/neurons/{wildcards.model}"
    return [f"{folder}/{t}/{wildcards.selector}.parquet" for t in compared_tasks(wildcards)]


def task_label(wildcards):
    return TASKS[wildcards.task]["label"]


def compared_pairs(wildcards):
    return canonical(COMPARISONS[wildcards.comparison].get("pairs"))


# Inference


def inference_settings():
    return canonical(config["inference"])


def compared_units(wildcards):
    folder = f"results/statistics/{wildcards.model}"
    return [f"{folder}/{TASKS[t]['dataset']}/units.parquet" for t in compared_tasks(wildcards)]


def compared_labels(wildcards):
    return [TASKS[t]["label"] for t in compared_tasks(wildcards)]


def compared_rules(wildcards):
    return canonical([rule_for(t, wildcards.selector) for t in compared_tasks(wildcards)])


def all_inference():
    name = f"{main_selector()}.parquet"
    of_tasks = [f"results/inference/{m}/{t}/{name}" for m in MODELS for t in HERE]
    return of_tasks + [f"results/sharing_inference/{m}/{c}/{name}" for m in MODELS for c in COMPARED]


# Probes and ablation


def task_clips(wildcards):
    dataset = TASKS[wildcards.task]["dataset"]
    return [f"results/clips/{dataset}/part-{s}.parquet" for s in shards(dataset)]


def task_embeddings(wildcards):
    dataset = TASKS[wildcards.task]["dataset"]
    folder = f"results/embeddings/{wildcards.model}/{dataset}"
    return [f"{folder}/part-{s}.parquet" for s in shards(dataset)]


def probe_settings():
    return canonical(config["probe"])


def study(wildcards, split="test"):
    """On what effects are measured, as text; the same forward passes as in extraction."""
    dataset = TASKS[wildcards.task]["dataset"]
    facts = {"label": task_label(wildcards), "split": split, "clip_seconds": clip_seconds(dataset)}
    return canonical({**facts, "batch_size": config["extraction"]["batch_size"]})


def screening_study(wildcards):
    return study(wildcards, config["ablation"]["screening"]["split"])


def screening_settings():
    return canonical(without(config["ablation"]["screening"], "split"))


def ablated(wildcards):
    """What is ablated in a task; every class's neurons where the configuration does not say."""
    return config["ablation"]["tasks"].get(wildcards.task, {})


def ablated_lists(wildcards):
    """Name → block of each list that fits the model, in order of their names."""
    lists = sorted(ablated(wildcards).get("lists", {}).items())
    return {name: block for name, block in lists if wildcards.model in block.get("models", MODELS)}


def list_files(wildcards):
    blocks = ablated_lists(wildcards).values()
    return [block.get("file") or published(f"neurons/{block['published']}") for block in blocks]


def ablated_sets(wildcards):
    block = ablated(wildcards)
    lists = {name: one["classes"] for name, one in ablated_lists(wildcards).items()}
    return canonical({"classes": block.get("classes"), "shared": block.get("shared", []), "lists": lists})


def ablation_settings():
    return canonical(without(config["ablation"], "tasks", "clips", "screening"))


def ablation_outputs():
    names = {"ablation": "ablation", "sets": "ablation_sets"}
    if config["ablation"]["clips"]:
        names["clips"] = "ablation_clips"
    return {key: f"results/{name}/{{model}}/{{task}}/{{selector}}.parquet" for key, name in names.items()}


def ablation_code(wildcards):
    return code_digest("ablation", f"models.{MODELS[wildcards.model]['adapter']}")


def screening_code(wildcards):
    return code_digest("screening", f"models.{MODELS[wildcards.model]['adapter']}")


def all_ablations():
    return ablation_tables() + [f"results/screening/{m}/{t}.parquet" for m, t in ablated_in()]


def ablated_in():
    """Models and tasks whose neurons are ablated."""
    tasks = {t: block for t, block in config["ablation"]["tasks"].items() if t in HERE}
    return [(m, t) for t, block in tasks.items() for m in block.get("models", MODELS)]


def ablation_tables():
    return [f"results/ablation/{m}/{t}/{main_selector()}.parquet" for m, t in ablated_in()]


# Figures


def title(blocks, name):
    return blocks[name].get("title", name)


def about(**more):
    """What a figure is told beside its tables, as text: the models in their order, and more."""
    models = [{"name": m, "title": title(MODELS, m), **told(MODELS[m])} for m in MODELS]
    alpha = config["findings"]["alpha"]
    return canonical({"models": models, "level": config["inference"]["level"], "alpha": alpha, **more})


def about_tasks():
    return about(tasks=[{"name": t, "title": title(TASKS, t)} for t in HERE])


def about_comparison(wildcards):
    name = wildcards.comparison
    tasks = [title(TASKS, t) for t in COMPARISONS[name]["tasks"]]
    return about(comparison={"name": name, "title": title(COMPARISONS, name), "tasks": tasks})


def model_titles():
    """Models in the order of the configuration, as text."""
    return canonical([{"name": m, "title": title(MODELS, m), **told(MODELS[m])} for m in MODELS])


def told(block):
    return {key: block[key] for key in ("kind", "note") if key in block}


def published(name):
    """What the paper's authors published, or readers report: numbers, and lists of neurons."""
    return str(Path(workflow.basedir) / "resources" / "published" / f"{name}.csv")


def model_notes():
    return [f"{title(MODELS, m)}: {block['note']}" for m, block in MODELS.items() if "note" in block]


def task_titles():
    return canonical([{"name": t, "title": title(TASKS, t)} for t in HERE])


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


def resampled():
    """Whether the selector's choice can be drawn again from counts per class."""
    return SELECTORS[main_selector()]["preset"] != "auroc"


def sharing_inference_tables(comparisons):
    if not resampled():
        return []
    folder, name = "results/sharing_inference", f"{main_selector()}.parquet"
    return [f"{folder}/{m}/{c}/{name}" for c in comparisons for m in MODELS]


def figure_sharing_inference(wildcards):
    return sharing_inference_tables([wildcards.comparison])


def class_tables():
    return [f"results/classes/{m}/{t}/{main_selector()}.parquet" for t in HERE for m in MODELS]


def inference_tables():
    if not resampled():
        return []
    return [f"results/inference/{m}/{t}/{main_selector()}.parquet" for t in HERE for m in MODELS]


def all_figures():
    of_nulls = ["entropy"] if resampled() else []
    names = [*FIGURES, *of_nulls, *ablation_figures()]
    return [f"results/figures/{name}.{kind}" for name in names for kind in ("pdf", "png")]


def all_tables():
    names = ["coverage", "sharing", "pairs", "differences", "published", "ablation", "overlap"]
    return [f"results/tables/{name}.csv" for name in names]


def stability_tables():
    return [path.replace("results/inference/", "results/stability/") for path in inference_tables()]


def neuron_tables():
    return [path.replace("results/classes/", "results/neurons/") for path in class_tables()]


# Figures of ablation


def models_ablated(task):
    wanted = config["ablation"]["tasks"].get(task, {}).get("models", MODELS)
    return [m for m in MODELS if m in wanted]


def figure_ablation(wildcards):
    name = f"{wildcards.task}/{main_selector()}.parquet"
    return [f"results/ablation/{m}/{name}" for m in models_ablated(wildcards.task)]


def about_ablation(wildcards):
    models = [m for m in json.loads(about())["models"] if m["name"] in models_ablated(wildcards.task)]
    return about(models=models, level=config["ablation"]["confidence"])


def ablation_figures():
    """Their paths without suffix, below results/figures; a dose needs two gains to have a response."""
    kinds = ["ablation", "ablation_matrix"] + ["dose"] * (len(config["ablation"]["gains"]) > 1)
    return [f"{kind}/{task}" for task in config["ablation"]["tasks"] if task in HERE for kind in kinds]


# Tables


def about_tables():
    """What tables and findings are told beside their numbers, as text."""
    return about(
        tasks=[{"name": t, "title": title(TASKS, t)} for t in HERE],
        comparisons=json.loads(comparison_titles(COMPARED)),
        demo=bool(MADE_HERE),
        left_out=[title(TASKS, t) for t in TASKS if t not in HERE],
    )


def draws_tables():
    return [path.replace("results/inference/", "results/draws/") for path in inference_tables()]


def sharing_draws_tables():
    folder = "results/sharing_inference/", "results/sharing_draws/"
    return [path.replace(*folder) for path in sharing_inference_tables(COMPARED)]


def known_lists():
    """Task → name → published list that is ablated there, and the models it is of."""
    lists = {t: block["lists"] for t, block in config["ablation"]["tasks"].items() if t in HERE}
    return {
        task: {
            name: {"published": block["published"], "models": list(block.get("models", MODELS))}
            for name, block in blocks.items()
            if "published" in block
        }
        for task, blocks in lists.items()
    }


def published_lists():
    return canonical(known_lists())


def all_published_lists():
    return sorted(map(str, Path(published("ablation")).parent.glob("neurons/*.csv")))


def ablated_cases():
    return canonical([{"task": t, "model": m} for m, t in ablated_in()])


def listed_in():
    """Models and tasks whose neurons a published list can be compared with."""
    listed = {(m, t) for t, lists in known_lists().items() for one in lists.values() for m in one["models"]}
    return [(m, t) for t in HERE for m in MODELS if (m, t) in listed]


def listed_cases():
    return canonical([{"task": t, "model": m} for m, t in listed_in()])


def listed_neurons():
    return [f"results/neurons/{m}/{t}/{main_selector()}.parquet" for m, t in listed_in()]


def announce():
    """What was found, once a run has finished that wrote it."""
    summary = Path("results/summary.txt")
    if summary.is_file():
        print(summary.read_text(encoding="utf-8"))
        for name in WANTED:
            print(f"Left out, since its archives are missing: {name} (see the beginning of this output)")
        print(f"Figures: {summary.parent.resolve() / 'figures'}")
