"""`dwarpal models`: the networks of the package and of the site; bringing one's own (docs/models.md)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from services.cli.download_bar import download_bar
from services.cli.options import AsJson, DataDir, settings_for
from services.cli.outcome import CommandFailed, ExitCode
from services.cli.output import print_json, print_table, remark, say, waiting

if TYPE_CHECKING:
    from biometrics.card import ModelCard
    from infra.model_import import Imported, ImportRequest
    from infra.onnx_review import InputDeclaration

app = typer.Typer(no_args_is_help=True, help="The networks and their model cards; bring your own.")

Accept = Annotated[bool, typer.Option("--accept-licence", help="Confirm the licence without being asked.")]


@app.command("list")
def list_all(context: typer.Context, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """List the networks with their SHA-256, licence and operating points; the site's own after the package's."""
    from infra.models import list_cards, site_folder

    cards = [card for card, _ in list_cards(site_folder(settings_for(context, data_dir)))]
    if as_json:
        print_json([card.model_dump(mode="json") for card in cards])
    else:
        rows = [(c.name, c.task, f"{c.parameters:,}", c.sha256[:16], _points(c)) for c in cards]
        print_table(("name", "task", "parameters", "sha256", "operating points: rate at threshold"), rows)


def _points(card: ModelCard) -> str:
    return ", ".join(f"{p.rate:g} at {p.threshold:.3f}" for p in card.operating_points) or "none: to be calibrated"


@app.command()
def verify(context: typer.Context, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Check every network's file against the SHA-256 in its card."""
    from infra.models import site_folder, verify_all

    with waiting("Verifying the networks"):
        found = [
            {"name": card.name, "task": card.task, "sha256": card.sha256, "ok": not problem, "problem": problem or None}
            for card, problem in verify_all(site_folder(settings_for(context, data_dir)))
        ]
    ok = bool(found) and all(item["ok"] for item in found)
    if as_json:
        print_json({"ok": ok, "models": found})
    else:
        print_table(("name", "task", "ok", "problem"), [(f["name"], f["task"], f["ok"], f["problem"]) for f in found])
    raise typer.Exit(ExitCode.OK if ok else ExitCode.NEGATIVE)


@app.command("import")
def import_file(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", exists=True, dir_okay=False, help="ONNX or PyTorch file.")],
    name: Annotated[str, typer.Option(help="What DWARPAL_EMBEDDER will call it.")],
    licence: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="File with the text of its licence.")
    ] = None,
    licence_text: Annotated[str | None, typer.Option(help="The licence's text itself, in place of a file.")] = None,
    accept_licence: Accept = False,
    source: Annotated[str | None, typer.Option(help="Where it came from; without it, the file's name.")] = None,
    mean: Annotated[str | None, typer.Option(metavar="N|R,G,B", help="Subtracted from 0-255; 127.5 if absent.")] = None,
    std: Annotated[str | None, typer.Option(metavar="N|R,G,B", help="Divided by after that; 127.5 if absent.")] = None,
    bgr: Annotated[bool, typer.Option("--bgr", help="The network wants blue, green, red.")] = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Take in a network: InsightFace's iresnet18/34/50/100 as a state dict, or ArcFace-style ONNX, 112x112 to 512."""
    from infra.model_import import ImportRequest, read_network_file

    if (licence is None) == (licence_text is None):
        raise CommandFailed("Give the licence of the network: --licence FILE or --licence-text TEXT.")
    declared = _declared(mean, std, bgr)
    text = _read_licence(licence) if licence is not None else str(licence_text)
    request = ImportRequest(name, source or file.name, text, declared)
    _confirm(request, accept_licence)
    _finish(context, data_dir, as_json, read_network_file(file), request)


@app.command()
def pull(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="A network in the list.")],
    catalog: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="List of networks with URL and SHA-256, in place of our own."),
    ] = None,
    ca_file: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="Trust these certificate authorities and no others."),
    ] = None,
    accept_licence: Accept = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Fetch a network that a list pins by URL and SHA-256, over HTTPS, and take it in; goes on where it broke off."""
    from infra.model_import import ImportRequest
    from infra.model_pull import Catalog, discard, fetch
    from infra.model_store import check_name
    from infra.models import site_folder

    entry = Catalog.load(catalog).find(name)
    request = ImportRequest(entry.name, entry.url, entry.licence_text, entry.declared)
    site = site_folder(settings_for(context, data_dir))
    check_name(entry.name, site)
    _confirm(request, accept_licence)
    with download_bar(f"Fetching {entry.name}") as progress:
        content = fetch(entry, site, ca_file=ca_file, progress=progress)
    try:
        _finish(context, data_dir, as_json, content, request)
    finally:
        discard(entry, site)


@app.command()
def remove(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="A network that this site imported.")],
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Remove one of the site's own networks, but not the one that the settings name."""
    from infra.model_store import remove_network
    from infra.models import site_folder

    settings = settings_for(context, data_dir)
    remove_network(site_folder(settings), name, in_use=settings.embedder)
    if as_json:
        print_json({"name": name, "removed": True})
    else:
        say(f"{name} is removed.")


def _finish(
    context: typer.Context, data_dir: Path | None, as_json: bool, content: bytes, request: ImportRequest
) -> None:
    """Check, convert, try and store; then say what is still missing."""
    from infra.clock import SystemClock
    from infra.model_import import import_network
    from infra.models import site_folder

    settings = settings_for(context, data_dir)
    with waiting("Checking, converting and trying the network"):
        imported = import_network(content, request, site=site_folder(settings), now=SystemClock().now())
    _tell(imported, as_json)


def _tell(imported: Imported, as_json: bool) -> None:
    card = imported.card
    if as_json:
        print_json(card.model_dump(mode="json"))
    else:
        say(f"{card.name} is imported: {card.architecture}, {card.parameters:,} parameters.")
        say(f"sha256 {card.sha256}")
    for advice in imported.advice:
        remark(advice)
    remark(
        f"It is not calibrated, and no gate opens with it yet: set DWARPAL_EMBEDDER={card.name}, run `dwarpal "
        "calibrate` on this site's own faces, then serve. Who is enrolled with another network enrolls again."
    )


def _declared(mean: str | None, std: str | None, bgr: bool) -> InputDeclaration:
    from infra.onnx_review import InputDeclaration

    return InputDeclaration(
        _three(mean or "127.5", "--mean"), _three(std or "127.5", "--std"), bgr, explicit=bool(mean or std)
    )


def _three(text: str, option: str) -> tuple[float, float, float]:
    """Read one number for all channels, or three."""
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) == 1:
        numbers *= 3
    if len(numbers) != 3:
        raise CommandFailed(f"{option} takes one number, or three for red, green and blue.")
    return numbers[0], numbers[1], numbers[2]


def _read_licence(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise CommandFailed("The licence is no text in UTF-8.") from error


def _confirm(request: ImportRequest, accepted: bool) -> None:
    """Show the licence; without `--accept-licence` wait for a typed yes."""
    remark(f"Licence of {request.name}, from {request.source}:\n\n{request.licence_text.strip()}\n")
    if accepted:
        return
    answer: str = typer.prompt("Do you accept this licence for your use? Type yes", err=True, default="no")
    if answer.strip() != "yes":
        raise CommandFailed("The licence was not accepted, and nothing was imported.", ExitCode.NEGATIVE)
