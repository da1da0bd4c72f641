#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# The lab tests itself, as KTAP.  Most of it runs in a scratch copy of the lab
# with a kernel of a few files and a make-believe mirror, so that interrupted
# downloads and patches that do not apply can be had at will.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
copy=$scratch/repo
export MIRROR=$scratch/mirror

. "$LAB/selftest_report.sh"

# ---- the make-believe kernel, mirror and series ------------------------------

# make_kernel DIR LINE: LINE is what the patch of the series hangs on.
make_kernel() {
	mkdir -p "$1/drivers/iommu/intel"
	printf 'VERSION = 6\nPATCHLEVEL = 12\n' >"$1/Makefile"
	touch "$1/Kbuild"
	{ seq 1 9; echo "$2"; seq 11 20; } >"$1/drivers/iommu/intel/iommu.c"
	echo pristine >"$1/drivers/iommu/intel/other.c"
}

# make_package VERSION LINE: a linux-source-6.12 package for the mirror.
make_package() {
	local top=$scratch/package
	rm -rf "$top"
	mkdir -p "$top/DEBIAN" "$top/usr/src" "$MIRROR"
	make_kernel "$scratch/linux" "$2"
	tar -cJf "$top/usr/src/linux-source-6.12.tar.xz" -C "$scratch" linux
	printf 'Package: linux-source-6.12\nVersion: %s\nArchitecture: all\nMaintainer: lab <lab@localhost>\nDescription: test\n' \
		"$1" >"$top/DEBIAN/control"
	dpkg-deb -b "$top" "$MIRROR/$1.deb" >/dev/null
	echo " linux-source-6.12 | $1 | mirror suite/main amd64 Packages" |
		cat - "$MIRROR/madison" >"$MIRROR/new" 2>/dev/null || true
	mv "$MIRROR/new" "$MIRROR/madison"
}

