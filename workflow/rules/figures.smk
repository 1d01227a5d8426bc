"""Figures, tables, and what was found in a few lines."""


rule draw_sharing:
    input:
        figure_sharing,
    output:
        pdf="results/figures/{comparison}.pdf",
        png=report(
            "results/figures/{comparison}.png",
            caption="../report/sharing.rst",
            category="Shared neurons",
            labels={"figure": "{comparison}"},
        ),
    log:
        "logs/draw_sharing/{comparison}.log",
    benchmark:
        "logs/benchmarks/draw_sharing/{comparison}.tsv"
    conda:
        "../../envs/audio-neurons.yaml"
    params:
        models=model_titles(),
        comparison=comparison_title,
        code=code_digest("plotting"),
    message:
        "Draw {wildcards.comparison}"
    script:
        "../scripts/draw_sharing.py"


rule draw_coverage:
    input:
        class_tables(),
    output:
        pdf="results/figures/coverage.pdf",
        png=report(
            "results/figures/coverage.png",
            caption="../report/coverage.rst",
            category="Class-specific neurons",
            labels={"figure": "coverage"},
        ),
    log:
        "logs/draw_coverage.log",
    benchmark:
        "logs/benchmarks/draw_coverage.tsv"
    conda:
        "../../envs/audio-neurons.yaml"
    params:
        models=model_titles(),
        tasks=task_titles(),
        code=code_digest("plotting"),
    message:
        "Draw coverage"
    script:
        "../scripts/draw_coverage.py"


rule summarize:
    input:
        classes=class_tables(),
        sharing=sharing_tables(COMPARED),
        published=published("coverage"),
    output:
        coverage=report(
            "results/tables/coverage.csv",
            caption="../report/coverage_table.rst",
            category="Class-specific neurons",
            labels={"figure": "table"},
        ),
        sharing=report(
            "results/tables/sharing.csv",
            caption="../report/sharing_table.rst",
            category="Shared neurons",
            labels={"figure": "table"},
        ),
        published=report(
            "results/tables/published.csv",
            caption="../report/published_table.rst",
            category="The paper's numbers",
            labels={"figure": "table"},
        ),
        summary="results/summary.txt",
    log:
        "logs/summarize.log",
    benchmark:
        "logs/benchmarks/summarize.tsv"
    conda:
        "../../envs/audio-neurons.yaml"
    params:
        models=model_titles(),
        tasks=task_titles(),
        comparisons=comparison_titles(COMPARED),
        demo=bool(MADE_HERE),
        notes=model_notes(),
        code=code_digest("summary"),
    message:
        "Put tables and summary together"
    script:
        "../scripts/summarize.py"
