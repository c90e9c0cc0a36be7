"""The auditor's page: the browser proves the log with nothing but WebCrypto, and calls out what does not hold."""

from __future__ import annotations

import json
import shutil
import signal
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
from playwright.sync_api import Browser, Page, expect

from infra.audit import merkle
from tests.browser.conftest import Chromium, Site
from tests.browser.journeys import tab_to
from tests.e2e.conftest import dwarpal

VECTORS = Path(__file__).resolve().parents[1] / "vectors"


@pytest.fixture(scope="module")
def browser(playwright: object) -> Iterator[Browser]:
    """One browser for all; every page has a context of its own."""
    from tests.browser.conftest import CHROMIUM

    browser = playwright.chromium.launch(executable_path=CHROMIUM)  # type: ignore[attr-defined]
    yield browser
    browser.close()


@pytest.fixture
def quiet(own_site: Site, chromium: Chromium) -> Chromium:
    """The browser on a service of its own, which a test may tamper with."""
    return Chromium(chromium.driver, own_site, chromium.folder)


def auditing(chromium: Chromium, browser: Browser) -> Page:
    watched = chromium.open(browser, "/sign-in")
    chromium.sign_in(watched, "auditor")
    expect(watched.page.locator("#pinning")).to_be_visible()
    return watched.page


def verdict(page: Page) -> str:
    page.wait_for_selector("#audit:is([data-state=good], [data-state=bad])")
    return page.inner_text("#explained")


def grow(site: Site, entries: int, name: str = "x") -> None:
    for number in range(entries):
        dwarpal("gates", "create", f"{name}-{number}", "--purpose", "entry", env=site.server.env)


def restart(site: Site, change: object = None) -> None:
    """Stop the service, do something to its files, and start it again at the same place."""
    site.server.port = int(site.server.url.rpartition(":")[2])
    site.server.signal(signal.SIGTERM)
    if callable(change):
        change()
    site.server.start()


# --- The proofs by themselves


def modules(page: Page, script: str, argument: object) -> object:
    """Run a script of the page's modules in the browser."""
    loaded = (
        "const m = await import('/static/scripts/merkle.js'); const c = await import('/static/scripts/checkpoint.js');"
    )
    return page.evaluate(f"async (given) => {{ {loaded} {script} }}", argument)


PROVE = """
const from = c.fromHex;
const out = [];
for (const { kind, leaf, index, size, old, proof, oldRoot, root } of given) {
  const steps = proof.map(from);
  out.push(kind === "inclusion"
    ? await m.verifyInclusion(await m.leafHash(from(leaf)), index, size, steps, from(root))
    : await m.verifyConsistency(old, size, steps, from(oldRoot), from(root)));
}
return out;
"""


def cases() -> Iterator[tuple[dict[str, object], bool]]:
    """Yield proofs of random trees, and the same with one bit or one number changed."""
    rng = Random(2026)
    leaves = [rng.randbytes(rng.randrange(40)) for _ in range(33)]

    def read(level: int, index: int) -> bytes:
        return merkle.root_of(leaves[index << level : (index + 1) << level])

    def flipped(data: str) -> str:
        at = rng.randrange(len(data))
        return data[:at] + f"{int(data[at], 16) ^ 1:x}" + data[at + 1 :]

    for size in (1, 2, 3, 7, 8, 16, 21, 33):
        root = merkle.root_of(leaves[:size]).hex()
        for index in range(size):
            proof = [step.hex() for step in merkle.inclusion_proof(index, size, read)]
            good: dict[str, object] = {"kind": "inclusion", "leaf": leaves[index].hex(), "index": index, "size": size}
            good |= {"proof": proof, "root": root}
            yield good, True
            yield good | {"root": flipped(root)}, False
            yield good | {"proof": [*proof, "00" * 32]}, False
            yield good | {"leaf": leaves[index].hex() + "00"}, False
            yield good | {"index": size}, False
            if proof:
                yield good | {"proof": [flipped(proof[0]), *proof[1:]]}, False
                yield good | {"proof": proof[:-1]}, False
        for old in range(size + 1):
            proof = [step.hex() for step in merkle.consistency_proof(old, size, read)]
            before = merkle.root_of(leaves[:old]).hex()
            good = {"kind": "consistency", "old": old, "size": size, "proof": proof, "oldRoot": before, "root": root}
            yield good, True
            yield good | {"oldRoot": flipped(before)}, False
            yield good | {"proof": [*proof, "00" * 32]}, False
            yield good | {"old": size + 1}, False
            if old:
                yield good | {"root": flipped(root)}, False
            if proof:
                yield (
                    good | {"proof": [flipped(proof[-1]) if n == len(proof) - 1 else p for n, p in enumerate(proof)]},
                    False,
                )
                yield good | {"proof": proof[:-1]}, False


