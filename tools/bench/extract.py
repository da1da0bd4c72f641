#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Extracts definitions from C files of the kernel, unmodified, in the order of the
arguments: extract.py FILE NAME... [-- FILE NAME...].  A name is that of a function, of
a struct, or of a macro."""

import re
import sys


def block(lines, first, last):
    """From line number first to the next line that equals last."""
    for end in range(first, len(lines)):
        if lines[end] in last:
            return lines[first:end + 1]
    return None


def function(lines, name):
    start = re.compile(r"^(?:[a-z_].*[ *])?" + name + r"\(")
    for i, line in enumerate(lines):
        if not start.match(line):
            continue
        # up to the opening brace; a declaration ends before
        for end in range(i, len(lines)):
            if lines[end].endswith(";"):
                break
            if lines[end] == "{":
                first = i - 1 if line.startswith(name) else i
                return block(lines, first, ["}"])
    return None


def struct(lines, name):
    start = f"struct {name} {{"
    return block(lines, lines.index(start), ["};"]) if start in lines else None


def macro(lines, name):
    start = re.compile(r"^#define\s+" + name + r"\b")
    for i, line in enumerate(lines):
        if start.match(line):
            end = i
            while lines[end].endswith("\\"):
                end += 1
            return lines[i:end + 1]
    return None


def extract(path, names):
    with open(path, encoding="utf-8") as file:
        lines = file.read().split("\n")
    for name in names:
        found = macro(lines, name) or struct(lines, name) or function(lines, name)
        if not found:
            sys.exit(f"extract.py: no {name} in {path}")
        print("\n".join(found), end="\n\n")


def main(arguments):
    while arguments:
        end = arguments.index("--") if "--" in arguments else len(arguments)
        extract(arguments[0], arguments[1:end])
        arguments = arguments[end + 1:]


main(sys.argv[1:])
