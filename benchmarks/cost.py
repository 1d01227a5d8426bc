"""Cost of the full reproduction, and of far larger studies: the tables of docs/cost.md.

``python -m benchmarks.cost`` rewrites them, and the README's hours of both configurations, from
``benchmarks/rates.yaml`` (measured rates and assumptions), the datasets' own facts, the arithmetic of
`audio_neurons.cost.work` (which ``python -m audio_neurons cost`` uses too), and what is below.
"""

import argparse
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import yaml

from audio_neurons import datasets
from audio_neurons.cost import work
from audio_neurons.settings.ablation import Ablation

HOME = Path(__file__).parents[1]
PAGE = HOME / "docs" / "cost.md"
README = HOME / "README.md"
RATES = Path(__file__).with_name("rates.yaml")
BEGIN, END = "<!-- {}: written by `make reference` -->\n", "<!-- end of {} -->\n"

NEURONS, FEATURES = 36_864, 3840  # ViT-Base; M2D's clip vector


OPERATIONS = {"ViT-Base": work.vit, "AST": work.ast}


class Costs:
    """Quantities that the tables need, from rates and facts."""

    def __init__(self, rates: dict, config: Mapping | None = None):
        """``config`` is a configuration whose samples are counted, instead of all clips of all datasets."""
        self.rates, self.assumed, self.measured = rates, rates["assumed"], rates["measured"]
        known = work.facts()["datasets"]
        full = yaml.safe_load((HOME / "config" / "config.yaml").read_text(encoding="utf-8"))
        names = sorted(full["datasets"])
        self.facts = {name: datasets.source(name) for name in names}
        self.clips = {name: known[name].get("clips", f.get("clips")) for name, f in self.facts.items()}
        for name, block in (config or {}).get("datasets", {}).items():
            if sample := block.get("sample"):
                self.clips[name] = min(self.clips[name], sample["clips"])
        self.seconds = {name: f["clip_seconds"] for name, f in self.facts.items()}
        self.audio = sum(self.clips[name] * self.seconds[name] for name in names)
        self.models = sum(self.assumed["models"].values())
        self.work = {
            kind: sum(self.clips[n] * self.seconds_of(kind, self.seconds[n]) for n in names)
            for kind in OPERATIONS
        }

    def rate(self, name: str) -> float:
        return self.measured[name]["value"]

    @staticmethod
    def seconds_of(kind: str, seconds: float) -> float:
        """Return the operations over one clip."""
        return OPERATIONS[kind](seconds)

    def speeds(self) -> Iterator[tuple[str, float]]:
        """Yield hardware and its operations per second, statistics included."""
        overhead = self.rate("overhead")
        yield "2 CPU cores, fp32 (ViT-Base measured)", self.rate("gflops") * 1e9 / overhead
        for (card, precision), speed in work.speeds().items():
            yield f"{card}, {precision} (arithmetic)", speed / overhead

    def total_work(self) -> float:
        return sum(self.assumed["models"][kind] * one for kind, one in self.work.items())


def number(value: float, digits: int = 2) -> str:
    """Format a number with ``digits`` significant digits and commas.

    >>> number(0.0123), number(12.3), number(1234), number(123456)
    ('0.012', '12', '1,200', '120,000')
    """
    if value == 0:
        return "0"
    rounded = round(value, digits - 1 - math.floor(math.log10(abs(value))))
    return f"{rounded:,.0f}" if abs(rounded) >= 10 else f"{rounded:g}"


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(map(str, line))} |\n" for line in lines)


def amounts(costs: Costs) -> str:
    """Return the table of work by dataset."""
    rows = []
    for name, facts in costs.facts.items():
        clips, seconds = costs.clips[name], costs.seconds[name]
        peta = [number(clips * costs.seconds_of(kind, seconds) / 1e15) for kind in OPERATIONS]
        rows.append([facts["title"], f"{clips:,}", f"{seconds:g}", number(clips * seconds / 3600), *peta])
    total = [f"{sum(costs.clips.values()):,}", "", number(costs.audio / 3600)]
    rows.append(["**all**", *total, *(number(one / 1e15) for one in costs.work.values())])
    head = ["dataset", "clips", "seconds each", "hours", *(f"PFLOP, {kind}" for kind in OPERATIONS)]
    return table(head, rows)


