#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# All tests.  Each suite leaves a KTAP log in build/results, one line tells its
# result, and the last line counts.  What each build and suite cost, in seconds of
# the clock and of the CPUs, is in build/results/costs.  SUITE="NAME..." runs only
# suites that match one of these shell patterns; --debug runs the kernel's tests
# under KASAN, UBSAN and lockdep, and under KCSAN, instead.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

# an array, so that no pattern meets the files of this folder
read -ra wanted <<<"${SUITE:-*}"
unset SUITE
results=$BUILD/results
mkdir -p "$results"
kernel_tree=

parts=$results/costs.parts
: >"$parts"

# timed NAME COMMAND...: what that costs.  Unlike the clock, the time of the CPUs
# hardly depends on what else they do.
timed() {
	local TIMEFORMAT="%0R %0U %0S" name=$1 out=$parts.$BASHPID status=0 real user sys
	shift
	{ time "$@" 2>&3; } 3>&2 2>"$out" || status=$?
	read -r real user sys <"$out"
	rm "$out"
	echo "$name $real $((user + sys))" >>"$parts"
	return "$status"
}

# print_costs: a line for each name, the most expensive first
print_costs() {
	printf '%-28s %8s %8s\n' "" seconds CPU
	awk '{ clock[$1] += $2; cpu[$1] += $3 }
		END { for (name in cpu) printf "%-28s %8d %8d\n", name, clock[name], cpu[name] }' \
		"$parts" | sort -k3,3nr -k1,1
	awk -v seconds="$SECONDS" '{ cpu += $3 }
		END { printf "%-28s %8d %8d\n", "all", seconds, cpu }' "$parts"
}

# kernel VARIANT: build it once, and use it for everything that follows.
kernel() {
	KERNEL=$(LAB_CONFIG=$1 timed "kernel-$1" "$LAB/kernel.sh" | tail -1) ||
		die "no kernel to test"
	export KERNEL
	kernel_tree=${KERNEL%/arch/x86/boot/bzImage}/source
}

# These suites run only with --debug, or if they are named, as others find the same bugs:
# KUnit on the other machine, which its tests do not depend on, figures of the DMA API,
# which have no verdict, and "make field" on more machines. A kernel with KCSAN does not
# resume from S3: its resume is instrumented before the CPU's registers are restored.
is_left_out() {
	[ "${wanted[*]}" = '*' ] &&
	[[ $1 == kunit-second || $1 == bench-* ||
	   $1 == @(field|kexec|suspend)-* && $1 != *-first || $1 == @(kdump|rmrr)-* ||
	   $1 == kcsan-*suspend* ]]
}

is_wanted() {
	local pattern
	! is_left_out "$1" || return
	for pattern in "${wanted[@]}"; do
		# shellcheck disable=SC2053 # it is a pattern
		[[ $1 == $pattern ]] && return
	done
	return 1
}

