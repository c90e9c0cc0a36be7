"""Templates in memory for walk-through gates: exact search with FAISS, and nothing left behind on removal.

FAISS frees memory without clearing it, and growing an index copies it and frees the old block. So the vectors of a
flight live in one index of fixed capacity that was filled with zeros; rows are written, moved and overwritten in its
own buffer, and growth makes a second index and overwrites the first. Only the first `count` rows are ever searched.

Each flight has a random rotation of its own. A rotation keeps all cosines and is found from 100 to 250 known pairs
(docs/privacy-measurements.md): it makes galleries of different days unlinkable for somebody who has only them; it is no
encryption. Nothing here reaches a disk.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Collection

import faiss
import numpy as np

from biometrics.types import EMBEDDING_SIZE, FloatArray, Template

FIRST_CAPACITY = 64


def random_rotation(size: int = EMBEDDING_SIZE) -> FloatArray:
    """Return a random orthogonal size x size float32 matrix, uniform over all of them.

    QR of a Gaussian matrix with the signs of R's diagonal moved into Q. Source: Mezzadri, "How to generate random
    matrices from the classical compact groups", 2007.
    """
    gaussian = np.random.default_rng(secrets.randbits(256)).standard_normal((size, size))
    q, r = np.linalg.qr(gaussian)
    return np.ascontiguousarray(q * np.sign(np.diagonal(r)), dtype=np.float32)


class FlightGallery:
    """The rotated templates of one flight in one FAISS index; not thread-safe by itself."""

    def __init__(self, rotation: FloatArray) -> None:
        self._rotation = rotation
        self._ids: list[str] = []
        self._rows: dict[str, int] = {}
        self._index, self._buffer = _zeroed_index(FIRST_CAPACITY)

    def __len__(self) -> int:
        return len(self._ids)

    def among(self, enrollment_ids: Collection[str]) -> list[str]:
        """Return which of these ids are here, each once."""
        return [enrollment_id for enrollment_id in dict.fromkeys(enrollment_ids) if enrollment_id in self._rows]

    @property
    def ids(self) -> list[str]:
        """The enrollment ids, by row."""
        return list(self._ids)

    @property
    def buffer(self) -> FloatArray:
        """The memory that FAISS searches: capacity x 512 float32, zero past the last row."""
        return self._buffer

    def put(self, enrollment_id: str, template: Template) -> None:
        """Rotate one template into its row, a new one or the one it had."""
        row = self._rows.get(enrollment_id)
        if row is None:
            row = len(self._ids)
            if row == len(self._buffer):
                self._grow()
            self._ids.append(enrollment_id)
            self._rows[enrollment_id] = row
        np.matmul(template.vector, self._rotation, out=self._buffer[row])

    def discard(self, enrollment_id: str) -> None:
        """Overwrite a template's row with the last one, and the last one with zeros."""
        row = self._rows.pop(enrollment_id)
        last_id = self._ids.pop()
        last = len(self._ids)
        if row != last:
            self._buffer[row] = self._buffer[last]
            self._ids[row] = last_id
            self._rows[last_id] = row
        self._buffer[last] = 0.0

    def search(self, probe: Template, k: int) -> list[tuple[str, float]]:
        """Return up to k (enrollment id, cosine), best first."""
        count = len(self._ids)
        if count == 0 or k < 1:
            return []
        # One query is one thread's work; a team of threads only waits for its slowest, 20 ms instead of 1 when busy.
        faiss.omp_set_num_threads(1)
        rotated = np.matmul(probe.vector[None, :], self._rotation)
        selector = faiss.IDSelectorRange(0, count)
        live = faiss.SearchParameters()
        live.sel = selector  # FAISS does not own it: the name above keeps it alive
        try:
            cosines, rows = self._index.search(rotated, min(k, count), params=live)
        finally:
            rotated.fill(0.0)
        return [(self._ids[row], float(cosine)) for row, cosine in zip(rows[0], cosines[0], strict=True)]

    def close(self) -> None:
        """Overwrite all rows and the rotation."""
        self._buffer.fill(0.0)
        self._rotation.fill(0.0)
        self._ids.clear()
        self._rows.clear()

    def _grow(self) -> None:
        index, buffer = _zeroed_index(2 * len(self._buffer))
        buffer[: len(self._buffer)] = self._buffer
        self._buffer.fill(0.0)
        self._index, self._buffer = index, buffer


