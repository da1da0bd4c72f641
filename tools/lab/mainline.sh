#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# "make mainline": the fixes of series/mainline on the newest kernel source that Debian's
# mirrors have.  They apply with "git am"; checkpatch --strict, sparse and W=1 find
# nothing new; and the kernel runs, before and after, those of the guest's suites that use
# only mainline's ABI.  Tests of the fixes must fail before and pass after; all others must
# pass after if they did before.  KTAP on stdout, and a table of all tests on stderr.
# SUITE="NAME..." runs only these suites.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
. "$LAB/apt.sh"
. "$LAB/source.sh"
. "$LAB/tree.sh"

# name          machine  guest's suite    memory  further kernel arguments
SUITES='
nested          nested   mainline-nested  2G      iommu.strict=1
race            nested   mainline-race    2G      iommu.strict=1
kdump           nested   mainline-kdump   2G      iommu.strict=1 crashkernel=640M watchdog_thresh=60 sysctl.kernel.hung_task_panic=1
edu-first       first    mainline-edu     4G      iommu.strict=1
edu-second      second   mainline-edu     4G      iommu.strict=1
edu-caching     caching  mainline-edu     4G      iommu.strict=1
edu-legacy      legacy   mainline-edu     4G      iommu.strict=1
'
MAILS=$ROOT/series/mainline
WORK=$BUILD/mainline
TREE=$WORK/src
OBJ=$WORK/obj
RESULTS=$WORK/results

# No KUnit suites are this repository's own here.
kunit_fragment() { :; }

# ---- the source ----

# Where newer kernels are: the packages are called linux-source-X.Y.
NEWER_SUITES=(trixie-backports sid experimental)

# on_mirrors: "VERSION PACKAGE SUITE" of each
on_mirrors() {
	local suite
	for suite in "${NEWER_SUITES[@]}"; do
		private_apt "$suite" apt-cache -o Dir::State::status=/dev/null \
			dumpavail 2>/dev/null |
			awk -v suite="$suite" '/^Package: / { name = $2 }
				/^Version: / && name ~ /^linux-source-[0-9]+\.[0-9]+$/ {
					print $2, name, suite }' || true
	done
}

# newest_source: prints the folder of the newest one, or of the newest in the cache if
# the mirrors cannot be reached
newest_source() {
	local version package suite dir deb
	read -r version package suite < <(on_mirrors | sort -V -k1,1 | tail -1) || true
	if [ -z "${version:-}" ]; then
		find "$SRC" -maxdepth 1 -name 'debian-[0-9]*' ! -name '*.part' \
			! -name 'debian-6.12.*' | sort -V | tail -1 | grep .
		return
	fi
	dir=$SRC/debian-$version
	if [ ! -d "$dir" ]; then
		deb=$(deb_file "$package" "$version" "$suite") || return 1
		whole "$dir" unpack_deb "$deb" || return 1
	fi
	echo "$dir"
}

