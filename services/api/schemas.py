"""What the HTTP interface takes and gives, as its users read it in the OpenAPI description."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Generic, TypeVar

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, JsonValue, TypeAdapter

from biometrics.records import LivenessPolicy, Purpose
from biometrics.sessions import LivenessStatus
from infra.api_keys import Role
from liveness.challenge import Refusal, Step
from liveness.frame_judge import MOST_FRAMES
from services.api.errors import RejectedImage
from services.calibration import Source
from services.jobs import JobStatus
from verification.decision import Outcome, Reason

Flight = Annotated[str, Field(pattern=r"^[A-Z0-9]{2,3}[0-9]{1,4}[A-Z]?$", examples=["AI302"])]
GateId = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,39}$", examples=["t3-entry-1"])]
Nonce = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{16,64}$", examples=["q83vEjRWeJq83vEjRWeJ"])]
Id = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$", examples=["5f0c2a9be1d34c7c8f64ab90d1e2f300"])]


Item = TypeVar("Item")

JSON_OBJECT = TypeAdapter(dict[str, JsonValue])
"""Makes plain JSON of receipts and log entries."""


class Request(BaseModel):
    """The base of all requests: unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


class Travel(Request):
    """The journey: a flight and, where known, its departure."""

    flight: Flight
    departs_at: AwareDatetime | None = Field(None, examples=["2026-11-24T06:30:00+05:30"])


class ConsentGiven(Request):
    """What the traveller ticked, and the notice that they read."""

    purposes: set[Purpose] = Field(examples=[["entry", "security", "boarding"]])
    notice_version: str = Field(max_length=40, examples=["2026-11"])
    notice_sha256: str = Field(pattern="^[0-9a-f]{64}$")
    language: str = Field(pattern="^[a-z]{2,3}$", examples=["hi"])
    adult: bool = Field(description="the traveller is 18 or older", examples=[True])


class EnrollmentRequest(Request):
    """The JSON part `enrollment` beside the image files."""

    travel: Travel
    consent: ConsentGiven


class EnrollmentCreated(BaseModel):
    """A new enrollment; `travel_token` is told this once."""

    enrollment_id: Id
    travel_token: str = Field(examples=["DWP1.Xwwqm-HTTHyPZKuQ0eLzAA.9S0hC3c..."])
    travel_token_qr_png: str = Field(description="the token as a QR code: PNG, base64")
    expires_at: datetime
    purposes: list[Purpose]
    accepted: list[int] = Field(description="places of the images that were used", examples=[[0, 1]])
    rejected: list[RejectedImage]
    flags: list[str] = Field(description="`duplicate_suspected`: an officer must look first")
    audit_index: int
    consent_receipt: dict[str, JsonValue]


class BatchItem(EnrollmentRequest):
    """One traveller of a batch; `images` are the names of their files in this request, kept nowhere."""

    images: list[Annotated[str, Field(min_length=1, max_length=100)]] = Field(
        min_length=1, max_length=20, examples=[["a1.jpg", "a2.jpg"]]
    )


class BatchRequest(Request):
    """The JSON part `batch` beside the image files; an item is known by its place from 0."""

    items: list[BatchItem] = Field(min_length=1, max_length=100)


class JobCounts(BaseModel):
    """How far a job is: items in all, enrolled, and failed."""

    total: int
    enrolled: int
    failed: int


class ItemProblem(BaseModel):
    """Why an item failed: the stable `code` that a single enrollment would have given, and `rejected` by image."""

    code: str = Field(examples=["too_blurred"])
    detail: str
    rejected: list[RejectedImage]


class JobItem(BaseModel):
    """The outcome of one item: `enrollment` or `problem`."""

    index: int
    enrollment: EnrollmentCreated | None = None
    problem: ItemProblem | None = None


class JobState(BaseModel):
    """A batch at one moment: `items` holds the outcomes so far. Readable by its sender until 15 min past the end."""

    job_id: Id
    status: JobStatus
    counts: JobCounts
    items: list[JobItem]


class EnrollmentState(BaseModel):
    """What is held of an enrollment."""

    enrollment_id: Id
    status: str = Field(examples=["active"])
    flight: str
    departs_at: datetime | None
    enrolled_at: datetime
    expires_at: datetime
    purposes: list[Purpose]
    flags: list[str]


class TravelChange(Request):
    """A delay, or with null a cancellation; an enroller adds the traveller's token, which opens the template."""

    departs_at: AwareDatetime | None = Field(examples=["2026-11-24T09:45:00+05:30"])
    travel_token: str | None = Field(None, max_length=200)


class Review(Request):
    """An officer's finding on a suspected duplicate."""

    cleared: bool


class Deleted(BaseModel):
    """An erasure with its signed receipt; where `pages_scrubbed` is false the next sweep finishes the pages."""

    receipt: dict[str, JsonValue]
    pages_scrubbed: bool


class Signature(Request):
    """A device's signature of this capture; what is signed stands in docs/liveness.md."""

    key_id: Id
    value: str = Field(pattern="^[A-Za-z0-9_-]{86}$", description="Ed25519, 64 bytes, base64url without padding")


class CheckRequestBody(Request):
    """The JSON part `check` beside the images: a nonce used once, the capture's time, and whom to look for."""

    nonce: Nonce
    captured_at: AwareDatetime
    travel_token: str | None = Field(
        None, max_length=200, description="claimed (1:1); leave out for walk-through (1:N)"
    )
    credential: str | None = Field(
        None, max_length=2953, description="journey credential (1:1) in place of a travel token; docs/credentials.md"
    )
    flight: Flight | None = Field(
        None, description="walk-through: search this flight only; credential: admit to this flight only"
    )
    signature: Signature | None = Field(None, description="needed where the gate takes signed captures only")
    liveness_session: Id | None = Field(None, description="needed where the gate asks for an active challenge")


