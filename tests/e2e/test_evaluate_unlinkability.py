"""`dwarpal evaluate unlinkability` on rendered heads of the two portraits: everybody's figures, nobody's scores."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from biometrics.capture import only_face
from biometrics.types import Pixels
from evaluation.head_motion import Head, Pose
from services.bootstrap import Networks
from services.cli.main import app


@pytest.mark.privacy_row("unlinkable_templates")
def test_every_protection_is_measured_and_plain_templates_are_linkable(
    tmp_path: Path, astronaut: Pixels, grace_hopper: Pixels, networks: Networks
) -> None:
    names: dict[str, list[str]] = {}
    for person, portrait in (("Eileen", astronaut), ("Grace", grace_hopper)):
        head = Head.lifted(portrait, only_face(networks.detector.detect(portrait)).landmarks, eye=60)
        for number, yaw in enumerate(np.linspace(-15, 15, 12)):
            names.setdefault(person, []).append(f"{person}_{number:04}.png")
            Image.fromarray(head.turned(Pose(yaw=float(yaw)))).save(tmp_path / names[person][-1])
    first, second = names.values()
    pairs = [(a, b, 1) for person in (first, second) for a, b in pairwise(person)]
    pairs += [(a, b, 0) for a in first for b in second][::6]
    table = tmp_path / "pairs.csv"
    table.write_text("image_a,image_b,same\n" + "".join(f"{a},{b},{same}\n" for a, b, same in pairs))
    arguments = ["evaluate", "unlinkability", str(table), "--images", str(tmp_path), "--plot", str(tmp_path / "d.svg")]
    result = CliRunner().invoke(app, [*arguments, "--json"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    d_sys = {name: of["d_sys"] for name, of in found["protections"].items()}
    assert d_sys["plain"] > 0.9
    assert d_sys["one rotation for both"] > 0.9
    assert len(found["draws"]) == 20
    assert all("histogram" not in of for of in found["protections"].values())
    assert (tmp_path / "d.svg").stat().st_size > 1000
    spoken = CliRunner().invoke(app, arguments)
    assert "sealed" in spoken.stdout
    assert CliRunner().invoke(app, [*arguments[:-1], str(tmp_path / "d.exe")]).exit_code == 2
