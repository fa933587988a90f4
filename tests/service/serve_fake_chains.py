"""A program that embeds the service; its arguments: a file to announce in, options as JSON."""

import json
import os
import resource
import signal
import sys
from pathlib import Path

from chistream.service.limits import SessionLimits, SpoolOptions
from chistream.service.options import ServerOptions
from chistream.service.server import serve


def main(ready_file: str, options: str) -> None:
    values = json.loads(options)
    if max_files := values.pop("max_files", None):
        resource.setrlimit(resource.RLIMIT_NOFILE, (max_files, max_files))
    if max_bytes := values.pop("max_file_bytes", None):
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (max_bytes, max_bytes))
    if values.pop("patient", False):
        os.environ["FAKE_PATIENT"] = "1"
    sys.path.extend(values.pop("paths", []))
    limits = SessionLimits.from_dict(values.pop("limits", {}))
    if spool := values.pop("spool", None):
        values["spool"] = SpoolOptions(Path(spool.pop("folder")), **spool)
    values.setdefault("chain_module", "fake_chains")
    serve(ServerOptions(port=0, ready_file=Path(ready_file), limits=limits, **values))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
