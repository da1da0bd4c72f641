// SPDX-License-Identifier: GPL-2.0-only
/*
 * Two calls of pgtable.c: the second one runs completely before each memory access of
 * the first, on another CPU. Hardware has cached the large page that both use, if there
 * is one: only an invalidation that covers all of it removes it.
 */
#include "model.h"

#define RW	(IOMMU_READ | IOMMU_WRITE)
#define BASE	(3ULL << 30)
#define NOBODY	(~0u)

struct call {
	u64 iova, size;		/* below BASE */
	bool map;		/* else unmap, unless it is: */
	bool prealloc;
};

struct pair {
	const char *name;
	struct call before[3];	/* one after the other, in front of both */
	struct call first, second;
	bool overlap;		/* which breaks the rules: only damage counts */
};

static const struct pair pairs[] = {
	{ "unmap two parts of 2M", { { 0, SZ_2M, true } },
	  { 0, SZ_4K }, { 16 * SZ_4K, SZ_4K } },
	{ "unmap two parts of 1G", { { 0, SZ_1G, true } },
	  { 0, SZ_4K }, { SZ_1G / 2, SZ_4K } },
	{ "unmap two parts of 2M of 1G", { { 0, SZ_1G, true } },
	  { 0, SZ_4K }, { 16 * SZ_4K, SZ_4K } },
	{ "unmap 2M of 1G next to 4K", { { 0, SZ_1G, true } },
	  { 0, SZ_2M }, { SZ_1G - SZ_4K, SZ_4K } },
	{ "map 1G that is preallocated", { }, { 0, SZ_1G, true },
	  { SZ_2M, SZ_4K, .prealloc = true } },
	{ "map 8G that are preallocated", { }, { 0, 8UL * SZ_1G, true },
	  { SZ_2M, SZ_4K, .prealloc = true } },
	{ "preallocate 1G that is mapped", { }, { SZ_2M, SZ_4K, .prealloc = true },
	  { 0, SZ_1G, true } },
	{ "map 1G over an empty table as it is preallocated",
	  { { 0, SZ_4K, true }, { 0, SZ_4K } },
	  { 0, SZ_1G, true }, { SZ_2M, SZ_4K, .prealloc = true } },
	{ "preallocate below an empty table that goes", { { 0, SZ_4K, true }, { 0, SZ_4K } },
	  { SZ_2M, SZ_4K, .prealloc = true }, { 0, SZ_1G, true } },
	{ "unmap a hole of 1G that is preallocated", { },
	  { 0, SZ_1G }, { SZ_2M, SZ_4K, .prealloc = true } },
	{ "map 4K that is preallocated", { }, { SZ_2M, SZ_4K, true },
	  { SZ_2M, SZ_4K, .prealloc = true } },
	{ "map 2M that is preallocated", { }, { SZ_2M, SZ_2M, true },
	  { SZ_2M, SZ_4K, .prealloc = true } },
	{ "map 1G over a map of 4K", { }, { 0, SZ_1G, true }, { 0, SZ_4K, true }, true },
	{ "map 2G over a map of 4K", { }, { 0, 2UL * SZ_1G, true },
	  { SZ_1G, SZ_4K, true }, true },
	{ "map 4K over a map of 1G", { }, { 0, SZ_4K, true }, { 0, SZ_1G, true }, true },
	{ "map 1G over an empty table and 4K", { { 0, SZ_4K, true }, { 0, SZ_4K } },
	  { 0, SZ_1G, true }, { SZ_2M, SZ_4K, true }, true },
	{ "map 4K as an empty table goes", { { 0, SZ_4K, true }, { 0, SZ_4K } },
	  { SZ_2M, SZ_4K, true }, { 0, SZ_1G, true }, true },
	{ "map 1G over an empty table twice", { { 0, SZ_4K, true }, { 0, SZ_4K } },
	  { 0, SZ_1G, true }, { 0, SZ_1G, true }, true },
	{ "unmap 1G and 4K of it", { { 0, SZ_1G, true } },
	  { 0, SZ_1G }, { SZ_2M, SZ_4K }, true },
	{ "unmap 4K and all of 1G", { { 0, SZ_1G, true } },
	  { SZ_2M, SZ_4K }, { 0, SZ_1G }, true },
};

static struct model model;
static struct vtd_pt *pt;
static const struct pair *pair;
static bool cached, coherent, preallocated;
static u64 cached_size;
static unsigned int at, wait;	/* accesses of the first call before the second */

static void sync_entries(void *unused, void *addr, size_t size)
{
	shim_step(SHIM_LOAD);
	memory_sync(addr, size);
}

static void invalidate(void *unused, u64 start, u64 last, enum vtd_pt_change change)
{
	shim_step(SHIM_LOAD);
	if (start <= BASE && BASE + cached_size - 1 <= last)
		cached = false;
}

static const struct vtd_pt_ops ops = { sync_entries, invalidate };

static u64 largest(u64 size)
{
	return size >= SZ_1G ? SZ_1G : size >= SZ_2M ? SZ_2M : SZ_4K;
}

/* What the caller of the library does with a range of its own. */
static void run(const struct call *call)
{
	u64 iova = BASE + call->iova, size = largest(call->size);
	size_t mapped;
	int ret;

	if (call->prealloc) {
		ret = vtd_pt_prealloc(pt, iova, call->size, GFP_KERNEL);
		BUG_ON(ret && ret != -EADDRINUSE);
		preallocated = !ret;
		return;
	}
	if (call->map) {
		ret = vtd_pt_map(pt, iova, iova, size, call->size / size, RW, GFP_KERNEL,
				 &mapped);
		BUG_ON(ret && !(pair->overlap && ret == -EADDRINUSE));
		return;
	}

	BUG_ON(vtd_pt_unmap(pt, iova, call->size) != call->size);
	invalidate(NULL, iova, iova + call->size - 1, VTD_PT_LEAVES);
	if (cached && !pair->overlap)
		BUG("%s: step %u: unmapped, but still cached", pair->name, at);
}

