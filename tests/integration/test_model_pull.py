"""Fetching a pinned network from a server that may be slow, broken, moved or malicious."""

from __future__ import annotations

import hashlib
import json
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from filelock import FileLock
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from biometrics.errors import Conflict, DwarpalError, MalformedInput, ModelUnusable, NotFound, NotReady, TooLarge
from infra.model_pull import MAX_REDIRECTS, Catalog, CatalogEntry, discard, fetch
from services.cli.main import app
from tests.https_server import Behavior, HttpsServer, make_authority
from tests.onnx_files import small_network

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])

CONTENT = small_network()
LICENCE = "Example licence\n\nFor tests."


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return make_authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def server(authority: tuple[Path, Path]) -> Iterator[HttpsServer]:
    with HttpsServer(authority[1]) as server:
        server.behavior.content = CONTENT
        yield server


@pytest.fixture
def behavior(server: HttpsServer) -> Behavior:
    return server.behavior


def entry(url: str, *, content: bytes = CONTENT, **more: object) -> CatalogEntry:
    return CatalogEntry.model_validate(
        {
            "name": "small",
            "url": url,
            "sha256": hashlib.sha256(content).hexdigest(),
            "bytes": len(content),
            "licence_text": LICENCE,
        }
        | more
    )


Pull = Callable[..., bytes]


@pytest.fixture
def pull(server: HttpsServer, authority: tuple[Path, Path], tmp_path: Path) -> Pull:
    def run(path: str = "/small.onnx", **more: object) -> bytes:
        wanted = entry(server.url + path, **more)
        return fetch(wanted, tmp_path, ca_file=authority[0], progress=lambda done, total: None)

    return run


def arrived(tmp_path: Path) -> list[int]:
    return [path.stat().st_size for path in (tmp_path / ".downloads").glob("*.part")]


def test_the_pinned_bytes_arrive_with_progress(
    server: HttpsServer, authority: tuple[Path, Path], tmp_path: Path
) -> None:
    heard: list[tuple[int, int | None]] = []
    wanted = entry(f"{server.url}/small.onnx")
    content = fetch(wanted, tmp_path, ca_file=authority[0], progress=lambda *now: heard.append(now))
    assert content == CONTENT
    assert heard[0] == (0, len(CONTENT))
    assert heard[-1] == (len(CONTENT), len(CONTENT))
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / ".downloads").iterdir()} == {0o600}
    discard(wanted, tmp_path)
    assert arrived(tmp_path) == []


def test_a_wrong_hash_is_refused_and_deleted(pull: Pull, behavior: Behavior, tmp_path: Path) -> None:
    behavior.content = CONTENT[:-1] + bytes([CONTENT[-1] ^ 1])
    with pytest.raises(ModelUnusable, match=r"SHA-256.*deleted"):
        pull()
    assert arrived(tmp_path) == []


@pytest.mark.parametrize("chunked", [False, True])
def test_a_truncated_download_is_kept_and_gone_on_with(
    pull: Pull, behavior: Behavior, tmp_path: Path, chunked: bool
) -> None:
    behavior.cut_after, behavior.chunked = 10_000, chunked
    with pytest.raises(NotReady, match=r"broke off after 10,000 of .* again to go on"):
        pull()
    assert arrived(tmp_path) == [10_000]
    behavior.cut_after = None
    assert pull() == CONTENT
    assert behavior.requests[-1] == ("/small.onnx", "bytes=10000-", '"one"')


def test_a_download_may_break_off_many_times(pull: Pull, behavior: Behavior) -> None:
    behavior.cut_after = len(CONTENT) // 5 + 1
    for _ in range(4):
        with pytest.raises(NotReady):
            pull()
    assert pull() == CONTENT
    assert len(behavior.requests) == 5


def test_a_server_that_knows_no_ranges_sends_all_again(pull: Pull, behavior: Behavior) -> None:
    behavior.cut_after = 10_000
    with pytest.raises(NotReady):
        pull()
    behavior.cut_after, behavior.ranges = None, False
    assert pull() == CONTENT
    assert behavior.requests[-1][1] == "bytes=10000-"


def test_a_file_that_changed_in_between_is_fetched_anew(pull: Pull, behavior: Behavior) -> None:
    behavior.cut_after, behavior.content = 10_000, bytes(len(CONTENT))
    with pytest.raises(NotReady):
        pull()
    behavior.cut_after, behavior.content, behavior.etag = None, CONTENT, '"two"'
    assert pull() == CONTENT


