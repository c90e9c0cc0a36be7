"""Who may import whom (docs/architecture.md), read from every source file, so that no room leaks."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).resolve().parents[2]

MAY_IMPORT: Mapping[str, frozenset[str]] = {
    "biometrics": frozenset(),
    "liveness": frozenset({"biometrics"}),
    "evaluation": frozenset({"liveness", "biometrics"}),
    "enrollment": frozenset({"liveness", "biometrics"}),
    "verification": frozenset({"liveness", "biometrics"}),
    "infra": frozenset({"enrollment", "verification", "liveness", "biometrics"}),
    "training": frozenset({"evaluation", "liveness", "biometrics"}),
    "services": frozenset({"infra", "enrollment", "verification", "evaluation", "liveness", "biometrics"}),
}

VENDOR_ROOMS: Mapping[str, tuple[str, ...]] = {
    "fastapi": ("services",),
    "starlette": ("services",),
    "uvicorn": ("services",),
    "python_multipart": ("services",),
    "typer": ("services",),
    "babel": ("services/web",),
    "sqlalchemy": ("infra",),
    "alembic": ("infra",),
    "psycopg": ("infra",),
    "cryptography": ("infra",),
    "joserfc": ("infra/credentials/jose.py",),
    "hvac": ("infra/keys/vault_client.py",),
    "tenseal": ("infra/blind.py",),
    "faiss": ("infra",),
    "onnxruntime": ("infra",),
    "torch": ("training", "infra/mtcnn_export.py", "infra/model_import.py", "biometrics/iresnet.py"),
    "torchvision": ("training",),
    "facenet_pytorch": ("training",),
    "dlib": ("training",),
}
"""Where a vendor's module may be imported: folders, or one file."""

TORCH_MODULES = frozenset({"infra/mtcnn_export.py", "biometrics/iresnet.py"})
"""Files outside training that import torch at once; `infra/model_import.py` does so only when it meets a state dict."""

IN_ONE_FILE = ("faiss", "onnxruntime")

RUN_BY_OTHERS = frozenset({"infra.migrations.env"})
"""Modules that run only inside their vendor's runner; they are read, but cannot be imported alone."""


@dataclass(frozen=True)
class Import:
    """One imported module as `file` names it; `typing_only` if it stands under `if TYPE_CHECKING`."""

    file: PurePosixPath
    line: int
    module: str
    typing_only: bool

    def __str__(self) -> str:
        return f"{self.file}:{self.line} imports {self.module}"


def source_files(root: Path) -> list[PurePosixPath]:
    """Return every Python file of the packages, relative to the root."""
    return sorted(
        PurePosixPath(file.relative_to(root).as_posix())
        for package in MAY_IMPORT
        for file in (root / package).rglob("*.py")
    )


def module_name(file: PurePosixPath) -> str:
    parts = file.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(root: Path, file: PurePosixPath) -> list[Import]:
    """Return all imports of a file: at the top, inside functions, by name through importlib."""
    tree = ast.parse((root / file).read_text(encoding="utf-8"), str(file))
    package = file.parent.parts
    return list(_walk_imports(tree, file, package, typing_only=False))


def _walk_imports(
    node: ast.AST, file: PurePosixPath, package: tuple[str, ...], *, typing_only: bool
) -> Iterator[Import]:
    match node:
        case ast.Import():
            for alias in node.names:
                yield Import(file, node.lineno, alias.name, typing_only)
        case ast.ImportFrom():
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join((*base, *([node.module] if node.module else [])))
            for alias in node.names:
                yield Import(file, node.lineno, f"{module}.{alias.name}", typing_only)
        case ast.Call(
            func=ast.Name(id="import_module" | "__import__") | ast.Attribute(attr="import_module"),
            args=[ast.Constant(value=str(name)), *_],
        ):
            yield Import(file, node.lineno, name, typing_only)
    if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
        for statement in node.body:
            yield from _walk_imports(statement, file, package, typing_only=True)
        for statement in node.orelse:
            yield from _walk_imports(statement, file, package, typing_only=typing_only)
        return
    for child in ast.iter_child_nodes(node):
        yield from _walk_imports(child, file, package, typing_only=typing_only)


def all_imports(root: Path) -> list[Import]:
    return [found for file in source_files(root) for found in imports_of(root, file)]


def layer_breaches(root: Path) -> list[str]:
    """Return imports that go against the arrows, those for the type checker included."""
    return [
        str(found)
        for found in all_imports(root)
        if (target := found.module.partition(".")[0]) in MAY_IMPORT
        and target != (own := found.file.parts[0])
        and target not in MAY_IMPORT[own]
    ]


