# SPDX-License-Identifier: GPL-2.0
# The lab's commands.  Each is a small script in tools/; "make" explains them.

lab := tools/lab
export TOPIC FROM URL CONFIG SUFFIX LSMOD KERNEL_SRC SUITE ACCEL MACHINE INITRD ARGS QEMU_ARGS
export SEED TIME NODES MEMORY WHAT COUNT FMT LATENCY TIMEOUT OUT LAB_CONFIG
# the only variables that reach the scripts are the ones above
MAKEOVERRIDES :=

.PHONY: help setup kernel run test test-debug kunit native fuzz check shell boot \
	tree refresh series clean qemu qemu-tree qemu-refresh qtest nested soak vmm \
	demand endure field bench bench-record record bench-dma bench-queue bench-pasids \
	bench-demand bench-dirty \
	mainline deb deb-test

help:
	@sed -n 's/^## \{0,1\}//p' Makefile

## VT-d for Linux 6.12.y: the series and its lab. See README.
##
##   make run        boot the patched kernel and do real DMA with it (start here)
##   make test       all tests, or SUITE="NAME..."; the last line has the totals
##   make test-debug the same under KASAN, UBSAN, lockdep, and under KCSAN
##   make kunit      the KUnit suites, or SUITE=GLOB
##   make native     the page-table library as a program: its KUnit suite,
##                   sanitizers, threads, coverage, litmus tests, a fuzzer (FMT=fl or
##                   sl: one level only)
##                   (make fuzz TIME=seconds: longer)
##   make check      sparse, W=1, kernel-doc and checkpatch on what the series touches
##
##   make qemu       build the lab's own QEMU: nested translation, PASIDs, page
##                   requests, and a device that uses them (tools/qemu)
##   make qtest      test it without a guest
##   make nested     nested translation and PASIDs on it, from user space and from a
##                   kernel driver
##   make soak       the same at random, on memory that is pinned and that is not, and
##                   random calls of hostile users, for ten minutes each (TIME=seconds;
##                   SEED=number repeats a run)
##   make demand     a device works on memory that is not pinned, while it is swapped,
##                   migrated, post-copied; a table
##   make vmm        Debian 13's newest QEMU assigns a device to its own guest, nested
##   make field      use in the field, on more machines than "make test": limits,
##                   types of domains, an untrusted port, kexec, kdump, RMRRs, suspend
##   make endure     repeat tests that have to pass every time, for many hours;
##                   in parts: WHAT="reproducer strict vmm kunit" COUNT=n TIME=s
##
##   make bench      the page-table library against others, natively; a table.
##                   SUITE=PART selects cases with PART in their names
##   make bench-record   the same, and store the results in tools/bench/results
##   make record     record the maps and unmaps of real I/O (tools/bench/patterns)
##   make bench-dma  the DMA API's benchmark, with and without the series: instructions
##                   and invalidations
##   make bench-queue    cost of strict unmaps on one CPU and on two, with and without
##                   the series, while invalidations take time (LATENCY=ns until the
##                   first is executed)
##   make bench-pasids   cost of many PASIDs of one domain, in instructions and in
##                   descriptors
##   make bench-demand   costs and savings of demand paging compared with pinning, in
##                   instructions (MEMORY=12G: to pin more)
##   make bench-dirty    what dirty tracking reports of a device's writes, here, in 6.12,
##                   and in the newest kernel if "make mainline" has built it
##
##   make setup      install missing packages (the other commands do so, too)
##   make kernel     build the patched kernel; the last line is the bzImage
##   make boot INITRD=file ARGS="kernel arguments" QEMU_ARGS="..."
##                   boot your own initrd in the lab's machine, with its console
##   make shell      a shell in the guest (Ctrl-a x leaves QEMU)
##
##   make tree       build/tree: a git work tree, a commit for each patch
##   make refresh    write the commits of build/tree back to series/ and overlay
##   make series OUT=dir   the patches as mails, for git am; TOPIC=folder: of one
##                   topic, with its cover letter; FROM="Name <mail>": from and
##                   signed off by this person; URL=: where the cover letter says
##                   that this repository is
##   make qemu-tree, make qemu-refresh
##                   the same with QEMU: build/qemu-tree and tools/qemu
##   make clean      remove build/ (downloads stay in the cache)
##
##   make deb        Debian packages of the kernel with the series, in build/deb, to try
##                   it on a machine: CONFIG=debian (the default), localmodconfig (what
##                   this machine uses) or a file; SUFFIX=, at the end of their version
##   make deb-test   install them in a new Debian system, and boot it
##   make mainline   the fixes of series/mainline on the newest kernel that Debian has:
##                   builds it before and after, and runs a test for each bug (an hour
##                   the first time; not a part of "make test"; or SUITE=NAME)
##
## Variables:
##   KERNEL_SRC=     a 6.12.y tree or tarball instead of Debian's newest package
##   MACHINE=        first or second: the stage that the vIOMMU has;
##                   caching: second, with caching mode; legacy: no scalable mode
##   ACCEL=kvm       instead of emulation    TIMEOUT=  seconds before a silent guest is ended
##   tools/lab/boot.sh explains more (MEMORY=, NODES=, CPUS=, LOG=)
##
## Developing in build/tree: change, "git commit", "make refresh".  Each commit
## on top of lab-base becomes one patch, identified by its subject.  A new file
## belongs as a whole to the patch that adds it: change it with
## "git commit --fixup" and "git rebase -i --autosquash lab-base".

setup:
	@$(lab)/setup.sh

kernel:
	@$(lab)/kernel.sh

run: setup
	@tools/guest/run.sh

test: setup
	@$(lab)/test.sh

test-debug: setup
	@$(lab)/test.sh --debug

kunit: setup
	@$(lab)/kunit.sh

native: setup
	@tools/testing/pgtable/run.sh

fuzz: setup
	@tools/testing/pgtable/run.sh fuzz

check: setup
	@$(lab)/check.sh

shell: setup
	@$(lab)/shell.sh

boot: setup
	@$(lab)/boot.sh

qemu: setup
	@tools/qemu/build.sh

qemu-tree: setup
	@tools/qemu/tree.sh tree

qemu-refresh: setup
	@tools/qemu/tree.sh refresh

qtest: setup
	@tools/qemu/qtest.sh

nested: setup
	@tools/guest/nested.sh

soak: setup
	@tools/guest/nested.sh soak $(or $(TIME),600)

demand: setup
	@tools/guest/nested.sh demand

vmm: setup
	@tools/guest/vmm.sh

field: setup
	@SUITE="field-* kexec-* kdump-* rmrr-* suspend-* nested-suspend" $(lab)/test.sh

endure: setup
	@$(lab)/endure.sh

bench: setup
	@tools/bench/bench.sh

bench-record: setup
	@tools/bench/bench.sh record

record: setup
	@tools/bench/record.sh

bench-dma: setup
	@tools/bench/dma.sh

bench-queue: setup
	@tools/guest/nested.sh bench

bench-dirty: setup
	@tools/bench/dirty.sh

bench-pasids: setup
	@tools/bench/pasids.sh

bench-demand: setup
	@tools/bench/demand.sh

tree: setup
	@$(lab)/devtree.sh tree

refresh: setup
	@$(lab)/devtree.sh refresh

series: setup
	@$(lab)/devtree.sh series

mainline: setup
	@$(lab)/mainline.sh

deb: setup
	@$(lab)/deb.sh

deb-test: setup
	@$(lab)/deb_test.sh

clean:
	@$(lab)/clean.sh
