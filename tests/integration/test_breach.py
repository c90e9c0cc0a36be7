"""The drafts after a breach: counts that come out of the log, and blanks where only people know."""

from __future__ import annotations

import json
import string
import unicodedata
from datetime import datetime, timedelta
from importlib.resources import files
from pathlib import Path

import pytest
from sqlalchemy import Engine

from biometrics.errors import MalformedInput, NotFound
from biometrics.records import AuditEvent, EventKind, Purpose, epoch_of, new_id
from enrollment.consent import LANGUAGES, Notice
from infra.keys.file_store import FileKeyStore
from infra.settings import Settings
from services.bootstrap import Storage
from services.breach import breach_facts, draft_notice, draft_report
from tests.factories import NOON
from tests.fakes import FakeClock

HOUR = timedelta(hours=1)
KINDS = EventKind


@pytest.fixture
def storage(engine: Engine, tmp_path: Path) -> Storage:
    keys = FileKeyStore(tmp_path / "keys" / "keys.dwarpal", passphrase=None)
    return Storage(Settings(data_dir=tmp_path, site="test.example"), FakeClock(NOON), engine, keys)


def log(storage: Storage, kind: EventKind, at: datetime, subject: str | None = None, **more: object) -> None:
    with storage.unit_of_work() as unit:
        unit.audit.append(AuditEvent(kind, at, new_id(), "p/1", subject=subject, **more))  # type: ignore[arg-type]
        unit.commit()


def test_a_draft_counts_whom_it_concerns(storage: Storage) -> None:
    before, moved, during, after = (new_id() for _ in range(4))
    early, late = NOON + 24 * HOUR, NOON + 40 * HOUR
    epoch, later = epoch_of(early), epoch_of(late)
    log(storage, KINDS.ENROLLED, NOON, before, epoch=epoch, expires_at=early)
    log(storage, KINDS.ENROLLED, NOON, moved, epoch=epoch, expires_at=early)
    log(storage, KINDS.WITHDRAWN, NOON + HOUR, before, epoch=epoch)  # gone before the breach began
    log(storage, KINDS.ENROLLED, NOON + 3 * HOUR, during, epoch=epoch, expires_at=early)
    log(
        storage,
        KINDS.CHECKED,
        NOON + 3 * HOUR,
        during,
        epoch=epoch,
        gate_id="g",
        purpose=Purpose.ENTRY,
        decision="admit",
    )
    log(storage, KINDS.KEY_CREATED, NOON + 3 * HOUR, reason="gate")
    log(storage, KINDS.MOVED_OUT, NOON + 3 * HOUR, moved, epoch=epoch)
    log(storage, KINDS.MOVED_IN, NOON + 3 * HOUR, moved, epoch=later, expires_at=late)
    log(storage, KINDS.ENROLLED, NOON + 5 * HOUR, after, epoch=later, expires_at=late)  # came after its end
    log(storage, KINDS.EXPIRED, early, during, epoch=epoch)
    log(storage, KINDS.EPOCH_DESTROYED, early + HOUR, epoch=epoch)
    storage.clock.time = early + 2 * HOUR  # type: ignore[attr-defined]
    facts = breach_facts(storage, NOON + 2 * HOUR, NOON + 4 * HOUR)
    assert (facts.affected, facts.unreadable, facts.still_held) == (2, 1, 1)
    assert facts.events == {"checked": 1, "enrolled": 1, "key_created": 1, "moved_in": 1, "moved_out": 1}
    assert (facts.decisions, facts.gates) == ({"admit": 1}, {"g": 1})
    report = draft_report(facts, aware_at=NOON + 6 * HOUR)
    for known in ("2025-03-04 18:00 UTC", "existed in it: 2", "no copy of their template opens: 1", "admit 1", "g 1"):
        assert known in report
    assert "key_created (gate)" in report
    assert facts.checkpoint.splitlines()[2] in report
    assert report.count("[____") >= 10
    for unknown in (before, moved, during, after):
        assert unknown not in report


def test_a_journey_moved_after_the_breach_is_counted_once(storage: Storage) -> None:
    moved, early, late = new_id(), NOON + 24 * HOUR, NOON + 40 * HOUR
    log(storage, KINDS.ENROLLED, NOON, moved, epoch=epoch_of(early), expires_at=early)
    log(storage, KINDS.MOVED_OUT, NOON + 5 * HOUR, moved, epoch=epoch_of(early))
    log(storage, KINDS.MOVED_IN, NOON + 5 * HOUR, moved, epoch=epoch_of(late), expires_at=late)
    storage.clock.time = NOON + 6 * HOUR  # type: ignore[attr-defined]
    facts = breach_facts(storage, NOON + HOUR, NOON + 2 * HOUR)
    assert (facts.affected, facts.still_held, facts.unreadable) == (1, 1, 0)
    log(storage, KINDS.EPOCH_DESTROYED, NOON + 5 * HOUR, epoch=epoch_of(late))  # the copy that was stolen still opens
    assert breach_facts(storage, NOON + HOUR, NOON + 2 * HOUR).unreadable == 0
    log(storage, KINDS.EPOCH_DESTROYED, NOON + 5 * HOUR, epoch=epoch_of(early))
    assert breach_facts(storage, NOON + HOUR, NOON + 2 * HOUR).unreadable == 1


@pytest.mark.parametrize(("since", "until"), [(HOUR, HOUR), (2 * HOUR, HOUR), (-HOUR, HOUR)])
def test_a_span_must_be_one_and_be_over(storage: Storage, since: timedelta, until: timedelta) -> None:
    with pytest.raises(MalformedInput):
        breach_facts(storage, NOON + since, NOON + until)


def test_an_empty_log_makes_a_draft_too(storage: Storage) -> None:
    facts = breach_facts(storage, NOON - HOUR, NOON)
    assert "existed in it: 0" in draft_report(facts, aware_at=NOON)
    with pytest.raises(NotFound):
        draft_notice(facts, "fr")


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_has_every_word_of_the_notice(storage: Storage, language: str) -> None:
    folder = files("services").joinpath("breach_words")
    words, english = (json.loads(folder.joinpath(f"{name}.json").read_bytes()) for name in (language, "en"))
    assert words.keys() == english.keys()
    assert words["translation"] == ("original" if language == "en" else "machine")
    script = unicodedata.name(Notice.in_language(language).title[0]).split()[0]
    for name, text in words.items():
        fields = sorted(f for _, f, _, _ in string.Formatter().parse(text) if f)
        assert fields == sorted(f for _, f, _, _ in string.Formatter().parse(english[name]) if f), name
        plain = "".join(part for part, _, _, _ in string.Formatter().parse(text))
        if name != "translation":
            assert all(unicodedata.name(c).startswith(script) for c in plain if c.isalpha()), name
    notice = draft_notice(breach_facts(storage, NOON - HOUR, NOON), language)
    assert "2025-03-01 11:00 UTC" in notice
    assert ("reviewed by nobody" in notice) == (language != "en")
    assert notice.count("[____") == 7
