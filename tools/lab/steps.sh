#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# The series as other people will use it, as KTAP: the exported mails apply with
# "git am" (which knows no fuzz) to every kernel in tools/lab/versions that can
# be had, and every step builds.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
. "$LAB/apt.sh"
. "$LAB/source.sh"
. "$LAB/tree.sh"
. "$LAB/targets.sh"

# vanilla_tarball VERSION SUITE: Debian's copy of the upstream release.
vanilla_tarball() {
	local file=$CACHE/tarballs/linux-$1.tar.xz source
	if [ ! -f "$file" ]; then
		# Debian 12 calls the source package by the kernel's line
		source=$(private_apt "$2" apt-cache showsrc linux linux-6.12 |
			awk -v version="$1-" '/^Package:/ { name = $2 }
				/^Version:/ && index($2, version) == 1 {
					found = name "=" $2 }
				END { print found }')
		[ -n "$source" ] || return 1
		say "fetching the release tarball of $1"
		mkdir -p "$CACHE/tarballs"
		rm -rf "$file.part"
		mkdir "$file.part"
		(cd "$file.part" && private_apt "$2" apt-get -q source \
			--only-source --download-only --tar-only "$source") >&2 ||
			return 1
		mv "$file.part"/linux*.orig.tar.xz "$file"
		rm -rf "$file.part"
	fi
	echo "$file"
}

# touched_only DIR: from the tarball on stdin, the files that the series touches.
touched_only() {
	local to=$1
	series_files . | sed 's,^,*/,' >"$to.list"
	# tar complains of the files that the series adds; those that it changes
	# are missed by git am
	tar -xJ --strip-components=1 --wildcards --no-anchored -C "$to" \
		-T "$to.list" 2>/dev/null || [ $? = 2 ]
	rm "$to.list"
}

kernel_files() {
	local kind=$1 version=$2 suite=$3 to=$4 deb tarball
	case $kind in
	debian)
		deb=$(deb_file linux-source-6.12 "$version" "$suite") || return 1
		dpkg-deb --fsys-tarfile "$deb" |
			tar -xO --wildcards './usr/src/linux-source-*.tar.xz' |
			touched_only "$to"
		;;
	vanilla)
		tarball=$(vanilla_tarball "$version" "$suite") || return 1
		touched_only "$to" <"$tarball"
		;;
	esac
}

# git_am KIND VERSION SUITE
git_am() {
	local repo=$WORK/am kept
	kept=$CACHE/touched/$1-$2-$(series_files . | cksum | cut -d' ' -f1)
	if [ ! -d "$kept" ]; then
		mkdir -p "$CACHE/touched"
		rm -rf "$kept.part"
		mkdir "$kept.part"
		kernel_files "$@" "$kept.part" || { echo "not available"; return 4; }
		mv "$kept.part" "$kept"
	fi
	rm -rf "$repo"
	cp -a "$kept" "$repo"
	cd "$repo"
	export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1
	export GIT_COMMITTER_NAME=lab GIT_COMMITTER_EMAIL=lab@localhost
	git init -q
	git add -Af .
	git commit -q --allow-empty -m "$1 $2" --author='lab <lab@localhost>'
	git am -q "$WORK/steps.mails"/*.patch
}

# build_step TREE NUMBER
build_step() {
	local tree=$1 number=$2
	assemble_tree "$tree" "$number"
	configure "$WORK/$tree" "$WORK/obj-$tree" "$LAB/configs/lab.config"
	# shellcheck disable=SC2046
	kbuild "step $number" "$WORK/log/step-$number.log" -C "$WORK/$tree" \
		O="$WORK/obj-$tree" $(build_targets | existing "$tree")
}

# existing TREE: of the targets on stdin, those whose sources are there by now.
existing() {
	local target
	while read -r target; do
		if [ -e "$WORK/$1/${target%.o}" ] ||		# a folder
		   [ -e "$WORK/$1/${target%.o}.c" ]; then
			echo "$target"
		fi
	done
}

# build_steps TREE FIRST LAST: each leaves its status in $built
build_steps() {
	local number
	set +e
	for number in $(seq "$2" "$3"); do
		say "step $number of ${#patches[@]}: ${patches[number - 1]}"
		(set -e; build_step "$1" "$number") >"$built/$number" 2>&1
		echo $? >"$built/$number.status"
	done
}

# step_builds NUMBER NAME: did it?
step_builds() {
	cat "$built/$1"
	return "$(cat "$built/$1.status")"
}

lock "$BUILD/.lock-steps"
choose_source
"$LAB/series.py" export "$PRISTINE" "$WORK/steps.mails" >/dev/null
mapfile -t patches < <("$LAB/series.py" list --patches)
tests=()
while read -r kind version suite; do
	tests+=("git_am $kind $version $suite")
done < <(grep -v '^#' "$VERSIONS")
for number in "${!patches[@]}"; do
	tests+=("step_builds $((number + 1)) ${patches[number]}")
done

# Most steps compile one file, so two series of them keep two CPUs busy.
built=$WORK/steps.built
rm -rf "$built"
mkdir "$built"
half=$((${#patches[@]} / 2))
build_steps steps 1 "$half" &
build_steps steps-later $((half + 1)) "${#patches[@]}" &
wait
ktap "${tests[@]}"