def vendor_breaches(root: Path) -> list[str]:
    """Return vendors outside their room, and vendors of one file in two."""
    breaches = []
    files: dict[str, set[PurePosixPath]] = {}
    for found in all_imports(root):
        vendor = found.module.partition(".")[0]
        if vendor not in VENDOR_ROOMS:
            continue
        files.setdefault(vendor, set()).add(found.file)
        if not any(found.file.is_relative_to(room) for room in VENDOR_ROOMS[vendor]):
            breaches.append(str(found))
    breaches += [
        f"{vendor} is imported in {', '.join(sorted(map(str, files[vendor])))}"
        for vendor in IN_ONE_FILE
        if len(files.get(vendor, ())) > 1
    ]
    return breaches


def import_cycles(root: Path) -> list[list[str]]:
    """Return groups of modules that import each other, also inside functions (Tarjan, 1972)."""
    files = {module_name(file): file for file in source_files(root)}
    graph: dict[str, set[str]] = {name: set() for name in files}
    for found in all_imports(root):
        if found.typing_only:
            continue
        own = module_name(found.file)
        target = found.module if found.module in files else found.module.rpartition(".")[0]
        if target in files and target != own:
            graph[own].add(target)
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    cycles: list[list[str]] = []

    def visit(name: str) -> None:
        index[name] = low[name] = len(index)
        stack.append(name)
        for target in sorted(graph[name]):
            if target not in index:
                visit(target)
                low[name] = min(low[name], low[target])
            elif target in stack:
                low[name] = min(low[name], index[target])
        if low[name] == index[name]:
            group = stack[stack.index(name) :]
            del stack[stack.index(name) :]
            if len(group) > 1:
                cycles.append(sorted(group))

    for name in sorted(graph):
        if name not in index:
            visit(name)
    return cycles


def any_in_public(root: Path) -> list[str]:
    """Return public functions, methods, attributes and aliases whose type mentions `Any`."""
    found = []
    for file in source_files(root):
        tree = ast.parse((root / file).read_text(encoding="utf-8"), str(file))
        found += [f"{file}:{line} {name}" for name, line in _any_in(tree.body)]
    return found


def _any_in(body: list[ast.stmt]) -> Iterator[tuple[str, int]]:
    for node in body:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() if _is_public(node.name):
                arguments = node.args
                every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
                every += [a for a in (arguments.vararg, arguments.kwarg) if a is not None]
                if any(_mentions_any(hint) for hint in [node.returns, *(a.annotation for a in every)]):
                    yield node.name, node.lineno
            case ast.ClassDef() if _is_public(node.name):
                if any(_mentions_any(base) for base in node.bases):
                    yield node.name, node.lineno
                for name, line in _any_in(node.body):
                    yield f"{node.name}.{name}", line
            case ast.AnnAssign(target=ast.Name(id=name)) if _is_public(name):
                alias = node.value if _mentions_name(node.annotation, "TypeAlias") else None
                if _mentions_any(node.annotation) or _mentions_any(alias):
                    yield name, node.lineno
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Subscript() | ast.BinOp() as value):
                if _is_public(name) and _mentions_any(value):
                    yield name, node.lineno


def _is_public(name: str) -> bool:
    return not name.startswith("_") or (name.startswith("__") and name.endswith("__"))


def _mentions_any(node: ast.expr | None) -> bool:
    return node is not None and _mentions_name(node, "Any")


def _mentions_name(node: ast.AST, wanted: str) -> bool:
    for part in ast.walk(node):
        match part:
            case ast.Name(id=name) | ast.Attribute(attr=name) if name == wanted:
                return True
            case ast.Constant(value=str(text)) if wanted in text.replace("[", " ").replace("]", " ").split():
                return True
    return False


def importable_modules(root: Path) -> list[str]:
    """Return every module but the training room, those that are torch's own, and those run by others."""
    names = []
    for file in source_files(root):
        name = module_name(file)
        numbered = not all(part.isidentifier() for part in name.split("."))
        if file.parts[0] == "training" or str(file) in TORCH_MODULES:
            continue
        if not numbered and name not in RUN_BY_OTHERS and file.name != "__main__.py":
            names.append(name)
    return names


def test_layers_import_only_to_the_right() -> None:
    assert layer_breaches(ROOT) == []


def test_vendors_stay_in_their_rooms() -> None:
    assert vendor_breaches(ROOT) == []


@pytest.mark.parametrize("vendor", IN_ONE_FILE)
def test_vendor_is_used_in_one_file(vendor: str) -> None:
    files = {found.file for found in all_imports(ROOT) if found.module.partition(".")[0] == vendor}
    assert len(files) == 1


def test_there_are_no_import_cycles() -> None:
    assert import_cycles(ROOT) == []


def test_no_any_in_public_signatures() -> None:
    assert any_in_public(ROOT) == []


