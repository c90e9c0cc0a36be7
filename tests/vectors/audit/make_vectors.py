"""Make the bundles of this folder: an honest log, and one for each way to cheat, without the project's own code.

Entries, header and checkpoints are written out here from docs/audit-log.md; the tree is the definition of RFC 6962,
2.1, word for word; Ed25519 is the `cryptography` package's. Keys, ids and pseudonyms are SHA-256 of names and stand
for nobody. Run: python tests/vectors/audit/make_vectors.py
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

HERE = Path(__file__).resolve().parent
SITE = "airport.example"
NOON = datetime(2025, 3, 1, 12, 0, tzinfo=UTC)
Entry = dict[str, object]


def seeded(name: str) -> bytes:
    return hashlib.sha256(b"dwarpal audit vectors: " + name.encode()).digest()


SITE_KEY, OTHER_KEY = (Ed25519PrivateKey.from_private_bytes(seeded(name)) for name in ("site", "somebody else"))


def line(fields: Entry) -> bytes:
    return json.dumps(fields, sort_keys=True, separators=(",", ":")).encode() + b"\n"


def text(time: datetime) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def root(leaves: Sequence[bytes]) -> bytes:
    """MTH of RFC 6962, 2.1."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\x00" + leaves[0]).digest()
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return hashlib.sha256(b"\x01" + root(leaves[:k]) + root(leaves[k:])).digest()


def key_hash(key: Ed25519PrivateKey) -> bytes:
    public = key.public_key().public_bytes_raw()
    return hashlib.sha256(SITE.encode() + b"\n\x01" + public).digest()[:4]


def verifier_key(key: Ed25519PrivateKey) -> str:
    public = base64.b64encode(b"\x01" + key.public_key().public_bytes_raw()).decode()
    return f"{SITE}+{key_hash(key).hex()}+{public}"


def checkpoint(entries: Sequence[Entry], key: Ed25519PrivateKey = SITE_KEY) -> str:
    """A C2SP tlog-checkpoint over the entries."""
    hashed = base64.b64encode(root([line(entry)[:-1] for entry in entries])).decode()
    body = f"{SITE}\n{len(entries)}\n{hashed}\n"
    return f"{body}\n— {SITE} {base64.b64encode(key_hash(key) + key.sign(body.encode())).decode()}\n"


def bundle(
    entries: Sequence[Entry], checkpoints: Sequence[str], *, key: Ed25519PrivateKey = SITE_KEY, exported: datetime
) -> bytes:
    header = {
        "format": "dwarpal-audit-bundle/v1",
        "site": SITE,
        "vkey": verifier_key(key),
        "retention_hours": 24,
        "purge_interval_seconds": 30,
        "exported_at": text(exported),
        "entries": len(entries),
    }
    return b"".join([line(header), *map(line, entries), *(line({"checkpoint": text_}) for text_ in checkpoints)])


def entry(minutes: float, event: str, number: int, **more: object) -> Entry:
    about = {"v": 1, "time": text(NOON + timedelta(minutes=minutes)), "event": event, "policy": "gate/1"}
    return {**about, "event_id": seeded(f"event {number}").hex()[:32], **more}


def of(traveller: str, expires: datetime) -> Entry:
    epoch = int(expires.timestamp()) // 3600
    return {"subject": seeded(f"{traveller} in {epoch}").hex(), "epoch": epoch}


EXPIRES = NOON + timedelta(hours=24, minutes=10)
EPOCH = int(EXPIRES.timestamp()) // 3600
ASHA, BINA = of("asha", EXPIRES), of("bina", EXPIRES)
DAY = 24 * 60


