"""Run tests with each set of numerical kernels that this processor can run: no result may depend on it.

Ranks, ties and tests of no difference are decided by the last binary digit of a mean unless the code takes
care, and that digit depends on how OpenBLAS and NumPy add up. ``python tests/kernels.py PATH...`` runs the
tests once with each of OpenBLAS's kernels and once with NumPy's own vector instructions switched off.
"""

from __future__ import annotations

import os
import subprocess
import sys

KERNELS = ("Haswell", "SkylakeX", "Zen", "Prescott")
ASK = """
import numpy, threadpoolctl
numpy.ones((3, 3)) @ numpy.ones((3, 3))
print([i["architecture"] for i in threadpoolctl.threadpool_info() if i["internal_api"] == "openblas"][0])
"""


def answering(kernel: str) -> str | None:
    """Return the kernels that OpenBLAS takes when asked for some, None where the processor cannot run them."""
    environment = {**os.environ, "OPENBLAS_CORETYPE": kernel}
    asked = subprocess.run([sys.executable, "-c", ASK], env=environment, capture_output=True, text=True)
    return asked.stdout.strip() if asked.returncode == 0 else None


def settings() -> dict[str, dict[str, str]]:
    """Return the environments to test in, by what each stands for; say which there are."""
    import numpy

    found: dict[str, dict[str, str]] = {}
    for kernel in KERNELS:
        answer = answering(kernel)
        if answer is None:
            print(f"{kernel}: this processor cannot run it; not tested")
        elif answer in found:
            print(f"{kernel}: OpenBLAS takes the kernels {answer} for it, which are tested already")
        elif kernel == "SkylakeX" and answer != kernel:
            print(f"{kernel}: this processor cannot run it (OpenBLAS took {answer}); not tested")
        else:
            print(f"{kernel}: OpenBLAS takes the kernels {answer}")
            found[answer] = {"OPENBLAS_CORETYPE": kernel}
    features = numpy.show_config(mode="dicts")["SIMD Extensions"].get("found", [])
    if features:
        print(f"NumPy without {', '.join(features)}")
        found["NumPy without vector instructions"] = {"NPY_DISABLE_CPU_FEATURES": " ".join(features)}
    return found


def main(paths: list[str]) -> int:
    """Run the tests in each environment; return the number of environments in which they fail."""
    failed = []
    for name, variables in settings().items():
        print(f"--- {name}", flush=True)
        command = [sys.executable, "-m", "pytest", "-q", "-n", "2", "--dist", "loadgroup", *paths]
        if subprocess.run(command, env={**os.environ, **variables}).returncode:
            failed.append(name)
    print(f"failed with: {', '.join(failed)}" if failed else "the same with all of them")
    return len(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
