# SPDX-License-Identifier: GPL-2.0
# The source folder that is built: a copy of the pristine kernel brought to the
# patched state, and its configuration.  Repeating either touches only what
# differs, so that make rebuilds only what it must.
# shellcheck shell=bash

# Files with the same contents are shared with the cache; series.py replaces
# files by renaming, and kbuild with O= writes nothing here.
clone_pristine() {
	cp -al "$PRISTINE/." "$1" 2>/dev/null || cp -a "$PRISTINE/." "$1"
}

# A tree of the user's may change under us, and may have been built in.
sync_named_tree() {
	local to=$1
	"$LAB/series.py" list | sed 's,^. ,/,' >"$to.ours"
	rsync -a --delete --exclude-from="$to.ours" --exclude=/.git \
		--exclude=/.config --exclude=/include/config \
		--exclude=/include/generated --exclude='/arch/*/include/generated' \
		--exclude='*.o' --exclude='*.a' --exclude='*.ko' --exclude='.*.cmd' \
		--exclude='*.order' "$PRISTINE/" "$to/"
}

# assemble_tree NAME [STEPS] [PATCH]: $WORK/NAME becomes PRISTINE with the series, or
# its first STEPS patches, applied, and then PATCH.
assemble_tree() {
	local to=$WORK/$1 steps=${2:-} also=${3:-} was
	mkdir -p "$WORK"
	was=$(cat "$to.base" 2>/dev/null) || true
	if [ "$was" != "$PRISTINE" ] || [ ! -d "$to" ]; then
		say "copying the kernel source"
		rm -rf "$to" "$to.base" "$to.manifest"
		case $1 in
		src) rm -rf "$WORK"/obj-lab "$WORK"/obj-kasan "$WORK"/obj-kcsan ;;
		*) rm -rf "$WORK/obj-$1" ;;
		esac
		if [ -n "${KERNEL_SRC:-}" ] && [ -d "$KERNEL_SRC" ]; then
			whole "$to" true
			sync_named_tree "$to"
			rm -f "$to.ours"
			# what the series changes was left out, and is put in below
			"$LAB/series.py" list | sed 's/^. //' >"$to.manifest"
		else
			whole "$to" clone_pristine
		fi
		echo "$PRISTINE" >"$to.base"
	elif [ -n "${KERNEL_SRC:-}" ] && [ -d "$KERNEL_SRC" ]; then
		sync_named_tree "$to"
	fi
	"$LAB/series.py" assemble ${steps:+--steps "$steps"} ${also:+--also "$also"} \
		"$PRISTINE" "$to" "$to.manifest" | sed 's/^/lab:   /' >&2
}

# kunit_fragment SRC: switches on the tests that the series brings.
kunit_fragment() {
	sed -nE 's/^config ((INTEL_IOMMU|IOMMU|VFIO)_.*KUNIT_TEST)$/CONFIG_\1=y/p' \
		"$1"/drivers/{iommu,vfio}/Kconfig "$1"/drivers/iommu/intel/Kconfig*
}

# configure SRC OBJ FRAGMENT...: tinyconfig, the fragments and the series' own
# tests; every symbol that is asked for must stick.
configure() {
	local src=$1 obj=$2 state
	shift 2
	mkdir -p "$obj"
	kunit_fragment "$src" >"$obj/.lab-kunit.config"
	set -- "$@" "$obj/.lab-kunit.config"
	state=$({ cat "$@"; cat "$(realpath "$LAB/tree.sh")"; gcc --version
		  find "$src/drivers/iommu" "$src/drivers/vfio" \
			-name 'Kconfig*' -exec cat {} +; } | sha256sum)
	[ "$state" != "$(cat "$obj/.lab-config" 2>/dev/null)" ] ||
		[ ! -f "$obj/.config" ] || return 0
	say "configuring the kernel"
	# merge_config.sh asks make for the rest, which says what it lacks
	(cd "$src" && scripts/kconfig/merge_config.sh -n -O "$obj" \
		kernel/configs/tiny-base.config kernel/configs/tiny.config \
		arch/x86/configs/tiny.config "$@") </dev/null \
		>"$obj/.lab-config.log" 2>&1 ||
		{ tail -20 "$obj/.lab-config.log" >&2; die "configuration failed"; }
	requested_symbols "$obj/.config" "$@"
	echo "$state" >"$obj/.lab-config"
}

# requested_symbols CONFIG FRAGMENT...: the last word on a symbol counts.
requested_symbols() {
	local config=$1 missing
	shift
	missing=$(awk '
		function symbol(line) {
			sub(/^# /, "", line)
			sub(/[= ].*/, "", line)
			return line
		}
		/^(# )?CONFIG_[A-Z0-9_]+(=| is not set)/ {
			if (FILENAME == ARGV[ARGC - 1])
				have[symbol($0)] = $0
			else
				want[symbol($0)] = $0
		}
		END {
			for (s in want) {
				if (want[s] ~ /is not set/ && !(s in have))
					continue
				if (want[s] != have[s])
					print "  " want[s]
			}
		}' "$@" "$config")
	[ -z "$missing" ] ||
		die "the kernel's configuration refuses:"$'\n'"$missing"
}