make_fake_apt() {
	mkdir -p "$scratch/bin"
	cat >"$scratch/bin/apt-cache" <<-'EOF'
		#!/bin/sh
		cat "$MIRROR/madison"
	EOF
	cat >"$scratch/bin/apt-get" <<-'EOF'
		#!/bin/bash
		# download PACKAGE=VERSION; while $MIRROR/slow exists it stops half-way
		version=${!#} && version=${version##*=}
		name=linux-source-6.12_${version}_all.deb
		if [ -e "$MIRROR/slow" ]; then
			head -c 300 "$MIRROR/$version.deb" >"$name"
			touch "$MIRROR/half-way"
			exec sleep 60
		fi
		cp "$MIRROR/$version.deb" "$name"
	EOF
	chmod +x "$scratch/bin/"*
}

make_series() {
	mkdir -p "$copy/tools" "$copy/series" "$copy/drivers/iommu/intel"
	cp -a "$LAB" "$copy/tools/lab"
	echo 'debian 1-older suite' >"$copy/tools/lab/versions"
	echo 'int new;' >"$copy/drivers/iommu/intel/new.c"
	printf 'config NEW\n' >"$copy/Kconfig.snippet"
	printf '0001-change.patch\n0002-add.patch\n' >"$copy/series/series"
	cat >"$copy/series/0001-change.patch" <<-'EOF'
		From: A Person <a@localhost>
		Subject: [PATCH] iommu/vt-d: Change a line

		It was another one.

		Signed-off-by: A Person <a@localhost>
		---
		--- a/drivers/iommu/intel/iommu.c
		+++ b/drivers/iommu/intel/iommu.c
		@@ -7,7 +7,7 @@
		 7
		 8
		 9
		-ten
		+TEN
		 11
		 12
		 13
	EOF
	cat >"$copy/series/0002-add.patch" <<-'EOF'
		From: A Person <a@localhost>
		Subject: [PATCH] iommu/vt-d: Add a file
		Overlay: drivers/iommu/intel/new.c
		Overlay: Kconfig.snippet=drivers/iommu/intel/Kconfig.new

		And its option.

		Signed-off-by: A Person <a@localhost>
		---
	EOF
}

fresh() {
	chmod -R u+w "$scratch"
	rm -rf "${scratch:?}"/*
	make_fake_apt
	make_series
	: | { mkdir -p "$MIRROR"; cat >"$MIRROR/madison"; }
	make_package 1-older ten
}

# in_copy COMMAND...: with the scratch lab, its mirror and its cache.
in_copy() {
	PATH=$scratch/bin:$PATH VTD_CACHE=$scratch/cache bash -euo pipefail -c '
		. "$0/lib.sh"; . "$LAB/apt.sh"; . "$LAB/source.sh"; . "$LAB/tree.sh"
		"$@"' "$copy/tools/lab" "$@"
}
chosen() { in_copy eval 'choose_source; echo "$PRISTINE"'; }
assembled() { in_copy eval 'choose_source; assemble_tree src'; }
series() { python3 "$copy/tools/lab/series.py" "$@"; }

# fails_saying TEXT COMMAND...
fails_saying() {
	local text=$1 said
	shift
	if said=$("$@" 2>&1); then
		echo "this should fail: $*"
		return 1
	fi
	grep -qF -- "$text" <<<"$said" || { echo "said: $said"; return 1; }
}

# absent is grep that must find nothing. After a plain "!", set -e does not end a test.
absent() { ! grep "$@"; }

# ---- tests -------------------------------------------------------------------

setup_has_nothing_to_do() {
	local said start=$SECONDS
	said=$("$LAB/setup.sh" 2>&1)
	[ -z "$said" ] || { echo "said: $said"; return 1; }
	[ $((SECONDS - start)) -le 3 ] || { echo "took $((SECONDS - start)) s"; return 1; }
}

interrupted_download_is_redone() {
	local job
	fresh
	touch "$MIRROR/slow"
	set -m
	chosen >/dev/null 2>&1 &
	job=$!
	set +m
	until [ -e "$MIRROR/half-way" ]; do sleep 0.1; done
	kill -KILL -- -$job
	wait $job 2>/dev/null || true
	[ ! -e "$scratch/cache/src/debian-1-older" ]
	rm "$MIRROR/slow"
	grep -qx ten "$(chosen)/drivers/iommu/intel/iommu.c"
}

half_unpacked_kernel_is_redone() {
	fresh
	mkdir -p "$scratch/cache/src/debian-1-older.part/junk"
	[ ! -e "$(chosen)/junk" ]
	grep -qx ten "$(chosen)/drivers/iommu/intel/iommu.c"
}

# as on a full disk
kernel_that_cannot_be_unpacked_is_redone() {
	fresh
	printf '#!/bin/sh\n/bin/tar "$@"; exit 2\n' >"$scratch/bin/tar"
	chmod +x "$scratch/bin/tar"
	fails_saying 'cannot fetch or unpack' chosen
	[ ! -e "$scratch/cache/src/debian-1-older" ]
	rm "$scratch/bin/tar"
	grep -qx ten "$(chosen)/drivers/iommu/intel/iommu.c"
}

newest_kernel_is_preferred_and_kept() {
	fresh
	make_package 2-newer ten
	grep -q 2-newer <<<"$(chosen)"
	make_package 3-newest ten
	grep -q 2-newer <<<"$(chosen)"
}

tested_kernel_is_the_fallback() {
	local said
	fresh
	make_package 2-newer changed-upstream
	said=$(in_copy eval 'choose_source; echo "$PRISTINE"' 2>&1)
	grep -q '0001-change.patch does not apply' <<<"$said"
	grep -q 'drivers/iommu/intel/iommu.c: Hunk #1 FAILED' <<<"$said"
	grep -q 'newest tested one instead: 1-older' <<<"$said"
	grep -q 'debian-1-older$' <<<"$said"
}

no_kernel_takes_the_series() {
	fresh
	echo 'debian 0-none suite' >"$copy/tools/lab/versions"
	make_package 2-newer changed-upstream
	fails_saying 'iommu.c: Hunk #1 FAILED' chosen
	fails_saying 'no tested version' chosen
}

fuzz_is_refused() {
	fresh
	make_kernel "$scratch/fuzzy" ten
	sed -i 's/^8$/eight/' "$scratch/fuzzy/drivers/iommu/intel/iommu.c"
	fails_saying 'does not apply' series test "$scratch/fuzzy"
	sed -i 's/^eight$/8/; 1i one more' "$scratch/fuzzy/drivers/iommu/intel/iommu.c"
	series test "$scratch/fuzzy"
}

only_what_changed_is_touched() {
	local src=$copy/build/src/drivers/iommu/intel
	fresh
	assembled
	grep -qx TEN "$src/iommu.c"
	cmp "$src/Kconfig.new" "$copy/Kconfig.snippet"
	grep -qx ten "$scratch/cache/src/debian-1-older/drivers/iommu/intel/iommu.c"
	touch -d 2001-01-01 "$src"/*
	touch "$copy/drivers/iommu/intel/new.c"
	assembled
	[ -z "$(find "$src" -type f -newermt 2002-01-01)" ]
	echo 'int newer;' >"$copy/drivers/iommu/intel/new.c"
	assembled
	[ "$(find "$src" -type f -newermt 2002-01-01)" = "$src/new.c" ]
	# what leaves the series is as the kernel has it, and is seen as new
	echo 0002-add.patch >"$copy/series/series"
	assembled
	grep -qx ten "$src/iommu.c"
	find "$src/iommu.c" -newermt 2002-01-01 | grep -q .
}

named_tree_follows_its_owner() {
	local src
	fresh
	make_kernel "$scratch/mine" ten
	export KERNEL_SRC=$scratch/mine
	assembled
	src=$(echo "$copy"/build/named/*/src)
	grep -qx TEN "$src/drivers/iommu/intel/iommu.c"
	echo edited >"$scratch/mine/drivers/iommu/intel/other.c"
	assembled
	grep -qx edited "$src/drivers/iommu/intel/other.c"
	grep -qx TEN "$src/drivers/iommu/intel/iommu.c"
	grep -qx ten "$scratch/mine/drivers/iommu/intel/iommu.c"
	sed -i 's/^PATCHLEVEL.*/PATCHLEVEL = 1/' "$scratch/mine/Makefile"
	fails_saying 'not a 6.12.y kernel' chosen
}

