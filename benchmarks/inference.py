"""What resampling costs: draws of the whole selection at full size, on synthetic counts.

By default those of CREMA-D by clip, with M2D's neurons: 7,438 clips, 36,864 neurons, 6 classes, every
clip a group of its own, which is the worst case; by speaker there are 91 groups. ``--groups`` sets them.
"""

import argparse
import json
import os
import platform
import resource
import time

from audio_neurons import runtime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--draws", type=int, default=1000, help="draws of each kind (default: 1000)")
    parser.add_argument("--clips", type=int, default=7438, help="clips (default: 7438)")
    parser.add_argument("--groups", type=int, default=0, help="groups; 0 is one per clip (default: 0)")
    parser.add_argument("--neurons", type=int, default=36_864, help="neurons (default: 36864)")
    parser.add_argument("--classes", type=int, default=6, help="classes (default: 6)")
    parser.add_argument("--block", type=int, default=32, help="draws per matrix product (default: 32)")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="threads (default: all)")
    args = parser.parse_args()
    runtime.limit_threads(args.threads)

    import numpy as np

    from audio_neurons.resampling import Bootstrap, Draws, Permutation, draw, pooled
    from audio_neurons.selection import PRESETS
    from audio_neurons.units import Units

    rng = np.random.default_rng(0)
    active = np.empty((args.clips, args.neurons), np.uint16)
    rates = rng.beta(0.5, 4, args.neurons)
    for row in active:
        row[:] = rng.binomial(80, rates)
    labels = rng.integers(0, args.classes, args.clips)
    groups = np.arange(args.clips) if args.groups == 0 else rng.integers(0, args.groups, args.clips)
    tokens = np.full(args.clips, 80)
    units = pooled(Units(active, tokens, labels, groups, tuple(map(str, range(args.classes)))))

    print(
        json.dumps(
            {"cpu": platform.machine(), "numpy": np.__version__, "rows": len(units.tokens)} | vars(args)
        )
    )
    for scheme in (Permutation, Bootstrap):
        began, used = time.perf_counter(), time.process_time()
        plan = Draws(args.draws, 0, block=args.block, threads=args.threads)
        for (chosen,) in draw(units, PRESETS["aape"], scheme(units), plan):
            assert chosen.selected.any()
        wall, used = time.perf_counter() - began, time.process_time() - used
        print(f"{scheme.__name__}: {wall:.1f} s of wall time, {used:.1f} s of processor time")
    print(f"peak memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB")


if __name__ == "__main__":
    main()