# touched: the kernel's files that the patches change
touched() { sed -n 's,^+++ b/,,p' "$MAILS"/*.patch | sort -u; }

# applied: a git repository of these files alone, with the patches
git_am() {
	local repo=$WORK/am
	rm -rf "$repo"
	mkdir -p "$repo"
	# shellcheck disable=SC2046 # words
	(cd "$PRISTINE" && cp --parents $(touched) "$repo")
	cd "$repo"
	export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1
	export GIT_COMMITTER_NAME=lab GIT_COMMITTER_EMAIL=lab@localhost
	git init -q
	git add -Af .
	git commit -q -m "$BASE" --author='lab <lab@localhost>'
	git am -q "$MAILS"/*.patch
}

# bring FROM: the tree gets these files as they are in FROM.
bring() {
	local file
	for file in $(touched); do
		write_if_changed "$TREE/$file" <"$1/$file"
	done
}

# ---- static checks ----

checkpatch() {
	local ignore
	ignore=$(sed -n 's/^\([A-Z_]*\)\t.*/\1/p' "$LAB/checkpatch-exceptions" |
		paste -sd,)
	cd "$PRISTINE"
	scripts/checkpatch.pl --strict --terse --show-types --no-summary \
		--ignore "$ignore" "$MAILS"/*.patch
}

spelling() { codespell -L nd "$MAILS"; }

# noises STATE: what W=1 and sparse say of the files that the patches change, afresh
noises() {
	local objects
	bring "$2"
	# programs of tools/ are not built by Kbuild
	objects=$(touched | sed -n '/^tools/d; s/\.c$/.o/p')
	(cd "$OBJ" && rm -f $objects)
	# shellcheck disable=SC2086
	kbuild "sparse and W=1 ($1)" "$WORK/log/check-$1.log" -C "$TREE" O="$OBJ" \
		W=1 C=2 CF=-D__CHECK_ENDIAN__ $objects
	sed -nE "s,^($TREE/|\.\./[a-z]+/|\./)?([A-Za-z0-9_./+-]+\.[ch]):[0-9]+:([0-9]+:)? *((warning|error)?.*),\2: \4,p" \
		"$WORK/log/check-$1.log" | grep -E ': (warning|error)' | sort >"$WORK/log/noise-$1"
}

compiler_and_sparse() {
	noises before "$PRISTINE"
	noises after "$WORK/am"
	# Debian 12's sparse is too old for 7.3, whose Makefile does without it then.
	grep -h 'sparse is not available' "$WORK/log/check-after.log" || true
	! comm -13 "$WORK/log/noise-before" "$WORK/log/noise-after" | grep .
}

# ---- two kernels ----

configure_mainline() { configure "$TREE" "$OBJ" "$LAB/configs/mainline.config"; }

# kernel STATE SOURCE: its bzImage is kept, as both are built in one folder.
kernel() {
	local state
	state=$({ echo "$PRISTINE"; cat "$OBJ/.config"
		(cd "$2" && touched | xargs cat); } | sha256sum)
	[ "$state" != "$(cat "$WORK/$1.state" 2>/dev/null)" ] || [ ! -f "$WORK/$1.bzImage" ] ||
		return 0
	bring "$2"
	kbuild "kernel $1" "$WORK/log/kernel-$1.log" -C "$TREE" O="$OBJ" bzImage modules
	cp "$OBJ/arch/x86/boot/bzImage" "$WORK/$1.bzImage"
	echo "$state" >"$WORK/$1.state"
}

before_builds() { kernel before "$PRISTINE"; }
after_builds() { kernel after "$WORK/am"; }

# ---- the guest ----

# One for both kernels, whose interfaces are the same
initrd_builds() {
	bring "$WORK/am"
	GUEST_FOR=mainline KERNEL=$OBJ/arch/x86/boot/bzImage "$ROOT/tools/guest/mkinitrd.sh" |
		tail -1 >"$WORK/initrd"
}

testdevs() {
	printf -- '-device vtd-testdev,%s ' addr=4,pri-capacity=4096 addr=5 addr=6,pri=off
	printf -- '-device pcie-root-port,id=noacs,disable-acs=on,addr=7,chassis=7 '
	printf -- '-device vtd-testdev,bus=noacs -global intel-iommu.x-strict=on '
}

# two more behind a bridge, which gives their requests an alias
edus() {
	printf -- '-device edu,dma_mask=0xffffffffffffffff,%s ' addr=4 addr=5
	printf -- '-device pcie-pci-bridge,id=bridge,addr=6 '
	printf -- '-device edu,dma_mask=0xffffffffffffffff,bus=bridge,addr=%d ' 1 2
}

disk() {
	printf -- '-drive file=%s,if=none,id=disk,format=raw,snapshot=on ' "$1"
	printf -- '-device nvme,drive=disk,serial=lab '
}

# boot SUITE STATE: its status does not matter, what it prints does. A fault may stop the
# machine.
boot() {
	local machine suite memory args devices kernel=$WORK/$2.bzImage
	read -r _ machine suite memory args < <(awk -v n="$1" '$1 == n' <<<"$SUITES")
	case $suite in
	mainline-edu)
		devices=$(edus)
		args+=' memmap=1G$0x100000000 hugepagesz=1G hugepages=1 hugepagesz=2M hugepages=8'
		;;
	*) devices=$(testdevs) ;;
	esac
	if [ "$suite" = mainline-kdump ]; then
		devices+=$(disk "$kernel")
		args+=" disk=$(stat -Lc %s "$kernel")"
	fi
	TIMEOUT=${TIMEOUT:-400} KERNEL=$kernel INITRD=$(cat "$WORK/initrd") \
	MACHINE=$machine MEMORY=$memory \
	LOG=$RESULTS/$1-$2.console QEMU_ARGS=$devices \
	ARGS="guest=$suite stage=$machine kunit.enable=1 kunit.filter_glob=none $args" \
		"$LAB/boot.sh" </dev/null >/dev/null 2>"$RESULTS/$1-$2.err" || true
	[ "$2" = before ] || grep -aqx $'guest: status [0-9]*\r*' "$RESULTS/$1-$2.console" ||
		{ cat "$RESULTS/$1-$2.err" >&2; return 1; }
}

# outcomes SUITE STATE: "SUITE.TEST RESULT" of each; KUnit's lines have the time before
# them, and are indented by how deep they are
outcomes() {
	tr -d '\r' <"$RESULTS/$1-$2.console" | sed 's/^\[ *[0-9.]*\] //' | awk -v suite="$1" '
		/^    # Subtest: / { inner = $3 "." }
		/^(not )?ok [0-9]+ edu_[a-z_]+$/ { next }
		/^(    )?(not )?ok [0-9]+ / {
			result = $1 != "ok" ? "FAILED" : /# SKIP/ ? "skipped" : "ok"
			inside = /^ / ? inner : ""
			sub(/^ *(not )?ok [0-9]+ (- )?/, "")
			sub(/^global\./, "")
			print suite "." inside $1, result
		}'
}

# runs SUITE: with both kernels
runs() {
	boot "$1" before
	boot "$1" after
	outcomes "$1" before >"$RESULTS/$1.before"
	outcomes "$1" after >"$RESULTS/$1.after"
	[ -s "$RESULTS/$1.after" ]
}

# nothing_regresses SUITE...: tests that passed before pass after, and the kernel's log
# has no warnings after.
nothing_regresses() {
	local suite lost=0
	for suite; do
		awk 'NR == FNR { after[$1] = $2; next }
			$2 != after[$1] && $2 != "FAILED" { print; lost = 1 }
			END { exit lost }' "$RESULTS/$suite.after" "$RESULTS/$suite.before" || lost=1
		"$ROOT/tools/guest/suite.sh" clean "$RESULTS/$suite-after.console" \
			'sysrq triggered crash|ida_free called for' || lost=1
	done
	return $lost
}

# panicked_before SUITE
panicked_before() { grep -aq 'Kernel panic' "$RESULTS/$1-before.console"; }

# fixes_make_tests_pass SUITE...: each test in series/mainline/tests fails before and passes
# after. One test of a suite may also end in a panic before; the others must have a result.
fixes_make_tests_pass() {
	local patch test suite before after wrong=0 lost=' '
	while read -r patch test; do
		suite=${test%%.*}
		[[ " $* " == *" $suite "* ]] || continue
		before=$(awk -v t="$test" '$1 == t { print $2 }' "$RESULTS/$suite.before")
		after=$(awk -v t="$test" '$1 == t { print $2 }' "$RESULTS/$suite.after")
		if [ -z "$before" ] && [[ $lost != *" $suite "* ]] && panicked_before "$suite"; then
			before=FAILED
			lost+="$suite "
		fi
		[ "$before" != FAILED ] || [ "$after" != ok ] || continue
		echo "$patch: $test: ${before:-none} before, ${after:-none} after"
		wrong=1
	done < <(grep -v '^#' "$MAILS/tests")
	return $wrong
}

table() {
	local suite
	printf '%-64s %-8s %s\n' test before after
	for suite; do
		awk 'NR == FNR { before[$1] = $2; next }
			{ printf "%-64s %-8s %s\n", $1, before[$1], $2 }' \
			"$RESULTS/$suite.before" "$RESULTS/$suite.after"
	done
}

choose_mainline() {
	PRISTINE=$(newest_source) || die "no kernel newer than 6.12 on this machine's mirrors"
	BASE="Debian ${PRISTINE##*/debian-}"
	say "kernel source: $BASE"
	mkdir -p "$WORK/log" "$RESULTS"
	if [ "$(cat "$TREE.base" 2>/dev/null)" != "$PRISTINE" ]; then
		rm -rf "$TREE" "$OBJ" "$WORK"/*.state
		whole "$TREE" clone_pristine
		echo "$PRISTINE" >"$TREE.base"
	fi
}

lock "$BUILD/.lock-mainline"
choose_mainline
"$LAB/setup.sh"
QEMU=$("$ROOT/tools/qemu/build.sh" | tail -1) || die "this needs the QEMU that make qemu builds"
export QEMU
suites=()
read -ra wanted <<<"${SUITE:-*}"	# an array, so that no pattern meets files
for name in $(awk 'NF { print $1 }' <<<"$SUITES"); do
	for pattern in "${wanted[@]}"; do
		# shellcheck disable=SC2053 # it is a pattern
		[[ $name != $pattern ]] || suites+=("$name")
	done
done
[ "${#suites[@]}" != 0 ] || die "no suite is called $SUITE"
configure_mainline
status=0
ktap git_am checkpatch spelling before_builds after_builds compiler_and_sparse \
	initrd_builds "${suites[@]/#/runs }" "nothing_regresses ${suites[*]}" \
	"fixes_make_tests_pass ${suites[*]}" || status=1
table "${suites[@]}" >&2
exit $status