mistakes_in_the_series_are_named() {
	fresh
	touch "$copy/drivers/iommu/intel/lost.c"
	fails_saying 'no patch names drivers/iommu/intel/lost.c' series check
	rm "$copy/drivers/iommu/intel/lost.c"
	series check
	sed -i 's/^Subject/Overlay: Kconfig.snippet=drivers\/iommu\/intel\/Kconfig.new\n&/' \
		"$copy/series/0001-change.patch"
	fails_saying 'Kconfig.new is named by' series check
	sed -i '/^Overlay/d' "$copy/series/0001-change.patch"
	make_topics
	cp "$copy/series/two/0002-add.patch" "$copy/series/one/0003-again.patch"
	sed -i 's/Add a file/Change it again/; /^Overlay/d
		$r '<(sed -n '/^--- a/,$p' "$copy/series/one/0001-change.patch") \
		"$copy/series/one/0003-again.patch"
	printf '%s\n' one/0001-change.patch two/0002-add.patch one/0003-again.patch \
		>"$copy/series/series"
	fails_saying 'one is interrupted by two' series check
}

wide_and_missing_covers_are_named() {
	fresh
	make_topics
	printf '\nA table:\n\n\t\t\t\t%s\n' "$(printf '%043d' 0)" >>"$copy/series/two/cover"
	series check
	sed -i 's/^\t\t\t\t/&0/' "$copy/series/two/cover"
	fails_saying 'more than 75 columns' series check
	fails_saying "two/cover: $(printf '\t\t\t\t%044d' 0)" series check
	rm "$copy/series/two/cover"
	fails_saying 'the topic two has no cover' series check
}

# make_topics: the two patches in a folder each
make_topics() {
	mkdir "$copy/series/one" "$copy/series/two"
	mv "$copy/series/0001-change.patch" "$copy/series/one"
	mv "$copy/series/0002-add.patch" "$copy/series/two"
	printf 'one/0001-change.patch\ntwo/0002-add.patch\n' >"$copy/series/series"
	printf 'iommu/vt-d: One\n\nHow.\n' >"$copy/series/one/cover"
	printf 'iommu/vt-d: Two\n\nWhy.\n' >"$copy/series/two/cover"
}