def time(costs: Costs) -> str:
    """Return the table of hours of the forward passes, and of the reading and decoding that they need."""
    rows = []
    per_second = costs.work["ViT-Base"] / costs.audio
    for name, speed in costs.speeds():
        hours = [number(one / speed / 3600) for one in costs.work.values()]
        audio = speed / per_second
        threads = audio / costs.rate("decode")
        read = audio * costs.rate("clip_bytes") / 1e6
        total = number(costs.total_work() / speed / 3600)
        rows.append([name, *hours, f"**{total}**", number(audio), number(threads), number(read)])
    head = ["on", *(f"h, one {kind}" for kind in OPERATIONS), f"h, all {costs.models} models"]
    return table([*head, "ViT-Base: audio-s/s", "threads that decode", "MB/s of clips"], rows)


def hours(costs: Costs, name: str) -> tuple[Costs, str, str]:
    """Return a shipped configuration's costs, its hours on two CPU cores, and those on the GPU shown."""
    config = yaml.safe_load((HOME / "config" / f"{name}.yaml").read_text(encoding="utf-8"))
    own = Costs(costs.rates, config)
    (gpu,) = (speed for title, speed in own.speeds() if SHOWN in title)
    cpu = next(own.speeds())[1]
    return own, *(number(own.total_work() / speed / 3600) for speed in (cpu, gpu))


def configurations(costs: Costs) -> str:
    """Return the table of hours of the configurations that are shipped for the paper's datasets."""
    rows = []
    for name in CONFIGURATIONS:
        own, cpu, gpu = hours(costs, name)
        total = f"{sum(own.clips.values()):,}"
        rows.append([f"`config/{name}.yaml`", total, number(own.audio / 3600), f"**{cpu}**", gpu])
    head = ["configuration", "clips", "hours of audio", f"h, all {costs.models} models, 2 CPU cores"]
    return table([*head, f"h, {SHOWN} (arithmetic)"], rows)


def named(readme: str, given: dict) -> str:
    """Return the README with both configurations' hours; a line break may stand between its words."""
    costs = Costs(given)
    for name in CONFIGURATIONS:
        _, cpu, gpu = hours(costs, name)
        words = r"(\s+hours\s+on\s+two\s+CPU\s+cores,\s+)"
        said = rf"(config/{name}\.yaml` (?:(?!\n- |\n\n).)*?)\S+{words}\S+(\s+on)"
        readme, found = re.subn(said, rf"\g<1>{cpu}\g<2>{gpu}\g<3>", readme, flags=re.DOTALL)
        if found != 1:
            raise ValueError(f"README.md says the hours of config/{name}.yaml {found} times, not once")
    return readme


CONFIGURATIONS = ("config", "paper")
SHOWN = "H100 SXM, tf32"
ABLATED = {"cremad_emotion": ("cremad", "emotion"), "gtzan": ("gtzan", "genre")}


def conditions(config: Mapping, task: str, drawn: int | None = None) -> int:
    """Return the conditions of a task that `config` ablates.

    ``drawn`` is the number of random sets where effects are called; ``None``: all random sets and the paper's
    control at every gain and replacement, as was done before.

    >>> config = {"ablation": {"gains": [0, 0.5, 2], "tasks": {"gtzan": {"shared": [["a", "b"]]}}}}
    >>> conditions(config, "gtzan"), conditions(config, "gtzan", 42)
    (7344, 600)
    """
    settings = Ablation(**{k: v for k, v in config["ablation"].items() if k != "tasks"})
    block = config["ablation"]["tasks"][task]
    listed = 2 * len(block.get("shared", ())) + len(block.get("lists", ()))
    dataset, label = ABLATED[task]
    sets = work.facts()["datasets"][dataset]["classes"][label] + listed
    if drawn is None:
        return work.before_sequential(settings, sets)
    return work.own_conditions(settings, sets) + work.compared_conditions(settings, sets) * drawn


