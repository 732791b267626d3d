"""The streams of random numbers that results of a seed rest on: the same with every version of NumPy.

NumPy promises them for `RandomState` only; methods of `Generator` may change, and `multinomial` did. The
package therefore draws with a few methods, whose streams are pinned here. The file needs nothing but NumPy:
``make test-streams`` runs it with the oldest and the newest NumPy on each Python that is found.
"""

import hashlib
import re
import sys
from pathlib import Path

import numpy as np

PACKAGE = Path(__file__).resolve().parents[2] / "alpaca_analysis"
DRAWS = {
    "integers": lambda rng: rng.integers(805, size=(40, 805), dtype=np.int32),
    "integers, 64 bits": lambda rng: rng.integers(40, size=(40, 40)),
    "random": lambda rng: rng.random((40, 805)),
    "standard_normal": lambda rng: rng.standard_normal((40, 2, 40)),
    "uniform": lambda rng: rng.uniform(-0.5, 0.5, (2, 99, 15)),
    "chisquare": lambda rng: rng.chisquare(17.3, 999),
    "permutation": lambda rng: rng.permutation(805),
    "spawn": lambda rng: [one.random(805) for one in rng.spawn(3)],
}
DIGESTS = {
    "integers": "3a67ebd94b042bba",
    "integers, 64 bits": "33b152f3c6ea5573",
    "random": "8233bee8162109e4",
    "standard_normal": "3afbfe1563d8fb47",
    "uniform": "ed0bcecf1b28638a",
    "chisquare": "757b5ba1f4deb7b6",
    "permutation": "0dd20e7f295a5234",
    "spawn": "3fd66b7cbd073eb8",
}
NAMES = r"(?:rng|generator|one|stream|default_rng\([^()]*\))\.(\w+)\("


def digest(name: str) -> str:
    """Return what a draw comes to, to nine digits: logarithms may differ in the last one."""
    drawn = np.round(np.asarray(DRAWS[name](np.random.default_rng(20230919))), 9)
    return hashlib.sha256(np.ascontiguousarray(drawn.astype(float) + 0.0).tobytes()).hexdigest()[:16]


def test_streams_are_the_same_everywhere():
    assert {name: digest(name) for name in DRAWS} == DIGESTS


def test_the_package_draws_with_these_methods_only():
    used = set()
    for path in PACKAGE.rglob("*.py"):
        lines = path.read_text(encoding="utf-8").splitlines()
        code = [line for line in lines if not line.lstrip().startswith((">>>", "..."))]
        used |= set(re.findall(NAMES, "\n".join(code)))
    methods = {name for name in used if hasattr(np.random.Generator, name)}
    assert methods == {name.partition(",")[0] for name in DRAWS}


if __name__ == "__main__":
    test_streams_are_the_same_everywhere()
    print(f"Python {sys.version.split()[0]}, NumPy {np.__version__}: the same streams")
