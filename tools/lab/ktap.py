#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Counts the tests in logs, with the kernel's own KTAP parser.

A log may hold several KTAP documents (one a program) among console output.
A kernel that complained in the log, a log without a single test, and a
document that breaks off are failures, whatever the other lines say."""

import argparse
import contextlib
import io
import pathlib
import re
import sys

STAMP = r"(?:\[ *\d+\.\d+\](?:\[ *[TC]\d+\])? )?"
NOTHING = re.compile(r"\[ *\d+\.\d+\](?:\[ *[TC]\d+\])? 1\.\.0\s*$")
START = re.compile(STAMP + r"(?:K?TAP version \d+)\s*$")
# the kernel's lines carry a time, and may begin within one of a program's
SPLAT = re.compile(
    r"\[ *\d+\.\d{6}\].*(?:BUG: |WARNING: |Oops[: ]|Kernel panic|general protection fault"
    r"|KASAN: |UBSAN: |KCSAN: |possible (?:circular|recursive) locking"
    r"|inconsistent lock state|suspicious RCU usage|rcu: INFO: .* stall"
    r"|unreferenced object 0x|blocked for more than \d+ seconds"
    r"|soft lockup|list_(?:add|del) corruption|DMA-API: .*device driver"
    r"|ODEBUG: )")


RACE = re.compile(r"KCSAN: data-race in (\w+)\S*(?: / (\w+))?")


def is_ours(kernel, line):
    """No data race between functions that the IOMMU and VFIO do not know: the
    strict rules find some in the scheduler, its timers, and the console."""
    race = RACE.search(line)
    if not race:
        return True
    names = "|".join(name for name in race.groups() if name)
    known = re.compile(rf"\b(?:{names})\(")
    return any(known.search(source.read_text(errors="replace"))
               for folder in ("drivers/iommu", "drivers/vfio")
               for source in (kernel / folder).rglob("*.[ch]"))


def documents(lines):
    """Split a console at the top-level KTAP headers. KUnit's report of having run
    nothing at boot, where its suites are in modules, is no document."""
    found = []
    for line in lines:
        if START.match(line):
            found.append([])
        if found:
            found[-1].append(line)
    return [d for d in found if len(d) < 2 or not NOTHING.match(d[1])]


def failures(parser, test, path=()):
    """Where it went wrong, as (path, the last that was said there)."""
    path = path + (test.name,) if test.name not in ("", "main") else path
    inner = [f for t in test.subtests for f in failures(parser, t, path)]
    bad = parser.TestStatus.FAILURE, parser.TestStatus.TEST_CRASHED
    if not inner and (test.status in bad or test.counts.errors):
        return [("/".join(path) or "the document as a whole", test.log[-6:])]
    return inner


def count(parser, lines, label):
    passed = failed = skipped = 0
    for document in documents(lines):
        test = parser.parse_run_tests(document)
        for path, said in failures(parser, test):
            print(f"{label}: not ok: {path}")
            for line in said:
                print(f"{label}:   {line.strip()}")
        counts = test.counts
        passed += counts.passed
        skipped += counts.skipped
        bad = counts.failed + counts.crashed
        # a document with an error in it is a failure, if nothing in it is
        failed += bad or min(counts.errors, 1)
    return passed, failed, skipped


def main():
    arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    arguments.add_argument("--kernel", type=pathlib.Path, required=True,
                           help="the kernel tree with tools/testing/kunit")
    arguments.add_argument("logs", nargs="+", type=pathlib.Path)
    args = arguments.parse_args()
    sys.path.insert(0, str(args.kernel / "tools/testing/kunit"))
    # its printer keeps the stdout of the import: here only the counts matter
    with contextlib.redirect_stdout(io.StringIO()):
        import kunit_parser                 # pylint: disable=all

    totals = [0, 0, 0]
    for log in args.logs:
        lines = log.read_text(errors="replace").splitlines() \
            if log.exists() else []
        numbers = list(count(kunit_parser, lines, log.stem))
        splats = [l for l in lines
                  if SPLAT.search(l) and is_ours(args.kernel, l)]
        for line in splats[:5]:
            print(f"{log.stem}: the kernel complained: {line.strip()}")
        if splats:
            numbers[1] += 1
        if not any(numbers):
            print(f"{log.stem}: no test in the log")
            numbers[1] += 1
        totals = [a + b for a, b in zip(totals, numbers)]
    print("{} passed, {} failed, {} skipped".format(*totals))
    sys.exit(totals[1] != 0)


if __name__ == "__main__":
    main()
