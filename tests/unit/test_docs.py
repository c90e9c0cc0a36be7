"""The documents cannot rot: settings, commands, routes, test names and links are the real ones."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from enum import Enum
from pathlib import Path

import pytest
import typer
from openapi_spec_validator import validate
from pydantic.fields import FieldInfo
from typer.core import TyperCommand, TyperGroup
from typer.testing import CliRunner

from infra.settings import Settings
from services.cli.main import app

ROOT = Path(__file__).resolve().parents[2]
OPENAPI = ROOT / "docs" / "openapi.json"
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def shown_default(field: FieldInfo) -> str:
    """Return a default as the settings page shows it."""
    value = field.default
    if value is None or value == "":
        return "none"
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, Path) and value.is_relative_to(Path.home()):
        value = Path("~") / value.relative_to(Path.home())
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def settings_rows() -> list[str]:
    """Return the rows of the table in docs/settings.md."""
    return [
        f"| `DWARPAL_{name.upper()}` | {shown_default(field)} | {field.description} |"
        for name, field in Settings.model_fields.items()
    ]


def commands(command: object, path: str) -> Iterator[tuple[str, TyperCommand]]:
    """Yield the full name of every command that is not hidden, and the command."""
    if isinstance(command, TyperGroup):
        for name, inner in command.commands.items():
            if not inner.hidden:
                yield from commands(inner, f"{path} {name}")
    elif isinstance(command, TyperCommand):
        yield path, command


def all_commands() -> dict[str, TyperCommand]:
    """Return the commands of the program by full name."""
    return dict(commands(typer.main.get_command(app), "dwarpal"))


def option_variables() -> set[str]:
    """Return the environment variables that stand for options of a command."""
    names: set[str] = set()
    for command in all_commands().values():
        for parameter in command.params:
            found = parameter.envvar or ()
            names |= {found} if isinstance(found, str) else set(found)
    return names


def known_tests() -> set[str]:
    """Return the names of all test functions and files in tests/."""
    names = set()
    for file in (ROOT / "tests").rglob("*.py"):
        names.add(file.name)
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
                names.add(node.name)
    return names


@pytest.mark.parametrize("row", settings_rows())
def test_every_setting_is_documented(row: str) -> None:
    assert row in (ROOT / "docs" / "settings.md").read_text(encoding="utf-8").splitlines()


def test_no_setting_is_documented_that_is_gone() -> None:
    lines = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if line.startswith("| `DWARPAL_")] == settings_rows()


def test_no_document_names_an_unknown_setting() -> None:
    known = {f"DWARPAL_{name.upper()}" for name in Settings.model_fields}
    known |= option_variables()
    named = {
        name
        for document in DOCUMENTS
        for name in re.findall(r"DWARPAL_[A-Z_]*[A-Z]", document.read_text(encoding="utf-8"))
    }
    assert named - known == set()


@pytest.mark.parametrize("command", all_commands())
def test_every_command_is_documented(command: str) -> None:
    texts = [document.read_text(encoding="utf-8") for document in DOCUMENTS]
    assert any(re.search(rf"\b{re.escape(command)}\b", text) for text in texts)


def test_openapi_file_is_the_one_that_the_service_writes(tmp_path: Path) -> None:
    written = tmp_path / "openapi.json"
    result = CliRunner().invoke(app, ["openapi", str(written)])
    assert result.exit_code == 0, result.output
    assert OPENAPI.read_bytes() == written.read_bytes(), "run: make openapi"


def test_openapi_file_is_valid() -> None:
    validate(json.loads(OPENAPI.read_text(encoding="utf-8")))


def test_every_route_is_described() -> None:
    description = json.loads(OPENAPI.read_text(encoding="utf-8"))
    bare = [
        f"{method.upper()} {path}"
        for path, methods in description["paths"].items()
        for method, operation in methods.items()
        if not operation.get("summary") or not operation.get("responses")
    ]
    assert bare == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_tests_that_a_document_names_exist(document: Path) -> None:
    # `test_invariant_3` stands for the one test whose name goes on from there.
    known = known_tests()
    named = set(re.findall(r"\btest_[a-z0-9_]*[a-z0-9](?:\.py)?", document.read_text(encoding="utf-8")))
    missing = [name for name in named if not any(k == name or k.startswith(f"{name}_") for k in known)]
    assert sorted(missing) == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(document: Path) -> None:
    targets = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", document.read_text(encoding="utf-8"))
    local = [target for target in targets if not re.match(r"[a-z]+:", target)]
    assert [target for target in local if not (document.parent / target).exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_files_that_a_document_names_exist(document: Path) -> None:
    pattern = (
        r"`((?:biometrics|liveness|enrollment|verification|evaluation|training|infra|services|docs|tests)/[\w./]*)`"
    )
    named = re.findall(pattern, document.read_text(encoding="utf-8"))
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_every_decision_is_in_the_index() -> None:
    index = (ROOT / "docs" / "adr" / "README.md").read_text(encoding="utf-8")
    records = sorted(path.name for path in (ROOT / "docs" / "adr").glob("[0-9]*.md"))
    assert [name for name in records if f"({name})" not in index] == []
    assert [name[:4] for name in records] == [f"{number:04}" for number in range(1, len(records) + 1)]


def test_make_targets_that_a_document_names_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    known = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    named = {
        name for document in DOCUMENTS for name in re.findall(r"`make ([a-z-]+)", document.read_text(encoding="utf-8"))
    }
    assert named - known == set()
