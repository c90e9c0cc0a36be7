"""Two real portraits, in the public domain, and the real networks."""

from __future__ import annotations

import numpy as np
import pytest
import skimage.data
from matplotlib import cbook
from PIL import Image

from biometrics.embedding import ArcFaceEmbedder
from biometrics.mtcnn import MtcnnDetector
from biometrics.types import Pixels
from infra.models import build_detector, build_embedder
from infra.settings import ExecutionProvider, Settings


@pytest.fixture(scope="session")
def astronaut() -> Pixels:
    return np.asarray(skimage.data.astronaut())


@pytest.fixture(scope="session")
def hopper() -> Pixels:
    with Image.open(cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)) as image:
        return np.asarray(image.convert("RGB"))


@pytest.fixture(scope="session")
def detector() -> MtcnnDetector:
    return build_detector(Settings())


@pytest.fixture(scope="session")
def embedder() -> ArcFaceEmbedder:
    return build_embedder(Settings(execution_provider=ExecutionProvider.CPU))
