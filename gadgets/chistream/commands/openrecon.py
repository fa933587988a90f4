"""The command for Siemens' OpenRecon: openrecon."""

from pathlib import Path
from typing import Annotated

import typer

import chistream
from chistream.commands.shared import AsJson
from chistream.terminal import show


def openrecon(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder to write.")],
    image: Annotated[
        Path | None,
        typer.Option(help="Container image from docker save: makes the zip for the scanner."),
    ] = None,
    vendor: Annotated[str, typer.Option(help="Who offers it.")] = "ChiStream",
    name: Annotated[str, typer.Option(help="What the console shows.")] = "ChiStream",
    version: Annotated[str, typer.Option(help="As 1.2.3.")] = chistream.__version__,
    as_json: AsJson = False,
) -> None:
    """Write the label, the manual and, given an image, the package for OpenRecon (schema 1.1.0)."""
    from chistream.openrecon import LABEL_KEY, Product, write_package

    product = Product(vendor, name, version)
    written = write_package(folder, product, image=image)
    result = {
        "files": [str(path) for path in written],
        "tag": product.tag,
        "label": LABEL_KEY,
        "name": product.base_name,
    }
    show(result, "\n".join([*result["files"], f"image tag: {product.tag}"]), as_json=as_json)
