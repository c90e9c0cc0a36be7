"""Logs and metrics hold only what is on their lists."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import generate_latest

from infra.telemetry import LOGGABLE, Metrics, _only_loggable, configure_logging, fault


@pytest.fixture(autouse=True)
def defaults_afterwards() -> Iterator[None]:
    handlers = list(logging.getLogger().handlers)
    yield
    logging.getLogger().handlers[:] = handlers
    structlog.reset_defaults()


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    captured = capsys.readouterr()
    assert captured.out == "", "the log goes to standard error"
    return [json.loads(line) for line in captured.err.splitlines()]


def test_a_line_keeps_what_is_on_the_list_and_drops_the_rest(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("INFO")
    structlog.get_logger().info(
        "request", status=200, gate_id="entry", score=0.93, image=b"pixels", name="A. Person", path="/v1/enrollments/1"
    )
    [line] = lines(capsys)
    assert line.keys() == {"event", "level", "timestamp", "status", "gate_id"}
    assert (line["event"], line["level"], line["status"]) == ("request", "info", 200)


@given(st.dictionaries(st.text("abcdefghijklmnopqrstuvwxyz_", min_size=1, max_size=12), st.text(max_size=20)))
def test_no_other_field_ever_passes(fields: dict[str, str]) -> None:
    assert _only_loggable(None, "info", dict(fields)).keys() == fields.keys() & LOGGABLE


def test_a_traceback_never_passes(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("INFO")
    try:
        raise ValueError("canary")
    except ValueError:
        structlog.get_logger().exception("failed", exc_info=True, stack_info=True)
    [line] = lines(capsys)
    assert "canary" not in json.dumps(line)
    assert line.keys() == {"event", "level", "timestamp"}


def test_context_bound_elsewhere_is_filtered_too(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("INFO")
    structlog.get_logger().bind(travel_token="DWP1.canary").info("ready")
    assert "canary" not in json.dumps(lines(capsys))


def test_lines_below_the_level_are_not_written(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("WARNING")
    structlog.get_logger().info("ready")
    structlog.get_logger().warning("late")
    assert [line["event"] for line in lines(capsys)] == ["late"]


def test_the_list_has_no_word_for_a_person() -> None:
    personal = {
        "subject",
        "name",
        "score",
        "token",
        "enrollment_id",
        "image",
        "path",
        "query",
        "body",
        "detail",
        "message",
    }
    assert not LOGGABLE & personal


def test_a_fault_names_the_type_and_the_innermost_place_without_the_message() -> None:
    def inner() -> None:
        raise ValueError("canary")

    try:
        inner()
    except ValueError as error:
        described = fault(error)
    assert described["error_type"] == "ValueError"
    assert described["where"] == f"{__name__}:{inner.__code__.co_firstlineno + 1}"
    assert "canary" not in json.dumps(described)
    assert described.keys() <= LOGGABLE


def test_an_error_that_was_never_raised_has_no_place() -> None:
    assert fault(ValueError("canary")) == {"error_type": "ValueError", "where": ""}


def test_metrics_label_gates_and_codes_never_people() -> None:
    metrics = Metrics()
    labels = {label for metric in vars(metrics).values() for label in getattr(metric, "_labelnames", ())}
    shown = {"gate", "decision", "reason", "code", "cue", "outcome", "cause", "stage", "route", "method", "status"}
    assert labels == shown


def test_two_services_in_one_process_count_apart() -> None:
    first, second = Metrics(), Metrics()
    first.checks.labels("entry", "admit", "matched").inc()
    assert b'gate="entry"' in generate_latest(first.registry)
    assert b'gate="entry"' not in generate_latest(second.registry)