static void step(enum shim_access access)
{
	if (wait == NOBODY || wait--)
		return;

	wait = NOBODY;
	run(&pair->second);
}

/* The CPU and hardware find the same. */
static void compare(u64 iova)
{
	struct spec_walk walk;
	u64 pa;

	pa = vtd_pt_iova_to_phys(pt, iova);
	spec_translate(&model.hw, vtd_pt_root(pt), iova, &walk);
	if (pa != (walk.fault == SPEC_OK ? walk.pa : 0))
		BUG("%s: %llx is %llx for the CPU, %llx (%d) for hardware", pair->name,
		    iova, pa, walk.pa, walk.fault);
}

static unsigned long reached;

static void see_table(struct spec_visitor *v, u64 addr, unsigned int level, u64 iova)
{
	reached++;
}

static void see_leaf(struct spec_visitor *v, u64 iova, const struct spec_walk *walk)
{
}

static void see_illegal(struct spec_visitor *v, u64 iova, const struct spec_walk *walk)
{
	BUG("%s: illegal entry for %llx", pair->name, iova);
}

/* All tables are in use or deposited, but for those that were lost by breaking the rules. */
static void check_tables(void)
{
	struct spec_visitor visitor = { see_table, see_leaf, see_illegal };
	struct vtd_pt_stats stats;

	reached = 0;
	spec_scan(&model.hw, vtd_pt_root(pt), &visitor);
	vtd_pt_count_tables(pt, &stats);
	if (pair->overlap ? reached + stats.deposited > shim_pages() :
			    reached + stats.deposited != shim_pages())
		BUG("%s: step %u: %lu tables in use, %lu deposited, %lu in all", pair->name,
		    at, reached, stats.deposited, shim_pages());
}

static void create(void)
{
	struct vtd_pt_cfg cfg = {
		.ops = &ops,
		.levels = MIN_LEVELS,
		.pgsize_bitmap = SZ_4K | SZ_2M | SZ_1G,
		.coherent = coherent,
		.nid = NUMA_NO_NODE,
	};
	unsigned int i;

	shim_reset();
	pt = vtd_pt_create(&cfg);
	BUG_ON(IS_ERR(pt));
	model_init(&model, pt, !coherent);
	cached = false;
	preallocated = false;
	wait = NOBODY;
	for (i = 0; i < ARRAY_SIZE(pair->before) && pair->before[i].size; i++) {
		run(&pair->before[i]);
		cached = pair->before[i].map && largest(pair->before[i].size) > SZ_4K;
		cached_size = largest(pair->before[i].size);
	}
}

/*
 * Whatever two calls have done to a GiB that both own, it can be unmapped, and is then
 * like any other.
 */
static void legal_again(void)
{
	static const struct call after[] = {
		{ 0, 2UL * SZ_1G }, { SZ_1G / 2, SZ_4K, true }, { 0, SZ_4K, true },
		{ SZ_1G + SZ_2M, SZ_2M, true }, { 0, 2UL * SZ_1G },
		{ 0, 2UL * SZ_1G, true }, { SZ_1G / 2, SZ_2M }, { 0, 2UL * SZ_1G },
	};
	static const u64 at[] = { 0, SZ_2M, SZ_1G / 2, SZ_1G, SZ_1G + SZ_2M };
	unsigned int i, j;

	for (i = 0; i < ARRAY_SIZE(after); i++) {
		run(after + i);
		for (j = 0; j < ARRAY_SIZE(at); j++)
			compare(BASE + at[j]);
	}
}

/* Whatever came between, it takes no memory to map what was preallocated, and to unmap it. */
static void no_memory_needed(void)
{
	static const struct call calls[] = {
		{ 0, 8UL * SZ_1G }, { SZ_2M, SZ_4K, true }, { SZ_2M, SZ_4K },
		{ SZ_2M, SZ_2M, true }, { SZ_2M, SZ_4K }, { SZ_2M, SZ_2M },
	};
	unsigned int i;

	shim_fail = ~0ULL;
	for (i = 0; i < ARRAY_SIZE(calls); i++)
		run(calls + i);
	BUG_ON(!shim_fail);
	shim_fail = 0;
}

/* Is there a step @nr of the first call? */
static bool run_pair(unsigned int nr)
{
	bool done;

	create();
	shim_hook = step;
	at = nr;
	wait = nr;
	run(&pair->first);
	done = wait == NOBODY;
	wait = NOBODY;
	shim_hook = NULL;

	compare(BASE + pair->first.iova);
	compare(BASE + pair->second.iova);
	check_tables();
	if (preallocated)
		no_memory_needed();
	if (pair->overlap)
		legal_again();
	check_tables();
	vtd_pt_destroy(pt);
	shim_rcu_barrier();
	BUG_ON(shim_pages());

	return done;
}

int main(void)
{
	unsigned int i, nr;

	for (i = 0; i < 2 * ARRAY_SIZE(pairs); i++) {
		pair = pairs + i / 2;
		coherent = i % 2;
		for (nr = 0; run_pair(nr); nr++)
			;
		printf("%s, %s: %u steps\n", pair->name,
		       coherent ? "coherent" : "non-coherent", nr);
		BUG_ON(nr < 2);
	}

	return 0;
}