def test_every_package_is_known() -> None:
    packages = {file.parent.name for file in ROOT.glob("*/__init__.py") if file.parent.name != "tests"}
    assert packages == set(MAY_IMPORT)


def test_serving_never_imports_torch() -> None:
    modules = importable_modules(ROOT)
    assert "services.cli.main" in modules
    program = (
        "import importlib, sys\n"
        f"for name in {modules!r}: importlib.import_module(name)\n"
        "heavy = {'torch', 'torchvision', 'facenet_pytorch', 'dlib', 'training'} & set(sys.modules)\n"
        "sys.exit(f'imported: {sorted(heavy)}' if heavy else 0)\n"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DWARPAL_")}
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr


# The checker itself: each planted breach must be found, and a clean house must be let through.

CLEAN = {
    "biometrics/types.py": "import numpy as np\n",
    "liveness/pad.py": "from biometrics.types import np\n",
    "infra/gallery.py": "import faiss\nfrom verification import check\n",
    "infra/mtcnn_export.py": "import torch\n",
    "verification/check.py": "from liveness import pad\nfrom .policy import Rule\n",
    "verification/policy.py": "from typing import Any\ndef _inside(x: Any) -> None: ...\nclass Rule: ...\n",
    "services/app.py": "import fastapi\nfrom infra import gallery\n",
}

PLANTED = {
    "backward": ("layers", "biometrics/a.py", "from liveness.pad import x"),
    "between siblings": ("layers", "enrollment/a.py", "import verification.check"),
    "training served": ("layers", "services/a.py", "from training import train"),
    "evaluation in infra": ("layers", "infra/a.py", "import evaluation"),
    "inside a function": ("layers", "liveness/a.py", "def f():\n    from services import app"),
    "for types only": (
        "layers",
        "liveness/a.py",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from infra import gallery",
    ),
    "by name": ("layers", "liveness/a.py", "import importlib\nimportlib.import_module('infra.gallery')"),
    "web in the domain": ("vendors", "verification/a.py", "from fastapi import Depends"),
    "starlette in infra": ("vendors", "infra/a.py", "import starlette.requests"),
    "database in services": ("vendors", "services/a.py", "from sqlalchemy.orm import Session"),
    "migrations in services": ("vendors", "services/a.py", "import alembic.command"),
    "cryptography in the domain": ("vendors", "enrollment/a.py", "from cryptography import fernet"),
    "jose outside its room": ("vendors", "infra/a.py", "from joserfc import jwt"),
    "torch in infra": ("vendors", "infra/a.py", "import torch.nn as nn"),
    "torch by name": ("vendors", "services/a.py", "__import__('torch')"),
    "faiss outside infra": ("vendors", "verification/a.py", "import faiss"),
    "faiss in a second file": ("vendors", "infra/a.py", "import faiss"),
    "cycle": ("cycles", "verification/policy.py", "from verification.check import x"),
    "cycle by relative import": ("cycles", "verification/policy.py", "from . import check"),
    "cycle hidden in a function": (
        "cycles",
        "verification/policy.py",
        "def f():\n    import verification.check",
    ),
    "argument": ("any", "liveness/a.py", "from typing import Any\ndef f(x: dict[str, Any]) -> None: ..."),
    "result": ("any", "liveness/a.py", "import typing\nasync def f() -> typing.Any: ..."),
    "method": ("any", "liveness/a.py", "class A:\n    def f(self, *, x: 'list[Any]') -> None: ..."),
    "keyword arguments": ("any", "liveness/a.py", "class A:\n    def __init__(self, **k: Any) -> None: ..."),
    "attribute": ("any", "liveness/a.py", "class A:\n    x: Any = 1"),
    "alias": ("any", "liveness/a.py", "Json = dict[str, Any]"),
}

CHECKS: Mapping[str, Callable[[Path], Sequence[object]]] = {
    "layers": layer_breaches,
    "vendors": vendor_breaches,
    "cycles": import_cycles,
    "any": any_in_public,
}


def build(root: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def test_checker_lets_a_clean_house_through(tmp_path: Path) -> None:
    build(tmp_path, CLEAN)
    assert [found for check in CHECKS.values() for found in check(tmp_path)] == []


@pytest.mark.parametrize("plant", PLANTED)
def test_checker_finds_a_planted_breach(tmp_path: Path, plant: str) -> None:
    rule, file, text = PLANTED[plant]
    build(tmp_path, CLEAN | {file: text})
    found = {name: bool(check(tmp_path)) for name, check in CHECKS.items()}
    assert found == dict.fromkeys(CHECKS, False) | {rule: True}


def test_cycle_for_the_type_checker_only_is_allowed(tmp_path: Path) -> None:
    text = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from verification.check import x\n"
    build(tmp_path, CLEAN | {"verification/policy.py": text})
    assert import_cycles(tmp_path) == []