@pytest.mark.parametrize("etag", [None, 'W/"weak"'])
def test_without_a_strong_name_the_hash_alone_decides(
    pull: Pull, behavior: Behavior, tmp_path: Path, etag: str | None
) -> None:
    behavior.cut_after, behavior.content, behavior.etag = 10_000, bytes(len(CONTENT)), etag
    with pytest.raises(NotReady):
        pull()
    behavior.cut_after, behavior.content = None, CONTENT
    with pytest.raises(ModelUnusable):  # ten thousand bytes of another file before it
        pull()
    assert behavior.requests[-1] == ("/small.onnx", "bytes=10000-", None)
    assert arrived(tmp_path) == []
    assert pull() == CONTENT


@pytest.mark.parametrize("lie", ["bytes 0-9/10", "bytes 9999-20000/20001", "nonsense", "bytes 10000-10001/10002"])
def test_a_range_that_does_not_fit_is_not_appended(pull: Pull, behavior: Behavior, lie: str) -> None:
    behavior.cut_after = 10_000
    with pytest.raises(NotReady):
        pull()
    behavior.cut_after, behavior.content_range = None, lie
    assert pull() == CONTENT
    assert [asked for _, asked, _ in behavior.requests] == [None, "bytes=10000-", None]


def test_what_is_here_already_is_not_fetched_again(pull: Pull, behavior: Behavior) -> None:
    pull()
    assert pull() == CONTENT
    assert len(behavior.requests) == 1


def test_leftovers_longer_than_the_file_are_dropped(pull: Pull, tmp_path: Path) -> None:
    folder = tmp_path / ".downloads"
    folder.mkdir()
    (folder / f"{hashlib.sha256(CONTENT).hexdigest()}.part").write_bytes(CONTENT + b"more")
    assert pull() == CONTENT


def test_a_server_without_the_rest_is_asked_for_all(pull: Pull, behavior: Behavior, tmp_path: Path) -> None:
    behavior.cut_after = 10_000
    with pytest.raises(NotReady):
        pull()
    behavior.cut_after, behavior.content = None, CONTENT[:5_000]
    with pytest.raises(ModelUnusable, match="has 5,000 bytes"):
        pull()


def test_too_long_an_answer_is_refused_by_its_length(pull: Pull, behavior: Behavior, tmp_path: Path) -> None:
    behavior.content = CONTENT + b"more"
    with pytest.raises(ModelUnusable, match="bytes, the pinned network"):
        pull()
    assert arrived(tmp_path) == []


def test_too_long_an_answer_without_a_length_is_cut_off(pull: Pull, behavior: Behavior, tmp_path: Path) -> None:
    behavior.content, behavior.chunked = CONTENT + bytes(2**22), True
    with pytest.raises(TooLarge):
        pull()
    assert arrived(tmp_path) == []


def test_a_packed_answer_is_refused(pull: Pull, behavior: Behavior) -> None:
    behavior.encoding = "gzip"
    with pytest.raises(ModelUnusable, match="packed"):
        pull()


@pytest.mark.parametrize("status", [403, 404, 500, 503])
def test_other_answers_are_told(pull: Pull, behavior: Behavior, status: int) -> None:
    behavior.status = status
    with pytest.raises(NotReady, match=str(status)):
        pull()


# Redirects


def test_redirects_are_followed(pull: Pull, behavior: Behavior, server: HttpsServer) -> None:
    behavior.redirects = {"/a": "/b", "/b": f"{server.url}/small.onnx"}
    assert pull("/a") == CONTENT
    assert [path for path, *_ in behavior.requests] == ["/a", "/b", "/small.onnx"]


def test_a_download_resumes_behind_redirects(pull: Pull, behavior: Behavior) -> None:
    behavior.redirects, behavior.cut_after = {"/a": "/small.onnx"}, 10_000
    with pytest.raises(NotReady):
        pull("/a")
    behavior.cut_after = None
    assert pull("/a") == CONTENT
    assert behavior.requests[-1][1] == "bytes=10000-"


def test_redirects_end(pull: Pull, behavior: Behavior) -> None:
    behavior.redirects = {"/a": "/a"}
    with pytest.raises(ModelUnusable, match=f"more than {MAX_REDIRECTS} times"):
        pull("/a")
    assert len(behavior.requests) == MAX_REDIRECTS + 1


@pytest.mark.parametrize(
    "target",
    ["http://127.0.0.1:1/x", "ftp://127.0.0.1/x", "file:///etc/passwd", "https://me:secret@127.0.0.1/x", "data:,x"],
)
def test_redirects_stay_on_https(pull: Pull, behavior: Behavior, target: str) -> None:
    behavior.redirects = {"/a": target}
    with pytest.raises(ModelUnusable, match="not HTTPS") as caught:
        pull("/a")
    assert "secret" not in caught.value.detail


# Trust


def test_an_unknown_authority_is_not_trusted(server: HttpsServer, tmp_path: Path) -> None:
    with pytest.raises(NotReady, match="certificate is not trusted"):
        fetch(entry(f"{server.url}/small.onnx"), tmp_path, ca_file=None, progress=lambda done, total: None)
    assert server.behavior.requests == []


