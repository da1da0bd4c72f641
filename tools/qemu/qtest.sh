#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# "make qtest": the tests of the patched QEMU that need no guest, as KTAP.
# Status 77: its source is not available.  With "ktap", that is a skipped test instead.
set -euo pipefail
HERE=$(cd "$(dirname "$0")" && pwd)
. "$HERE/../lab/lib.sh"
. "$HERE/source.sh"

PROGRAMS=(intel-iommu-test intel-iommu-nested-test intel-iommu-queue-test vtd-testdev-test)
# Limits for a QEMU that hangs: CPU time for each process, which does not depend on the load
# of the host, and a long time by the clock for a process that waits for ever.
CPU_LIMIT=60
TIME_LIMIT=1200

no_qemu() {
	say "no QEMU to test"
	[ "$1" = ktap ] || exit "$NO_SOURCE"
	printf 'KTAP version 1\n1..1\nok 1 qtest # SKIP no source of QEMU\n'
	exit 0
}

# run PROGRAM: its KTAP.  A program that ends early lacks results of its plan.
run() {
	printf 'KTAP version 1\n'
	(ulimit -t "$CPU_LIMIT"; QTEST_QEMU_BINARY=$WORK/qemu-system-x86_64 \
		exec timeout -k 5 "$TIME_LIMIT" "$WORK/obj/tests/qtest/$1" --tap) \
		</dev/null 2>&1 | sed -E '/^# starting QEMU/d; /^(ok|not ok|1\.\.) ?/!s/^/# /'
}

status=0
"$HERE/build.sh" "${PROGRAMS[@]/#/tests/qtest/}" >/dev/null || status=$?
[ "$status" != "$NO_SOURCE" ] || no_qemu "${1:-}"
[ "$status" = 0 ] || exit "$status"
for program in "${PROGRAMS[@]}"; do
	run "$program" || status=1
done
exit "$status"
