#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Converts recorded patterns to C: replay.py FILE.txt...

A line is "+ PFN PAGES" (map; the page frame number of the IOVA in hexadecimal)
or "- PFN PAGES" (unmap, of one map or several). Unmaps of pages that were mapped before
the recording began are left out. Pages that are mapped when it ends are unmapped at
the end."""

import os
import sys


def take(mapped, pfn, pages):
    """Remove the maps that make up a range from mapped and return them; none if there is
    a gap."""
    parts, end = [], pfn + pages
    while pfn < end and pfn in mapped:
        parts.append(pfn)
        pfn += mapped[pfn]
    if pfn != end:
        return []
    for part in parts:
        del mapped[part]
    return parts


def read(path):
    """The operations, as (pfn, pages), and the maps that are left."""
    done, mapped = [], {}
    with open(path, encoding="ascii") as file:
        for number, line in enumerate(file, 1):
            words = line.split("#")[0].split()
            if not words:
                continue
            try:
                sign, pfn, pages = words[0], int(words[1], 16), int(words[2])
                known = sign in "+-" and pages > 0
            except (IndexError, ValueError):
                known = False
            if not known or len(words) != 3:
                sys.exit(f"{path}:{number}: not understood")
            if sign == "+":
                mapped[pfn] = pages
                done.append((pfn, pages))
            elif take(mapped, pfn, pages):
                done.append((pfn, -pages))
    return done, mapped


def array(name, dma):
    print(f"static const struct bench_dma {name}[] = {{")
    for pfn, pages in dma:
        print(f"\t{{ {pfn:#x}, {pages} }},")
    print("};\n")


def main(paths):
    names = []
    print('#include <linux/array_size.h>\n\n#include "bench.h"\n')
    for path in paths:
        name = os.path.splitext(os.path.basename(path))[0]
        done, mapped = read(path)
        array(name, done)
        array(name + "_clean", [(pfn, -pages) for pfn, pages in mapped.items()])
        names.append(name)
    print("const struct bench_pattern bench_patterns[] = {")
    for name in names:
        print(f'\t{{ "replay-{name}", {name}, ARRAY_SIZE({name}),')
        print(f"\t  {name}_clean, ARRAY_SIZE({name}_clean) }},")
    print("};\n\nconst unsigned int bench_nr_patterns = "
          "ARRAY_SIZE(bench_patterns);")


main(sys.argv[1:])
