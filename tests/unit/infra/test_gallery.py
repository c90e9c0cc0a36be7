"""The walk-through gallery: exact, and empty where something was removed."""

import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from biometrics.types import EMBEDDING_SIZE, Template
from infra.gallery import FIRST_CAPACITY, FlightGallery, RotatedGallery, random_rotation
from tests.factories import make_template

ONE_ROTATION = random_rotation()


def live_rows(gallery: RotatedGallery) -> int:
    return sum(int(np.any(buffer != 0, axis=1).sum()) for buffer in gallery.buffers())


def test_rotation_is_orthogonal_and_new_each_time() -> None:
    one, two = random_rotation(), random_rotation()
    np.testing.assert_allclose(one @ one.T, np.eye(EMBEDDING_SIZE), atol=1e-5)
    assert float(np.abs(one - two).max()) > 0.05


@pytest.mark.parametrize("count", [1, FIRST_CAPACITY, FIRST_CAPACITY + 1, 500])
def test_search_is_exact(count: int) -> None:
    gallery = RotatedGallery()
    templates = {f"{n:032x}": make_template(n) for n in range(count)}
    for enrollment_id, template in templates.items():
        gallery.add("AI101", enrollment_id, template)
    ids = list(templates)
    matrix = np.stack([template.vector for template in templates.values()])
    for seed in range(10_000, 10_005):
        probe = make_template(seed)
        cosines = matrix @ probe.vector
        best = np.argsort(-cosines)[:10]
        hits = gallery.search(probe, flight="AI101", k=10)
        assert [enrollment_id for enrollment_id, _ in hits] == [ids[n] for n in best]
        np.testing.assert_allclose([cosine for _, cosine in hits], cosines[best], atol=1e-5)


def test_search_never_returns_an_empty_row() -> None:
    gallery = RotatedGallery()
    template = make_template(1)
    gallery.add("AI101", "a", Template(-template.vector))
    hits = gallery.search(template, flight=None, k=5)  # an empty row would score 0, better than -1
    assert [enrollment_id for enrollment_id, _ in hits] == ["a"]
    assert hits[0][1] == pytest.approx(-1, abs=1e-5)


def test_one_flight_or_all() -> None:
    gallery = RotatedGallery()
    gallery.add("AI101", "a", make_template(1))
    gallery.add("AI202", "b", make_template(2))
    gallery.add("AI202", "a", make_template(1))
    assert [hit[0] for hit in gallery.search(make_template(2), flight="AI101", k=5)] == ["a"]
    assert [hit[0] for hit in gallery.search(make_template(2), flight=None, k=5)] == ["b", "a"]
    assert gallery.search(make_template(2), flight="AI303", k=5) == []
    assert gallery.search(make_template(2), flight=None, k=0) == []
    assert (gallery.size("AI101"), gallery.size("AI202"), gallery.size("AI303"), gallery.size()) == (1, 2, 0, 3)
    assert gallery.ids() == {"a", "b"}


def test_adding_again_replaces() -> None:
    gallery = RotatedGallery()
    gallery.add("AI101", "a", make_template(1))
    gallery.add("AI101", "a", make_template(2))
    assert gallery.size() == 1
    assert gallery.search(make_template(2), flight="AI101", k=1)[0][1] == pytest.approx(1, abs=1e-5)


def test_removal_and_growth_leave_nothing_in_the_buffers() -> None:
    flight = FlightGallery(random_rotation())
    first = flight.buffer
    for number in range(FIRST_CAPACITY + 1):
        flight.put(str(number), make_template(number))
    assert not first.any(), "the buffer that was outgrown still holds templates"
    rotated = {number: flight.buffer[flight.ids.index(str(number))].copy() for number in range(FIRST_CAPACITY + 1)}
    for number, row in rotated.items():
        flight.discard(str(number))
        assert not np.any(np.all(flight.buffer == row, axis=1))
        assert row.tobytes()[:64] not in flight.buffer.tobytes()
    assert not flight.buffer.any()


def test_many_leave_together_and_leave_nothing() -> None:
    gallery = RotatedGallery()
    for number in range(100):
        gallery.add(f"AI{number % 3}", str(number), make_template(number))
    gallery.remove_many({str(number) for number in range(0, 100, 2)} | {"nobody"})
    assert gallery.ids() == {str(number) for number in range(1, 100, 2)}
    assert gallery.search(make_template(51), flight=None, k=1)[0][0] == "51"
    gallery.remove_many(["1", "1"])
    assert gallery.size() == live_rows(gallery) == 49


def test_the_buffer_is_what_faiss_searches() -> None:
    flight = FlightGallery(random_rotation())
    flight.put("a", make_template(1))
    flight.buffer[0] = 0.0
    assert flight.search(make_template(1), 1) == [("a", 0.0)]


def test_an_empty_flight_is_dropped_with_its_rotation() -> None:
    gallery = RotatedGallery()
    gallery.add("AI101", "a", make_template(1))
    (buffer,) = gallery.buffers()
    rotation = gallery._flights["AI101"]._rotation
    gallery.remove("a")
    gallery.remove("a")
    assert not buffer.any()
    assert not rotation.any()
    assert gallery.buffers() == []


def test_close_overwrites_everything() -> None:
    gallery = RotatedGallery()
    for number in range(10):
        gallery.add(f"AI{number % 3}", str(number), make_template(number))
    buffers = gallery.buffers()
    gallery.close()
    assert not any(buffer.any() for buffer in buffers)
    assert gallery.size() == 0


@given(st.lists(st.tuples(st.booleans(), st.sampled_from(["A", "B"]), st.integers(0, 5)), max_size=30))
@settings(max_examples=25)
def test_any_history_agrees_with_a_plain_dictionary(history: list[tuple[bool, str, int]]) -> None:
    gallery, model = RotatedGallery(ONE_ROTATION.copy), {}
    for adding, flight, number in history:
        if adding:
            gallery.add(flight, str(number), make_template(number))
            model[flight, str(number)] = number
        else:
            gallery.remove(str(number))
            model = {key: value for key, value in model.items() if key[1] != str(number)}
        assert gallery.ids() == {key[1] for key in model}
        assert gallery.size() == live_rows(gallery) == len(model)
    for flight, enrollment_id in model:
        hits = gallery.search(make_template(int(enrollment_id)), flight=flight, k=1)
        assert hits[0][0] == enrollment_id


def test_threads_may_add_search_and_remove_at_once() -> None:
    gallery, failures = RotatedGallery(ONE_ROTATION.copy), []

    def live(first: int) -> None:
        try:
            for number in range(first, first + 100):
                gallery.add("AI101", str(number), make_template(number))
                assert gallery.search(make_template(number), flight="AI101", k=1)[0][0] == str(number)
                gallery.remove(str(number))
        except BaseException as error:  # noqa: BLE001 - carried to the test's own thread
            failures.append(error)

    threads = [threading.Thread(target=live, args=(n * 1000,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert gallery.size() == 0


def test_ten_thousand_are_searched_in_milliseconds() -> None:
    gallery = RotatedGallery()
    for number in range(10_000):
        gallery.add("AI101", str(number), make_template(number))
    probe, times = make_template(5_000), []
    for _ in range(20):
        start = time.perf_counter()
        (best, *_) = gallery.search(probe, flight="AI101", k=5)
        times.append(time.perf_counter() - start)
    print(f"gallery: 10,000 x 512, median {1e3 * sorted(times)[10]:.2f} ms a search")
    assert best[0] == "5000"
    assert sorted(times)[10] < 0.1  # about 3 ms on one core; the bound only catches a change of kind
