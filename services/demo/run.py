"""Runs the demonstration from the first portrait to the last exit code."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from time import perf_counter

from services.cli.output import print_json, waiting
from services.cli.service import Service, Unreachable
from services.demo.journey import Journey, JourneyOver
from services.demo.scenes import ASTRONAUT, HOPPER, portrait
from services.demo.show import Show
from services.demo.site import Site, temporary_site


def run_demo(*, save_svg: Path | None = None, as_json: bool = False) -> bool:
    """Run and print everything; say whether every step came as promised."""
    show = Show(to_stderr=as_json)
    show.say("Dwarpal: two public-domain portraits, simulated cameras, a real server, a day in seconds.")
    with temporary_site() as site:
        try:
            _play(site, show)
        except JourneyOver:
            show.say("The rest needs a step that failed.")
        except Unreachable as error:
            show.step("The server answers", expected="yes", got=error.detail, milliseconds=0)
        code, milliseconds = site.stop()
        show.step(
            "The server ends when asked to", expected="exit code 0", got=f"exit code {code}", milliseconds=milliseconds
        )
    show.summary()
    if save_svg is not None:
        show.save_svg(save_svg)
    if as_json:
        steps = [asdict(step) | {"milliseconds": round(step.milliseconds, 1), "ok": step.ok} for step in show.steps]
        print_json({"ok": show.ok, "seconds": round(show.seconds, 1), "steps": steps})
    return show.ok


def _play(site: Site, show: Show) -> None:
    astronaut, hopper = portrait(ASTRONAUT), portrait(HOPPER)
    with waiting("Starting the server"):
        admin_key = site.command("keys", "create", "--role", "admin")["key"]
        vkey = site.command("audit", "key")["vkey"]
        started = perf_counter()
        site.start()
    with Service(site.url) as service:
        ready = service.get("/readyz")
        milliseconds = (perf_counter() - started) * 1000
        show.step("The server starts", expected="ready", got=_readiness(ready.status), milliseconds=milliseconds)
        journey = Journey(site, service, show, astronaut=astronaut, hopper=hopper)
        journey.vkey = vkey
        journey.open_the_site(admin_key)
        first = journey.enroll_the_astronaut()
        journey.show_token(first)
        second = journey.enroll_hopper()
        journey.pass_the_gates(first, second)
        journey.turn_impostors_away(first)
        journey.withdraw(first)
        again = journey.let_a_day_pass()
        journey.prove_it(first, second, again)


def _readiness(status: int) -> str:
    return "ready" if status == 200 else f"status {status}"
