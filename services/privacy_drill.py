"""A rehearsed theft: what opens of a stolen site, with the traveller's share and without, before and after the end.

Everything happens in a folder that vanishes, on a clock of its own, with random unit vectors in the place of faces. The
thief is given all that the service has: its code, its files, its keys, and a clock that can be set back.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import numpy as np

from biometrics.errors import SealBroken
from biometrics.records import (
    AuditEvent,
    Consent,
    EnrollmentRecord,
    EventKind,
    Purpose,
    TravelToken,
    epoch_end,
    epoch_of,
    latest_expiry,
    new_id,
)
from biometrics.types import EMBEDDING_SIZE, Template
from infra.gallery import RotatedGallery
from infra.keys.sealing import EnvelopeSealer
from infra.settings import Settings
from services.bootstrap import Storage, build_retention, build_storage
from services.simulated_clock import SimulatedClock
from services.sweeper import tidy_and_sign

POLICY_VERSION: Final = "drill/1"
NETWORK: Final = "0" * 64

_SHARE_BYTES = 32
_RANDOM_GUESSES = 32
_CENTURY = timedelta(days=36_500)


@dataclass(frozen=True, slots=True)
class Theft:
    """What was taken, whose templates were tried (`matched` by token or by walk-through), and how many opened.

    `expected` is what the design says: nobody's for travellers who hold their share; in the controls everybody's.
    """

    taken: str
    matched: str
    with_share: bool
    templates: int
    opened: int
    expected: int

    @property
    def as_promised(self) -> bool:
        """Whether exactly as many opened as the design says: no more, and in the controls no fewer."""
        return self.opened == self.expected


def drill(
    settings: Settings, *, travellers: int, progress: Callable[[int, int], None] = lambda done, total: None
) -> list[Theft]:
    """Enroll so many for tokens and as many for walk-through, steal the site before and after the epoch, try it all."""
    with TemporaryDirectory(prefix="dwarpal-drill-") as name:
        folder = Path(name)
        tokens, began = _live_and_be_robbed(settings, folder, travellers)
        everybody = travellers
        plan = [  # what, where, expected of tokens and of walk-through: without the share, with it
            ("database and keys, during the epoch", "stolen", (0, everybody), (everybody, everybody)),
            ("database and keys, after the epoch", "later", (0, 0), (0, 0)),
            ("yesterday's database, keys after the epoch", "restored", (0, 0), (0, 0)),
        ]
        thefts = []
        for taken, loot, *expected in plan:
            # A thief sets the clock back: nothing may rest on a time that is asked of the machine.
            thief = _site(settings, folder / loot, SimulatedClock(began))
            try:
                for matched, counts in zip(("token", "walk-through"), expected, strict=True):
                    for with_share, count in zip((False, True), counts, strict=True):
                        found, opened = _try_all(thief, matched, tokens if with_share else {})
                        thefts.append(Theft(taken, matched, with_share, found, opened, count))
                        progress(len(thefts), 4 * len(plan))
            finally:
                thief.engine.dispose()
    return thefts


def _live_and_be_robbed(settings: Settings, folder: Path, travellers: int) -> tuple[dict[str, TravelToken], datetime]:
    """Enroll, copy the site as thieves and backups do, and let the epoch end; return the tokens, and when it began."""
    clock = SimulatedClock()
    site, began = _site(settings, folder / "site", clock), clock.time
    try:
        tokens = [*_enroll(site, travellers, {Purpose.ENTRY})]
        tokens += _enroll(site, travellers, {Purpose.ENTRY, Purpose.WALK_THROUGH})
        shutil.copytree(folder / "site", folder / "stolen")
        clock.time = epoch_end(epoch_of(latest_expiry(began, None))) + timedelta(minutes=1)
        build_retention(site, RotatedGallery()).purge()
        tidy_and_sign(site)
        shutil.copytree(folder / "site", folder / "later")
        # The backup of a site that keeps its keys out of backups, as docs/settings.md asks.
        shutil.copytree(folder / "stolen", folder / "restored", ignore=shutil.ignore_patterns("keys"))
        shutil.copytree(folder / "site" / "keys", folder / "restored" / "keys")
    finally:
        site.engine.dispose()
    return {token.enrollment_id: token for token in tokens}, began


def _site(settings: Settings, folder: Path, clock: SimulatedClock) -> Storage:
    changed = Settings.model_validate(settings.model_dump() | {"data_dir": folder, "database_url": ""})
    return replace(build_storage(changed), clock=clock)


def _enroll(site: Storage, travellers: int, purposes: set[Purpose]) -> Iterator[TravelToken]:
    sealer, rng, now = EnvelopeSealer(site.keys, site.settings.site), np.random.default_rng(), site.now()
    expires = latest_expiry(now, None)
    with site.unit_of_work() as unit:
        for _ in range(travellers):
            vector = rng.normal(size=EMBEDDING_SIZE).astype(np.float32)
            token = TravelToken.new(new_id())
            with Template(vector / np.linalg.norm(vector)) as template:
                sealed = sealer.seal(
                    template,
                    token=token,
                    epoch=epoch_of(expires),
                    model_digest=NETWORK,
                    for_gallery=Purpose.WALK_THROUGH in purposes,
                )
            consent = Consent(frozenset(purposes), "drill", NETWORK, "en", now)
            record = EnrollmentRecord(
                token.enrollment_id, "DRILL", now, None, expires, consent, NETWORK, sealed, token.verifier
            )
            unit.enrollments.add(record)
            unit.audit.append(
                AuditEvent(
                    EventKind.ENROLLED,
                    now,
                    new_id(),
                    POLICY_VERSION,
                    subject=record.id,
                    epoch=record.epoch,
                    expires_at=expires,
                )
            )
            yield token
        unit.commit()


def _try_all(thief: Storage, matched: str, tokens: dict[str, TravelToken]) -> tuple[int, int]:
    """Return how many templates of one way to match were found, and how many of them opened."""
    sealer = EnvelopeSealer(thief.keys, thief.settings.site)
    with thief.reading() as unit:
        rows = unit.enrollments.expired(thief.now() + _CENTURY, 1_000_000)
    walk_through = matched == "walk-through"
    rows = [row for row in rows if (row.sealed.for_gallery is not None) is walk_through]
    return len(rows), sum(_opens(sealer, row, tokens.get(row.id)) for row in rows)


def _opens(sealer: EnvelopeSealer, row: EnrollmentRecord, token: TravelToken | None) -> bool:
    """Say whether a template opens by the gallery's key, by its token, or by any share that a thief could think of."""
    tokens = [TravelToken(row.id, share) for share in _guesses(row)] if token is None else [token]
    attempts: list[Callable[[], Template]] = [lambda: sealer.open_for_gallery(row)]
    attempts += [lambda token=token: sealer.open_with_token(row, token) for token in tokens]  # type: ignore[misc]
    for attempt in attempts:
        try:
            with attempt() as template:
                return bool(template.vector.any())
        except SealBroken:  # `KeyDestroyed` is one
            continue
    return False


def _guesses(row: EnrollmentRecord) -> Iterator[bytes]:
    """Yield shares to try: nothing, chance, and every 32 bytes in a row that stand beside the sealed template."""
    yield bytes(_SHARE_BYTES)
    yield from (os.urandom(_SHARE_BYTES) for _ in range(_RANDOM_GUESSES))
    for stored in (row.holder_verifier, row.sealed.for_holder, row.sealed.envelope, bytes.fromhex(row.id) * 2):
        yield from (stored[at : at + _SHARE_BYTES] for at in range(len(stored) - _SHARE_BYTES + 1))
