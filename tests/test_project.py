"""The project's own files agree with each other."""

import importlib.util
import inspect
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from numpydoc.docscrape import NumpyDocString

import alpaca_analysis as aa

ROOT = Path(__file__).resolve().parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
CONDA_NAMES = {
    "matplotlib": "matplotlib-base",
    "orjson": "python-orjson",
    "huggingface-hub": "huggingface_hub",
    "jupyter-client": "jupyter_client",
}


def _requirement(text):
    name, bounds = re.fullmatch(r"([A-Za-z0-9_-]+)(.*)", text.split(";")[0].strip()).groups()
    return CONDA_NAMES.get(name, name), bounds


def test_environment_is_true_to_pyproject():
    listed = re.findall(r"^  - ([a-z][^\s:]*)$", (ROOT / "environment.yml").read_text(), re.MULTILINE)
    listed = {_requirement(item) for item in listed} - {("pip", ""), ("conda-forge", "")}
    project = PYPROJECT["project"]
    wanted = {
        _requirement(r) for r in project["dependencies"] + project["optional-dependencies"]["notebooks"]
    }
    assert listed == wanted | {("python", project["requires-python"])}


def test_constraints_have_no_addresses_and_cover_what_is_needed():
    text = (ROOT / "constraints.txt").read_text()
    assert "://" not in text
    assert "@" not in text
    pinned = {line.partition("==")[0].lower() for line in text.splitlines() if "==" in line}
    needed = [
        r for group in ("notebooks", "tests") for r in PYPROJECT["project"]["optional-dependencies"][group]
    ]
    for requirement in PYPROJECT["project"]["dependencies"] + needed:
        assert re.match(r"[A-Za-z0-9_-]+", requirement)[0].lower() in pinned


@pytest.mark.parametrize("name", aa.__all__)
def test_public_names_load_and_are_documented(name):
    thing = getattr(aa, name)
    assert thing.__doc__
    assert len(thing.__doc__.splitlines()[0]) < 111


def test_the_drawing_in_the_readme_is_the_folders_and_their_layers():
    drawn = (
        (ROOT / "README.md").read_text(encoding="utf-8").split("```\nalpaca_analysis/\n")[1].split("```")[0]
    )
    layers = [re.findall(r"(\w+)/", line.partition("  # ")[0]) for line in drawn.splitlines()]
    contract = PYPROJECT["tool"]["importlinter"]["contracts"][0]["layers"]
    assert layers == [layer.split(" | ") for layer in contract]
    here = {path.name for path in (ROOT / "alpaca_analysis").iterdir() if path.is_dir()} - {"__pycache__"}
    assert {name for layer in layers for name in layer} == here


def test_no_module_is_named_like_a_public_function():
    # Whoever imports the module puts it in the place of the function.
    modules = {path.stem for path in (ROOT / "alpaca_analysis").iterdir()}
    named = {name for name in aa.__all__ if not inspect.ismodule(getattr(aa, name))}
    assert not modules & named


def test_importing_is_light():
    heavy = ("pandas", "numpy", "scipy", "matplotlib")
    code = f"import sys, alpaca_analysis; print([m for m in {heavy} if m in sys.modules])"
    assert (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.strip()
        == "[]"
    )


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.name)
def test_notebooks_are_committed_with_results_short_and_without_definitions(path):
    cells = json.loads(path.read_text())["cells"]
    code = [c for c in cells if c["cell_type"] == "code"]
    assert len(cells) <= 40
    assert path.stat().st_size < 1_000_000
    assert [c["execution_count"] for c in code] == list(range(1, len(code) + 1))
    assert sum(bool(c["outputs"]) for c in code) >= 3
    assert not any(o["output_type"] == "error" for c in code for o in c["outputs"])
    assert not any(re.search(r"^\s*(def|class) ", "".join(c["source"]), re.MULTILINE) for c in code)


@pytest.mark.parametrize("path", sorted((ROOT / "alpaca_analysis").rglob("*.py")), ids=lambda p: p.stem)
def test_options_are_keyword_only_and_nothing_is_unfinished(path):
    text = path.read_text()
    assert not re.search(r"NotImplementedError|TODO|FIXME|XXX", text)
    assert not re.search(r"(?<![\w.])/(work|tmp|root|home)/", text)


def test_readme_says_what_the_code_computes():
    script = ROOT / "notebooks" / "readme.py"
    spec = importlib.util.spec_from_file_location("readme", script)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert f"{module.START}\n{module.headline()}{module.END}" in text
    assert f"{module.COVERAGE_START}\n{module.coverage()}{module.COVERAGE_END}" in text


def test_figures_of_the_readme_are_there():
    for path in re.findall(r"!\[[^]]+\]\(([^)]+)\)", (ROOT / "README.md").read_text(encoding="utf-8")):
        assert (ROOT / path).stat().st_size > 10_000


ANYONE = "int, Generator or SeedSequence"
WORDING = {  # of parameters that many functions share: their type, and how their description begins
    "table": ("DataFrame", "Judgements|Battles"),
    "humans": ("DataFrame", "Judgements"),
    "confidence_level": ("float", r"Coverage in \(0, 1\)|Probability in \(0, 1\) that"),
    "alpha": ("float", r"Level in \(0, 1\) of the two-sided test"),
    "power": ("float|{1, 2}", r"Probability in \(0, 1\)|2 where"),
    "n_resamples": ("int", "Bootstrap resamples|Random orders|Evaluations drawn"),
    "rng": (ANYONE, "Seed of "),
    "scoring": ('{"zero_one", "absolute"}', ""),
    "on": ("sequence of str, optional", "Columns that tell comparisons of one pair apart"),
}


@pytest.mark.parametrize("name", [name for name in aa.__all__ if inspect.isfunction(getattr(aa, name))])
def test_parameters_are_described_in_place_and_the_shared_ones_alike(name):
    function = getattr(aa, name)
    described = {
        each: (entry.type, " ".join(entry.desc))
        for entry in NumpyDocString(inspect.getdoc(function))["Parameters"]
        for each in entry.name.split(", ")
    }
    assert list(described) == list(inspect.signature(function).parameters)
    for each, (kind, text) in described.items():
        assert kind, f"{each} has no type"
        assert not re.match(r"(As (in|for|of|by) |See )", text), f"{each} is described elsewhere: {text}"
        types, beginning = WORDING.get(each, (kind, ""))
        assert kind.removesuffix(", optional") in types.split("|") or kind.startswith(types), each
        assert re.match(beginning, text), f"{each}: {text}"
