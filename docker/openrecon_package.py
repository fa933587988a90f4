#!/usr/bin/env python3
"""Label the OpenRecon image, save it, and zip it with its manual, named as the scanner wants them.

    docker build -f docker/Dockerfile --target openrecon -t chistream-openrecon .
    docker/openrecon_package.py LABEL.json MANUAL.pdf OUT_FOLDER

Vendor, name and version come from the label. Docker from 25 on saves another image format than
the scanner reads; --tool podman does not.
"""

import argparse
import base64
import json
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

LABEL = "com.siemens-healthineers.magneticresonance.openrecon.metadata:1.1.0"


@dataclass(frozen=True)
class Names:
    """What the image and the files of the package are called."""

    tag: str
    package: str

    @classmethod
    def of(cls, label: dict[str, dict[str, object]]) -> "Names":
        """Take them from the label: OpenRecon_vendor_name_Vversion."""
        general = label["general"]
        title = general["name"]
        name = title["en"] if isinstance(title, dict) else title
        vendor, name = (
            re.sub(r"[^A-Za-z0-9]", "", str(part)) for part in (general["vendor"], name)
        )
        version = str(general["version"])
        return cls(
            f"openrecon_{vendor}_{name}:v{version}".lower(),
            f"OpenRecon_{vendor}_{name}_V{version}",
        )


def package(label: Path, manual: Path, folder: Path, *, image: str, tool: str) -> Path:
    """Write the package and return its path.

    Parameters
    ----------
    label
        Metadata of the algorithm as JSON, which `chistream openrecon` writes.
    manual
        The PDF that the scanner shows.
    folder
        Where to write the package.
    image
        Name of the image for OpenRecon, without its label.
    tool
        ``docker`` or ``podman``.
    """
    words = json.loads(label.read_text())
    names = Names.of(words)
    encoded = base64.b64encode(json.dumps(words).encode()).decode()
    as_docker, as_archive = [], []
    if tool == "podman":
        as_docker = ["--format=docker", "--pull=never"]
        as_archive = ["--format=docker-archive"]
    subprocess.run(  # noqa: S603
        [tool, "build", *as_docker, f"--tag={names.tag}", "-"],
        input=f'FROM {image}\nLABEL "{LABEL}"="{encoded}"\n',
        text=True,
        check=True,
        stdout=sys.stderr,
    )
    folder.mkdir(parents=True, exist_ok=True)
    archive, packed = folder / f"{names.package}.tar", folder / f"{names.package}.zip"
    archive.unlink(missing_ok=True)
    subprocess.run([tool, "save", *as_archive, "-o", archive, names.tag], check=True)  # noqa: S603
    try:
        with ZipFile(packed, "w", ZIP_DEFLATED) as file:
            file.write(archive, archive.name)
            file.write(manual, f"{names.package}.pdf")
    finally:
        archive.unlink()
    return packed


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("label", type=Path)
    parser.add_argument("manual", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--image", default="chistream-openrecon")
    parser.add_argument("--tool", choices=["docker", "podman"], default="docker")
    asked = parser.parse_args()
    written = package(asked.label, asked.manual, asked.folder, image=asked.image, tool=asked.tool)
    sys.stdout.write(f"{written}\n")


if __name__ == "__main__":
    main()
