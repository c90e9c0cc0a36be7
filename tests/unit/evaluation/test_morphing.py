"""Morphs lie halfway between two faces, and look-alikes are the most similar pairs."""

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from biometrics.alignment import align
from biometrics.capture import only_face
from biometrics.embedding import unit_rows
from biometrics.types import Pixels
from evaluation.morphing import look_alikes, morph
from services.bootstrap import Networks


def test_a_morph_of_one_photograph_is_that_face(astronaut: Pixels, networks: Networks) -> None:
    landmarks = only_face(networks.detector.detect(astronaut)).landmarks
    found = morph((astronaut, landmarks), (astronaut, landmarks))
    assert np.abs(found.astype(int) - align(astronaut, landmarks)).mean() < 1


def test_a_morph_is_as_near_to_the_one_as_to_the_other(
    astronaut: Pixels, grace_hopper: Pixels, networks: Networks
) -> None:
    people = [(image, only_face(networks.detector.detect(image)).landmarks) for image in (astronaut, grace_hopper)]
    made = networks.embedder.embed(morph(people[0], people[1])).vector
    own = [networks.embedder.embed(align(*person)).vector for person in people]
    cosines = [float(made @ vector) for vector in own]
    assert min(cosines) > 0.3 > float(own[0] @ own[1])
    assert np.array_equal(morph(people[0], people[1]), morph(people[1], people[0]))


@given(st.integers(2, 12), st.integers(1, 8), st.integers(0, 2**32 - 1))
def test_look_alikes_are_the_most_similar_and_nobody_is_in_two_pairs(n: int, pairs: int, seed: int) -> None:
    embeddings = unit_rows(np.random.default_rng(seed).standard_normal((n, 8)).astype(np.float32))
    people = [f"person {i}" for i in range(n)]
    found = look_alikes(embeddings, people, pairs)
    cosines = embeddings @ embeddings.T - 2 * np.eye(n)
    assert len(found) == min(pairs, n // 2)
    assert len({i for pair in found for i in pair}) == 2 * len(found)
    assert cosines[found[0]] == cosines.max()
    assert all(cosines[first] >= cosines[second] for first, second in pairwise(found))
