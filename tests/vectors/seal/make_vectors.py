"""Make generate.json, verify.json and invalid.json for the sealing format, without the project's own sealing code.

HKDF is written out here from RFC 5869 with the standard library; AES-256-GCM is the `cryptography` package's.
Templates, keys and nonces are SHA-256 of counters: they stand for nobody.
Run: python tests/vectors/seal/make_vectors.py
"""

from __future__ import annotations

import hashlib
import hmac
import json
import struct
from pathlib import Path

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

HERE = Path(__file__).resolve().parent
PROVENANCE = "Made by make_vectors.py from the format in infra/keys/sealing.py, schema 1; independent of its code."


def stream(name: str, size: int) -> bytes:
    blocks = (hashlib.sha256(f"{name}/{i}".encode()).digest() for i in range(-(-size // 32)))
    return b"".join(blocks)[:size]


def vector(name: str) -> list[float]:
    numbers = [n / 2**31 for n in struct.unpack("<512i", stream(name, 2048))]
    length = sum(n * n for n in numbers) ** 0.5
    return [n / length for n in numbers]


def hkdf(key: bytes, salt: bytes, info: bytes) -> bytes:
    return hmac.digest(hmac.digest(salt or bytes(32), key, "sha256"), info + b"\x01", "sha256")


def bind(case: dict[str, str | int], role: str) -> bytes:
    fields = ["dwarpal/seal/v1", role, case["site"], case["subject"], case["model_digest"], str(case["epoch"]), "1"]
    return b"".join(len(str(f).encode()).to_bytes(4, "big") + str(f).encode() for f in fields)


def seal(name: str, *, for_gallery: bool, epoch: int = 483_756, site: str = "airport.example") -> dict[str, object]:
    case: dict[str, str | int] = {
        "site": site,
        "subject": stream(f"{name}/subject", 16).hex(),
        "model_digest": stream(f"{name}/model", 32).hex(),
        "epoch": epoch,
        "share": stream(f"{name}/share", 32).hex(),
        "epoch_key": stream(f"{name}/epoch key", 32).hex(),
    }
    epoch_key, share = bytes.fromhex(str(case["epoch_key"])), bytes.fromhex(str(case["share"]))
    data_key, nonces = stream(f"{name}/data key", 32), stream(f"{name}/nonces", 36)
    template = struct.pack("<512e", *vector(name))

    def encrypt(key: bytes, nonce: bytes, plain: bytes, role: str) -> str:
        return (b"\x01" + nonce + AESGCM(key).encrypt(nonce, plain, bind(case, role))).hex()

    holder, gallery = hkdf(epoch_key, share, bind(case, "holder")), hkdf(epoch_key, b"", bind(case, "gallery"))
    return {
        "name": name,
        **case,
        "data_key": data_key.hex(),
        "nonces": [nonces[i : i + 12].hex() for i in (0, 12, 24)],
        "template": template.hex(),
        "envelope": encrypt(data_key, nonces[:12], template, "template"),
        "for_holder": encrypt(holder, nonces[12:24], data_key, "holder"),
        "for_gallery": encrypt(gallery, nonces[24:], data_key, "gallery") if for_gallery else None,
    }


def without_secrets(case: dict[str, object]) -> dict[str, object]:
    return {key: value for key, value in case.items() if key not in ("data_key", "nonces")}


def invalid() -> list[dict[str, object]]:
    good, other = seal("mine", for_gallery=True), seal("theirs", for_gallery=True)
    envelope = bytes.fromhex(str(good["envelope"]))
    changes: dict[str, dict[str, object]] = {
        "another version": {"envelope": (b"\x02" + envelope[1:]).hex()},
        "empty envelope": {"envelope": ""},
        "cut by one byte": {"envelope": envelope[:-1].hex()},
        "one byte more": {"envelope": envelope.hex() + "00"},
        "flipped bit in the text": {"envelope": (envelope[:500] + bytes([envelope[500] ^ 1]) + envelope[501:]).hex()},
        "flipped bit in the tag": {"envelope": (envelope[:-1] + bytes([envelope[-1] ^ 0x80])).hex()},
        "another traveller's envelope": {"envelope": other["envelope"]},
        "another traveller's data key": {"for_holder": other["for_holder"], "for_gallery": other["for_gallery"]},
        "keys in each other's place": {"for_holder": good["for_gallery"], "for_gallery": good["for_holder"]},
        "another subject": {"subject": other["subject"]},
        "another model": {"model_digest": other["model_digest"]},
        "another epoch": {"epoch": 483_757},
        "another site": {"site": "airport.exampl"},
        "another epoch key": {"epoch_key": other["epoch_key"]},
    }
    return [{**without_secrets(good), "name": name, "why": name, **change} for name, change in changes.items()]


def write(name: str, cases: list[dict[str, object]]) -> None:
    text = json.dumps({"provenance": PROVENANCE, "cases": cases}, indent=1)
    (HERE / name).write_text(text + "\n", encoding="ascii")


if __name__ == "__main__":
    made = [
        seal("mine", for_gallery=True),
        seal("holder only", for_gallery=False),
        seal("long ago", for_gallery=True, epoch=0, site="a/b.c"),
    ]
    write("generate.json", made)
    write("verify.json", [without_secrets(seal(f"verify {n}", for_gallery=n % 2 == 0)) for n in range(4)])
    write("invalid.json", invalid())
