"""What rules ask of figures: their tables, and what they are told beside them."""


def title(blocks, name):
    return blocks[name].get("title", name)


def told(block):
    return {key: block[key] for key in ("kind", "note") if key in block}


def models_told(names):
    return [{"name": m, "title": title(MODELS, m), **told(MODELS[m])} for m in names]


def tasks_told():
    return [{"name": t, "title": title(TASKS, t)} for t in HERE]


def comparison_told(name):
    tasks = [title(TASKS, t) for t in COMPARISONS[name]["tasks"]]
    return {"name": name, "title": title(COMPARISONS, name), "tasks": tasks}


def about(models=MODELS, level=config["inference"]["level"], **more):
    """What a figure is told beside its tables, as text: the models in their order, and more."""
    alpha = config["findings"]["alpha"]
    return canonical({"models": models_told(models), "level": level, "alpha": alpha, **more})


def about_tasks(wildcards):
    return about(tasks=tasks_told())


def about_comparison(wildcards):
    return about(comparison=comparison_told(wildcards.comparison))


def model_notes(wildcards):
    return [f"{title(MODELS, m)}: {block['note']}" for m, block in MODELS.items() if "note" in block]


def sharing_tables(comparisons):
    return [f"results/sharing/{m}/{c}/{main_selector()}.parquet" for c in comparisons for m in MODELS]


def figure_sharing(wildcards):
    return sharing_tables([wildcards.comparison])


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


def stability_tables():
    return [path.replace("results/inference/", "results/stability/") for path in inference_tables()]


def neuron_tables():
    return [path.replace("results/classes/", "results/neurons/") for path in class_tables()]


def figure_ablation(wildcards):
    name = f"{wildcards.task}/{main_selector()}.parquet"
    return [f"results/ablation/{m}/{name}" for m in models_ablated(wildcards.task)]


def about_ablation(wildcards):
    models, level = models_ablated(wildcards.task), config["ablation"]["confidence"]
    return about(models, level, task=title(TASKS, wildcards.task))


def ablation_figures():
    """Their paths without suffix, below results/figures; a dose needs two gains to have a response."""
    kinds = ["ablation", "ablation_matrix"] + ["dose"] * (len(config["ablation"]["gains"]) > 1)
    return [f"{kind}/{task}" for task in config["ablation"]["tasks"] if task in HERE for kind in kinds]


def all_figures():
    of_nulls = ["entropy"] if resampled() else []
    names = [*FIGURES, *of_nulls, *ablation_figures()]
    return [f"results/figures/{name}.{kind}" for name in names for kind in ("pdf", "png")]
