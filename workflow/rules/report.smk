"""Figures with their data, tables over all models, findings, and provenance."""


rule draw_sharing:
    input:
        sharing=study.results.sharing,
        inference=study.results.sharing_inference,
        inventory=study.results.inventories,
    output:
        pdf=paths.fill(paths.FIGURE, figure="{comparison}", kind="pdf"),
        png=report(
            paths.fill(paths.FIGURE, figure="{comparison}", kind="png"),
            caption="../report/sharing.rst",
            category="Shared neurons",
            labels={"figure": "{comparison}"},
        ),
        data=paths.fill(paths.FIGURE, figure="{comparison}", kind="parquet"),
        csv=paths.fill(paths.FIGURE, figure="{comparison}", kind="csv"),
    log:
        "logs/draw_sharing/{comparison}.log",
    benchmark:
        "logs/benchmarks/draw_sharing/{comparison}.tsv"
    conda:
        "../../envs/audio-neurons.yaml"
    params:
        figure="sharing",
        about=study.results.about_comparison,
        clips=study.results.told_of_clips,
        code=code_digest("report.figures.drawing", "report.figures.sharing"),
    message:
        "Draw the figure {wildcards.comparison}"
    script:
        "../scripts/draw.py"


# Figures over all tasks, with the tables that they read.
for _figure in OVERALL:

    rule:
        name:
            f"draw_{_figure}"
        input:
            **study.results.overall(_figure),
            inventory=study.results.inventories,
        output:
            pdf=paths.fill(paths.FIGURE, figure=_figure, kind="pdf"),
            png=report(
                paths.fill(paths.FIGURE, figure=_figure, kind="png"),
                caption=f"../report/{_figure}.rst",
                category="Class-specific neurons",
                labels={"figure": _figure},
            ),
            data=paths.fill(paths.FIGURE, figure=_figure, kind="parquet"),
            csv=paths.fill(paths.FIGURE, figure=_figure, kind="csv"),
        log:
            f"logs/draw_{_figure}.log",
        benchmark:
            f"logs/benchmarks/draw_{_figure}.tsv"
        conda:
            "../../envs/audio-neurons.yaml"
        params:
            figure=_figure,
            about=study.results.about_tasks,
            clips=study.results.told_of_clips,
            code=code_digest("report.figures.drawing", f"report.figures.{_figure}"),
        message:
            f"Draw the figure {_figure}"
        script:
            "../scripts/draw.py"


# Figures of an ablated task, with their folders and their titles in the report.
for _figure, _folder, _title, _table in (
    ("ablation", "ablation", "effects", "ablation"),
    ("matrix", "ablation_matrix", "class x class", "ablation"),
    ("confusion", "confusion", "confusion matrices", "confusion"),
    ("dose", "dose", "dose and response", "ablation"),
):

    rule:
        name:
            f"draw_{_figure}"
        input:
            **{_table: getattr(study.results, _table)},
            inventory=study.results.inventories,
        output:
            pdf=paths.fill(paths.FIGURE, figure=f"{_folder}/{{task}}", kind="pdf"),
            png=report(
                paths.fill(paths.FIGURE, figure=f"{_folder}/{{task}}", kind="png"),
                caption=f"../report/{_figure}.rst",
                category="Ablation",
                labels={"task": "{task}", "figure": _title},
            ),
            data=paths.fill(paths.FIGURE, figure=f"{_folder}/{{task}}", kind="parquet"),
            csv=paths.fill(paths.FIGURE, figure=f"{_folder}/{{task}}", kind="csv"),
        log:
            f"logs/draw_{_figure}/{{task}}.log",
        benchmark:
            f"logs/benchmarks/draw_{_figure}/{{task}}.tsv"
        conda:
            "../../envs/audio-neurons.yaml"
        params:
            figure=_figure,
            about=study.results.about_ablation,
            clips=study.results.told_of_clips,
            code=code_digest("report.figures.drawing", f"report.figures.{_figure}"),
        message:
            f"Draw {_title} of the ablation of {{wildcards.task}}"
        script:
            "../scripts/draw.py"


