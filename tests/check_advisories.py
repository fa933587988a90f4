"""Looks up known vulnerabilities of what the images are made of.

``python tests/check_advisories.py PIP_AUDIT LOCK...`` fails if there is any, and says so if the
advisories cannot be had, as on a machine without a way to the outside.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

SECONDS = 300


def main(pip_audit: str, *locks: str) -> int:
    """Check every lock; return the exit status."""
    return max(_check(pip_audit, Path(lock)) for lock in locks)


def _check(pip_audit: str, lock: Path) -> int:
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        command = [pip_audit, "--disable-pip", "--require-hashes", "--progress-spinner", "off"]
        try:
            done = subprocess.run(
                [*command, "-r", str(lock), "-f", "json", "-o", str(report)],
                capture_output=True,
                text=True,
                timeout=SECONDS,
                check=False,
            )
            words = (done.stderr.strip() or "no answer").splitlines()[-1]
        except subprocess.TimeoutExpired:
            words = f"no answer within {SECONDS} s"
        content = json.loads(report.read_text()) if report.exists() else None
    status, verdict = judge(content, words)
    sys.stdout.write(f"{lock}: {verdict}\n")
    return status


def judge(report: dict[str, Any] | None, words: str) -> tuple[int, str]:
    """Say what a report means.

    Parameters
    ----------
    report
        As pip-audit writes it; None if it wrote none.
    words
        The last that it said.

    Returns
    -------
    tuple
        Exit status and verdict. A package that nobody was asked about does not count as safe.
    """
    packages = [] if report is None else report["dependencies"]
    found = [
        f"{one['name']} {one['version']}: {vulnerability['id']}"
        f" (fixed in {', '.join(vulnerability['fix_versions']) or 'no version'})"
        for one in packages
        for vulnerability in one.get("vulns", [])
    ]
    if found:
        return 1, "\n".join(["vulnerable", *found])
    n_skipped = sum("skip_reason" in one for one in packages)
    if not packages or n_skipped == len(packages):
        reason = words if report is None else packages[0]["skip_reason"] if packages else words
        return 0, f"SKIPPED: the advisories cannot be had here ({reason})"
    if n_skipped:
        return (
            0,
            f"{len(packages) - n_skipped} packages without advisories, {n_skipped} NOT CHECKED",
        )
    return 0, f"{len(packages)} packages without advisories"


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
