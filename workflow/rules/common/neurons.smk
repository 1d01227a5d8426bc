"""What rules ask of tasks, selectors and comparisons, and of their resamples."""


def task_statistics(wildcards):
    folder = f"results/statistics/{wildcards.model}/{TASKS[wildcards.task]['dataset']}"
    return {name: f"{folder}/{name}.parquet" for name in ("cells", "counts", "units")}


def task_units(wildcards):
    return task_statistics(wildcards)["units"]


def task_label(wildcards):
    return TASKS[wildcards.task]["label"]


def main_selector():
    return config["selection"]["selector"]


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


def compared_pairs(wildcards):
    return canonical(COMPARISONS[wildcards.comparison].get("pairs"))


def inference_settings():
    """What of the configuration decides what is drawn, as text; blocks change no bit of it."""
    return canonical(without(config["inference"], "block"))


def resampled():
    """Whether the selector's choice can be drawn again from counts per class."""
    selector = SELECTORS[main_selector()]
    return selector.get("measure", selector["preset"]) != "auroc"


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
