"""The audit log as one file, which `audit_verify.py` verifies offline.

JSON lines: a header; every entry, exactly as it was hashed; every checkpoint that was kept; the current checkpoint.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import datetime
from typing import BinaryIO

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from biometrics.records import RETENTION
from infra.audit.canonical import JSON, canonical, utc_text
from infra.audit.checkpoint import parse_checkpoint, verifier_key
from infra.audit.cosignature import cosigner_key, post_quantum_key
from infra.audit.log import SqlAuditLog

BUNDLE_FORMAT = "dwarpal-audit-bundle/v1"
_PAGE = 1000


def export_bundle(
    log: SqlAuditLog,
    stream: BinaryIO,
    *,
    now: datetime,
    purge_interval_seconds: float,
    post_quantum: bool = True,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> int:
    """Write the log to `stream` in bounded memory and return the number of entries.

    Nothing is written to the database: use a read-only transaction, which holds up no gate while the export runs.
    `progress` hears (entries written, all). Without `post_quantum` the bundle has Ed25519 signatures only.
    """
    current = log.published(log.checkpoint(keep=False), post_quantum=post_quantum)
    size, signed_text = parse_checkpoint(current).size, parse_checkpoint(current).signed_text
    key = log.signer.key()
    header: dict[str, JSON] = {
        "format": BUNDLE_FORMAT,
        "site": log.site,
        "vkey": verifier_key(log.site, key.public_key()),
        "retention_hours": int(RETENTION.total_seconds()) // 3600,
        "purge_interval_seconds": math.ceil(purge_interval_seconds),
        "exported_at": utc_text(now),
        "entries": size,
    }
    if post_quantum and (second := post_quantum_vkey(log.site, key)) is not None:
        header["post_quantum_vkey"] = second
    stream.write(canonical(header) + b"\n")
    for start in range(0, size, _PAGE):
        for entry in log.entries(start, min(_PAGE, size - start)):
            stream.write(entry.leaf + b"\n")
        progress(min(start + _PAGE, size), size)
    for text in log.checkpoints():
        kept = parse_checkpoint(text)
        if kept.signed_text != signed_text and _belongs(kept.size, size, log):
            stream.write(canonical({"checkpoint": text}) + b"\n")
    stream.write(canonical({"checkpoint": current}) + b"\n")
    return size


def post_quantum_vkey(site: str, key: Ed25519PrivateKey) -> str | None:
    """Return the verifier key of the ML-DSA-44 signatures beside a signing key's; None where the library has none."""
    second = post_quantum_key(key)
    return None if second is None else cosigner_key(site, second).text


def _belongs(checkpoint_size: int, size: int, log: SqlAuditLog) -> bool:
    """Leave out what was appended while this export ran; keep a checkpoint beyond the log's end, which is evidence."""
    return checkpoint_size <= size or checkpoint_size > log.size()