def day(*, expired: float = 10.2, admitted_again: bool = False, key_destroyed: float | None = 60.2) -> list[Entry]:
    """A day and a little more: two enrollments, three checks, a withdrawal, an expiry, the end of a key.

    `expired` and `key_destroyed` are minutes behind the same time of the day before; None: never.
    """
    until = text(EXPIRES)
    seen = {"decision": "admit", "gate": "entry-1", "purpose": "entry"}
    entries = [
        entry(0, "gate_created", 0, gate="entry-1"),
        entry(1, "enrolled", 1, **ASHA, expires_at=until),
        entry(2, "enrolled", 2, **BINA, expires_at=until),
        entry(30, "checked", 3, **ASHA, **seen),
        entry(31, "checked", 4, **{**seen, "decision": "deny"}, reason="not_matched"),
        entry(40, "checked", 5, **BINA, **seen),
        entry(50, "withdrawn", 6, **BINA),
    ]
    entries += [entry(55, "checked", 7, **BINA, **seen)] if admitted_again else []
    entries += [entry(DAY + expired, "expired", 8, **ASHA)]
    entries += [] if key_destroyed is None else [entry(DAY + key_destroyed, "epoch_destroyed", 9, epoch=EPOCH)]
    return sorted(entries, key=lambda each: str(each["time"]))


def main() -> None:
    honest, exported = day(), NOON + timedelta(hours=26)
    half = checkpoint(honest[:5])
    kept = [half, checkpoint(honest)]
    stranger = entry(35, "checked", 10, **ASHA, decision="admit", gate="entry-1", purpose="entry")
    swapped = [*honest[:3], honest[4], honest[3], *honest[5:]]
    edited = [*honest[:4], {**honest[4], "decision": "admit", **ASHA}, *honest[5:]]
    shorter = [each for each in honest if each["event"] != "epoch_destroyed"][:6]

    def signed(entries: Sequence[Entry]) -> bytes:
        """What an operator writes who holds the key, and keeps no former checkpoint."""
        return bundle(entries, [checkpoint(entries)], exported=exported)

    bundles = {
        "valid": (bundle(honest, kept, exported=exported), [], False),
        "edit": (bundle(edited, kept, exported=exported), ["root_mismatch"], False),
        "delete": (bundle([*honest[:5], *honest[6:]], kept, exported=exported), ["truncated"], False),
        "insert": (
            bundle([*honest[:5], stranger, *honest[5:]], kept, exported=exported),
            ["root_mismatch", "unsigned_entries"],
            False,
        ),
        "reorder": (bundle(swapped, kept, exported=exported), ["root_mismatch", "time_went_back"], False),
        "truncate": (
            bundle(shorter, [checkpoint(shorter)], exported=NOON + timedelta(hours=1)),
            ["truncated"],
            True,
        ),
        "fork": (signed(edited), ["fork"], True),
        "wrong-key": (
            bundle(honest, [checkpoint(honest, OTHER_KEY)], key=OTHER_KEY, exported=exported),
            ["checkpoint_invalid", "other_key"],
            False,
        ),
        "late-deletion": (signed(day(expired=40)), ["deleted_late"], False),
        "never-deleted": (signed([each for each in honest if each["event"] != "expired"]), ["not_deleted"], False),
        "admit-after-deletion": (signed(day(admitted_again=True)), ["decision_after_deletion"], False),
        "late-key-destruction": (signed(day(key_destroyed=110)), ["epoch_destroyed_late"], False),
        "key-kept": (signed(day(key_destroyed=None)), ["epoch_key_kept"], False),
    }
    expected = {
        "provenance": "Made by make_vectors.py from docs/audit-log.md and RFC 6962; independent of the project's code.",
        "vkey": verifier_key(SITE_KEY),
        "bundles": {
            name: {"codes": codes, "against": "kept-checkpoint.txt" if old else None}
            for name, (_, codes, old) in bundles.items()
        },
    }
    for name, (content, _, _) in bundles.items():
        (HERE / f"{name}.jsonl").write_bytes(content)
    (HERE / "kept-checkpoint.txt").write_text(checkpoint(honest), encoding="utf-8")
    (HERE / "expected.json").write_text(json.dumps(expected, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
