"""Change a module in every small way cosmic-ray knows, and see whether its tests notice.

``python tests/mutation/mutants.py MODULE... [--per-place N] [--seed S] [-m EXPRESSION]`` from the root. One process
loads pytest and the heavy libraries once, and forks for each mutant; the copy imports the package, the module from
its changed source, and runs the module's tests, quickest first, until one fails. No file is changed. Annotations,
`raise` statements, the stars of signatures and swaps of identity with equality are left alone, as are mutants that
Python refuses.
"""

import argparse
import contextlib
import difflib
import importlib.util
import json
import os
import random
import resource
import sys
import tempfile
import warnings
from collections import Counter
from importlib.machinery import SourceFileLoader
from pathlib import Path

import pytest
from cosmic_ray import plugins
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from tqdm import tqdm

CONTROL = ["tests/inference/test_logistic.py", "tests/length/control"]
TESTS = {
    "win_rates.estimates": ["tests/win_rates/test_estimates.py"],
    "inference.blocks": ["tests/win_rates/test_estimates.py"],
    "people.agreement": ["tests/people/test_agreement.py"],
    "claims.win_rates": ["tests/claims/test_claims.py"],
}
TESTS |= dict.fromkeys([f"length.control.{m}" for m in ("fitting", "result", "one_model")], CONTROL)
TESTS |= {"inference.logistic": CONTROL}
SWAPS = ("Eq_Is", "NotEq_IsNot", "Is_Eq", "IsNot_NotEq")
LIMITS = {"RLIMIT_CPU": 60, "RLIMIT_AS": 8 << 30, "RLIMIT_CORE": 0}  # seconds and bytes for one mutant


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


def choose(every, per_place, seed):
    """Return `per_place` random mutants of each place in the source; one more keeps all that fewer gave."""
    chosen, taken = [], Counter()
    for mutant in random.Random(seed).sample(every, len(every)):
        taken[mutant[0]] += 1
        if taken[mutant[0]] <= per_place:
            chosen.append(mutant)
    return sorted(chosen)


class Changed(SourceFileLoader):
    """Finds one module, and loads the code it is given in its place."""

    def find_spec(self, name, path=None, target=None):
        found = name == self.name
        return importlib.util.spec_from_file_location(name, self.path, loader=self) if found else None

    def get_code(self, fullname):
        return self.code


class Forks:
    """A pytest plugin that collects and runs the tests in a fork for each mutant."""

    def __init__(self, module, options, baseline):
        self.loader = Changed(f"alpaca_analysis.{module}", f"alpaca_analysis/{module.replace('.', '/')}.py")
        self.text = Path(self.loader.path).read_text(encoding="utf-8")
        self.every = list(mutants(self.text))
        self.chosen = choose(self.every, options.per_place, options.seed)
        self.run, self.survived, self.seconds, self.baseline, self.child = 0, 0, {}, baseline, False

    def fork(self, source):
        """Return the exit status of the tests with this source; None in the copy that is to run them."""
        with warnings.catch_warnings(action="ignore"):
            self.loader.code = compile(source, self.loader.path, "exec", dont_inherit=True)
        if pid := os.fork():
            return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        self.child = True
        for name, limit in LIMITS.items():
            resource.setrlimit(getattr(resource, name), (limit, limit))
        for stream in (1, 2):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
        sys.meta_path.insert(0, self.loader)
        return None

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection(self, session):
        import hypothesis  # not before pytest does

        hypothesis.settings.register_profile("mutants", database=None, derandomize=True)
        hypothesis.settings.load_profile("mutants")
        if status := self.fork(self.text):
            raise pytest.UsageError(f"the tests fail without a mutant (exit status {status})")
        for _, name, occurrence in [] if self.child else tqdm(self.chosen, self.loader.name):
            if not self.seconds:
                self.seconds, modules = json.loads(self.baseline.read_text())
                for module in modules:
                    with contextlib.suppress(Exception), warnings.catch_warnings(action="ignore"):
                        importlib.import_module(module)
            source = mutate_code(self.text, plugins.get_operator(name)(), occurrence)
            with contextlib.suppress(SyntaxError):
                status = self.fork(source)
                if self.child:
                    return None
                self.run += 1
                if status == 0:
                    self.survived += 1
                    changed = difflib.unified_diff(
                        self.text.split("\n"), source.split("\n"), n=0, lineterm=""
                    )
                    print(f"survived: {name} {occurrence}", *list(changed)[2:], sep="\n    ", flush=True)
        session.items, session.testscollected = [], 1
        return None if self.child else True

    def pytest_collection_modifyitems(self, items):
        items.sort(key=lambda item: self.seconds.get(item.nodeid, 0))

    def pytest_runtest_logreport(self, report):
        self.seconds[report.nodeid] = self.seconds.get(report.nodeid, 0) + report.duration

    def finish(self, status):
        """Leave the copy, the first of which says what it took; say what became of the mutants."""
        if self.child:
            if not self.baseline.exists():
                modules = [m for m in sys.modules if m.split(".")[0] not in ("alpaca_analysis", "__main__")]
                self.baseline.write_text(json.dumps([self.seconds, modules]))
            os._exit(status)
        name, killed = self.loader.name, self.run - self.survived
        print(f"{name}: {len(self.every)} mutants, {self.run} run, {killed} killed, {self.survived} survived")


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("modules", nargs="*", choices=TESTS, default=list(TESTS))
    parser.add_argument(
        "--per-place", type=int, default=99, help="mutants of each place in the source; 99 are all"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("-m", default="slow or not slow", help="which tests, by their markers")
    asked = parser.parse_args()
    for module in asked.modules:
        with tempfile.TemporaryDirectory() as folder:
            forks = Forks(module, asked, Path(folder, "baseline.json"))
            options = f"-x -s -q --no-header --tb=native -p no:hypothesispytest alpaca_analysis/{module.replace('.', '/')}.py".split()
            forks.finish(pytest.main([*options, "-m", asked.m, *TESTS[module]], plugins=[forks]))


if __name__ == "__main__":
    main()
