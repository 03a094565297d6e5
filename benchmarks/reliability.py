"""Everything that was done to disturb, kill and mislead a run, and what came out: the tables of docs/reliability.md.

    OMP_NUM_THREADS=1 python benchmarks/reliability.py [--quick]

Takes about a quarter of an hour on a quiet machine; `--quick` leaves out the pairs.
"""

import argparse
import importlib
import importlib.util
import logging
import sys
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.reliability.matrix import AXES, IMPOSSIBLE, Case, methods_by_precision, pairwise, run, singles
from tests.reliability.mutations import MUTATIONS, switched_off

# g++ is needed, and half a minute each
INDUCTOR = (
    Case(compiled="inductor"),
    Case(compiled="inductor", precision="bf16-mixed", cadence="steps", watching="fixed steps"),
    Case(compiled="inductor", checkpointing="body", watching="LRP"),
)


def _tried(cases: Iterable[Case]) -> tuple[list[tuple[Case, list[str]]], list[str]]:
    """Run cases, telling each as it comes; returns what came out, and the errors of runs without monitors."""
    results: list[tuple[Case, list[str]]] = []
    no_cases: list[str] = []
    for case in cases:
        began = time.perf_counter()
        try:
            found = run(case)
        except Exception as error:  # noqa: BLE001 - a run that fails unwatched is no case
            no_cases.append(f"{case}: {type(error).__name__}: {error}")
            print(f"NO CASE  {no_cases[-1]}"[:300], flush=True)
            continue
        results.append((case, found))
        word = "DIFFERS " if found else "the same"
        print(f"{word} {time.perf_counter() - began:5.1f} s  {case}", *found, sep="\n    ", flush=True)
    return results, no_cases


def _by_axis(results: list[tuple[Case, list[str]]]) -> str:
    lines = ["| axis | value: runs with it, of which the same to the last bit |", "|---|---|"]
    for axis in AXES:
        runs = Counter(str(getattr(case, axis)) for case, _ in results)
        same = Counter(str(getattr(case, axis)) for case, found in results if not found)
        lines.append(f"| {axis} | {'; '.join(f'{value}: {n}, {same[value]}' for value, n in runs.items())} |")
    return "\n".join(lines)


def undisturbed(*, quick: bool) -> str:
    """Run the matrix; return its table."""
    cases = [Case(), *singles(), *([] if quick else [*methods_by_precision(), *pairwise(), *INDUCTOR])]
    results, no_cases = _tried(dict.fromkeys(cases))
    same = sum(not found for _, found in results)
    impossible = [f"- {' with '.join(sorted(str(v) for _, v in pair))}: {why}" for pair, why in IMPOSSIBLE.items()]
    broken = [f"- {line}" for line in no_cases]
    return "\n".join(
        [
            f"{len(results)} runs with and without the three monitors; {same} the same to the last bit.",
            "",
            _by_axis(results),
            "",
            "Pairs that cannot be, whatever this package does:",
            *impossible,
            *(["", "Runs that failed unwatched:", *broken] if broken else []),
        ]
    )


def mutations() -> str:
    """Switch off one part of the isolation after another; return what the matrix saw."""
    lines = ["| switched off | seen in |", "|---|---|"]
    for name in MUTATIONS:
        with switched_off(name) as case:
            found = run(case)
        lines.append(f"| {name} | {found[0] if found else 'NOTHING'} |")
        print(lines[-1], flush=True)
    return "\n".join(lines)


def faults() -> str:
    """Return the table of injected faults, where it is there."""
    name = "tests.reliability.faults"
    if importlib.util.find_spec(name) is None:
        return "(none here)"
    return importlib.import_module(name).table()


def main() -> None:
    """Print all tables."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--quick", action="store_true", help="each value alone, without pairs and inductor")
    quick = options.parse_args().quick
    for name in ("lightning.pytorch", "lightning.fabric"):
        for logger in (name, f"{name}.utilities.rank_zero"):
            logging.getLogger(logger).setLevel(logging.ERROR)
    tables = {"Undisturbed": undisturbed(quick=quick), "The matrix can fail": mutations(), "Unkilled": faults()}
    for title, table in tables.items():
        print(f"\n## {title}\n\n{table}", flush=True)


if __name__ == "__main__":
    main()
