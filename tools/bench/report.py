#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Makes a table, a CSV and the data of a plot from the kernels' output:
report.py RAW RESULTS, two folders.

A time is the time of an operation minus that of the empty library in the same boot;
the table has the median over the boots. A ratio is that of two libraries' times in one
boot, again the median. 6.12's own code runs in another kernel than the other peers: its
time is its ratio to our library there, times the time of our library here.

Through the core, 6.12's core with our library is compared with 7.3's core with its own
libraries. There, times of either kernel are multiples of the time of the same direct
call of our library in that kernel, including the harness. If cache misses dominate,
both run in the same core instead.
"""

import collections
import csv
import os
import re
import statistics
import sys

OURS, EMPTY, HARNESS = "flpt", "empty", "harness"
FLOORS = ["chase", "store", "checked"]
PEERS = ["generic", "generic-alt", "lpae", "dma_pte"]
HEAD = ["operation", HARNESS, *FLOORS, OURS, "generic", "g-alt", "lpae", "dma_pte"]

# case: its title, and the targets for map and unmap (for the whole case if the second is
# None), as speedup over the best peer
CASES = {
    "4k": ("4K", 2, 2.5),
    "16x4k": ("16 x 4K", 2.2, 2.2),
    "512x4k": ("512 x 4K", 3, 3),
    "2m": ("2M", 2.5, 2.5),
    "512x2m": ("512 x 2M", 3, 3),
    "scattered-1": ("4K, scattered in 1 region", 1, 1),
    "scattered-64": ("4K, scattered in 64", 1, 1),
    "scattered-4096": ("4K, scattered in 4096", 1, 1),
    "look-up": ("look-up", 1, None),
    "look-up-64": ("look-up, scattered in 64", 1, None),
    "cold-512x4k": ("cold 512 x 4K, a table", 2.5, 1),
    "cold-4k-1": ("cold 4K, a table", 1, 1),
    "cold-4k-3": ("cold 4K, three tables", 1, 1),
    "supersede-2m": ("2M where 4K was", 1, 1),
    "destroy": ("destroy, three tables", 1.4, None),
    "split-2m": ("break down 2M", None, None),
    "split-1g": ("break down 1G to 4K", None, None),
    "cut-2m": ("unmap 4K of 2M", None, None),
    "cut-1g": ("unmap 4K of 1G", None, None),
    "4k-written-back": ("4K, written back", 1, 1),
    "16x4k-written-back": ("16 x 4K, written back", 1, 1),
    "512x4k-written-back": ("512 x 4K, written back", 1, 1),
    "2m-written-back": ("2M, written back", 1, 1),
    "cold-512x4k-written-back": ("cold 512 x 4K, written back", 1, 1),
}
# through the core: title and targets as above
CORE_CASES = {
    "core-4k": ("4K", 1.5, 2),
    "core-16x4k": ("16 x 4K", 1.5, 2),
    "core-512x4k": ("512 x 4K", 1.5, 2),
    "core-2m": ("2M", 1.5, 2),
    "core-512x2m": ("512 x 2M", 1.5, 2),
    "core-look-up": ("look-up", 1.5, None),
    "core-look-up-64g": ("look-up, scattered in 64G", 1, None),
    "core-8g": ("4K, scattered in 8G", 1, 1),
    "core-64g": ("4K, scattered in 64G", 1, 1),
    "core-256g": ("4K, scattered in 256G", 1, 1),
    "core-domains": ("4K, 64 domains in turn", 1, 1),
    "core-vfio-4k": ("64G by VFIO, in 4K", 1, 1),
    "core-vfio-2m": ("64G by VFIO, in 2M", 1, 1),
}
SPREAD = "core-look-up-64g", "core-8g", "core-64g", "core-256g", "core-domains"
CORE_HEAD = ["through the core", "core", OURS, *PEERS]
# cases that also have to stay near the lower bound "checked"
NEAR_FLOOR, NEAR = ("512x4k", "512x2m"), 1.6
TWO_THREADS = 1.9

Row = collections.namedtuple(
    "Row", "case operation net ratios peer target met drift")


def read_boot(path, pages, counted=False):
    """Net nanoseconds, or instructions, of each operation: {(case, unmap, library): ns}."""
    samples, khz = collections.defaultdict(list), None
    with open(path, encoding="ascii", errors="replace") as file:
        for line in file:
            words = line.split()
            if words[:1] != ["bench:"]:
                continue
            if words[1] == "khz":
                khz = 1e6 if counted else int(words[2])
            elif words[1] == "sample":
                case, library = words[2:4]
                for unmap in 0, 1:
                    ns = int(words[4 + unmap]) * 1e6 / khz / int(words[6])
                    samples[case, unmap, library].append(ns)
            elif words[1] == "pages":
                pages[words[2]][words[3]] = [int(word) for word in words[4:6]]
    medians = {key: statistics.median(values) for key, values in samples.items()}
    boot = {}
    for (case, unmap, library), ns in medians.items():
        if case in CORE_CASES:
            boot[case, unmap, library] = ns
            continue
        boot[case, unmap, library] = ns - medians[case, unmap, EMPTY]
        if library == EMPTY:
            boot[case, unmap, HARNESS] = ns
    return boot


def read(raw, kernel):
    """The results of each boot of a kernel, and table pages."""
    pages = collections.defaultdict(dict)
    boots = [read_boot(os.path.join(raw, name), pages)
             for name in sorted(os.listdir(raw))
             if re.fullmatch(kernel + r"-\d+", name)]
    return boots, pages


def read_threads(raw):
    """The throughput of two threads relative to one, {library: ratio}.
    The best of all samples count, for both have to be of a moment in which both
    processors were there."""
    best = collections.defaultdict(float)
    for name in os.listdir(raw):
        if not name.startswith("smp-"):
            continue
        with open(os.path.join(raw, name), encoding="ascii",
                  errors="replace") as file:
            for words in map(str.split, file):
                if words[:2] == ["bench:", "threads"]:
                    rate = int(words[4]) / int(words[5])
                    key = words[2], int(words[3])
                    best[key] = max(best[key], rate)
    return {library: best[library, 2] / rate
            for (library, threads), rate in best.items() if threads == 1}


def read_counts(raw):
    """Instructions: {(case, unmap, library): number}."""
    counts = {}
    for kernel in "dma_pte", "peers":
        counts.update(read_boot(os.path.join(raw, "count-" + kernel), {}, True))
    return counts


def times(boots, keys, library):
    """A library's times by boot, for the sum of keys, each (case, unmap)."""
    if (*keys[0], library) not in boots[0]:
        return None
    return [sum(boot[(*key, library)] for key in keys) for boot in boots]


