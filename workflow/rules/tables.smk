"""Tables over all tasks and models, the paper's numbers beside ours, what was found, and of what it is made."""


rule tabulate:
    input:
        classes=class_tables(),
        inference=inference_tables(),
        draws=draws_tables(),
        sharing=sharing_tables(COMPARED),
        sharing_inference=sharing_inference_tables(COMPARED),
        sharing_draws=sharing_draws_tables(),
    output:
        coverage=report(
            "results/tables/coverage.csv",
            caption="../report/coverage_table.rst",
            category="Class-specific neurons",
            labels={"figure": "table"},
        ),
        coverage_data="results/tables/coverage.parquet",
        sharing=report(
            "results/tables/sharing.csv",
            caption="../report/sharing_table.rst",
            category="Shared neurons",
            labels={"figure": "table of means"},
        ),
        sharing_data="results/tables/sharing.parquet",
        pairs=report(
            "results/tables/pairs.csv",
            caption="../report/pairs_table.rst",
            category="Shared neurons",
            labels={"figure": "table of pairs"},
        ),
        pairs_data="results/tables/pairs.parquet",
        differences=report(
            "results/tables/differences.csv",
            caption="../report/differences_table.rst",
            category="Findings",
            labels={"figure": "differences between models"},
        ),
        differences_data="results/tables/differences.parquet",
    log:
        "logs/tabulate.log",
    benchmark:
        "logs/benchmarks/tabulate.tsv"
    conda:
        "../../envs/audio-neurons.yaml"
    params:
        about=about_tables,
        code=code_digest("summary", "differences"),
    message:
        "Put tables together"
    script:
        "../scripts/tabulate.py"


rule tabulate_published:
    input:
        coverage="results/tables/coverage.parquet",
        ablation=ablation_tables(),
        neurons=listed_neurons(),
        coverage_theirs=published("coverage"),
        ablation_theirs=published("ablation"),
        lists=all_published_lists(),
    output:
        published=report(
            "results/tables/published.csv",
            caption="../report/published_table.rst",
            category="The paper's numbers",
            labels={"figure": "coverage and neurons"},
        ),
        published_data="results/tables/published.parquet",
        ablation=report(
            "results/tables/ablation.csv",
            caption="../report/ablation_table.rst",
            category="Ablation",
            labels={"figure": "table"},
        ),
        ablation_data="results/tables/ablation.parquet",
        overlap=report(
            "results/tables/overlap.csv",
            caption="../report/overlap_table.rst",
            category="The paper's numbers",
            labels={"figure": "neurons in common"},
        ),
        overlap_data="results/tables/overlap.parquet",
    log:
        "logs/tabulate_published.log",
    benchmark:
        "logs/benchmarks/tabulate_published.tsv"
    conda:
        "../../envs/audio-neurons.yaml"
    params:
        about=about_tables,
        cases=ablated_cases(),
        listed=listed_cases(),
        known=published_lists(),
        code=code_digest("summary", "published"),
    message:
        "Set the paper's numbers beside ours"
    script:
        "../scripts/tabulate_published.py"


rule summarize:
    input:
        coverage="results/tables/coverage.parquet",
        sharing="results/tables/sharing.parquet",
        pairs="results/tables/pairs.parquet",
        differences="results/tables/differences.parquet",
        published="results/tables/published.parquet",
        ablation="results/tables/ablation.parquet",
        overlap="results/tables/overlap.parquet",
    output:
        text="results/findings.rst",
        html=report(
            "results/findings.html",
            caption="../report/findings.rst",
            category="Findings",
            labels={"figure": "in words"},
        ),
        summary="results/summary.txt",
    log:
        "logs/summarize.log",
    benchmark:
        "logs/benchmarks/summarize.tsv"
    conda:
        "../../envs/audio-neurons.yaml"
    params:
        about=about_tables,
        notes=model_notes,
        code=code_digest("summary", "findings"),
    message:
        "Say what was found"
    script:
        "../scripts/summarize.py"


# Archives and clips are no input: once prepared they may go, and only then are they read again.
rule list_files:
    input:
        "results/rejected/{dataset}.parquet",
    output:
        "results/sources/{dataset}.json",
    log:
        "logs/list_files/{dataset}.log",
    benchmark:
        "logs/benchmarks/list_files/{dataset}.tsv"
    conda:
        "../../envs/audio-neurons.yaml"
    params:
        files=source_files,
        code=code_digest("inventory"),
    message:
        "List the files of {wildcards.dataset}"
    script:
        "../scripts/list_files.py"


rule provenance:
    input:
        results=all_results(),
        sources=source_lists(),
    output:
        "results/provenance.json",
    log:
        "logs/provenance.log",
    benchmark:
        "logs/benchmarks/provenance.tsv"
    conda:
        "../../envs/audio-neurons.yaml"
    params:
        config=lambda _: canonical(config),
        files=made_between(),
        code=code_digest("inventory"),
    message:
        "List what the results were made of"
    script:
        "../scripts/list_provenance.py"