def test_every_proof_holds_and_no_changed_one(chromium: Chromium, browser: Browser) -> None:
    page = chromium.open(browser, "/sign-in").page
    given = [*cases()]
    found = modules(page, PROVE, [case for case, _ in given])
    assert len(given) > 1000
    assert found == [right for _, right in given]


def test_the_roots_of_rfc_6962(chromium: Chromium, browser: Browser) -> None:
    page = chromium.open(browser, "/sign-in").page
    golden = json.loads((VECTORS / "merkle" / "rfc6962.json").read_text())
    grown = """
    const tree = new m.GrowingTree();
    const roots = [c.toHex(await tree.root())];
    for (const leaf of given) { await tree.append(c.fromHex(leaf)); roots.push(c.toHex(await tree.root())); }
    return roots;
    """
    assert modules(page, grown, golden["leaves"]) == golden["roots"]


def test_checkpoints_of_the_golden_log(chromium: Chromium, browser: Browser) -> None:
    page = chromium.open(browser, "/sign-in").page
    folder = VECTORS / "audit"
    told = json.loads((folder / "cases.json").read_text())
    good = (folder / "valid.last.checkpoint").read_text()
    lines = (folder / "witnessed.jsonl").read_text().splitlines()
    witnessed = json.loads(lines[-1])["checkpoint"]
    witness = next(case["witness"] for case in told["cases"] if case["name"] == "witnessed")
    check = """
    const out = [];
    for (const [note, vkey, witness] of given) {
      try {
        const checkpoint = await c.verifyCheckpoint(note, await c.parseVerifierKey(vkey));
        out.push(witness ? await c.witnessed(checkpoint, await c.parseWitnessKey(witness)) > 0 : checkpoint.size);
      } catch (problem) { out.push(problem.code); }
    }
    return out;
    """
    size = int(good.splitlines()[1])
    key = told["vkey"]
    other = next(case["vkey"] for case in told["cases"] if case.get("vkey") not in (None, key))
    assert modules(
        page,
        check,
        [
            [good, key, None],
            [good.replace(f"\n{size}\n", f"\n{size + 1}\n"), key, None],
            [good.replace("airport", "airp0rt"), key, None],
            [good[:-1], key, None],
            [good + "\n", key, None],
            [good, other, None],
            [good, key.replace("+", "-", 1), None],
            [good, key[:-4] + "AAA=", None],
            [witnessed, key, witness],
            [good, key, witness],
        ],
    ) == [size, "signature", "other_key", "malformed", "malformed", "other_key", *["malformed_key"] * 2, True, False]


# --- The page


def test_an_auditor_pins_a_key_and_verifies_by_keyboard(quiet: Chromium, browser: Browser) -> None:
    page = auditing(quiet, browser)
    key = dwarpal("audit", "key", env=quiet.site.server.env).strip()
    tab_to(page, "#vkey")
    page.keyboard.type(key)
    page.keyboard.press("Enter")
    assert "From now on" in verdict(page)
    grow(quiet.site, 3)
    tab_to(page, "#verify")
    page.keyboard.press("Enter")
    expect(page.locator("#explained")).to_contain_text("the log only grew")
    tab_to(page, "#all")
    page.keyboard.press("Enter")
    expect(page.locator("#all-done")).to_contain_text("are those that were signed")
    tab_to(page, "#entries summary")
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator("#entries .said").first).to_contain_text("Stands in the signed log")
    page.reload()
    expect(page.locator("#explained")).to_contain_text("the log only grew")  # the pin is still there
    dwarpal("keys", "rotate", "--signing", env=quiet.site.server.env)
    page.click("#verify")
    expect(page.locator("#explained")).to_contain_text("the former key vouches for the new one")