a_topic_is_mailed_by_a_person() {
	local cover mail
	fresh
	make_topics
	make_kernel "$scratch/upstream" ten
	series export --topic two --from 'B Person <b@localhost>' "$scratch/upstream" \
		"$scratch/mails"
	[ "$(ls "$scratch/mails" | wc -l)" = 2 ]
	cover=$(cat "$scratch/mails"/0000-*)
	mail=$(cat "$scratch/mails"/0001-*)
	grep -qx 'Subject: \[PATCH 0/1\] iommu/vt-d: Two' <<<"$cover"
	grep -qx 'From: B Person <b@localhost>' <<<"$cover"
	grep -qx 'Why\.' <<<"$cover"
	grep -qx 'From: B Person <b@localhost>' <<<"$mail"
	grep -qx 'Subject: \[PATCH 1/1\] iommu/vt-d: Add a file' <<<"$mail"
	[ "$(tail -n +4 <<<"$mail" | grep '^Signed-off-by' | tail -1)" = \
		'Signed-off-by: B Person <b@localhost>' ]
	absent TEN "$scratch/mails"/*
	fails_saying 'three is no topic: there are one two' \
		series export --topic three "$scratch/upstream" "$scratch/mails"
}

a_cover_says_what_its_reader_lacks() {
	local cover
	fresh
	make_topics
	make_kernel "$scratch/upstream" ten
	series export --topic two "$scratch/upstream" "$scratch/mails"
	cover=$(cat "$scratch/mails"/0000-*)
	paste -sd' ' <<<"$cover" | grep -qF 'exported from; ask the sender.'
	grep -qF 'Names like "two"' <<<"$cover"
	diff <(sed -n '/^  one/,/^$/p' <<<"$cover") - <<-'EOF'
		  one (1 patch)
		    iommu/vt-d: One
		  two (1 patch, this one)
		    iommu/vt-d: Two

	EOF
	series export --topic two --url https://example.org/vtd "$scratch/upstream" \
		"$scratch/mails"
	cover=$(cat "$scratch/mails"/0000-*)
	grep -qE '(^| )https://example.org/vtd$' <<<"$cover"
	absent 'ask' <<<"$cover"
}

# exported_maintainers ARGUMENT...: who becomes a maintainer by the mails
exported_maintainers() {
	series export "$@" "$scratch/upstream" "$scratch/mails" >/dev/null
	sed -n 's/^+M:\t//p' "$scratch"/mails/*
}

the_sender_is_the_maintainer() {
	fresh
	make_kernel "$scratch/upstream" ten
	seq 1 3 >"$scratch/upstream/MAINTAINERS"
	cat >"$copy/MAINTAINERS.patch" <<-'EOF'
		From: A Person <a@localhost>
		Subject: [PATCH] MAINTAINERS: Add two persons

		They exist.
		---
		--- a/MAINTAINERS
		+++ b/MAINTAINERS
		@@ -1,3 +1,5 @@
		 1
		+M:	A Person <a@localhost>
		+M:	C Person <c@localhost>
		 2
		 3
	EOF
	echo ../MAINTAINERS.patch >>"$copy/series/series"
	diff <(exported_maintainers) - <<-'EOF'
		A Person <a@localhost>
		C Person <c@localhost>
	EOF
	diff <(exported_maintainers --from 'B Person <b@localhost>') - <<-'EOF'
		B Person <b@localhost>
		C Person <c@localhost>
	EOF
}

mainline_fixes_are_mailed_by_a_person() {
	local mail trailers
	"$LAB/series.py" export-mainline --from 'B Person <b@localhost>' "$scratch/fixes" \
		>/dev/null
	[ "$(ls "$scratch/fixes")" = "$(cd "$ROOT/series/mainline" && ls -- *.patch)" ]
	for mail in "$scratch"/fixes/*; do
		[ "$(head -n 1 "$mail")" = 'From: B Person <b@localhost>' ]
		# the last paragraph has all trailers, and nothing else
		trailers=$(sed '/^---$/Q' "$mail" | awk -v RS= '{ last = $0 } END { print last }')
		[ "$(tail -n 1 <<<"$trailers")" = 'Signed-off-by: B Person <b@localhost>' ]
		[ "$(grep -c '^Fixes: [0-9a-f]\{12\} ("' <<<"$trailers")" -ge 1 ]
		absent -vE '^(Fixes|Cc|Signed-off-by): ' <<<"$trailers"
		absent 'Seed\|users.noreply' "$mail"
	done
}

mails_give_the_same_tree() {
	fresh
	assembled
	make_kernel "$scratch/upstream" ten
	series export "$scratch/upstream" "$scratch/mails"
	series export "$scratch/upstream" "$scratch/again"
	diff -r "$scratch/mails" "$scratch/again"
	absent '^Overlay' "$scratch/mails"/*
	cd "$scratch/upstream"
	export GIT_AUTHOR_NAME=lab GIT_AUTHOR_EMAIL=lab@localhost
	export GIT_COMMITTER_NAME=lab GIT_COMMITTER_EMAIL=lab@localhost
	git init -q
	git add .
	git commit -q -m kernel
	git am -q "$scratch/mails"/*
	rm -rf .git
	diff -r . "$copy/build/src"
}

# make_tree: the development tree of the scratch series, in $tree.
make_tree() {
	make_kernel "$scratch/upstream" ten
	tree=$copy/build/tree
	mkdir -p "$copy/build"
	series tree "$scratch/upstream" "$tree" kernel
	git -C "$tree" config user.name lab
	git -C "$tree" config user.email lab@localhost
	cp -a "$copy" "$scratch/before"
}

# differs PATH...: exactly these differ from what they were before.
differs() {
	diff -rq -x build -x __pycache__ "$scratch/before" "$copy" |
		sed -E "s,^Files $scratch/before/(.*) and .*,\1,
			s,^Only in $copy/?(.*): (.*),\1/\2," >"$scratch/differs" || true
	diff <(printf '%s\n' "$@" | sort) <(sort "$scratch/differs")
}

refresh_changes_nothing_by_itself() {
	fresh
	make_tree
	series refresh "$tree"
	[ -z "$(diff -rq -x build -x __pycache__ "$scratch/before" "$copy")" ]
}

refresh_takes_changes_back() {
	fresh
	make_tree
	echo 'int newer;' >"$tree/drivers/iommu/intel/new.c"
	fails_saying 'not committed' series refresh "$tree"
	fails_saying 'not in the series' series tree "$scratch/upstream" "$tree" kernel
	git -C "$tree" commit -q -a --amend --no-edit
	series refresh "$tree"
	differs drivers/iommu/intel/new.c
	sed -i 's/^15$/fifteen/' "$tree/drivers/iommu/intel/iommu.c"
	git -C "$tree" commit -q -a -s -m 'iommu/vt-d: Change another line' -m 'It was 15.'
	series refresh "$tree"
	differs drivers/iommu/intel/new.c series/series \
		series/0003-iommu-vt-d-Change-another-line.patch
	series test "$scratch/upstream"
	series tree "$scratch/upstream" "$tree" kernel
	grep -qx fifteen "$tree/drivers/iommu/intel/iommu.c"
}

refresh_refuses_what_is_no_series() {
	fresh
	make_tree
	echo 'int newer;' >"$tree/drivers/iommu/intel/new.c"
	git -C "$tree" commit -q -a -s -m 'iommu/vt-d: Change the new file' -m 'So.'
	fails_saying "a new file belongs to one patch as a whole" series refresh "$tree"
	git -C "$tree" commit -q --amend -m 'fixup! iommu/vt-d: Add a file'
	fails_saying 'autosquash' series refresh "$tree"
	[ -z "$(diff -rq -x build -x __pycache__ "$scratch/before" "$copy")" ]
}

# make_qemu: a source of QEMU of one file, and a patch for it
make_qemu() {
	local cached=$scratch/cache/qemu-src/1
	mkdir -p "$copy/tools/qemu" "$cached" "$scratch/source/configs/devices/x86_64-softmmu"
	cp "$LAB/../qemu/"{tree,source}.sh "$copy/tools/qemu"
	touch "$copy/tools/qemu/devices.mak" "$cached/qemu_1.dsc"
	echo '1 suite' >"$copy/tools/qemu/versions"
	printf '# Patches\n0007-iommu-vt-d-Change-a-line.patch\n' >"$copy/tools/qemu/series"
	seq 1 9 >"$scratch/source/vtd.c"
	sed 's,drivers/iommu/intel/iommu.c,vtd.c,; s/ten/10/; s/TEN/ten/' \
		"$copy/series/0001-change.patch" |
		sed '/^@@/,$d' >"$copy/tools/qemu/0007-iommu-vt-d-Change-a-line.patch"
	printf '%s\n' '@@ -1,3 +1,3 @@' ' 1' '-2' '+two' ' 3' \
		>>"$copy/tools/qemu/0007-iommu-vt-d-Change-a-line.patch"
	printf '#!/bin/sh\ncp -a "%s" "$4"\n' "$scratch/source" >"$scratch/bin/dpkg-source"
	printf '#!/bin/sh\nprintf "installed %%s\\n" git dpkg-dev\n' >"$scratch/bin/dpkg-query"
	chmod +x "$scratch/bin/"*
}

qemu_tree() { in_copy "$copy/tools/qemu/tree.sh" "$@"; }

qemu_tree_and_back() {
	local tree=$copy/build/qemu-tree patches=$copy/tools/qemu
	local was=$patches/0007-iommu-vt-d-Change-a-line.patch
	fresh
	make_qemu
	fails_saying 'make qemu-tree' qemu_tree refresh
	qemu_tree tree
	grep -qx two "$tree/vtd.c"
	qemu_tree refresh
	diff "$patches/series" <(printf '# Patches\n%s\n' "${was##*/}")
	cp "$was" "$scratch/was"
	sed -i 's/^7$/seven/' "$tree/vtd.c"
	fails_saying 'not committed' qemu_tree refresh
	fails_saying 'not in tools/qemu' qemu_tree tree
	git -C "$tree" config user.name lab
	git -C "$tree" config user.email lab@localhost
	git -C "$tree" commit -q -a -m 'fixup! something'
	fails_saying 'autosquash' qemu_tree refresh
	git -C "$tree" commit -q --amend -m 'Change another line'
	qemu_tree refresh
	diff "$was" "$scratch/was"
	grep -qx 0007x-Change-another-line.patch "$patches/series"
	qemu_tree tree
	grep -qx seven "$tree/vtd.c"
	sed -i 's/two/too/' "$was"
	sed -i 's/^-2$/-zwei/' "$was"
	fails_saying 'does not apply' qemu_tree tree
}

