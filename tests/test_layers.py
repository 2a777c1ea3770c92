"""The house has floors: a module imports only from below, and the language stands alone."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import connectome

PACKAGE = Path(connectome.__file__).parent

# The longest name that fits decides.
FLOORS = {
    "connectome": 0,
    "connectome.errors": 0,
    "connectome.network": 1,
    "connectome.config": 2,
    "connectome.extjson": 1,
    "connectome.relaxed": 2,
    "connectome.schemas": 2,
    "connectome.archives": 2,
    "connectome.credentials": 3,
    "connectome.splitting": 2,
    "connectome.query": 2,
    "connectome.inference": 3,
    "connectome.seeds": 5,
    "connectome.stores": 3,
    "connectome.formats": 4,
    "connectome.service": 4,
    "connectome.snapshots": 5,
    "connectome.remote": 6,
    "connectome.web": 6,
    "connectome.cli": 7,
    "connectome.testing": 7,
    "connectome.__main__": 8,
}
# Inside the language, from below: what else there is stands somewhere between, and never in a circle.
LANGUAGE = {
    "connectome.query.values": 0,
    "connectome.query.paths": 1,
    "connectome.query.patterns": 2,
    "connectome.query.filter": 3,
    "connectome.query.sort": 4,
    "connectome.query.projection": 4,
    "connectome.query.update": 5,
    "connectome.query": 6,
}


def module_name(file: Path) -> str:
    parts = file.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(file): file for file in sorted(PACKAGE.rglob("*.py"))}


def imported_by(module: str) -> Iterator[str]:
    """Every module of ours that a module imports, wherever in it the import stands."""
    for node in ast.walk(ast.parse(MODULES[module].read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports relatively, which hides the floor"
            base = node.module or ""
            names = [f"{base}.{alias.name}" if f"{base}.{alias.name}" in MODULES else base for alias in node.names]
        else:
            continue
        yield from (name for name in names if name.partition(".")[0] == "connectome")


def package(module: str) -> str:
    """The name under which a module stands in FLOORS."""
    while module not in FLOORS:
        module = module.rpartition(".")[0]
    return module


class TestFloors:
    def test_every_top_level_module_has_a_floor(self):
        """A new module of the package is given its floor here, with a thought."""
        top_level = {".".join(module.split(".")[:2]) for module in MODULES}

        assert top_level == set(FLOORS)

    @pytest.mark.parametrize("module", MODULES)
    def test_a_module_imports_only_from_below(self, module):
        """Between packages, every import leads to a lower floor."""
        upward = [
            name
            for name in imported_by(module)
            if package(name) != package(module)
            and FLOORS[package(name)] >= FLOORS[package(module)]
            # The version stands in the root, which imports nothing.
            and name != "connectome"
        ]

        assert upward == []

    @pytest.mark.parametrize("module", LANGUAGE)
    def test_inside_the_language_imports_lead_down_too(self, module):
        """Values, paths, patterns, filter, then sort and projection, then update: no way back."""
        upward = [name for name in imported_by(module) if LANGUAGE.get(name, -1) >= LANGUAGE[module]]

        assert upward == []

    def test_there_is_no_circle(self):
        """Not even inside a package: every module can be read after those that it stands on."""
        TopologicalSorter({module: set(imported_by(module)) for module in MODULES}).prepare()

    def test_flask_lives_in_the_web_alone(self):
        """No module outside connectome.web imports flask or werkzeug."""
        importers = {
            module
            for module, file in MODULES.items()
            for node in ast.walk(ast.parse(file.read_text()))
            for name in (
                [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else [node.module or ""]
                if isinstance(node, ast.ImportFrom)
                else []
            )
            if name.partition(".")[0] in ("flask", "werkzeug")
        }

        assert {package(module) for module in importers} == {"connectome.web"}

    @pytest.mark.parametrize(
        "module", ["api", "atlas", "bodies", "envelopes", "exchange", "express", "problems", "serving"]
    )
    def test_the_operations_know_nothing_of_flask(self, module):
        """What the express lane needs is plain functions: Flask is the other road to them."""
        tree = ast.parse(MODULES[f"connectome.web.{module}"].read_text())

        imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        imported |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}

        assert "flask" not in imported


def loaded_by(statement: str) -> set[str]:
    """The modules that a fresh interpreter holds after a statement."""
    program = f"import sys\n{statement}\nprint(*sys.modules, sep='\\n')"
    return set(
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    )


class TestLightImports:
    @pytest.mark.parametrize("heavy", ["flask", "werkzeug", "tinydb", "jsonschema", "pymongo", "click", "waitress"])
    def test_the_language_loads_no(self, heavy, loaded_by_the_language):
        """``import connectome.query`` needs BSON's types and a regular expression engine, nothing else."""
        assert heavy not in loaded_by_the_language

    def test_the_language_loads_no_other_part_of_ours(self, loaded_by_the_language):
        """Of ours, the language needs the errors and Extended JSON."""
        ours = {name for name in loaded_by_the_language if name.partition(".")[0] == "connectome"}

        assert {name for name in ours if package(name) != "connectome.query"} == {
            "connectome",
            "connectome.errors",
            "connectome.extjson",
        }

    def test_the_package_itself_loads_nothing_of_ours(self):
        """``import connectome`` brings the version, and no module below it."""
        assert {name for name in loaded_by("import connectome") if name.startswith("connectome")} == {"connectome"}


@pytest.fixture(scope="module")
def loaded_by_the_language() -> set[str]:
    return loaded_by("import connectome.query")
