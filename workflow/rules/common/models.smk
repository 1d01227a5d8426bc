"""What rules ask of models: their weights, training and architecture."""


def with_weights(source):
    return [name for name, block in MODELS.items() if block["weights"]["source"] == source]


def weights_of(model):
    """A model's checkpoint; nothing for a random one."""
    block = MODELS[model]["weights"]
    return {
        "checkpoint": [f"resources/weights/{model}/{block.get('file')}"],
        "training": [f"results/training/{model}/model.safetensors"],
        "random": [],
    }[block["source"]]


def weights(wildcards):
    return weights_of(wildcards.model)


def weights_identity(wildcards):
    return canonical(sources.identity(MODELS[wildcards.model]["weights"]))


def all_downloads():
    """Archives that are still to be prepared, and checkpoints."""
    archives = [p for d in FETCHED if d not in WANTED and not prepared(d) for p in archive_paths(d).values()]
    weights = [f"resources/weights/{m}/{MODELS[m]['weights']['file']}" for m in with_weights("checkpoint")]
    return archives + weights


def without(block, *keys):
    return {k: v for k, v in block.items() if k not in keys}


def effective(block):
    """What of a model's block decides its numbers."""
    return without(block, "title", "kind", "licence", "citation", "note")


def trained_model(wildcards):
    """What of a model's block decides what it learns, as text."""
    block = effective(MODELS[wildcards.model])
    # How often its state is kept changes no bit of it; `processes` do, by the order of sums.
    return canonical({**block, "training": without(block["training"], "checkpoint_minutes")})


def pools_of(kind):
    """Pools that come from a folder of AudioSet, or those that are made here."""
    return [name for name, block in config["pools"].items() if ("audioset" in block) == (kind == "audioset")]


def trained_on(kind):
    pools = pools_of(kind)
    return [name for name in with_weights("training") if MODELS[name]["training"]["pool"] in pools]


def training_pool(wildcards):
    """The clips that a model is trained on: one table, or the parts of AudioSet."""
    pool = MODELS[wildcards.model]["training"]["pool"]
    if pool in pools_of("audioset"):
        numbers = range(config["pools"][pool]["audioset"]["shards"])
        return [f"results/pools/{pool}/part-{number:03d}.arrow" for number in numbers]
    return [f"results/pools/{pool}.parquet"]


def of_pool(key, wildcards):
    return config["pools"][wildcards.pool][key]


def of_audioset(key, wildcards):
    return of_pool("audioset", wildcards)[key]


def training_gpus(wildcards):
    return gpus(wildcards) * MODELS[wildcards.model]["training"]["processes"]


def training_threads(wildcards):
    """Most of them decode: eight keep one GPU busy."""
    return 1 if config["extraction"]["device"] == "cpu" else 8 * training_gpus(wildcards)


def architecture(wildcards):
    """What of a model's block decides its numbers beside its weights, as text."""
    block = without(effective(MODELS[wildcards.model]), "training")
    # The checkpoint itself is an input; where it came from changes nothing.
    weights = without(block["weights"], "file", "urls", "sha256", "bytes")
    return canonical({**block, "weights": weights})


def gpus(wildcards):
    return 0 if config["extraction"]["device"] == "cpu" else 1
