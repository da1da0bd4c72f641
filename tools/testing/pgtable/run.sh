#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# The library outside of a kernel, within some minutes, as KTAP: for each format its
# KUnit suite, case by case, then what exists here only.  With "fuzz", libFuzzer for
# TIME= seconds.  FMT= is the format, fl or sl; without, both.  SEED= repeats a random
# run.  Installs clang and its run-time library if
# they are missing.
set -euo pipefail
NATIVE=$(cd "$(dirname "$0")" && pwd)
. "$NATIVE/../../lab/lib.sh"
. "$LAB/apt.sh"

FORMATS=${FMT:-fl sl}
SEED=${SEED:-$(date +%s)}
export SEED

build() {
	make -C "$NATIVE" "FMT=$FMT" "O=$O" "$O"/{test-asan,test-gcc,test-weak,threads,marathon,accesses,stepwise,fuzz} \
		"$O"/{kunit-asan,kunit-tsan} >"$O.log" 2>&1 ||
		{ tail -30 "$O.log" >&2; die "the native tests cannot be built"; }
}

# all cases of the KUnit suite, under AddressSanitizer and UndefinedBehaviorSanitizer
kunit_asan() { (ulimit -t 300; "$O/kunit-asan" "seed=$SEED" steps=600); }
# those with several threads, under ThreadSanitizer
kunit_tsan() {
	(ulimit -t 300; TSAN_OPTIONS=halt_on_error=1 \
		"$O/kunit-tsan" "seed=$SEED" 'filter_glob=race_*')
}
# the memory-order claims, and that a weakened copy of each fails
litmus() { python3 -B "$NATIVE/litmus.py" "$NATIVE"/litmus/*.litmus; }
# the checker's verdicts on the kernel's own tests, which state herd7's result
litmus_known() {
	local tests=("$BUILD"/src/tools/memory-model/litmus-tests/*.litmus
		     "$BUILD"/src/Documentation/litmus-tests/*/*.litmus)
	[ -e "${tests[0]}" ] || { echo "no kernel source yet"; return 4; }
	python3 -B "$NATIVE/litmus.py" --known "${tests[@]}"
}
# the corpus, under AddressSanitizer and UndefinedBehaviorSanitizer
corpus() { "$O/test-asan" corpus "$NATIVE/corpus.txt"; }
# operations that are interrupted by others, hardware looking on
interleaved_asan() { "$O/test-asan" random 12; }
interleaved() { "$O/test-gcc" random 12; }
# the same, with stores that pass each other and loads that find what was
weak_corpus() { "$O/test-weak" corpus "$NATIVE/corpus.txt"; }
weak() { "$O/test-weak" random 20; }
# that a missing barrier, release or invalidation is detected
mutations() { python3 -B "$NATIVE/mutate.py" "$ROOT/drivers/iommu/intel" "$NATIVE" "$O/mutations" "$FMT"; }
# two threads at full speed, for many operations
marathon() { "$O/marathon" 20000000; }
# real threads, under ThreadSanitizer
threads() { "$O/threads" 12; }
# that the fast paths are, and store to nothing but leaves
accesses() { "$O/accesses"; }
# one call in front of each access by another, with a large page cached
stepwise() { "$O/stepwise"; }
# which lines and branches of the library all that reaches: none is missing
coverage() { make -C "$NATIVE" "FMT=$FMT" "O=$O" coverage; }
# guided by coverage, from the corpus on
fuzzer() { make -C "$NATIVE" "FMT=$FMT" "O=$O" TIME=15 fuzz 2>&1 | tail -40; }

install_packages clang llvm libclang-rt-dev
mkdir -p "$BUILD/native"
if [ "${1:-}" = fuzz ]; then
	FMT=${FMT:-fl}
	exec make -C "$NATIVE" "FMT=$FMT" "O=$BUILD/native/$FMT" "TIME=${TIME:-60}" fuzz
fi
status=0
# each is a KTAP document of its own
ktap litmus litmus_known || status=1
for FMT in $FORMATS; do
	O=$BUILD/native/$FMT
	build
	for suite in kunit_asan kunit_tsan; do
		say "$suite $FMT"
		"$suite" || status=1
	done
	say "format $FMT"
	ktap corpus interleaved_asan interleaved weak_corpus weak mutations marathon \
		threads accesses stepwise coverage fuzzer || status=1
done
exit "$status"
