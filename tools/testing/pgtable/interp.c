// SPDX-License-Identifier: GPL-2.0-only
/*
 * Runs pgtable.c by a string of bytes: configuration, then operations, some of them
 * on "CPUs" that are stopped before any memory access while others continue. The
 * owners of overlapping ranges never run at the same time, as the library's rules
 * require; everything else may. Before each access, hardware walks for the
 * addresses around the operation, and caches what it finds. Between
 * accesses it also writes, which sets Dirty unless it has the page cached as dirty.
 *
 * The same for libFuzzer, for random bytes and for a corpus.
 */
#include <signal.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#include "model.h"
#include "weak.h"

#ifdef ASAN
#include <sanitizer/common_interface_defs.h>
#else
#define __sanitizer_start_switch_fiber(save, bottom, size) \
	((void)(save), (void)(bottom), (void)(size))
#define __sanitizer_finish_switch_fiber(save, bottom, size) \
	((void)(save), (void)(bottom), (void)(size))
#endif

#define CPUS		3
#define STACK		(128 * 1024)
#define WATCHED		5
#define VALUES		16
#define TOUCHED		8
#define CACHED		128
#define FINISHED	64
#define REPORTS		64
#define NEVER		(~0ULL)

enum kind {
	MAP, MAP_MORE, MAP_LARGE, UNMAP, UNMAP_EXTENT, SPLIT, LOOK_UP, WALK,
	DECORATE, TOUCH, EVICT, RESUME, BAD_MAP, BAD_OTHER, JUDGE, MAP_AGAIN,
	/* These are BAD_MAP and BAD_OTHER with OPTION. */
	READ_DIRTY, PREALLOC,
};

/* Flags in the first byte of an operation, in addition to its kind. */
#define FAIL		0x10
#define PREEMPT		0x20
#define ATOMIC		0x40
#define OPTION		0x80

/* A page or a table that hardware has cached. */
struct cached {
	u64 first, last;
	u64 pa;
	unsigned int level;	/* of the table; 0 for a page */
	bool write;
	bool dirty;		/* a write does not look at memory */
};

/* A watched address, and what has been put into the cache for it last. */
struct watched {
	u64 iova;
	struct spec_walk walk;
	u64 table[SPEC_LEVELS + 1];
	unsigned long invalidations;
};

struct op {
	enum kind kind;
	u8 flags;
	u64 iova, end, paddr;
	unsigned int level;
	size_t count;
	int prot;
	u64 own, own_end;	/* the range that no other operation may own meanwhile */

	bool active, done, stored;
	bool must_split;	/* at any time since memory was last refused */
	u64 fail;
	unsigned long failed, seen_failed;
	unsigned int steps, looks;
	long ret;
	size_t mapped;
	u64 values[VALUES];	/* what a lookup may find */
	unsigned int nr_values;
	struct watched watched[WATCHED];

	/* Of a reader of Dirty bits */
	u64 unit;
	struct iommu_iotlb_gather gather;
	struct iova_bitmap bitmap;
	struct { u64 iova, end; } reports[REPORTS];
	unsigned int nr_reports;

	ucontext_t context;
	void *fake_stack;
	char *stack;
};

static struct test {
	const u8 *bytes, *end;
	struct model model;
	struct vtd_pt *pt;
	u64 last;
	unsigned long sizes;
	bool coherent, watch, preempt;
	bool forgotten;		/* everything, by the last invalidation */
	unsigned long ops, maps, invalidations;
	u64 near, paddr;	/* the last ones */
	struct op cpus[CPUS], *running;
	ucontext_t main;
	void *fake_stack;
	const void *main_stack;
	size_t main_size;
	/* Leaves whose Dirty bit hardware has set. */
	struct { u64 iova; unsigned long map; } touched[TOUCHED];
	unsigned int nr_touched;
	/* Entries stay until an invalidation covers all of them. */
	struct cached cached[CACHED];
	unsigned int nr_cached, oldest;
	/* Completed operations, and when: the next owner of the range relies on them. */
	struct { u64 own, own_end, time; } finished[FINISHED];
	unsigned int nr_finished;
	u64 all_finished;	/* of those that are forgotten */
} t;

static u8 byte(void)
{
	return t.bytes < t.end ? *t.bytes++ : 0;
}

static bool owns(const struct op *op, u64 iova)
{
	return op->active && op->own <= iova && iova < op->own_end;
}

static struct op *owner(u64 iova)
{
	unsigned int i;

	for (i = 0; i < CPUS; i++) {
		if (owns(t.cpus + i, iova))
			return t.cpus + i;
	}

	return NULL;
}

/* The entry that translates @iova, as CPUs find it */
static bool cpu_translate(u64 iova, struct spec_walk *walk)
{
	static struct model as_cpu;
	struct spec_hw cpu = t.model.hw;

	as_cpu.nr_reads = 0;
	cpu.memory = &as_cpu;
	spec_translate(&cpu, vtd_pt_root(t.pt), iova, walk);

	return walk->fault == SPEC_OK;
}

static bool reaches_across(u64 iova)
{
	struct spec_walk walk;

	return iova <= t.last && cpu_translate(iova, &walk) && iova % walk.size;
}

static bool maps(const struct op *op)
{
	return op->kind == MAP;
}

/* Hardware */

static void sync_entries(void *unused, void *addr, size_t size)
{
	BUG_ON(t.coherent);
	shim_step(SHIM_LOAD);
	weak_write_back(addr, size);
	memory_sync(addr, size);
	weak_full_wmb();
}

/* A cached page or table goes only by an invalidation that covers all of it. */
static void forget(u64 start, u64 last, bool structure)
{
	unsigned int i, kept = 0;

	for (i = 0; i < t.nr_cached; i++) {
		const struct cached *c = t.cached + i;

		if (c->first < start || c->last > last || (c->level && !structure))
			t.cached[kept++] = *c;
	}
	t.nr_cached = kept;
	t.oldest = 0;
	t.invalidations++;
}

static void invalidate(void *unused, u64 start, u64 last,
		       enum vtd_pt_change change)
{
	shim_step(SHIM_LOAD);
	weak_mb();
	BUG_ON(start > last || last > t.last);
	/* These invalidate for splits only; no operation that frees tables is running. */
	BUG_ON(t.running && t.running->kind != MAP && change != VTD_PT_STRUCTURE);
	t.forgotten = !start && last == t.last && change == VTD_PT_STRUCTURE;
	forget(start, last, change == VTD_PT_STRUCTURE);
}

