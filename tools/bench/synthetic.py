#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""A pattern made up, for when none has been recorded: single pages, some two
hundred of them mapped at a time, the oldest unmapped first."""

import random

random.seed(612)
free, mapped = list(range(0xff000, 0x100000)), []
for _ in range(4000):
    if mapped and (len(mapped) > 200 or random.random() < 0.48):
        pfn = mapped.pop(0)
        free.append(pfn)
        print(f"- {pfn:x} 1")
    else:
        mapped.append(free.pop())
        print(f"+ {mapped[-1]:x} 1")
