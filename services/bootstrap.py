"""The composition root: the only place where real parts are chosen and wired."""

from __future__ import annotations

import ctypes
import resource
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta

import psutil
import structlog

from biometrics.card import ModelCard
from biometrics.errors import ModelUnusable
from biometrics.ports import Clock, FaceDetector, FaceEmbedder, Gallery, TemplateSealer
from biometrics.quality import QualityPolicy
from enrollment.credentials import CredentialService
from enrollment.enroll import EnrollmentService
from enrollment.retention import RetentionService
from enrollment.rights import RightsService
from infra.capture_signing import Ed25519Verifier
from infra.clock import build_clock
from infra.credentials.journey import SiteCredentials
from infra.database.engine import Engine, build_engine, migrate
from infra.database.scrub import build_scrubber
from infra.database.unit_of_work import SqlUnitOfWork
from infra.gallery import RotatedGallery
from infra.keys.file_store import FileKeyStore
from infra.keys.sealing import EnvelopeSealer
from infra.keys.store import KeyStore
from infra.keys.text_sealing import EpochTextSealer
from infra.models import build_detector, build_embedder, build_pad, find_card, site_folder
from infra.settings import Settings
from infra.telemetry import Metrics
from liveness.frame_judge import FrameJudge
from liveness.pad import PadDetector
from liveness.session_service import LivenessSessions, SessionPolicy
from services.calibration import Calibration, calibration_in_force
from verification.check import CheckService
from verification.credential_check import CredentialChecks, FailureMemory
from verification.policy import LockoutPolicy, MatchPolicy

log = structlog.get_logger()

PR_SET_DUMPABLE = 4
"""From <linux/prctl.h>."""

M_PERTURB = -6
"""From <malloc.h>."""


@dataclass(frozen=True)
class Storage:
    """Database, keys, clock and log: what the command line needs without any network."""

    settings: Settings
    clock: Clock
    engine: Engine
    keys: KeyStore

    def unit_of_work(self) -> SqlUnitOfWork:
        """Begin a unit of work."""
        return SqlUnitOfWork(self.engine, self.keys, self.settings.site)

    def reading(self) -> SqlUnitOfWork:
        """Begin a unit of work that only reads and so holds nobody up."""
        return SqlUnitOfWork(self.engine, self.keys, self.settings.site, read_only=True)

    def now(self) -> datetime:
        """Return the time."""
        return self.clock.now()


@dataclass(frozen=True)
class Networks:
    """The three networks; `pad` is None only where the settings say so in words."""

    detector: FaceDetector
    embedder: FaceEmbedder
    embedder_card: ModelCard
    pad: PadDetector | None
    providers: dict[str, str]


@dataclass(frozen=True)
class Dwarpal:
    """The whole system, wired."""

    storage: Storage
    networks: Networks
    gallery: Gallery
    enrollment: EnrollmentService
    checks: CheckService
    liveness: LivenessSessions[SqlUnitOfWork]
    retention: RetentionService
    metrics: Metrics
    calibration: Calibration
    quality: QualityPolicy

    @property
    def settings(self) -> Settings:
        """The settings of this process."""
        return self.storage.settings

    def close(self) -> None:
        """Overwrite the galleries and the liveness sessions' templates, and let the database go."""
        self.liveness.close()
        self.gallery.remove_many(self.gallery.ids())
        self.storage.engine.dispose()


def build_storage(settings: Settings) -> Storage:
    """Open database and keys, migrated to the present schema."""
    settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    engine = build_engine(settings.effective_database_url)
    migrate(engine)
    storage = Storage(settings, build_clock(settings), engine, build_keys(settings))
    finish_rotation(storage)
    return storage


