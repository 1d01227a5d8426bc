"""Clips that stand for neurons, their sounds, and the pages on which they are seen and heard."""


rule find_examples:
    input:
        clips=study.tasks.dataset_clips,
        weights=weights,
        norm_stats=study.tasks.norm_stats,
        medians=study.tasks.medians,
        strongest=study.atlas.strongest,
        neurons=study.atlas.neurons,
    output:
        examples=paths.EXAMPLES,
        excited=paths.EXCITED,
    log:
        "logs/find_examples/{model}/{dataset}.log",
    benchmark:
        "logs/benchmarks/find_examples/{model}/{dataset}.tsv"
    wildcard_constraints:
        model=any_of(study.models.alone),
    conda:
        "../../envs/audio-neurons.yaml"
    threads: study.models.threads
    resources:
        gpu=study.models.gpus,
    params:
        model=study.models.architecture,
        settings=study.tasks.passes,
        labels=study.atlas.labels,
        drawn=study.atlas.drawn(),
        device=study.config.extraction.device,
        weights=study.models.weights_content,
        code=partial(study.models.code, "activations.examples"),
    message:
        "Find examples for the neurons of {wildcards.model} in {wildcards.dataset}"
    script:
        "../scripts/find_examples.py"


# With extraction.together, as in `extract_together`.
if study.models.together:

    rule find_examples_together:
        input:
            **study.models.named(
                {
                    "weights": weights,
                    "norm_stats": study.tasks.norm_stats,
                    "medians": study.tasks.medians,
                    "strongest": study.atlas.strongest,
                    "neurons": study.atlas.neurons,
                }
            ),
            clips=study.tasks.dataset_clips_together,
        output:
            **study.tasks.outputs_together({"examples": paths.EXAMPLES, "excited": paths.EXCITED}),
        log:
            "logs/find_examples_together/{dataset}.log",
        benchmark:
            "logs/benchmarks/find_examples_together/{dataset}.tsv"
        conda:
            "../../envs/audio-neurons.yaml"
        threads: study.models.threads
        resources:
            gpu=study.models.gpus,
        params:
            names=study.models.together,
            models=study.models.of_each(study.models.architecture),
            settings=study.tasks.passes,
            labels=study.atlas.labels,
            drawn=study.atlas.drawn(),
            device=study.config.extraction.device,
            weights=study.models.of_each(study.models.weights_content),
            code=study.models.of_each(partial(study.models.code, "activations.examples")),
        message:
            "Find examples for the neurons of all models in {wildcards.dataset}"
        script:
            "../scripts/find_examples_together.py"


rule cut_excerpts:
    input:
        clips=study.atlas.heard_clips,
        examples=study.atlas.examples,
    output:
        excerpts=paths.EXCERPTS,
        shown=paths.SHOWN,
    log:
        "logs/cut_excerpts/{dataset}.log",
    benchmark:
        "logs/benchmarks/cut_excerpts/{dataset}.tsv"
    conda:
        "../../envs/audio-neurons.yaml"
    params:
        clip_seconds=study.tasks.clip_seconds,
        rate=study.atlas.rate,
        labels=study.atlas.labels_of_dataset,
        padded=study.config.extraction.count == "window",
        sounds=study.config.atlas.sounds,
        code=code_digest("recordings.excerpts"),
    message:
        "Cut the excerpts of {wildcards.dataset}"
    script:
        "../scripts/cut_excerpts.py"


# Sounds that may not be passed on are outside the pages, and so outside the report.
rule atlas:
    input:
        **study.atlas.told(),
        more=study.atlas.if_there,
    output:
        index=paths.ATLAS,
        pages=report(
            directory(paths.ATLAS_PAGES),
            caption="../report/atlas.rst",
            category="Findings",
            labels={"figure": "atlas of neurons"},
            htmlindex="index.html",
        ),
        local=directory(paths.ATLAS_LOCAL),
    log:
        "logs/atlas.log",
    benchmark:
        "logs/benchmarks/atlas.tsv"
    conda:
        "../../envs/audio-neurons.yaml"
    params:
        about=study.atlas.about,
        code=code_digest("report.atlas.building"),
    message:
        "Write the atlas"
    script:
        "../scripts/atlas.py"