static const struct vtd_pt_ops ops = { sync_entries, invalidate };

/* May hardware find @walk at @iova now? */
static bool allowed(u64 iova, const struct spec_walk *walk)
{
	struct extent *e = model_find(&t.model, iova);
	struct op *op = owner(iova);

	if (walk->fault == SPEC_NOT_PRESENT)
		return !e || (op && op->kind == UNMAP);
	if (walk->fault != SPEC_OK)
		return false;
	if (e)
		return walk->pa == extent_pa(e, iova) && walk->read == e->read &&
		       walk->write == e->write;
	return op && maps(op) && iova < op->end &&
	       walk->pa == op->paddr + (iova - op->iova);
}

/* Walk as hardware does; @table tells which tables it came through. */
static void walk_to(u64 iova, struct spec_walk *walk,
		    u64 table[SPEC_LEVELS + 1])
{
	unsigned int level, i;

	t.model.nr_reads = 0;
	spec_translate(&t.model.hw, vtd_pt_root(t.pt), iova, walk);
	memset(table, 0, sizeof(u64) * (SPEC_LEVELS + 1));
	for (i = 0, level = t.model.hw.levels; i < t.model.nr_reads; i++, level--)
		table[level] = t.model.reads[i] & PAGE_MASK;
}

static void cache(u64 iova, u64 size, u64 pa, unsigned int level, bool write, bool dirty)
{
	/* Nothing is behind the aperture, though the table may reach there. */
	const struct cached new = {
		.first = iova & -size, .last = min(iova | (size - 1), t.last), .pa = pa,
		.level = level, .write = write, .dirty = dirty,
	};
	unsigned int i;

	for (i = 0; i < t.nr_cached; i++) {
		struct cached *c = t.cached + i;

		if (c->first == new.first && c->last == new.last && c->pa == pa &&
		    c->level == level && c->write == write) {
			c->dirty |= dirty;
			return;
		}
	}

	if (t.nr_cached < CACHED)
		t.cached[t.nr_cached++] = new;
	else
		t.cached[t.oldest++ % CACHED] = new;
}

/* Hardware walks to a watched address, and caches what it finds. */
static void look(struct watched *w)
{
	u64 table[SPEC_LEVELS + 1];
	struct spec_walk walk;
	unsigned int level;

	walk_to(w->iova, &walk, table);
	if (!allowed(w->iova, &walk))
		BUG("hardware finds %d %llx at %llx", walk.fault, walk.pa, w->iova);

	/* Most often it is all there. */
	if (w->invalidations == t.invalidations && walk.fault == w->walk.fault &&
	    walk.pa == w->walk.pa && walk.size == w->walk.size &&
	    walk.write == w->walk.write && walk.dirty == w->walk.dirty && !memcmp(table, w->table, sizeof(table)))
		return;

	w->walk = walk;
	memcpy(w->table, table, sizeof(table));
	w->invalidations = t.invalidations;
	if (walk.fault == SPEC_OK)
		cache(w->iova, walk.size, walk.page, 0, walk.write,
		      walk.dirty && walk.accessed);
	for (level = 1; level < t.model.hw.levels; level++) {
		if (table[level])
			cache(w->iova, leaf_size(level + 1), table[level], level, true,
			      false);
	}
}

/* Are all the bytes from @first to @last mapped as @c says? */
static bool is_mapped(const struct cached *c, u64 first, u64 last)
{
	u64 bytes = 0;
	unsigned int i;

	for (i = 0; i < t.model.nr; i++) {
		struct extent *e = t.model.extents + i;
		u64 from = first > e->iova ? first : e->iova;
		u64 end = last + 1 < e->end ? last + 1 : e->end;

		if (from < end && extent_pa(e, from) == c->pa + (from - c->first) &&
		    e->write == c->write)
			bytes += end - from;
	}

	return bytes == last - first + 1;
}

/* Cached translations of @start to @last, which has no owner now, must be right. */
static void check_cached(u64 start, u64 last)
{
	unsigned int i;
	u64 slot;

	for (i = 0; i < t.nr_cached; i++) {
		const struct cached *c = t.cached + i;
		u64 first = start > c->first ? start : c->first;
		u64 end = last < c->last ? last : c->last;

		if (first > end)
			continue;
		if (!c->level) {
			if (!is_mapped(c, first, end))
				BUG("stale translation of %llx to %llx is still cached for %llx to %llx",
				    c->first, c->last, first, end);
		} else if (!spec_slot(&t.model.hw, vtd_pt_root(t.pt), first, c->level,
				      &slot) || (slot & PAGE_MASK) != c->pa) {
			BUG("stale level %u table is still cached for %llx", c->level,
			    first);
		}
	}
}

/* Of what is cached for @iova, is anything dirty? */
static bool is_cached_dirty(u64 iova)
{
	unsigned int i;

	for (i = 0; i < t.nr_cached; i++) {
		const struct cached *c = t.cached + i;

		if (!c->level && c->dirty && c->first <= iova && iova <= c->last)
			return true;
	}

	return false;
}

/* Forget pages that have a part from @first to @last, as if they had been evicted. */
static void drop_cached(u64 first, u64 last)
{
	unsigned int i, kept = 0;

	for (i = 0; i < t.nr_cached; i++) {
		const struct cached *c = t.cached + i;

		if (c->level || c->last < first || c->first > last)
			t.cached[kept++] = *c;
	}
	t.nr_cached = kept;
	t.oldest = 0;
	t.invalidations++;
}

/* Without a reader, translations of @first to @last that are cached as dirty are dirty. */
static void check_cached_dirty(u64 first, u64 last)
{
	unsigned int i;

	for (i = 0; SECOND_LEVEL && i < t.nr_cached; i++) {
		const struct cached *c = t.cached + i;
		u64 at[] = { first > c->first ? first : c->first,
			     last < c->last ? last : c->last };
		struct spec_walk walk;
		unsigned int j;

		if (c->level || !c->dirty || at[0] > at[1])
			continue;
		for (j = 0; j < 2; j++) {
			if (cpu_translate(at[j], &walk) && !walk.dirty)
				BUG("%llx to %llx is cached as dirty, but %llx is not",
				    c->first, c->last, at[j]);
		}
	}
}

