"""The tamper-evident log: an RFC 6962 Merkle tree with C2SP checkpoints, and its offline verifier."""