def median_ratio(above, below):
    return statistics.median(a / b for a, b in zip(above, below))


def make_row(case, operation, keys, target, here, there):
    """A row with the sum of keys."""
    ours, ours_there = times(here, keys, OURS), times(there, keys, OURS)
    net = {OURS: statistics.median(ours)}
    ratios = {}
    for library in [HARNESS, *FLOORS, *PEERS]:
        values = times(here, keys, library)
        if values:
            net[library] = statistics.median(values)
            ratios[library] = median_ratio(values, ours)
        else:
            values = times(there, keys, library)
            if values:
                ratios[library] = median_ratio(values, ours_there)
                net[library] = ratios[library] * net[OURS]
    peer = min((peer for peer in PEERS if peer in ratios), key=ratios.get,
               default=None)
    met = None
    if peer and target:
        met = ratios[peer] >= target
        if case in NEAR_FLOOR:
            met = met and 1 / ratios["checked"] <= NEAR
    drift = None
    floor, floor_there = times(here, keys, "checked"), times(there, keys, "checked")
    if floor:
        drift = median_ratio(ours, floor) / median_ratio(ours_there, floor_there)
    return Row(case, operation, net, ratios, peer, target, met, drift)


def make_rows(here, there):
    """Rows of the measured cases."""
    rows = []
    cases = dict(CASES)
    measured = {case for case, _, _ in here[0]}
    for case in sorted(measured):
        if case.startswith("replay-"):
            cases[case] = (case.replace("-", " of "), 1, None)
    for case, (name, *targets) in cases.items():
        if case not in measured:
            continue
        if targets[1] is None:
            rows.append(make_row(case, name, [(case, 0)], targets[0], here, there))
            continue
        for unmap, word in enumerate(("map", "unmap")):
            rows.append(make_row(case, f"{name}: {word}", [(case, unmap)],
                                 targets[unmap], here, there))
        if case.startswith("cold-512"):
            rows.append(make_row(case, f"{name}: both", [(case, 0), (case, 1)],
                                 1, here, there))
    return rows


def multiples(boots, case, unmap, library):
    """The median time through the core, as a multiple of its unit."""
    key = case, unmap, library
    if key not in boots[0]:
        return None
    return statistics.median(boot[key] / unit(boot, case, unmap) for boot in boots)


