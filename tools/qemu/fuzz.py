#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Fuzz QEMU's intel-iommu and vtd-testdev as a hostile guest, by qtest.

	fuzz.py QEMU SEED COUNT

For COUNT seeds from SEED on, a machine with random properties is started, and by the
qtest protocol random values are written to its tables, queues, registers and devices.
There is no model of what has to happen: QEMU must not end, nor take for ever, nor grow.
KTAP has a result for each seed; for a failure QEMU's arguments and the last accesses
are printed. The same seed makes the same accesses.
"""
import collections
import os
import random
import resource
import select
import subprocess
import sys
import time

CPU_LIMIT = 60          # seconds of CPU time, for one access
TIME_LIMIT = 1200       # and by the clock
# Bytes. Views of memory seem to be freed late, by RCU, which was not proved: 2 MiB each
# time that translation is switched on.
MEMORY_LIMIT = 4 << 30
STEPS = 3000            # for a seed
BATCH = 64              # accesses that QEMU is given at once

IOMMU = 0xfed90000
ECAM = 0xb0000000
BARS = 0xe0000000
FRAMES = 24             # of tables, all of which refer to each other
TABLES = 0x100000
ROOT, CONTEXT, DIRECTORY, PASIDS, FIRST_LEVEL, SECOND_LEVEL = (
    TABLES + 0x1000 * i for i in (0, 1, 2, 3, 4, 9))
QUEUE, REQUESTS, LIST = 0x200000, 0x210000, 0x220000
# Not RAM: ROM, the IOMMU, interrupts, BARs, configuration space, nothing
ELSEWHERE = [0xc0000, 0xf0000, IOMMU, 0xfee00000, BARS, BARS + 0x1000, ECAM | 4 << 15,
             1 << 40, 0xffffffffff000, 0, 0x4000000]

SLOTS = (4, 5)          # those of vtd-testdev
FUNCTIONS = [slot << 3 | function for slot in SLOTS for function in (0, 1, 2)]
ATS, PASID, PRI, SRIOV = 0x100, 0x110, 0x120, 0x140

REGISTERS = [0x00, 0x08, 0x10, 0x18, 0x1c, 0x20, 0x28, 0x34, 0x38, 0x3c, 0x40, 0x44,
             0x58, 0x64, 0x68, 0x80, 0x88, 0x90, 0x9c, 0xa0, 0xa4, 0xa8, 0xac, 0xb0,
             0xb8, 0xc0, 0xc8, 0xd0, 0xdc, 0xe0, 0xe4, 0xe8, 0xec, 0x100, 0x110,
             0x180, 0x220, 0x228]
TE, SRTP, QIE = 1 << 31, 1 << 30, 1 << 26
GCMD, RTADDR, FSTS, IQH, IQT, IQA, PQH, PQT, PQA = (
    0x18, 0x20, 0x34, 0x80, 0x88, 0x90, 0xc0, 0xc8, 0xd0)


class Dead(Exception):
    """QEMU no longer answers"""


class Machine:
    """QEMU with random properties, controlled by the qtest protocol"""
    def __init__(self, qemu, rng):
        self.arguments = [qemu] + arguments(rng)
        self.log = collections.deque(maxlen=BATCH)
        self.posted = []
        self.answers = b""
        self.process = subprocess.Popen(
            self.arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, bufsize=0,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CORE, (0, 0)))

    def cpu_seconds(self):
        with open(f"/proc/{self.process.pid}/stat") as file:
            words = file.read().rsplit(")", 1)[1].split()
        return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")

    def check_memory(self):
        with open(f"/proc/{self.process.pid}/statm") as file:
            size = int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        if size > MEMORY_LIMIT:
            raise Dead(f"has grown to {size >> 20} MiB")

    def wait(self):
        """Read from QEMU, which may take long, but not for ever."""
        start, cpu = time.monotonic(), self.cpu_seconds()
        while not select.select([self.process.stdout], [], [], 1)[0]:
            if (self.cpu_seconds() - cpu > CPU_LIMIT or
                    time.monotonic() - start > TIME_LIMIT):
                raise Dead("hangs")
        data = os.read(self.process.stdout.fileno(), 65536)
        if not data:
            raise Dead("has ended")
        self.answers += data

    def post(self, words):
        """Queue a qtest command; it is sent with the next batch"""
        self.posted.append(words)
        if len(self.posted) == BATCH:
            self.flush()

    def flush(self):
        """Wait for all that has been posted; the answer to the last"""
        self.log.extend(self.posted)
        try:
            self.process.stdin.write("".join(w + "\n" for w in self.posted).encode())
        except BrokenPipeError:
            raise Dead("has ended") from None
        while self.posted:
            while b"\n" not in self.answers:
                self.wait()
            line, self.answers = self.answers.split(b"\n", 1)
            if line.startswith((b"OK", b"FAIL")):
                self.posted.pop()
        return line.decode().split()

    def write(self, size, address, value):
        self.post(f"write{size} {address:#x} {value:#x}")

    def read(self, size, address):
        self.posted.append(f"read{size} {address:#x}")
        return int(self.flush()[1], 0)

    def stop(self):
        self.process.kill()
        self.process.communicate()

    def autopsy(self):
        """Its status, if it has ended by itself, and what it has said"""
        try:
            status = self.process.wait(5)
        except subprocess.TimeoutExpired:
            status = None
            self.process.kill()
        return status, self.process.stderr.read().decode(errors="replace")


def arguments(rng):
    """QEMU's: a machine with vtd-testdev in two slots"""
    chosen = {name for name in ("x-flts", "x-slts", "x-nest", "x-ssads", "x-pri",
                                "x-smpwc") if rng.random() < 0.85}
    if not {"x-flts", "x-slts"} <= chosen:
        chosen.discard("x-nest")
    if rng.random() < 0.6:
        chosen.add("x-strict")
    if rng.random() < 0.2:
        chosen.add("caching-mode")
    if rng.random() < 0.5:
        chosen |= {"intremap", "eim"}
    iommu = ["intel-iommu", "device-iotlb=on", "dma-drain=on"]
    if rng.random() < 0.85:
        iommu += ["x-scalable-mode=on", "x-pasid-mode=on",
                  f"x-pasid-bits={rng.choice([6, 8, 20])}"]
    else:
        chosen &= {"caching-mode", "intremap", "eim"}
    iommu += [name + "=on" for name in sorted(chosen)]
    if rng.random() < 0.5:
        iommu += [f"x-inv-latency-ns={rng.choice([0, 1000, 100000])}",
                  f"x-inv-further-ns={rng.choice([0, 500])}",
                  f"x-inv-device-ns={rng.choice([0, 1000])}",
                  f"x-inv-timeout-ns={rng.choice([1000, 100000000])}"]
    if rng.random() < 0.2:
        iommu.append("aw-bits=48")
    device = "vtd-testdev,addr=" + rng.choice(
        ["4", "4,vfs=2", "4,vfs=2", "4,pasid-bits=0", "4,pri=off", "4,tlb-size=3"])
    return ["-M", "q35,accel=qtest", "-nodefaults", "-display", "none", "-m", "64M",
            "-device", ",".join(iommu), "-device", device,
            "-device", "vtd-testdev,addr=5", "-qtest", "stdio", "-qtest-log", "none"]


