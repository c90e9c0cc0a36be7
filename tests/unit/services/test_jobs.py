"""Jobs: order, progress, who may read, what is forgotten, and an end that loses nothing half-way."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from datetime import timedelta
from threading import Event, Thread

import pytest

from biometrics.errors import Conflict, NotFound, NotReady
from services.jobs import KEPT, MOST_WAITING, Job, Jobs, JobStatus
from tests.factories import NOON
from tests.fakes import FakeClock

SOON = 10.0
"""Seconds that a test waits for another thread before it gives up."""


class Outcome:
    """What an item leaves behind; unlike a number it can be watched as it is forgotten."""


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(NOON)


@pytest.fixture
def jobs(clock: FakeClock) -> Iterator[Jobs[object]]:
    jobs: Jobs[object] = Jobs(clock)
    yield jobs
    jobs.close()


def settle(jobs: Jobs[object]) -> None:
    """Wait until all jobs before this moment have ended: they run in turn on one thread."""
    reached = Event()
    jobs.submit("the test", [reached.set])
    assert reached.wait(SOON)


def busy(jobs: Jobs[object]) -> Callable[[], None]:
    """Keep the worker at work until the returned function is called."""
    started, release = Event(), Event()
    jobs.submit("the test", [lambda: (started.set(), release.wait(SOON))])
    assert started.wait(SOON)
    return release.set


def test_items_are_worked_on_in_order(jobs: Jobs[object]) -> None:
    job = jobs.submit("mine", [lambda n=n: n * n for n in range(5)])
    settle(jobs)
    ended = jobs.get(job.id, "mine")
    assert (ended.status, ended.total, ended.outcomes) == (JobStatus.DONE, 5, (0, 1, 4, 9, 16))
    assert ended.ended_at == NOON


def test_progress_can_be_read_while_a_job_waits_and_runs(jobs: Jobs[object]) -> None:
    go_on = busy(jobs)
    second, release = Event(), Event()
    job = jobs.submit("mine", [lambda: "first", lambda: (second.set(), release.wait(SOON))])
    assert (job.status, job.outcomes) == (JobStatus.QUEUED, ())
    assert jobs.get(job.id, "mine").status is JobStatus.QUEUED
    go_on()
    assert second.wait(SOON)
    running = jobs.get(job.id, "mine")
    assert (running.status, running.outcomes, running.ended_at) == (JobStatus.RUNNING, ("first",), None)
    release.set()
    settle(jobs)
    assert jobs.get(job.id, "mine").status is JobStatus.DONE


def test_only_its_owner_finds_a_job(jobs: Jobs[object]) -> None:
    job = jobs.submit("mine", [lambda: 1])
    answers = []
    for job_id, owner in ((job.id, "yours"), ("0" * 32, "mine")):
        with pytest.raises(NotFound) as refused:
            jobs.get(job_id, owner)
        answers.append((refused.value.code, refused.value.detail))
    assert answers[0] == answers[1]


def test_outcomes_are_unreadable_once_their_time_is_over(jobs: Jobs[object], clock: FakeClock) -> None:
    job = jobs.submit("mine", [lambda: 1])
    settle(jobs)
    clock.time = NOON + KEPT - timedelta(seconds=1)
    assert jobs.get(job.id, "mine").outcomes == (1,)
    clock.time = NOON + KEPT
    with pytest.raises(NotFound):
        jobs.get(job.id, "mine")


def test_forgetting_lets_go_of_outcomes_and_of_nothing_else(jobs: Jobs[object], clock: FakeClock) -> None:
    made: list[weakref.ref[Outcome]] = []

    def item() -> Outcome:
        outcome = Outcome()
        made.append(weakref.ref(outcome))
        return outcome

    jobs.submit("mine", [item])
    settle(jobs)
    go_on = busy(jobs)
    running = jobs.submit("mine", [lambda: 1])
    jobs.forget()
    assert made[0]() is not None
    clock.time = NOON + KEPT
    jobs.forget()
    assert made[0]() is None
    assert jobs.get(running.id, "mine").total == 1
    go_on()


def test_what_an_item_holds_is_let_go_before_the_next_item(jobs: Jobs[object]) -> None:
    class Image(bytearray):
        """Unlike bytes it can be watched."""

    def item(held: Image) -> Callable[[], object]:
        return lambda: len(held)

    image = Image(b"pixels")
    watched = weakref.ref(image)
    items = [item(image), lambda: watched() is None]
    del image
    go_on = busy(jobs)
    job = jobs.submit("mine", items)
    items.clear()
    go_on()
    settle(jobs)
    assert jobs.get(job.id, "mine").outcomes == (6, True)


def test_too_many_waiting_jobs_are_refused(jobs: Jobs[object]) -> None:
    go_on = busy(jobs)
    moved = Event()
    for _ in range(MOST_WAITING - 1):
        jobs.submit("mine", [lambda: 1])
    jobs.submit("mine", [moved.set])
    with pytest.raises(NotReady) as refused:
        jobs.submit("mine", [lambda: 1])
    assert refused.value.code == "busy"
    go_on()
    assert moved.wait(SOON)
    assert jobs.submit("mine", [lambda: 1]).total == 1


def test_a_failure_before_the_start_takes_the_place_back(jobs: Jobs[object]) -> None:
    seen: list[Job[object]] = []
    ran = Event()

    def refuse(job: Job[object]) -> None:
        seen.append(job)
        raise Conflict("The same request is being worked on.")

    go_on = busy(jobs)
    for _ in range(MOST_WAITING + 1):
        with pytest.raises(Conflict):
            jobs.submit("mine", [ran.set], before_start=refuse)
    with pytest.raises(NotFound):
        jobs.get(seen[0].id, "mine")
    go_on()
    settle(jobs)
    assert not ran.is_set()


def test_closing_finishes_the_item_at_work_and_interrupts_the_rest(clock: FakeClock) -> None:
    jobs: Jobs[object] = Jobs(clock)
    started, ran = Event(), Event()

    def first() -> str:
        started.set()
        assert jobs._closing.wait(SOON)
        return "finished"

    at_work = jobs.submit("mine", [first, ran.set])
    queued = jobs.submit("mine", [ran.set])
    assert started.wait(SOON)
    closer = Thread(target=jobs.close)
    closer.start()
    closer.join(SOON)
    assert not closer.is_alive()
    ended = jobs.get(at_work.id, "mine")
    assert (ended.status, ended.outcomes) == (JobStatus.INTERRUPTED, ("finished",))
    never = jobs.get(queued.id, "mine")
    assert (never.status, never.outcomes) == (JobStatus.INTERRUPTED, ())
    assert not ran.is_set()
    with pytest.raises(NotReady):
        jobs.submit("mine", [ran.set])


def test_an_item_that_raises_ends_its_job_and_no_other(jobs: Jobs[object], capfd: pytest.CaptureFixture[str]) -> None:
    def broken() -> object:
        raise ValueError("SECRET-9d21")

    job = jobs.submit("mine", [lambda: 1, broken, lambda: 3])
    other = jobs.submit("mine", [lambda: 4])
    settle(jobs)
    ended = jobs.get(job.id, "mine")
    assert (ended.status, ended.outcomes) == (JobStatus.INTERRUPTED, (1,))
    assert jobs.get(other.id, "mine").status is JobStatus.DONE
    output = capfd.readouterr()
    assert "ValueError" in output.out + output.err
    assert "SECRET-9d21" not in output.out + output.err


def test_a_job_is_silent_about_its_outcomes(jobs: Jobs[object]) -> None:
    job = jobs.submit("key:mine", [lambda: "DWP1.secret"])
    settle(jobs)
    shown = repr(jobs.get(job.id, "key:mine"))
    assert "DWP1" not in shown and "key:mine" not in shown
