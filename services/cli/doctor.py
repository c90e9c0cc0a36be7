"""`dwarpal doctor`: is this machine, and what lies on it, fit to guard a gate."""

from __future__ import annotations

import os
import resource
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import StrEnum
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from biometrics.errors import DwarpalError, NotReady
from services.cli.options import AsJson, DataDir, settings_for
from services.cli.outcome import ExitCode
from services.cli.output import print_json, print_table, waiting

if TYPE_CHECKING:
    from infra.settings import Settings
    from services.bootstrap import Storage

RUNTIMES = ("onnxruntime", "onnxruntime-openvino", "onnxruntime-gpu")


class Verdict(StrEnum):
    """What a check found."""

    FINE = "fine"
    WARNING = "warning"
    WRONG = "wrong"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    check: str
    verdict: Verdict
    detail: str


Check = Callable[["Settings"], Iterator[Finding]]


def doctor(context: typer.Context, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Look at Python, processor, clock, memory, data folder, keys, database, networks, calibration; changes nothing."""
    settings = settings_for(context, data_dir)
    with waiting("Examining"):
        findings = [finding for check in CHECKS for finding in _guarded(check, settings)]
    ok = all(finding.verdict is not Verdict.WRONG for finding in findings)
    if as_json:
        print_json({"ok": ok, "checks": [asdict(finding) for finding in findings]})
    else:
        print_table(("check", "verdict", "detail"), [(f.check, f.verdict.value, f.detail) for f in findings])
    raise typer.Exit(ExitCode.OK if ok else ExitCode.NEGATIVE)


def _guarded(check: Check, settings: Settings) -> Iterator[Finding]:
    name = check.__name__.strip("_")
    try:
        yield from check(settings)
    except DwarpalError as error:
        yield Finding(name, Verdict.WRONG, error.detail)
    except OSError as error:
        yield Finding(name, Verdict.WRONG, error.strerror or type(error).__name__)


def _python(_settings: Settings) -> Iterator[Finding]:
    fit = sys.version_info >= (3, 11)
    yield Finding("python", Verdict.FINE if fit else Verdict.WRONG, f"{sys.version.split()[0]} on {sys.platform}")


def _packages(_settings: Settings) -> Iterator[Finding]:
    from packaging.requirements import Requirement

    missing = []
    for line in requires("dwarpal") or ():
        wanted = Requirement(line)
        if wanted.marker is not None and not wanted.marker.evaluate({"extra": ""}):
            continue
        try:
            if not wanted.specifier.contains(version(wanted.name), prereleases=True):
                missing.append(f"{wanted.name} {version(wanted.name)} is not {wanted.specifier}")
        except PackageNotFoundError:
            missing.append(f"{wanted.name} is not installed")
    runtimes = [name for name in RUNTIMES if _installed(name)]
    if len(runtimes) != 1:
        missing.append(f"exactly one ONNX Runtime may be installed, not {len(runtimes)}")
    yield Finding(
        "packages", Verdict.WRONG if missing else Verdict.FINE, "; ".join(missing) or f"all present, {runtimes[0]}"
    )


def _installed(name: str) -> bool:
    try:
        version(name)
    except PackageNotFoundError:
        return False
    return True


def _processor(settings: Settings) -> Iterator[Finding]:
    from infra.runtime import choose_provider, cpu_has_bfloat16

    bfloat16 = "with bfloat16" if cpu_has_bfloat16() else "without bfloat16"
    yield Finding("processor", Verdict.FINE, f"{os.cpu_count()} cores, {bfloat16}")
    providers = ", ".join(choose_provider(settings.execution_provider))
    yield Finding("providers", Verdict.FINE, f"{providers} (best first)")


def _memory(_settings: Settings) -> Iterator[Finding]:
    import psutil

    free = psutil.virtual_memory().available / 2**30
    yield Finding("memory", Verdict.FINE if free >= 1 else Verdict.WARNING, f"{free:.1f} GiB available")
    swap = psutil.swap_memory().total
    told = "none" if not swap else "memory with faces may reach the swap space: encrypt it or turn it off"
    yield Finding("swap", Verdict.WARNING if swap else Verdict.FINE, told)


def _core_dumps(_settings: Settings) -> Iterator[Finding]:
    pattern = _read(Path("/proc/sys/kernel/core_pattern"))
    if pattern.startswith("|"):
        detail = f"the kernel hands crashes to {pattern[1:].split()[0]}: see that it keeps none of ours"
        yield Finding("core dumps", Verdict.WARNING, detail)
    else:
        soft, _ = resource.getrlimit(resource.RLIMIT_CORE)
        yield Finding("core dumps", Verdict.FINE, "off" if soft == 0 else "`serve` turns them off for itself")


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def _clock(settings: Settings) -> Iterator[Finding]:
    now = datetime.now(UTC)
    if settings.clock_file is not None:
        yield Finding("clock", Verdict.WARNING, "moved by DWARPAL_CLOCK_FILE")
    # What this program was installed after cannot be in the future.
    written = datetime.fromtimestamp(Path(__file__).stat().st_mtime, UTC)
    late = now < written
    yield Finding("clock", Verdict.WRONG if late else Verdict.FINE, f"{now:%Y-%m-%d %H:%M:%S} UTC")


def _settings(settings: Settings) -> Iterator[Finding]:
    if not settings.pad:
        yield Finding("liveness", Verdict.WARNING, "no PAD network: a photograph may open the gate")
    if settings.site == type(settings).model_fields["site"].default:
        yield Finding("site", Verdict.WARNING, f"DWARPAL_SITE is the example, {settings.site}")
    else:
        yield Finding("site", Verdict.FINE, settings.site)


def _data_folder(settings: Settings) -> Iterator[Finding]:
    folder = settings.data_dir
    if not folder.exists():
        yield Finding(
            "data folder", Verdict.FINE, f"{folder} is not there yet: the first command that needs it makes it"
        )
        return
    inside = [told for path in sorted(folder.glob("dwarpal.db*")) if (told := _exposed(path))]
    if inside:
        yield Finding("data folder", Verdict.WRONG, "; ".join(inside))
    elif told := _exposed(folder):
        yield Finding("data folder", Verdict.WARNING, told)
    else:
        yield Finding("data folder", Verdict.FINE, f"{folder}, private")


def _keys(settings: Settings) -> Iterator[Finding]:
    if settings.vault_url:
        yield _vault(settings)
        return
    folder = settings.data_dir / "keys"
    if not folder.exists():
        yield Finding("keys", Verdict.FINE, "none yet")
        return
    wrong = [told for path in (folder, *sorted(folder.iterdir())) if (told := _exposed(path))]
    if wrong:
        yield Finding("keys", Verdict.WRONG, "; ".join(wrong))
    elif settings.key_passphrase is None:
        yield Finding("keys", Verdict.WARNING, "private, but sealed only by a file beside them: set a passphrase")
    else:
        yield Finding("keys", Verdict.FINE, "private, sealed with a passphrase")


def _vault(settings: Settings) -> Finding:
    from services.bootstrap import build_keys

    try:
        build_keys(settings).retired_signing_keys()
    except NotReady as error:
        return Finding("keys", Verdict.WRONG, f"{error.detail} ({error.code})")
    return Finding("keys", Verdict.FINE, "Vault answers and lets us read; what else its policy allows shows at work")


def _exposed(path: Path) -> str:
    found = path.stat()
    mode = stat.S_IMODE(found.st_mode)
    if mode & 0o077:
        return f"{path.name} has mode {mode:04o}: take the rights of group and others away"
    if found.st_uid != os.geteuid():
        return f"{path.name} belongs to another user"
    return ""


def _database(settings: Settings) -> Iterator[Finding]:
    from infra.database.engine import build_engine, schema_revisions

    if not settings.database_url and not (settings.data_dir / "dwarpal.db").exists():
        yield Finding("database", Verdict.FINE, "none yet")
        return
    engine = build_engine(settings.effective_database_url)
    try:
        present, newest = schema_revisions(engine)
    finally:
        engine.dispose()
    if present == newest:
        yield Finding("database", Verdict.FINE, f"{engine.dialect.name}, schema {present}")
    else:
        yield Finding("database", Verdict.WARNING, f"schema {present}; the next start brings it to {newest}")


def _networks(settings: Settings) -> Iterator[Finding]:
    from infra.models import find_card, site_folder, verify_all
    from infra.mtcnn_cache import cache_key, read_verified, weight_files

    for card, problem in verify_all(site_folder(settings)):
        verdict = Verdict.WRONG if problem else Verdict.FINE
        yield Finding(f"network {card.name}", verdict, problem or f"sha256 {card.sha256[:16]}, as its card says")
    find_card("embedder", settings.embedder, site_folder(settings))
    if settings.pad:
        find_card("pad", settings.pad)
    converted = read_verified(settings.cache_dir / "mtcnn" / cache_key(weight_files())) is not None
    told = "converted and verified" if converted else "weights present; the first start converts them"
    yield Finding("network mtcnn", Verdict.FINE, told)


def _calibration(settings: Settings) -> Iterator[Finding]:
    from infra.models import find_card, site_folder
    from services.calibration import Source, by_card, calibration_in_force

    card, _ = find_card("embedder", settings.embedder, site_folder(settings))
    with _present_storage(settings) as storage:
        if storage is not None:
            calibration = calibration_in_force(storage, card)
        elif any((settings.data_dir / "calibration").glob("*.json")):
            yield Finding("calibration", Verdict.WARNING, "a record that cannot be verified without keys and database")
            return
        elif settings.cosine_threshold is None:
            calibration = by_card(card, settings)
    if settings.cosine_threshold is not None:
        yield Finding("calibration", Verdict.WARNING, "DWARPAL_COSINE_THRESHOLD stands above whatever was measured")
        return
    few = calibration.support == "fewer_than_30_errors"
    source = f"card {card.name}" if calibration.source is Source.CARD else "the site's own pairs"
    record = "" if calibration.sha256 is None else f"; record {calibration.sha256[:16]}"
    detail = f"FMR {calibration.fmr:g} by {source}{record}{'; fewer than 30 errors' if few else ''}"
    yield Finding("calibration", Verdict.WARNING if few else Verdict.FINE, detail)


@contextmanager
def _present_storage(settings: Settings) -> Iterator[Storage | None]:
    """Open keys and database as they are; None where that would make or change something."""
    from infra.clock import build_clock
    from infra.database.engine import build_engine, schema_revisions
    from services.bootstrap import Storage, build_keys

    file = settings.data_dir / "keys" / "keys.dwarpal"
    no_database = not settings.database_url and not (settings.data_dir / "dwarpal.db").exists()
    if no_database or (not settings.vault_url and (not file.exists() or _exposed(file.parent))):
        yield None
        return
    engine = build_engine(settings.effective_database_url)
    try:
        present, newest = schema_revisions(engine)
        storage = Storage(settings, build_clock(settings), engine, build_keys(settings))
        yield storage if present == newest else None
    finally:
        engine.dispose()


CHECKS: tuple[Check, ...] = (
    _python,
    _packages,
    _processor,
    _memory,
    _core_dumps,
    _clock,
    _settings,
    _data_folder,
    _keys,
    _database,
    _networks,
    _calibration,
)
