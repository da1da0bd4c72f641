#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Runs the KUnit suites that are built into the lab's kernel: they run before
# the kernel looks for an init, and end with the machine switched off.  The
# kernel's own kunit.py prints the results; ktap.py has the last word.
# SUITE= is KUnit's glob of suites, MACHINE= and LAB_CONFIG= as everywhere.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

KERNEL=${KERNEL:-$("$LAB/kernel.sh" | tail -1)}
export KERNEL
src=${KERNEL%/arch/x86/boot/bzImage}/source
LOG=${LOG:-$BUILD/results/kunit.console}
export LOG
mkdir -p "$(dirname "$LOG")"
ARGS="kunit.enable=1 kunit_shutdown=poweroff ${SUITE:+kunit.filter_glob=$SUITE} ${ARGS:-}"
export ARGS
say "running KUnit on the ${MACHINE:-first}-stage machine, log in $LOG"
status=0
"$LAB/boot.sh" </dev/null >/dev/null || status=$?
# The kernel calibrates the TSC when tests have begun. What it says may come between two
# lines that belong together.
sed -i -E '/(tsc: Refined|clocksource: (tsc|Switched))/d' "$LOG"
python3 "$src/tools/testing/kunit/kunit.py" parse "$LOG" || status=1
"$LAB/ktap.py" --kernel "$src" "$LOG" || status=1
exit "$status"
