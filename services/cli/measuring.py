"""What the commands that measure share: their options, their images under the service's limits, their embedder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from evaluation.protocol import FacePolicy

if TYPE_CHECKING:
    from collections.abc import Iterable

    from evaluation.acquisition import Acquired, BatchEmbedder, LoadImage
    from evaluation.identification import Labelled
    from evaluation.images import ImageSource
    from infra.settings import Settings

Images = Annotated[Path, typer.Option("--images", help="Folder or zip file in which the CSV's image paths lie.")]
Embedder = Annotated[
    str | None,
    typer.Option("--embedder", help="Name of a model card, or the path of one (.json); else that of DWARPAL_EMBEDDER."),
]
Face = Annotated[FacePolicy, typer.Option("--face", help="Which face of a photograph is the subject's.")]
Aligned = Annotated[
    bool,
    typer.Option("--aligned", help="The images are aligned 112 x 112 faces: no detector, straight to the embedder."),
]


def settings_to_measure(embedder: str | None, *, farthest_face_pixels: int | None = None) -> Settings:
    """Return the site's settings, with another embedder and another smallest face if they are named."""
    from infra.settings import Settings

    chosen = {"embedder": embedder, "farthest_face_pixels": farthest_face_pixels}
    return Settings().model_copy(update={name: value for name, value in chosen.items() if value is not None})


def image_loader(source: ImageSource, settings: Settings) -> LoadImage:
    """Return what reads an image under the same limits as the service."""
    from biometrics.decoding import decode_image

    max_bytes, max_pixels = settings.max_image_bytes, settings.max_image_pixels
    return lambda name: decode_image(source.read(name, max_bytes), max_bytes=max_bytes, max_pixels=max_pixels)


def embed_images(
    names: Iterable[str],
    images: Path,
    settings: Settings,
    embedder: BatchEmbedder,
    *,
    aligned: bool,
    face: FacePolicy,
    what: str,
) -> Acquired:
    """Embed images of a folder or zip file, aligned ones or through the detector, and show how far it is."""
    from evaluation.acquisition import acquire_aligned, acquire_all, only_aligned
    from evaluation.images import open_images
    from infra.models import build_detector
    from services.cli.output import progress_bar

    with open_images(images) as source, progress_bar(what) as progress:
        load = image_loader(source, settings)
        if aligned:
            return acquire_aligned(names, only_aligned(load), embedder=embedder, progress=progress)
        detector = build_detector(settings)
        return acquire_all(names, load, detector=detector, embedder=embedder, face=face, progress=progress)


def embed_strangers(path: Path, settings: Settings, embedder: BatchEmbedder) -> Labelled:
    """Embed a set of aligned faces that brings its own index."""
    from evaluation.identification import labelled
    from evaluation.images import index_in, open_images

    with open_images(path) as source:
        index = index_in(source)
    names = [entry.path for entry in index]
    what = f"distractors, {path.name}"
    acquired = embed_images(names, path, settings, embedder, aligned=True, face=FacePolicy.CENTER, what=what)
    return labelled(index, acquired, of=str(path))
