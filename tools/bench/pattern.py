#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Extracts the recorded operations from a console log and prints the pattern file.
Checks, beginning with an empty table, that only unmapped pages are mapped, and only
mapped ones unmapped: pattern.py LOG OPERATIONS"""

import sys


def recorded(log, count):
    """The guest's comments on its workload, and its first operations."""
    notes, operations = [], []
    with open(log, encoding="utf-8", errors="replace") as console:
        for line in console:
            if not line.startswith("pattern: "):
                continue
            line = line.removeprefix("pattern: ").rstrip()
            if line.startswith("#"):
                notes.append(line)
            else:
                operations.append(line)
    if len(operations) < count:
        sys.exit(f"pattern: {len(operations)} operations, {count} are wanted")
    return notes, operations[:count]


def replay(operations):
    """Apply the operations to an empty table; return a summary as a comment."""
    mapped, most, maps = set(), 0, 0
    for line in operations:
        what, first, pages = line.split()
        pages = range(int(first, 16), int(first, 16) + int(pages))
        if what == "+" and pages and mapped.isdisjoint(pages):
            mapped.update(pages)
            maps += 1
        elif what == "-" and pages and mapped.issuperset(pages):
            mapped.difference_update(pages)
        else:
            sys.exit(f"pattern: not possible here: {line}")
        most = max(most, len(mapped))
    return (f"# {maps} maps, {len(operations) - maps} unmaps; at most {most} "
            f"pages mapped, {len(mapped)} at the end")


def main():
    notes, operations = recorded(sys.argv[1], int(sys.argv[2]))
    summary = replay(operations)
    print(*notes, sep="\n")
    print(f"""\
# The first {len(operations)} of the tracepoints iommu:map (+) and iommu:unmap (-), since before
# there was a driver: IOVA in pages, hexadecimal; number of pages.  One unmap may
# undo several maps.  DMA API, lazy mode (the default).  Made by "make record".
{summary}""")
    print(*operations, sep="\n")


main()
