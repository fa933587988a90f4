#!/bin/bash
# The command that FIRE starts in the chroot: start-fire-chistream.sh LOG [FOLDER]
# Raw data are kept only where a folder is given, such as /tmp/share/saved_data: /tmp/share is
# the folder that the chroot shares with the scanner's host.
export TMPDIR=/tmp/share
export PATH=/opt/chistream/bin:$PATH CHISTREAM_CACHE=/opt/chistream/cache
export NUMBA_CPU_NAME=x86-64-v3 NUMBA_CPU_FEATURES= PYTHONUNBUFFERED=1
if [ -n "${2:-}" ]; then keep=(--spool "$2"); else keep=(--no-spool); fi
/opt/chistream/bin/start serve --host 0.0.0.0 --port 9002 --public --log-crlf "${keep[@]}" >>"$1" 2>&1 &
