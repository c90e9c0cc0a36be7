"""`dwarpal explain`: what a network goes by, for an officer who must judge its answer."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from services.cli.outcome import CommandFailed, ExitCode
from services.cli.output import say, waiting

app = typer.Typer(no_args_is_help=True, help="See what a network goes by.")


@app.callback()
def root() -> None:
    """Keep `pad` a command of its own."""


@app.command()
def pad(
    image: Annotated[Path, typer.Argument(help="A photograph of a face at a gate.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write the drawing to this PNG file; else print a map.")
    ] = None,
) -> None:
    """Which parts of a capture speak for a living face, and which for a picture of one.

    Nothing is stored but the file that is asked for; it shows the face, so delete it when the question is settled.
    """
    import cv2

    from biometrics.capture import largest_face
    from biometrics.decoding import decode_image
    from infra.models import build_detector, build_pad
    from infra.settings import Settings
    from liveness.explain import drawing, explain, text_map

    if output is not None and output.suffix.lower() != ".png":
        raise CommandFailed("The drawing must be a .png file.")
    settings = Settings()
    try:
        content = image.read_bytes()
    except OSError:
        raise CommandFailed("The photograph cannot be read.") from None
    pixels = decode_image(content, max_bytes=settings.max_image_bytes, max_pixels=settings.max_image_pixels)
    with waiting("Covering part after part"):
        face = largest_face(build_detector(settings).detect(pixels))
        found = explain(build_pad(settings), pixels, face)
    say("PAD takes this for a living face." if found.bona_fide else "PAD takes this for a picture of a face.")
    if output is None:
        say("Each sign is a part of the face and what is around it:")
        say("+ speaks for a living face, - for a picture, . for neither.")
        for line in text_map(found):
            say(line)
        return
    written, encoded = cv2.imencode(".png", cv2.cvtColor(drawing(found), cv2.COLOR_RGB2BGR))
    try:
        output.write_bytes(encoded.tobytes())
        output.chmod(0o600)
    except OSError:
        written = False
    if not written:
        raise CommandFailed("The drawing cannot be written.", ExitCode.USAGE)
    say(f"{output}: green speaks for a living face, magenta for a picture.")
