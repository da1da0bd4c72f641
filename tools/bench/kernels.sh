# SPDX-License-Identifier: GPL-2.0
# The benchmark's kernels: user-mode Linux 7.3 with its page-table libraries, and 6.12 with
# the page-table code of its VT-d driver. Our library is in both.
# shellcheck shell=bash

PEERS=linux-source-7.3
PEERS_SUITE=trixie-backports

# Definitions of 6.12's VT-d driver that map, unmap and free first-level tables.
DMA_PTE_H=(
	VTD_PAGE_SHIFT VTD_PAGE_SIZE VTD_PAGE_MASK VTD_STRIDE_SHIFT VTD_STRIDE_MASK
	DMA_PTE_READ DMA_PTE_WRITE DMA_PTE_LARGE_PAGE DMA_PTE_SNP
	DMA_FL_PTE_PRESENT DMA_FL_PTE_US DMA_FL_PTE_ACCESS DMA_FL_PTE_DIRTY
	LEVEL_STRIDE LEVEL_MASK MAX_AGAW_WIDTH MAX_AGAW_PFN_WIDTH
	dma_pte dmar_domain to_dmar_domain dma_clear_pte dma_pte_addr
	dma_pte_present dma_pte_superpage first_pte_in_page nr_pte_to_next_page
	agaw_to_level agaw_to_width width_to_agaw level_to_offset_bits
	pfn_level_offset level_mask level_size align_to_level lvl_to_nr_pages
	mm_to_dma_pfn_start page_to_dma_pfn virt_to_dma_pfn aligned_nrpages
)
DMA_PTE_C=(
	__DOMAIN_MAX_PFN __DOMAIN_MAX_ADDR DOMAIN_MAX_PFN domain_pfn_supported
	domain_flush_cache pfn_to_dma_pte dma_pfn_level_pte dma_pte_clear_range
	dma_pte_free_level dma_pte_free_pagetable dma_pte_list_pagetables
	dma_pte_clear_level domain_unmap guestwidth_to_adjustwidth md_domain_init
	domain_exit hardware_largepage_caps switch_to_super_page __domain_mapping
	intel_iommu_map intel_iommu_map_pages intel_iommu_unmap
	intel_iommu_unmap_pages intel_iommu_iova_to_phys
)

# The series' optimizations of the iommu core, and the patches that they need
CORE_FILES=(drivers/iommu/iommu.c include/linux/iommu.h)
CORE_PATCHES=(04-paging-lookups/01-add-free_empty_tables-for-owners-of-an-address-space.patch
	04-paging-lookups/02-skip-the-page-size-search-for-single-pages.patch
	04-paging-lookups/03-add-iommu_iova_to_phys_length.patch)

# peers_source: prints the folder of the newest 7.3, or of an already unpacked one if the
# mirror no longer has any; status 1 if there is none.
peers_source() {
	local version dir deb
	version=$(private_apt $PEERS_SUITE apt-cache \
		-o Dir::State::status=/dev/null madison $PEERS |
		awk -F' *[|] *' '/Packages/ { print $2; exit }') || true
	if [ -z "$version" ]; then
		version=$(find "$SRC" -maxdepth 1 -name 'debian-7.3.*' ! -name '*.part' \
			-printf '%f\n' | sort -V | tail -1)
		version=${version#debian-}
	fi
	[ -n "$version" ] || return 1
	dir=$SRC/debian-$version
	if [ ! -d "$dir" ]; then
		deb=$(deb_file $PEERS "$version" $PEERS_SUITE) || return 1
		whole "$dir" unpack_deb "$deb"
	fi
	echo "$dir"
}

# add_lines FILE LINE...: writes the file of SOURCE with the lines appended
add_lines() {
	local file=$1
	shift
	{ cat "$SOURCE/$file"; printf '%s\n' "$@"; } | write_if_changed "$TREE/$file"
}

# Both kernels get the benchmark, our library unmodified, and 6.12's version of the header
# that it includes.
add_bench() {
	local to=$TREE/drivers/iommu/bench ours=$ROOT/drivers/iommu/intel file
	mkdir -p "$to/pgtable"
	for file in "$BENCH"/kernel/*; do
		write_if_changed "$to/${file##*/}" <"$file"
	done
	for file in pgtable.c pgtable.h pgtable_fl.c pgtable_fl.h pgtable_sl.c pgtable_sl.h pgtable_fmt.h pgtable_ns.h \
		pgtable_pages.h pgtable_walk.h pgtable_split.h pgtable_dirty.h pgtable_inspect.h \
		pgtable_test.h; do
		write_if_changed "$to/pgtable/$file" <"$ours/$file"
	done
	write_if_changed "$to/iommu-pages.h" <"$PRISTINE/drivers/iommu/iommu-pages.h"
	"$BENCH/replay.py" "${PATTERNS[@]}" | write_if_changed "$to/patterns.c"
	add_lines drivers/iommu/Kconfig 'source "drivers/iommu/bench/Kconfig"'
}