def ablation(costs: Costs) -> str:
    """Return the table of hours of the ablations of the shipped configurations."""
    rows, cores = [], next(costs.speeds())[1] * costs.rate("overhead")
    share = costs.assumed["share"]
    for name in ("config", "paper"):
        config = yaml.safe_load((HOME / "config" / f"{name}.yaml").read_text(encoding="utf-8"))
        settings = Ablation(**{k: v for k, v in config["ablation"].items() if k != "tasks"})
        drawn = (work.fewest_draws(settings), settings.random)
        for task, (dataset, _) in ABLATED.items():
            seconds, test = costs.seconds[dataset], work.facts()["datasets"][dataset]["splits"]["test"]
            for kind in OPERATIONS:
                passes = test * costs.seconds_of(kind, seconds) / cores / 3600
                before = conditions(config, task) * share["shared" if kind == "ViT-Base" else "none"]
                after = [conditions(config, task, n) * share["shared"] for n in drawn]
                rows.append(
                    [
                        f"`config/{name}.yaml`", task, kind, f"{conditions(config, task):,}",
                        " to ".join(f"{conditions(config, task, n):,}" for n in drawn),
                        number(before * passes), " to ".join(number(n * passes) for n in after),
                        " to ".join(number(n / before) for n in after),
                    ]
                )  # fmt: skip
    head = [
        "configuration",
        "task",
        "one",
        "conditions before",
        "now",
        "h before, 2 CPU cores",
        "h now",
        "share",
    ]
    return table(head, rows)


def sizes(costs: Costs) -> list[tuple[str, float]]:
    """Return the gigabytes of each kind of file, at their maximum during the reproduction."""
    units = sum(count for count, _ in costs.assumed["units"].values())
    unit = costs.rate("unit_bytes") * NEURONS
    return [
        ("archives, to be downloaded", sum(facts["size_gb"] for facts in costs.facts.values())),
        ("clips", costs.audio * costs.rate("clip_bytes") / 1e9),
        ("embeddings", costs.models * sum(costs.clips.values()) * 4 * FEATURES / 1e9),
        ("units, merged", costs.models * units * unit / 1e9),
        ("units of the parts", costs.models * units * unit * costs.assumed["parts_of_a_group"] / 1e9),
    ]


def disk(costs: Costs) -> str:
    rows = sizes(costs)
    rows.append(("**together**", sum(size for _, size in rows)))
    return table(["what", "GB"], [[name, number(size)] for name, size in rows])


def rest(costs: Costs) -> str:
    """Return the table of costs other than forward passes."""
    archives = sizes(costs)[0][1]
    units = sum(count for count, _ in costs.assumed["units"].values())
    line = costs.assumed["line_bytes"]
    merge = costs.models * units * costs.assumed["parts_of_a_group"] / costs.rate("merge")
    rows = [
        ["download", f"{number(archives * 1e9 / line / 60)} min at 1 Gbit/s, if the hosts are as fast"],
        ["preparation", f"{number(costs.audio / costs.rate('prepare') / 3600)} core-hours"],
        ["reading clips again, once per model", f"{number(sizes(costs)[1][1] * costs.models)} GB in all"],
        ["merge", f"{number(merge / 60)} core-minutes, all models"],
    ]
    return table(["what", "costs"], rows)


