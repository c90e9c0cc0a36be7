"""The demonstration step by step, over HTTP only; every expected outcome is written down beside what came."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from io import StringIO
from pathlib import Path
from secrets import token_urlsafe
from time import perf_counter, sleep, time

import segno

from biometrics.records import epoch_end, epoch_of
from biometrics.types import Pixels
from services.cli.service import Answer, Service
from services.demo.proof import Verdict, verify_apart, with_a_changed_decision, write_receipt
from services.demo.scenes import Cameras
from services.demo.show import Show
from services.demo.site import PURGE_SECONDS, Site

FLIGHT = "AI302"
GATES = {"t3-entry-1": "entry", "t3-security-4": "security", "t3-boarding-22": "boarding"}
ENTRY = "t3-entry-1"
EVERY_GATE = ("entry", "security", "boarding")
MOMENT = timedelta(seconds=1)


class JourneyOver(Exception):
    """A step failed without which the next ones mean nothing."""


@dataclass(frozen=True, slots=True)
class Traveller:
    """Somebody with a travel token."""

    enrollment_id: str
    token: str
    expires_at: datetime
    receipt: Path


class Journey:
    """Two people, four keys, three gates, one day."""

    def __init__(self, site: Site, service: Service, show: Show, *, astronaut: Pixels, hopper: Pixels) -> None:
        self.site, self.service, self.show = site, service, show
        self.astronaut, self.hopper = astronaut, hopper
        self.cameras = Cameras()
        self.keys: dict[str, str] = {}
        self.departs_at = site.now() + timedelta(hours=3)
        self.vkey = ""

    # --- The site ------------------------------------------------------------------------------------------------

    def open_the_site(self, admin_key: str) -> None:
        """Make gates, and keys for those who call."""
        self.show.chapter("The site")
        started = perf_counter()
        done = [
            self.service.post(
                "/v1/gates", {"id": gate, "purpose": purpose, "walk_through": gate == ENTRY}, key=admin_key
            )
            for gate, purpose in GATES.items()
        ]
        for who, body in [
            *((role, {"role": role}) for role in ("enroller", "auditor")),
            *((gate, {"role": "gate", "gate_id": gate}) for gate in GATES),
        ]:
            answer = self.service.post("/v1/keys", dict(body), key=admin_key)
            done.append(answer)
            self.keys[who] = answer.text("key")
        got = "created" if all(answer.status == 201 for answer in done) else "not all created"
        self._step(
            "Three gates, and keys for desk, gates and auditor", "created", got, (perf_counter() - started) * 1000
        )

    # --- Consent and enrollment ----------------------------------------------------------------------------------

    def enroll_the_astronaut(self) -> Traveller:
        """Read the notice, refuse to go on without consent, consent, enroll."""
        self.show.chapter("Consent and enrollment")
        for language, title in (("en", "Walk through with your face"), ("hi", "अपने चेहरे से प्रवेश करें")):
            notice = self.service.get("/v1/notice", query={"lang": language})
            self._step(f"The notice to read, language {language}", title, notice.text("title"), notice.milliseconds)
        pictures = self.cameras.enrollment(self.astronaut)
        refused = self._send(pictures, purposes=())
        self._refused("Enroll the astronaut without consent", "400 consent_missing", refused)
        return self._enroll("Enroll the astronaut for three gates, from 3 captures", pictures, EVERY_GATE)

    def show_token(self, traveller: Traveller) -> None:
        """Show the travel token as the traveller's telephone would."""
        drawn = StringIO()
        segno.make(traveller.token, error="m", micro=False).terminal(drawn, compact=True, border=1)
        self.show.say("The travel token: it carries half of the key; without it the server cannot read the template.")
        self.show.console.print(drawn.getvalue().rstrip(), markup=False)

    def enroll_hopper(self) -> Traveller:
        """Enroll the second traveller, who also agrees to be recognized without a token."""
        pictures = self.cameras.enrollment(self.hopper)
        return self._enroll(
            "Enroll Rear Admiral Hopper for entry and walk-through", pictures, ("entry", "walk_through")
        )

    def _enroll(self, what: str, pictures: list[bytes], purposes: tuple[str, ...]) -> Traveller:
        answer = self._send(pictures, purposes=purposes)
        accepted = answer.body.get("accepted")
        got = f"{len(accepted)} of {len(pictures)} used" if isinstance(accepted, list) else _problem(answer)
        self._step(what, f"{len(pictures)} of {len(pictures)} used", got, answer.milliseconds)
        if not answer.ok:
            raise JourneyOver
        receipt = self.site.folder / f"consent-{answer.text('enrollment_id')}.json"
        return Traveller(
            answer.text("enrollment_id"),
            answer.text("travel_token"),
            datetime.fromisoformat(answer.text("expires_at")),
            write_receipt(receipt, answer.object("consent_receipt")),
        )

    def _send(self, pictures: list[bytes], *, purposes: tuple[str, ...]) -> Answer:
        return self.service.enroll(
            pictures,
            key=self.keys["enroller"],
            flight=FLIGHT,
            departs_at=self.departs_at,
            purposes=purposes,
            notice=self.service.get("/v1/notice", query={"lang": "en"}).body,
            adult=True,
        )

    # --- At the gates --------------------------------------------------------------------------------------------

    def pass_the_gates(self, astronaut: Traveller, hopper: Traveller) -> None:
        """Three gates by token, one without."""
        self.show.chapter("At the gates")
        for gate, purpose in GATES.items():
            self._check(f"The astronaut at {purpose}", "admit matched", gate, self.astronaut, astronaut.token)
        self._check("Hopper walks through entry without showing anything", "admit matched", ENTRY, self.hopper, None)
        self._check(
            "The astronaut, who did not agree to that, tries it", "deny not_matched", ENTRY, self.astronaut, None
        )
        self._check(
            "Hopper at security, to which she did not agree",
            "deny purpose_not_consented",
            "t3-security-4",
            self.hopper,
            hopper.token,
        )

    def turn_impostors_away(self, astronaut: Traveller) -> None:
        """A stranger with a stolen token, a recorded request, a print, a display."""
        self.show.chapter("Impostors")
        self._check("A stranger with the astronaut's token", "deny not_matched", ENTRY, self.hopper, astronaut.token)
        picture, nonce = self.cameras.gate(self.astronaut, "entry"), token_urlsafe(24)
        self._decided("The astronaut again", "admit matched", self._at(ENTRY, picture, astronaut.token, nonce=nonce))
        repeated = self._at(ENTRY, picture, astronaut.token, nonce=nonce)
        self._refused("The same request, recorded and sent again", "409 replayed", repeated)
        for what, take in (("printed", self.cameras.printed), ("on a display", self.cameras.replayed)):
            self._decided(
                f"Her photograph {what}, held up to the camera",
                "refer attack_suspected",
                self._at(ENTRY, take(self.astronaut), astronaut.token),
            )

    def _check(self, what: str, expected: str, gate: str, person: Pixels, token: str | None) -> Answer:
        answer = self._at(gate, self.cameras.gate(person, GATES[gate]), token)
        self._decided(what, expected, answer)
        return answer

    def _at(self, gate: str, picture: bytes, token: str | None, *, nonce: str | None = None) -> Answer:
        return self.service.check(
            gate,
            picture,
            key=self.keys[gate],
            captured_at=self.site.now(),
            token=token,
            flight=None if token else FLIGHT,
            nonce=nonce,
        )

    # --- Rights --------------------------------------------------------------------------------------------------

    def withdraw(self, astronaut: Traveller) -> None:
        """See every use of one's face, then be forgotten, with a receipt that anyone can verify."""
        self.show.chapter("The traveller's rights")
        activity = self.service.get("/v1/me/activity", key=astronaut.token)
        uses = [str(item["event"]) for item in activity.items()]
        got = f"{uses.count('enrolled')} enrollment, {uses.count('checked')} checks"
        self._step(
            "The astronaut asks what her face was used for", "1 enrollment, 7 checks", got, activity.milliseconds
        )
        answer = self.service.delete(f"/v1/enrollments/{astronaut.enrollment_id}", key=astronaut.token)
        receipt = answer.object("receipt")
        got = str(receipt.get("kind", _problem(answer)))
        self._step("She withdraws; a signed receipt comes back", "deletion", got, answer.milliseconds)
        kept = write_receipt(self.site.folder / "deletion.json", receipt)
        self._verified("Log and both receipts, verified offline", self._export(), (astronaut.receipt, kept))
        self._check("At the gate afterwards", "deny not_enrolled", ENTRY, self.astronaut, astronaut.token)
        state = self.service.get(f"/v1/enrollments/{astronaut.enrollment_id}", key=astronaut.token)
        self._refused("What is held about her", "404 not_found", state)

    # --- Time ----------------------------------------------------------------------------------------------------

    def let_a_day_pass(self) -> Traveller:
        """Enroll again and let the clock run: denied before any purge, then erased, then the keys destroyed."""
        self.show.chapter("A day later")
        pictures = self.cameras.enrollment(self.astronaut)
        again = self._enroll("The astronaut changes her mind and enrolls again", pictures, EVERY_GATE)
        self._check("At the gate", "admit matched", ENTRY, self.astronaut, again.token)
        picture = self.cameras.gate(self.astronaut, "entry")
        self._wait_for_a_sweep_to_be_over()
        self.site.move_clock_to(again.expires_at + MOMENT)
        self.show.say(f"The clock moves to {again.expires_at:%d %b %H:%M} UTC: 24 hours and a second after departure.")
        denied = self._at(ENTRY, picture, again.token)
        early = self._count("expired") == 0
        self._decided("At the gate, before any purge" if early else "At the gate", "deny not_enrolled", denied)
        self._logged("Both templates erased by the sweeper", "expired", count=2)
        end = epoch_end(epoch_of(again.expires_at))
        self.site.move_clock_to(end + MOMENT)
        self.show.say(f"The clock moves to {end:%d %b %H:%M} UTC: the hour in which they expired is over.")
        self._logged("The hour's keys destroyed: no backup opens a template", "epoch_destroyed", count=1)
        return again

    def _wait_for_a_sweep_to_be_over(self) -> None:
        """Wait until the sweeper has just slept in, so that what is seen next is not its doing."""
        while True:
            metrics = self.service.get("/metrics").content.decode()
            line = next(li for li in metrics.splitlines() if li.startswith("dwarpal_last_purge_timestamp_seconds "))
            left = float(line.split()[1]) + PURGE_SECONDS - time()
            if left > PURGE_SECONDS / 2:
                return
            sleep(max(left, 0) + 0.2)

    def _logged(self, what: str, event: str, *, count: int) -> None:
        """Wait for entries of the log, four sweeps long at most."""
        started = perf_counter()
        while (found := self._count(event)) < count and perf_counter() - started < 4 * PURGE_SECONDS:
            sleep(0.2)
        self._step(what, f"{count} x {event}", f"{found} x {event}", (perf_counter() - started) * 1000)

    def _count(self, event: str) -> int:
        query: dict[str, str | int] = {"event": event}
        return len(self.service.get("/v1/audit/entries", key=self.keys["auditor"], query=query).items())

    # --- Proof ---------------------------------------------------------------------------------------------------

    def prove_it(self, astronaut: Traveller, hopper: Traveller, again: Traveller) -> None:
        """Verify the whole log apart from the service, notice a forgery, look for pictures on the disk."""
        self.show.chapter("Proof")
        bundle = self._export()
        receipts = (self.site.folder / "deletion.json", *(t.receipt for t in (astronaut, hopper, again)))
        verdict = self._verified("The whole log and four receipts, verified offline", bundle, receipts)
        entries, alive = (str(verdict.report.get(name)) for name in ("entries", "alive"))
        self._step(f"Templates alive, by the {entries} entries of the log", "0", alive, 0)
        forged = verify_apart(with_a_changed_decision(bundle), vkey=self.vkey)
        self._step("The same log with one denial changed", "not verified", forged.words, forged.milliseconds)
        started = perf_counter()
        found = self.site.files_with([picture[len(picture) // 2 :][:48] for picture in self.cameras.taken])
        what = f"Files on the disk with a piece of any of the {len(self.cameras.taken)} captures"
        self._step(what, "none", ", ".join(found) or "none", (perf_counter() - started) * 1000)

    def _export(self) -> Path:
        answer = self.service.get("/v1/audit/export", key=self.keys["auditor"])
        bundle = self.site.folder / "audit.jsonl"
        bundle.write_bytes(answer.content)
        return bundle

    def _verified(self, what: str, bundle: Path, receipts: tuple[Path, ...]) -> Verdict:
        verdict = verify_apart(bundle, vkey=self.vkey, receipts=receipts)
        self._step(what, "verified", verdict.words, verdict.milliseconds)
        return verdict

    # --- Words ---------------------------------------------------------------------------------------------------

    def _decided(self, what: str, expected: str, answer: Answer) -> None:
        got = f"{answer.text('decision')} {answer.text('reason')}" if answer.ok else _problem(answer)
        self._step(what, expected, got, answer.milliseconds)

    def _refused(self, what: str, expected: str, answer: Answer) -> None:
        self._step(what, expected, _problem(answer), answer.milliseconds)

    def _step(self, what: str, expected: str, got: str, milliseconds: float) -> None:
        self.show.step(what, expected=expected, got=got, milliseconds=milliseconds)


def _problem(answer: Answer) -> str:
    return f"{answer.status} {answer.text('code')}".strip()