# With extraction.acoustics.
rule draw_acoustics:
    input:
        classes=study.results.acoustic_classes,
        neurons=study.results.neurons_of,
        correlations=study.results.correlations_of,
        inventory=study.results.inventories,
    output:
        pdf=paths.fill(paths.FIGURE, figure="acoustics/{task}", kind="pdf"),
        png=report(
            paths.fill(paths.FIGURE, figure="acoustics/{task}", kind="png"),
            caption="../report/acoustics.rst",
            category="Class-specific neurons",
            labels={"task": "{task}", "figure": "acoustics"},
        ),
        data=paths.fill(paths.FIGURE, figure="acoustics/{task}", kind="parquet"),
        csv=paths.fill(paths.FIGURE, figure="acoustics/{task}", kind="csv"),
    log:
        "logs/draw_acoustics/{task}.log",
    benchmark:
        "logs/benchmarks/draw_acoustics/{task}.tsv"
    conda:
        "../../envs/audio-neurons.yaml"
    params:
        figure="acoustics",
        about=study.results.about_acoustics,
        clips=study.results.told_of_clips,
        code=code_digest("report.figures.drawing", "report.figures.acoustics"),
    message:
        "Draw what else the neurons of {wildcards.task} hear"
    script:
        "../scripts/draw.py"


rule tabulate_acoustics:
    input:
        classes=study.tasks.of_tasks("acoustic_classes"),
        neurons=study.tasks.of_tasks("neurons"),
        correlations=study.results.all_correlations(),
    output:
        csv=report(
            paths.fill(paths.TABLE, table="acoustics", kind="csv"),
            caption="../report/acoustics_table.rst",
            category="Class-specific neurons",
            labels={"figure": "table of acoustics"},
        ),
        data=paths.fill(paths.TABLE, table="acoustics", kind="parquet"),
    log:
        "logs/tabulate_acoustics.log",
    benchmark:
        "logs/benchmarks/tabulate_acoustics.tsv"
    conda:
        "../../envs/audio-neurons.yaml"
    params:
        about=study.results.about_tables,
        clips=study.results.told_of_clips,
        code=code_digest("report.acoustics"),
    message:
        "Assemble what stays of classes without acoustics"
    script:
        "../scripts/tabulate_acoustics.py"


rule tabulate:
    input:
        classes=study.tasks.of_tasks("classes"),
        inference=study.tasks.inferred("inference"),
        draws=study.tasks.inferred("draws"),
        sharing=study.tasks.of_comparisons("sharing", study.tasks.compared),
        sharing_inference=study.tasks.shared("sharing_inference"),
        sharing_draws=study.tasks.shared("sharing_draws"),
        inventory=study.results.inventories,
    output:
        clips=report(
            paths.fill(paths.TABLE, table="clips", kind="csv"),
            caption="../report/clips_table.rst",
            category="Recordings",
            labels={"figure": "clips per class and split"},
        ),
        clips_data=paths.fill(paths.TABLE, table="clips", kind="parquet"),
        coverage=report(
            paths.fill(paths.TABLE, table="coverage", kind="csv"),
            caption="../report/coverage_table.rst",
            category="Class-specific neurons",
            labels={"figure": "table"},
        ),
        coverage_data=paths.fill(paths.TABLE, table="coverage", kind="parquet"),
        sharing=report(
            paths.fill(paths.TABLE, table="sharing", kind="csv"),
            caption="../report/sharing_table.rst",
            category="Shared neurons",
            labels={"figure": "table of means"},
        ),
        sharing_data=paths.fill(paths.TABLE, table="sharing", kind="parquet"),
        pairs=report(
            paths.fill(paths.TABLE, table="pairs", kind="csv"),
            caption="../report/pairs_table.rst",
            category="Shared neurons",
            labels={"figure": "table of pairs"},
        ),
        pairs_data=paths.fill(paths.TABLE, table="pairs", kind="parquet"),
        differences=report(
            paths.fill(paths.TABLE, table="differences", kind="csv"),
            caption="../report/differences_table.rst",
            category="Findings",
            labels={"figure": "differences between models"},
        ),
        differences_data=paths.fill(paths.TABLE, table="differences", kind="parquet"),
    log:
        "logs/tabulate.log",
    benchmark:
        "logs/benchmarks/tabulate.tsv"
    conda:
        "../../envs/audio-neurons.yaml"
    params:
        about=study.results.about_tables,
        clips=study.results.told_of_clips,
        code=code_digest("report.summary", "report.conditions", "inference.differences"),
    message:
        "Assemble the tables"
    script:
        "../scripts/tabulate.py"


