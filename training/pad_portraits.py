"""Shows a PAD network people it has never met: the two public-domain portraits, and attacks made of them.

    python -m training.pad_portraits [--run FOLDER] [--weights FOLDER] [--captures 60]

Each portrait is seen by simulated cameras as it is, printed, and on a display; our detector finds the face. Prints, for
each kind, how many captures pass at every operating point of the exported card. Needs the extra `demo`.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from biometrics.card import ModelCard
from biometrics.types import FloatArray, Pixels
from evaluation.camera import PRESETS, photograph, print_attack, replay_attack
from liveness.pad import PadNetwork
from training.export_pad import NAME, RUN, WEIGHTS
from training.pad_faces import TorchNetwork, build_detector
from training.pad_network import PadArchitecture, PadMobileNet, PadScore
from training.pad_simulation import random_camera

PORTRAITS = (("skimage", "data/astronaut.png"), ("matplotlib", "mpl-data/sample_data/grace_hopper.jpg"))
KINDS = {"bona_fide": lambda scene, rng: scene, "print": print_attack, "replay": replay_attack}
SEED = 5


def portraits() -> Iterator[tuple[str, Pixels]]:
    """Yield the portraits that installed packages carry."""
    for package, path in PORTRAITS:
        spec = find_spec(package)
        if spec is None or spec.origin is None:
            raise SystemExit(f"This needs the package {package}: pip install 'dwarpal[demo]'.")
        with Image.open(Path(spec.origin).parent / path) as picture:
            yield Path(path).stem, np.asarray(picture.convert("RGB"))


def capture_scores(pad: PadNetwork, portrait: Pixels, kind: str, captures: int) -> FloatArray:
    """Return the scores of captures by the gates' cameras and by random ones in turn; 0 where no face is found."""
    detector = build_detector()
    rng = np.random.default_rng(SEED)
    cameras = list(PRESETS.values())
    scores = np.zeros(captures, np.float32)
    for index in range(captures):
        camera = cameras[index // 2 % len(cameras)] if index % 2 == 0 else random_camera(rng)
        picture = photograph(KINDS[kind](portrait, rng), camera, rng)
        faces = detector.detect(picture)
        if faces:
            scores[index] = pad.assess(picture, max(faces, key=lambda face: face.box.area)).score
    return scores


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, default=RUN)
    parser.add_argument("--weights", type=Path, default=WEIGHTS)
    parser.add_argument("--captures", type=int, default=60)
    options = parser.parse_args()
    state = torch.load(options.run / "checkpoint.pt", weights_only=True)
    network = PadMobileNet(PadArchitecture(**state["config"]["architecture"]))
    network.load_state_dict(state["average"])
    card = ModelCard.load(options.weights / f"{NAME}.json")
    pad = PadNetwork(TorchNetwork(PadScore(network)), card)
    for name, portrait in portraits():
        for kind in KINDS:
            scores = capture_scores(pad, portrait, kind, options.captures)
            passed = {f"BPCER {p.rate}": f"{int((scores >= p.threshold).sum())}" for p in card.operating_points}
            print(f"{name:14} {kind:10} of {options.captures} pass:", passed)


if __name__ == "__main__":
    main()
