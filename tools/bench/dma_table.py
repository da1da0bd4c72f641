#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Prints a table of the results of dma.sh, from the consoles and QEMU's traces in the
current folder, and writes a CSV file: ICOUNT=shift dma_table.py CSV"""

import collections
import csv
import os
import re
import sys

KERNELS = ("patched", "unpatched")
MODES = ("strict", "lazy")
NS_WANTED = 2 ** int(os.environ["ICOUNT"])
KINDS = ("pages IH=1", "pages IH=0", "PASID", "wait", "other")


def kind(name, high, low):
    """A descriptor's kind: VT-d specification 6.5.2."""
    if name == "wait":
        return "wait"
    if name != "p-iotlb":
        return "other"
    if low >> 4 & 3 != 3:               # granularity: page-selective?
        return "PASID"
    return f"pages IH={high >> 6 & 1}"


def descriptors(trace):
    """Count descriptors between each pair of the guest's marks f1 and f2."""
    found, counts = [], None
    with open(trace, encoding="ascii") as lines:
        for line in lines:
            if line.startswith("pci_cfg_write edu"):
                if line.endswith("@0x3c <- 0xf1\n"):
                    counts = collections.Counter()
                elif line.endswith("@0x3c <- 0xf2\n"):
                    found.append(counts)
                    counts = None
            elif counts is not None and line.startswith("vtd_inv_desc "):
                match = re.search(r"type (\S+) high 0x(\w+) low 0x(\w+)", line)
                counts[kind(match[1], int(match[2], 16), int(match[3], 16))] += 1
    return found


def measured(console):
    """Parse the guest's output: its clock, and a row for each number of pages."""
    words = []
    with open(console, encoding="utf-8", errors="replace") as lines:
        for line in lines:
            if line.startswith("bench: "):
                words.append(dict(w.split("=") for w in line.split()[1:]))
    return words[0], words[1:]


def rows():
    for mode in MODES:
        for kernel in KERNELS:
            clock, lines = measured(f"{kernel}-{mode}.console")
            ns = float(clock["undisturbed_ns"]) / 1000
            if abs(ns / NS_WANTED - 1) > 1e-3:
                sys.exit(f"{kernel}, {mode}: the clock has {ns} ns for an instruction")
            interrupts = float(clock["with_interrupts_ns"]) / 1000 / ns - 1
            for line, counts in zip(lines, descriptors(f"{kernel}-{mode}.trace"),
                                    strict=True):
                if line["maps"] != line["unmaps"]:
                    sys.exit(f"{kernel}, {mode}: {line}")
                calls = int(line["maps"])
                yield {"mode": mode, "pages": int(line["pages"]), "kernel": kernel,
                       "map": float(line["map_us"]) * 1000 / ns,
                       "unmap": float(line["unmap_us"]) * 1000 / ns,
                       "interrupts": interrupts, "calls": calls,
                       **{k: counts[k] / calls for k in KINDS}}


def table(found):
    by = {(r["mode"], r["pages"], r["kernel"]): r for r in found}
    print("                  map: instructions        unmap: instructions")
    print("mode   pages   patched  unpatched  ratio   patched  unpatched  ratio")
    for mode, pages in sorted({k[:2] for k in by}, key=lambda k: (k[0] != "strict", k)):
        line = f"{mode:6} {pages:5}"
        for call in ("map", "unmap"):
            new, old = (by[mode, pages, kernel][call] for kernel in KERNELS)
            line += f"  {new:8.0f}  {old:9.0f}  {new / old:5.2f}"
        print(line)
    print()
    print("                           descriptors for each map with its unmap")
    print("                           PASID-based IOTLB")
    print("mode   pages  kernel     " + "".join(f"  {k:>10}" for k in KINDS) + "   calls")
    for r in sorted(found, key=lambda r: (r["mode"] != "strict", r["pages"], r["kernel"])):
        print(f"{r['mode']:6} {r['pages']:5}  {r['kernel']:10}" +
              "".join(f"  {r[k]:10.4f}" for k in KINDS) + f"  {r['calls']:6}")
    share = [r["interrupts"] * 100 for r in found]
    print(f"\nthe timer's interrupts add {min(share):.1f} to {max(share):.1f} % to the "
          "instructions")


def main():
    found = list(rows())
    with open(sys.argv[1], "w", encoding="ascii", newline="") as out:
        writer = csv.DictWriter(out, found[0].keys())
        writer.writeheader()
        writer.writerows(found)
    table(found)


main()
