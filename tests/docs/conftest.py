"""Lets tests import the scripts that write pages and figures."""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path += [str(ROOT / name) for name in ("scripts", "benchmarks")]
