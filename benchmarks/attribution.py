"""Every row of the benchmarks that concerns the attribution methods, one script after the other.

    OMP_NUM_THREADS=1 python benchmarks/attribution.py [--repeats 5]

Takes about a quarter of an hour on a quiet machine.
"""

import argparse
import subprocess
import sys
from pathlib import Path

SCRIPTS = ("integrated_gradients.py", "conductance.py", "lrp.py")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--repeats", type=int, default=5)
    repeats = str(options.parse_args().repeats)
    for script in SCRIPTS:
        print(f"== {script}", flush=True)
        subprocess.run([sys.executable, str(Path(__file__).parent / script), "--repeats", repeats], check=True)


if __name__ == "__main__":
    main()
