# SPDX-License-Identifier: GPL-2.0
# Which files the series touches, and which kbuild targets compile them.
# shellcheck shell=bash

# series_files REGEX: the kernel paths that match.
series_files() { "$LAB/series.py" list | sed 's/^. //' | grep -E "$1" || true; }

# A whole driver folder (drivers/iommu/), so that users of a changed header are
# compiled as well; elsewhere the objects of the changed files themselves.
build_targets() {
	{
		echo drivers/iommu/
		series_files '^drivers/.*\.[ch]$' | cut -d/ -f1,2 | sed 's,$,/,'
		series_files '^(kernel|lib|mm|block|fs)/.*\.c$' | sed 's/\.c$/.o/'
	} | sort -u
}