def unit(boot, case, unmap):
    """The time of the same direct call of the library, including the harness."""
    case = case.removeprefix("core-").removeprefix("vfio-")
    return boot[case, unmap, OURS] + boot[case, unmap, HARNESS]


def same_core(here, there, case, unmap):
    """If cache misses dominate, times differ too much from kernel to kernel: then our
    library is measured with each peer, in 7.3's core and in 6.12's."""
    keys = [(case, unmap)]
    ours, ours_there = times(here, keys, OURS), times(there, keys, OURS)
    net = {OURS: statistics.median(ours)}
    for library in [EMPTY, *PEERS]:
        values, base = times(here, keys, library), ours
        if not values:
            values, base = times(there, keys, library), ours_there
        if values:
            net[library] = median_ratio(values, base) * net[OURS]
    return net


def each_core(here, there, case, unmap):
    """Our library with 6.12's core, the peers each with the core of its kernel."""
    scale = statistics.median(unit(boot, case, unmap) for boot in there)
    net = {}
    for library in [OURS, EMPTY, *PEERS]:
        value = library in PEERS and multiples(here, case, unmap, library) or \
            multiples(there, case, unmap, library)
        if value:
            net[library] = value * scale
    return net


def make_core_rows(here, there):
    rows = []
    for case, (name, *targets) in CORE_CASES.items():
        for unmap, target in enumerate(targets):
            if target is None or (case, unmap, OURS) not in there[0]:
                continue
            net = (same_core if case in SPREAD else each_core)(here, there, case, unmap)
            ratios = {peer: net[peer] / net[OURS] for peer in PEERS if peer in net}
            best = min(ratios, key=ratios.get)
            word = "" if targets[1] is None else (": map", ": unmap")[unmap]
            rows.append(Row(case, name + word, net, ratios, best, target,
                            ratios[best] >= target, None))
    return rows


def number(value):
    if value is None:
        return "-"
    return f"{value:.1f}" if abs(value) < 100 else f"{value:.0f}"


def print_lines(lines, out):
    """Print lines in columns."""
    widths = [max(map(len, column)) for column in zip(*lines)]
    for cells in lines:
        text = [cells[0].ljust(widths[0])]
        text += [cell.rjust(width) for cell, width in zip(cells[1:], widths[1:])]
        print("  ".join(text).rstrip(), file=out)


def print_counts(counts, out):
    libraries = [HARNESS, *FLOORS, OURS, *PEERS]
    lines = [HEAD]
    for case, (name, *targets) in CASES.items():
        for unmap in 0, 1:
            if (case, unmap, OURS) not in counts or \
                    (unmap and targets[1] is None):
                continue
            word = "" if targets[1] is None else (": map", ": unmap")[unmap]
            cells = [counts.get((case, unmap, library)) for library in libraries]
            lines.append([name + word] + ["-" if cell is None else f"{cell:.0f}"
                                          for cell in cells])
    print("\nInstructions per operation, less the harness's own\n", file=out)
    print_lines(lines, out)


def print_table(rows, out):
    head = [*HEAD, "best peer", "ratio", "target", "met"]
    lines = [head]
    for row in rows:
        cells = [row.operation]
        cells += [number(row.net.get(library))
                  for library in [HARNESS, *FLOORS, OURS, *PEERS]]
        cells.append(row.peer or "-")
        cells.append(f"{row.ratios[row.peer]:.2f}" if row.peer else "-")
        cells.append(str(row.target) if row.target and row.peer else "-")
        cells.append({None: "-", True: "yes", False: "NO"}[row.met])
        lines.append(cells)
    print_lines(lines, out)


def print_core(rows, level, out):
    """Print the table, with the core's own time, which is that of the empty library."""
    if not rows:
        return
    lines = [[*CORE_HEAD, "best peer", "ratio", "target", "met"]]
    for row in rows:
        cells = [number(row.net.get(library)) for library in [EMPTY, OURS, *PEERS]]
        lines.append([row.operation, *cells, row.peer, f"{row.ratios[row.peer]:.2f}",
                      str(row.target), "yes" if row.met else "NO"])
    print(f"\nns per operation by iommu_map(), iommu_unmap() and iommu_iova_to_phys(), "
          f"{level}-level tables\n", file=out)
    print_lines(lines, out)


