"""The path of every file that the workflow makes; names in braces are Snakemake's wildcards."""

from __future__ import annotations

# Archives, weights, and what models are trained on
ARCHIVE = "resources/archives/{dataset}/{file}"
ARCHIVE_LOCK = "resources/checksums/{dataset}/{file}.sha256"
SYNTHESIS = "resources/checksums/{dataset}/synthesis.json"
WEIGHTS = "resources/weights/{model}/{file}"
WEIGHTS_LOCK = "resources/checksums/{model}.sha256"
SNAPSHOT = "resources/weights/{model}/hub/snapshot.json"
SNAPSHOT_LOCK = "resources/checksums/{model}.hub.json"
POOL = "results/pools/{pool}.parquet"
POOL_PART = "results/pools/{pool}/part-{shard}.arrow"
POOL_TABLE = "results/pools/{pool}/{table}.parquet"
TRAINED = "results/training/{model}/model.safetensors"
TRAINING = "results/training/{model}/{table}.parquet"
# Clips, and one forward pass over them
CLIPS = "results/clips/{dataset}/part-{shard}.parquet"
REJECTED = "results/rejected/{dataset}.parquet"
INVENTORY = "results/inventory/{dataset}.parquet"
FACTS = "results/facts/{dataset}.parquet"
CHECKS = "results/checks/{dataset}.parquet"
COMMON = "results/common/{comparison}.parquet"
FACTS_CACHE = "resources/facts/{dataset}.parquet"
MEDIANS = "results/medians/{model}/{dataset}.parquet"
NETWORKS = "results/networks/{model}.parquet"
NORM_STATS = "results/norm_stats/{model}/{dataset}.parquet"
SHARD = "results/shards/{model}/{dataset}/{shard}/{table}.parquet"
SHARD_TABLES = ("cells", "counts", "units", "top_clips")
EMBEDDINGS = "results/embeddings/{model}/{dataset}/part-{shard}.parquet"
RESPONSES = "results/responses/{model}/{dataset}/part-{shard}.parquet"
ACOUSTICS = "results/acoustics/{model}/{dataset}/part-{shard}.parquet"
STATISTICS = "results/statistics/{model}/{dataset}/{table}.parquet"
# Clips that stand for neurons, and their sounds
EXAMPLES = "results/examples/{model}/{dataset}.parquet"
EXCITED = "results/excited/{model}/{dataset}.parquet"
SHOWN = "results/shown/{dataset}.parquet"
EXCERPTS = "results/excerpts/{dataset}.parquet"
# Tables of one model and task: neurons, classes, inference, stability, draws, acoustic_classes, ablation, ...
OF_TASK = "results/{table}/{model}/{task}/{selector}.parquet"
# Tables of one model and comparison: sharing, sharing_inference, sharing_draws, pair_draws
OF_COMPARISON = "results/{table}/{model}/{comparison}/{selector}.parquet"
# What one of several jobs wrote of ablation, confusion, ablation_sets and ablation_clips
ABLATION_PART = "results/ablation_parts/{model}/{task}/{selector}/{part}/{table}.parquet"
PROBES = "results/probes/{model}/{task}.{kind}"
SCREENING = "results/{table}/{model}/{task}.parquet"
# Over all models
FIGURE = "results/figures/{figure}.{kind}"
TABLE = "results/tables/{table}.{kind}"
FINDINGS = "results/findings.html"
ATLAS = "results/atlas/index.html"
ATLAS_PAGES = "results/atlas/pages"
ATLAS_LOCAL = "results/atlas/local"
# Checksums of what was not made here, by which changes of it are noticed
CONTENTS = "results/sources/checksums.txt"
SUMMARY = "results/summary.txt"
SOURCES = "results/sources/{dataset}.json"
PROVENANCE = "results/provenance.json"


def fill(path: str, **values: object) -> str:
    """Return ``path`` with some of its wildcards filled in; the others stay wildcards."""
    for name, value in values.items():
        path = path.replace(f"{{{name}}}", str(value))
    return path
