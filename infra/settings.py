"""Every setting, read from the environment with the prefix `DWARPAL_` (docs/settings.md lists them for people)."""

from __future__ import annotations

from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from biometrics.errors import MalformedInput
from infra.region import is_local, outside, parse_hosts
from infra.retention_profile import LEAST_LOG_DAYS, PERIODS, RetentionProfile

if TYPE_CHECKING:
    from infra.audit.cosignature import CosignerKey

WITHOUT_PAD_WORDS = "a photograph may open the gate"
"""The words that a site must write to run without presentation attack detection."""

_MOUNT = r"^[A-Za-z0-9][A-Za-z0-9_./-]{0,99}$"
_RATE = r"^[1-9][0-9]{0,8}/(second|minute|hour|day)$"


class Environment(StrEnum):
    """Where this process runs; only `demo` and `development` may move the clock."""

    PRODUCTION = "production"
    DEMO = "demo"
    DEVELOPMENT = "development"


class ExecutionProvider(StrEnum):
    """What runs the networks."""

    AUTO = "auto"
    CPU = "cpu"
    OPENVINO = "openvino"
    CUDA = "cuda"
    TENSORRT = "tensorrt"


class Settings(BaseSettings):
    """The settings of one process; wrong or contradictory values stop it at start."""

    model_config = SettingsConfigDict(env_prefix="DWARPAL_", extra="ignore", hide_input_in_errors=True)

    environment: Environment = Field(Environment.PRODUCTION, description="`production`, `demo` or `development`.")
    site: str = Field(
        "dwarpal.example",
        pattern=r"^[a-z0-9][a-z0-9./-]{0,99}$",
        description="Name of the site: origin of the audit log and part of what every template is sealed to.",
    )
    data_dir: Path = Field(Path("data"), description="Folder of the SQLite database and the key file.")
    database_url: str = Field("", description="SQLAlchemy URL; empty means SQLite in the data folder.", repr=False)
    key_passphrase: SecretStr | None = Field(
        None, description="Passphrase of the key file; without one a machine key file of mode 0600 is used."
    )
    key_passphrase_next: SecretStr | None = Field(
        None,
        description="Passphrase that `dwarpal keys rotate --root` seals the key file with; either of the two opens it.",
    )
    vault_url: str = Field(
        "",
        description="HashiCorp Vault that holds the keys in place of the key file, `https://...`; empty for the file.",
    )
    vault_token_file: Path | None = Field(None, description="File with Vault's token; read again when it is refused.")
    vault_role_id: str = Field("", description="AppRole with which to sign in to Vault, in place of a token.")
    vault_secret_id_file: Path | None = Field(None, description="File with the AppRole's secret id.")
    vault_ca_file: Path | None = Field(None, description="Authorities that vouch for Vault; by default the well-known.")
    vault_namespace: str = Field("", description="Vault's namespace, where it has any.")
    vault_transit: str = Field("transit", pattern=_MOUNT, description="Mount of Vault's transit engine.")
    vault_kv: str = Field("secret", pattern=_MOUNT, description="Mount of Vault's KV engine, version 2.")
    blind_url: str = Field(
        "",
        description="Key holder of blind matching (`dwarpal blind serve`), `https://...`; empty compares in the clear.",
    )
    blind_public_key: Path | None = Field(None, description="The key holder's public key, from `dwarpal blind keygen`.")
    blind_token_file: Path | None = Field(None, description="File with the secret that the key holder lets us in by.")
    cache_dir: Path = Field(
        Path.home() / ".cache" / "dwarpal",
        description="Converted networks, keyed by SHA-256; may be deleted at any time.",
    )
    clock_file: Path | None = Field(
        None, description="File with an offset in seconds that moves the clock; refused in production."
    )

    execution_provider: ExecutionProvider = Field(
        ExecutionProvider.AUTO, description="What runs the networks; `auto` takes the best that is present."
    )
    inference_threads: int = Field(0, ge=0, le=256, description="Threads for each network run; 0 means all cores.")
    embedder: str = Field("mobilefacenet512", description="Name of the embedder's model card.")
    embedder_flip: bool = Field(True, description="Average the embedding with that of the mirrored face.")
    pad: str = Field("efficientnet-lite0-pad", description="Name of the PAD network's model card; empty for none.")
    pad_bpcer: float = Field(
        0.07,
        gt=0,
        lt=1,
        description="Share of living people that PAD may refer on a single frame: one of the card's operating points.",
    )
    pad_burst_bpcer: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="The same for a burst of 3 to 8 frames; by default 0.05, or the single frame's where that is less.",
    )
    without_pad: str = Field("", description=f"To run gates without PAD, write exactly: {WITHOUT_PAD_WORDS}.")
    farthest_face_pixels: int = Field(
        60,
        ge=20,
        le=2000,
        description="Height in pixels of the smallest face that counts: a traveller at the far mark.",
    )
    nearest_face_pixels: int = Field(
        1200, ge=40, le=8000, description="Height in pixels of the largest face expected: a traveller at the lens."
    )

    fmr: float = Field(
        1e-3,
        gt=0,
        lt=1,
        description="False-match rate of claimed (1:1) checks; the model card's threshold for it is used.",
    )
    walk_through_fpir: float = Field(
        1e-2, gt=0, lt=1, description="False-positive identification rate of a walk-through (1:N) search."
    )
    cosine_threshold: float | None = Field(
        None, gt=-1, lt=1, description="Explicit cosine threshold in place of the model card's (see ADR on 0.85)."
    )
    walk_through_window_hours: float = Field(
        6, gt=0, le=48, description="How long before departure a template enters the walk-through gallery."
    )
    check_window_seconds: int = Field(60, ge=1, le=600, description="How far a capture's time may be from ours.")
    lockout_failures: int = Field(5, ge=1, le=100, description="Failed checks of one traveller before a lock-out.")
    lockout_seconds: int = Field(300, ge=1, le=86400, description="How long a lock-out lasts.")
    liveness_session_seconds: int = Field(
        120, ge=30, le=600, description="How long a liveness session lives, from its opening to its use at a gate."
    )
    liveness_sessions: int = Field(
        256, ge=1, le=10_000, description="Most liveness sessions in memory at once; further ones are refused as busy."
    )

    retention_profile: RetentionProfile = Field(
        RetentionProfile.INDIA, description="`india` or `eu`: the law that sets the periods below."
    )
    log_retention_days: int | None = Field(
        None,
        ge=LEAST_LOG_DAYS,
        description="Days for which the site keeps the audit log at least; by default the profile's.",
    )
    rights_due_days: int | None = Field(
        None, ge=1, description="Days within which a rights request is answered; by default the profile's, never more."
    )
    rights_retention_days: int = Field(
        30, ge=1, le=30, description="Days for which a rights request's words are kept after the answer."
    )

    region: str = Field(
        "",
        pattern=r"^([A-Z]{2}(-[A-Z0-9]{1,3})?)?$",
        description="ISO 3166 code of the region that data must not leave; empty for none.",
    )
    region_hosts: str = Field(
        "",
        description="Hosts (`*.db.example`) and networks (`10.0.0.0/8`) in the region, separated by commas.",
    )

    purge_interval_seconds: float = Field(30, gt=0, le=3600, description="How often expired templates are purged.")
    witnesses: str = Field(
        "", description="Verifier keys of the witnesses whose cosignatures the audit log takes, separated by spaces."
    )
    max_image_bytes: int = Field(10 * 2**20, ge=2**10, description="Largest compressed image.")
    max_image_pixels: int = Field(16_000_000, ge=10_000, description="Largest image, read from the header.")
    max_images: int = Field(5, ge=1, le=20, description="Most images in one enrollment.")
    max_batch_items: int = Field(50, ge=1, le=100, description="Most travellers in one batch enrollment.")
    self_enrollment: bool = Field(
        False,
        description="Let travellers enroll themselves on the page `/`; else only a desk's key enrolls them there.",
    )
    rate_gate: str = Field("240/minute", pattern=_RATE, description="Checks of one gate.")
    rate_address: str = Field("600/minute", pattern=_RATE, description="Requests of one address.")
    rate_holder: str = Field("60/minute", pattern=_RATE, description="Requests with one travel token.")
    log_level: str = Field("INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$", description="Least severe line logged.")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.clock_file is not None and self.environment is Environment.PRODUCTION:
            raise ValueError("DWARPAL_CLOCK_FILE moves the clock and is refused in production")
        if self.without_pad not in ("", WITHOUT_PAD_WORDS):
            raise ValueError(f"DWARPAL_WITHOUT_PAD must be exactly: {WITHOUT_PAD_WORDS}")
        if not self.pad and not self.without_pad:
            raise ValueError(
                "no PAD network is named and DWARPAL_WITHOUT_PAD is not set: a photograph would open the gate"
            )
        if self.pad_burst_bpcer is not None and self.pad_burst_bpcer > self.pad_bpcer:
            raise ValueError("DWARPAL_PAD_BURST_BPCER must not be larger than DWARPAL_PAD_BPCER")
        if self.nearest_face_pixels <= self.farthest_face_pixels:
            raise ValueError("DWARPAL_NEAREST_FACE_PIXELS must be larger than DWARPAL_FARTHEST_FACE_PIXELS")
        if self.effective_rights_due_days > PERIODS[self.retention_profile].due_days:
            raise ValueError("DWARPAL_RIGHTS_DUE_DAYS is longer than DWARPAL_RETENTION_PROFILE allows")
        try:
            self.witness_keys()
        except MalformedInput:
            raise ValueError("DWARPAL_WITNESSES holds something that is no witness's verifier key") from None
        self._stay_in_region()
        self._check_services()
        return self

    def _check_services(self) -> None:
        for name in ("vault_url", "blind_url"):
            found = urlsplit(getattr(self, name))
            if found.scheme not in ("", "https") and not (found.scheme == "http" and is_local(found.hostname or "")):
                raise ValueError(f"DWARPAL_{name.upper()} must be https, or this machine's own")
        if self.blind_url and not (self.blind_public_key and self.blind_token_file):
            raise ValueError("DWARPAL_BLIND_URL needs DWARPAL_BLIND_PUBLIC_KEY and DWARPAL_BLIND_TOKEN_FILE")
        if not self.vault_url:
            return
        if (self.vault_token_file is not None) == bool(self.vault_role_id and self.vault_secret_id_file):
            raise ValueError("set either DWARPAL_VAULT_TOKEN_FILE, or DWARPAL_VAULT_ROLE_ID and its secret id file")

    def _stay_in_region(self) -> None:
        try:
            allowed = parse_hosts(self.region_hosts)
        except ValueError:
            raise ValueError("DWARPAL_REGION_HOSTS is not a list of hosts and networks") from None
        if not self.region:
            if allowed:
                raise ValueError("DWARPAL_REGION_HOSTS is set and DWARPAL_REGION is not")
            return
        # Every setting that ends in `_url` is an endpoint: whoever adds one needs not remember this place.
        for name in type(self).model_fields:
            url = getattr(self, name)
            if name.endswith("_url") and url and outside(str(url), allowed):
                raise ValueError(f"DWARPAL_{name.upper()} is not known to be in the region: see DWARPAL_REGION_HOSTS")

    @property
    def effective_rights_due_days(self) -> int:
        """Days until a rights request is due, with the profile's filled in."""
        return self.rights_due_days or PERIODS[self.retention_profile].due_days

    @property
    def effective_log_retention_days(self) -> int:
        """Days for which the audit log is kept at least, with the profile's filled in."""
        return self.log_retention_days or PERIODS[self.retention_profile].log_days

    def witness_keys(self) -> tuple[CosignerKey, ...]:
        """Return the keys of the witnesses."""
        from infra.audit.cosignature import parse_cosigner_keys

        return parse_cosigner_keys(self.witnesses)

    @property
    def effective_pad_burst_bpcer(self) -> float:
        """The operating point of a burst, with the default filled in: one frame says less, so it stands stricter."""
        return self.pad_burst_bpcer if self.pad_burst_bpcer is not None else min(0.05, self.pad_bpcer)

    @cached_property
    def effective_database_url(self) -> str:
        """The database URL, with the default filled in."""
        return self.database_url or f"sqlite:///{self.data_dir.resolve() / 'dwarpal.db'}"
