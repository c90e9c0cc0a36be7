"""Every error that Dwarpal raises on purpose, as one tree.

    DwarpalError
    ├── MalformedInput          400  the request or file cannot be read
    ├── NotAuthenticated        401  no key, or a key that is unknown or revoked
    ├── NotPermitted            403  the role or the consented purposes do not cover this
    ├── NotFound                404  unknown, or not yours: never said which
    ├── Conflict                409  a replay, a stale capture, a state that forbids this
    ├── TooLarge                413  bytes, pixels or parts over the limit
    ├── UnsupportedImage        415  not a JPEG, PNG or WebP
    ├── UnusableFace            422  no face, several faces, or a face of too low quality
    ├── TooManyAttempts         429  over a limit; carries the seconds to wait
    ├── NotReady                503  a part that a safe answer needs is missing
    ├── SealBroken                   ciphertext, key share or associated data do not belong together
    │   └── KeyDestroyed             the epoch key is gone: nothing opens this template ever again
    ├── ModelUnusable                a network's file, digest, shape or card is wrong
    │   └── CalibrationUnusable      no calibration for the network, or a record that is not genuine or not for it
    ├── SampleTooSmall               fewer comparisons than the error rate that is claimed needs
    └── LogInconsistent              the audit log contradicts itself

`code` is stable and machine-readable, `detail` is for people. Neither ever carries input, an image, a score or a name.
"""

from __future__ import annotations


class DwarpalError(Exception):
    """The root: an error with a stable `code` and a `detail` that is safe to show."""

    code = "internal_error"

    def __init__(self, detail: str, *, code: str | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        if code is not None:
            self.code = code


class MalformedInput(DwarpalError):
    """The request or file cannot be read."""

    code = "malformed"


class NotAuthenticated(DwarpalError):
    """No key, or one that is unknown or revoked."""

    code = "not_authenticated"


class NotPermitted(DwarpalError):
    """The role, or the purposes consented to, do not cover this."""

    code = "not_permitted"


class NotFound(DwarpalError):
    """Unknown, or not the caller's: the two are never told apart."""

    code = "not_found"

    def __init__(self, detail: str = "There is nothing here that you may see.") -> None:
        super().__init__(detail)


class Conflict(DwarpalError):
    """A replay, a stale capture, or a state that forbids this."""

    code = "conflict"


class TooLarge(DwarpalError):
    """Bytes, pixels or parts over the limit."""

    code = "too_large"


class UnsupportedImage(DwarpalError):
    """The bytes are not a JPEG, PNG or WebP."""

    code = "unsupported_image"


class UnusableFace(DwarpalError):
    """The image holds no usable face; `code` is a `QualityCode`."""

    code = "face_not_found"


class TooManyAttempts(DwarpalError):
    """Over a limit; `retry_after` is in seconds."""

    code = "too_many_attempts"

    def __init__(self, detail: str, *, retry_after: int, code: str | None = None) -> None:
        super().__init__(detail, code=code)
        self.retry_after = retry_after


class NotReady(DwarpalError):
    """A part that a safe answer needs is missing."""

    code = "not_ready"


class SealBroken(DwarpalError):
    """Ciphertext, key share and associated data do not belong together."""

    code = "seal_broken"


class KeyDestroyed(SealBroken):
    """The epoch key is gone: nothing opens this template ever again."""

    code = "key_destroyed"


class ModelUnusable(DwarpalError):
    """A network's file, digest, shape or card is wrong."""

    code = "model_unusable"


class CalibrationUnusable(ModelUnusable):
    """The network is not calibrated, or the record of its calibration is not genuine or made for something else."""

    code = "not_calibrated"


class SampleTooSmall(DwarpalError):
    """Fewer comparisons than the claimed error rate needs; `smallest_rate` is what this sample could carry, if any."""

    code = "sample_too_small"

    def __init__(self, detail: str, *, needed: int, smallest_rate: float | None) -> None:
        super().__init__(detail)
        self.needed = needed
        self.smallest_rate = smallest_rate


class LogInconsistent(DwarpalError):
    """The audit log contradicts itself."""

    code = "log_inconsistent"