def print_zeroed(raw, out):
    """Print the cold operations with a page allocator that zeroes every page."""
    here, there = read(raw, "zeroed-peers")[0], read(raw, "zeroed-dma_pte")[0]
    if here:
        print("\nThe same where the allocator zeroes every page (init_on_alloc=1)\n",
              file=out)
        print_table([row._replace(target=None, met=None)
                     for row in make_rows(here, there)], out)


def print_pages(pages_here, pages_there, out):
    """Table pages during a replay."""
    for case, pages in sorted(pages_here.items()):
        pages = {**pages_there.get(case, {}), **pages}
        name = case.replace("-", " of ")
        print(f"\nTable pages, {name}:", file=out)
        for library in [OURS, *PEERS]:
            if library in pages:
                end, peak = pages[library]
                print(f"  {library:12} {end:6} at the end, {peak:6} at most",
                      file=out)


def print_threads(ratios, out):
    """Returns whether the target is met, or None if nothing was measured."""
    if not ratios:
        print("\nTwo threads were not measured.", file=out)
        return None
    print("\nTwo threads, 4K map and unmap in separate ranges; throughput relative to "
          "one thread:", file=out)
    for library in [EMPTY, *FLOORS, OURS, *PEERS]:
        if library in ratios:
            print(f"  {library:12} {ratios[library]:5.2f}", file=out)
    met = ratios[OURS] >= TWO_THREADS
    print(f"  target for {OURS}: {TWO_THREADS}, "
          f"{'met' if met else 'NOT met'}", file=out)
    return met


def print_summary(rows, threads_met, out):
    judged = [row.met for row in rows if row.met is not None]
    if threads_met is not None:
        judged.append(threads_met)
    met = sum(judged)
    drifts = [row.drift for row in rows if row.drift]
    print(f"\nTargets met: {met} of {len(judged)}.", file=out)
    if drifts:
        print("Our library's multiple of the checked floor, 7.3's divided by 6.12's: "
              f"{statistics.median(drifts):.2f} (median), "
              f"{min(drifts):.2f} to {max(drifts):.2f}.", file=out)


def write_csv(rows, path):
    libraries = [HARNESS, *FLOORS, OURS, *PEERS]
    with open(path, "w", newline="", encoding="ascii") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["operation", *libraries, "best_peer", "ratio", "target",
                         "met"])
        for row in rows:
            cells = [f"{row.net[library]:.2f}" if library in row.net else ""
                     for library in libraries]
            cells += [row.peer, f"{row.ratios[row.peer]:.3f}"] if row.peer \
                else ["", ""]
            cells += [row.target if row.met is not None else "",
                      {None: "", True: "yes", False: "no"}[row.met]]
            writer.writerow([row.operation, *cells])


def write_plot(rows, path):
    """Write the times of the peers and of "checked" as multiples of ours."""
    with open(path, "w", encoding="ascii") as file:
        print("operation checked generic lpae dma_pte", file=file)
        for row in rows:
            if not row.peer:
                continue
            ratios = dict(row.ratios)
            ratios["generic"] = min(ratios["generic"], ratios["generic-alt"])
            cells = [f"{ratios[library]:.3f}" if library in ratios else "?"
                     for library in ("checked", "generic", "lpae", "dma_pte")]
            print(f'"{row.operation}"', *cells, file=file)


def main(raw, results):
    here, pages_here = read(raw, "peers")
    there, pages_there = read(raw, "dma_pte")
    second_here, second_there = read(raw, "second-peers")[0], read(raw, "second-dma_pte")[0]
    rows, core_rows = make_rows(here, there), make_core_rows(here, there)
    second_rows = make_core_rows(second_here, second_there) if second_here else []
    if not rows:
        sys.exit("report: no case has that in its name")
    with open(os.path.join(results, "bench.txt"), "w", encoding="ascii") as out:
        print("ns per operation, less the harness's own\n", file=out)
        print_table(rows, out)
        print_core(core_rows, "first", out)
        print_core(second_rows, "second", out)
        print_zeroed(raw, out)
        print_pages(pages_here, pages_there, out)
        print_counts(read_counts(raw), out)
        print_summary(rows + core_rows + second_rows, print_threads(read_threads(raw), out), out)
    write_csv(rows + [row._replace(operation="core, " + row.operation)
                      for row in core_rows] +
              [row._replace(operation="core, second level, " + row.operation)
               for row in second_rows], os.path.join(results, "bench.csv"))
    write_plot(rows, os.path.join(results, "plot.dat"))


main(*sys.argv[1:])
