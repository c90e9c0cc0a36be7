"""The ArcFace head and the distillation losses.

ArcFace: Deng et al., "ArcFace: Additive Angular Margin Loss for Deep Face Recognition", 2019; sub-centers: Deng et al.,
"Sub-center ArcFace", 2020; relational distillation after Park et al., "Relational Knowledge Distillation", 2019.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class ArcFaceHead(nn.Module):
    """Cross-entropy over people with an additive angular margin.

    `subcenters` directions stand for each person, the nearest counts. `scale` multiplies the cosines.
    """

    def __init__(self, people: int, embedding_size: int, *, scale: float, subcenters: int = 1) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(people * subcenters, embedding_size) * 0.01)
        self.scale = scale
        self.subcenters = subcenters

    def start_from(self, centers: Tensor) -> None:
        """Set every person's directions to people x embedding_size known ones, sub-centers a little apart."""
        with torch.no_grad():
            repeated = centers.repeat_interleave(self.subcenters, dim=0)
            self.weight.copy_(repeated + (torch.randn_like(repeated) * 0.01 if self.subcenters > 1 else 0))

    def forward(self, embeddings: Tensor, people: Tensor, margin: float, push: Tensor, ignored: Tensor) -> Tensor:
        """Return the loss of each of n unit embeddings.

        `margin` in radians; `push` n x people is added to the cosines of others (a wish for more distance to them);
        `ignored` n x people marks others who may be the same person.
        """
        cosines = embeddings @ nn.functional.normalize(self.weight).T
        if self.subcenters > 1:
            cosines = cosines.view(len(cosines), -1, self.subcenters).amax(dim=2)
        own = torch.nn.functional.one_hot(people, cosines.shape[1]).bool()
        angle = torch.acos(cosines.gather(1, people[:, None]).clamp(-1 + 1e-6, 1 - 1e-6))
        # Past pi - margin the cosine would rise again: there the loss goes on in a straight line, as the authors do it.
        beyond = torch.cos(angle) - margin * math.sin(margin)
        target = torch.where(angle + margin < math.pi, torch.cos(angle + margin), beyond)
        others = (cosines + push).masked_fill(ignored & ~own, -1.0)
        logits = torch.where(own, target, others) * self.scale
        return nn.functional.cross_entropy(logits, people, reduction="none")


def embedding_loss(projected: Tensor, targets: Tensor) -> Tensor:
    """Return 1 - cosine of n student vectors, projected to the teacher's space, to the teacher's unit vectors."""
    return 1 - (nn.functional.normalize(projected) * targets).sum(dim=1)


def relational_loss(embeddings: Tensor, targets: Tensor, push: Tensor) -> Tensor:
    """Return the mean squared difference of pairwise cosines from the targets' less `push`, without the diagonal.

    `embeddings` n x d and `targets` n x e are unit vectors, `push` is n x n. Cosines of one person are never pushed.
    """
    count = len(embeddings)
    wanted = targets @ targets.T
    wanted = torch.where(wanted > 0.45, wanted, wanted - push)
    difference = embeddings @ embeddings.T - wanted
    return (difference.square().sum() - difference.diagonal().square().sum()) / (count * (count - 1))