patches_that_scripts_name_exist() {
	local name missing=0
	while read -r name; do
		[ -e "$ROOT/series/$name" ] || [ -e "$ROOT/tools/qemu/$name" ] ||
			{ echo "$name"; missing=1; }
	done < <(grep -rhoE --exclude=selftest.sh --exclude-dir=qemu \
		'\b([0-9]{2}-[a-z-]+/[0-9]{2}|[0-9]{4}[a-z]*)-[a-z0-9_-]+\.patch\b' "$ROOT/tools" "$ROOT/Makefile" \
		"$ROOT/README" | sort -u)
	return $missing
}

configuration_must_stick() {
	fresh
	printf 'CONFIG_A=y\n# CONFIG_B is not set\n# CONFIG_C is not set\n' >"$scratch/have"
	printf 'CONFIG_A=y\n# CONFIG_B is not set\n# CONFIG_D is not set\n' >"$scratch/want"
	in_copy requested_symbols "$scratch/have" "$scratch/want"
	echo 'CONFIG_C=y' >>"$scratch/want"
	fails_saying 'CONFIG_C=y' in_copy requested_symbols "$scratch/have" "$scratch/want"
	sed -i 's/CONFIG_C/CONFIG_E/' "$scratch/want"
	fails_saying 'CONFIG_E=y' in_copy requested_symbols "$scratch/have" "$scratch/want"
}

