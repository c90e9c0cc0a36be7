"""Make cases.json: journey credentials, the keys around them, and what a gate must say of each.

Independent of the project's code and of its JOSE library: JWS, JWE (ECDH-ES with the Concat KDF of RFC 7518, section
4.6.2), SD-JWT and the status list are written out here with the standard library and the `cryptography` package.
Templates and keys are SHA-256 of counters: they stand for nobody.
Run: python tests/vectors/credentials/make_vectors.py
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import struct
import zlib
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

HERE = Path(__file__).resolve().parent
PROVENANCE = "Made by make_vectors.py from the format in infra/credentials/journey.py; independent of its code."
SITE = "airport.example"
EPOCH, EXPIRED_EPOCH = 498_000, 497_990
NOW = EPOCH * 3600 - 7200
INDEX, REVOKED_INDEX = 70_412, 1_337
MODEL = "ab" * 32
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def stream(name: str, size: int) -> bytes:
    blocks = (hashlib.sha256(f"{name}/{i}".encode()).digest() for i in range(-(-size // 32)))
    return b"".join(blocks)[:size]


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def compact(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def template() -> bytes:
    numbers = [n / 2**31 for n in struct.unpack("<512i", stream("template", 2048))]
    largest = max(abs(n) for n in numbers)
    return struct.pack("<512b", *(round(127 * n / largest) for n in numbers))


def gate_key(epoch_key: bytes, epoch: int) -> X25519PrivateKey:
    fields = (b"dwarpal/credential/gate-key/v1", SITE.encode(), str(epoch).encode())
    info = b"".join(len(field).to_bytes(4, "big") + field for field in fields)
    seed = hmac.digest(hmac.digest(bytes(32), epoch_key, "sha256"), info + b"\x01", "sha256")
    return X25519PrivateKey.from_private_bytes(seed)


def encrypt(plain: bytes, epoch: int, epoch_key: bytes) -> str:
    ephemeral = X25519PrivateKey.from_private_bytes(stream(f"ephemeral/{epoch}", 32))
    epk = {"kty": "OKP", "crv": "X25519", "x": b64(ephemeral.public_key().public_bytes_raw())}
    header = b64(compact({"alg": "ECDH-ES", "enc": "A256GCM", "epk": epk}))
    shared = ephemeral.exchange(gate_key(epoch_key, epoch).public_key())
    other = struct.pack(">I", 7) + b"A256GCM" + struct.pack(">I", 0) * 2 + struct.pack(">I", 256)
    key = hashlib.sha256(struct.pack(">I", 1) + shared + other).digest()
    nonce = stream(f"nonce/{epoch}", 12)
    sealed = AESGCM(key).encrypt(nonce, plain, header.encode())
    return f"{header}..{b64(nonce)}.{b64(sealed[:-16])}.{b64(sealed[-16:])}"


def signing_key(name: str) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(stream(name, 32))


def kid_of(key: Ed25519PrivateKey) -> str:
    return hashlib.sha256(SITE.encode() + b"\n\x01" + key.public_key().public_bytes_raw()).hexdigest()[:8]


def sign(payload: dict[str, object], typ: str, key: Ed25519PrivateKey) -> str:
    header = {"alg": "Ed25519", "typ": typ, "kid": kid_of(key)}
    signed = f"{b64(compact(header))}.{b64(compact(payload))}"
    return f"{signed}.{b64(key.sign(signed.encode()))}"


def credential(
    *, epoch: int = EPOCH, index: int = INDEX, issuer: str = "signing key", epoch_key: str = "epoch key"
) -> str:
    flight = b64(compact([b64(stream(f"salt/{epoch}", 16)), "flight", "AI302"]))
    claims = {
        "iss": f"https://{SITE}",
        "vct": "urn:dwarpal:journey:1",
        "exp": epoch * 3600,
        "status": {"status_list": {"idx": index, "uri": f"https://{SITE}/v1/status/{epoch}"}},
        "purposes": "boarding entry security",
        "model": MODEL[:16],
        "template": encrypt(template(), epoch, stream(epoch_key, 32)),
        "_sd": [b64(hashlib.sha256(flight.encode()).digest())],
    }
    return f"{sign(claims, 'dc+sd-jwt', signing_key(issuer))}~{flight}~"


def status_list() -> str:
    bits = bytearray(2**17 // 8)
    bits[REVOKED_INDEX // 8] |= 1 << REVOKED_INDEX % 8
    payload = {
        "sub": f"https://{SITE}/v1/status/{EPOCH}",
        "iat": NOW,
        "exp": EPOCH * 3600,
        "ttl": 60,
        "status_list": {"bits": 1, "lst": b64(zlib.compress(bytes(bits), 9))},
    }
    return sign(payload, "statuslist+jwt", signing_key("signing key"))


def altered(text: str, at: int) -> str:
    """Change one bit's worth of one character."""
    return text[:at] + ALPHABET[ALPHABET.index(text[at]) ^ 1] + text[at + 1 :]


def main() -> None:
    valid = credential()
    payload_at, disclosure_at = valid.index(".") + 300, valid.index("~") + 40
    cases = {
        "valid": (valid, "admit"),
        "valid-flight-withheld": (valid.partition("~")[0] + "~", "admit"),
        "expired": (credential(epoch=EXPIRED_EPOCH), "credential_expired"),
        "revoked": (credential(index=REVOKED_INDEX), "credential_revoked"),
        "wrong-issuer": (credential(issuer="somebody else's key"), "credential_invalid"),
        "wrong-gate-key": (credential(epoch_key="another epoch key"), "credential_invalid"),
        "altered-claims": (altered(valid, payload_at), "credential_invalid"),
        "altered-signature": (altered(valid, valid.index("~") - 10), "credential_invalid"),
        "altered-flight": (altered(valid, disclosure_at), "credential_invalid"),
    }
    content = {
        "provenance": PROVENANCE,
        "site": SITE,
        "now": NOW,
        "model_digest": MODEL,
        "signing_seed": stream("signing key", 32).hex(),
        "epoch_keys": {str(epoch): stream("epoch key", 32).hex() for epoch in (EPOCH, EXPIRED_EPOCH)},
        "template": template().hex(),
        "status_list": status_list(),
        "revoked": f"{EPOCH}-{REVOKED_INDEX}",
        "cases": {name: {"credential": text, "expect": expect} for name, (text, expect) in cases.items()},
    }
    (HERE / "cases.json").write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