static void watch(struct op *op)
{
	const u64 iova[WATCHED] = {
		op->iova - SZ_4K, op->iova, op->end - SZ_4K, op->end,
		op->iova + (op->end - op->iova) / 2,
	};
	unsigned int i;

	for (i = 0; i < WATCHED; i++) {
		op->watched[i] = (struct watched) { .iova = NEVER };
		if (t.watch && iova[i] <= t.last)
			op->watched[i].iova = iova[i];
	}
}

static void look_around(struct op *op)
{
	unsigned int i;

	for (i = 0; i < WATCHED; i++) {
		if (op->watched[i].iova != NEVER)
			look(op->watched + i);
	}
}

/* CPUs */

static void run(struct op *op);

static void to_main(bool last)
{
	struct op *op = t.running;

	__sanitizer_start_switch_fiber(last ? NULL : &op->fake_stack,
				       t.main_stack, t.main_size);
	swapcontext(&op->context, &t.main);
	__sanitizer_finish_switch_fiber(op->fake_stack, NULL, NULL);
}

static void on_cpu(void)
{
	__sanitizer_finish_switch_fiber(NULL, &t.main_stack, &t.main_size);
	run(t.running);
	t.running->done = true;
	to_main(true);
}

static void begin_running(struct op *op)
{
	t.running = op;
	shim_fail = op->fail;
	shim_failed = op->failed;
	shim_atomic = op->flags & ATOMIC || op->kind == UNMAP;
	weak_switch(op - t.cpus);
}

static void end_running(struct op *op)
{
	weak_switch(-1);
	op->fail = shim_fail;
	op->failed = shim_failed;
	shim_fail = 0;
	shim_atomic = false;
	t.running = NULL;
}

static void switch_to(struct op *op)
{
	begin_running(op);
	__sanitizer_start_switch_fiber(&t.fake_stack, op->stack, STACK);
	swapcontext(&t.main, &op->context);
	__sanitizer_finish_switch_fiber(t.fake_stack, NULL, NULL);
	end_running(op);
}

/* In front of every access to memory by the library. */
static void step(enum shim_access access)
{
	struct op *op = t.running;
	bool store = access == SHIM_STORE;

	if (!op)
		return;
	weak_step();
	if (op->kind == UNMAP || op->kind == SPLIT) {
		if (op->seen_failed != shim_failed)
			op->must_split = false;
		op->seen_failed = shim_failed;
		if (shim_failed && !op->must_split)
			op->must_split = reaches_across(op->iova) ||
					 (op->kind == UNMAP && reaches_across(op->end));
	}
	/* The stores that fill a table that is not visible yet are one step. */
	if (store && op->stored)
		return;
	op->stored = store;
	/* In long runs over one table, now and then is enough. */
	if (t.watch && (op->looks++ < 100 || op->looks % 32 == 0))
		look_around(op);
	if (op->steps && !--op->steps)
		to_main(false);
}

/* Operations */

#if SECOND_LEVEL

static void record(struct iova_bitmap *bitmap, unsigned long iova, size_t length)
{
	struct op *op = container_of(bitmap, struct op, bitmap);
	unsigned int last = op->nr_reports - 1;
	u64 end = iova + length;

	/* From where it was asked for, and no further than a page reaches */
	BUG_ON(iova < op->iova || end > op->own_end);
	if (op->nr_reports &&
	    (op->reports[last].end == iova || op->nr_reports == REPORTS)) {
		op->reports[last].end = end;
		return;
	}
	op->reports[op->nr_reports].iova = iova;
	op->reports[op->nr_reports++].end = end;
}

static void read_dirty(struct op *op)
{
	long rescheds = atomic_long_read(&shim_rescheds);
	struct iommu_dirty_bitmap dirty;

	op->bitmap.record = record;
	iommu_dirty_bitmap_init(&dirty, &op->bitmap, &op->gather);
	vtd_pt_read_and_clear_dirty(t.pt, op->iova, op->end - 1, op->count ? 0 :
				    IOMMU_DIRTY_NO_CLEAR, op->unit, &dirty);
	BUG_ON(atomic_long_read(&shim_rescheds) == rescheds);
}

#else

static void read_dirty(struct op *op)
{
}

#endif

static void run(struct op *op)
{
	u64 path[VTD_PT_MAX_LEVELS + 1], iova = op->iova;
	gfp_t gfp = op->flags & ATOMIC ? GFP_ATOMIC : GFP_KERNEL;
	unsigned int level;

	switch (op->kind) {
	case MAP:
		op->ret = vtd_pt_map(t.pt, op->iova, op->paddr, leaf_size(op->level),
				     op->count, op->prot, gfp, &op->mapped);
		break;
	case UNMAP:
		op->ret = vtd_pt_unmap(t.pt, op->iova, op->end - op->iova);
		break;
	case SPLIT:
		op->ret = vtd_pt_split_ends(t.pt, op->iova, op->iova, gfp);
		break;
	case LOOK_UP:
		op->ret = vtd_pt_iova_to_phys(t.pt, op->iova);
		break;
	case READ_DIRTY:
		read_dirty(op);
		break;
	case PREALLOC:
		op->ret = vtd_pt_prealloc(t.pt, op->iova, op->end - op->iova, gfp);
		break;
	default: /* WALK */
		for (op->count = 0; op->count < 4; op->count++) {
			if (!vtd_pt_next_leaf(vtd_pt_root(t.pt), t.model.hw.levels,
					      &iova, path, &level))
				break;
			iova += leaf_size(level);
		}
	}
}

static void add_value(struct op *op, u64 value)
{
	if (op->nr_values < VALUES)
		op->values[op->nr_values++] = value;
}

/* Let the lookups under way know what they may find from now on. */
static void note_values(void)
{
	unsigned int i;

	for (i = 0; i < CPUS; i++) {
		struct op *op = t.cpus + i, *other = owner(op->iova);
		struct extent *e = model_find(&t.model, op->iova);

		if (!op->active || op->kind != LOOK_UP)
			continue;
		add_value(op, e ? extent_pa(e, op->iova) : 0);
		if (!other)
			continue;
		if (other->kind == UNMAP)
			add_value(op, 0);
		if (maps(other) && !e)
			add_value(op, other->paddr + (op->iova - other->iova));
	}
}

static void finish_look_up(struct op *op)
{
	unsigned int i;

	for (i = 0; i < op->nr_values; i++) {
		if (op->values[i] == (u64)op->ret)
			return;
	}
	if (op->nr_values < VALUES)
		BUG("lookup of %llx found %lx", op->iova, op->ret);
}

