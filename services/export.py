"""The audit bundle, as the HTTP interface and the command line both make it."""

from __future__ import annotations

from collections.abc import Callable
from typing import BinaryIO

from infra.audit.checkpoint import verifier_key
from infra.audit.export import export_bundle, post_quantum_vkey
from services.bootstrap import Storage


def export_log(
    storage: Storage, stream: BinaryIO, *, progress: Callable[[int, int], None] = lambda done, total: None
) -> int:
    """Write the whole log to a stream, with a fresh checkpoint at its end; return the number of entries.

    It only reads, and so holds no gate up.
    """
    with storage.reading() as unit:
        return export_bundle(
            unit.log,
            stream,
            now=storage.now(),
            purge_interval_seconds=storage.settings.purge_interval_seconds,
            progress=progress,
        )


def verifier_key_of(storage: Storage) -> str:
    """Return the C2SP verifier key of the site's checkpoints and receipts, which the site publishes."""
    with storage.reading() as unit:
        return verifier_key(unit.log.site, unit.log.signer.key().public_key())


def post_quantum_key_of(storage: Storage) -> str | None:
    """Return the verifier key of the site's ML-DSA-44 signatures on checkpoints; None where there are none."""
    with storage.reading() as unit:
        return post_quantum_vkey(unit.log.site, unit.log.signer.key())
