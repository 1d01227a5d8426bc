"""What rules ask of tables over all models and tasks."""


def about_tables(wildcards):
    """What tables and findings are told beside their numbers, as text."""
    return about(
        tasks=tasks_told(),
        comparisons=[comparison_told(name) for name in COMPARED],
        confidence=config["ablation"]["confidence"],
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
            name: {"published": block["published"], "models": list(block.get("models", models_ablated(task)))}
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


def all_tables():
    names = ["coverage", "sharing", "pairs", "differences", "published", "ablation", "overlap"]
    return [f"results/tables/{name}.csv" for name in names]


def announce():
    """What was found, at the end of a run that was to tell it; of one figure's run it may be outdated."""
    summary = Path("results/summary.txt")
    asked = set(workflow.dag_settings.targets) - {"all", str(summary)}
    if summary.is_file() and not asked:
        print(summary.read_text(encoding="utf-8"))
        for name in WANTED:
            print(f"Left out, since its archives are missing: {name} (see the beginning of this output)")
        print(f"Findings: {summary.parent.resolve() / 'findings.html'}")
        print(f"Figures:  {summary.parent.resolve() / 'figures'}")


def explain(log):
    """What a job that was killed could not say itself."""
    told = [Path(file).read_text(encoding="utf-8", errors="replace") for file in log]
    if any("Signals.SIGKILL" in text for text in told):
        print(
            "A job was killed from outside (SIGKILL), as the system does when memory runs out: run fewer jobs "
            "at a time (--cores). What is finished is kept.",
            file=sys.stderr,
        )
