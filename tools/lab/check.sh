#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Static checks of what the series adds and changes, as KTAP: no finding in our
# files, and none in the kernel's that the unpatched kernel does not have.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
. "$LAB/apt.sh"
. "$LAB/source.sh"
. "$LAB/tree.sh"
. "$LAB/targets.sh"

# findings LOG TREE: messages of compiler and sparse as "file: message", without
# line numbers, so that those of two trees can be compared.
findings() {
	sed -nE "s,^($2/|\.\./[a-z]+/|\./)?([A-Za-z0-9_./+-]+\.[ch]):[0-9]+:([0-9]+:)? *((warning|error|note)?.*),\2: \4,p" "$1" |
		grep -E ': (warning|error)' | sort
}

# build_noisily NAME: compile NAME's files with W=1 and sparse, all afresh.
build_noisily() {
	local obj=$WORK/obj-$1
	configure "$WORK/$1" "$obj" "$LAB/configs/lab.config" >&2
	find "$obj/drivers" "$obj/lib" "$obj/kernel" -name '*.o' -delete \
		2>/dev/null || true
	# shellcheck disable=SC2046
	kbuild "sparse and W=1 ($1)" "$WORK/log/$1.log" \
		-C "$WORK/$1" O="$obj" W=1 C=2 CF=-D__CHECK_ENDIAN__ \
		$(build_targets)
	findings "$WORK/log/$1.log" "$WORK/$1"
}

# The unpatched kernel's findings do not change: they are kept.
pristine_findings() {
	local kept=$WORK/log/pristine.findings key
	key=$({ echo "$PRISTINE"; build_targets; cat "$LAB/configs/lab.config" \
		"$LAB/check.sh"; gcc --version; sparse --version; } | cksum)
	if [ "$(head -1 "$kept" 2>/dev/null)" != "$key" ]; then
		assemble_tree pristine 0
		{ echo "$key"; build_noisily pristine; } >"$kept.new"
		mv "$kept.new" "$kept"
	fi
	tail -n +2 "$kept"
}

compiler_and_sparse() {
	local old=$WORK/log/old new=$WORK/log/new
	pristine_findings >"$old"
	build_noisily check >"$new"
	none_new "$old" "$new"
}

none_new() {
	local found
	found=$(comm -13 "$1" "$2")
	[ -z "$found" ] || { echo "$found"; return 1; }
}

# doc_findings TREE: kernel-doc's words on the series' files there.
doc_findings() {
	local file
	series_files '[ch]$' | while read -r file; do
		[ ! -f "$1/$file" ] || (cd "$1" && scripts/kernel-doc -none -Wall "$file" 2>&1)
	done | sed -E 's/:[0-9]+: /: /' | sort
}

kernel_doc() {
	doc_findings "$PRISTINE" >"$WORK/log/old"
	doc_findings "$WORK/check" >"$WORK/log/new"
	none_new "$WORK/log/old" "$WORK/log/new"
}

checkpatch() {
	local ignore
	ignore=$(sed -n 's/^\([A-Z_]*\)\t.*/\1/p' "$LAB/checkpatch-exceptions" |
		paste -sd,)
	cd "$WORK/check"
	scripts/checkpatch.pl --strict --terse --show-types --no-summary \
		--ignore "$ignore" "$WORK/check.mails"/*.patch
}

# CAP.ND, the number of domains, is no misspelt "and"
spelling() { codespell -L nd "$WORK/check.mails"; }

series_is_sound() { "$LAB/series.py" check; }

lock "$BUILD/.lock-check"
choose_source
mkdir -p "$WORK/log"
assemble_tree check
"$LAB/series.py" export "$PRISTINE" "$WORK/check.mails" >/dev/null
ktap series_is_sound checkpatch spelling kernel_doc compiler_and_sparse
