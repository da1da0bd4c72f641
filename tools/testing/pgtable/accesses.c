// SPDX-License-Identifier: GPL-2.0-only
/*
 * Cost of pgtable.c's fast paths, without a clock: the number of accesses to shared
 * memory. A map or unmap of leaves loads an entry of each level, and stores only to its
 * leaves.
 */
#include "shim.h"
#include "pgtable.h"

#define RW	(IOMMU_READ | IOMMU_WRITE)
#define BASE	(1ULL << 30)

static struct vtd_pt *pt;
static unsigned int loads, stores;
static bool failed;

static void count(enum shim_access access)
{
	if (access == SHIM_LOAD)
		loads++;
	else
		stores++;
}

static void begin(void)
{
	loads = 0;
	stores = 0;
	shim_hook = count;
}

static void end(const char *what, unsigned int want_loads, unsigned int want_stores)
{
	bool right = loads == want_loads && stores == want_stores;

	shim_hook = NULL;
	printf("%-36s %3u loads, %3u stores", what, loads, stores);
	if (!right)
		printf(": ought to be %u, %u", want_loads, want_stores);
	putchar('\n');
	failed |= !right;
}

static void map(u64 iova, size_t size, size_t n)
{
	size_t mapped;

	BUG_ON(vtd_pt_map(pt, iova, iova, size, n, RW, GFP_KERNEL, &mapped));
	BUG_ON(mapped != n * size);
}

static void unmap(u64 iova, size_t size)
{
	BUG_ON(vtd_pt_unmap(pt, iova, size) != size);
}

/* With all tables present */
static void warm(void)
{
	begin();
	map(BASE + SZ_4K, SZ_4K, 1);
	end("4K: map", 3 + 1, 1);
	begin();
	BUG_ON(vtd_pt_iova_to_phys(pt, BASE + SZ_4K) != BASE + SZ_4K);
	end("lookup", 3 + 1, 0);
	begin();
	unmap(BASE + SZ_4K, SZ_4K);
	end("4K: unmap", 3, 1);

	begin();
	map(BASE + 16 * SZ_4K, SZ_4K, 16);
	end("16 x 4K: map", 3 + 16, 16);
	begin();
	unmap(BASE + 16 * SZ_4K, 16 * SZ_4K);
	end("16 x 4K: unmap", 3, 16);

	/* The leaf is the entry of the page directory. */
	begin();
	map(BASE + 8 * SZ_2M, SZ_2M, 1);
	end("2M: map", 2 + 1, 1);
	begin();
	unmap(BASE + 8 * SZ_2M, SZ_2M);
	end("2M: unmap", 3 + 1, 1);

	/* An entry may be a neighbour's table, so all are checked. */
	begin();
	map(BASE + 8 * SZ_2M, SZ_2M, 64);
	end("64 x 2M: map", 2 + 64, 64);
	begin();
	unmap(BASE + 8 * SZ_2M, 64 * SZ_2M);
	end("64 x 2M: unmap", 3 + 64, 64);
}

/*
 * A page request of a demand-paged HWPT maps a block of 2 MiB, whose table it preallocates. A
 * notifier unmaps a page of it; the split fills the table.
 */
static void on_demand(void)
{
	const u64 iova = BASE + 128 * SZ_2M;

	begin();
	BUG_ON(vtd_pt_prealloc(pt, iova, SZ_2M, GFP_KERNEL));
	end("2M on demand: preallocate", 7, 4);
	begin();
	map(iova, SZ_2M, 1);
	end("2M on demand: map", 2 + 1, 1);
	begin();
	unmap(iova + SZ_4K, SZ_4K);
	end("2M on demand: split and unmap 4K", 46, 516);
	begin();
	BUG_ON(!vtd_pt_is_writable(pt, iova));
	end("is writable", 3 + 1, 0);
	begin();
	unmap(iova, SZ_2M);
	end("2M on demand: unmap the rest", 3, 512);
	begin();
	map(iova, SZ_4K, 512);
	end("512 x 4K: map", 3 + 512, 512);
	unmap(iova, SZ_2M);
}

static void map_tables(unsigned long tables)
{
	unsigned long i;

	for (i = 0; i < tables; i++) {
		map(2 * BASE + i * SZ_2M, SZ_4K, 1);
		unmap(2 * BASE + i * SZ_2M, SZ_4K);
	}
}

static void rescheduled(const char *what, unsigned long tables, long least)
{
	long times = atomic_long_read(&shim_rescheds);

	printf("%s of %lu tables: %ld times cond_resched(), at least %ld\n", what, tables,
	       times, least);
	failed |= times < least;
	atomic_long_set(&shim_rescheds, 0);
}

/*
 * Freeing many tables reschedules at least once for every 64 pages in each loop. Freeing
 * empty tables has three: one counts leaves, one finds the end of the list, one frees.
 */
static void freeing(void)
{
	const unsigned long tables = 4096;
	struct vtd_pt_stats stats = {};
	long calls = 1;
	u64 iova = 0;

	map_tables(tables);
	unmap(BASE, SZ_1G);
	while (vtd_pt_count_leaves(pt, &iova, &stats))
		calls++;
	atomic_long_set(&shim_rescheds, 0);
	BUG_ON(vtd_pt_free_empty_tables(pt));
	rescheduled("empty", tables, calls + 2 * tables / 64);

	map_tables(tables);
	atomic_long_set(&shim_rescheds, 0);
	vtd_pt_destroy(pt);
	rescheduled("destroy", tables, tables / 64);
	shim_rcu_barrier();
}

static void inv(void *unused, u64 start, u64 last, enum vtd_pt_change change)
{
}

int main(void)
{
	static const struct vtd_pt_ops none = { .invalidate = inv };
	const struct vtd_pt_cfg cfg = {
		.ops = &none,
		.levels = 4,
		.pgsize_bitmap = SZ_4K | SZ_2M | SZ_1G,
		.coherent = true,
		.nid = NUMA_NO_NODE,
	};

	shim_reset();
	pt = vtd_pt_create(&cfg);
	BUG_ON(IS_ERR(pt));
	map(BASE, SZ_4K, 1);

	warm();
	on_demand();
	freeing();

	return failed;
}
