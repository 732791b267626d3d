"""Build the release, and install its wheel on each Python that is found.

``python tests/wheel.py UV`` builds the source distribution, a wheel from it, and in environments of their own runs
the first command of the README. It says which versions of Python are not there.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from streams import VERSIONS

ROOT = Path(__file__).resolve().parents[1]
DIST = ROOT / "build" / "dist"
FIRST = ["alpaca-analysis", "win-rate", "alpaca_eval_v1_counts"]


def main(uv: str) -> int:
    """Return the number of versions on which the wheel fails."""
    beside = sorted(str(path) for path in Path.home().glob(".pyenv/versions/*/bin"))
    variables = {**os.environ, "UV_PYTHON_DOWNLOADS": "never", "VIRTUAL_ENV": ""}
    variables["PATH"] = os.pathsep.join([*beside, os.environ["PATH"]])
    variables.pop("PYTHONPATH", None)
    subprocess.run([uv, "build", "--quiet", "--out-dir", str(DIST), str(ROOT)], env=variables, check=True)
    (wheel,) = DIST.glob("*.whl")
    (source,) = DIST.glob("*.tar.gz")
    print(f"{source.name}: {source.stat().st_size:,} bytes; {wheel.name}: {wheel.stat().st_size:,} bytes")
    return sum(_fails(uv, version, wheel, variables) for version in VERSIONS)


def _fails(uv, version, wheel, variables):
    with tempfile.TemporaryDirectory() as folder:
        make = [uv, "venv", "--quiet", "--python", version, folder + "/env"]
        if subprocess.run(make, env=variables, capture_output=True).returncode:
            print(f"Python {version}: not found; not tested")
            return False
        install = [uv, "pip", "install", "--quiet", "--python", folder + "/env", str(wheel)]
        subprocess.run(install, env=variables, check=True)
        run = [f"{folder}/env/bin/{FIRST[0]}", *FIRST[1:]]
        done = subprocess.run(run, env=variables, cwd=folder, capture_output=True, text=True)
        works = done.returncode == 0 and "gpt4" in done.stdout
        print(f"Python {version}: {'the wheel works' if works else done.stderr[-2000:]}")
        return not works


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