passed=0 failed=0 skipped=0 ran=()
complaints=$results/complaints		# what failed, told again at the end
: >"$complaints"
rm -f "$results"/*.status

# perform NAME COMMAND...: COMMAND prints KTAP.
perform() {
	local name=$1 log=$results/$1.log status=0 start=$SECONDS
	shift
	is_wanted "$name" || return 0
	say "suite $name"
	timed "$name" "$@" </dev/null >"$log" || status=$?
	echo "$status $((SECONDS - start))" >"$log.status"
}

# count NAME: count the results of a suite.
count() {
	local name=$1 log=$results/$1.log status seconds verdict p f s
	is_wanted "$name" || return 0
	ran+=("$name")
	read -r status seconds 2>/dev/null <"$log.status" || status=unknown seconds=0
	verdict=$("$LAB/ktap.py" --kernel "$kernel_tree" "$log") || true
	# ktap.py itself may have failed
	grep -qE '^[0-9]+ passed, [0-9]+ failed, [0-9]+ skipped$' <<<"${verdict##*$'\n'}" ||
		verdict+=$'\n'"$name: cannot be counted"$'\n0 passed, 1 failed, 0 skipped'
	read -r p _ f _ s _ <<<"${verdict##*$'\n'}"
	{
		sed '$d' <<<"$verdict"
		if [ "$status" != 0 ] && [ "$f" = 0 ]; then
			echo "$name: ended with status $status"
			f=1
		fi
		[ "$f" = 0 ] || echo "$name: see $log"
	} >"$log.complaints"
	tee -a "$complaints" <"$log.complaints"
	rm -f "$log.complaints" "$log.status"
	printf '%-24s %s passed, %s failed, %s skipped (%d s)\n' \
		"$name" "$p" "$f" "$s" "$seconds"
	passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
}

suite() {
	perform "$@"
	count "$1"
}

# kunit.py's report is for people; the console is what is counted
kunit_suite() {
	local console=$results/kunit-$1.console status=0
	MACHINE=$1 LOG=$console "$LAB/kunit.sh" >"$results/kunit-$1.report" ||
		status=$?
	cat "$console"
	return "$status"
}

guest_suites() {
	local prefix=$1 name
	[ -x "$ROOT/tools/guest/suite.sh" ] || return 0
	for name in $("$ROOT/tools/guest/suite.sh" list); do
		suite "$prefix$name" "$ROOT/tools/guest/suite.sh" run "$name"
	done
}

# any_wanted PREFIX: a suite that runs on the kernel with this prefix?
any_wanted() {
	local name
	for name in kunit-first kunit-second nested-strict nested-queue \
		    nested-attack nested-suspend nested-demand nested-demand-normal $("$ROOT/tools/guest/suite.sh" list); do
		! is_wanted "$1$name" || return 0
	done
	return 1
}

# builds: what needs no machine, and what the machines will need, behind the tests
# that run on them, with what these leave of the CPUs (SCHED_IDLE). Each build has a
# lock of its own: who needs it earlier waits for it, or does it first.
builds() {
	chrt --idle --pid 0 "$BASHPID" || say "the builds go on at normal priority"
	! is_wanted kasan-kunit-first ||
		LAB_CONFIG=kasan timed kernel-kasan "$LAB/kernel.sh" >/dev/null || true
	perform native "$ROOT/tools/testing/pgtable/run.sh"
	perform check "$LAB/check.sh"
	perform distconfig "$LAB/distconfig.sh"
	perform steps "$LAB/steps.sh"
}

if [ "${1:-}" = --debug ]; then
	export TIMEOUT=${TIMEOUT:-3600}		# sanitizers are slow under emulation
	# a CPU of an emulated machine may not run for a while
	export ARGS="flpt_kunit.all=1 slpt_kunit.all=1 watchdog_thresh=60 ${ARGS:-}"
	for variant in kasan kcsan; do
		any_wanted "$variant-" || continue
		kernel "$variant"
		suite "$variant-kunit-first" kunit_suite first
		suite "$variant-kunit-second" kunit_suite second
		guest_suites "$variant-"
		suite "$variant-nested-strict" "$ROOT/tools/guest/nested.sh" ktap strict
		suite "$variant-nested-queue" "$ROOT/tools/guest/nested.sh" ktap queue
		suite "$variant-nested-attack" "$ROOT/tools/guest/nested.sh" ktap strict attack
		suite "$variant-nested-suspend" "$ROOT/tools/guest/nested.sh" ktap strict suspend
		suite "$variant-nested-demand" "$ROOT/tools/guest/nested.sh" ktap strict demand
		suite "$variant-nested-demand-normal" "$ROOT/tools/guest/nested.sh" ktap normal demand
	done
else
	# KASAN's machine has those that are not slow. --debug has it all.
	quick='kunit.filter=speed>slow kunit.filter_action=skip'
	kernel lab
	# All machines run on it; without a source, on Debian's.
	timed qemu "$ROOT/tools/qemu/build.sh" >/dev/null || true
	suite lab "$LAB/selftest.sh"	# which wants the lab for itself
	set -m			# a process group of its own, to be stopped with
	builds &
	builder=$!
	trap 'kill -- -"$builder" 2>/dev/null || true' EXIT
	set +m
	suite kunit-first kunit_suite first
	ARGS="$quick ${ARGS:-}" suite kunit-second kunit_suite second
	guest_suites ""
	suite qtest "$ROOT/tools/qemu/qtest.sh" ktap
	suite nested-strict "$ROOT/tools/guest/nested.sh" ktap strict
	# Guests sleep more than they run. This one has everything that it needs by now.
	set -m
	perform nested-normal "$ROOT/tools/guest/nested.sh" ktap normal &
	beside=$!
	trap 'kill -- -"$builder" -"$beside" 2>/dev/null || true' EXIT
	set +m
	suite nested-report "$ROOT/tools/guest/nested.sh" ktap normal report
	suite nested-queue "$ROOT/tools/guest/nested.sh" ktap queue
	suite nested-attack "$ROOT/tools/guest/nested.sh" ktap strict attack
	suite nested-suspend "$ROOT/tools/guest/nested.sh" ktap strict suspend
	suite nested-demand "$ROOT/tools/guest/nested.sh" ktap strict demand
	suite nested-demand-nodes "$ROOT/tools/guest/nested.sh" ktap strict demand-nodes
	suite vmm "$ROOT/tools/guest/vmm.sh" ktap
	if is_wanted kasan-kunit-first; then
		export ARGS="$quick ${ARGS:-}"
		kernel kasan
		suite kasan-kunit-first kunit_suite first
	fi
	wait "$beside" || true
	count nested-normal
	wait "$builder" || true
	count native
	count check
	count steps
	count distconfig
fi
# A pattern that no suite has, mistyped, has not passed.
for pattern in "${wanted[@]}"; do
	# shellcheck disable=SC2254 # it is a pattern
	for name in "${ran[@]}"; do
		case $name in $pattern) continue 2 ;; esac
	done
	echo "no suite is called $pattern" >>"$complaints"
	failed=$((failed + 1))
done
cat "$complaints"
print_costs >"$results/costs"
rm "$parts"
say "the time that each suite took is in $results/costs"
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ]
