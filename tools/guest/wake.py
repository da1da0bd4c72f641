#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Run a command that boots a machine, and wake that whenever it has gone to sleep.

	wake.py COMMAND...

COMMAND finds one more argument of QEMU in QEMU_ARGS; its status is ours. No clock is
involved, so that a machine that takes long to go to sleep is not woken before.
"""
import json
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import threading
import time


def wake(path):
    """Connect to QEMU's monitor as soon as there is one, and wait for what it tells."""
    while not path.exists():
        time.sleep(0.1)
    with socket.socket(socket.AF_UNIX) as monitor:
        monitor.connect(str(path))
        lines = monitor.makefile("rw")

        def execute(command):
            lines.write(json.dumps({"execute": command}) + "\n")
            lines.flush()

        execute("qmp_capabilities")
        for line in lines:
            if json.loads(line).get("event") == "SUSPEND":
                execute("system_wakeup")


def main():
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "qmp")
        threading.Thread(target=wake, args=[path], daemon=True).start()
        arguments = f"{os.environ.get('QEMU_ARGS', '')} -qmp unix:{path},server=on,wait=off"
        return subprocess.run(sys.argv[1:], env=os.environ | {"QEMU_ARGS": arguments},
                              check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
