"""Draw random numbers with the oldest and the newest NumPy, on each Python that is found.

``python tests/streams.py UV`` runs `foundations/test_streams.py` in environments of its own and says which
versions of Python are not there.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

VERSIONS = ("3.11", "3.12", "3.13", "3.14")
CHECK = Path(__file__).parent / "foundations" / "test_streams.py"


def main(uv: str) -> int:
    """Return the number of environments in which a stream differs."""
    beside = sorted(str(path) for path in Path.home().glob(".pyenv/versions/*/bin"))
    variables = {**os.environ, "UV_PYTHON_DOWNLOADS": "never", "VIRTUAL_ENV": ""}
    variables["PATH"] = os.pathsep.join([*beside, os.environ["PATH"]])
    failed = 0
    for version in VERSIONS:
        with tempfile.TemporaryDirectory() as folder:
            made = subprocess.run(
                [uv, "venv", "--quiet", "--python", version, folder + "/env"],
                env=variables,
                capture_output=True,
            )
            if made.returncode:
                print(f"Python {version}: not found; not tested")
                continue
            for resolution in ("lowest-direct", "highest"):
                install = [
                    uv,
                    "pip",
                    "install",
                    "--quiet",
                    "--python",
                    folder + "/env",
                    "--only-binary",
                    ":all:",
                ]
                chosen = ["--reinstall", "--resolution", resolution, "numpy>=2.0"]
                subprocess.run([*install, *chosen], env=variables, check=True)
                failed += subprocess.run([folder + "/env/bin/python", CHECK]).returncode != 0
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
