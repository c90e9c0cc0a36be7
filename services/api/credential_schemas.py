"""What the calls about journey credentials take and give; EnrollmentRequest in `schemas.py` is what issuing takes."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, Field, JsonValue

from biometrics.records import Purpose
from services.api.errors import RejectedImage


class CredentialIssued(BaseModel):
    """A new credential; `credential` is told this once, and kept nowhere here."""

    credential_id: str = Field(examples=["498811-70412"])
    credential: str = Field(description="SD-JWT VC, compact", examples=["eyJhbGciOiJFZDI1NTE5Ii4uLg...~WyJ...~"])
    credential_qr_png: str = Field(description="the credential as a QR code: PNG, base64")
    expires_at: datetime
    purposes: list[Purpose]
    accepted: list[int] = Field(description="places of the images that were used", examples=[[0, 1]])
    rejected: list[RejectedImage]
    audit_index: int
    consent_receipt: dict[str, JsonValue]


class CredentialState(BaseModel):
    """All that the server knows of a credential."""

    credential_id: str
    revoked: bool
    expires_at: datetime


class Issuer(BaseModel):
    """The keys under the credentials of this site (draft-ietf-oauth-sd-jwt-vc, section 5)."""

    issuer: str
    jwks: dict[str, JsonValue]