/* One more split, or one by each CPU, and there would be no more pages. */
static bool near_bound(void)
{
	return shim_pages() + CPUS * 4 > shim_max_pages;
}

static void finish_map(struct op *op)
{
	struct extent e = {
		.iova = op->iova, .end = op->iova + op->mapped, .pa = op->paddr,
		.level = op->level,
		.read = !SECOND_LEVEL || op->prot & IOMMU_READ,
		.write = op->prot & IOMMU_WRITE,
		.snoop = SECOND_LEVEL && op->prot & IOMMU_CACHE,
		.accessed = !SECOND_LEVEL,
		.dirty = !SECOND_LEVEL && op->prot & IOMMU_WRITE,
		.map = ++t.maps,
	};
	bool overlaps = model_overlaps(&t.model, op->iova, op->end);

	switch (op->ret) {
	case 0:
		BUG_ON(overlaps || op->mapped != op->end - op->iova);
		break;
	case -EADDRINUSE:
		BUG_ON(!overlaps || op->mapped);
		break;
	case -ENOMEM:
		BUG_ON(!op->failed && !near_bound());
		BUG_ON(op->mapped % leaf_size(op->level));
		BUG_ON(op->mapped >= op->end - op->iova);
		BUG_ON(model_overlaps(&t.model, e.iova, e.end));
		break;
	default:
		BUG("map of %llx returned %ld", op->iova, op->ret);
	}
	if (op->mapped)
		model_map(&t.model, &e);
}

static void finish_unmap(struct op *op)
{
	if (!op->ret) {
		BUG_ON(!op->failed && !near_bound());
		BUG_ON(!op->must_split && !WEAK_ORDER);
		return;
	}

	BUG_ON((u64)op->ret != op->end - op->iova);
	model_unmap(&t.model, op->iova, op->end);
	forget(op->iova, op->end - 1, false);
}

static void finish_split(struct op *op)
{
	if (op->ret == -ENOMEM) {
		BUG_ON(!op->failed && !near_bound());
		BUG_ON(!op->must_split && !WEAK_ORDER);
		return;
	}

	BUG_ON(op->ret);
	model_split(&t.model, op->iova);
}

static bool is_reported(const struct op *op, u64 iova)
{
	unsigned int i;

	for (i = 0; i < op->nr_reports; i++) {
		if (op->reports[i].iova <= iova && iova < op->reports[i].end)
			return true;
	}

	return false;
}

/* Large pages that have been split meanwhile are no more, to the model either. */
static void note_splits(u64 iova, u64 end)
{
	while (iova < end) {
		struct extent *e = model_find(&t.model, iova);
		u64 size = e ? leaf_size(e->level) : SZ_4K;
		struct spec_walk walk;

		if (e && e->level > 1) {
			BUG_ON(!cpu_translate(iova, &walk));
			while (e->level > walk.level) {
				e = model_isolate(&t.model, iova);
				e->level--;
			}
			size = leaf_size(e->level);
		}
		iova = iova / size * size + size;
	}
}

static void finish_read_dirty(struct op *op)
{
	unsigned int i, kept = 0;

	note_splits(op->own, op->own_end);
	if (!op->count)
		return;

	/* Then user space copies what is reported: all writes so far are in it. */
	if (op->gather.start <= op->gather.end)
		forget(op->gather.start, op->gather.end, false);
	for (i = 0; i < t.nr_touched; i++) {
		if (!is_reported(op, t.touched[i].iova))
			t.touched[kept++] = t.touched[i];
	}
	t.nr_touched = kept;
	for (i = 0; i < t.model.nr; i++) {
		struct extent *e = t.model.extents + i;

		if (e->iova < op->own_end && op->own < e->end)
			e->dirty = false;
	}
}

static void finish_prealloc(struct op *op)
{
	if (op->ret == -ENOMEM)
		BUG_ON(!op->failed && !near_bound());
	else if (op->ret == -ENOSPC)
		BUG_ON(!near_bound());
	else
		BUG_ON(op->ret && op->ret != -EADDRINUSE);
}

/* The owner of a range sees everything that its previous owners have done, and no more. */
static void begin_order(const struct op *op)
{
	u64 bound = t.all_finished;
	unsigned int i;

	for (i = 0; i < FINISHED && i < t.nr_finished; i++) {
		if (op->own < t.finished[i].own_end && t.finished[i].own < op->own_end &&
		    t.finished[i].time > bound)
			bound = t.finished[i].time;
	}
	/* A lookup owns nothing, but does not find old states. */
	if (op->own >= op->own_end)
		bound = weak_now();
	weak_begin(op - t.cpus, bound);
}

static void end_order(const struct op *op)
{
	unsigned int n = t.nr_finished % FINISHED;
	u64 time = weak_end(op - t.cpus);

	if (op->own >= op->own_end)
		return;
	if (t.nr_finished++ >= FINISHED && t.finished[n].time > t.all_finished)
		t.all_finished = t.finished[n].time;
	t.finished[n].own = op->own;
	t.finished[n].own_end = op->own_end;
	t.finished[n].time = time;
}

/* Does an operation read Dirty bits in the range of @op? */
static bool is_read(const struct op *op)
{
	unsigned int i;

	for (i = 0; i < CPUS; i++) {
		const struct op *other = t.cpus + i;

		if (other->active && other->kind == READ_DIRTY &&
		    op->own < other->own_end && other->own < op->own_end)
			return true;
	}

	return false;
}

static void finish(struct op *op)
{
	unsigned int i;

	t.ops++;
	end_order(op);
	op->active = false;
	switch (op->kind) {
	case MAP:
		finish_map(op);
		break;
	case UNMAP:
		finish_unmap(op);
		break;
	case SPLIT:
		finish_split(op);
		break;
	case LOOK_UP:
		finish_look_up(op);
		break;
	case READ_DIRTY:
		finish_read_dirty(op);
		break;
	case PREALLOC:
		finish_prealloc(op);
		break;
	default: /* WALK, which has no result */
		break;
	}
	note_values();

	if (op->own < op->own_end) {
		check_cached(op->own, op->own_end - 1);
		if (!is_read(op))
			check_cached_dirty(op->own, op->own_end - 1);
	}
	for (i = 0; i < WATCHED; i++) {
		if (op->watched[i].iova != NEVER && !owner(op->watched[i].iova))
			look(op->watched + i);
	}
}

