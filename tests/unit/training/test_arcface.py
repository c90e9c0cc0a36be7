"""The margin, sub-centers and the distillation losses against numbers that can be done by hand."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from training.arcface import ArcFaceHead, embedding_loss, relational_loss


def head_of(directions: torch.Tensor, *, subcenters: int = 1) -> ArcFaceHead:
    head = ArcFaceHead(len(directions) // subcenters, directions.shape[1], scale=8.0, subcenters=subcenters)
    with torch.no_grad():
        head.weight.copy_(directions)
    return head


def nothing(people: int) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.zeros(1, people), torch.zeros(1, people, dtype=torch.bool)


@given(angle=st.floats(0.1, 2.0), margin=st.floats(0.0, 0.6))
def test_the_margin_is_added_to_the_angle(angle: float, margin: float) -> None:
    head = head_of(torch.eye(2))
    embedding = torch.tensor([[math.cos(angle), math.sin(angle)]])
    loss = head(embedding, torch.tensor([0]), margin, *nothing(2))
    expected = torch.nn.functional.cross_entropy(
        torch.tensor([[8 * math.cos(angle + margin), 8 * math.sin(angle)]]), torch.tensor([0])
    )
    assert loss.item() == pytest.approx(expected.item(), abs=1e-3)


def test_beyond_a_half_turn_the_loss_still_grows() -> None:
    head = head_of(torch.eye(3)[:2])
    angles = torch.tensor([2.6, 2.8, 3.0])
    embeddings = torch.stack([angles.cos(), torch.zeros(3), angles.sin()], dim=1)
    people = torch.zeros(3, dtype=torch.long)
    losses = head(embeddings, people, 0.5, torch.zeros(3, 2), torch.zeros(3, 2, dtype=torch.bool))
    assert losses[0] < losses[1] < losses[2]


def test_the_nearest_subcenter_counts() -> None:
    directions = torch.nn.functional.normalize(torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [-1.0, -0.1]]))
    head = head_of(directions, subcenters=2)
    embedding, person = torch.tensor([[0.0, 1.0]]), torch.tensor([0])
    alone = head_of(directions[::2])
    assert head(embedding, person, 0.0, *nothing(2)).item() < 1e-2
    assert alone(embedding, person, 0.0, *nothing(2)).item() == pytest.approx(math.log(2), abs=1e-3)


def test_whoever_may_be_the_same_person_is_no_negative() -> None:
    head = head_of(torch.tensor([[1.0, 0.0], [0.99, 0.141]]))
    embedding, people = torch.tensor([[1.0, 0.0]]), torch.tensor([0])
    counted = head(embedding, people, 0.0, torch.zeros(1, 2), torch.tensor([[False, False]]))
    ignored = head(embedding, people, 0.0, torch.zeros(1, 2), torch.tensor([[True, True]]))
    assert ignored.item() < 1e-3 < counted.item()


def test_a_push_makes_others_harder() -> None:
    head = head_of(torch.eye(2))
    embedding, people, nobody = torch.tensor([[1.0, 0.0]]), torch.tensor([0]), torch.zeros(1, 2, dtype=torch.bool)
    plain = head(embedding, people, 0.0, torch.zeros(1, 2), nobody)
    pushed = head(embedding, people, 0.0, torch.full((1, 2), 0.3), nobody)
    assert pushed.item() > plain.item()


def test_distillation_is_zero_at_the_teacher_and_positive_elsewhere() -> None:
    generator = torch.Generator().manual_seed(1)
    targets = torch.nn.functional.normalize(torch.randn(6, 16, generator=generator))
    rotation = torch.linalg.qr(torch.randn(16, 16, generator=generator)).Q
    no_push = torch.zeros(6, 6)
    assert embedding_loss(3 * targets, targets).abs().max() < 1e-6
    assert relational_loss(targets @ rotation, targets, no_push) < 1e-10
    assert embedding_loss(targets.roll(1, 0), targets).min() > 0.01
    assert relational_loss(targets.roll(1, 0), targets, no_push) > 0.01


def test_a_push_asks_for_smaller_cosines_but_never_within_a_person() -> None:
    targets = torch.nn.functional.normalize(torch.tensor([[1.0, 0.0], [0.3, 1.0], [0.99, 0.1]]))
    push = torch.full((3, 3), 0.2)
    moved = relational_loss(targets, targets, push)
    # Only the two comparisons of strangers (cosine below 0.45) miss their goal, each by 0.2, in both directions.
    assert moved.item() == pytest.approx(4 * 0.04 / 6, abs=1e-6)