class Frame(Request):
    """What is said about one frame: the nonce of the step that it was captured for, and when."""

    nonce: Nonce
    captured_at: AwareDatetime


class FramesBody(Request):
    """The JSON part `frames` beside the images: one entry for each, in the same order."""

    frames: list[Frame] = Field(min_length=1, max_length=MOST_FRAMES)
    signature: Signature | None = Field(None, description="needed where the gate takes signed captures only")


class LivenessState(BaseModel):
    """A liveness session; `step` and `nonce` change together, and only the present step is ever told."""

    session_id: Id
    status: LivenessStatus
    step: Step | None = Field(description="what to show to the person now, while the session is open")
    steps_done: int
    steps_total: int | None = Field(description="while the session is open")
    nonce: Nonce | None = Field(description="for frames of this step, captured after this answer arrived")
    reason: Refusal | None = Field(description="why it failed")
    redeemed: bool = Field(description="a gate check has used it up")
    expires_at: datetime


class CheckAnswer(BaseModel):
    """What the gate does; there is no score in it, on purpose."""

    check_id: Id
    decision: Outcome
    reason: Reason
    checked_at: datetime
    audit_index: int
    duration_ms: float


class GateBody(Request):
    """A gate to create."""

    id: GateId
    purpose: Purpose
    walk_through: bool = False
    liveness: LivenessPolicy = LivenessPolicy.PASSIVE
    signed_captures: bool = False


class GateChange(Request):
    """What to change of a gate; what is left out, or null, stays."""

    liveness: LivenessPolicy | None = None
    signed_captures: bool | None = None


class GateState(BaseModel):
    """A gate: `liveness` and `signed_captures` are its policy against attacks."""

    id: str
    purpose: Purpose
    walk_through: bool
    liveness: LivenessPolicy
    signed_captures: bool


class DeviceKeyBody(Request):
    """The public half of a device's Ed25519 key; the private half never leaves the device."""

    public_key: str = Field(
        pattern="^[A-Za-z0-9_-]{43}$",
        description="32 bytes, base64url without padding",
        examples=["11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"],
    )


class DeviceKeyState(BaseModel):
    """A device's key; its id are the first 128 bits of the SHA-256 of the public key."""

    id: Id
    gate_id: str
    public_key: str
    created_at: datetime
    revoked_at: datetime | None


class KeyBody(Request):
    """A key to create; `gate_id` only and always for the role `gate`."""

    role: Role
    gate_id: GateId | None = None


class KeyState(BaseModel):
    """A key without its secret."""

    id: str
    role: Role
    gate_id: str | None
    created_at: datetime
    revoked_at: datetime | None


class KeyCreated(BaseModel):
    """A new key; `key` is told this once."""

    id: str
    key: str


class Page(BaseModel, Generic[Item]):
    """One page of a list; hand `next_cursor` back to go on."""

    items: list[Item]
    next_cursor: str | None


class AuditLine(BaseModel):
    """One entry of the log: its index and the exact text that was hashed."""

    index: int
    leaf: str
    entry: dict[str, JsonValue]


class Activity(BaseModel):
    """One processing of my data."""

    time: str
    event: str
    gate: str | None
    purpose: str | None
    decision: str | None
    reason: str | None
    audit_index: int


class Proof(BaseModel):
    """A Merkle proof after RFC 6962, hashes in hexadecimal from the leaf upward."""

    tree_size: int
    hashes: list[str]


class InclusionProof(Proof):
    """That an entry stands in the tree."""

    index: int


class ConsistencyProof(Proof):
    """That the tree only grew since `old_size`."""

    old_size: int


class SignedRotation(BaseModel):
    """A change of the signing key: the entry that names both keys, in the tree of the checkpoint that both signed."""

    index: int
    time: datetime
    leaf: str = Field(description="the entry, exactly as it was hashed")
    checkpoint: str = Field(description="of `index` + 1 entries, signed by the former key and by the new one")
    hashes: list[str] = Field(description="the entry's inclusion proof in it, hexadecimal")
    former_vkey: str
    vkey: str


class SigningKeys(BaseModel):
    """The keys under checkpoints and receipts: the present ones, and how former ones vouch for them."""

    vkey: str
    post_quantum_vkey: str | None
    rotations: list[SignedRotation]


class CalibrationStatus(BaseModel):
    """Which calibration the thresholds come from, without any threshold."""

    source: Source = Field(description="the network's card, the site's own pairs, or an explicit cosine")
    model: str = Field(description="SHA-256 of the network that it is for")
    fmr: float | None = Field(description="declared false-match rate of a claimed (1:1) check")
    fpir: float | None = Field(description="declared false-positive identification rate of a walk-through (1:N) search")
    gallery_size: int | None = Field(description="largest gallery for which that was declared")
    support: str | None = Field(description="`supported`, `fewer_than_30_errors`, or `card`")
    created_at: datetime | None
    execution_provider: str | None = Field(description="what ran the embedder when it was measured at this site")
    record: str | None = Field(description="SHA-256 of the signed record, as in the audit log")


class Readiness(BaseModel):
    """Whether gates may be served, and with what."""

    ready: bool
    version: str
    environment: str
    models: dict[str, str] = Field(description="SHA-256 of each network")
    providers: dict[str, str] = Field(description="execution provider of each network")
    thresholds: dict[str, str] = Field(description="declared error rate and where its threshold comes from")
    calibration: CalibrationStatus
    gallery: int
    sweeper: bool
