"""Receipts: canonical JSON signed with Ed25519, which a traveller keeps and anyone can verify offline.

The signature covers the canonical JSON of the receipt without its `signature` field. `key_id` and the signing
key are those of the site's checkpoints, so that one verifier key checks both.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from datetime import datetime

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from biometrics.errors import LogInconsistent
from biometrics.records import RETENTION, Consent, new_id
from infra.audit import merkle
from infra.audit.canonical import JSON, canonical, utc_text
from infra.audit.checkpoint import key_id, parse_checkpoint
from infra.audit.log import SqlAuditLog
from infra.retention_profile import LEAST_LOG_DAYS

RECEIPT_TYPE = "dwarpal-receipt/v1"
_RETENTION_HOURS = int(RETENTION.total_seconds()) // 3600
_ENVELOPE = frozenset({"type", "kind", "site", "key_id", "signature"})


def sign_receipt(kind: str, body: Mapping[str, JSON], key: Ed25519PrivateKey, site: str) -> dict[str, JSON]:
    """Return `body` with `type`, `kind`, `site`, `key_id` and `signature` (base64) beside its fields."""
    if _ENVELOPE & body.keys():
        raise ValueError("a receipt's body must not name the envelope's fields")
    receipt: dict[str, JSON] = {
        **body,
        "type": RECEIPT_TYPE,
        "kind": kind,
        "site": site,
        "key_id": key_id(site, key.public_key()).hex(),
    }
    return {**receipt, "signature": base64.b64encode(key.sign(canonical(receipt))).decode()}


def verify_receipt(receipt: Mapping[str, JSON], public_key: Ed25519PublicKey) -> None:
    """Raise `LogInconsistent` unless this key signed exactly this receipt."""
    site, signature = receipt.get("site"), receipt.get("signature")
    if receipt.get("type") != RECEIPT_TYPE or not isinstance(site, str) or not isinstance(signature, str):
        raise LogInconsistent("This is not a receipt.", code="receipt_malformed")
    if receipt.get("key_id") != key_id(site, public_key).hex():
        raise LogInconsistent("The receipt was signed by another key.", code="receipt_of_another_key")
    try:
        raw = base64.b64decode(signature, validate=True)
        if base64.b64encode(raw).decode() != signature:  # one signature has one spelling
            raise ValueError
        signed = {name: value for name, value in receipt.items() if name != "signature"}
        public_key.verify(raw, canonical(signed))
    except (InvalidSignature, binascii.Error, TypeError, ValueError):
        raise LogInconsistent("The receipt's signature is wrong.", code="receipt_signature") from None


def deletion_receipt(*, log: SqlAuditLog, index: int, epoch: int, now: datetime) -> dict[str, JSON]:
    """Return the proof that entry `index`, a deletion, stands in the log under a checkpoint; one key signs both.

    `inclusion_proof` is a list of hexadecimal hashes for the checkpoint's tree; the leaf tells the
    time of deletion, `time` that of the receipt. Raises `LogInconsistent` if the entry does not stand in the
    tree, and `KeyDestroyed` if the epoch is over already.
    """
    checkpoint = log.checkpoint()
    head = parse_checkpoint(checkpoint)
    leaf = log.entry(index).leaf
    proof = log.inclusion_proof(index, head.size)
    if not merkle.verify_inclusion(merkle.leaf_hash(leaf), index, head.size, proof, head.root):
        raise LogInconsistent("The audit log's entry does not stand in its tree.", code="log_entry_changed")
    body: dict[str, JSON] = {
        "receipt_id": new_id(),
        "time": utc_text(now),
        "epoch": epoch,
        "epoch_key_hash": log.epoch_key_hash(epoch),
        "log_index": index,
        "leaf": leaf.decode("ascii"),
        "inclusion_proof": [step.hex() for step in proof],
        "checkpoint": log.published(checkpoint),
    }
    return sign_receipt("deletion", body, log.signer.key(), log.site)


def consent_receipt(
    *,
    consent: Consent,
    enrollment_id: str,
    expires_at: datetime,
    key: Ed25519PrivateKey,
    site: str,
    now: datetime,
    region: str = "",
    log_days: int = LEAST_LOG_DAYS,
    on_phone: bool = False,
) -> dict[str, JSON]:
    """Return what the traveller agreed to, in the fields of a consent record after ISO/IEC TS 27560:2023.

    `region` is where the data stay (empty: the site itself), `log_days` how long the log is kept at least. With
    `on_phone` the template is in a journey credential, `enrollment_id` its id, and the site stores none.
    """
    path = "/v1/credentials/{id}" if on_phone else "/v1/enrollments/{id}"
    body: dict[str, JSON] = {
        "schema": "ISO/IEC TS 27560:2023",
        "receipt_id": new_id(),
        "time": utc_text(now),
        "record_id": enrollment_id,
        "pii_principal_id": enrollment_id,
        "pii_controller": site,
        "parties": [{"party_id": site, "role": "pii_controller", "contact": "as in the privacy notice"}],
        "privacy_notice": {
            "version": consent.notice_version,
            "sha256": consent.notice_sha256,
            "language": consent.language,
            "url": f"/v1/notice?lang={consent.language}",
        },
        "language": consent.language,
        "lawful_basis": "consent",
        "purposes": [
            {
                "purpose": purpose.value,
                "service": "recognition of a face at gates",
                "lawful_basis": "consent",
                "consent_type": "explicit",
                "optional": True,
                "withdrawable": True,
            }
            for purpose in sorted(consent.purposes)
        ],
        "pii_categories": ["face_template", "travel", "gate_passages"],
        "pii_information": [
            {"pii_type": "face_template", "sensitive_pii_category": True, "pii_optional": False},
            {"pii_type": "travel", "sensitive_pii_category": False, "pii_optional": False},
            {"pii_type": "gate_passages", "sensitive_pii_category": False, "pii_optional": False},
        ],
        "sensitive_pii": True,
        "collection_method": "camera",
        "processing_method": "automated comparison of sealed templates; an officer where in doubt",
        "storage_locations": ["the traveller's phone" if on_phone else site],
        "processing_locations": [site],
        "geographic_restrictions": region or "the site",
        "retention": {
            "expires_at": utc_text(expires_at),
            "rule": f"PT{_RETENTION_HOURS}H after enrollment or departure, whichever is later",
            "processing_log": f"at least P{log_days}D, under a pseudonym whose key goes with the template's",
        },
        "recipients": [],
        "privacy_rights": {
            "access": f"GET {path}" if on_phone else "GET /v1/me/report",
            "correction": "a new one" if on_phone else f"PATCH {path}/travel, or POST /v1/rights-requests",
            "erasure": f"DELETE {path}",
            "grievance": "POST /v1/rights-requests",
            "nomination": "POST /v1/rights-requests",
        },
        "withdrawal": f"DELETE {path} with the {'credential' if on_phone else 'travel token'}, or any officer",
        "event": {
            "type": "given",
            "state": "active",
            "time": utc_text(consent.given_at),
            "valid_until": utc_text(expires_at),
            "entity_id": enrollment_id,
        },
    }
    return sign_receipt("consent", body, key, site)
