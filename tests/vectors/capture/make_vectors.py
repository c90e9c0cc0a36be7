"""Make sign.json and invalid.json for signed captures, without the project's own signing code.

The bytes that are signed are written out here from the format in liveness/injection.py; Ed25519 is the `cryptography`
package's. Keys and images are SHA-256 of counters: they stand for no device and no face.
Run: python tests/vectors/capture/make_vectors.py
"""

from __future__ import annotations

import base64
import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

HERE = Path(__file__).resolve().parent
PROVENANCE = "Made by make_vectors.py from the format in liveness/injection.py; independent of its code."


def stream(name: str, size: int) -> bytes:
    blocks = (hashlib.sha256(f"{name}/{i}".encode()).digest() for i in range(-(-size // 32)))
    return b"".join(blocks)[:size]


def unpadded(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def payload(gate: str, nonce: str, captured_at: str, images: list[bytes]) -> bytes:
    time = datetime.fromisoformat(captured_at).astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    microseconds = (time.days * 86400 + time.seconds) * 1_000_000 + time.microseconds
    fields = [b"dwarpal/capture/v1", gate.encode(), nonce.encode(), microseconds.to_bytes(8, "big", signed=True)]
    fields += [hashlib.sha256(image).digest() for image in images]
    return b"".join(len(field).to_bytes(4, "big") + field for field in fields)


def signed(name: str, *, gate: str = "t3-entry-1", captured_at: str = "2026-11-24T06:30:00+05:30", frames: int = 1):
    key = Ed25519PrivateKey.from_private_bytes(stream(f"{name}/key", 32))
    public, nonce = key.public_key().public_bytes_raw(), stream(f"{name}/nonce", 16).hex()
    images = [stream(f"{name}/image {n}", 100) for n in range(frames)]
    message = payload(gate, nonce, captured_at, images)
    return {
        "name": name,
        "private_key": stream(f"{name}/key", 32).hex(),
        "public_key": unpadded(public),
        "key_id": hashlib.sha256(public).digest()[:16].hex(),
        "gate_id": gate,
        "nonce": nonce,
        "captured_at": captured_at,
        "images": [image.hex() for image in images],
        "payload": message.hex(),
        "signature": unpadded(key.sign(message)),
    }


def invalid() -> list[dict[str, object]]:
    good, other = signed("a burst", frames=3), signed("another device", frames=3)
    images = list(good["images"])
    signature = base64.urlsafe_b64decode(good["signature"] + "==")
    flipped = signature[:10] + bytes([signature[10] ^ 1]) + signature[11:]
    changes: dict[str, dict[str, object]] = {
        "one byte of an image changed": {"images": ["00" + images[0][2:], *images[1:]]},
        "two frames in each other's place": {"images": [images[1], images[0], images[2]]},
        "a frame left out": {"images": images[:2]},
        "a frame twice": {"images": [*images, images[2]]},
        "another gate": {"gate_id": "t3-entry-2"},
        "another nonce": {"nonce": other["nonce"]},
        "a microsecond later": {"captured_at": "2026-11-24T06:30:00.000001+05:30"},
        "the same wall clock in another zone": {"captured_at": "2026-11-24T06:30:00+00:00"},
        "another device's key": {"public_key": other["public_key"]},
        "another device's signature": {"signature": other["signature"]},
        "one flipped bit": {"signature": unpadded(flipped)},
    }
    kept = {key: value for key, value in good.items() if key not in ("private_key", "payload")}
    return [{**kept, "name": name, **change} for name, change in changes.items()]


def write(name: str, cases: list[dict[str, object]]) -> None:
    text = json.dumps({"provenance": PROVENANCE, "cases": cases}, indent=1)
    (HERE / name).write_text(text + "\n", encoding="ascii")


if __name__ == "__main__":
    made = [
        signed("one image"),
        signed("a burst", frames=3),
        signed("eight frames", frames=8, gate="g", captured_at="2026-11-24T01:00:00.123456+00:00"),
        signed("before 1970", captured_at="1969-12-31T23:59:59.999999+00:00"),
    ]
    write("sign.json", made)
    write("invalid.json", invalid())