static void resume(struct op *op, unsigned int steps)
{
	op->steps = steps;
	switch_to(op);
	if (op->done)
		finish(op);
}

static void resume_all(void)
{
	unsigned int i;

	for (i = 0; i < CPUS; i++) {
		if (t.cpus[i].active)
			resume(t.cpus + i, 0);
	}
}

static unsigned int get_steps(void)
{
	u8 n = byte();

	/* Most operations take about ten steps, long ones some thousand. */
	if (n < 192)
		return 1 + n % 12;
	return n < 224 ? n - 191 : (n - 223) * 32;
}

/* The owners of any part of the range that @op will own have to finish first. */
static void wait_for_owners(struct op *op)
{
	unsigned int i;

	for (i = 0; i < CPUS; i++) {
		struct op *other = t.cpus + i;

		if (other->active && op->own < other->own_end &&
		    other->own < op->own_end &&
		    !(op->kind == READ_DIRTY && other->kind == READ_DIRTY))
			resume(other, 0);
	}
}

static struct op *idle_cpu(void)
{
	unsigned int i;

	for (i = 0; i < CPUS; i++) {
		if (!t.cpus[i].active)
			return t.cpus + i;
	}

	resume(t.cpus, 0);
	return t.cpus;
}

static void start(const struct op *what)
{
	struct op *op = idle_cpu();
	char *stack = op->stack;

	/* What is owned depends on the model, which waiting may change. */
	*op = *what;
	op->stack = stack;
	wait_for_owners(op);

	op->fail = op->flags & FAIL ? byte() | (u64)(byte() & 1) << 8 : 0;
	op->steps = op->flags & PREEMPT && t.preempt ? get_steps() : 0;
	op->must_split = model_must_split(&t.model, op->iova) ||
			 model_must_split(&t.model, op->end);
	op->active = true;
	begin_order(op);
	watch(op);
	note_values();

	if (!op->steps) {
		begin_running(op);
		run(op);
		end_running(op);
		finish(op);
		return;
	}

	getcontext(&op->context);
	op->context.uc_stack.ss_sp = op->stack;
	op->context.uc_stack.ss_size = STACK;
	makecontext(&op->context, on_cpu, 0);
	resume(op, op->steps);
}

/* From bytes to operations */

/*
 * Addresses are near the last one, or near four places where something begins or
 * ends: address 0, an entry of level 4, one of level 5 or the middle, and the
 * end of the aperture.
 */
static u64 get_iova(void)
{
	static const long near[] = {
		0, SZ_4K, -SZ_4K, SZ_2M, -SZ_2M, SZ_1G / 2, 511 * SZ_4K, SZ_1G,
	};
	static const u16 large[] = { 0, 1, 510, 511 };
	const u64 place[] = {
		0, (1ULL << 39) - 2 * (u64)SZ_1G,
		(t.last + 1) / 2 - 2 * (u64)SZ_1G, t.last + 1 - 4 * (u64)SZ_1G,
	};
	u8 b = byte();
	u64 iova = place[b & 3] + (b >> 2 & 3) * (u64)SZ_1G +
		   large[b >> 4 & 3] * (u64)SZ_2M;

	if (b >> 6 == 1)
		iova += 511 * SZ_4K;
	if (b >> 6 == 2)
		iova += (byte() * 2 + 1) % 512 * (u64)SZ_4K;
	if (b >> 6 == 3)
		iova = t.near + near[b & 7];
	if (iova > t.last)
		iova = t.near;
	t.near = iova;
	return iova;
}

static size_t get_count(unsigned int level)
{
	static const u16 counts[] = { 511, 512, 513, 2, 3, 16, 64, 1024 };
	u8 b = byte();

	if (level == 3 || b < 160)
		return 1 + (b & 3);
	return counts[b & 7];
}

static unsigned int get_level(u8 b)
{
	unsigned int level = b % 3 + 1;

	return t.sizes & leaf_size(level) ? level : 1;
}

static u64 get_paddr(unsigned int level)
{
	t.paddr += 0x9e3779b97f4a7c15ULL;
	return (t.paddr >> 14) % (1ULL << 51) / leaf_size(level) * leaf_size(level);
}

static void clamp(struct op *op, u64 unit)
{
	op->end = op->iova + op->count * unit;
	if (op->end > t.last + 1) {
		op->count = (t.last + 1 - op->iova) / unit;
		op->end = op->iova + op->count * unit;
	}
	op->own = op->iova;
	op->own_end = op->end;
}

static void do_map(struct op *op, unsigned int level)
{
	op->kind = MAP;
	op->level = level;
	op->iova = get_iova() / leaf_size(level) * leaf_size(level);
	op->count = get_count(level);
	op->paddr = get_paddr(level);
	op->prot = op->flags & OPTION ? IOMMU_READ : IOMMU_WRITE | IOMMU_READ;
	/* Write-only and snooped pages, by an address that is as good as random. */
	if (SECOND_LEVEL && op->flags & OPTION && op->paddr >> 30 & 1)
		op->prot = IOMMU_WRITE;
	if (op->paddr >> 31 & 1)
		op->prot |= IOMMU_CACHE;
	clamp(op, leaf_size(level));
	start(op);
}

static void do_unmap(struct op *op)
{
	u64 unit = leaf_size(byte() % 3 + 1);

	op->iova = get_iova();
	if (op->flags & OPTION)
		op->iova = op->iova / unit * unit;
	op->count = get_count(unit > SZ_2M ? 3 : 1);
	clamp(op, unit);
	if (op->count)
		start(op);
}

/* What was mapped, the way the iommu core's users do it; or some pages of it. */
static void do_unmap_extent(struct op *op)
{
	unsigned int n = byte();
	struct extent *e;

	if (!t.model.nr)
		return;

	e = t.model.extents + n % t.model.nr;
	op->kind = UNMAP;
	op->iova = e->iova;
	op->count = (e->end - e->iova) / SZ_4K;
	if (op->flags & OPTION) {
		op->iova += op->count * byte() / 256 * SZ_4K;
		op->count = 1 + n % 4;
	}
	clamp(op, SZ_4K);
	start(op);
}

/* A large page where an extent has been: tables stay, and are replaced. */
static void do_map_again(struct op *op)
{
	unsigned int level = get_level(byte());
	unsigned int n = byte();
	struct extent *e;
	u64 size = leaf_size(level);

	if (!t.model.nr)
		return;

	e = t.model.extents + n % t.model.nr;
	op->kind = UNMAP;
	op->iova = e->iova / size * size;
	op->count = 1;
	clamp(op, size);
	start(op);
	resume_all();

	op->kind = MAP;
	op->level = level;
	op->paddr = get_paddr(level);
	op->prot = IOMMU_READ | IOMMU_WRITE;
	start(op);
}