def test_a_server_without_tls_gets_no_request(authority: tuple[Path, Path], tmp_path: Path) -> None:
    with HttpsServer(None) as plain:
        url = plain.url.replace("http://", "https://")
        with pytest.raises(NotReady):
            fetch(entry(url), tmp_path, ca_file=authority[0], progress=lambda done, total: None)
        assert plain.behavior.requests == []


def test_a_file_that_holds_no_authority_is_refused(server: HttpsServer, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("no certificate")
    with pytest.raises(MalformedInput):
        fetch(entry(server.url), tmp_path, ca_file=tmp_path / "ca.pem", progress=lambda done, total: None)


def test_old_tls_is_not_spoken() -> None:
    assert ssl.create_default_context().minimum_version >= ssl.TLSVersion.TLSv1_2


def test_two_commands_do_not_write_one_file(pull: Pull, tmp_path: Path) -> None:
    folder = tmp_path / ".downloads"
    folder.mkdir()
    with FileLock(folder / f"{hashlib.sha256(CONTENT).hexdigest()}.lock"), pytest.raises(Conflict):
        pull()


# The list


@pytest.mark.parametrize(
    "change",
    [
        {"url": "http://example.org/x"},
        {"url": "https://me:secret@example.org/x"},
        {"url": "https:///x"},
        {"sha256": "abc"},
        {"bytes": 0},
        {"bytes": 2**40},
        {"licence_text": ""},
        {"surprise": 1},
    ],
)
def test_entries_that_cannot_be_trusted_are_refused(change: dict[str, object], tmp_path: Path) -> None:
    good = entry("https://example.org/x").model_dump()
    (tmp_path / "list.json").write_text(json.dumps({"models": [good | change]}))
    with pytest.raises(MalformedInput, match=r"models\.0") as caught:
        Catalog.load(tmp_path / "list.json")
    assert "secret" not in caught.value.detail


def test_names_in_a_list_are_unique(tmp_path: Path) -> None:
    good = entry("https://example.org/x").model_dump()
    (tmp_path / "list.json").write_text(json.dumps({"models": [good, good]}))
    with pytest.raises(MalformedInput):
        Catalog.load(tmp_path / "list.json")


@given(st.text(max_size=60))
def test_any_text_is_a_list_or_refused(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.mktemp("list") / "list.json"
    path.write_text(text, encoding="utf-8", errors="replace")
    try:
        Catalog.load(path)
    except DwarpalError as error:
        assert isinstance(error, MalformedInput)


def test_our_own_list_can_be_read_and_names_what_it_has() -> None:
    with pytest.raises(NotFound, match="--catalog"):
        Catalog.load().find("unknown")


# The command


@pytest.fixture
def run(server: HttpsServer, authority: tuple[Path, Path], tmp_path: Path) -> Callable[..., Result]:
    (tmp_path / "list.json").write_text(
        json.dumps({"models": [entry(f"{server.url}/small.onnx").model_dump(mode="json")]})
    )

    def command(*arguments: str, text: str | None = None) -> Result:
        line = ["models", "pull", "small", "--catalog", str(tmp_path / "list.json"), "--ca-file", str(authority[0])]
        return CliRunner().invoke(app, [*line, "--data-dir", str(tmp_path / "data"), *arguments], input=text)

    return command


def test_pulling_imports_and_cleans_up(run: Callable[..., Result], server: HttpsServer, tmp_path: Path) -> None:
    result = run("--accept-licence", "--json")
    assert result.exit_code == 0, result.output
    card = json.loads(result.stdout)
    assert card["provenance"]["source"] == f"{server.url}/small.onnx"
    assert card["provenance"]["source_sha256"] == hashlib.sha256(CONTENT).hexdigest()
    assert card["operating_points"] == []
    assert "dwarpal calibrate" in result.stderr
    assert arrived(tmp_path / "data" / "models") == []
    again = run("--accept-licence")
    assert again.exit_code == 1
    assert "choose another name" in again.stderr
    assert len(server.behavior.requests) == 1


def test_nothing_is_fetched_before_the_licence_is_accepted(run: Callable[..., Result], behavior: Behavior) -> None:
    refused = run(text="y\n")
    assert refused.exit_code == 1
    assert LICENCE in refused.stderr
    assert behavior.requests == []
    assert run(text="yes\n").exit_code == 0


def test_a_broken_download_has_an_exit_code_of_its_own(run: Callable[..., Result], behavior: Behavior) -> None:
    behavior.cut_after = 10_000
    result = run("--accept-licence")
    assert result.exit_code == 3
    assert "run the command again" in result.stderr
    behavior.cut_after = None
    assert run("--accept-licence").exit_code == 0
