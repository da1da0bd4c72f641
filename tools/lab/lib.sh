# SPDX-License-Identifier: GPL-2.0
# Shared by the lab's scripts: paths, messages, locks, files that must not be used
# before they are complete, and the progress of long builds.
# shellcheck shell=bash

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
LAB=$ROOT/tools/lab
BUILD=$ROOT/build
# shellcheck disable=SC2034 # for the scripts that include this file
CACHE=${VTD_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/vtd-lab}
JOBS=$(nproc)

export LC_ALL=C
# The caller's make must not leak its variables (ARGS=, OUT=...) into kbuild.
unset MAKEFLAGS MFLAGS MAKEOVERRIDES MAKELEVEL
umask 022

say() { printf 'lab: %s\n' "$*" >&2; }
die() { printf 'lab: error: %s\n' "$*" >&2; exit 1; }

# as_root COMMAND...: the few things that need it (installing packages).
as_root() {
	if [ "$(id -u)" = 0 ]; then
		"$@"
	elif command -v sudo >/dev/null; then
		sudo "$@"
	else
		die "this needs root: $*"
	fi
}

# lock FILE: one at a time; the lock is dropped when the script ends.
lock() {
	mkdir -p "$(dirname "$1")"
	exec {LOCK_FD}>"$1"
	flock -n "$LOCK_FD" && return
	say "waiting for another run to finish (${1##*/})"
	flock "$LOCK_FD"
}

# whole DIR COMMAND...: fill a fresh folder by "COMMAND... TEMP" and rename it
# to DIR only when that succeeded.  Left-overs of an interrupted run go first.
whole() {
	local dir=$1
	shift
	rm -rf "$dir.part"
	mkdir -p "$dir.part"
	"$@" "$dir.part"
	# errexit is off in $(...), and in a list
	# shellcheck disable=SC2181
	[ $? = 0 ] || return
	rm -rf "$dir"
	mv -T "$dir.part" "$dir"
}

# write_if_changed FILE: stdin to FILE, leaving its time alone when equal.
write_if_changed() {
	cat >"$1.new" || return
	if cmp -s "$1.new" "$1"; then rm "$1.new"; else mv "$1.new" "$1"; fi
}

# kbuild LABEL LOG MAKE-ARGUMENTS...: kernel make with a progress line and, on
# failure, the messages that matter.
kbuild() {
	local label=$1 log=$2
	shift 2
	mkdir -p "$(dirname "$log")"
	if ! make -j"$JOBS" "$@" </dev/null 2>&1 | tee "$log" |
	     awk -v label="$label" -v every=150 '
		/^  [A-Z]/ && ++n % every == 0 {
			printf "lab: %s: %d steps, now %s\n", label, n, $2
			fflush()
		}' >&2; then
		grep -nE 'error:|Error [0-9]|undefined reference|\*\*\*' "$log" |
			head -40 >&2 || tail -20 "$log" >&2
		die "$label failed; the whole log is in $log"
	fi
}

# ktap "FUNCTION ARGUMENTS"...: each is a test; what it prints becomes
# diagnostics.  Status 4 skips.
ktap() {
	local test number=0 failed=0 status out
	out=$(mktemp)
	printf 'KTAP version 1\n1..%d\n' $#
	for test in "$@"; do
		number=$((number + 1)) status=0
		say "$test"
		set +e
		# shellcheck disable=SC2086 # words of one string
		(set -e; $test) >"$out" 2>&1
		status=$?
		set -e
		sed 's/^/# /' "$out"
		case $status in
		0) printf 'ok %d %s\n' $number "$test" ;;
		4) printf 'ok %d %s # SKIP\n' $number "$test" ;;
		*) printf 'not ok %d %s\n' $number "$test"; failed=1 ;;
		esac
	done
	rm -f "$out"
	return $failed
}
