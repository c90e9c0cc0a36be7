"""Every error has its status, and every problem its shape, without an echo."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from pydantic import BaseModel, ConfigDict, ValidationError

from biometrics import errors
from biometrics.types import QualityCode
from enrollment.enroll import NoUsableImage, Rejected
from services.api.errors import STATUS, TITLES, Problem, fields_at_fault, problem, rejected_by, status_of, unexpected

INTENDED = {
    errors.DwarpalError: 500,
    errors.MalformedInput: 400,
    errors.NotAuthenticated: 401,
    errors.NotPermitted: 403,
    errors.NotFound: 404,
    errors.Conflict: 409,
    errors.TooLarge: 413,
    errors.UnsupportedImage: 415,
    errors.UnusableFace: 422,
    NoUsableImage: 422,
    errors.TooManyAttempts: 429,
    errors.NotReady: 503,
    errors.SealBroken: 500,
    errors.KeyDestroyed: 500,
    errors.ModelUnusable: 500,
    errors.CalibrationUnusable: 500,
    errors.SampleTooSmall: 500,
    errors.LogInconsistent: 500,
}


def tree(kind: type[errors.DwarpalError]) -> Iterator[type[errors.DwarpalError]]:
    yield kind
    for child in kind.__subclasses__():
        yield from tree(child)


def make(kind: type[errors.DwarpalError]) -> errors.DwarpalError:
    if kind is NoUsableImage:
        return NoUsableImage([Rejected(0, QualityCode.TOO_DARK)])
    if kind is errors.TooManyAttempts:
        return errors.TooManyAttempts("x", retry_after=1)
    if kind is errors.SampleTooSmall:
        return errors.SampleTooSmall("x", needed=3, smallest_rate=None)
    return kind("x")


def ours() -> set[type[errors.DwarpalError]]:
    """The errors of the product; tests and the command line may have their own, which never cross HTTP."""
    inner = ("biometrics.", "enrollment.", "verification.", "infra.", "liveness.", "services.api")
    return {kind for kind in tree(errors.DwarpalError) if kind.__module__.startswith(inner)}


def test_every_error_has_the_status_that_is_meant() -> None:
    assert {kind: status_of(make(kind)) for kind in ours()} == INTENDED


def test_every_status_has_a_title() -> None:
    assert TITLES.keys() >= set(STATUS.values()) | {405, 500}


def test_codes_are_stable_and_machine_readable() -> None:
    codes = {kind: make(kind).code for kind in ours()}
    assert all(code.replace("_", "").isalpha() and code == code.lower() for code in codes.values())
    assert codes[errors.NotFound] == "not_found"
    assert codes[errors.KeyDestroyed] == "key_destroyed"


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    assert errors.__doc__ is not None
    for kind in tree(errors.DwarpalError):
        if kind.__module__ == "biometrics.errors":
            status = INTENDED[kind]
            [line] = [line for line in errors.__doc__.splitlines() if kind.__name__ in line.split()]
            assert (str(status) in line) == (status != 500), line


def body_of(response: object) -> dict[str, object]:
    return json.loads(response.body)  # type: ignore[attr-defined,no-any-return]


def test_a_problem_is_an_rfc_9457_problem() -> None:
    response = problem("r" * 32, 409, "replayed", "This capture was sent before.")
    assert response.status_code == 409
    assert response.media_type == "application/problem+json"
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["cache-control"] == "no-store"
    assert body_of(response) == {
        "type": "about:blank",
        "title": "Conflict",
        "status": 409,
        "code": "replayed",
        "detail": "This capture was sent before.",
        "request_id": "r" * 32,
    }


def test_a_problem_says_how_long_to_wait_and_how_to_authenticate() -> None:
    assert problem("r", 429, "rate_limited", "Wait.", retry_after=7).headers["retry-after"] == "7"
    assert "retry-after" not in problem("r", 409, "conflict", "No.").headers
    assert problem("r", 401, "not_authenticated", "Who?").headers["www-authenticate"] == "Bearer"


def test_rejected_images_are_told_one_by_one() -> None:
    error = NoUsableImage([Rejected(0, QualityCode.TOO_DARK), Rejected(2, QualityCode.ATTACK_SUSPECTED)])
    body = body_of(problem("r", 422, error.code, error.detail, rejected=rejected_by(error)))
    assert body["code"] == "too_dark"
    assert body["rejected"] == [{"index": 0, "reason": "too_dark"}, {"index": 2, "reason": "attack_suspected"}]
    assert rejected_by(errors.UnusableFace("x")) is None


def test_the_example_in_the_description_is_true() -> None:
    example = Problem.model_config["json_schema_extra"]["example"]  # type: ignore[index,call-overload]
    assert Problem.model_validate(example).model_dump(exclude_none=True) == example


def test_an_error_of_ours_is_told_without_its_words(capsys: pytest.CaptureFixture[str]) -> None:
    response = unexpected("r" * 32, ValueError("canary"))
    assert response.status_code == 500
    assert body_of(response)["code"] == "internal_error"
    captured = capsys.readouterr()
    assert "canary" not in str(body_of(response)) + captured.out + captured.err


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")

    flight: str
    size: int


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"flight": "AI302", "size": "canary"}', "Wrong or missing: size: int_parsing."),
        ('{"size": 1}', "Wrong or missing: flight: missing."),
        ('{"flight": "AI302", "size": 1, "canary": 1}', "Wrong or missing: a field: extra_forbidden."),
        ('{"canary', "Wrong or missing: body: json_invalid."),
    ],
)
def test_fields_at_fault_are_named_and_values_and_unknown_names_are_not(text: str, said: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Strict.model_validate_json(text)
    assert fields_at_fault(caught.value.errors()) == said


def test_of_many_faults_the_first_five_are_told() -> None:
    found = [{"type": "missing", "loc": ("body", i)} for i in range(9)]
    assert fields_at_fault(found).count("body.") == 5
    assert fields_at_fault(None) == "The request is malformed."
