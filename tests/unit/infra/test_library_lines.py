"""What libraries log is told in our form, without their words."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from infra.telemetry import configure_logging


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """Leave logging as it was."""
    before = list(logging.getLogger().handlers)
    yield
    logging.getLogger().handlers[:] = before
    structlog.reset_defaults()


def test_words_and_traceback_of_a_library_are_dropped(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("INFO")
    configure_logging("INFO")
    try:
        raise ValueError("secret-word")
    except ValueError:
        logging.getLogger("uvicorn.error").exception("failed on %s", "secret-word")
    (line,) = capsys.readouterr().err.splitlines()
    told = json.loads(line)
    assert (told["event"], told["level"], told["error_type"]) == ("library_complained", "error", "ValueError")
    assert "secret-word" not in line


def test_what_a_library_only_remarks_is_not_told(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("INFO")
    logging.getLogger("httpx2").info("GET http://example/secret-word")
    assert capsys.readouterr().err == ""
