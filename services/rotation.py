"""Rotating the site's own keys while it runs: the signing key, and the root key that seals the key file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from biometrics.errors import Conflict
from biometrics.records import AuditEvent, EventKind, new_id
from infra.keys.file_store import FileKeyStore
from services.bootstrap import Storage, finish_rotation
from services.export import post_quantum_key_of, verifier_key_of

POLICY_VERSION = "keys/1"

Step = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Rotated:
    """The verifier keys before and after, the new ML-DSA-44 one, and where the log says so."""

    former_vkey: str
    vkey: str
    post_quantum_vkey: str | None
    audit_index: int


def rotate_signing_key(storage: Storage, step: Step = lambda: None) -> Rotated:
    """Prepare a key, have the log say so under the former one's signature, and promote it; `step` hears each of three.

    Gates go on meanwhile. A crash leaves the old key in force, with the next one prepared, or a rotation that the next
    sweep or start finishes. Raises `Conflict` (`rotated_meanwhile`) if somebody else rotates at the same time.
    """
    finish_rotation(storage)
    former = verifier_key_of(storage)
    storage.keys.next_signing_key()
    step()
    with storage.unit_of_work() as unit:
        event = AuditEvent(EventKind.SIGNING_KEY_ROTATED, storage.now(), new_id(), POLICY_VERSION)
        index = unit.log.rotate_signing_key(event)
        unit.commit()
    step()
    finish_rotation(storage)
    step()
    return Rotated(former, verifier_key_of(storage), post_quantum_key_of(storage), index)


def rotate_root_key(storage: Storage) -> None:
    """Seal the key file anew: with the next passphrase, or with a new machine key where no passphrase is in use.

    Raises `Conflict` if there is no next passphrase, or the keys are not in a file of this machine.
    """
    if not isinstance(storage.keys, FileKeyStore):
        raise Conflict("These keys are not in a file: rotate the root key of their key service.", code="no_key_file")
    storage.keys.rotate_root()