class Guest:
    """Performs random accesses"""
    def __init__(self, machine, rng):
        self.m = machine
        self.rng = rng
        self.tail = 0
        self.wide = False       # descriptors of 256 bits

    # Random values

    def bits(self, n):
        return self.rng.getrandbits(n)

    def frame(self):
        if self.rng.random() < 0.9:
            return TABLES + 0x1000 * self.rng.randrange(FRAMES)
        return self.rng.choice(ELSEWHERE)

    def table_entry(self):
        low = self.rng.choice([1, 3, 7, 0x63, 0xe7, 0x83, 0x103, 0xfff, self.bits(12)])
        high = self.rng.choice([0, 0, 0, 1 << 63, self.bits(12) << 52])
        return self.frame() | low | high

    def bar(self):
        """Of a function that may be there"""
        slot, function = self.rng.choice(SLOTS), self.rng.choice([0, 0, 0, 1, 2])
        return BARS + (slot << 20) + (function << 16)

    # The machine as a driver would have it, more or less

    def config(self, devfn, offset):
        return ECAM + (devfn << 12) + offset

    def set_up_functions(self):
        self.m.post("outl 0xcf8 0x80000060")
        self.m.post(f"outl 0xcfc {ECAM | 1:#x}")
        for slot in SLOTS:
            self.set_up_function(slot)

    def set_up_function(self, slot):
        bar = BARS + (slot << 20)
        for size, offset, value in (
                ("l", 0x10, bar), ("l", 0x18, bar + 0x80000), ("w", 4, 6),
                ("w", ATS + 6, 0x8000), ("w", PASID + 6, 7), ("l", PRI + 0xc, 64),
                ("w", PRI + 4, 1), ("l", SRIOV + 0x24, bar + 0x10000),
                ("l", SRIOV + 0x2c, bar + 0x90000), ("w", SRIOV + 0x10, 2),
                ("w", SRIOV + 8, 0x19)):
            self.m.write(size, self.config(slot << 3, offset), value)
        for function in (1, 2):
            self.m.write("w", self.config(slot << 3 | function, 4), 6)
            self.m.write("w", self.config(slot << 3 | function, ATS + 6), 0x8000)

    def set_up_tables(self):
        write, rng = self.m.write, self.rng
        self.m.post(f"memset {TABLES:#x} {0x1000 * FRAMES:#x} 0x0")
        write("q", ROOT, CONTEXT | 1)
        write("q", ROOT + 8, CONTEXT | 1)
        for devfn in FUNCTIONS:
            at = CONTEXT + devfn * 32
            write("q", at, DIRECTORY | 1 | rng.choice([4, 6, 0x1c, 0x1c | self.bits(3) << 9]))
            write("q", at + 8, rng.choice([0, 2, self.bits(20)]))
            at = CONTEXT + devfn * 16       # of legacy mode, in the same frame
            if rng.random() < 0.2:
                write("q", at, SECOND_LEVEL | 1 | rng.choice([0, 4, 8]))
                write("q", at + 8, rng.choice([2, 1]) | rng.choice([1, 2]) << 8)
        write("q", DIRECTORY, PASIDS | 1 | rng.choice([0, 2]))
        write("q", DIRECTORY + 8, PASIDS | 1)
        for at in range(PASIDS, PASIDS + 16 * 64, 64):
            kind = rng.choice([1, 2, 3, 4, 3, 3, self.bits(3)])
            write("q", at, SECOND_LEVEL | 1 | kind << 6 | rng.choice([1, 2, 3]) << 2 |
                  rng.choice([0, 0, 1 << 9, 2]))
            write("q", at + 8, rng.choice([1, 2, self.bits(16)]) |
                  rng.choice([0, 1 << 31, self.bits(9) << 23]))
            write("q", at + 16, FIRST_LEVEL | rng.choice([0, 1, 16, 128, self.bits(12)]))
        for i in range(4, FRAMES):
            following = TABLES + 0x1000 * min(i + 1, FRAMES - 1)
            for _ in range(rng.randrange(1, 40)):
                index = rng.choice([0, 1, 2, 3, 511, 256, self.bits(9)])
                write("q", TABLES + 0x1000 * i + 8 * index,
                      self.table_entry() if rng.random() < 0.4 else
                      following | rng.choice([3, 7, 0x83, 0x67]))

    def set_up_iommu(self, anew=False):
        write, rng = self.m.write, self.rng
        if anew:
            write("q", IOMMU + IQA, QUEUE | rng.choice([0, 0, 0x801]))
            write("q", IOMMU + IQT, 0)
            self.tail = 0
        self.wide = self.m.read("q", IOMMU + IQA) >> 11 & 1
        write("q", IOMMU + PQA, REQUESTS)
        write("q", IOMMU + RTADDR, ROOT | rng.choice([1 << 10] * 7 + [0]))
        write("l", IOMMU + GCMD, QIE | SRTP | TE)

    # What it does

    def write_table(self):
        if self.rng.random() < 0.7:
            self.m.write("q", TABLES + 8 * self.rng.randrange(512 * FRAMES),
                         self.table_entry())
        else:
            self.m.write("q", PASIDS + self.rng.randrange(16) * 64 + self.bits(2) * 8,
                         self.rng.choice([self.bits(64), self.frame() | self.bits(12)]))

    def descriptor(self):
        rng = self.rng
        kind = rng.choice([1, 2, 3, 4, 5, 5, 6, 7, 8, 9, 9, self.bits(7)])
        if kind == 5:
            return (5 | rng.choice([0x10, 0x20, 0x30, 0x70, 0xf0]) | self.bits(32) << 32,
                    rng.choice([self.frame(), LIST]))
        if kind == 9 and rng.random() < 0.8:
            # to a group that a device chooses, too
            group = rng.choice([self.bits(9), 448 + self.bits(2)])
            return (9 | 1 << 4 | rng.choice(FUNCTIONS) << 16 | self.bits(4) << 32 |
                    rng.choice([0, 0, 1, 15]) << 12, group << 3)
        low = (kind & 15 | (kind >> 4) << 9 | self.bits(2) << 4 |
               rng.choice([0, 1, 2, rng.choice(FUNCTIONS), self.bits(16)]) << 16 |
               rng.choice([0, self.bits(4), rng.choice(FUNCTIONS), self.bits(32)]) << 32)
        return low, rng.choice([0, self.frame() | self.bits(7), 0x7ffffffff800 | self.bits(1),
                                self.bits(64)])

    def invalidate(self):
        size = 32 if self.wide else 16
        for _ in range(self.rng.choice([1, 1, 2, 5, 40])):
            low, high = self.descriptor()
            self.m.write("q", QUEUE + self.tail * size, low)
            self.m.write("q", QUEUE + self.tail * size + 8, high)
            self.tail = (self.tail + 1) % (4096 // size)
        self.m.write("q", IOMMU + IQT, self.tail * size)
        if self.rng.random() < 0.5 and self.m.read("l", IOMMU + FSTS) & 0x70:
            head = self.m.read("q", IOMMU + IQH)
            self.m.write("q", QUEUE + head, 5 | 0x40)
            self.m.write("l", IOMMU + FSTS, 0x70)

    def write_register(self):
        offset = self.rng.choice(REGISTERS)
        value = self.rng.choice([0, self.bits(64), self.frame(), 0xffffffff])
        if self.rng.random() < 0.5:
            self.m.write("l", IOMMU + offset, value & 0xffffffff)
        else:
            self.m.write("q", IOMMU + (offset & ~7), value)
        if self.rng.random() < 0.7:
            self.set_up_iommu(self.rng.random() < 0.1)

    def read_register(self):
        self.m.read(self.rng.choice("lq"), IOMMU + (self.rng.choice(REGISTERS) & ~7))

    def device_command(self):
        """16 words"""
        rng = self.rng
        op = rng.choice([0, 1, 2, 3, 4, self.bits(8)]) | rng.choice([0, self.bits(12) << 8])
        for bit in (8, 11, 18):             # PASID, ATS, immediate
            op |= (rng.random() < 0.4) << bit
        if rng.random() < 0.3:              # PAGE_IN
            op |= 1 << 19 | 1 << 11
        op |= rng.choice([0, self.bits(9) << 20, 1 << 29])
        address = rng.choice([self.bits(3) << 12, self.bits(21), self.bits(48),
                              self.bits(64), self.frame(), 0xfee00000 | self.bits(20),
                              self.bar() | rng.choice([0x20, 0x40, self.bits(12)]),
                              self.config(rng.choice(FUNCTIONS), self.bits(9))])
        length = rng.choice([4, 8, 100, 4096, 8192, 1 << 20, self.bits(22)])
        return [op, rng.choice([0, 1, 2, 5, self.bits(8), self.bits(20), self.bits(32)]),
                address & 0xffffffff, address >> 32, length,
                rng.choice([0, 0, self.bits(12), self.bits(32)]),
                self.bits(32), self.bits(32)]

    def issue(self):
        bar = self.bar()
        if self.rng.random() < 0.7:
            for i, word in enumerate(self.device_command()):
                self.m.write("l", bar + 0x40 + 4 * i, word)
            self.m.write("l", bar + 0x20, 1)
            return
        for j in range(self.rng.choice([1, 4, 64])):
            for i, word in enumerate(self.device_command()):
                self.m.write("l", LIST + j * 64 + 4 * i, word)
        self.m.write("q", bar + 0x28, self.rng.choice([LIST, LIST, self.frame()]))
        self.m.write("l", bar + 0x30, self.rng.choice([1, 4, 64, self.bits(32)]))
        self.m.write("l", bar + 0x34, self.rng.choice([0, 1 << 31 | 1, self.bits(32)]))
        self.m.write("l", bar + 0x20, 2)

    def pass_time(self):
        self.m.post(f"clock_step {self.rng.choice([1, 1000, 100000, 10**7, 2 * 10**9])}")

    def write_device(self):
        offset = self.rng.choice([0x08, 0x10, 0x3c, 0x80, 0x88, 0x90, 0x1000])
        self.m.write("l", self.bar() + offset, self.rng.choice([0, 1, 64, self.bits(32)]))
        self.m.read("l", self.bar() + self.rng.randrange(0, 0xb0, 4))

    def write_config(self):
        offset = self.rng.choice([4, ATS + 6, PASID + 6, PRI + 4, PRI + 6, PRI + 0xc,
                                  SRIOV + 8, SRIOV + 0x10, SRIOV + 0x24, 0x10, 0x18])
        self.m.write("w", self.config(self.rng.choice(FUNCTIONS), offset), self.bits(16))
        if self.rng.random() < 0.7:
            self.set_up_function(self.rng.choice(SLOTS))

    def reset_function(self):
        devfn = self.rng.choice(FUNCTIONS)
        at = self.m.read("b", self.config(devfn, 0x34))
        for _ in range(8):
            if self.m.read("b", self.config(devfn, at)) == 0x10:
                self.m.write("w", self.config(devfn, at + 8), 1 << 15)
                break
            at = self.m.read("b", self.config(devfn, at + 1))
        if self.rng.random() < 0.9:
            self.set_up_function(devfn >> 3)

    def run(self):
        weights = {self.issue: 42, self.invalidate: 20, self.pass_time: 10,
                   self.write_table: 13, self.write_register: 5, self.read_register: 3,
                   self.write_device: 3, self.write_config: 2, self.reset_function: 2}
        steps = self.rng.choices(list(weights), list(weights.values()), k=STEPS)
        self.set_up_functions()
        self.set_up_tables()
        self.set_up_iommu(True)
        for step in steps:
            step()
        self.read_register()
        self.m.check_memory()


def run(qemu, seed):
    """What went wrong"""
    rng = random.Random(seed)
    machine = Machine(qemu, rng)
    try:
        Guest(machine, rng).run()
    except Dead as error:
        status, said = machine.autopsy()
        return [f"seed {seed}: QEMU {error}, status {status}", *said.splitlines()[-5:],
                " ".join(machine.arguments), *machine.log]
    finally:
        machine.stop()
    return []


def main():
    qemu, seed, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    print(f"KTAP version 1\n1..{count}", flush=True)
    failed = False
    for number in range(1, count + 1):
        wrong = run(qemu, seed)
        for line in wrong:
            print("#", line)
        print("not ok" if wrong else "ok", number, f"random.{seed}", flush=True)
        failed = failed or bool(wrong)
        seed += 1
    return failed


if __name__ == "__main__":
    sys.exit(main())
