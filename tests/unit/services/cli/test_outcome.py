"""Every way in which a command can fail has its exit code, and none tells more than it should."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from biometrics import errors
from infra.settings import Settings
from services.cli.outcome import CommandFailed, ExitCode, explain


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.MalformedInput("m"), ExitCode.USAGE),
        (errors.TooLarge("m"), ExitCode.USAGE),
        (errors.UnsupportedImage("m"), ExitCode.USAGE),
        (errors.NotFound("m"), ExitCode.USAGE),
        (errors.Conflict("m"), ExitCode.NEGATIVE),
        (errors.NotPermitted("m"), ExitCode.NEGATIVE),
        (errors.UnusableFace("m"), ExitCode.NEGATIVE),
        (errors.LogInconsistent("m"), ExitCode.NEGATIVE),
        (errors.NotReady("m"), ExitCode.UNAVAILABLE),
        (errors.TooManyAttempts("m", retry_after=1), ExitCode.UNAVAILABLE),
        (errors.ModelUnusable("m"), ExitCode.UNAVAILABLE),
        (errors.KeyDestroyed("m"), ExitCode.UNAVAILABLE),
        (CommandFailed("m"), ExitCode.USAGE),
        (CommandFailed("m", ExitCode.NEGATIVE), ExitCode.NEGATIVE),
    ],
)
def test_each_error_has_its_code_and_its_own_words(error: Exception, code: ExitCode) -> None:
    assert explain(error) == ("m", code)


def test_a_file_that_is_not_there() -> None:
    assert explain(FileNotFoundError(2, "No such file or directory", "x.jpg")) == (
        "No such file or directory: x.jpg",
        ExitCode.USAGE,
    )


def test_an_unexpected_error_does_not_quote_what_it_stumbled_over() -> None:
    def stumble() -> None:
        raise ValueError("secret-word")

    with pytest.raises(ValueError) as stumbled:
        stumble()
    told, code = explain(stumbled.value)
    assert code is ExitCode.FAULT
    assert "ValueError" in told
    assert "test_outcome" in told
    assert "secret-word" not in told


def test_a_wrong_setting_is_named_without_its_value() -> None:
    with pytest.raises(ValidationError) as wrong:
        Settings(site="Secret Word!")
    told, code = explain(wrong.value)
    assert code is ExitCode.USAGE
    assert told.startswith("The settings are wrong: site: ")
    assert "Secret Word!" not in told
