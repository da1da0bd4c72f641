#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# "make bench": measures our page-table library and its peers, natively and side by side,
# in user-mode Linux. The results are a table, a CSV and a plot in build/bench/results;
# with "record", in tools/bench/results as well. SUITE= selects the cases whose names
# (kernel/cases.c) contain it; there is no plot then. The status says whether it ran, not
# whether targets are met; 77: the source of the peers is not available.
set -euo pipefail
BENCH=$(cd "$(dirname "$0")" && pwd)
. "$BENCH/../lab/lib.sh"
. "$LAB/apt.sh"
. "$LAB/source.sh"
. "$BENCH/kernels.sh"

BOOTS=7
[ -z "${SUITE:-}" ] || BOOTS=3
ZEROED_BOOTS=3
STEP=()
say() { printf 'bench: %s\n' "$*" >&2; }

# boot NAME LOG CPUS ARGUMENT...: under the command STEP, if it is set
boot() {
	local name=$1 log=$2 cpus=$3
	shift 3
	taskset -c "$cpus" timeout -k 5 500 "${STEP[@]}" \
		"$WORK/obj-$name/linux" mem=4G \
		con=null con0=fd:0,fd:1 "$@" </dev/null >"$log" 2>&1 &&
		grep -aqx $'bench: done\r*' "$log" && return
	tail -20 "$log" >&2
	die "the kernel $name did not finish; its output is in $log"
}

# User-mode Linux keeps its memory in a file, by default in /dev/shm.
find_memory() {
	[ "$(df --output=avail -m /dev/shm 2>/dev/null | tail -1)" -ge 4096 ] ||
		export TMPDIR=$WORK
}

measure() {
	local number kernel last=$((JOBS - 1))
	rm -rf "$RAW"
	mkdir -p "$RAW"
	for number in $(seq $BOOTS); do
		say "boot $number of $BOOTS"
		boot peers "$RAW/peers-$number" $last "$only"
		boot dma_pte "$RAW/dma_pte-$number" $last "$only"
		boot peers "$RAW/second-peers-$number" $last bench_level=2 "$core"
		boot dma_pte "$RAW/second-dma_pte-$number" $last bench_level=2 "$core"
		[ $last = 0 ] || [ -n "${SUITE:-}" ] || boot smp "$RAW/smp-$number" $((last - 1)),$last \
			seccomp=on ncpus=2
	done
	[ -z "${SUITE:-}" ] || return 0
	for number in $(seq $ZEROED_BOOTS); do
		for kernel in peers dma_pte; do
			boot $kernel "$RAW/zeroed-$kernel-$number" $last \
				init_on_alloc=1 bench_only=cold
		done
	done
}

# Once is enough: the counts do not vary.
count_instructions() {
	local name address
	say "counting instructions"
	gcc -O2 -Wall -o "$WORK/step" "$BENCH/step.c"
	for name in peers dma_pte; do
		address=$(nm "$WORK/obj-$name/linux" |
			awk '$3 == "bench_clock" { print $1 }')
		STEP=("$WORK/step" "$address")
		boot $name "$RAW/count-$name" $((JOBS - 1)) bench_count "$only"
	done
	STEP=()
}

report() {
	"$BENCH/report.py" "$RAW" "$RESULTS"
	[ -z "${SUITE:-}" ] || return 0		# not worth a plot
	gnuplot -e "data='$RESULTS/plot.dat'; svg='$RESULTS/bench.svg'" \
		"$BENCH/plot.gp"
}

record() {
	cp "$RESULTS"/bench.{txt,csv,svg} "$BENCH/results"
	# strip trailing blanks
	sed -i 's/ *$//' "$BENCH/results/bench.svg"
}

choose_source
only=bench_only=${SUITE:-}
core=bench_only=${SUITE:-core}	# of the second level
[ -z "${SUITE:-}" ] || [ "${1:-}" != record ] || die "only a run of all cases can be recorded"
WORK=$BUILD/bench RAW=$BUILD/bench/raw RESULTS=$BUILD/bench/results
mkdir -p "$WORK" "$RESULTS"
lock "$WORK/.lock"
install_packages gnuplot-nox
if ! PEERS_SOURCE=$(peers_source); then
	say "the source of $PEERS is not available"
	exit 77
fi
# shellcheck disable=SC2034 # for kernels.sh
PATTERNS=("$BENCH"/patterns/*.txt)
bench_kernel peers peers "$PEERS_SOURCE" "$BENCH"/configs/{common,peers}.config
bench_kernel dma_pte dma_pte "$PRISTINE" "$BENCH"/configs/{common,dma_pte}.config
[ -n "${SUITE:-}" ] || bench_kernel smp peers "$PEERS_SOURCE" "$BENCH"/configs/{common,peers,smp}.config
find_memory
measure
count_instructions
report
cat "$RESULTS/bench.txt"
if [ "${1:-}" = record ]; then record; fi
say "the results are in $RESULTS"
