"""How a command ends: its exit code, and one clear line where it failed; never a traceback, never a secret."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from enum import IntEnum

from typer.core import TyperGroup

from biometrics import errors

EXIT_CODES = (
    "Exit codes: 0 it is so; 1 the answer is no (denied, refused, not verified, something is wrong); "
    "2 wrong usage or input; 3 the service or the store is not reachable or not ready; 70 a fault in Dwarpal itself."
)


class ExitCode(IntEnum):
    """What a script can rely on (docs/cli.md)."""

    OK = 0
    NEGATIVE = 1
    USAGE = 2
    UNAVAILABLE = 3
    FAULT = 70


class CommandFailed(Exception):
    """A command ends with `code` after saying `detail` on standard error."""

    def __init__(self, detail: str, code: ExitCode = ExitCode.USAGE) -> None:
        super().__init__(detail)
        self.detail = detail
        self.code = code


_WRONG_INPUT = (errors.MalformedInput, errors.TooLarge, errors.UnsupportedImage, errors.NotFound)
_UNAVAILABLE = (errors.NotReady, errors.TooManyAttempts, errors.ModelUnusable, errors.SealBroken)


class CommandGroup(TyperGroup):
    """The root of all commands: whatever escapes from one becomes one line and an exit code."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: object,
    ) -> object:
        """Run a command line and leave with its exit code."""
        try:
            return super().main(args, prog_name, complete_var, standalone_mode, windows_expand_args, **extra)
        except Exception as error:  # noqa: BLE001 - a traceback would show its locals' values
            detail, code = explain(error)
            print(f"dwarpal: {detail}", file=sys.stderr)
            sys.exit(code)


def explain(error: Exception) -> tuple[str, ExitCode]:
    """Return what to tell people about an error, and the exit code."""
    match error:
        case CommandFailed():
            return error.detail, error.code
        case errors.DwarpalError() if isinstance(error, _WRONG_INPUT):
            return error.detail, ExitCode.USAGE
        case errors.DwarpalError() if isinstance(error, _UNAVAILABLE):
            return error.detail, ExitCode.UNAVAILABLE
        case errors.DwarpalError():
            return error.detail, ExitCode.NEGATIVE
        case OSError() if error.strerror:
            return f"{error.strerror}: {error.filename}" if error.filename else error.strerror, ExitCode.USAGE
    return _explain_library(error)


def _explain_library(error: Exception) -> tuple[str, ExitCode]:
    # Imported here, since a library that raised is loaded already, and the others need not be.
    from pydantic import ValidationError
    from pydantic_settings import SettingsError

    if isinstance(error, ValidationError):
        wrong = error.errors(include_input=False, include_url=False)
        what = "The settings are" if error.title == "Settings" else "This is"
        return f"{what} wrong: " + "; ".join(_wrong(item["loc"], item["msg"]) for item in wrong), ExitCode.USAGE
    if isinstance(error, SettingsError):
        return "A setting (DWARPAL_...) cannot be read.", ExitCode.USAGE
    from infra.telemetry import fault

    found = fault(error)
    return f"A fault in Dwarpal: {found['error_type']} at {found['where']}. Please report it.", ExitCode.FAULT


def _wrong(place: tuple[int | str, ...], message: str) -> str:
    message = message.removeprefix("Value error, ")
    return f"{'.'.join(str(part) for part in place)}: {message}" if place else message
