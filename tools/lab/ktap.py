#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Counts the tests in logs, with the kernel's own KTAP parser.

A log may have several KTAP documents (one for each program) among console output.
These are failures, whatever the other lines say: a complaint of the kernel, a log without
a test, a document that breaks off, and results or a plan without the lines that they
belong to."""

import argparse
import contextlib
import io
import pathlib
import re
import sys

STAMP = r"(?:\[ *\d+\.\d+\](?:\[ *[TC]\d+\])? )?"
NOTHING = re.compile(r"\[ *\d+\.\d+\](?:\[ *[TC]\d+\])? 1\.\.0\s*$")
START = re.compile(STAMP + r"(?:K?TAP version \d+)\s*$")
PLAN = re.compile(STAMP + r"1\.\.(\d+)\s*$")
RESULT = re.compile(STAMP + r"(?:not )?ok \d+\b")
# the kernel's lines carry a time, and may begin within one of a program's
SPLAT = re.compile(
    r"\[ *\d+\.\d{6}\].*(?:BUG: |WARNING: |Oops[: ]|general protection fault"
    r"|KASAN: |UBSAN: |KCSAN: |possible (?:circular|recursive) locking"
    r"|inconsistent lock state|suspicious RCU usage|rcu: INFO: .* stall"
    r"|unreferenced object 0x|blocked for more than \d+ seconds"
    r"|soft lockup|list_(?:add|del) corruption|DMA-API: .*device driver"
    r"|Kernel panic(?! - not syncing: sysrq triggered crash)"    # not what kdump-* asks for
    r"|ODEBUG: )")


RACE = re.compile(r"KCSAN: data-race in (\w+)\S*(?: / (\w+))?")


def is_ours(kernel, line):
    """False for a data race between functions outside of IOMMU and VFIO: the strict
    rules find some in the scheduler, its timers, and the console."""
    race = RACE.search(line)
    if not race:
        return True
    names = "|".join(name for name in race.groups() if name)
    known = re.compile(rf"\b(?:{names})\(")
    return any(known.search(source.read_text(errors="replace"))
               for folder in ("drivers/iommu", "drivers/vfio")
               for source in (kernel / folder).rglob("*.[ch]"))


def documents(lines):
    """Split a console at the top-level KTAP headers, and find results that have none.
    KUnit reports at boot that it has run nothing, if its suites are in modules: that is
    no document."""
    found = [[]]
    for line in lines:
        if START.match(line):
            found.append([])
        found[-1].append(line)
    return [d for d in found[1:] if len(d) < 2 or not NOTHING.match(d[1])], found[0]


def is_whole(document):
    """There are as many results as the plan says. The parser ignores results behind the
    last planned one, and accepts a missing plan: if the header of another document is
    lost, its results would be ignored. A KUnit suite that a program runs by debugfs has
    neither header nor plan: the kernel's results are not the program's."""
    kernel = document[0].startswith("[")
    plans = [plan.group(1) for plan in map(PLAN.match, document) if plan]
    results = [line for line in document
               if RESULT.match(line) and line.startswith("[") == kernel]
    return plans == [str(len(results))]


def failures(parser, test, path=()):
    """The failed tests, as (path, last line of output)."""
    path = path + (test.name,) if test.name not in ("", "main") else path
    inner = [f for t in test.subtests for f in failures(parser, t, path)]
    bad = parser.TestStatus.FAILURE, parser.TestStatus.TEST_CRASHED
    if not inner and (test.status in bad or test.counts.errors):
        return [("/".join(path) or "the document as a whole", test.log[-6:])]
    return inner


def count(parser, lines, label):
    passed = failed = skipped = 0
    found, rest = documents(lines)
    if any(PLAN.match(line) or RESULT.match(line) for line in rest):
        print(f"{label}: not ok: results without a header")
        failed += 1
    for document in found:
        try:
            test = parser.parse_run_tests(document)
        except ValueError as error:     # it has gone past the end
            print(f"{label}: not ok: {error}")
            failed += 1
            continue
        for path, said in failures(parser, test):
            print(f"{label}: not ok: {path}")
            for line in said:
                print(f"{label}:   {line.strip()}")
        counts = test.counts
        passed += counts.passed
        skipped += counts.skipped
        bad = counts.failed + counts.crashed
        # a document with an error in it is a failure, if nothing in it is
        if not bad and not counts.errors and not is_whole(document):
            print(f"{label}: not ok: other results than planned")
            bad = 1
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