def internet(costs: Costs) -> str:
    """Return the table of costs of ten million hours of audio."""
    a = costs.assumed
    audio = a["hours"] * 3600
    clips = audio / a["clip_seconds"]
    shards = a["hours"] / a["shard_hours"]
    operations = clips * costs.seconds_of("ViT-Base", a["clip_seconds"])
    rows = [["clips of 5 s", number(clips)]]
    for name, speed in costs.speeds():
        hours = number(operations / speed / 3600)
        rows.append([f"one pass of ViT-Base: {name}", f"{hours} hours of it"])
    unit = costs.rate("unit_bytes") * NEURONS
    merge = shards * 1000 / costs.rate("merge")
    one_job = audio / (2 * costs.rate("prepare")) / 86400
    start = shards * costs.rate("start") / 3600
    jobs = 4 * shards
    rows += [
        ["clips, FLAC", f"{number(audio * costs.rate('clip_bytes') / 1e12)} TB, read once per model"],
        ["decoding", f"{number(audio / costs.rate('decode') / 3600)} core-hours per model"],
        ["preparation", f"{number(audio / costs.rate('prepare') / 3600)} core-hours"],
        ["preparation as it is, one job of two threads per dataset", f"{number(one_job)} days"],
        [f"shards of {a['shard_hours']} h", f"{number(shards)} per model; a dataset may have 1,000"],
        ["starting their jobs", f"{number(start)} hours of a GPU per model"],
        [f"planning {number(jobs)} jobs of four models", f"{number(jobs / costs.rate('dry_run') / 3600)} h"],
        ["embeddings, per model", f"{number(clips * 4 * FEATURES / 1e12)} TB"],
        ["units, 1,000 groups in all (counts are pooled)", f"{number(1000 * unit / 1e6)} MB per model"],
        ["units, a group for every hour", f"{number(a['hours'] * unit / 1e12)} TB per model"],
        ["merge, 1,000 units in every shard", f"{number(merge / 3600)} core-hours per model"],
    ]
    return table(["10 million hours", "costs"], rows)


def rates(costs: Costs) -> str:
    rows = []
    for name, fact in costs.measured.items():
        if isinstance(fact, dict):
            rows.append([UNITS[name][0], f"{number(fact['value'], 3)} {UNITS[name][1]}", fact["source"]])
    return table(["measured", "rate", "source"], rows)


UNITS = {
    "gflops": ("ViT-Base, bare forward pass, fp32, 2 cores", "GFLOP/s"),
    "overhead": ("time of extraction / bare forward pass", ""),
    "decode": ("decoding FLAC", "audio-s/s per core"),
    "prepare": ("preparing clips", "audio-s/s per core"),
    "clip_bytes": ("a second of a clip", "bytes"),
    "unit_bytes": ("a neuron in a row of `units`", "bytes"),
    "merge": ("rows of `units`, 36,864 neurons, added up", "per second and core"),
    "start": ("start of a job", "s"),
    "dry_run": ("jobs that Snakemake plans", "per second"),
}
TABLES = {"work": amounts} | {
    f.__name__: f for f in (time, configurations, ablation, disk, rest, internet, rates)
}


def filled(page: str, given: dict) -> str:
    """Return the page with every table written between its marks."""
    costs = Costs(given)
    for name, make in TABLES.items():
        begin, end = BEGIN.format(name), END.format(name)
        before, found, after = page.partition(begin)
        if not found or end not in after:
            raise ValueError(
                f"no place for the table '{name}': the page needs {begin.strip()} and {end.strip()}"
            )
        page = f"{before}{begin}\n{make(costs)}\n{end}{after.partition(end)[2]}"
    return page


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rates", type=Path, default=RATES, help="(default: benchmarks/rates.yaml)")
    parser.add_argument("--page", type=Path, default=PAGE, help="(default: docs/cost.md)")
    parser.add_argument("--readme", type=Path, default=README, help="(default: README.md)")
    args = parser.parse_args(argv)
    given = yaml.safe_load(args.rates.read_text(encoding="utf-8"))
    for path, write in ((args.page, filled), (args.readme, named)):
        path.write_text(write(path.read_text(encoding="utf-8"), given), encoding="utf-8")


if __name__ == "__main__":
    main()