# totals EXPECTED < log
totals() {
	cat >"$scratch/log"
	"$LAB/ktap.py" --kernel "$source" "$scratch/log" >"$scratch/said" || true
	[ "$(tail -1 "$scratch/said")" = "$1" ] || { cat "$scratch/said"; return 1; }
}

every_kind_of_result_is_counted() {
	fresh
	printf 'KTAP version 1\n1..3\nok 1 a\nnot ok 2 b\nok 3 c # SKIP\n' |
		totals '1 passed, 1 failed, 1 skipped'
	printf '' | totals '0 passed, 1 failed, 0 skipped'
	printf 'KTAP version 1\n1..2\nok 1 a\n' | totals '1 passed, 1 failed, 0 skipped'
	printf 'KTAP version 1\n1..1\nok 1 a\nTAP version 13\n1..1\nok 1 b\n' |
		totals '2 passed, 0 failed, 0 skipped'
	printf '[    1.000000] KTAP version 1\n[    1.000001] 1..1\n[    1.000002] ok 1 a\n[    2.000000] BUG: KASAN: x\n' |
		totals '1 passed, 1 failed, 0 skipped'
}

lines_that_get_lost_are_failures() {
	fresh
	# the plan
	printf 'KTAP version 1\nok 1 a\n' | totals '1 passed, 1 failed, 0 skipped'
	# the header of the second document, with its plan, and of the first
	printf 'KTAP version 1\n1..1\nok 1 a\n1..2\nok 1 a\nnot ok 2 b\n' |
		totals '1 passed, 1 failed, 0 skipped'
	printf 'KTAP version 1\n1..1\nok 1 a\nok 1 a\nnot ok 2 b\n' |
		totals '1 passed, 1 failed, 0 skipped'
	printf '1..2\nok 1 a\nnot ok 2 b\nKTAP version 1\n1..1\nok 1 a\n' |
		totals '1 passed, 1 failed, 0 skipped'
	# the last result of a subtest, which the kernel's parser dies of
	printf 'KTAP version 1\n1..1\n    KTAP version 1\n    1..2\n    ok 1 x\nok 1 a\n' |
		totals '0 passed, 1 failed, 0 skipped'
	# nothing is lost where a program has the kernel run a suite
	printf 'KTAP version 1\n1..1\n[    1.000000] ok 1 suite\nok 1 a\n' |
		totals '1 passed, 0 failed, 0 skipped'
}