def test_another_key_is_called_out_and_no_key_is_no_proof(quiet: Chromium, browser: Browser) -> None:
    page = auditing(quiet, browser)
    told = json.loads((VECTORS / "audit" / "cases.json").read_text())
    for wrong in ("nonsense", "a+00000000+AAAA"):
        page.fill("#vkey", wrong)
        page.keyboard.press("Enter")
        expect(page.locator("#explained")).to_contain_text("not a verifier key")
    page.locator("#entries summary").first.click()
    page.locator("#entries .check").first.click()
    expect(page.locator("#entries .said").first).to_contain_text("Pin the site’s key first")
    page.fill("#vkey", told["vkey"])
    page.keyboard.press("Enter")
    assert "another key than the pinned one" in verdict(page)
    assert page.get_attribute("#audit", "data-state") == "bad"


def test_an_edited_entry_is_found(quiet: Chromium, browser: Browser) -> None:
    site = quiet.site
    page = auditing(quiet, browser)
    page.click("#trust")
    verdict(page)

    def edit() -> None:
        with sqlite3.connect(site.server.data_dir / "dwarpal.db") as database:
            (index, leaf) = database.execute(
                "SELECT \"index\", leaf FROM audit_entry WHERE event = 'key_created'"
            ).fetchone()
            forged = leaf.replace(b"administration", b"administratiOn")
            assert forged != leaf
            database.execute('UPDATE audit_entry SET leaf = ? WHERE "index" = ?', (forged, index))

    restart(site, edit)
    page.reload()
    assert "the log only grew" in verdict(page)  # the tree is as it was: only the entry is another one
    page.click("#all")
    expect(page.locator("#explained")).to_contain_text("not those that were signed")
    page.reload()
    verdict(page)
    for entry in page.locator("#entries > li").all():
        if "administratiOn" in (entry.locator("pre").text_content() or ""):
            entry.locator("summary").click()
            entry.locator(".check").click()
            expect(entry.locator(".said")).to_contain_text("does not stand in the signed log")
            break
    else:
        raise AssertionError("the edited entry is not shown")
    assert page.get_attribute("#audit", "data-state") == "bad"


def test_a_log_that_was_cut_off_and_regrown_is_found_with_proof(
    quiet: Chromium, browser: Browser, tmp_path: Path
) -> None:
    site = quiet.site
    database, kept = site.server.data_dir / "dwarpal.db", tmp_path / "yesterday.db"
    restart(site, lambda: shutil.copy(database, kept))
    grow(site, 4)
    page = auditing(quiet, browser)
    page.click("#trust")
    assert "From now on" in verdict(page)

    def put_back() -> None:
        for name in ("dwarpal.db-wal", "dwarpal.db-shm"):
            (site.server.data_dir / name).unlink(missing_ok=True)
        shutil.copy(kept, database)

    restart(site, put_back)
    page.reload()
    assert page.url.endswith("/sign-in")  # the session was younger than the backup
    quiet.sign_in_at(page, "auditor")
    assert "cut off" in verdict(page)
    grow(site, 9, name="y")
    page.click("#verify")
    expect(page.locator("#explained")).to_contain_text("rewritten")
    proofs = []
    for save in page.locator("#evidence .button").all():
        with page.expect_download() as download:
            save.click()
        proofs.append(tmp_path / download.value.suggested_filename)
        download.value.save_as(proofs[-1])
    before, after = (proof.read_text().splitlines() for proof in proofs)
    assert before[0] == after[0]
    assert int(before[1]) <= int(after[1])
    page.reload()
    assert "rewritten" in verdict(page)  # the pin was not moved


def test_reading_every_entry_can_be_stopped(quiet: Chromium, browser: Browser) -> None:
    page = auditing(quiet, browser)
    page.click("#trust")
    verdict(page)
    page.route("**/v1/audit/export", lambda route: None)
    page.click("#all")
    expect(page.locator("#reading")).to_be_visible()
    page.click("#stop")
    expect(page.locator("#all-done")).to_contain_text("not every entry was verified")


def test_a_service_that_is_gone_proves_nothing(quiet: Chromium, browser: Browser) -> None:
    page = auditing(quiet, browser)
    page.click("#trust")
    verdict(page)
    quiet.site.server.signal(signal.SIGKILL)
    page.click("#verify")
    expect(page.locator("#verdict")).to_contain_text("Nothing was verified")
    assert page.get_attribute("#audit", "data-state") == "wait"