def build_keys(settings: Settings) -> KeyStore:
    """Open the key file, or Vault where its URL is set; raise `SealBroken` or `NotReady`."""
    if settings.vault_url:
        from infra.keys.vault_client import VaultAccess, VaultClient
        from infra.keys.vault_store import VaultKeyStore

        access = VaultAccess(
            settings.vault_url,
            settings.vault_token_file,
            settings.vault_role_id,
            settings.vault_secret_id_file,
            settings.vault_ca_file,
            settings.vault_namespace,
            settings.vault_transit,
            settings.vault_kv,
        )
        return VaultKeyStore(VaultClient(access), settings.site)
    passphrase, following = (
        secret.get_secret_value() if secret else None
        for secret in (settings.key_passphrase, settings.key_passphrase_next)
    )
    path = settings.data_dir / "keys" / "keys.dwarpal"
    return FileKeyStore(path, passphrase=passphrase, next_passphrase=following)


def finish_rotation(storage: Storage) -> bool:
    """Promote a prepared signing key whose rotation stands in the log already; say whether there was one."""
    prepared = storage.keys.prepared_signing_key()
    if prepared is None:
        return False
    with storage.reading() as unit:
        logged = unit.log.signer.time_of(prepared)
    if logged is None:
        return False
    storage.keys.promote_signing_key(logged)
    return True


def build_networks(settings: Settings) -> Networks:
    """Load the networks side by side; raise `ModelUnusable` if one is missing or is not what its card says."""
    card, _ = find_card("embedder", settings.embedder, site_folder(settings))
    with ThreadPoolExecutor(3) as pool:
        detecting = pool.submit(build_detector, settings)
        embedding = pool.submit(build_embedder, settings)
        assessing = pool.submit(build_pad, settings) if settings.pad else None
        detector, embedder = detecting.result(), embedding.result()
        pad = assessing.result() if assessing else None
    providers = {"detector": detector.provider_name, "embedder": embedder.provider_name}
    if pad is not None:
        providers["pad"] = pad.provider_name
    return Networks(detector, embedder, card, pad, providers)


def build_dwarpal(
    settings: Settings, metrics: Metrics, *, storage: Storage | None = None, networks: Networks | None = None
) -> Dwarpal:
    """Wire the whole system and rebuild the galleries from ciphertext; tests pass parts of their own.

    Raises `ModelUnusable` where a gate would not be safe: no PAD, no valid calibration, a rate that nobody measured.
    """
    forbid_core_dumps()
    overwrite_freed_memory()
    warn_of_swap()
    storage = storage or build_storage(settings)
    networks = networks or build_networks(settings)
    gallery = RotatedGallery()
    sealer = build_sealer(storage)
    quality = QualityPolicy(min_face_pixels=settings.farthest_face_pixels)
    if networks.pad is None and not settings.without_pad:
        raise ModelUnusable("A gate without PAD would open for a photograph.", code="no_pad")
    calibration = calibration_in_force(storage, networks.embedder_card)
    match = MatchPolicy(calibration.measured, calibration.fmr, calibration.fpir, settings.cosine_threshold)
    window = timedelta(hours=settings.walk_through_window_hours)
    lockout = LockoutPolicy(settings.lockout_failures, timedelta(seconds=settings.lockout_seconds))
    liveness = LivenessSessions(
        FrameJudge(networks.detector, networks.embedder, quality),
        SessionPolicy(
            lifetime=timedelta(seconds=settings.liveness_session_seconds),
            most_held=settings.liveness_sessions,
            window=timedelta(seconds=settings.check_window_seconds),
            lockout_failures=lockout.failures,
            lockout=lockout.duration,
        ),
        same_person=match.claimed(),
        unit_of_work=storage.unit_of_work,
        clock=storage.clock,
        on_end=metrics.count_liveness_session,
    )
    dwarpal = Dwarpal(
        storage,
        networks,
        gallery,
        EnrollmentService(
            networks.detector,
            networks.embedder,
            networks.pad,
            sealer,
            gallery,
            storage.unit_of_work,
            storage.clock,
            quality,
            same_person=match.claimed(),
            duplicate=match.duplicate(),
            walk_through_window=window,
        ),
        CheckService(
            networks.detector,
            networks.embedder,
            networks.pad,
            sealer,
            gallery,
            storage.unit_of_work,
            storage.reading,
            storage.clock,
            quality,
            match,
            lockout,
            timedelta(seconds=settings.check_window_seconds),
            window,
            Ed25519Verifier(),
            CredentialChecks(SiteCredentials(storage.keys, settings.site), FailureMemory(lockout), match.claimed),
            proofs=liveness,
        ),
        liveness,
        build_retention(storage, gallery, sealer, networks.embedder.model_digest),
        metrics,
        calibration,
        quality,
    )
    dwarpal.retention.synchronize_gallery()
    return dwarpal


