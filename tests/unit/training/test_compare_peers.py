"""The peers run as their own packages run them; where those are not installed, these tests say so."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from biometrics.errors import UnusableFace
from biometrics.types import Box
from training.compare_peers import NOT_INSTALLED, dlib_like

ROOT = Path(__file__).resolve().parents[3]
WITHOUT_DLIB = """
import runpy, sys
sys.modules["dlib"] = None
sys.argv = ["compare_peers", *sys.argv[1:]]
runpy.run_module("training.compare_peers", run_name="__main__")
"""


@pytest.fixture(scope="module")
def peer_dlib():
    pytest.importorskip("dlib", reason="the extra `peers` is not installed: dlib is missing")
    pytest.importorskip("training.peer_dlib")
    from training import peer_dlib

    try:
        peer_dlib.weights_folder()
    except ModuleNotFoundError:
        pytest.skip("the extra `peers` is not installed: face_recognition_models is missing")
    return peer_dlib


@pytest.fixture(scope="module")
def recognizer(peer_dlib):
    return peer_dlib.DlibRecognizer(peer_dlib.weights_folder())


def test_dlib_embeds_as_face_recognition_does(peer_dlib, recognizer, astronaut):
    import dlib

    folder = peer_dlib.weights_folder()
    box = max(dlib.get_frontal_face_detector()(astronaut, 1), key=lambda each: each.area())
    shape = dlib.shape_predictor(str(folder / peer_dlib.LANDMARKS))(astronaut, box)
    theirs = dlib.face_recognition_model_v1(str(folder / peer_dlib.MODEL)).compute_face_descriptor(astronaut, shape, 1)
    found = Box(box.left(), box.top(), box.width(), box.height())
    led = peer_dlib.DlibRecognizer(folder, lambda image: [found])
    ours = led.descriptor(led.find(astronaut))
    np.testing.assert_allclose(ours, np.array(theirs), atol=1e-5)


def test_dlib_tells_two_people_apart(recognizer, astronaut, grace_hopper):
    smaller = np.asarray(Image.fromarray(astronaut).resize((384, 384)))
    one, same, other = (recognizer.embed(recognizer.find(image)) for image in (astronaut, smaller, grace_hopper))
    assert one @ same > one @ other
    with pytest.raises(UnusableFace):
        recognizer.find(np.zeros_like(astronaut))


def test_dlib_takes_the_boxes_of_another_detector(peer_dlib, recognizer, astronaut):
    led = peer_dlib.DlibRecognizer(peer_dlib.weights_folder(), recognizer._own_boxes)
    np.testing.assert_array_equal(led.find(astronaut), recognizer.find(astronaut))


def test_dlib_is_described_by_its_file(peer_dlib):
    peer = peer_dlib.describe("dlib", peer_dlib.weights_folder(), "a note")
    assert peer.size == 128
    assert 5e6 < peer.parameters < 6e6
    assert "dlib" in peer.runtime
    assert peer.notes[-1] == "a note"


def test_our_box_becomes_dlibs_square():
    square = dlib_like(Box(10, 20, 75, 100))
    assert square.width == square.height == 86
    assert square.center == pytest.approx((47.5, 74.8))


def run(peer, folder, program=("-m", "training.compare_peers"), *more):
    arguments = [peer, str(folder / "out.json"), "--pairs", str(folder / "pairs.csv"), "--images", str(folder)]
    return subprocess.run(
        [sys.executable, *program, *arguments, *more], cwd=ROOT, capture_output=True, text=True, timeout=200
    )


@pytest.fixture
def portraits(tmp_path, astronaut, grace_hopper):
    for name, image in (("Collins_0001", astronaut), ("Collins_0002", astronaut[:360, 60:420])):
        Image.fromarray(image).save(tmp_path / f"{name}.jpg", quality=92)
    Image.fromarray(grace_hopper).save(tmp_path / "Hopper_0001.jpg", quality=92)
    rows = ["image_a,image_b,same", "Collins_0001.jpg,Collins_0002.jpg,1", "Collins_0001.jpg,Hopper_0001.jpg,0"]
    (tmp_path / "pairs.csv").write_text("\n".join(rows))
    return tmp_path


def test_a_peer_that_is_not_installed_is_named(portraits):
    done = run("dlib", portraits, ("-c", WITHOUT_DLIB))
    assert done.returncode == NOT_INSTALLED, done.stderr
    assert "dlib is not installed (pip install 'dwarpal[peers]')" in done.stderr
    assert not (portraits / "out.json").exists()


def test_facenet_is_timed_and_says_that_it_knows_nothing(portraits):
    done = run("facenet", portraits)
    assert done.returncode == 0, done.stderr
    written = (portraits / "out.json").read_text()
    assert '"verification": null' in written
    assert "random weights: speed only" in written


FACENET = """
import sys
import numpy as np, torch
from pathlib import Path
from PIL import Image
from training.peer_facenet import FacenetRecognizer
photograph = Image.open(sys.argv[1]).convert("RGB")
weights = Path(sys.argv[2])
first = FacenetRecognizer(None)
from facenet_pytorch.models.utils import detect_face
detect_face.F.to_tensor = lambda pixels: torch.from_numpy(pixels.transpose(2, 0, 1))
boxes, _ = first._detector.detect(photograph)
theirs = (detect_face.extract_face(photograph, boxes[0], 160).numpy() - 127.5) / 128
ours = first.find(np.asarray(photograph))
assert np.array_equal(ours, theirs), "another crop than the package's own"
state = first.network.state_dict() | {"logits.weight": torch.zeros(3, 512), "logits.bias": torch.zeros(3)}
torch.save(state, weights)
second = FacenetRecognizer(weights)
assert np.allclose(first.embed(ours), second.embed(ours), atol=1e-6)
assert abs(np.linalg.norm(first.embed(ours)) - 1) < 1e-5
"""


def test_facenet_cuts_faces_as_its_package_does_and_takes_its_weights(portraits):
    # In a process of its own, since facenet-pytorch is imported with a stand-in for torchvision.
    arguments = [str(portraits / "Collins_0001.jpg"), str(portraits / "weights.pt")]
    done = subprocess.run(
        [sys.executable, "-c", FACENET, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stderr