# all_tests EXPECTED SUITE: the last line of test.sh with a make-believe kernel, and a
# suite called "lab"
all_tests() {
	local status=0 expected=1
	[[ $1 != *', 0 failed,'* ]] || expected=0
	SUITE=$2 in_copy "$copy/tools/lab/test.sh" >"$scratch/said" 2>&1 || status=$?
	[ "$(tail -1 "$scratch/said")" = "$1" ] && [ "$status" = "$expected" ] ||
		{ cat "$scratch/said"; return 1; }
}

what_is_not_counted_fails() {
	fresh
	mkdir -p "$copy/tools/qemu"
	printf '#!/bin/sh\necho %s\n' "$kernel" >"$copy/tools/lab/kernel.sh"
	printf '#!/bin/sh\nprintf "KTAP version 1\\n1..1\\nok 1 a\\n"\n' \
		>"$copy/tools/lab/selftest.sh"
	printf '#!/bin/sh\n' >"$copy/tools/qemu/build.sh"
	chmod +x "$copy/tools/qemu/build.sh"
	all_tests '1 passed, 0 failed, 0 skipped' lab
	all_tests '1 passed, 1 failed, 0 skipped' 'lab laboratory'
	echo 'raise SystemExit(1)' >"$copy/tools/lab/ktap.py"
	all_tests '0 passed, 1 failed, 0 skipped' lab
	grep -qx 'lab: cannot be counted' "$scratch/said"
}

endurance_wants_results() {
	local fake=$copy/tools/guest/nested.sh
	fresh
	mkdir -p "$copy/tools/guest"
	printf '#!/bin/sh\necho %s\n' "$kernel" >"$copy/tools/lab/kernel.sh"
	printf '#!/bin/sh\n' >"$copy/tools/lab/setup.sh"
	printf '#!/bin/sh\nprintf "KTAP version 1\\n1..1\\nok 1 a\\n"\n' >"$fake"
	chmod +x "$fake"
	WHAT=strict COUNT=2 in_copy "$copy/tools/lab/endure.sh"
	sed -i 's/1\.\.1/1..2/' "$fake"
	fails_saying '2 runs, 2 failed' env WHAT=strict COUNT=2 \
		VTD_CACHE="$scratch/cache" "$copy/tools/lab/endure.sh"
	fails_saying 'no number of runs' env WHAT=strict COUNT=0 \
		VTD_CACHE="$scratch/cache" "$copy/tools/lab/endure.sh"
}

boot_tells_how_the_guest_ended() {
	local status=0
	export KERNEL=$kernel LOG=$scratch/console
	"$LAB/boot.sh" </dev/null >/dev/null 2>&1 || status=$?
	[ "$status" = 1 ] || { echo "panic: status $status"; return 1; }
	status=0
	# after this panic the kernel stays, however fast the machine is
	ARGS=panic=0 TIMEOUT=1 "$LAB/boot.sh" </dev/null >/dev/null 2>&1 || status=$?
	[ "$status" = 124 ] || { echo "time-out: status $status"; return 1; }
	ARGS=kunit_shutdown=poweroff "$LAB/boot.sh" </dev/null >/dev/null 2>&1
}