def build_sealer(storage: Storage) -> TemplateSealer:
    """Wire what seals templates: in the clear within the envelope, or encrypted to a key holder where one is set.

    Raises `ModelUnusable` if the extra or the public key is missing.
    """
    settings = storage.settings
    if not settings.blind_url or settings.blind_public_key is None or settings.blind_token_file is None:
        return EnvelopeSealer(storage.keys, settings.site)
    from infra.blind import BlindSide
    from infra.blind_holder import BlindHolder
    from infra.keys.blind_sealing import BlindSealer

    try:
        public = settings.blind_public_key.read_bytes()
    except OSError:
        raise ModelUnusable("The key holder's public key cannot be read.", code="blind_malformed_key") from None
    holder = BlindHolder(settings.blind_url, settings.blind_token_file)
    return BlindSealer(storage.keys, settings.site, BlindSide(public), holder)


def build_retention(
    storage: Storage, gallery: Gallery, sealer: TemplateSealer | None = None, model_digest: str | None = None
) -> RetentionService:
    """Wire what forgets; only templates of the network that runs enter a gallery.

    Forgetting opens nothing: alone it needs no network, and no key of a key holder that might be missing.
    """
    return RetentionService(
        sealer or EnvelopeSealer(storage.keys, storage.settings.site),
        gallery,
        storage.keys,
        build_scrubber(storage.engine),
        storage.unit_of_work,
        storage.clock,
        timedelta(hours=storage.settings.walk_through_window_hours),
        model_digest,
    )


def build_credentials(dwarpal: Dwarpal) -> CredentialService:
    """Wire what issues and revokes journey credentials."""
    storage = dwarpal.storage
    writer = SiteCredentials(storage.keys, storage.settings.site)
    return CredentialService(dwarpal.enrollment, writer, storage.unit_of_work, storage.clock)


def build_rights(storage: Storage) -> RightsService[SqlUnitOfWork]:
    """Wire the rights requests."""
    settings = storage.settings
    return RightsService(
        EpochTextSealer(storage.keys, settings.site),
        storage.unit_of_work,
        storage.clock,
        due=timedelta(days=settings.effective_rights_due_days),
        kept=timedelta(days=settings.rights_retention_days),
    )


def forbid_core_dumps() -> None:
    """A crash must not write keys, templates and pixels to disk.

    Linux ignores the limit where dumps are piped to a handler; a process that is not dumpable has none there either.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)


def warn_of_swap() -> None:
    """Say once that memory with faces and keys may reach a disk: swap is the site's to encrypt or turn off."""
    if psutil.swap_memory().total:
        log.warning("swap_is_on")


def overwrite_freed_memory() -> None:
    """What was freed must not stay readable: a capture's bytes pass through libraries that overwrite nothing.

    glibc then fills every block with 0xFF as it is freed (and with zeros as it is given out), but for those of about a
    kilobyte or less that a thread keeps for itself. Other C libraries do not know the option.
    """
    library = ctypes.CDLL(None)
    if sys.platform == "linux" and hasattr(library, "mallopt"):
        library.mallopt(M_PERTURB, 0xFF)