static void do_split(struct op *op)
{
	struct extent *e;

	op->iova = get_iova();
	op->count = 1;
	clamp(op, SZ_4K);
	e = model_find(&t.model, op->iova);
	if (e) {
		op->own = op->iova / leaf_size(e->level) * leaf_size(e->level);
		op->own_end = op->own + leaf_size(e->level);
	}
	start(op);
}

static void do_look(struct op *op)
{
	op->iova = get_iova() + (op->flags & OPTION ? 0x123 : 0);
	op->count = 0;
	clamp(op, SZ_4K);
	op->own_end = 0;
	op->own = NEVER;
	start(op);
}

/* A page that reaches into the range is read as a whole, so it must not change. */
static void own_pages(struct op *op)
{
	struct extent *first = model_find(&t.model, op->iova);
	struct extent *last = model_find(&t.model, op->end - 1);
	u64 size;

	op->own = op->iova;
	op->own_end = op->end;
	if (first)
		op->own = op->iova / leaf_size(first->level) * leaf_size(first->level);
	if (last) {
		size = leaf_size(last->level);
		op->own_end = (op->end - 1) / size * size + size;
	}
}

static void do_read_dirty(struct op *op)
{
	static const u64 units[] = { SZ_4K, SZ_4K, 16 * SZ_4K, SZ_2M, SZ_1G, NEVER };
	struct op was;
	u8 b = byte();

	op->kind = READ_DIRTY;
	op->iova = get_iova();
	op->unit = units[(b & 7) % ARRAY_SIZE(units)];
	op->count = b & 8 ? 512 : 1 + (b >> 4);
	clamp(op, b & 128 ? SZ_2M / 2 : b & 64 ? SZ_2M : SZ_4K);
	if (!op->count)
		return;

	idle_cpu();
	do {
		was = *op;
		own_pages(op);
		wait_for_owners(op);
	} while (op->own != was.own || op->own_end != was.own_end);
	/* Clear them? */
	op->count = !(op->flags & ATOMIC);
	op->flags &= ~ATOMIC;
	start(op);
}

static void do_prealloc(struct op *op)
{
	u8 b = byte();

	op->kind = PREALLOC;
	op->iova = get_iova();
	op->count = 1 + (b & 3);
	clamp(op, b & 4 ? SZ_2M : SZ_4K);
	op->own_end = 0;
	op->own = NEVER;
	if (op->count)
		start(op);
}

/* What hardware has set must still be set where the mapping is the same. */
static void check_touched(void)
{
	while (t.nr_touched) {
		u64 iova = t.touched[--t.nr_touched].iova;
		struct extent *e = model_find(&t.model, iova);
		struct spec_walk walk;

		spec_translate(&t.model.hw, vtd_pt_root(t.pt), iova, &walk);
		if (e && e->map == t.touched[t.nr_touched].map &&
		    !(walk.dirty && walk.accessed))
			BUG("Accessed or Dirty is lost at %llx", iova);
	}
}

/* Give a leaf every attribute that a split has to keep. */
static void do_decorate(void)
{
	const u64 low = 1ULL << (SECOND_LEVEL ? 10 : 9), high = 1ULL << (SECOND_LEVEL ? 61 : 62);
	const u64 ignored = low | high;
	u64 iova = get_iova(), pat = 1ULL << 12, slot, *entry;
	u8 b = byte();
	struct extent *e;

	resume_all();
	check_touched();
	if (!model_find(&t.model, iova))
		return;

	e = model_isolate(&t.model, iova);
	e->memory_type = SECOND_LEVEL ? 0 : b & 7;
	e->ignored = (b & 8 ? low : 0) | (b & 16 ? high : 0);
	e->accessed = b & 0x20;
	e->dirty = b & 0x40;
	drop_cached(e->iova, e->end - 1);

	BUG_ON(!spec_slot(&t.model.hw, vtd_pt_root(t.pt), iova, e->level, &slot));
	if (e->level == 1)
		pat = 1ULL << 7;
	entry = phys_to_virt(slot);
	*entry &= ~(ACCESSED | DIRTY | ignored);
	*entry |= (e->accessed ? ACCESSED : 0) | (e->dirty ? DIRTY : 0) | e->ignored;
	if (!SECOND_LEVEL) {
		*entry &= ~(pat | 3 << 3);
		*entry |= (b & 4 ? pat : 0) | (b & 3) << 3;
	}
	if (!t.coherent)
		memory_sync(entry, sizeof(*entry));
}

static bool slot_at(u64 iova, u64 **entry, struct spec_walk *walk)
{
	spec_translate(&t.model.hw, vtd_pt_root(t.pt), iova, walk);
	if (walk->fault != SPEC_OK)
		return false;
	*entry = phys_to_virt(walk->entry_addr);
	return true;
}

/* Hardware sets Accessed and Dirty, whatever CPUs are doing. */
static void do_touch(void)
{
	u64 iova = get_iova(), *entry;
	struct extent *e = model_find(&t.model, iova);
	struct spec_walk walk;

	if (!t.coherent || !e || t.nr_touched == TOUCHED ||
	    !slot_at(iova, &entry, &walk))
		return;

	if (!SECOND_LEVEL || !is_cached_dirty(iova)) {
		*entry |= ACCESSED | DIRTY;
		cache(iova, walk.size, walk.page, 0, walk.write, true);
	}
	t.touched[t.nr_touched].iova = iova;
	t.touched[t.nr_touched++].map = e->map;
}

/* A cache line may be written back at any time. */
static void do_evict(void)
{
	u64 iova = get_iova(), slot;
	unsigned int level = byte() % 5 + 1;
	struct spec_hw cpu = t.model.hw;
	struct model as_cpu = { .lazy = false };

	if (t.coherent)
		return;
	cpu.memory = &as_cpu;
	if (level <= cpu.levels &&
	    spec_slot(&cpu, vtd_pt_root(t.pt), iova, level, &slot))
		memory_sync(phys_to_virt(slot & ~63ULL), 64);
}