rule tabulate_published:
    input:
        coverage=paths.fill(paths.TABLE, table="coverage", kind="parquet"),
        ablation=study.tasks.ablation_tables(),
        neurons=study.tasks.listed_neurons(),
        coverage_theirs=study.tasks.published_file("coverage"),
        ablation_theirs=study.tasks.published_file("ablation"),
        lists=study.tasks.all_published_lists(),
    output:
        published=report(
            paths.fill(paths.TABLE, table="published", kind="csv"),
            caption="../report/published_table.rst",
            category="The paper's numbers",
            labels={"figure": "coverage and neurons"},
        ),
        published_data=paths.fill(paths.TABLE, table="published", kind="parquet"),
        ablation=report(
            paths.fill(paths.TABLE, table="ablation", kind="csv"),
            caption="../report/ablation_table.rst",
            category="Ablation",
            labels={"figure": "table"},
        ),
        ablation_data=paths.fill(paths.TABLE, table="ablation", kind="parquet"),
        overlap=report(
            paths.fill(paths.TABLE, table="overlap", kind="csv"),
            caption="../report/overlap_table.rst",
            category="The paper's numbers",
            labels={"figure": "neurons in common"},
        ),
        overlap_data=paths.fill(paths.TABLE, table="overlap", kind="parquet"),
    log:
        "logs/tabulate_published.log",
    benchmark:
        "logs/benchmarks/tabulate_published.tsv"
    conda:
        "../../envs/audio-neurons.yaml"
    params:
        about=study.results.about_tables,
        clips=study.results.told_of_clips,
        cases=study.tasks.cases(study.tasks.ablated_in()),
        listed=study.tasks.cases(study.tasks.listed_in()),
        known=lambda _: serialise(study.tasks.known_lists()),
        code=code_digest("report.summary", "report.published"),
    message:
        "Compare the results with the paper's numbers"
    script:
        "../scripts/tabulate_published.py"


rule tabulate_expectations:
    input:
        pair_draws=study.tasks.shared("pair_draws"),
        differences=paths.fill(paths.TABLE, table="differences", kind="parquet"),
        expected=study.tasks.expected(),
    output:
        csv=report(
            paths.fill(paths.TABLE, table="expectations", kind="csv"),
            caption="../report/expectations_table.rst",
            category="The paper's numbers",
            labels={"figure": "expected patterns"},
        ),
        data=paths.fill(paths.TABLE, table="expectations", kind="parquet"),
    log:
        "logs/tabulate_expectations.log",
    benchmark:
        "logs/benchmarks/tabulate_expectations.tsv"
    conda:
        "../../envs/audio-neurons.yaml"
    params:
        about=study.results.about_expectations,
        clips=study.results.told_of_clips,
        code=code_digest("report.expectations", "inference.patterns", "study.expected"),
    message:
        "Compare the results with what is expected"
    script:
        "../scripts/tabulate_expectations.py"


rule summarize:
    input:
        **study.results.acoustic_table(),
        clips=paths.fill(paths.TABLE, table="clips", kind="parquet"),
        coverage=paths.fill(paths.TABLE, table="coverage", kind="parquet"),
        sharing=paths.fill(paths.TABLE, table="sharing", kind="parquet"),
        pairs=paths.fill(paths.TABLE, table="pairs", kind="parquet"),
        differences=paths.fill(paths.TABLE, table="differences", kind="parquet"),
        published=paths.fill(paths.TABLE, table="published", kind="parquet"),
        ablation=paths.fill(paths.TABLE, table="ablation", kind="parquet"),
        overlap=paths.fill(paths.TABLE, table="overlap", kind="parquet"),
        expectations=paths.fill(paths.TABLE, table="expectations", kind="parquet"),
        checks=study.results.checks(),
        figures=study.results.figures("png"),
    output:
        html=report(
            paths.FINDINGS,
            caption="../report/findings.rst",
            category="Findings",
            labels={"figure": "in words"},
        ),
        summary=paths.SUMMARY,
    log:
        "logs/summarize.log",
    benchmark:
        "logs/benchmarks/summarize.tsv"
    conda:
        "../../envs/audio-neurons.yaml"
    params:
        about=study.results.about_tables,
        notes=study.results.model_notes,
        code=code_digest("report.summary", "report.findings"),
    message:
        "Write the findings"
    script:
        "../scripts/summarize.py"


# Archives and clips are not inputs, so that they may be deleted after preparation; they are read again only after
# another preparation.
rule list_files:
    input:
        study.datasets.all_rejected,
    output:
        paths.SOURCES,
    log:
        "logs/list_files/{dataset}.log",
    benchmark:
        "logs/benchmarks/list_files/{dataset}.tsv"
    conda:
        "../../envs/audio-neurons.yaml"
    params:
        files=study.results.source_files,
        code=code_digest("report.inventory"),
    message:
        "List the files of {wildcards.dataset}"
    script:
        "../scripts/list_files.py"


rule provenance:
    input:
        results=study.results.everything(),
        sources=study.results.source_lists(),
    output:
        paths.PROVENANCE,
    log:
        "logs/provenance.log",
    benchmark:
        "logs/benchmarks/provenance.tsv"
    conda:
        "../../envs/audio-neurons.yaml"
    params:
        config=lambda _: serialise(config),
        files=study.results.made_between(),
        code=code_digest("report.inventory"),
    message:
        "Write the provenance of the results"
    script:
        "../scripts/list_provenance.py"
