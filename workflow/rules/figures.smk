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


rule draw_coverage:
    input:
        classes=class_tables(),
        inference=inference_tables(),
    output:
        pdf="results/figures/coverage.pdf",
        png=report(
            "results/figures/coverage.png",
            caption="../report/coverage.rst",
            category="Class-specific neurons",
            labels={"figure": "coverage"},
        ),
        data="results/figures/coverage.parquet",
        csv="results/figures/coverage.csv",
    log:
        "logs/draw_coverage.log",
    benchmark:
        "logs/benchmarks/draw_coverage.tsv"
    conda:
        "../../envs/audio-neurons.yaml"
    params:
        figure="coverage",
        about=about_tasks,
        code=code_digest("figures.coverage"),
    message:
        "Draw coverage"
    script:
        "../scripts/draw.py"


rule draw_layers:
    input:
        neurons=neuron_tables(),
        stability=stability_tables(),
    output:
        pdf="results/figures/layers.pdf",
        png=report(
            "results/figures/layers.png",
            caption="../report/layers.rst",
            category="Class-specific neurons",
            labels={"figure": "layers"},
        ),
        data="results/figures/layers.parquet",
        csv="results/figures/layers.csv",
    log:
        "logs/draw_layers.log",
    benchmark:
        "logs/benchmarks/draw_layers.tsv"
    conda:
        "../../envs/audio-neurons.yaml"
    params:
        figure="layers",
        about=about_tasks,
        code=code_digest("figures.layers"),
    message:
        "Draw layers"
    script:
        "../scripts/draw.py"


rule draw_entropy:
    input:
        neurons=neuron_tables(),
        classes=class_tables(),
        stability=stability_tables(),
    output:
        pdf="results/figures/entropy.pdf",
        png=report(
            "results/figures/entropy.png",
            caption="../report/entropy.rst",
            category="Class-specific neurons",
            labels={"figure": "entropy"},
        ),
        data="results/figures/entropy.parquet",
        csv="results/figures/entropy.csv",
    log:
        "logs/draw_entropy.log",
    benchmark:
        "logs/benchmarks/draw_entropy.tsv"
    conda:
        "../../envs/audio-neurons.yaml"
    params:
        figure="entropy",
        about=about_tasks,
        code=code_digest("figures.entropy"),
    message:
        "Draw entropies"
    script:
        "../scripts/draw.py"


rule draw_ablation:
    input:
        ablation=figure_ablation,
    output:
        pdf="results/figures/ablation/{task}.pdf",
        png=report(
            "results/figures/ablation/{task}.png",
            caption="../report/ablation.rst",
            category="Ablation",
            labels={"task": "{task}", "figure": "effects"},
        ),
        data="results/figures/ablation/{task}.parquet",
        csv="results/figures/ablation/{task}.csv",
    log:
        "logs/draw_ablation/{task}.log",
    benchmark:
        "logs/benchmarks/draw_ablation/{task}.tsv"
    conda:
        "../../envs/audio-neurons.yaml"
    params:
        figure="ablation",
        about=about_ablation,
        code=code_digest("figures.ablation"),
    message:
        "Draw the ablation of {wildcards.task}"
    script:
        "../scripts/draw.py"


rule draw_matrix:
    input:
        ablation=figure_ablation,
    output:
        pdf="results/figures/ablation_matrix/{task}.pdf",
        png=report(
            "results/figures/ablation_matrix/{task}.png",
            caption="../report/matrix.rst",
            category="Ablation",
            labels={"task": "{task}", "figure": "class x class"},
        ),
        data="results/figures/ablation_matrix/{task}.parquet",
        csv="results/figures/ablation_matrix/{task}.csv",
    log:
        "logs/draw_matrix/{task}.log",
    benchmark:
        "logs/benchmarks/draw_matrix/{task}.tsv"
    conda:
        "../../envs/audio-neurons.yaml"
    params:
        figure="matrix",
        about=about_ablation,
        code=code_digest("figures.matrix"),
    message:
        "Draw the ablation matrix of {wildcards.task}"
    script:
        "../scripts/draw.py"


rule draw_dose:
    input:
        ablation=figure_ablation,
    output:
        pdf="results/figures/dose/{task}.pdf",
        png=report(
            "results/figures/dose/{task}.png",
            caption="../report/dose.rst",
            category="Ablation",
            labels={"task": "{task}", "figure": "dose and response"},
        ),
        data="results/figures/dose/{task}.parquet",
        csv="results/figures/dose/{task}.csv",
    log:
        "logs/draw_dose/{task}.log",
    benchmark:
        "logs/benchmarks/draw_dose/{task}.tsv"
    conda:
        "../../envs/audio-neurons.yaml"
    params:
        figure="dose",
        about=about_ablation,
        code=code_digest("figures.dose"),
    message:
        "Draw dose and response of {wildcards.task}"
    script:
        "../scripts/draw.py"
