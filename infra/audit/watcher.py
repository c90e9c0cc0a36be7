"""The other side of `witness.py`: somebody who watches a site's log and cosigns only what extends all they saw before.

What a witness saw last is one checkpoint in a file. It is replaced, durably, before the cosignature leaves, so that a
crash can cost a cosignature but never make the witness forget (C2SP tlog-witness).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from biometrics.errors import LogInconsistent
from infra.audit import merkle
from infra.audit.checkpoint import (
    Checkpoint,
    parse_checkpoint,
    parse_verifier_key,
    verify_by_any,
    verify_checkpoint,
)
from infra.audit.cosignature import cosign, cosigner_key
from infra.audit.rotation import LoggedRotation, follow
from infra.keys.pem_file import write_key
from infra.keys.replace import replace_file

Prove = Callable[[int, int], Sequence[bytes]]
"""Asks the site for the consistency proof between two sizes."""


def make_key(path: Path, name: str) -> str:
    """Write a new key of a witness to a new file and return its verifier key; raise `FileExistsError`."""
    key = Ed25519PrivateKey.generate()
    vkey = cosigner_key(name, key).text
    write_key(path, key)
    return vkey


class Watcher:
    """A witness of one site; `vkey` is the site's verifier key, `memory` the file of what was seen last."""

    def __init__(self, name: str, key: Ed25519PrivateKey, *, vkey: str, memory: Path) -> None:
        self._name = name
        self._key = key
        self._site, self._site_key = parse_verifier_key(vkey)
        self._memory = memory

    def cosign(self, note: str, prove: Prove, now: int, *, rotations: Sequence[LoggedRotation] = ()) -> str:
        """Return a site's checkpoint with our line below the site's own; `now` in seconds since 1970.

        A site that rotated its signing key shows `rotations`: they are followed from the key that we were given.
        Raises `LogInconsistent` if the site did not sign it, or if it does not extend what we saw before. In that case
        the note is kept beside the memory, as `….contradiction`: both are signed by the site, and prove its fraud.
        """
        keys = follow(self._site, self._site_key, rotations)
        checkpoint = verify_checkpoint(note, self._site, keys[-1])
        try:
            self._compare(checkpoint, prove, keys)
            for rotation in rotations:
                self._extends(parse_checkpoint(rotation.checkpoint), checkpoint, prove)
        except LogInconsistent:
            replace_file(self._memory.with_name(self._memory.name + ".contradiction"), note.encode())
            raise
        own = "".join(line.line for line in checkpoint.signatures if line.name == self._site)
        seen = f"{checkpoint.signed_text}\n{own}"
        replace_file(self._memory, seen.encode())
        return seen + cosign(checkpoint, self._name, self._key, now)

    def _compare(self, checkpoint: Checkpoint, prove: Prove, keys: Sequence[Ed25519PublicKey]) -> None:
        if self._memory.exists():
            seen = verify_by_any(self._memory.read_text(encoding="utf-8"), self._site, keys)
            self._extends(seen, checkpoint, prove)

    def _extends(self, seen: Checkpoint, checkpoint: Checkpoint, prove: Prove) -> None:
        if checkpoint.size < seen.size:
            raise LogInconsistent("The log is smaller than what we saw before.", code="log_shrunk")
        proof = prove(seen.size, checkpoint.size) if seen.size < checkpoint.size else []
        if not merkle.verify_consistency(seen.size, checkpoint.size, proof, seen.root, checkpoint.root):
            raise LogInconsistent("The log is not the one that we saw before.", code="log_forked")