static void expect_map(int want, u64 iova, u64 paddr, size_t size, size_t count,
		       int prot)
{
	size_t mapped = 1;
	int ret = vtd_pt_map(t.pt, iova, paddr, size, count, prot, GFP_KERNEL,
			     &mapped);

	BUG_ON(ret != want || mapped);
}

static void do_bad_map(void)
{
	const u64 end = t.last + 1, top = 1ULL << 52;
	u64 iova = get_iova();

	expect_map(-EINVAL, iova + 1, 0, SZ_4K, 1, IOMMU_READ);
	expect_map(-EINVAL, iova, 1, SZ_4K, 1, IOMMU_READ);
	expect_map(-EINVAL, iova, 0, SZ_4K * 2, 1, IOMMU_READ);
	expect_map(-EINVAL, iova, 0, 0, 1, IOMMU_READ);
	expect_map(-EINVAL, 0, 0, SZ_4K | SZ_2M, 1, IOMMU_READ);
	expect_map(-EINVAL, SZ_4K, SZ_2M, SZ_2M, 1, IOMMU_READ);
	expect_map(-EINVAL, iova, 0, SZ_4K, 0, IOMMU_READ);
	expect_map(-EINVAL, iova, 0, SZ_4K, 1, IOMMU_CACHE);
	if (!(t.sizes & SZ_2M))
		expect_map(-EINVAL, iova & -(u64)SZ_2M, 0, SZ_2M, 1, IOMMU_READ);
	if (!(t.sizes & SZ_1G))
		expect_map(-EINVAL, 0, 0, SZ_1G, 1, IOMMU_READ);
	expect_map(-ERANGE, end, 0, SZ_4K, 1, IOMMU_READ);
	expect_map(-ERANGE, end - SZ_4K, 0, SZ_4K, 2, IOMMU_READ);
	expect_map(-ERANGE, -(u64)SZ_4K, 0, SZ_4K, 1, IOMMU_READ);
	expect_map(-ERANGE, -(u64)SZ_4K, 0, SZ_4K, 2, IOMMU_READ);
	expect_map(-ERANGE, iova, 0, SZ_4K, 1ULL << 52, IOMMU_READ);
	expect_map(-ERANGE, iova, 0, SZ_4K, (1ULL << 51) + 1, IOMMU_READ);
	expect_map(-ERANGE, iova, top, SZ_4K, 1, IOMMU_READ);
	expect_map(-ERANGE, iova, top - SZ_4K, SZ_4K, 2, IOMMU_READ);
}

static void expect_create(long error, unsigned int levels, unsigned long sizes,
			  u64 fail)
{
	struct vtd_pt_cfg cfg = *vtd_pt_config(t.pt);
	struct vtd_pt *pt;

	cfg.levels = levels;
	cfg.pgsize_bitmap = sizes;
	shim_fail = fail;
	pt = vtd_pt_create(&cfg);
	BUG_ON(!IS_ERR(pt) || PTR_ERR(pt) != error);
	shim_fail = 0;
}

static void do_bad_other(void)
{
	const u64 end = t.last + 1;
	u64 iova = get_iova();

	BUG_ON(vtd_pt_unmap(t.pt, iova + 1, SZ_4K));
	BUG_ON(vtd_pt_unmap(t.pt, iova, SZ_4K + 1));
	BUG_ON(vtd_pt_unmap(t.pt, iova, 0));
	BUG_ON(vtd_pt_unmap(t.pt, end, SZ_4K));
	BUG_ON(vtd_pt_unmap(t.pt, end - SZ_4K, 2 * SZ_4K));
	BUG_ON(vtd_pt_unmap(t.pt, -(u64)SZ_4K, 2 * SZ_4K));
	BUG_ON(vtd_pt_iova_to_phys(t.pt, end));
	BUG_ON(vtd_pt_is_writable(t.pt, end));
	BUG_ON(vtd_pt_last_iova(t.pt) != t.last);
	expect_create(-EINVAL, MIN_LEVELS - 1, SZ_4K, 0);
	expect_create(-EINVAL, 6, SZ_4K, 0);
	expect_create(-EINVAL, 4, SZ_2M, 0);
	expect_create(-EINVAL, 4, SZ_4K | SZ_4K * 2, 0);
	expect_create(-ENOMEM, 4, SZ_4K, 1);
	expect_create(-ENOMEM, 4, SZ_4K, 2);
}

static void do_check(void)
{
	resume_all();
	shim_rcu_barrier();
	check_touched();
	check_cached(0, t.last);
	model_check(&t.model);
}

/* Only an empty address space has its tables freed, and then all but the root. */
static void do_free_empty_tables(void)
{
	unsigned int i;

	resume_all();
	check_touched();
	for (i = 0; i < CPUS; i++)
		t.cpus[i].nr_values = 0;
	if (t.model.nr) {
		BUG_ON(vtd_pt_free_empty_tables(t.pt) != -EBUSY);
		return;
	}

	t.forgotten = false;
	BUG_ON(vtd_pt_free_empty_tables(t.pt));
	t.all_finished = weak_now();
	BUG_ON(!t.forgotten);
	shim_rcu_barrier();
	BUG_ON(shim_pages() != 1);
	model_check(&t.model);
}

/* Maps succeed until the table has exactly as many pages as its limit. */
static void check_bound(void)
{
	size_t mapped;
	u64 iova;
	int ret;

	if (shim_max_pages == -1UL)
		return;

	for (iova = 0; iova < t.last; iova += SZ_2M) {
		ret = vtd_pt_map(t.pt, iova, 0, SZ_4K, 1, IOMMU_READ, GFP_KERNEL,
				 &mapped);
		if (ret == -ENOMEM)
			break;
		BUG_ON(ret && ret != -EADDRINUSE);
	}
	BUG_ON(shim_pages() != shim_max_pages);
}

static void do_resume(void)
{
	struct op *op = t.cpus + byte() % CPUS;
	unsigned int steps = get_steps();

	if (op->active)
		resume(op, steps == 1 ? 0 : steps);
}

