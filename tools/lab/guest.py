#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Run a machine, and stop it if its guest makes no progress.

	guest.py SECONDS COMMAND...

COMMAND's output is passed through. COMMAND is stopped, with status 124, if it prints
nothing for SECONDS in which the guest could run, or if it runs ten times that long
(0: never). Otherwise the status is COMMAND's, as in a shell.

A second in which a thread of COMMAND waited for a CPU of this host does not count: on
a busy host everything takes longer, and no guest fails because of that.
"""
import glob
import os
import select
import signal
import subprocess
import sys
import time

TALKS_FOREVER = 10


def delays(pid):
    """How long each thread has waited for a CPU so far, in seconds"""
    waited = {}
    for path in glob.glob(f"/proc/{pid}/task/*/schedstat"):
        try:
            with open(path) as file:
                waited[path] = int(file.read().split()[1]) / 1e9
        except (OSError, IndexError, ValueError):
            pass    # the thread has ended, or this kernel does not count
    return waited


class Clock:
    """Goes on while the process gets the CPUs that it wants."""
    def __init__(self, pid):
        self.pid = pid
        self.seconds = 0
        self.then = time.monotonic()
        self.waited = delays(pid)

    def update(self):
        now = time.monotonic()
        if now - self.then < 0.1:
            return
        waited = delays(self.pid)
        lost = max((waited[t] - self.waited.get(t, 0) for t in waited), default=0)
        # a wait is counted when it is over, so that this can go back a little
        self.seconds += now - self.then - lost
        self.then = now
        self.waited = waited


def watch(machine, patience):
    """Pass its output through until it ends; False when it is given up"""
    clock = Clock(machine.pid)
    heard = 0
    pipes = [machine.stdout]
    while pipes or machine.poll() is None:
        readable = select.select(pipes, [], [], 1 if pipes else 0.1)[0]
        clock.update()
        if readable:
            data = os.read(machine.stdout.fileno(), 65536)
            if not data:
                pipes = []      # it is about to end, which may take for ever, too
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
            heard = clock.seconds
        elif patience and clock.seconds - heard > patience:
            return False
        if patience and clock.seconds > TALKS_FOREVER * patience:
            return False
    return True


def stop(machine):
    machine.terminate()
    try:
        machine.wait(10)
    except subprocess.TimeoutExpired:
        machine.kill()
        machine.wait()


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    machine = subprocess.Popen(sys.argv[2:], stdout=subprocess.PIPE)
    try:
        if not watch(machine, float(sys.argv[1])):
            return 124
        status = machine.wait()
        return status if status >= 0 else 128 - status
    except KeyboardInterrupt:
        return 130
    finally:
        if machine.poll() is None:
            stop(machine)


if __name__ == "__main__":
    sys.exit(main())
