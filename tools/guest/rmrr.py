#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Writes the DMAR table of the lab's machine with an RMRR for one device:
rmrr.py FILE ADDRESS BYTES WIDTH SLOT.  The device is in that slot of the root bus; WIDTH is
the IOMMU's address width.  Linux finds the table in its initrd and prefers it to QEMU's, as
its revision is higher (Documentation/admin-guide/acpi/initrd_table_override.rst)."""

import struct
import sys

IOAPIC = struct.pack("<BBHBBBB", 3, 8, 0, 0, 0xff, 0, 0)     # as QEMU describes it


def unit():
    """A DRHD for all devices, at the address of QEMU's"""
    return struct.pack("<HHBBHQ", 0, 16 + len(IOAPIC), 1, 0, 0, 0xfed90000) + IOAPIC


def region(first, size, slot):
    """An RMRR with one endpoint on bus 0"""
    device = struct.pack("<BBHBBBB", 1, 8, 0, 0, 0, slot, 0)
    return struct.pack("<HHHHQQ", 1, 24 + len(device), 0, 0, first,
                       first + size - 1) + device


def table(first, size, width, slot):
    body = struct.pack("<BB10x", width - 1, 1) + unit() + region(first, size, slot)

    def header(checksum):
        return struct.pack("<4sIBB6s8sI4sI", b"DMAR", 36 + len(body), 1, checksum,
                           b"BOCHS ", b"BXPC    ", 2, b"BXPC", 1)
    return header(-sum(header(0) + body) & 0xff) + body


def main():
    name, *numbers = sys.argv[1:]
    with open(name, "wb") as out:
        out.write(table(*(int(n, 0) for n in numbers)))


if __name__ == "__main__":
    main()