# given_up EXPECTED SECONDS SCRIPT
given_up() {
	local status=0 expected=$1
	"$LAB/guest.py" "$2" sh -c "$3" >/dev/null || status=$?
	[ "$status" = "$expected" ] || { echo "$3: status $status"; return 1; }
}

a_silent_guest_is_given_up() {
	given_up 0 2 'for i in 1 2 3 4 5 6; do echo; sleep 1; done'
	given_up 3 0 'sleep 2; exit 3'
	given_up 124 1 'exec sleep 60'
	given_up 124 .2 'while :; do echo; sleep .1; done'
	# QEMU that hangs while it ends, when its console is closed already
	given_up 124 1 'exec sleep 60 >&-'
	given_up 3 1 'exec >&-; exit 3'
}

# Silent work that goes on for eight seconds, of which it gets the CPU for a fraction,
# however fast that is
a_slow_guest_is_not_given_up() {
	local work='import time
end = time.monotonic() + 8
while time.monotonic() < end: pass'
	local status=0 cpu busy='' i start
	cpu=$(taskset -pc $BASHPID | sed 's/.*[^0-9]//')
	for i in 1 2 3 4; do
		taskset -c "$cpu" sh -c 'while :; do :; done' &
		busy+=" $!"
	done
	start=$SECONDS
	taskset -c "$cpu" nice -n 10 "$LAB/guest.py" 3 python3 -c "$work" || status=$?
	# shellcheck disable=SC2086
	kill $busy
	echo "status $status after $((SECONDS - start)) s"
	[ "$status" = 0 ] && [ $((SECONDS - start)) -gt 3 ]
}

machines_differ_in_what_they_offer() {
	local machine
	export KERNEL=$kernel
	for machine in first second legacy caching; do
		MACHINE=$machine LOG=$scratch/$machine ARGS=kunit_shutdown=poweroff \
			"$LAB/boot.sh" </dev/null >/dev/null 2>&1
	done
	# ECAP: SMTS is bit 43, FLTS 47, SLTS 46; CAP: CM is bit 7
	offers "$scratch/first" 1100
	offers "$scratch/second" 1010
	offers "$scratch/caching" 1011
	offers "$scratch/legacy" 0000
}

# offers LOG BITS: scalable mode, first stage, second stage, caching mode
offers() {
	local cap ecap
	read -r cap ecap < <(sed -nE \
		's/.*DMAR: dmar0: reg_base_addr.* cap ([0-9a-f]*) ecap ([0-9a-f]*).*/\1 \2/p' "$1")
	[ "$((0x$ecap >> 43 & 1))$((0x$ecap >> 47 & 1))$((0x$ecap >> 46 & 1))$((0x$cap >> 7 & 1))" = "$2" ] ||
		{ echo "cap $cap ecap $ecap"; return 1; }
}

unset KERNEL_SRC
kernel=${KERNEL:-$("$LAB/kernel.sh" | tail -1)}
source=${kernel%/arch/x86/boot/bzImage}/source
ktap setup_has_nothing_to_do interrupted_download_is_redone \
	half_unpacked_kernel_is_redone kernel_that_cannot_be_unpacked_is_redone \
	newest_kernel_is_preferred_and_kept \
	tested_kernel_is_the_fallback no_kernel_takes_the_series \
	fuzz_is_refused only_what_changed_is_touched named_tree_follows_its_owner \
	mistakes_in_the_series_are_named wide_and_missing_covers_are_named \
	mails_give_the_same_tree a_topic_is_mailed_by_a_person \
	a_cover_says_what_its_reader_lacks the_sender_is_the_maintainer \
	mainline_fixes_are_mailed_by_a_person \
	refresh_changes_nothing_by_itself refresh_takes_changes_back \
	refresh_refuses_what_is_no_series qemu_tree_and_back patches_that_scripts_name_exist \
	configuration_must_stick \
	every_kind_of_result_is_counted lines_that_get_lost_are_failures \
	what_is_not_counted_fails endurance_wants_results \
	boot_tells_how_the_guest_ended \
	a_silent_guest_is_given_up a_slow_guest_is_not_given_up \
	machines_differ_in_what_they_offer "${REPORT_TESTS[@]}"
