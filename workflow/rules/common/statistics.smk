"""What rules ask of the forward pass."""


def encoder_code(module, wildcards):
    """Digest of a module that runs an encoder, and of the encoder's adapter."""
    return code_digest(module, f"models.{MODELS[wildcards.model]['adapter']}")


def shard_outputs():
    """What one forward pass writes, by name."""
    shard = "results/shards/{model}/{dataset}/{shard}"
    outputs = {name: f"{shard}/{name}.parquet" for name in SHARD_TABLES}
    outputs["embeddings"] = "results/embeddings/{model}/{dataset}/part-{shard}.parquet"
    if config["extraction"]["responses"]:
        outputs["responses"] = "results/responses/{model}/{dataset}/part-{shard}.parquet"
    return outputs


def statistics_of_shards(wildcards):
    """The tables of every shard of a model and dataset, by name."""
    shard = f"results/shards/{wildcards.model}/{wildcards.dataset}"
    return {
        name: [f"{shard}/{number}/{name}.parquet" for number in shards(wildcards.dataset)]
        for name in SHARD_TABLES
    }


def extraction_settings(wildcards):
    """What of the configuration decides the numbers of a forward pass, as text."""
    keys = ("batch_size", "tokens", "threshold", "activity", "top_clips", "precision", "compile")
    settings = {key: config["extraction"][key] for key in keys}
    settings["labels"] = cell_labels(wildcards.dataset)
    return canonical({"clip_seconds": clip_seconds(wildcards.dataset), **settings})


def medians(wildcards):
    """The bars that activity 'median' asks for."""
    wanted = config["extraction"]["activity"] == "median"
    return [f"results/medians/{wildcards.model}/{wildcards.dataset}.parquet"] if wanted else []


def dataset_clips(wildcards):
    return clip_tables(wildcards.dataset)


def median_settings(wildcards):
    keys = ("batch_size", "tokens")
    settings = {key: config["extraction"][key] for key in keys} | config["extraction"]["median"]
    return canonical({"clip_seconds": clip_seconds(wildcards.dataset), **settings})


def extraction_threads(wildcards):
    """Without a GPU many jobs of one thread are faster than one job of many."""
    return 1 if config["extraction"]["device"] == "cpu" else 8
