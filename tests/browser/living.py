"""A camera before which somebody lives: they do what the gate's screen asks, in their own time.

Chromium's fake camera plays films, which cannot follow random instructions. Here the page's camera is a canvas that
asks this process for one picture after the other, and says which movement the screen shows at that moment.
"""

from __future__ import annotations

import base64
from time import monotonic

import cv2
import numpy as np
from playwright.sync_api import BrowserContext

from biometrics.types import Pixels
from evaluation.acting import Actor, Manner
from evaluation.camera import CameraSettings, photograph_jpeg
from evaluation.head_motion import Head
from liveness.challenge import Step
from tests.browser.films import HEIGHT, WIDTH

CAMERA = f"""
navigator.mediaDevices.getUserMedia = async () => {{
  const canvas = Object.assign(document.createElement("canvas"), {{ width: {WIDTH}, height: {HEIGHT} }});
  const brush = canvas.getContext("2d");
  const picture = new Image();
  const asked = () => (document.querySelector("#challenge:not([hidden]) #prompt")?.dataset.step ?? null);
  const film = async () => {{
    for (;;) {{
      picture.src = "data:image/jpeg;base64," + await window.lookAtMe(asked());
      await picture.decode();
      brush.drawImage(picture, 0, 0);
    }}
  }};
  film();
  return canvas.captureStream();
}};
"""
"""The page's policy allows no picture from `data:`: contexts must be made with `bypass_csp`."""


class Living:
    """Somebody, made from a photograph, who follows the screen; seeded but for what the service draws."""

    def __init__(self, head: Head, *, seed: int = 7) -> None:
        rng = np.random.default_rng(seed)
        self._head, self._rng = head, rng
        self._actor = Actor(rng, Manner())
        self._camera = CameraSettings(gain=1.0, shot_noise=0.008, jpeg_quality=92)
        self._asked: str | None = None
        self._start = monotonic()

    def stand_before(self, context: BrowserContext) -> None:
        """Become what the context's camera sees."""
        context.expose_function("lookAtMe", self.picture)
        context.add_init_script(CAMERA)

    def picture(self, asked: str | None) -> str:
        """Return the next picture, as base64 of a JPEG, and react to what the screen asks."""
        now = monotonic() - self._start
        if asked is not None and asked != self._asked:
            self._actor.told(Step(asked), now)
        elif asked is not None:
            self._actor.still_told(Step(asked), now)
        elif self._asked is not None:  # it is over
            self._actor.told(Step.FACE_CAMERA, now)
        self._asked = asked
        return base64.b64encode(photograph_jpeg(self._scene(now), self._camera, self._rng)).decode()

    def _scene(self, now: float) -> Pixels:
        turned = self._head.turned(self._actor.pose(now))
        scale = HEIGHT / self._head.side
        place = np.array([[scale, 0, (WIDTH - HEIGHT) / 2], [0, scale, 0]])
        scene = cv2.warpAffine(turned, place, (WIDTH, HEIGHT), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        return np.asarray(scene, np.uint8)