# gcc 12 copies struct pt_range by a load of 8 bytes just after it has stored two members
# of one byte each. The processor cannot forward these stores to the load, and stalls. If
# the members fill the 8 bytes, gcc keeps them in registers.
add_generic_alt() {
	local from=$SOURCE/drivers/iommu/generic_pt to=$TREE/drivers/iommu/generic_alt
	local file
	mkdir -p "$to/fmt"
	for file in "$from"/*.h "$from"/fmt/*.[ch]; do
		sed -E 's/^\tu8 (top_level|max_vasz_lg2);$/\tu32 \1;/' "$file" |
			write_if_changed "$to/${file#"$from/"}"
	done
	[ "$(diff -rq "$from" "$to" | grep -c '\.h differ$')" = 1 ] ||
		die "generic_pt's struct pt_range has changed"
}

# On x86, generic_pt writes entries back by flushing cache lines. Do the same in user-mode
# Linux on x86.
add_peers() {
	sed -e 's/^#ifdef CONFIG_X86$/#ifdef CONFIG_UML_X86/' -e \
	    's/^#include <linux.cacheflush.h>/#include "bench\/clflush.h"/' \
		"$SOURCE/drivers/iommu/iommu-pages.h" |
		write_if_changed "$TREE/drivers/iommu/iommu-pages.h"
	add_generic_alt
	# shellcheck disable=SC2016 # make expands it
	add_lines drivers/iommu/Makefile \
		'obj-$(CONFIG_IOMMU_BENCH) += bench/' \
		'CFLAGS_io-pgtable-arm.o := -include $(src)/bench/lpae_compat.h'
}

add_core() {
	local to=$WORK/core file patch
	rm -rf "$to"
	mkdir -p "$to"
	(cd "$SOURCE" && cp --parents "${CORE_FILES[@]}" "$to")
	for patch in "${CORE_PATCHES[@]}"; do
		# not relative to the repository that contains the folder
		GIT_CEILING_DIRECTORIES=$WORK git -C "$to" apply \
			"${CORE_FILES[@]/#/--include=}" "$ROOT/series/$patch" ||
			die "$patch does not apply"
	done
	for file in "${CORE_FILES[@]}"; do
		write_if_changed "$TREE/$file" <"$to/$file"
	done
}

add_dma_pte() {
	local driver=$SOURCE/drivers/iommu/intel
	add_core
	"$BENCH/extract.py" "$driver/iommu.h" "${DMA_PTE_H[@]}" \
		-- "$driver/iommu.c" "${DMA_PTE_C[@]}" |
		write_if_changed "$TREE/drivers/iommu/bench/dma_pte.h"
	# shellcheck disable=SC2016 # make expands it
	add_lines drivers/iommu/Makefile 'obj-$(CONFIG_IOMMU_BENCH) += bench/'
}

# bench_configure OBJ FRAGMENT...: allnoconfig plus the fragments
bench_configure() {
	local obj=$1 state
	shift
	state=$(cat "$@" "$BENCH/kernel/Kconfig" | sha256sum)
	[ "$state" != "$(cat "$obj/.bench-config" 2>/dev/null)" ] || return 0
	mkdir -p "$obj"
	cat "$@" >"$obj/bench.config"
	make -s -C "$TREE" O="$obj" ARCH=um KCONFIG_ALLCONFIG="$obj/bench.config" \
		allnoconfig </dev/null >"$obj/.bench-config.log" 2>&1 ||
		{ tail -20 "$obj/.bench-config.log" >&2; die "configuration failed"; }
	grep -h '^CONFIG_' "$@" | grep -vxF -f "$obj/.config" &&
		die "the configuration lacks these"
	echo "$state" >"$obj/.bench-config"
}

clone_source() { cp -al "$SOURCE/." "$1" 2>/dev/null || cp -a "$SOURCE/." "$1"; }

# bench_kernel NAME KIND SOURCE FRAGMENT...: builds WORK/obj-NAME/linux. KIND is that
# of the function that adds what only kernels of this SOURCE have.
bench_kernel() {
	local name=$1 kind=$2 obj=$WORK/obj-$1
	SOURCE=$3 TREE=$WORK/tree-$2
	shift 3
	if [ "$(cat "$TREE.base" 2>/dev/null)" != "$SOURCE" ]; then
		rm -rf "$TREE" "$obj"
		whole "$TREE" clone_source
		echo "$SOURCE" >"$TREE.base"
	fi
	add_bench
	"add_$kind"
	bench_configure "$obj" "$@"
	say "building the kernel with $name"
	# UML's own code model would make every call an indirect one
	kbuild "the kernel with $name" "$WORK/log/$name.log" \
		-C "$TREE" O="$obj" ARCH=um KCFLAGS=-mcmodel=small linux
}
