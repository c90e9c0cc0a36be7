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


def bind(case: dict[str, str | int], role: str, label: str, schema: str) -> bytes:
    fields = [label, role, case["site"], case["subject"], case["model_digest"], str(case["epoch"]), schema]
    return b"".join(len(str(f).encode()).to_bytes(4, "big") + str(f).encode() for f in fields)


def seal(
    name: str,
    *,
    for_gallery: bool,
    epoch: int = 483_756,
    site: str = "airport.example",
    label: str = "dwarpal/seal/v1",
    schema: str = "1",
    scale: float = 1.0,
) -> dict[str, object]:
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
    template = struct.pack("<512e", *(scale * number for number in vector(name)))
    bound = {role: bind(case, role, label, schema) for role in ("template", "holder", "gallery")}

    def encrypt(key: bytes, nonce: bytes, plain: bytes, role: str) -> str:
        return (b"\x01" + nonce + AESGCM(key).encrypt(nonce, plain, bound[role])).hex()

    holder, gallery = hkdf(epoch_key, share, bound["holder"]), hkdf(epoch_key, b"", bound["gallery"])
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
    keys = {field: bytes.fromhex(str(good[field])) for field in ("for_holder", "for_gallery")}
    # What is changed in the keys is changed in both, so that neither way opens.
    changes: dict[str, dict[str, object]] = {
        "another version": {"envelope": (b"\x02" + envelope[1:]).hex()},
        "version 00": {"envelope": (b"\x00" + envelope[1:]).hex()},
        "version 81": {"envelope": (b"\x81" + envelope[1:]).hex()},
        "version ff": {"envelope": (b"\xff" + envelope[1:]).hex()},
        "another version of the keys": {field: (b"\x02" + key[1:]).hex() for field, key in keys.items()},
        "version 00 of the keys": {field: (b"\x00" + key[1:]).hex() for field, key in keys.items()},
        "no version marker": {"envelope": envelope[1:].hex()},
        "another schema": seal("mine", for_gallery=True, schema="2"),
        "another label": seal("mine", for_gallery=True, label="dwarpal/seal/v2"),
        "empty envelope": {"envelope": ""},
        "cut by one byte": {"envelope": envelope[:-1].hex()},
        "one byte more": {"envelope": envelope.hex() + "00"},
        "flipped bit in the text": {"envelope": (envelope[:500] + bytes([envelope[500] ^ 1]) + envelope[501:]).hex()},
        "flipped bit in the tag": {"envelope": (envelope[:-1] + bytes([envelope[-1] ^ 0x80])).hex()},
        "another traveller's envelope": {"envelope": other["envelope"]},
        "another traveller's data key": {"for_holder": other["for_holder"], "for_gallery": other["for_gallery"]},
        "keys cut by one byte": {field: key[:-1].hex() for field, key in keys.items()},
        "keys one byte longer": {field: key.hex() + "00" for field, key in keys.items()},
        "empty keys": {"for_holder": "", "for_gallery": ""},
        "envelope in the keys' place": {"for_holder": envelope.hex(), "for_gallery": envelope.hex()},
        "a key in the envelope's place": {"envelope": keys["for_holder"].hex()},
        "another nonce": {"envelope": (envelope[:1] + stream("nonce", 12) + envelope[13:]).hex()},
        "keys in each other's place": {"for_holder": good["for_gallery"], "for_gallery": good["for_holder"]},
        "another subject": {"subject": other["subject"]},
        "another model": {"model_digest": other["model_digest"]},
        "another epoch": {"epoch": 483_757},
        "another site": {"site": "airport.exampl"},
        "another epoch key": {"epoch_key": other["epoch_key"]},
        "another share": {"share": other["share"], "for_gallery": None},
        "no unit vector": seal("mine", for_gallery=True, scale=0.5),
    }
    return [
        {**without_secrets(good), **without_secrets(change), "name": name, "why": name}
        for name, change in changes.items()
    ]


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
