"""Change a module in every small way cosmic-ray knows, and see whether its tests notice.

``python tests/mutation/mutants.py MODULE... [--per-place N] [--seed S] [--lines A,B] [-m EXPRESSION]`` from the
root. One process loads pytest and the heavy libraries once, and forks for each mutant; the copy imports the
package, the module from its changed source, and runs the module's tests, quickest first, until one fails. No file
is changed. Annotations, `raise` statements, the stars of signatures and swaps of identity with equality are left
alone, as are mutants that Python refuses.
"""

import argparse
import contextlib
import difflib
import gc
import importlib.util
import json
import os
import random
import resource
import sys
import tempfile
import time
import warnings
from collections import Counter
from importlib.machinery import SourceFileLoader
from pathlib import Path

import pytest
from cosmic_ray import plugins
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code

CONTROL = [f"tests/test_length_control{x}.py" for x in ("", "_published", "_alpaca_eval")]
TESTS = {name: [f"tests/test_{name}.py"] for name in ("winrates", "agreement", "claims")}
TESTS["blocks"] = TESTS["winrates"]
TESTS |= dict.fromkeys(("length_control", "length_control_result", "_length_fit", "_logistic"), CONTROL)
SWAPS = ("Eq_Is", "NotEq_IsNot", "Is_Eq", "IsNot_NotEq")
SECONDS, MEMORY = 60, 8 << 30  # of processor time and address space, for one mutant


def mutants(source):
    """Yield place, operator and occurrence of every mutant."""
    nodes = list(ast_nodes(get_ast(source)))
    spared = [n for n in nodes if n.type in ("raise_stmt", "annassign")]
    spared += [n for n in nodes if n.type == "operator" and n.parent.type in ("parameters", "param")]
    spared += [n.annotation for n in nodes if n.type in ("param", "funcdef") and n.annotation]
    for name in sorted(plugins.operator_names()):
        operator = plugins.get_operator(name)
        if operator.arguments() or name.endswith(SWAPS):
            continue
        places = (span for node in nodes for span in operator().mutation_positions(node))
        for occurrence, (start, end) in enumerate(places):
            if not any(n.start_pos <= start and end <= n.end_pos for n in spared):
                yield start, name, occurrence


def choose(every, per_place, lines, seed):
    """Return `per_place` random mutants of each place in the source; one more keeps all that fewer gave."""
    chosen, taken = [], Counter()
    for mutant in random.Random(seed).sample(every, len(every)):
        taken[mutant[0]] += 1
        if taken[mutant[0]] <= per_place and (not lines or mutant[0][0] in lines):
            chosen.append(mutant)
    return sorted(chosen)


class Changed(SourceFileLoader):
    """Finds one module, and loads it from a source of its own."""

    def find_spec(self, name, path=None, target=None):
        found = name == self.name
        return importlib.util.spec_from_file_location(name, self.path, loader=self) if found else None

    def get_code(self, fullname):
        with warnings.catch_warnings(action="ignore"):
            return compile(self.source, self.path, "exec", dont_inherit=True)


class Forks:
    """A pytest plugin that collects and runs the tests in a fork for each mutant."""

    def __init__(self, module, chosen, folder):
        self.loader = Changed(f"alpaca_analysis.{module}", f"alpaca_analysis/{module}.py")
        self.chosen, self.baseline = chosen, Path(folder, "baseline.json")
        self.seconds, self.survived, self.invalid, self.child = {}, 0, 0, False

    def fork(self, source):
        """Return the exit status of the tests with this source; None in the copy that is to run them."""
        if pid := os.fork():
            return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        self.child, self.loader.source = True, source
        resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        silent = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silent, 1), os.dup2(silent, 2)
        sys.meta_path.insert(0, self.loader)
        return None

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection(self, session):
        import hypothesis  # not before pytest does

        hypothesis.settings.register_profile("mutants", database=None, derandomize=True)
        hypothesis.settings.load_profile("mutants")
        text = Path(self.loader.path).read_text(encoding="utf-8")
        status = self.fork(text)
        if status is None:
            return None
        if status:
            raise pytest.UsageError(f"the tests fail without a mutant (exit status {status})")
        found = json.loads(self.baseline.read_text())
        self.seconds = found["seconds"]
        for name in found["modules"]:
            with contextlib.suppress(Exception), warnings.catch_warnings(action="ignore"):
                importlib.import_module(name)
        gc.freeze()
        for k, ((line, _), name, occurrence) in enumerate(self.chosen):
            began, source = time.perf_counter(), mutate_code(text, plugins.get_operator(name)(), occurrence)
            try:
                self.loader.source = source
                self.loader.get_code(None)
            except SyntaxError:
                self.invalid += 1
                continue
            status = self.fork(source)
            if status is None:
                return None
            if status == 0:
                changes = difflib.ndiff(text.split("\n"), source.split("\n"))
                changes = [d for d in changes if d[0] in "+-"]
                print(f"survived: line {line}, {name} {occurrence}", *changes, sep="\n    ", flush=True)
                self.survived += 1
            took = time.perf_counter() - began
            print(
                f"{k + 1}/{len(self.chosen)} {line} {name} {status} {took:.1f}", file=sys.stderr, flush=True
            )
        session.items, session.testscollected = [], 1
        return True

    def pytest_collection_modifyitems(self, items):
        items.sort(key=lambda item: self.seconds.get(item.nodeid, 0))

    def pytest_runtest_logreport(self, report):
        self.seconds[report.nodeid] = self.seconds.get(report.nodeid, 0) + report.duration

    def finish(self, status):
        """Leave the copy, the first of which says what it took; say what became of the mutants."""
        if self.child:
            if not self.baseline.exists():
                modules = [m for m in sys.modules if m.split(".")[0] not in ("alpaca_analysis", "__main__")]
                self.baseline.write_text(json.dumps({"seconds": self.seconds, "modules": modules}))
            os._exit(status)
        run = len(self.chosen) - self.invalid
        print(
            f"{self.loader.name}: {run} run, {run - self.survived} killed, {self.survived} survived",
            flush=True,
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("modules", nargs="+", choices=TESTS)
    parser.add_argument(
        "--per-place", type=int, default=99, help="how many mutants of each place; 99 are all"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--lines", type=lambda text: set(map(int, text.split(","))), help="only these")
    parser.add_argument("-m", default="slow or not slow", help="which tests, by their markers")
    asked = parser.parse_args()
    for module in asked.modules:
        every = list(mutants(Path(f"alpaca_analysis/{module}.py").read_text(encoding="utf-8")))
        chosen = choose(every, asked.per_place, asked.lines, asked.seed)
        print(f"{module}: {len(every)} mutants, {len(chosen)} chosen", flush=True)
        with tempfile.TemporaryDirectory() as folder:
            forks = Forks(module, chosen, folder)
            options = [
                "-x",
                "-s",
                "-q",
                "--no-header",
                "--tb=native",
                "-m",
                asked.m,
                "-p",
                "no:hypothesispytest",
            ]
            forks.finish(
                pytest.main([*options, f"alpaca_analysis/{module}.py", *TESTS[module]], plugins=[forks])
            )


if __name__ == "__main__":
    main()