class RotatedGallery:
    """All flights' galleries, for many threads. A flight costs 1 MiB for its rotation and 2 KiB for each template."""

    def __init__(self, rotation: Callable[[], FloatArray] = random_rotation) -> None:
        self._rotation = rotation
        self._flights: dict[str, FlightGallery] = {}
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return "<RotatedGallery>"

    def add(self, flight: str, enrollment_id: str, template: Template) -> None:
        """Add or replace one template in a flight's gallery; the template is copied, rotated."""
        with self._lock:
            known = flight in self._flights
        fresh = None if known else FlightGallery(self._rotation())  # takes a while: gates search meanwhile
        with self._lock:
            gallery = self._flights.get(flight)
            if gallery is None:
                gallery = FlightGallery(self._rotation()) if fresh is None else fresh
                self._flights[flight] = gallery
            gallery.put(enrollment_id, template)

    def remove(self, enrollment_id: str) -> None:
        """Overwrite and remove one template wherever it is; does nothing if it is nowhere."""
        self.remove_many([enrollment_id])

    def remove_many(self, enrollment_ids: Collection[str]) -> None:
        """Overwrite and remove templates wherever they are; ids that are nowhere change nothing."""
        with self._lock:
            for flight, gallery in list(self._flights.items()):
                for enrollment_id in gallery.among(enrollment_ids):
                    gallery.discard(enrollment_id)
                if len(gallery) == 0:
                    gallery.close()
                    del self._flights[flight]

    def search(self, probe: Template, *, flight: str | None, k: int) -> list[tuple[str, float]]:
        """Return up to k (enrollment id, cosine), best first, from one flight or from all; each id once."""
        with self._lock:
            best: dict[str, float] = {}
            for gallery in self._chosen(flight):
                for enrollment_id, cosine in gallery.search(probe, k):
                    best[enrollment_id] = max(cosine, best.get(enrollment_id, -np.inf))
        return sorted(best.items(), key=lambda hit: (-hit[1], hit[0]))[: max(k, 0)]

    def size(self, flight: str | None = None) -> int:
        """Return how many templates a search would look at."""
        with self._lock:
            return sum(len(gallery) for gallery in self._chosen(flight))

    def ids(self) -> set[str]:
        """Return all enrollment ids in memory."""
        with self._lock:
            return {enrollment_id for gallery in self._flights.values() for enrollment_id in gallery.ids}

    def buffers(self) -> list[FloatArray]:
        """Return the memory of every flight, capacity x 512 float32 each, so that a test can look for remains."""
        with self._lock:
            return [gallery.buffer for gallery in self._flights.values()]

    def close(self) -> None:
        """Overwrite everything."""
        with self._lock:
            for gallery in self._flights.values():
                gallery.close()
            self._flights.clear()

    def _chosen(self, flight: str | None) -> list[FlightGallery]:
        if flight is None:
            return list(self._flights.values())
        gallery = self._flights.get(flight)
        return [] if gallery is None else [gallery]


class _IndexMemory:
    """The vectors inside a FAISS index, as numpy finds them; arrays made from this keep the index alive."""

    def __init__(self, index: faiss.IndexFlatIP, capacity: int) -> None:
        self._index = index
        flat: FloatArray = faiss.rev_swig_ptr(index.get_xb(), capacity * EMBEDDING_SIZE)
        self.__array_interface__ = flat.reshape(capacity, EMBEDDING_SIZE).__array_interface__


def _zeroed_index(capacity: int) -> tuple[faiss.IndexFlatIP, FloatArray]:
    index = faiss.IndexFlatIP(EMBEDDING_SIZE)
    index.add(np.zeros((capacity, EMBEDDING_SIZE), np.float32))
    return index, np.asarray(_IndexMemory(index, capacity))
