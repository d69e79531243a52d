"""Random faults over twenty live pools of a real daemon, and what must hold whatever happens: a soak.

    python benchmarks/soak.py                                 ten minutes
    python benchmarks/soak.py --sequences 1000                so many sequences of faults instead
    python benchmarks/soak.py --seed 7 --from 42 --sequences 1     one of them again, exactly

Run it with the Python that pool-managerd is installed in. A sequence that breaks an invariant is printed with its
faults, events and the command that plays it again; the exit code is 1 then.
"""

from __future__ import annotations

import argparse
import secrets
import sys
import time

from endurance.soak import Soak


def main() -> int:
    """Soak, report, judge."""
    arguments = _arguments()
    seed = secrets.randbelow(1_000_000) if arguments.seed is None else arguments.seed
    began = time.monotonic()
    limit_s = float(arguments.minutes * 60)
    sequences: int | None = arguments.sequences

    def stop(done: int) -> bool:
        if sequences is not None:
            return done >= sequences
        return time.monotonic() - began >= limit_s

    print(f"seed {seed}", flush=True)
    soak = Soak(seed, arguments.first, stop)
    broken = 0
    for outcome in soak.run():
        if outcome.problems:
            broken += 1
            print(outcome.report(), flush=True)
        elif arguments.verbose:
            print(f"sequence {outcome.plan.name}: held, {outcome.took_s:.1f} s", flush=True)
        if broken > arguments.keep_going:
            break
    took = time.monotonic() - began
    struck = ", ".join(f"{count} {kind}" for kind, count in sorted(soak.struck.items()))
    print(f"{sum(soak.struck.values())} faults: {struck}")
    print(f"{soak.events} events, {soak.streams} streams, {soak.looks} looks at all pools")
    print(f"seed {seed}: {soak.done - broken} of {soak.done} sequences held, {took:.0f} s")
    if soak.done and not (soak.streams and soak.looks):
        print("BROKEN: nothing was streamed, or nothing looked at: the soak itself is at fault")
        return 1
    return 1 if broken else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10.0, metavar="N", help="how long (10)")
    parser.add_argument("--sequences", type=int, metavar="N", help="how many sequences, instead of minutes")
    parser.add_argument("--seed", type=int, metavar="N", help="default: a random one, which is printed")
    parser.add_argument("--from", type=int, default=0, dest="first", metavar="N", help="the first sequence (0)")
    parser.add_argument("--keep-going", type=int, default=0, metavar="N", help="go on after so many broken ones (0)")
    parser.add_argument("--verbose", action="store_true", help="a line for each sequence")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
