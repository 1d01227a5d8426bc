"""Run every benchmark in a separate process, and print a table of the measurements at the end.

For the options of a benchmark, see its own help: ``python -m benchmarks.extraction --help``.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from benchmarks.common import HISTORY, HOME, line

# In the order of the table: the cost of the statistics comes first.
ALL = (
    "extraction", "alternatives", "ablation", "inference", "end_to_end", "memory", "growth", "workflow",
    "preparation", "encoders", "precision", "context", "counting",
)  # fmt: skip


def main(argv: Sequence[str] | None = None) -> None:
    style = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("python -m benchmarks", description=__doc__, formatter_class=style)
    parser.add_argument(
        "names", nargs="*", default=ALL, metavar="NAME", help=f"{', '.join(ALL)} (default: all)"
    )
    parser.add_argument("--history", type=Path, default=HISTORY, help=f"(default: {HISTORY})")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: only check that they run")
    args = parser.parse_args(argv)
    if unknown := set(args.names) - set(ALL):
        parser.error(f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(ALL)}")
    began, failed = pd.Timestamp.now("UTC"), []
    for name in args.names:
        command = [sys.executable, "-m", f"benchmarks.{name}", "--history", args.history.absolute()]
        start = time.monotonic()
        done = subprocess.run(
            [*command, *["--quick"] * args.quick], cwd=HOME, stderr=subprocess.PIPE, text=True
        )
        print(f"  ({time.monotonic() - start:.0f} s)", flush=True)
        if done.returncode:
            failed.append(name)
            print(done.stderr, file=sys.stderr)
    show(args.history, began)
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")


def show(history: Path, since: pd.Timestamp) -> None:
    """Print a table of the measurements since then."""
    if not history.is_file():
        return
    rows = pd.read_parquet(history)
    rows = rows[rows["when"] >= since]
    for machine, measured in rows.groupby("machine", sort=False):
        print(f"\n{machine}, {rows['when'].iloc[0]:%Y-%m-%d}, commit {rows['commit'].iloc[0] or 'unknown'}")
        print("median [quartiles]; times are ratios within one turn where no unit is named")
        for name, block in measured.groupby("benchmark", sort=False):
            print(f"\n{name}")
            for row in block.to_dict("records"):
                print(f"  {line(row)}")


if __name__ == "__main__":
    main()
