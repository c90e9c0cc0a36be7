"""`dwarpal serve`: the HTTP service in this process."""

from __future__ import annotations

import signal
import socket
import sys
from types import FrameType
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from services.cli.options import DataDir, settings_for
from services.cli.outcome import CommandFailed, ExitCode
from services.cli.output import say

if TYPE_CHECKING:
    from infra.settings import Settings
    from infra.telemetry import Metrics
    from services.bootstrap import Dwarpal

GRACE_SECONDS = 20
"""How long requests under way may take to end after a signal to stop."""

Host = Annotated[str, typer.Option(help="Address to listen on; put TLS in front of any but this machine's own.")]
Port = Annotated[int, typer.Option(help="Port; 0 takes a free one.", min=0, max=65535)]


def serve(context: typer.Context, host: Host = "127.0.0.1", port: Port = 8000, data_dir: DataDir = None) -> None:
    """Serve HTTP until SIGTERM or Ctrl-C; one line tells the URL as soon as gates may be served."""
    signal.signal(signal.SIGTERM, _leave)
    signal.signal(signal.SIGINT, _leave)
    settings = settings_for(context, data_dir)
    with listen(host, port) as listening:
        run(settings, listening)


def run(settings: Settings, listening: socket.socket) -> None:
    """Serve on an open socket; raise what kept the system from starting."""
    import uvicorn

    from services.api.app import create_app
    from services.bootstrap import build_dwarpal

    failures: list[Exception] = []

    def build(settings: Settings, metrics: Metrics) -> Dwarpal:
        try:
            system = build_dwarpal(settings, metrics)
        except Exception as error:
            failures.append(error)
            raise
        return system

    app = create_app(settings, build)

    class Announcing(uvicorn.Server):
        """A server that says where it listens once it is ready, and tells streams when it is about to stop."""

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            """Start, then print the line."""
            await super().startup(sockets)
            say(f"Dwarpal is ready at {url_of(listening)}")
            sys.stdout.flush()

        def handle_exit(self, sig: int, frame: FrameType | None) -> None:
            """Begin to stop: what streams for hours ends by itself."""
            app.state.leaving.set()
            super().handle_exit(sig, frame)

    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        ws="none",
        lifespan="on",
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    try:
        Announcing(config).run(sockets=[listening])
    except SystemExit:
        if failures:
            raise failures[0] from None
        raise


def listen(host: str, port: int) -> socket.socket:
    """Open the listening socket; raise `CommandFailed` if the address cannot be had."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, kind, protocol)
    except OSError as error:
        raise CommandFailed(f"{host} is no address of this machine: {error.strerror}.") from None
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
    except OSError as error:
        listening.close()
        raise CommandFailed(f"{host} port {port} cannot be had: {error.strerror}.", ExitCode.UNAVAILABLE) from None
    return listening


def url_of(listening: socket.socket) -> str:
    """Return the URL of a listening socket."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if listening.family is socket.AF_INET6 else f"http://{host}:{port}"


def _leave(_signal: int, _frame: FrameType | None) -> NoReturn:
    # uvicorn raises a signal again after it has ended gracefully: that is success, not a death by signal.
    raise SystemExit(ExitCode.OK)
