"""The privacy requirements: every row has its tests, every test exists, and docs/compliance.md shows just that."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

import pytest

from tests.privacy_rows import SECTIONS, PrivacyRow, all_rows, as_table

TESTS = Path(__file__).resolve().parents[1]
COMPLIANCE = TESTS.parent / "docs" / "compliance.md"
REQUIREMENTS = TESTS.parent.parent / "shared" / "PRIVACY.md"


def marked_tests() -> tuple[set[str], dict[str, set[str]]]:
    """Return the names of all tests, and by row those that are marked with it."""
    names: set[str] = set()
    marked: dict[str, set[str]] = defaultdict(set)
    for file in TESTS.rglob("test_*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or not node.name.startswith("test_"):
                continue
            names.add(node.name)
            for mark in node.decorator_list:
                if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.privacy_row":
                    marked[ast.literal_eval(mark.args[0])].add(node.name)
    return names, marked


NAMES, MARKED = marked_tests()


@pytest.mark.parametrize("row", all_rows(), ids=lambda row: row.name)
def test_every_row_has_its_tests(row: PrivacyRow) -> None:
    assert set(row.tests) <= NAMES
    assert MARKED[row.name] <= set(row.tests), "a marked test is missing in tests/privacy_rows.py"
    assert row.tests or row.open, "a row without a test says what is missing"


@pytest.mark.parametrize("row", SECTIONS["Audit log"], ids=lambda row: row.name)
def test_every_row_of_the_audit_log_has_a_test_with_its_name(row: PrivacyRow) -> None:
    assert MARKED[row.name]
    assert not row.open


@pytest.mark.privacy_row("rotation_is_no_secret")
def test_the_threat_model_calls_the_rotation_no_secret() -> None:
    text = (TESTS.parent / "docs" / "threat-model.md").read_text(encoding="utf-8")
    assert "**The gallery's rotation is renewability, not secrecy.**" in text
    assert "knows 100 templates" in text


def test_no_test_is_marked_with_a_row_that_does_not_exist() -> None:
    assert MARKED.keys() <= {row.name for row in all_rows()}
    assert len({row.name for row in all_rows()}) == len(all_rows())


def test_compliance_page_shows_the_rows() -> None:
    assert as_table() in COMPLIANCE.read_text(encoding="utf-8"), "run: python -m tests.privacy_rows"


def test_no_row_of_the_requirements_is_forgotten() -> None:
    if not REQUIREMENTS.exists():
        pytest.skip("the list of requirements is not beside this repository")
    counts: dict[str, int] = {}
    for part in REQUIREMENTS.read_text(encoding="utf-8").split("\n## ")[1:]:
        title, _, body = part.partition("\n")
        counts[title] = len([line for line in body.splitlines() if line.startswith("| ")]) - 1  # without the heading
    for section in ("Templates", "Erasure", "Audit log", "Attacks"):
        assert len(SECTIONS[section]) == counts[section]
