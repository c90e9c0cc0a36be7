"""One database transaction around the stores and the log."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Self

from sqlalchemy import Engine
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session

from biometrics.credentials import CredentialStatuses
from biometrics.errors import NotReady
from biometrics.ports import AuditLog, DeviceKeyStore, EnrollmentStore, GateStore, LivenessSessionStore, NonceStore
from enrollment.rights import RightsStore
from infra.audit.log import SqlAuditLog
from infra.database.credential_store import SqlCredentialStatuses
from infra.database.engine import READ_ONLY_OPTION
from infra.database.rights_store import SqlRightsStore
from infra.database.session_store import SqlLivenessSessionStore
from infra.database.stores import SqlDeviceKeyStore, SqlEnrollmentStore, SqlGateStore, SqlNonceStore
from infra.keys.store import KeyStore

_AWAY = (OperationalError, PoolTimeout)


class SqlUnitOfWork:
    """A transaction as a context manager: leaving the block rolls back, only `commit()` persists.

    A writing one holds SQLite's write lock from its first moment (`BEGIN IMMEDIATE`); on PostgreSQL it locks the
    enrollments that it reads. So a gate check and an erasure of the same traveller never interleave. With `read_only`
    it takes no lock, sees one state of the database throughout, and the database refuses writes.
    """

    enrollments: EnrollmentStore
    gates: GateStore
    devices: DeviceKeyStore
    nonces: NonceStore
    liveness: LivenessSessionStore
    credentials: CredentialStatuses
    rights: RightsStore
    audit: AuditLog
    log: SqlAuditLog
    """The same log as `audit`, with everything that can be read from it."""

    def __init__(self, engine: Engine, keys: KeyStore, site: str, *, read_only: bool = False) -> None:
        self._engine = engine.execution_options(**{READ_ONLY_OPTION: True}) if read_only else engine
        self._keys = keys
        self._site = site
        self._read_only = read_only
        self._session: Session | None = None

    @property
    def session(self) -> Session:
        """The open session, for the parts of `infra` and `services` that have tables of their own."""
        if self._session is None:
            raise RuntimeError("the unit of work is not open")
        return self._session

    def __enter__(self) -> Self:
        """Begin; raise `NotReady` if the database is away or its write lock is held too long."""
        if self._session is not None:
            raise RuntimeError("the unit of work is open already")
        session = Session(self._engine, expire_on_commit=False)
        try:
            session.connection()
        except _AWAY:
            session.close()
            raise NotReady("The database is busy or away.", code="database_unavailable") from None
        except BaseException:
            session.close()
            raise
        self._session = session
        self.enrollments = SqlEnrollmentStore(session, lock=not self._read_only)
        self.gates = SqlGateStore(session)
        self.devices = SqlDeviceKeyStore(session)
        self.nonces = SqlNonceStore(session)
        self.liveness = SqlLivenessSessionStore(session)
        self.credentials = SqlCredentialStatuses(session, lock=not self._read_only)
        self.rights = SqlRightsStore(session, lock=not self._read_only)
        self.log = SqlAuditLog(session, self._keys, self._site)
        self.audit = self.log
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Roll back what was not committed; raise `NotReady` in place of a lost connection or a lock never given."""
        session, self._session = self.session, None
        session.close()
        if isinstance(error, _AWAY):
            raise NotReady("The database is busy or away.", code="database_unavailable") from None

    def commit(self) -> None:
        """Persist; what follows in the block is a new transaction."""
        self.session.commit()


UnitOfWorkFactory = Callable[[], SqlUnitOfWork]
"""What the services hold: each call makes one unit of work."""
