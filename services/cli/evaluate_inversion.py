"""`dwarpal evaluate inversion`: the faces that a thief makes of plain, rotated and sealed templates."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from evaluation.protocol import FacePolicy, read_pairs
from services.cli.measuring import Embedder, Face, Images, embed_images, settings_to_measure
from services.cli.options import AsJson
from services.cli.outcome import CommandFailed
from services.cli.output import print_json, print_table, say

if TYPE_CHECKING:
    from biometrics.ports import Network
    from evaluation.attack_success import Success
    from infra.settings import Settings
    from services.inversion import Decoders

ROTATION = "rotation.npy"
"""Beside a decoder of rotated templates: the rotation that it was trained under."""
DecoderFile = Annotated[Path, typer.Option(exists=True, dir_okay=False, help="What training.train_inversion wrote.")]


def inversion(
    pairs_csv: Annotated[Path, typer.Argument(metavar="PAIRS.csv", help="As for `evaluate verification`.")],
    images: Images,
    decoder: DecoderFile,
    rotated_decoder: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="One trained with --rotated; its rotation.npy lies beside it."),
    ] = None,
    picture: Annotated[Path | None, typer.Option(help="Also draw what becomes of two portraits to this .png.")] = None,
    face: Face = FacePolicy.CENTER,
    embedder: Embedder = None,
    as_json: AsJson = False,
) -> None:
    """How often a face made of a stolen template passes for its person at the gate's threshold."""
    if picture is not None and picture.suffix != ".png":
        raise CommandFailed("The picture's name must end in .png.")
    pairs = read_pairs(pairs_csv)

    from biometrics.comparison import threshold_at
    from infra.models import build_embedder
    from services.inversion import measure_inversion

    settings = settings_to_measure(embedder)
    network = build_embedder(settings, by_path=True)
    decoders = _decoders(settings, decoder, rotated_decoder)
    names = dict.fromkeys(name for pair in pairs if pair.same for name in (pair.image_a, pair.image_b))
    acquired = embed_images(names, images, settings, network, aligned=False, face=face, what="photographs")
    threshold = threshold_at(network.card, settings.fmr)
    report = measure_inversion(pairs, acquired, network, decoders, threshold=threshold)
    if picture is not None:
        from services.inversion_picture import draw_portraits

        draw_portraits(settings, network, decoders, picture)
    if as_json:
        print_json({"embedder": network.card.name, "fmr": settings.fmr, **report.as_json()})
        return
    print_table(
        ("stolen", "decoder", "type I", "type II"),
        [(row.stolen, row.decoder, _shown(row.type_1), _shown(row.type_2)) for row in report.rows],
    )
    say(f"Threshold {threshold:.3f} (FMR {settings.fmr:g}). Genuine photographs match: {_shown(report.genuine)}.")


def _decoders(settings: Settings, plain: Path, rotated: Path | None) -> Decoders:
    import numpy as np

    from infra.runtime import load_network
    from infra.settings import ExecutionProvider
    from services.inversion import Decoders

    def loaded(path: Path) -> Network:
        # On plain CPU: what is measured should not depend on which accelerator is at hand.
        return load_network(path.read_bytes(), provider=ExecutionProvider.CPU, threads=settings.inference_threads)

    if rotated is None:
        return Decoders(loaded(plain))
    try:
        rotation = np.load(rotated.with_name(ROTATION), allow_pickle=False)
    except (OSError, ValueError, EOFError):
        raise CommandFailed(f"Beside a decoder of rotated templates must lie its {ROTATION}.") from None
    return Decoders(loaded(plain), loaded(rotated), rotation)


def _shown(success: Success) -> str:
    return f"{success.rate:.1%} ({success.low:.1%} to {success.high:.1%}) of {success.trials}"
