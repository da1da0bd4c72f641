#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Break pgtable_walk.h in one place at a time, and check that a test fails each time.

Usage: mutate.py LIBRARY-DIR TEST-DIR OUTPUT-DIR FORMAT

Each mutation is built as test-weak in a folder of its own and runs the corpus.
"""
import os
import shutil
import subprocess
import sys

# Title, original code, and replacement
MUTATIONS = (
    ("install: no smp_wmb()",
     "	smp_wmb();	/* the table's content before the table */\n", ""),
    ("sync: no invalidation", "	if (replaced)\n		pt->cfg.ops->invalidate(",
     "	if (0)\n		pt->cfg.ops->invalidate("),
    ("sync: an invalidation of 4 KiB",
     "iova, iova + vtd_pt_size(level) - 1,\n					VTD_PT_STRUCTURE);\n	/* Fully",
     "iova, iova + SZ_4K - 1,\n					VTD_PT_STRUCTURE);\n	/* Fully"),
    ("sync: not of what another CPU has installed",
     "entry,\n			  pt->cfg.pgsize_bitmap & vtd_pt_size(level));\n",
     "entry, false);\n"),
    ("install: in sync from the start, where walks are coherent",
     "	if (pt->cfg.coherent && !replaced)\n", "	if (pt->cfg.coherent)\n"),
    ("sync: not written back", "	vtd_pt_sync_entries(pt, slot, sizeof(*slot));\n	if (replaced)",
     "	if (replaced)"),
)


def main(library, tests, output, fmt):
    failed = False
    for number, (name, old, new) in enumerate(MUTATIONS):
        top = os.path.join(os.path.abspath(output), str(number))
        shutil.rmtree(top, ignore_errors=True)
        to_library = os.path.join(top, "drivers/iommu/intel")
        to_tests = os.path.join(top, "tools/testing/pgtable")
        shutil.copytree(library, to_library)
        shutil.copytree(tests, to_tests)
        path = os.path.join(to_library, "pgtable_walk.h")
        with open(path, encoding="utf-8") as file:
            text = file.read()
        if text.count(old) != 1:
            print(f"FAILED {name}: found {text.count(old)} times")
            failed = True
            continue
        with open(path, "w", encoding="utf-8") as file:
            file.write(text.replace(old, new))
        program = os.path.join(top, "test-weak")
        subprocess.run(["make", "-s", "-C", to_tests, f"O={top}", f"FMT={fmt}", program], check=True,
                       stdout=subprocess.DEVNULL)
        # Which stores are reordered depends on addresses, which differ from run to run.
        for _ in range(3):
            run = subprocess.run([program, "corpus", os.path.join(to_tests, "corpus.txt")],
                                 stderr=subprocess.PIPE, text=True, check=False,
                                 stdout=subprocess.DEVNULL)
            seen = run.returncode != 0
            if seen:
                break
        failed |= not seen
        why = run.stderr.split("\n")[0].rsplit("/", 1)[-1] if seen else "nothing fails"
        print(f"{'ok' if seen else 'FAILED':6} {name}: {why}")
    return failed


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
