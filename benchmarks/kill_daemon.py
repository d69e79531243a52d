"""``kill -9`` of the daemon at random moments (in the midst of preloads, drains, reloads, stops, writes and adoptions).

    python benchmarks/kill_daemon.py                                   two hundred moments
    python benchmarks/kill_daemon.py --moments 20                      so many
    python benchmarks/kill_daemon.py --seed 7 --from 42 --moments 1    one of them again

After each, the next daemon must have lost or doubled no engine and keep what was answered: leases, drains, preloads,
reloads. A moment that breaks this is printed with the command that plays it again; the exit code is 1 then.
"""

from __future__ import annotations

import argparse
import secrets
import sys
import time

from endurance.kills import run


def main() -> int:
    """Kill, report, judge."""
    arguments = _arguments()
    seed = secrets.randbelow(1_000_000) if arguments.seed is None else arguments.seed
    began = time.monotonic()
    print(f"seed {seed}", flush=True)
    done = broken = promised = kills = 0
    for kept in run(seed, arguments.first, arguments.moments):
        done, promised, kills = done + 1, promised + kept.promised, kills + 1 + len(kept.moment.again_ms)
        if kept.problems:
            broken += 1
            print(kept.report(), flush=True)
        elif arguments.verbose:
            print(f"{kept.moment.describe()}: kept", flush=True)
        if broken > arguments.keep_going:
            break
    took = time.monotonic() - began
    print(f"seed {seed}: {done - broken} of {done} moments ({kills} kills, {promised} promises) kept, {took:.0f} s")
    return 1 if broken else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--moments", type=int, default=200, metavar="N", help="how many (200)")
    parser.add_argument("--seed", type=int, metavar="N", help="default: a random one, which is printed")
    parser.add_argument("--from", type=int, default=0, dest="first", metavar="N", help="the first moment (0)")
    parser.add_argument("--keep-going", type=int, default=0, metavar="N", help="go on after so many broken ones (0)")
    parser.add_argument("--verbose", action="store_true", help="a line for each moment")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
