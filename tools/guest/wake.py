#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Run a command that boots a machine, and wake the machine whenever it suspends.

	wake.py COMMAND...

QEMU_ARGS gets one more argument for QEMU; the exit status is that of COMMAND. The machine
is woken after QEMU's SUSPEND event, not by a clock, so a slow machine is not woken early.
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
    """Connect to QEMU's monitor as soon as it exists, and wake the machine on SUSPEND."""
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
