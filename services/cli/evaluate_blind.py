"""`dwarpal evaluate blind`: whether gates that compare blindly decide as others do, and what it costs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from evaluation.protocol import FacePolicy, read_pairs
from services.cli.evaluate_quantization import FMR
from services.cli.measuring import Embedder, Face, Images, embed_images, settings_to_measure
from services.cli.options import AsJson
from services.cli.output import print_json, print_table, progress_bar, say


def blind(
    pairs_csv: Annotated[Path, typer.Argument(metavar="PAIRS.csv", help="As for `evaluate verification`.")],
    images: Images,
    pairs: Annotated[int, typer.Option(help="Compare so many pairs at most, evenly taken.", min=1)] = 1000,
    face: Face = FacePolicy.CENTER,
    embedder: Embedder = None,
    as_json: AsJson = False,
) -> None:
    """The same pairs compared in the clear and under homomorphic encryption: decisions, time and bytes."""
    from dataclasses import asdict

    from biometrics.comparison import threshold_at
    from infra.blind import demand_installed
    from infra.models import build_embedder
    from services.blind_comparison import compare_blindly

    demand_installed()
    listed = read_pairs(pairs_csv)
    chosen = [listed[number * len(listed) // pairs] for number in range(pairs)] if len(listed) > pairs else listed
    settings = settings_to_measure(embedder)
    network = build_embedder(settings, by_path=True)
    names = dict.fromkeys(name for pair in chosen for name in (pair.image_a, pair.image_b))
    acquired = embed_images(names, images, settings, network, aligned=False, face=face, what="photographs")
    with progress_bar("Comparing blindly") as tell:
        found = compare_blindly(chosen, acquired, threshold=threshold_at(network.card, FMR), progress=tell)
    if as_json:
        print_json(asdict(found))
        return
    print_table(
        ("step", "median ms", "bytes"),
        [
            ("encrypt a template, once", f"{found.encrypt_ms:.2f}", found.template_bytes),
            ("multiply by a probe, at the gate", f"{found.multiply_ms:.2f}", found.product_bytes),
            ("decrypt and decide, at the key holder", f"{found.decide_ms:.2f}", 1),
        ],
    )
    say(
        f"{found.pairs} pairs ({found.mated} mated): {found.other_than_whole} decided otherwise than the same whole "
        f"numbers in the clear, {found.other_than_floats} otherwise than floats, at the cosine {found.threshold:.4f}."
    )
