# SPDX-License-Identifier: GPL-2.0
# Shared by the guest's suites: devices and drivers, quiet output, results.

# pci_devices VENDOR:DEVICE: their addresses
pci_devices() {
	for d in /sys/bus/pci/devices/*; do
		[ "$(cat "$d/vendor"):$(cat "$d/device")" = "$1" ] && echo "${d##*/}"
	done
	true
}

edu_devices() { pci_devices 0x1234:0x11e8; }

# bind DEVICE DRIVER
bind() {
	dev=/sys/bus/pci/devices/$1
	echo "$2" >"$dev/driver_override"
	[ ! -e "$dev/driver" ] || echo "$1" >"$dev/driver/unbind"
	echo "$1" >/sys/bus/pci/drivers_probe
	[ "$(basename "$(readlink "$dev/driver")")" = "$2" ]
}

# setup_reclaim: cgroups that can limit memory, and swap on zram
setup_reclaim() {
	! grep -q zram0 /proc/swaps || return 0
	mount -t cgroup2 cgroup2 /sys/fs/cgroup &&
		echo +memory >/sys/fs/cgroup/cgroup.subtree_control &&
		echo 256M >/sys/block/zram0/disksize &&
		mkswap /dev/zram0 >/dev/null && swapon /dev/zram0
}

# show FILE: to the console, without the kernel's messages in the middle of it
show() {
	dmesg -n 1
	cat "$1"
	dmesg -n 7
}

# tap COMMAND...: runs a program that prints TAP; fails if a test fails or is missing.
tap() {
	"$@" >/tmp/tap 2>&1
	status=$?
	show /tmp/tap
	[ "$status" = 0 ] && awk '/^1\.\.[1-9]/ { plan = substr($1, 4) }
		/^ok [1-9]/ { passed++ }
		/^not ok/ { failed++ }
		END { exit failed || !plan || passed != plan }' /tmp/tap
}

n=0
failed=0

# check WHAT COMMAND...: one line of KTAP; counts in n and failed
check() {
	what=$1
	shift
	n=$((n + 1))
	if "$@" >/tmp/check 2>&1 </dev/null; then
		echo "ok $n $what"
	else
		echo "not ok $n $what"
		tail -40 /tmp/check | sed 's/^/# /'
		failed=$((failed + 1))
	fi
}

# in_time COMMAND...: whether it succeeds within two minutes. It may hang in the kernel,
# where it cannot be killed.
in_time() {
	"$@" >/tmp/in_time 2>&1 &
	for try in $(seq 120); do
		kill -0 $! 2>/dev/null || break
		sleep 1
	done
	cat /tmp/in_time
	! kill -0 $! 2>/dev/null && wait $!
}

# choose_kunit GLOB: the KUnit suites that run when their module is loaded
choose_kunit() { printf %s "$1" >/sys/module/kunit/parameters/filter_glob; }

# kunit_passed SUITE...: whether all tests of these suites have passed, by the kernel's
# debugfs, which also says "ok" of a suite that has not run
kunit_passed() {
	for suite in "$@"; do
		results=/sys/kernel/debug/kunit/$suite/results
		! grep -q 'not ok' "$results" &&
			awk '/^    1\.\./ { plan = substr($1, 4) }
				/^    ok / { passed++ }
				END { exit !plan || passed != plan }' "$results" || return 1
	done
}

# Every descriptor that goes into the invalidation queue passes this tracepoint.
INVALIDATIONS=/sys/kernel/tracing/events/intel_iommu/qi_submit

# snapshot DIR: the present entries of the IOMMU, and the driver's counters
snapshot() {
	mkdir -p "$1"
	cat /sys/kernel/debug/iommu/intel/dmar_translation_struct >"$1/entries"
	cat /sys/kernel/debug/iommu/intel/pgtable_stats >"$1/stats"
	cat "$INVALIDATIONS/hist" >"$1/invalidations"
}

# pasid_entry DIR DEVICE PASID: three quadwords, first one first
pasid_entry() {
	awk -v d="${2#*:}" -v pasid="$3" '$1 == d && $4 == pasid {
		split($5, q, ":"); print q[3], q[2], q[1] }' "$1/entries"
}

# context_entry DIR DEVICE: two quadwords of legacy mode, first one first
context_entry() {
	awk -v d="${2#*:}" '$1 == d && $4 == -1 {
		split($3, q, ":"); print q[2], q[1] }' "$1/entries"
}

# entry_type QUADWORD: PGTT is bits 8:6 of the first (VT-d specification 9.6)
entry_type() {
	echo 'reserved first-level second-level nested pass-through' |
		cut -d' ' -f$((($1 >> 6 & 7) + 1))
}

# invalidations DID DIR: IOTLB (2) and PASID-based IOTLB (6) descriptors that named
# this domain until then, counted by the kernel as it put them into the queue
invalidations() {
	sum=0
	while read -r word hits; do
		[ -n "$word" ] || continue
		word=$((0x$word))
		case $((word & 15)) in
		2 | 6) [ $((word >> 16 & 0xffff)) != "$1" ] || sum=$((sum + hits)) ;;
		esac
	done <<-END
	$(sed -n 's/^{ qw0: *\([0-9a-f]*\) } hitcount: *\([0-9]*\).*/\1 \2/p' \
		"$2/invalidations")
	END
	echo $sum
}
