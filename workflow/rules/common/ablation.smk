"""What rules ask of probes and ablation."""


def task_clips(wildcards):
    return clip_tables(TASKS[wildcards.task]["dataset"])


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
    return canonical({**facts, **{key: config["extraction"][key] for key in ("batch_size", "precision")}})


def screening_study(wildcards):
    return study(wildcards, config["ablation"]["screening"]["split"])


def screening_settings():
    return canonical(without(config["ablation"]["screening"], "split"))


def ablated(task):
    """What is ablated in a task; every class's neurons where the configuration does not say."""
    return config["ablation"]["tasks"].get(task, {})


def models_ablated(task):
    wanted = ablated(task).get("models", MODELS)
    return [m for m in MODELS if m in wanted]


def ablated_lists(wildcards):
    """Name → block of each list that fits the model, in order of their names."""
    lists = sorted(ablated(wildcards.task).get("lists", {}).items())
    return {name: block for name, block in lists if wildcards.model in block.get("models", MODELS)}


def ablated_list_files(wildcards):
    blocks = ablated_lists(wildcards).values()
    return [block.get("file") or published(f"neurons/{block['published']}") for block in blocks]


def ablated_sets(wildcards):
    block = ablated(wildcards.task)
    lists = {name: one["classes"] for name, one in ablated_lists(wildcards).items()}
    return canonical({"classes": block.get("classes"), "shared": block.get("shared", []), "lists": lists})


def ablation_settings():
    return canonical(without(config["ablation"], "tasks", "clips", "screening"))


def ablation_outputs():
    names = {"ablation": "ablation", "sets": "ablation_sets"}
    if config["ablation"]["clips"]:
        names["clips"] = "ablation_clips"
    return {key: f"results/{name}/{{model}}/{{task}}/{{selector}}.parquet" for key, name in names.items()}


def published(name):
    """What the paper's authors published, or readers report: numbers, and lists of neurons."""
    return str(Path(workflow.basedir) / "resources" / "published" / f"{name}.csv")


def ablated_in():
    """Models and tasks whose neurons are ablated."""
    return [(m, t) for t in config["ablation"]["tasks"] if t in HERE for m in models_ablated(t)]


def ablation_tables():
    return [f"results/ablation/{m}/{t}/{main_selector()}.parquet" for m, t in ablated_in()]


def all_ablations():
    return ablation_tables() + [f"results/screening/{m}/{t}.parquet" for m, t in ablated_in()]
