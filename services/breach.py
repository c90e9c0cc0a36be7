"""Drafts after a personal data breach (DPDP Rules 2025, Rule 7; GDPR arts. 33, 34), from what the audit log knows.

The log tells times, counts and which keys are gone. What happened, why and by whom is for people to write: those places
are marked `[____: ...]`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from importlib.resources import files

from biometrics.errors import MalformedInput, NotFound
from biometrics.records import EventKind
from enrollment.consent import LANGUAGES, Notice
from infra.audit.log import LogEntry
from services.bootstrap import Storage

REPORT_WITHIN = timedelta(hours=72)
_PAGE = 1000
_BIRTHS = {EventKind.ENROLLED.value, EventKind.MOVED_IN.value}
_ENDS = {EventKind.WITHDRAWN.value, EventKind.EXPIRED.value, EventKind.MOVED_OUT.value}


@dataclass(frozen=True, slots=True)
class BreachFacts:
    """What the log says of a time span; `affected` enrollments existed in it, of `unreadable` no key exists today."""

    site: str
    since: datetime
    until: datetime
    drafted_at: datetime
    affected: int
    unreadable: int
    still_held: int
    events: dict[str, int]
    decisions: dict[str, int]
    gates: dict[str, int]
    keys_changed: tuple[tuple[datetime, str, str], ...]
    entries: int
    checkpoint: str


@dataclass(slots=True)
class _Reader:
    """Follows the log once; remembers only the enrollments that existed in the span."""

    since: datetime
    until: datetime
    alive: dict[str, tuple[int, ...]] = field(default_factory=dict)
    ended: list[tuple[int, ...]] = field(default_factory=list)
    moving: tuple[int, ...] = ()
    destroyed: set[int] = field(default_factory=set)
    events: Counter[str] = field(default_factory=Counter)
    decisions: Counter[str] = field(default_factory=Counter)
    gates: Counter[str] = field(default_factory=Counter)
    keys: list[tuple[datetime, str, str]] = field(default_factory=list)

    def read(self, entry: LogEntry) -> None:
        """Take one entry into account."""
        fields = entry.fields()
        epoch = fields.get("epoch")
        if entry.event == EventKind.EPOCH_DESTROYED.value and isinstance(epoch, int):
            self.destroyed.add(epoch)
        if entry.subject is not None and isinstance(epoch, int):
            self._follow(entry, entry.subject, epoch)
        if self.since <= entry.time <= self.until:
            self._within(entry, fields.get("decision"), str(fields.get("reason", "")))

    def _follow(self, entry: LogEntry, subject: str, epoch: int) -> None:
        # A journey that moves lives on in the next entry: one enrollment, with a copy under each of its epochs.
        if entry.event in _BIRTHS:
            copies, self.moving = self.moving, ()
            if copies or entry.time <= self.until:
                self.alive[subject] = (*copies, epoch)
        elif entry.event in _ENDS:
            copies = self.alive.pop(subject, ())
            if entry.event == EventKind.MOVED_OUT.value:
                self.moving = copies
            elif copies and entry.time >= self.since:
                self.ended.append(copies)

    def _within(self, entry: LogEntry, decision: object, reason: str) -> None:
        self.events[entry.event] += 1
        if entry.event == EventKind.CHECKED.value:
            self.decisions[str(decision)] += 1
            self.gates[entry.gate_id or "-"] += 1
        elif entry.event in (EventKind.KEY_CREATED.value, EventKind.KEY_REVOKED.value):
            self.keys.append((entry.time, entry.event, reason))


def breach_facts(
    storage: Storage,
    since: datetime,
    until: datetime,
    *,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> BreachFacts:
    """Read the log once, in pages; raise `MalformedInput` for a span that ends before it begins or lies ahead."""
    now = storage.now()
    if not since < until <= now:
        raise MalformedInput("The time span must begin before it ends, and not end in the future.", code="out_of_range")
    reader = _Reader(since, until)
    with storage.reading() as unit:
        size = unit.log.size()
        for start in range(0, size, _PAGE):
            for entry in unit.log.entries(start, min(_PAGE, size - start)):
                reader.read(entry)
            progress(min(start + _PAGE, size), size)
        checkpoint = unit.log.checkpoint(keep=False)
    concerned = [*reader.alive.values(), *reader.ended]
    return BreachFacts(
        site=storage.settings.site,
        since=since,
        until=until,
        drafted_at=now,
        affected=len(concerned),
        unreadable=sum(reader.destroyed.issuperset(copies) for copies in concerned),
        still_held=len(reader.alive),
        events=dict(sorted(reader.events.items())),
        decisions=dict(sorted(reader.decisions.items())),
        gates=dict(sorted(reader.gates.items())),
        keys_changed=tuple(reader.keys),
        entries=size,
        checkpoint=checkpoint,
    )


def draft_notice(facts: BreachFacts, language: str) -> str:
    """Return the notice to the people concerned, as Markdown; raise `NotFound` for a language without a text."""
    if language not in LANGUAGES:
        raise NotFound("There is no draft in this language.")
    words: dict[str, str] = json.loads(files("services").joinpath("breach_words", f"{language}.json").read_bytes())
    return _rendered("breach_notice.md.j2", facts, words=words, notice=Notice.in_language(language))


def draft_report(facts: BreachFacts, *, aware_at: datetime) -> str:
    """Return the report to the Board, as Markdown, due 72 hours after the site became aware."""
    return _rendered("breach_report.md.j2", facts, aware_at=aware_at, due_at=aware_at + REPORT_WITHIN)


def _rendered(template: str, facts: BreachFacts, **more: object) -> str:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("services"),
        autoescape=False,  # noqa: S701 - Markdown of our own words and of codes from the log
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["time"] = lambda at: f"{at:%Y-%m-%d %H:%M} UTC"
    return environment.get_template(template).render(facts=facts, **more)
