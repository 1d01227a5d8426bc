"""Figures, and the numbers they show."""


rule draw_sharing:
    input:
        sharing=figure_sharing,
        inference=figure_sharing_inference,
    output:
        pdf="results/figures/{comparison}.pdf",
        png=report(
            "results/figures/{comparison}.png",
            caption="../report/sharing.rst",
            category="Shared neurons",
            labels={"figure": "{comparison}"},
        ),
        data="results/figures/{comparison}.parquet",
        csv="results/figures/{comparison}.csv",
    log:
        "logs/draw_sharing/{comparison}.log",
    benchmark:
        "logs/benchmarks/draw_sharing/{comparison}.tsv"
    conda:
        "../../envs/audio-neurons.yaml"
    params:
        figure="sharing",
        about=about_comparison,
        code=code_digest("figures.sharing"),
    message:
        "Draw {wildcards.comparison}"
    script:
        "../scripts/draw.py"


# Figures over all tasks, and the tables that they are drawn from.
for _figure, _tables in {
    "coverage": {"classes": class_tables(), "inference": inference_tables()},
    "layers": {"neurons": neuron_tables(), "stability": stability_tables()},
    "entropy": {
        "neurons": neuron_tables(),
        "classes": class_tables(),
        "stability": stability_tables(),
    },
}.items():

    rule:
        name:
            f"draw_{_figure}"
        input:
            **_tables,
        output:
            pdf=f"results/figures/{_figure}.pdf",
            png=report(
                f"results/figures/{_figure}.png",
                caption=f"../report/{_figure}.rst",
                category="Class-specific neurons",
                labels={"figure": _figure},
            ),
            data=f"results/figures/{_figure}.parquet",
            csv=f"results/figures/{_figure}.csv",
        log:
            f"logs/draw_{_figure}.log",
        benchmark:
            f"logs/benchmarks/draw_{_figure}.tsv"
        conda:
            "../../envs/audio-neurons.yaml"
        params:
            figure=_figure,
            about=about_tasks,
            code=code_digest(f"figures.{_figure}"),
        message:
            f"Draw {_figure}"
        script:
            "../scripts/draw.py"


# Figures of an ablated task, with their folders and how the report calls them.
for _figure, _folder, _title in (
    ("ablation", "ablation", "effects"),
    ("matrix", "ablation_matrix", "class x class"),
    ("dose", "dose", "dose and response"),
):

    rule:
        name:
            f"draw_{_figure}"
        input:
            ablation=figure_ablation,
        output:
            pdf=f"results/figures/{_folder}/{{task}}.pdf",
            png=report(
                f"results/figures/{_folder}/{{task}}.png",
                caption=f"../report/{_figure}.rst",
                category="Ablation",
                labels={"task": "{task}", "figure": _title},
            ),
            data=f"results/figures/{_folder}/{{task}}.parquet",
            csv=f"results/figures/{_folder}/{{task}}.csv",
        log:
            f"logs/draw_{_figure}/{{task}}.log",
        benchmark:
            f"logs/benchmarks/draw_{_figure}/{{task}}.tsv"
        conda:
            "../../envs/audio-neurons.yaml"
        params:
            figure=_figure,
            about=about_ablation,
            code=code_digest(f"figures.{_figure}"),
        message:
            f"Draw {_title} of the ablation of {{wildcards.task}}"
        script:
            "../scripts/draw.py"
