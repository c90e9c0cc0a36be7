"""facenet-pytorch's InceptionResnetV1 behind its own MTCNN.

Its weights are a download of their own. Without the file the architecture runs with random numbers, which says how
fast it is and nothing else.
"""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from biometrics.capture import center_face
from biometrics.embedding import unit_rows
from biometrics.types import Box, Face, FloatArray, Pixels
from evaluation.peers import Peer
from training.reference_mtcnn import import_reference

FACE_PIXELS = 160


class FacenetRecognizer:
    """The package's recommended use: MTCNN with its defaults, the box cut to 160 x 160, (x - 127.5) / 128."""

    def __init__(self, weights: Path | None) -> None:
        reference = import_reference()
        from facenet_pytorch.models.inception_resnet_v1 import InceptionResnetV1

        torch.manual_seed(0)
        torch.set_flush_denormal(True)
        self._detector = reference.MTCNN(image_size=FACE_PIXELS, keep_all=True)
        self.network: torch.nn.Module = InceptionResnetV1().eval()
        if weights is not None:
            state = torch.load(weights, map_location="cpu", weights_only=True)
            self.network.load_state_dict({key: value for key, value in state.items() if not key.startswith("logits.")})

    def find(self, image: Pixels) -> FloatArray:
        """Return the network's input for the face nearest the middle; raise `UnusableFace` if there is none."""
        photograph = Image.fromarray(image)
        try:
            boxes, scores = self._detector.detect(photograph)
        except RuntimeError:  # where nothing is proposed at all
            boxes, scores = None, None
        corners = np.empty((0, 4)) if boxes is None else np.asarray(boxes, np.float64)
        nowhere = np.zeros((5, 2), np.float32)
        faces = [
            Face(Box(x1, y1, x2 - x1, y2 - y1), float(score), nowhere)
            for (x1, y1, x2, y2), score in zip(corners.tolist(), [] if scores is None else scores, strict=True)
        ]
        box = center_face(faces, image.shape).box
        left, top = int(max(box.x, 0)), int(max(box.y, 0))
        right, bottom = int(min(box.x + box.width, image.shape[1])), int(min(box.y + box.height, image.shape[0]))
        face = photograph.crop((left, top, right, bottom)).resize((FACE_PIXELS, FACE_PIXELS), Image.Resampling.BILINEAR)
        pixels: FloatArray = np.asarray(face, np.float32).transpose(2, 0, 1)
        return np.asarray((pixels - 127.5) / 128, np.float32)

    def embed(self, sample: FloatArray) -> FloatArray:
        """Embed one face."""
        with torch.inference_mode():
            vectors = self.network(torch.from_numpy(np.ascontiguousarray(sample[None]))).numpy()
        embedding: FloatArray = unit_rows(np.asarray(vectors, np.float32))[0]
        return embedding


def describe(name: str, recognizer: FacenetRecognizer, weights: Path | None) -> Peer:
    """Say what is measured."""
    parameters = sum(parameter.numel() for parameter in recognizer.network.parameters())
    without = "random weights: speed only; the true ones are a download (vggface2: accuracy with --facenet-weights)"
    return Peer(
        name=name,
        what="InceptionResnetV1, input 160 x 160",
        size=512,
        parameters=parameters,
        weight_bytes=parameters * 4 if weights is None else weights.stat().st_size,
        runtime=f"facenet-pytorch {version('facenet-pytorch')}, torch {version('torch')}",
        licence="code MIT; the download was trained on VGGFace2 or CASIA-WebFace, which are for research",
        notes=(without, "size on disk: 4 bytes for each parameter") if weights is None else (),
    )