static void operation(void)
{
	u8 b = byte();
	struct op op = { .kind = b & 15, .flags = b & 0xf0 };

	switch (op.kind) {
	case MAP:
	case MAP_MORE:
		do_map(&op, get_level(byte()));
		break;
	case MAP_LARGE:
		do_map(&op, get_level(op.flags & ATOMIC ? 1 : 2));
		break;
	case UNMAP:
		do_unmap(&op);
		break;
	case UNMAP_EXTENT:
		do_unmap_extent(&op);
		break;
	case MAP_AGAIN:
		do_map_again(&op);
		break;
	case SPLIT:
		do_split(&op);
		break;
	case LOOK_UP:
	case WALK:
		do_look(&op);
		break;
	case DECORATE:
		do_decorate();
		break;
	case TOUCH:
		do_touch();
		break;
	case EVICT:
		do_evict();
		break;
	case RESUME:
		do_resume();
		break;
	case BAD_MAP:
		if (SECOND_LEVEL && op.flags & OPTION)
			do_read_dirty(&op);
		else
			do_bad_map();
		break;
	case BAD_OTHER:
		if (op.flags & OPTION)
			do_prealloc(&op);
		else
			do_bad_other();
		break;
	case JUDGE:
		/* Judging takes as long as some thousand operations. */
		if (op.flags & OPTION)
			do_free_empty_tables();
		else if (op.flags || (!t.preempt && t.ops % 64))
			resume_all();
		else
			do_check();
		break;
	default: /* only as variants of others */
		break;
	}
}

static void begin(void)
{
	static const unsigned long sizes[] = {
		SZ_4K, SZ_4K | SZ_2M, SZ_4K | SZ_2M | SZ_1G, SZ_4K | SZ_1G,
	};
	u8 b = byte(), b2 = byte();
	struct vtd_pt_cfg cfg = {
		.ops = &ops,
		.levels = b & 1 ? 5 : SECOND_LEVEL && b2 & 32 ? 3 : 4,
		.pgsize_bitmap = sizes[b >> 1 & 3],
		.coherent = b & 8,
		.nid = NUMA_NO_NODE,
		.gfp = b & 16 ? __GFP_ACCOUNT : 0,
	};

	shim_max_pages = b & 128 ? 5 + b2 % 32 : -1UL;
	cfg.max_pages = b & 128 ? shim_max_pages : 0;
	shim_reset();
	forget(0, -1ULL, true);
	t.nr_finished = 0;
	t.all_finished = 0;
	t.coherent = cfg.coherent;
	t.watch = b & 64;
	t.preempt = !(b2 & 128);
	shim_hook = t.watch || t.preempt || WEAK_ORDER ? step : NULL;
	t.sizes = cfg.pgsize_bitmap;
	t.last = spec_reach(cfg.levels + 1) / (SECOND_LEVEL ? 1 : 2) - 1;
	if (b2 & 64) {
		t.last = (cfg.levels == 3 ? 40ULL * SZ_1G : 1ULL << 39) + 5ULL * SZ_1G - 1;
		cfg.last_iova = t.last;
	}
	t.pt = vtd_pt_create(&cfg);
	BUG_ON(IS_ERR(t.pt));
	model_init(&t.model, t.pt, !cfg.coherent && b & 32);
}

static void run_bytes(const u8 *bytes, size_t size)
{
	u64 seed = size;
	unsigned int i;

	for (i = 0; i < CPUS; i++) {
		if (!t.cpus[i].stack)
			t.cpus[i].stack = malloc(STACK);
	}

	/* The same bytes make the same order. */
	for (i = 0; i < size; i++)
		seed = (seed ^ bytes[i]) * 0x100000001b3ULL;
	weak_reset(seed);
	t.bytes = bytes;
	t.end = bytes + size;
	t.near = 0;
	t.paddr = 0;
	begin();
	while (t.bytes < t.end)
		operation();
	do_check();
	check_bound();

	vtd_pt_destroy(t.pt);
	/* Fault dumps may still be walking. */
	BUG_ON(!shim_pages());
	shim_rcu_barrier();
	BUG_ON(shim_pages());
}

#ifdef FUZZER

int LLVMFuzzerTestOneInput(const u8 *bytes, size_t size);

int LLVMFuzzerTestOneInput(const u8 *bytes, size_t size)
{
	run_bytes(bytes, size);
	return 0;
}

#else

#define INPUT	16384

static u8 input[INPUT];
static size_t input_size;

/* Print the input as a line for the corpus. */
static void on_abort(int signal)
{
	size_t i;

	fputs("input: ", stderr);
	for (i = 0; i < input_size; i++)
		fprintf(stderr, "%02x", input[i]);
	fputc('\n', stderr);
	_exit(128 + signal);
}

static u64 random64(void)
{
	static u64 state;

	if (!state)
		state = strtoull(getenv("SEED") ?: "1", NULL, 0) | 1ULL << 63;
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state;
}

static void run_random(long seconds)
{
	time_t until = time(NULL) + seconds;
	unsigned long runs = 0;
	size_t i;

	while (time(NULL) < until) {
		input_size = 2 + random64() % (random64() % 2 ? 200 : 4000);
		for (i = 0; i < input_size; i++)
			input[i] = random64();
		/* Watching costs most of the time, and switching most of the rest. */
		if (random64() % 2)
			input[0] &= ~64;
		input[1] &= ~128;
		run_bytes(input, input_size);
		runs++;
	}
	printf("random: %lu runs, %lu operations, seed %s\n", runs, t.ops,
	       getenv("SEED") ?: "1");
}

/* A line from its byte @at on; all the lines that it stands for. */
static unsigned long run_line(const char *line, size_t at)
{
	unsigned long runs = 0;
	unsigned int value;

	while (at < INPUT && sscanf(line + 2 * at, "%2x", &value) == 1)
		input[at++] = value;
	if (at == INPUT || line[2 * at] != '*') {
		input_size = at;
		run_bytes(input, input_size);
		return 1;
	}

	/* What get_steps() takes for 1 to 32. */
	for (value = 192; value < 224; value++) {
		input[at] = value;
		runs += run_line(line, at + 1);
	}

	return runs;
}

static void run_corpus(const char *name)
{
	static char line[2 * INPUT + 2];
	FILE *file = fopen(name, "r");
	unsigned long runs = 0;

	BUG_ON(!file);
	while (fgets(line, sizeof(line), file)) {
		if (line[0] != '#')
			runs += run_line(line, 0);
	}
	fclose(file);
	printf("corpus: %lu runs, %lu operations\n", runs, t.ops);
}

int main(int argc, char **argv)
{
	signal(SIGABRT, on_abort);
	if (argc == 3 && !strcmp(argv[1], "random"))
		run_random(atol(argv[2]));
	else if (argc == 3 && !strcmp(argv[1], "corpus"))
		run_corpus(argv[2]);
	else
		BUG("usage: %s random SECONDS | corpus FILE", argv[0]);
	return 0;
}

#endif
