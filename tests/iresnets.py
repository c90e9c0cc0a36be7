"""IResNets with random weights that behave: they stand for nobody's, and have the layers of a trained one."""

from __future__ import annotations

import io

import torch
from torch import nn

from biometrics.iresnet import IResNet, IResNetConfig


def random_iresnet(depth: int = 18, width: int = 64, *, seed: int = 1, embedding_size: int = 512) -> IResNet:
    """Return a network in evaluation mode whose normalizations and slopes are all different from their defaults."""
    random = torch.Generator().manual_seed(seed)
    network = IResNet(IResNetConfig(depth, width, embedding_size)).eval()
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                fan_in = module.weight[0].numel()
                module.weight.normal_(0, (1.0 / fan_in) ** 0.5, generator=random)
            elif isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d):
                module.running_mean.normal_(0, 0.1, generator=random)
                module.running_var.uniform_(0.5, 1.5, generator=random)
                module.bias.normal_(0, 0.1, generator=random)
                if module is not network.features:
                    module.weight.uniform_(0.5, 1.0, generator=random)
            elif isinstance(module, nn.PReLU):
                module.weight.uniform_(0.0, 0.5, generator=random)
            elif isinstance(module, nn.Linear):
                module.weight.normal_(0, module.in_features**-0.5, generator=random)
                module.bias.normal_(0, 0.1, generator=random)
    return network


def saved(content: object) -> bytes:
    """Return what torch writes for an object."""
    stream = io.BytesIO()
    torch.save(content, stream)
    return stream.getvalue()
