// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit suite of the page-table library, for the format that is chosen by the
 * files which include this one: pgtable_fl_kunit.c and pgtable_sl_kunit.c.
 *
 * A lab holds one table together with everything that is needed to check it:
 *
 * - the memory of the table. Every page that the library allocates comes from
 *   here and is kept until the end, so that its reference count shows whether
 *   it is leaked, freed twice, or reachable after it was freed.
 * - memory as the hardware sees it. If the walk is not coherent, every page
 *   has a copy that begins as garbage and changes, line by line, only when the
 *   library writes back.
 * - a model: the list of ranges that should translate.
 *
 * lab_map(), lab_unmap() and lab_split() derive the expected result from the
 * model and from the table: the return value, progress, every invalidation, how
 * much may be allocated. They call the library, and compare. After the call and
 * after every write-back during it, pgtable_spec.c, which is written from the
 * specification, walks everything that the hardware can reach: each address
 * must translate as before the call or as after it, so mappings that stay never
 * have a hole.
 *
 * Parameters, as flpt_kunit.seed= or slpt_kunit.seed=: the seed of the random
 * test, which prints the one it took; flpt_kunit.steps=: the number of its
 * steps.
 */

#include <kunit/static_stub.h>
#include <kunit/test.h>
#include <linux/completion.h>
#include <linux/iommu.h>
#include <linux/jhash.h>
#include <linux/kthread.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/prandom.h>
#include <linux/random.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/sizes.h>
#include <linux/spinlock.h>
#include <linux/xarray.h>

#include "../iommu-pages.h"
#include "pgtable.h"
#include "pgtable_spec.h"
#include "pgtable_test.h"

#undef MODULE_PARAM_PREFIX
#define MODULE_PARAM_PREFIX SUITE_PREFIX "_kunit."

static unsigned long long seed;
module_param(seed, ullong, 0444);
MODULE_PARM_DESC(seed, "Seed of the random test; 0 takes a new one");

/*
 * Sanitizers make all of this many times slower. With them, repeat less, and
 * unless requested otherwise test fewer configurations.
 */
#define TIMES(n)	((n) / (IS_ENABLED(CONFIG_KASAN) ? 5 : 1))

static bool all = !IS_ENABLED(CONFIG_KASAN);
module_param(all, bool, 0444);
MODULE_PARM_DESC(all, "All configurations, or some in which each choice occurs");

static unsigned int steps = TIMES(150);
module_param(steps, uint, 0444);
MODULE_PARM_DESC(steps, "Steps of the random test for each configuration");

#define RW		(IOMMU_READ | IOMMU_WRITE)
#define PA_BITS		52		/* sections 9.7, 9.8: addresses are bits 51:12 */
#define LINE		64		/* size of a cache line */
#define GARBAGE		0xff		/* memory that was never written back */
#define MAX_EXTENTS	4096
#define MAX_CALLS	1088

/* Configuration of a table */

struct lab_param {
	unsigned int levels;
	unsigned long pgsizes;
	bool coherent;
	bool some;			/* tested even if not all are requested */
};

#define SIZES_1G	(SZ_4K | SZ_2M | SZ_1G)
#define SIZES_2M	(SZ_4K | SZ_2M)

/* Bits that CPUs and hardware do not both interpret, and Accessed and Dirty. */
#if SECOND_LEVEL
#define SOFTWARE_BITS	(BIT_ULL(63) | GENMASK_ULL(61, 52) | BIT_ULL(10))
#define ACCESSED_DIRTY	(BIT_ULL(8) | BIT_ULL(9))
#else
#define SOFTWARE_BITS	(GENMASK_ULL(62, 52) | GENMASK_ULL(11, 8))
#define ACCESSED_DIRTY	(BIT_ULL(5) | BIT_ULL(6))
#endif

static const struct lab_param params[] = {
#if SECOND_LEVEL
	{ 3, SIZES_1G, false },		{ 3, SIZES_1G, true, true },
	{ 4, SIZES_1G, false, true },	{ 4, SIZES_1G, true },
	{ 5, SIZES_1G, false },		{ 5, SIZES_1G, true },
	{ 3, SIZES_2M, false, true },	{ 3, SIZES_2M, true },
	{ 4, SIZES_2M, false },		{ 5, SIZES_2M, true, true },
	{ 3, SZ_4K, false },		{ 4, SZ_4K, true, true },
	{ 5, SZ_4K, false },
#else
	{ 4, SIZES_1G, false, true },	{ 4, SIZES_1G, true },
	{ 5, SIZES_1G, false },		{ 5, SIZES_1G, true, true },
	{ 4, SIZES_2M, false },		{ 4, SIZES_2M, true },
	{ 5, SIZES_2M, false, true },	{ 5, SIZES_2M, true },
	{ 4, SZ_4K, false },		{ 4, SZ_4K, true, true },
	{ 5, SZ_4K, false },		{ 5, SZ_4K, true },
#endif
};

static const void *next_param(const void *prev, char *desc, unsigned long need,
			      bool coherent_too)
{
	const struct lab_param *p = prev ? prev + sizeof(*p) : params;

	for (; p < params + ARRAY_SIZE(params); p++) {
		if (!(p->pgsizes & need) || (p->coherent && !coherent_too) ||
		    !(all || p->some))
			continue;

		snprintf(desc, KUNIT_PARAM_DESC_SIZE, "%u levels, 4K%s%s, %s",
			 p->levels, p->pgsizes & SZ_2M ? "+2M" : "",
			 p->pgsizes & SZ_1G ? "+1G" : "",
			 p->coherent ? "coherent" : "non-coherent");
		return p;
	}

	return NULL;
}

static const void *all_gen_params(const void *prev, char *desc)
{
	return next_param(prev, desc, SZ_4K, true);
}

static const void *large_gen_params(const void *prev, char *desc)
{
	return next_param(prev, desc, SZ_2M, true);
}

static const void *huge_gen_params(const void *prev, char *desc)
{
	return next_param(prev, desc, SZ_1G, true);
}

static const void *sync_gen_params(const void *prev, char *desc)
{
	return next_param(prev, desc, SZ_4K, false);
}

static const void *sync_large_gen_params(const void *prev, char *desc)
{
	return next_param(prev, desc, SZ_2M, false);
}

static const void *sync_huge_gen_params(const void *prev, char *desc)
{
	return next_param(prev, desc, SZ_1G, false);
}

/* The model: what should translate, as a sorted list of ranges. */

struct extent {
	u64 start;
	u64 last;
	u64 pa;
	int prot;
};

struct model {
	unsigned int nr;
	struct extent *extents;
};

/* An invalidation that was requested, or that is expected. */
struct call {
	u64 start;
	u64 last;
	enum vtd_pt_change change;
};

struct calls {
	unsigned int nr;
	struct call call[MAX_CALLS];
};

struct lab {
	struct kunit *test;
	const struct lab_param *param;
	struct vtd_pt_cfg cfg;
	struct vtd_pt *pt;

	/* By page frame number: the copy that hardware sees. */
	struct xarray pages;
	spinlock_t memory_lock;		/* serializes write-backs */

	/*
	 * Number of allocations before the one that fails; negative: none
	 * fails.
	 */
	atomic_t fail_in;
	atomic_t allocs;
	atomic_t failed;

	/* The model, and its state after the current operation. */
	struct model before;
	struct model after;
	struct model scratch;

	struct calls *got;
	struct calls *want;

	bool atomic;		/* call the library where it must not sleep */
	bool must_not_sleep;	/* it is in such a call, or in vtd_pt_unmap() */
	bool any_attributes;	/* the test has written attributes itself */
	u64 dirty_unit;		/* of vtd_pt_read_and_clear_dirty() */
	bool watching;		/* walk all after each write-back */
	bool racing;		/* several threads: log no invalidations */
	void (*on_sync)(struct lab *lab, void *addr, size_t size);
	void (*on_invalidate)(struct lab *lab);
	void (*on_racing_invalidate)(struct lab *lab, u64 start, u64 last);
	void (*on_alloc)(struct lab *lab);

	/* Threads */
	atomic_t arrived;
	atomic_t running;
	atomic_t wrong;
	atomic_t cached;	/* hardware has the large page at base */
	u64 base;
	unsigned int rounds;
	unsigned int round;
};

/* The next larger size of a leaf, 0 after the largest. */
static u64 next_size(const struct lab *lab, u64 size)
{
	size *= SPEC_ENTRIES;

	return lab->param->pgsizes & size;
}

/* Count tables and leaves. */
static void count_all(struct vtd_pt *pt, struct vtd_pt_stats *stats)
{
	u64 iova = 0;

	vtd_pt_count_tables(pt, stats);
	while (vtd_pt_count_leaves(pt, &iova, stats))
		cond_resched();
}

static unsigned int level_of(u64 pgsize)
{
	return pgsize == SZ_1G ? 3 : pgsize == SZ_2M ? 2 : 1;
}

/* An address to map @iova to; contiguous where the ranges used here are. */
static u64 pa_of(u64 iova)
{
	return (iova + 3ULL * SZ_1G) & GENMASK_ULL(PA_BITS - 2, 0);
}

static void model_add(struct model *m, u64 start, u64 last, u64 pa, int prot)
{
	if (!WARN_ON(m->nr == MAX_EXTENTS))
		m->extents[m->nr++] = (struct extent) { start, last, pa, prot };
}

static void model_copy(struct model *to, const struct model *from)
{
	to->nr = from->nr;
	memcpy(to->extents, from->extents, from->nr * sizeof(*from->extents));
}

/* @e without what lies from @start to @last. */
static void model_add_rest(struct model *m, const struct extent *e, u64 start,
			   u64 last)
{
	if (e->start < start)
		model_add(m, e->start, min(e->last, start - 1), e->pa, e->prot);
	if (e->last > last) {
		u64 from = max(e->start, last + 1);

		model_add(m, from, e->last, e->pa + (from - e->start), e->prot);
	}
}

static void model_clear(struct lab *lab, struct model *m, u64 start, u64 last)
{
	unsigned int i;

	model_copy(&lab->scratch, m);
	m->nr = 0;
	for (i = 0; i < lab->scratch.nr; i++)
		model_add_rest(m, &lab->scratch.extents[i], start, last);
}

/* Nothing is mapped from @start to @last. */
static void model_insert(struct model *m, u64 start, u64 last, u64 pa, int prot)
{
	unsigned int i = m->nr;

	model_add(m, start, last, pa, prot);
	while (i && m->extents[i - 1].start > start) {
		swap(m->extents[i - 1], m->extents[i]);
		i--;
	}
}

/* The range that @iova is in, or NULL; in either case up to @last. */
static const struct extent *model_at(const struct model *m, u64 iova, u64 *last)
{
	unsigned int low = 0, high = m->nr;

	while (low < high) {
		unsigned int mid = (low + high) / 2;

		if (m->extents[mid].last < iova)
			low = mid + 1;
		else
			high = mid;
	}

	*last = U64_MAX;
	if (low == m->nr)
		return NULL;
	if (m->extents[low].start > iova) {
		*last = m->extents[low].start - 1;
		return NULL;
	}

	*last = m->extents[low].last;
	return &m->extents[low];
}

static bool model_is_free(const struct model *m, u64 start, u64 last)
{
	u64 until;

	return !model_at(m, start, &until) && until >= last;
}

/* Memory: as the CPU has it, and as the hardware sees it. */

struct view {
	struct spec_hw hw;
	struct lab *lab;
	bool cpu;
	unsigned long pfn;
	u64 *entries;
};

/* One load, of a page that the library has and has not freed. */
static bool view_read(void *memory, u64 addr, u64 *entry)
{
	struct view *view = memory;
	unsigned long pfn = PHYS_PFN(addr);

	if (pfn != view->pfn) {
		u64 *copy = xa_load(&view->lab->pages, pfn);

		if (!copy || page_count(pfn_to_page(pfn)) < 2)
			return false;

		view->pfn = pfn;
		view->entries = view->cpu || view->lab->param->coherent ?
				page_address(pfn_to_page(pfn)) : copy;
	}

	*entry = READ_ONCE(view->entries[offset_in_page(addr) / sizeof(*entry)]);
	return true;
}

static void view_open(struct view *view, struct lab *lab, bool cpu)
{
	*view = (struct view) {
		.hw = {
			.second = SECOND_LEVEL,
			.snoop_control = true,
			.levels = lab->param->levels,
			.haw = PA_BITS,
			.has_1g = lab->param->pgsizes & SZ_1G,
			.read = view_read,
			.memory = view,
		},
		.lab = lab,
		.cpu = cpu,
	};
}

/* The translation that hardware finds at @iova now. */
static void lab_walk(struct lab *lab, u64 iova, struct spec_walk *walk)
{
	struct view view;

	view_open(&view, lab, false);
	spec_translate(&view.hw, vtd_pt_root(lab->pt), iova, walk);
}

/* Does hardware translate @iova to @pa? To nothing, if @pa is 0. */
static bool hw_sees(struct lab *lab, u64 iova, u64 pa)
{
	struct spec_walk walk;

	lab_walk(lab, iova, &walk);

	return pa ? walk.fault == SPEC_OK && walk.pa == pa :
		    walk.fault == SPEC_NOT_PRESENT;
}

/* The entry that translates @iova, in the CPU's memory. */
static u64 *lab_entry(struct lab *lab, u64 iova)
{
	struct spec_walk walk;
	struct view view;

	view_open(&view, lab, true);
	spec_translate(&view.hw, vtd_pt_root(lab->pt), iova, &walk);

	return phys_to_virt(walk.entry_addr);
}

static void memory_sync(struct lab *lab, void *addr, size_t size)
{
	u64 *copy = xa_load(&lab->pages, PHYS_PFN(virt_to_phys(addr)));
	u64 *memory = PTR_ALIGN_DOWN(addr, PAGE_SIZE);
	size_t from = ALIGN_DOWN(offset_in_page(addr), LINE) / sizeof(u64);
	size_t to = ALIGN(offset_in_page(addr) + size, LINE) / sizeof(u64);

	KUNIT_EXPECT_NOT_NULL(lab->test, copy);
	KUNIT_EXPECT_LE(lab->test, offset_in_page(addr) + size, PAGE_SIZE);
	if (!copy || to > PAGE_SIZE / sizeof(u64))
		return;

	/*
	 * A line is written back as a whole; stores of other CPUs are not lost.
	 */
	spin_lock(&lab->memory_lock);
	for (; from < to; from++)
		WRITE_ONCE(copy[from], READ_ONCE(memory[from]));
	spin_unlock(&lab->memory_lock);
}

/* Write an entry behind the library's back, as the hardware may. */
static void lab_poke(struct lab *lab, u64 *entry, u64 val)
{
	WRITE_ONCE(*entry, val);
	memory_sync(lab, entry, sizeof(*entry));
}

static bool must_fail(struct lab *lab)
{
	if (atomic_read(&lab->fail_in) < 0 || atomic_dec_return(&lab->fail_in) >= 0)
		return false;

	atomic_inc(&lab->failed);
	return true;
}

/* Stands for vtd_pt_alloc_page() while the test runs. */
static void *lab_alloc_page(const struct vtd_pt_cfg *cfg, gfp_t gfp)
{
	struct kunit *test = kunit_get_current_test();
	struct lab *lab = test->priv;
	u64 *copy;
	void *page;

	KUNIT_EXPECT_EQ(test, cfg->nid, lab->cfg.nid);
	KUNIT_EXPECT_TRUE(test, cfg->gfp == lab->cfg.gfp);
	KUNIT_EXPECT_FALSE(test, lab->must_not_sleep && gfpflags_allow_blocking(gfp));
	atomic_inc(&lab->allocs);
	if (lab->on_alloc)
		lab->on_alloc(lab);
	if (must_fail(lab))
		return NULL;

	copy = (void *)__get_free_page(gfp);
	if (!copy)
		return NULL;

	memset(copy, GARBAGE, PAGE_SIZE);
	page = iommu_alloc_page_node(cfg->nid, gfp);
	/* Pages that are not requested to be zero hold garbage. */
	if (page && !(gfp & __GFP_ZERO))
		memset(page, GARBAGE, PAGE_SIZE);
	if (!page || xa_err(xa_store(&lab->pages, PHYS_PFN(virt_to_phys(page)),
				     copy, gfp))) {
		iommu_free_page(page);
		free_page((unsigned long)copy);
		return NULL;
	}

	get_page(virt_to_page(page));
	return page;
}

/* Release pages that the library has freed. Returns how many it still has. */
static unsigned long lab_reap(struct lab *lab)
{
	unsigned long pfn, nr = 0;
	u64 *copy;

	xa_for_each(&lab->pages, pfn, copy) {
		if (page_count(pfn_to_page(pfn)) != 1) {
			nr++;
			continue;
		}
		xa_erase(&lab->pages, pfn);
		free_page((unsigned long)copy);
		put_page(pfn_to_page(pfn));
	}

	return nr;
}

/* A survey: everything that the hardware can reach, against the models. */

struct survey {
	struct spec_visitor visitor;
	struct view view;
	struct lab *lab;
	bool at_rest;
	bool failed;
	u64 next;			/* first address that was not compared */
	u32 digest;			/* of all entries that are not zero */
	unsigned long tables[SPEC_LEVELS + 1];
	unsigned long leaves[SPEC_LEVELS + 1];
	struct xarray seen;
};

/* Report only the first mismatch. */
static __printf(2, 3) void survey_fail(struct survey *s, const char *fmt, ...)
{
	struct va_format vaf = { .fmt = fmt };
	va_list args;

	if (s->failed)
		return;

	s->failed = true;
	va_start(args, fmt);
	vaf.va = &args;
	KUNIT_FAIL(s->lab->test, "%pV", &vaf);
	va_end(args);
}

/* At rest, nothing that hardware interprets may be left in the CPU's caches. */
static void survey_lines(struct survey *s, u64 addr)
{
	u64 *memory = phys_to_virt(addr);
	u64 *copy = s->lab->param->coherent ? memory :
		    xa_load(&s->lab->pages, PHYS_PFN(addr));
	unsigned int i;

	for (i = 0; i < SPEC_ENTRIES; i++) {
		u64 diff = memory[i] ^ copy[i];

		if (diff & ~SOFTWARE_BITS)
			survey_fail(s, "%llx[%u] is %llx, in memory %llx", addr,
				    i, memory[i], copy[i]);
		if (memory[i])
			s->digest = jhash_3words(i, upper_32_bits(memory[i]),
						 lower_32_bits(memory[i]),
						 s->digest);
	}
}

static void survey_table(struct spec_visitor *v, u64 addr, unsigned int level,
			 u64 iova)
{
	struct survey *s = container_of(v, struct survey, visitor);

	s->tables[level]++;
	if (xa_insert(&s->seen, PHYS_PFN(addr), xa_mk_value(level), GFP_ATOMIC))
		survey_fail(s, "table %llx is reached twice, at %llx", addr, iova);

	if (s->at_rest && xa_load(&s->lab->pages, PHYS_PFN(addr)))
		survey_lines(s, addr);
}

/* The accesses that a page mapped with @prot allows */
static int access_of(int prot)
{
	/* The first level has no write-only page, and no Snoop bit. */
	return SECOND_LEVEL ? prot & (RW | IOMMU_CACHE) : (prot & IOMMU_WRITE) | IOMMU_READ;
}

static int walk_access(const struct spec_walk *walk)
{
	return (walk->read ? IOMMU_READ : 0) | (walk->write ? IOMMU_WRITE : 0) |
	       (walk->snoop ? IOMMU_CACHE : 0);
}

/*
 * As the library makes leaves; hardware sets Accessed and Dirty of the second
 * level.
 */
static bool has_plain_attributes(const struct spec_walk *walk)
{
	if (walk->ignored || walk->no_exec || walk->memory_type || !walk->user)
		return false;

	return SECOND_LEVEL ? !walk->accessed && !walk->dirty :
			      walk->accessed && walk->dirty == walk->write;
}

static bool is_as_mapped(const struct survey *s, const struct spec_walk *walk,
			 const struct extent *e, u64 offset, u64 iova)
{
	if (!walk || !e)
		return !walk && !e;

	if (walk->page + offset != e->pa + (iova - e->start) ||
	    walk_access(walk) != e->prot)
		return false;

	return s->lab->any_attributes || has_plain_attributes(walk);
}

/* From @start to @last hardware finds @walk, or nothing. */
static void survey_range(struct survey *s, u64 start, u64 last,
			 const struct spec_walk *walk)
{
	u64 iova, until, until_after;

	for (iova = start; !s->failed; iova = until + 1) {
		const struct extent *before, *after;

		before = model_at(&s->lab->before, iova, &until);
		after = model_at(&s->lab->after, iova, &until_after);
		until = min3(until, until_after, last);

		if (!is_as_mapped(s, walk, before, iova - start, iova) &&
		    !is_as_mapped(s, walk, after, iova - start, iova))
			survey_fail(s, "%llx is %s (page %llx entry %llx), %s",
				    iova, walk ? "mapped" : "not mapped",
				    walk ? walk->page : 0,
				    walk ? walk->entry : 0,
				    s->at_rest ? "at rest" : "in between");
		if (until == last)
			return;
	}
}

static void survey_leaf(struct spec_visitor *v, u64 iova,
			const struct spec_walk *walk)
{
	struct survey *s = container_of(v, struct survey, visitor);

	s->leaves[walk->level]++;
	if (iova > vtd_pt_last_iova(s->lab->pt))
		survey_fail(s, "%llx is mapped outside of the aperture", iova);
	if (iova > s->next)
		survey_range(s, s->next, iova - 1, NULL);
	survey_range(s, iova, iova + walk->size - 1, walk);
	s->next = iova + walk->size;
}

static void survey_illegal(struct spec_visitor *v, u64 iova,
			   const struct spec_walk *walk)
{
	struct survey *s = container_of(v, struct survey, visitor);

	survey_fail(s, "illegal entry %llx at level %u for %llx (%s)",
		    walk->entry, walk->level, iova,
		    walk->fault == SPEC_NO_ACCESS ? "no such table" :
		    s->at_rest ? "at rest" : "in between");
}

/*
 * @cpu: check the CPU's view, which may not have been written back yet.
 * @at_rest: no operation is in progress.
 */
static void survey_run(struct survey *s, struct lab *lab, bool cpu, bool at_rest)
{
	*s = (struct survey) {
		.visitor = {
			.table = survey_table,
			.leaf = survey_leaf,
			.illegal = survey_illegal,
		},
		.lab = lab,
		.at_rest = at_rest,
	};
	xa_init(&s->seen);
	view_open(&s->view, lab, cpu);

	spec_scan(&s->view.hw, vtd_pt_root(lab->pt), &s->visitor);
	if (s->next <= vtd_pt_last_iova(lab->pt))
		survey_range(s, s->next, vtd_pt_last_iova(lab->pt), NULL);

	xa_destroy(&s->seen);
}

/* A hash of all entries that hardware or library can reach. */
static u32 lab_digest(struct lab *lab)
{
	struct survey survey;

	survey_run(&survey, lab, true, true);

	return survey.digest;
}

static void lab_sync_entries(void *owner, void *addr, size_t size)
{
	struct lab *lab = owner;
	struct survey survey;

	KUNIT_EXPECT_FALSE(lab->test, lab->param->coherent);
	if (lab->on_sync)
		lab->on_sync(lab, addr, size);

	memory_sync(lab, addr, size);

	/* The root is written back before the table can be used. */
	if (lab->watching && lab->pt)
		survey_run(&survey, lab, false, false);
}

/* Invalidations */

static void calls_add(struct calls *calls, u64 start, u64 last,
		      enum vtd_pt_change change)
{
	if (!WARN_ON(calls->nr == MAX_CALLS))
		calls->call[calls->nr++] = (struct call) { start, last, change };
}

static bool calls_have(const struct calls *calls, const struct call *call)
{
	unsigned int i;

	for (i = 0; i < calls->nr; i++) {
		if (calls->call[i].start == call->start &&
		    calls->call[i].last == call->last &&
		    calls->call[i].change == call->change)
			return true;
	}

	return false;
}

/*
 * When an invalidation is requested, hardware must not find the old state
 * again: memory has the new state.
 */
static void check_invalidation(struct lab *lab, u64 iova, enum vtd_pt_change change)
{
	struct spec_walk hw, cpu;
	struct view view;

	lab_walk(lab, iova, &hw);
	view_open(&view, lab, true);
	spec_translate(&view.hw, vtd_pt_root(lab->pt), iova, &cpu);

	KUNIT_EXPECT_EQ(lab->test, hw.entry_addr, cpu.entry_addr);
	KUNIT_EXPECT_EQ(lab->test, hw.fault, cpu.fault);
	KUNIT_EXPECT_EQ(lab->test, hw.pa, cpu.pa);
	if (change == VTD_PT_LEAVES)
		KUNIT_EXPECT_EQ(lab->test, hw.fault, SPEC_NOT_PRESENT);
}

static void lab_invalidate(void *owner, u64 start, u64 last,
			   enum vtd_pt_change change)
{
	struct lab *lab = owner;

	if (lab->racing) {
		if (lab->on_racing_invalidate)
			lab->on_racing_invalidate(lab, start, last);
		return;
	}

	if (lab->on_invalidate)
		lab->on_invalidate(lab);

	calls_add(lab->got, start, last, change);
	check_invalidation(lab, start, change);
	check_invalidation(lab, last & PAGE_MASK, change);
}

/* The invalidations were exactly these, in whatever order. */
static void check_calls(struct lab *lab)
{
	unsigned int i;

	KUNIT_EXPECT_EQ(lab->test, lab->got->nr, lab->want->nr);
	for (i = 0; i < lab->want->nr; i++) {
		struct call *call = &lab->want->call[i];

		KUNIT_EXPECT_TRUE_MSG(lab->test, calls_have(lab->got, call),
				      "no invalidation of %llx to %llx, %s",
				      call->start, call->last,
				      call->change == VTD_PT_LEAVES ? "leaves" :
				      "structure");
	}
}

/* Checks after every operation */

static void check_stats(struct lab *lab, const struct survey *survey)
{
	struct kunit *test = lab->test;
	unsigned long reached = 0, tables = 0;
	struct vtd_pt_stats stats;
	unsigned int level;

	count_all(lab->pt, &stats);
	for (level = 1; level <= SPEC_LEVELS; level++) {
		KUNIT_EXPECT_LE(test, survey->tables[level], stats.tables[level]);
		KUNIT_EXPECT_EQ(test, survey->leaves[level], stats.leaves[level]);
		reached += survey->tables[level];
		tables += stats.tables[level];
	}

	KUNIT_EXPECT_EQ(test, reached + stats.deposited, tables);
	KUNIT_EXPECT_EQ(test, lab_reap(lab), tables);
}

static void check_lookup(struct lab *lab, u64 iova)
{
	const struct extent *e;
	u64 last;

	if (iova > vtd_pt_last_iova(lab->pt))
		return;

	e = model_at(&lab->before, iova, &last);
	KUNIT_EXPECT_EQ_MSG(lab->test, vtd_pt_iova_to_phys(lab->pt, iova),
			    e ? e->pa + (iova - e->start) : 0, "iova %llx", iova);
	KUNIT_EXPECT_EQ_MSG(lab->test, vtd_pt_is_writable(lab->pt, iova),
			    e && e->prot & IOMMU_WRITE, "iova %llx", iova);
}

static void check_lookups(struct lab *lab)
{
	unsigned int i;

	for (i = 0; i < lab->before.nr; i++) {
		struct extent *e = &lab->before.extents[i];

		check_lookup(lab, e->start - 1);
		check_lookup(lab, e->start);
		check_lookup(lab, e->last);
		check_lookup(lab, e->last + 1);
	}
}

static void lab_check(struct lab *lab)
{
	struct survey survey;

	survey_run(&survey, lab, false, true);
	check_stats(lab, &survey);
	check_lookups(lab);

	/* One report is enough. */
	KUNIT_ASSERT_EQ(lab->test, lab->test->status, KUNIT_SUCCESS);
}

/* Operations, with their expected results */

static void op_begin(struct lab *lab)
{
	lab->got->nr = 0;
	lab->want->nr = 0;
	atomic_set(&lab->allocs, 0);
	atomic_set(&lab->failed, 0);
	model_copy(&lab->after, &lab->before);
}

static void op_call(struct lab *lab)
{
	lab->watching = !lab->on_sync;
	lab->must_not_sleep |= lab->atomic;
	if (lab->atomic)
		preempt_disable();
}

static void op_return(struct lab *lab)
{
	if (lab->atomic)
		preempt_enable();
	lab->watching = false;
	lab->must_not_sleep = false;
}

static void op_end(struct lab *lab)
{
	model_copy(&lab->before, &lab->after);
	check_calls(lab);
	lab_check(lab);
}

static gfp_t op_gfp(const struct lab *lab)
{
	return lab->atomic ? GFP_ATOMIC : GFP_KERNEL;
}

static bool in_aperture(struct lab *lab, u64 iova, u64 size)
{
	u64 last = vtd_pt_last_iova(lab->pt);

	return iova <= last && size - 1 <= last - iova;
}

/* The result of vtd_pt_map()'s checks of its arguments. */
static int expect_arguments(struct lab *lab, u64 iova, u64 pa, u64 pgsize,
			    u64 count, int prot)
{
	u64 pa_last = GENMASK_ULL(PA_BITS - 1, 0);

	if (!(lab->param->pgsizes & pgsize) || hweight64(pgsize) != 1 ||
	    !count || iova % pgsize || pa % pgsize || !(prot & RW))
		return -EINVAL;
	if (count > U64_MAX / pgsize || !in_aperture(lab, iova, count * pgsize) ||
	    pa > pa_last || count * pgsize - 1 > pa_last - pa)
		return -ERANGE;

	return 0;
}

/* Does an entry at @iova that covers @pgsize refer to a table? */
static bool is_table(struct lab *lab, u64 iova, u64 pgsize)
{
	struct spec_walk walk;
	struct view view;

	view_open(&view, lab, true);
	spec_translate(&view.hw, vtd_pt_root(lab->pt), iova, &walk);

	return walk.level < level_of(pgsize);
}

/*
 * Returns how many leaves can be mapped before one is in use. @replaces is set
 * to the first of them that replaces a table.
 */
static u64 expect_leaves(struct lab *lab, u64 iova, u64 pgsize, u64 count, u64 *replaces)
{
	u64 i, slot = iova;

	for (i = 0; i < count; i++, slot += pgsize) {
		if (!model_is_free(&lab->before, slot, slot + pgsize - 1))
			break;
		if (pgsize > SZ_4K && *replaces > slot && is_table(lab, slot, pgsize))
			*replaces = slot;
	}

	return i;
}

/* After -ENOMEM, what was mapped stays. */
static void expect_progress(struct lab *lab, u64 iova, u64 pa, u64 mapped, int access)
{
	model_copy(&lab->after, &lab->before);
	if (mapped)
		model_insert(&lab->after, iova, iova + mapped - 1, pa, access);
}

static int lab_map(struct lab *lab, u64 iova, u64 pa, u64 pgsize, u64 count,
		   int prot)
{
	int ret, expected = expect_arguments(lab, iova, pa, pgsize, count, prot);
	size_t mapped = ~0UL;
	u64 fit = 0, replaces = U64_MAX, done;

	op_begin(lab);
	if (!expected) {
		fit = expect_leaves(lab, iova, pgsize, count, &replaces);
		if (fit)
			model_insert(&lab->after, iova, iova + fit * pgsize - 1,
				     pa, access_of(prot));
		expected = fit < count ? -EADDRINUSE : 0;
	}

	op_call(lab);
	ret = vtd_pt_map(lab->pt, iova, pa, pgsize, count, prot, op_gfp(lab),
			 &mapped);
	op_return(lab);

	done = fit * pgsize;
	if (atomic_read(&lab->failed)) {
		expected = -ENOMEM;
		done = mapped;
		KUNIT_EXPECT_EQ(lab->test, mapped % pgsize, 0);
		KUNIT_EXPECT_LE(lab->test, mapped, fit * pgsize);
		expect_progress(lab, iova, pa, mapped, access_of(prot));
	} else {
		KUNIT_EXPECT_EQ(lab->test, mapped, expected ? 0 : count * pgsize);
	}

	/* All tables that it has replaced are invalidated at once. */
	if (replaces < iova + done)
		calls_add(lab->want, iova, iova + done - 1, VTD_PT_STRUCTURE);
	if (expected == -EADDRINUSE) {
		model_copy(&lab->after, &lab->before);
		if (fit)
			calls_add(lab->want, iova, iova + fit * pgsize - 1,
				  VTD_PT_LEAVES);
	}

	KUNIT_EXPECT_EQ(lab->test, ret, expected);
	op_end(lab);

	return ret;
}

/* Split the leaf that crosses @iova, if any, level by level. */
static void expect_split(struct lab *lab, u64 iova)
{
	struct spec_walk walk;
	unsigned int level;

	if (iova > vtd_pt_last_iova(lab->pt))
		return;

	lab_walk(lab, iova, &walk);
	if (walk.fault)
		return;

	for (level = walk.level; iova % spec_reach(level); level--) {
		u64 start = ALIGN_DOWN(iova, spec_reach(level));
		struct call call = {
			start, start + spec_reach(level) - 1, VTD_PT_STRUCTURE,
		};

		if (!calls_have(lab->want, &call))
			calls_add(lab->want, call.start, call.last, call.change);
	}
}

/* State that must not change if no memory can be allocated. */
static u32 split_digest(struct lab *lab)
{
	return atomic_read(&lab->fail_in) < 0 ? 0 : lab_digest(lab);
}

/* At most one table may be allocated for each page to be split. */
static bool expect_split_to_fail(struct lab *lab, u32 digest)
{
	KUNIT_EXPECT_LE(lab->test, atomic_read(&lab->allocs), lab->want->nr);
	if (!atomic_read(&lab->failed))
		return false;

	lab->want->nr = 0;
	model_copy(&lab->after, &lab->before);
	KUNIT_EXPECT_EQ(lab->test, lab_digest(lab), digest);
	return true;
}

static size_t lab_unmap(struct lab *lab, u64 iova, u64 size)
{
	bool valid = size && !((iova | size) % SZ_4K) &&
		     in_aperture(lab, iova, size);
	u32 digest = split_digest(lab);
	size_t unmapped;

	op_begin(lab);
	if (valid) {
		expect_split(lab, iova);
		expect_split(lab, iova + size);
		model_clear(lab, &lab->after, iova, iova + size - 1);
	}

	lab->must_not_sleep = true;
	op_call(lab);
	unmapped = vtd_pt_unmap(lab->pt, iova, size);
	op_return(lab);

	if (expect_split_to_fail(lab, digest))
		valid = false;
	KUNIT_EXPECT_EQ(lab->test, unmapped, valid ? size : 0);
	op_end(lab);

	return unmapped;
}

static int lab_split(struct lab *lab, u64 iova)
{
	int ret, expected = 0;
	u32 digest = split_digest(lab);

	op_begin(lab);
	expect_split(lab, iova);

	op_call(lab);
	ret = vtd_pt_split_ends(lab->pt, iova, iova, op_gfp(lab));
	op_return(lab);

	if (expect_split_to_fail(lab, digest))
		expected = -ENOMEM;
	KUNIT_EXPECT_EQ(lab->test, ret, expected);
	op_end(lab);

	return ret;
}

/* Preparations that have to succeed. */

static void must_map(struct lab *lab, u64 iova, u64 pgsize, u64 count)
{
	KUNIT_ASSERT_EQ(lab->test, 0,
			lab_map(lab, iova, pa_of(iova), pgsize, count, RW));
}

static void must_unmap(struct lab *lab, u64 iova, u64 size)
{
	KUNIT_ASSERT_EQ(lab->test, size, lab_unmap(lab, iova, size));
}

static void must_be_leaf(struct lab *lab, u64 iova, u64 size)
{
	struct spec_walk walk;

	lab_walk(lab, iova, &walk);
	KUNIT_EXPECT_EQ(lab->test, walk.fault, SPEC_OK);
	KUNIT_EXPECT_EQ_MSG(lab->test, walk.size, size, "iova %llx", iova);
}

/* All pages, deposited ones included. */
static unsigned long lab_pages(struct lab *lab)
{
	struct vtd_pt_stats stats;
	unsigned long nr = 0;
	unsigned int level;

	count_all(lab->pt, &stats);
	for (level = 1; level <= SPEC_LEVELS; level++)
		nr += stats.tables[level];

	return nr;
}

static u64 lab_end(struct lab *lab)
{
	return vtd_pt_last_iova(lab->pt) + 1;
}

/* Set-up and tear-down of a lab */

static const struct vtd_pt_ops lab_ops = {
	.sync_entries = lab_sync_entries,
	.invalidate = lab_invalidate,
};

static void lab_create(struct lab *lab)
{
	struct vtd_pt *pt = vtd_pt_create(&lab->cfg);

	KUNIT_ASSERT_NOT_ERR_OR_NULL(lab->test, pt);
	lab->pt = pt;
}

/* Everything that was ever allocated is free after an RCU grace period. */
static void lab_destroy(struct lab *lab)
{
	if (lab->pt)
		vtd_pt_destroy(lab->pt);
	lab->pt = NULL;
	lab->before.nr = 0;
	lab->after.nr = 0;

	rcu_barrier();
	KUNIT_EXPECT_EQ_MSG(lab->test, lab_reap(lab), 0, "pages have leaked");
}

static void lab_renew(struct lab *lab)
{
	lab_destroy(lab);
	lab_create(lab);
}

static struct extent *lab_extents(struct kunit *test)
{
	struct extent *extents;

	extents = kunit_kmalloc_array(test, MAX_EXTENTS, sizeof(*extents),
				      GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, extents);

	return extents;
}

static struct lab *lab_alloc(struct kunit *test, const struct lab_param *param)
{
	struct lab *lab = kunit_kzalloc(test, sizeof(*lab), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, lab);
	*lab = (struct lab) {
		.test = test,
		.param = param,
		.cfg = {
			.ops = &lab_ops,
			.owner = lab,
			.levels = param->levels,
			.pgsize_bitmap = param->pgsizes,
			.coherent = param->coherent,
			.nid = NUMA_NO_NODE,
			.gfp = __GFP_ACCOUNT,
		},
		.fail_in = ATOMIC_INIT(-1),
		.before.extents = lab_extents(test),
		.after.extents = lab_extents(test),
		.scratch.extents = lab_extents(test),
		.got = kunit_kzalloc(test, sizeof(*lab->got), GFP_KERNEL),
		.want = kunit_kzalloc(test, sizeof(*lab->want), GFP_KERNEL),
	};
	KUNIT_ASSERT_NOT_NULL(test, lab->got);
	KUNIT_ASSERT_NOT_NULL(test, lab->want);
	xa_init(&lab->pages);
	spin_lock_init(&lab->memory_lock);

	return lab;
}

static int pgtable_test_init(struct kunit *test)
{
	if (!test->param_value)
		return 0;

	test->priv = lab_alloc(test, test->param_value);
	kunit_activate_static_stub(test, vtd_pt_alloc_page, lab_alloc_page);
	lab_create(test->priv);

	return 0;
}

static void pgtable_test_exit(struct kunit *test)
{
	struct lab *lab = test->priv;

	if (!lab)
		return;

	lab_destroy(lab);
	xa_destroy(&lab->pages);
}

/* The reference walker, on entries written by hand from sections 9.7 and 9.8 */

struct spec_case {
	const char *name;
	unsigned int levels;
	unsigned int haw;
	bool no_1g;
	u64 iova;
	u64 entry[SPEC_LEVELS + 1];	/* by level; table of level n at n << 12 */
	struct spec_walk want;
};

#define IOVA	0x5a5a5a5a5a5aULL
#define GOOD	.read = true, .write = true, .user = true, .accessed = true, .dirty = true
#define IS_4K	.level = 1, .size = SZ_4K, .page = 0x12345000, .pa = 0x12345a5a
#define IS_2M	.level = 2, .size = SZ_2M, .page = 0x40000000, .pa = 0x401a5a5a
#define IS_1G	.level = 3, .size = SZ_1G, .page = 0x80000000, .pa = 0x9a5a5a5a
#define BAD(l)	.fault = SPEC_RESERVED, .level = (l)
#define NONE(l)	.fault = SPEC_NOT_PRESENT, .level = (l)

#if SECOND_LEVEL
#define DONE	.read = true, .write = true, .user = true
static const struct spec_case spec_cases[] = {
	{ "4K", 4, 52, 0, IOVA, { 0, 0x12345303, 0x1103, 0x2103, 0x3103 }, { IS_4K, GOOD } },
	{ "2M", 4, 52, 0, IOVA, { 0, 0, 0x40000383, 0x2103, 0x3103 }, { IS_2M, GOOD } },
	{ "1G", 4, 52, 0, IOVA, { 0, 0, 0, 0x80000383, 0x3103 }, { IS_1G, GOOD } },
	{ "4K, 5 levels", 5, 52, 0, IOVA | 0x1ffULL << 48,
	  { 0, 0x12345303, 0x1103, 0x2103, 0x3103, 0x4103 }, { IS_4K, GOOD } },
	{ "4K, 3 levels", 3, 52, 0, IOVA & 0x7fffffffffULL,
	  { 0, 0x12345303, 0x1103, 0x2103 }, { IS_4K, GOOD } },
	{ "4K, bit 47", 4, 52, 0, IOVA | 1ULL << 47,
	  { 0, 0x12345303, 0x1103, 0x2103, 0x3103 }, { IS_4K, GOOD } },

	{ "read-only leaf", 4, 52, 0, IOVA, { 0, 0x12345001, 0x1003, 0x2003, 0x3003 },
	  { IS_4K, .read = true, .user = true } },
	{ "write-only leaf", 4, 52, 0, IOVA, { 0, 0x12345002, 0x1003, 0x2003, 0x3003 },
	  { IS_4K, .write = true, .user = true } },
	{ "read-only table", 4, 52, 0, IOVA, { 0, 0x12345003, 0x1001, 0x2003, 0x3003 },
	  { IS_4K, .read = true, .user = true } },
	{ "write-only table", 4, 52, 0, IOVA, { 0, 0x12345003, 0x1003, 0x2002, 0x3003 },
	  { IS_4K, .write = true, .user = true } },
	{ "dirty leaf, not accessed", 4, 52, 0, IOVA,
	  { 0, 0x12345203, 0x1103, 0x2103, 0x3103 }, { IS_4K, DONE, .dirty = true } },
	{ "table not accessed", 4, 52, 0, IOVA,
	  { 0, 0x12345303, 0x1103, 0x2003, 0x3103 }, { IS_4K, DONE, .dirty = true } },
	{ "dirty of a table means nothing", 4, 52, 0, IOVA,
	  { 0, 0x12345103, 0x1303, 0x2103, 0x3103 }, { IS_4K, DONE, .accessed = true } },
	{ "snoop of 4K", 4, 52, 0, IOVA, { 0, 0x12345b03, 0x1103, 0x2103, 0x3103 },
	  { IS_4K, GOOD, .snoop = true } },
	{ "snoop of 2M", 4, 52, 0, IOVA, { 0, 0, 0x40000b83, 0x2103, 0x3103 },
	  { IS_2M, GOOD, .snoop = true } },
	{ "snoop of 1G", 4, 52, 0, IOVA, { 0, 0, 0, 0x80000b83, 0x3103 },
	  { IS_1G, GOOD, .snoop = true } },
	{ "ignored bits", 4, 52, 0, IOVA,
	  { 0, 0xbff0000012345783ULL, 0x1103, 0x2103, 0x3103 },
	  { IS_4K, DONE, .accessed = true, .dirty = true, .ignored = 0xbff0000000000480ULL } },

	{ "PTE empty", 4, 52, 0, IOVA, { 0, ~3ULL, 0x1103, 0x2103, 0x3103 }, { NONE(1) } },
	{ "PDE empty", 4, 52, 0, IOVA, { 0, 0, 0, 0x2103, 0x3103 }, { NONE(2) } },
	{ "PDPE empty", 3, 52, 0, IOVA & 0x7fffffffffULL, {}, { NONE(3) } },
	{ "PML4E empty", 4, 52, 0, IOVA, {}, { NONE(4) } },
	{ "PML5E empty", 5, 52, 0, IOVA, {}, { NONE(5) } },

	{ "PML4E bit 7", 4, 52, 0, IOVA, { 0, 0, 0, 0, 0x3183 }, { BAD(4) } },
	{ "PML5E bit 7", 5, 52, 0, IOVA, { 0, 0, 0, 0, 0, 0x4183 }, { BAD(5) } },
	{ "1G bit 12", 4, 52, 0, IOVA, { 0, 0, 0, 0x80001383, 0x3103 }, { BAD(3) } },
	{ "1G bit 29", 4, 52, 0, IOVA, { 0, 0, 0, 0xa0000383, 0x3103 }, { BAD(3) } },
	{ "1G unknown", 4, 52, true, IOVA, { 0, 0, 0, 0x80000383, 0x3103 }, { BAD(3) } },
	{ "2M bit 12", 4, 52, 0, IOVA, { 0, 0, 0x40001383, 0x2103, 0x3103 }, { BAD(2) } },
	{ "2M bit 20", 4, 52, 0, IOVA, { 0, 0, 0x40100383, 0x2103, 0x3103 }, { BAD(2) } },
	{ "snoop of a table", 4, 52, 0, IOVA, { 0, 0, 0, 0x2903, 0x3103 }, { BAD(3) } },
	{ "bit 2", 4, 52, 0, IOVA, { 0, 0x12345307, 0x1103, 0x2103, 0x3103 }, { BAD(1) } },
	{ "bit 6", 4, 52, 0, IOVA, { 0, 0x12345343, 0x1103, 0x2103, 0x3103 }, { BAD(1) } },
	{ "bit 62", 4, 52, 0, IOVA, { 0, 0, 0, 0, 1ULL << 62 | 0x3103 }, { BAD(4) } },
	{ "4K above HAW", 4, 46, 0, IOVA, { 0, 0x400012345303ULL, 0x1103, 0x2103, 0x3103 },
	  { BAD(1) } },
	{ "table above HAW", 4, 46, 0, IOVA, { 0, 0, 0, 0x8000000002103ULL, 0x3103 },
	  { BAD(3) } },

	{ "bit 39, 3 levels", 3, 52, 0, 1ULL << 39, {}, { .fault = SPEC_NOT_CANONICAL } },
	{ "bit 48, 4 levels", 4, 52, 0, 1ULL << 48, {}, { .fault = SPEC_NOT_CANONICAL } },
	{ "bit 57, 5 levels", 5, 52, 0, 1ULL << 57, {}, { .fault = SPEC_NOT_CANONICAL } },
	{ "table outside of memory", 4, 52, 0, IOVA, { 0, 0, 0, 0x99103, 0x3103 },
	  { .fault = SPEC_NO_ACCESS, .level = 2 } },
};
#else
static const struct spec_case spec_cases[] = {
	{ "4K", 4, 52, 0, IOVA, { 0, 0x12345067, 0x1027, 0x2027, 0x3027 }, { IS_4K, GOOD } },
	{ "2M", 4, 52, 0, IOVA, { 0, 0, 0x400000e7, 0x2027, 0x3027 }, { IS_2M, GOOD } },
	{ "1G", 4, 52, 0, IOVA, { 0, 0, 0, 0x800000e7, 0x3027 }, { IS_1G, GOOD } },
	{ "4K, 5 levels", 5, 52, 0, IOVA, { 0, 0x12345067, 0x1027, 0x2027, 0x3027, 0x4027 },
	  { IS_4K, GOOD } },
	{ "4K, upper half", 4, 52, 0, IOVA | 0xffff800000000000ULL,
	  { 0, 0x12345067, 0x1027, 0x2027, 0x3027 }, { IS_4K, GOOD } },
	{ "4K, 5 levels, 56 bits", 5, 52, 0, IOVA | 0xffULL << 48,
	  { 0, 0x12345067, 0x1027, 0x2027, 0x3027, 0x4027 }, { .fault = SPEC_OK, IS_4K, GOOD } },
	{ "highest address bit", 4, 52, 0, IOVA,
	  { 0, 0x8000012345067ULL, 0x1027, 0x2027, 0x3027 },
	  { .level = 1, .size = SZ_4K, .page = 0x8000012345000ULL,
	    .pa = 0x8000012345a5aULL, GOOD } },

	{ "read-only leaf", 4, 52, 0, IOVA, { 0, 0x12345025, 0x1027, 0x2027, 0x3027 },
	  { IS_4K, .read = true, .user = true, .accessed = true } },
	{ "read-only table", 4, 52, 0, IOVA,
	  { 0, 0x12345067, 0x1025, 0x2027, 0x3027 },
	  { IS_4K, .read = true, .user = true, .accessed = true, .dirty = true } },
	{ "supervisor table", 4, 52, 0, IOVA,
	  { 0, 0x12345067, 0x1027, 0x2027, 0x3023 },
	  { IS_4K, .read = true, .write = true, .accessed = true, .dirty = true } },
	{ "no-execute table", 4, 52, 0, IOVA,
	  { 0, 0x12345067, 0x1027, 0x2027 | 1ULL << 63, 0x3027 },
	  { IS_4K, GOOD, .no_exec = true } },
	{ "table not accessed", 4, 52, 0, IOVA,
	  { 0, 0x12345067, 0x1027, 0x2007, 0x3027 },
	  { IS_4K, .read = true, .write = true, .user = true, .dirty = true } },
	{ "dirty of a table means nothing", 4, 52, 0, IOVA,
	  { 0, 0x12345027, 0x1067, 0x2027, 0x3027 },
	  { IS_4K, .read = true, .write = true, .user = true, .accessed = true } },

	{ "PAT of 4K", 4, 52, 0, IOVA, { 0, 0x123450e7, 0x1027, 0x2027, 0x3027 },
	  { IS_4K, GOOD, .memory_type = 4 } },
	{ "PCD of 4K", 4, 52, 0, IOVA, { 0, 0x12345077, 0x1027, 0x2027, 0x3027 },
	  { IS_4K, GOOD, .memory_type = 2 } },
	{ "PWT of 4K", 4, 52, 0, IOVA, { 0, 0x1234506f, 0x1027, 0x2027, 0x3027 },
	  { IS_4K, GOOD, .memory_type = 1 } },
	{ "PAT of 2M", 4, 52, 0, IOVA, { 0, 0, 0x400010e7, 0x2027, 0x3027 },
	  { IS_2M, GOOD, .memory_type = 4 } },
	{ "PAT, PCD, PWT of 1G", 4, 52, 0, IOVA, { 0, 0, 0, 0x800010ff, 0x3027 },
	  { IS_1G, GOOD, .memory_type = 7 } },
	{ "ignored bits", 4, 52, 0, IOVA,
	  { 0, 0x7ff0000012345e67ULL, 0x1027, 0x2027, 0x3027 },
	  { IS_4K, GOOD, .ignored = 0x7ff0000000000e00ULL } },

	{ "PTE not present", 4, 52, 0, IOVA, { 0, 0, 0x1027, 0x2027, 0x3027 }, { NONE(1) } },
	{ "PDE not present", 4, 52, 0, IOVA, { 0, 0, ~1ULL, 0x2027, 0x3027 }, { NONE(2) } },
	{ "PDPE not present", 4, 52, 0, IOVA, { 0, 0, 0, 0, 0x3027 }, { NONE(3) } },
	{ "PML4E not present", 4, 52, 0, IOVA, {}, { NONE(4) } },
	{ "PML5E not present", 5, 52, 0, IOVA, {}, { NONE(5) } },

	{ "PML4E bit 7", 4, 52, 0, IOVA, { 0, 0, 0, 0, 0x30a7 }, { BAD(4) } },
	{ "PML5E bit 7", 5, 52, 0, IOVA, { 0, 0, 0, 0, 0, 0x40a7 }, { BAD(5) } },
	{ "1G bit 13", 4, 52, 0, IOVA, { 0, 0, 0, 0x800020e7, 0x3027 }, { BAD(3) } },
	{ "1G bit 29", 4, 52, 0, IOVA, { 0, 0, 0, 0xa00000e7, 0x3027 }, { BAD(3) } },
	{ "1G unknown", 4, 52, true, IOVA, { 0, 0, 0, 0x800000e7, 0x3027 }, { BAD(3) } },
	{ "2M bit 13", 4, 52, 0, IOVA, { 0, 0, 0x400020e7, 0x2027, 0x3027 }, { BAD(2) } },
	{ "2M bit 20", 4, 52, 0, IOVA, { 0, 0, 0x401000e7, 0x2027, 0x3027 }, { BAD(2) } },
	{ "4K above HAW", 4, 46, 0, IOVA, { 0, 0x400012345067ULL, 0x1027, 0x2027, 0x3027 },
	  { BAD(1) } },
	{ "table above HAW", 4, 46, 0, IOVA, { 0, 0, 0, 0x8000000002027ULL, 0x3027 },
	  { BAD(3) } },

	{ "bit 47, 4 levels", 4, 52, 0, 0x0000800000000000ULL, {},
	  { .fault = SPEC_NOT_CANONICAL } },
	{ "bit 48, 4 levels", 4, 52, 0, IOVA | 1ULL << 48, {},
	  { .fault = SPEC_NOT_CANONICAL } },
	{ "bit 56, 5 levels", 5, 52, 0, 1ULL << 56, {},
	  { .fault = SPEC_NOT_CANONICAL } },
	{ "bit 63, 5 levels", 5, 52, 0, IOVA | 1ULL << 63, {},
	  { .fault = SPEC_NOT_CANONICAL } },
	{ "table outside of memory", 4, 52, 0, IOVA, { 0, 0, 0, 0x99027, 0x3027 },
	  { .fault = SPEC_NO_ACCESS, .level = 2 } },
};
#endif

static bool fake_read(void *memory, u64 addr, u64 *entry)
{
	u64 *fake = memory;

	if (addr >= (SPEC_LEVELS + 1) * SZ_4K)
		return false;

	*entry = fake[addr / sizeof(*entry)];
	return true;
}

static struct spec_hw fake_hw(struct kunit *test, const struct spec_case *c)
{
	u64 *fake = kunit_kzalloc(test, (SPEC_LEVELS + 1) * SZ_4K, GFP_KERNEL);
	unsigned int level;

	KUNIT_ASSERT_NOT_NULL(test, fake);
	for (level = 1; level <= SPEC_LEVELS; level++) {
		u64 index = c->iova >> (12 + 9 * (level - 1)) & 0x1ff;

		fake[level * 512 + index] = c->entry[level];
	}

	return (struct spec_hw) {
		.second = SECOND_LEVEL,
		.snoop_control = true,
		.levels = c->levels,
		.haw = c->haw,
		.has_1g = !c->no_1g,
		.read = fake_read,
		.memory = fake,
	};
}

static void check_translation(struct kunit *test, const struct spec_case *c,
			      const struct spec_walk *got)
{
	KUNIT_EXPECT_EQ_MSG(test, got->page, c->want.page, "%s", c->name);
	KUNIT_EXPECT_EQ_MSG(test, got->pa, c->want.pa, "%s", c->name);
	KUNIT_EXPECT_EQ_MSG(test, got->size, c->want.size, "%s", c->name);
	KUNIT_EXPECT_EQ_MSG(test, got->ignored, c->want.ignored, "%s", c->name);
}

static void check_rights(struct kunit *test, const struct spec_case *c,
			 const struct spec_walk *got)
{
	KUNIT_EXPECT_EQ_MSG(test, got->read, c->want.read, "%s", c->name);
	KUNIT_EXPECT_EQ_MSG(test, got->write, c->want.write, "%s", c->name);
	KUNIT_EXPECT_EQ_MSG(test, got->snoop, c->want.snoop, "%s", c->name);
	KUNIT_EXPECT_EQ_MSG(test, got->user, c->want.user, "%s", c->name);
	KUNIT_EXPECT_EQ_MSG(test, got->no_exec, c->want.no_exec, "%s", c->name);
	KUNIT_EXPECT_EQ_MSG(test, got->accessed, c->want.accessed, "%s", c->name);
	KUNIT_EXPECT_EQ_MSG(test, got->dirty, c->want.dirty, "%s", c->name);
	KUNIT_EXPECT_EQ_MSG(test, got->memory_type, c->want.memory_type, "%s",
			    c->name);
}

/* The walker reads every field and refuses every reserved bit. */
static void spec_walk_fields(struct kunit *test)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(spec_cases); i++) {
		const struct spec_case *c = &spec_cases[i];
		struct spec_hw hw = fake_hw(test, c);
		struct spec_walk got;

		spec_translate(&hw, (u64)c->levels << 12, c->iova, &got);
		KUNIT_EXPECT_EQ_MSG(test, got.fault, c->want.fault, "%s", c->name);
		if (got.fault != SPEC_NOT_CANONICAL)
			KUNIT_EXPECT_EQ_MSG(test, got.level, c->want.level, "%s",
					    c->name);
		if (got.fault)
			continue;
		check_translation(test, c, &got);
		check_rights(test, c, &got);
	}
}

struct scan_log {
	struct spec_visitor visitor;
	unsigned int tables;
	unsigned int illegal;
	unsigned int leaves;
	u64 leaf[4];
};

static void log_table(struct spec_visitor *v, u64 addr, unsigned int level,
		      u64 iova)
{
	container_of(v, struct scan_log, visitor)->tables++;
}

static void log_leaf(struct spec_visitor *v, u64 iova,
		     const struct spec_walk *walk)
{
	struct scan_log *log = container_of(v, struct scan_log, visitor);

	log->leaf[log->leaves++ % ARRAY_SIZE(log->leaf)] = iova;
}

static void log_illegal(struct spec_visitor *v, u64 iova,
			const struct spec_walk *walk)
{
	container_of(v, struct scan_log, visitor)->illegal++;
}

#define TABLE	(SECOND_LEVEL ? 0x103 : 0x027)
#define LARGE	(SECOND_LEVEL ? 0x383 : 0x0e7)

/* The walker reaches every entry, and a table once for each path to it. */
static void spec_scan_all(struct kunit *test)
{
	static const struct spec_case empty = { .levels = 4, .haw = 52 };
	struct spec_hw hw = fake_hw(test, &empty);
	struct scan_log log = { { log_table, log_leaf, log_illegal } };
	u64 *fake = hw.memory;

	fake[4 * 512 + 0] = 0x3000 | TABLE;	/* PML4E 0 */
	fake[4 * 512 + 511] = 0x3000 | TABLE;	/* PML4E 511: the same again */
	fake[3 * 512 + 1] = 0xc0000000 | LARGE;	/* 1 GiB at 1 GiB */
	fake[3 * 512 + 511] = 0xc0002000 | LARGE;	/* illegal */
	spec_scan(&hw, 0x4000, &log.visitor);

	KUNIT_EXPECT_EQ(test, log.tables, 3);
	KUNIT_EXPECT_EQ(test, log.illegal, 2);
	KUNIT_EXPECT_EQ(test, log.leaves, 2);
	KUNIT_EXPECT_EQ(test, log.leaf[0], SZ_1G);
	KUNIT_EXPECT_EQ(test, log.leaf[1], SECOND_LEVEL ? 0xff8040000000ULL :
						    0xffffff8040000000ULL);
}

/* Creation */

/* Unsupported configurations are refused. */
static void create_invalid(struct kunit *test)
{
	static const struct {
		unsigned int levels;
		unsigned long pgsizes;
		u64 last;
	} bad[] = {
		{ 0, SZ_4K }, { SECOND_LEVEL ? 2 : 3, SZ_4K }, { 6, SZ_4K },
		{ 4, 0 }, { 4, SZ_2M }, { 4, SZ_4K | SZ_8K },
		{ 4, SIZES_1G | BIT(39) }, { 5, SIZES_2M | BIT(0) },
		{ 4, SZ_4K, SZ_1G }, { 4, SZ_4K, SZ_2M - 1 },
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		struct vtd_pt_cfg cfg = {
			.ops = &lab_ops,
			.levels = bad[i].levels,
			.pgsize_bitmap = bad[i].pgsizes,
			.last_iova = bad[i].last,
			.coherent = true,
			.nid = NUMA_NO_NODE,
		};

		KUNIT_EXPECT_EQ_MSG(test, PTR_ERR_OR_ZERO(vtd_pt_create(&cfg)),
				    -EINVAL, "%u levels, sizes %lx",
				    bad[i].levels, bad[i].pgsizes);
	}
}

/*
 * Addresses beyond the aperture are refused, although the depth would allow
 * them.
 */
static void create_with_aperture(struct kunit *test)
{
	struct lab *lab = test->priv;
	u64 end = 39ULL * SZ_1G, size;

	lab->cfg.last_iova = U64_MAX;
	lab_renew(lab);
	KUNIT_EXPECT_EQ(test, lab_end(lab),
			1ULL << (lab->param->levels * 9 + (SECOND_LEVEL ? 12 : 11)));
	lab->cfg.last_iova = end - 1;
	lab_renew(lab);
	KUNIT_EXPECT_EQ(test, lab_end(lab), end);

	for (size = SZ_4K; size; size = next_size(lab, size)) {
		must_map(lab, end - size, size, 1);
		KUNIT_EXPECT_EQ(test, -ERANGE, lab_map(lab, end, 0, size, 1, RW));
		KUNIT_EXPECT_EQ(test, -ERANGE,
				lab_map(lab, end - 2 * size, 0, size, 3, RW));
		KUNIT_EXPECT_EQ(test, 0, vtd_pt_unmap(lab->pt, end, size));
		KUNIT_EXPECT_EQ(test, 0, vtd_pt_unmap(lab->pt, end - size, 2 * size));
		KUNIT_EXPECT_EQ(test, 0, vtd_pt_iova_to_phys(lab->pt, end));
		must_unmap(lab, end - size, size);
	}
}

/* A new table is empty, its properties are the configuration's. */
static void create_empty(struct kunit *test)
{
	struct lab *lab = test->priv;
	static const u8 first[] = { [4] = 47, [5] = 56 };
	static const u8 second[] = { [3] = 39, [4] = 48, [5] = 57 };
	unsigned int bits = (SECOND_LEVEL ? second : first)[lab->param->levels];

	KUNIT_EXPECT_EQ(test, vtd_pt_last_iova(lab->pt), (1ULL << bits) - 1);
	KUNIT_EXPECT_MEMEQ(test, vtd_pt_config(lab->pt), &lab->cfg,
			   sizeof(lab->cfg));
	KUNIT_EXPECT_EQ(test, vtd_pt_root(lab->pt) % SZ_4K, 0);
	KUNIT_EXPECT_EQ(test, lab_pages(lab), 1);
	lab_check(lab);
}

/* Without memory for the root there is no table, and nothing leaks. */
static void create_without_memory(struct kunit *test)
{
	struct lab *lab = test->priv;

	lab_destroy(lab);
	atomic_set(&lab->fail_in, 0);
	KUNIT_EXPECT_EQ(test, PTR_ERR_OR_ZERO(vtd_pt_create(&lab->cfg)), -ENOMEM);
	KUNIT_EXPECT_EQ(test, lab_reap(lab), 0);
}

static long iommu_pages(void)
{
	long nr = 0;
	int nid, cpu;

	for_each_online_node(nid) {
		pg_data_t *node = NODE_DATA(nid);

		nr += atomic_long_read(&node->vm_stat[NR_IOMMU_PAGES]);
		for_each_online_cpu(cpu)
			nr += per_cpu_ptr(node->per_cpu_nodestats,
					  cpu)->vm_node_stat_diff[NR_IOMMU_PAGES];
	}

	return nr;
}

static void fill_and_destroy(struct kunit *test, struct lab *lab)
{
	size_t mapped;

	lab_create(lab);
	KUNIT_EXPECT_LT(test, vtd_pt_root(lab->pt), 16 * SZ_1M);
	vtd_pt_map(lab->pt, SZ_2M - SZ_4K, 0, SZ_4K, 2, RW, GFP_KERNEL, &mapped);
	vtd_pt_unmap(lab->pt, SZ_2M - SZ_4K, SZ_8K);
	if (lab->param->pgsizes & SZ_2M)
		vtd_pt_map(lab->pt, 0, 0, SZ_2M, 2, RW, GFP_KERNEL, &mapped);
	vtd_pt_destroy(lab->pt);
	lab->pt = NULL;
	rcu_barrier();
}

/*
 * The library's own allocator uses the configured gfp, and all pages are
 * accounted as page tables until they are freed. Drivers may use tables at the
 * same time, so the count has to be right only once.
 */
static void page_accounting(struct kunit *test)
{
	struct lab *lab = test->priv;
	unsigned int tries;
	long before, after;

	if (!IS_ENABLED(CONFIG_ZONE_DMA))
		kunit_skip(test, "needs a zone with known addresses");
	if (!lab->param->coherent)
		return;		/* memory that is not the lab's */

	lab_destroy(lab);
	kunit_deactivate_static_stub(test, vtd_pt_alloc_page);
	lab->cfg.gfp = __GFP_DMA;
	lab->racing = true;
	for (tries = 0; tries < 20; tries++) {
		before = iommu_pages();
		fill_and_destroy(test, lab);
		after = iommu_pages();
		if (before == after)
			break;
	}

	KUNIT_EXPECT_EQ(test, before, after);
}

/* Map */

/* Addresses at which an entry of every level above ends. */
static u64 boundary(struct lab *lab, unsigned int i)
{
	static const u64 boundaries[] = {
		SZ_2M, SZ_1G, 1ULL << 39, 1ULL << 48,
	};

	if (i >= ARRAY_SIZE(boundaries) || boundaries[i] >= lab_end(lab))
		return 0;

	return boundaries[i];
}

/*
 * The end of an entry of the root, if it has more than one of 512 GiB, or its
 * middle.
 */
static u64 far_boundary(struct lab *lab)
{
	return boundary(lab, 2) ?: lab_end(lab) / 2;
}

/* Leaves of each size, around the end of a table of every level. */
static void map_across_tables(struct kunit *test)
{
	struct lab *lab = test->priv;
	unsigned int i;
	u64 size;

	for (size = SZ_4K; size; size = next_size(lab, size)) {
		for (i = 0; boundary(lab, i); i++) {
			u64 iova = boundary(lab, i);

			iova -= min(iova, 2 * size);
			iova = ALIGN_DOWN(iova, size);
			must_map(lab, iova, size, 5);
			must_be_leaf(lab, iova, size);
			must_be_leaf(lab, iova + 4 * size, size);
			must_unmap(lab, iova, 5 * size);
		}
	}
}

/* One call fills whole tables, and more. */
static void map_many(struct kunit *test)
{
	struct lab *lab = test->priv;
	u64 size;

	for (size = SZ_4K; size; size = next_size(lab, size)) {
		u64 n = min_t(u64, 1100, lab_end(lab) / size - 3);

		must_map(lab, 3 * size, size, n);
		must_unmap(lab, 3 * size, n * size);
		/* Of three levels, this is all of the root. */
		must_map(lab, 0, size, 512);
		must_be_leaf(lab, 511 * size, size);
		must_unmap(lab, 0, 512 * size);
	}
}

/* A page allows exactly the requested accesses. */
static void map_protection(struct kunit *test)
{
	static const int prots[] = {
		IOMMU_READ, IOMMU_WRITE, RW, RW | IOMMU_CACHE | IOMMU_NOEXEC,
		IOMMU_READ | IOMMU_MMIO | IOMMU_PRIV,
	};
	struct lab *lab = test->priv;
	unsigned int i;
	u64 size;

	for (size = SZ_4K; size; size = next_size(lab, size)) {
		for (i = 0; i < ARRAY_SIZE(prots); i++)
			lab_map(lab, i * size, SZ_1G, size, 1, prots[i]);
		must_unmap(lab, 0, i * size);
	}
}

/* -EINVAL: misaligned, of no or an unknown size, without access. */
static void map_invalid(struct kunit *test)
{
	static const u64 unknown[] = {
		0, 1, SZ_2K, SZ_8K, SZ_1M, SZ_4M, SZ_4K | SZ_2M, 1ULL << 39,
	};
	struct lab *lab = test->priv;
	unsigned int i;
	u64 size;

	for (i = 0; i < ARRAY_SIZE(unknown); i++)
		KUNIT_EXPECT_EQ(test, -EINVAL,
				lab_map(lab, 0, 0, unknown[i], 1, RW));

	for (size = SZ_4K; size <= SZ_1G; size *= SPEC_ENTRIES) {
		lab_map(lab, 0, 0, size, 0, RW);
		lab_map(lab, 0, 0, size, 1, 0);
		lab_map(lab, 0, 0, size, 1, IOMMU_CACHE | IOMMU_NOEXEC);
		lab_map(lab, size / 2, 0, size, 1, RW);
		lab_map(lab, 0, size / 2, size, 1, RW);
		lab_map(lab, 1, 0, size, 1, RW);
		lab_map(lab, 0, 1, size, 1, RW);
	}
}

/*
 * -ERANGE begins with the first byte outside, of I/O and of physical addresses.
 */
static void map_outside(struct kunit *test)
{
	struct lab *lab = test->priv;
	u64 pa_end = 1ULL << PA_BITS, end = lab_end(lab), size;

	for (size = SZ_4K; size; size = next_size(lab, size)) {
		KUNIT_EXPECT_EQ(test, 0, lab_map(lab, end - size, 0, size, 1, RW));
		lab_map(lab, end - size, 0, size, 2, RW);
		/*
		 * Behind the end of the second level, indexes are those of
		 * address 0.
		 */
		must_map(lab, size, size, 1);
		lab_map(lab, end, 0, size, 1, RW);
		must_unmap(lab, size, size);
		lab_map(lab, spec_reach(6) - size, 0, size, 1, RW);
		lab_map(lab, -size, 0, size, 1, RW);
		lab_map(lab, -size, 0, size, 2, RW);
		lab_map(lab, 0, 0, size, end / size + 1, RW);
		lab_map(lab, size, 0, size, U64_MAX / size + 1, RW);
		lab_map(lab, size, 0, size, U64_MAX / size + 2, RW);
		lab_map(lab, size, 0, size, U64_MAX, RW);

		KUNIT_EXPECT_EQ(test, 0, lab_map(lab, 0, pa_end - size, size, 1, RW));
		lab_map(lab, size, pa_end - size, size, 2, RW);
		lab_map(lab, size, pa_end, size, 1, RW);
		lab_map(lab, size, -size, size, 1, RW);
		must_unmap(lab, end - size, size);
		must_unmap(lab, 0, size);
	}
}

/* -EADDRINUSE, by a leaf of the same size at each place; all is unwound. */
static void map_in_use(struct kunit *test)
{
	struct lab *lab = test->priv;
	u64 size;

	for (size = SZ_4K; size; size = next_size(lab, size)) {
		u64 iova = far_boundary(lab) - 4 * size;
		unsigned int i;

		for (i = 0; i < 8; i++) {
			must_map(lab, iova + i * size, size, 1);
			lab_map(lab, iova, 0, size, 8, IOMMU_READ);
			lab_map(lab, iova, 0, size, i + 1, RW);
			must_unmap(lab, iova + i * size, size);
		}
		/* Mapping the same translation again fails, too. */
		must_map(lab, iova, size, 2);
		lab_map(lab, iova, pa_of(iova), size, 2, RW);
		must_unmap(lab, iova, 2 * size);
	}
}

/* -EADDRINUSE, by a larger or by smaller leaves. */
static void map_in_use_other_size(struct kunit *test)
{
	struct lab *lab = test->priv;
	u64 size, small;

	for (size = SZ_4K; size; size = next_size(lab, size)) {
		for (small = SZ_4K; small < size; small *= SPEC_ENTRIES) {
			u64 iova = 8 * size;

			/*
			 * Small pages that extend into a large one, and begin
			 * in it.
			 */
			must_map(lab, iova, size, 1);
			lab_map(lab, iova - 3 * small, 0, small, 5, RW);
			lab_map(lab, iova + 2 * small, 0, small, 2, RW);
			lab_map(lab, iova + size - small, 0, small, 2, RW);
			must_unmap(lab, iova, size);

			/* A large page over one small, at either end of it. */
			must_map(lab, iova, small, 1);
			lab_map(lab, iova - 2 * size, 0, size, 4, RW);
			must_unmap(lab, iova, small);
			must_map(lab, iova + size - small, small, 1);
			lab_map(lab, iova - 2 * size, 0, size, 4, RW);
			must_unmap(lab, iova + size - small, small);
		}
	}
}

/* Unmap */

/* Every part of a run of small pages, across tables, and nothing else. */
static void unmap_parts(struct kunit *test)
{
	struct lab *lab = test->priv;
	unsigned int i, j;

	for (i = 0; boundary(lab, i); i++) {
		u64 iova = boundary(lab, i) - 2 * SZ_4K;

		for (j = 0; j < 4; j++) {
			must_map(lab, iova, SZ_4K, 4);
			must_unmap(lab, iova + j * SZ_4K, SZ_4K);
			must_unmap(lab, iova, 4 * SZ_4K);
			must_map(lab, iova, SZ_4K, 4);
			must_unmap(lab, iova, (j + 1) * SZ_4K);
			must_unmap(lab, iova, SZ_2M);
		}
	}
}

/* Holes are skipped, whatever their size and wherever they begin. */
static void unmap_holes(struct kunit *test)
{
	struct lab *lab = test->priv;
	u64 end = lab_end(lab), size;

	must_unmap(lab, 0, SZ_4K);
	must_unmap(lab, 0, end);
	for (size = SZ_4K; size; size = next_size(lab, size)) {
		must_map(lab, 4 * size, size, 1);
		must_map(lab, 7 * size, size, 2);
		must_unmap(lab, 0, 4 * size);
		must_unmap(lab, 5 * size, 2 * size);
		must_unmap(lab, 9 * size, end - 9 * size);
		must_unmap(lab, SZ_4K, 6 * size - SZ_4K);
		must_map(lab, end - size, size, 1);
		must_unmap(lab, 0, end);
	}
	must_unmap(lab, end - SZ_4K, SZ_4K);
}

/* Nothing is unmapped by a range that is empty, misaligned or outside. */
static void unmap_invalid(struct kunit *test)
{
	struct lab *lab = test->priv;
	u64 end = lab_end(lab);

	must_map(lab, 0, SZ_4K, 3);
	must_map(lab, end - SZ_4K, SZ_4K, 1);
	lab_unmap(lab, 0, 0);
	lab_unmap(lab, 0, 1);
	lab_unmap(lab, 1, SZ_4K);
	lab_unmap(lab, SZ_2K, SZ_4K);
	lab_unmap(lab, 0, SZ_4K + SZ_2K);
	lab_unmap(lab, 0, end + SZ_4K);
	lab_unmap(lab, end - SZ_4K, 2 * SZ_4K);
	lab_unmap(lab, end, SZ_4K);
	lab_unmap(lab, SZ_4K, -(u64)SZ_4K);
	lab_unmap(lab, SZ_4K, -(u64)SZ_8K);
	lab_unmap(lab, -(u64)SZ_4K, SZ_4K);
	lab_unmap(lab, -(u64)SZ_4K, SZ_8K);
}

/* Splitting large pages */

struct split {
	u64 from;
	u64 to;
};

/* Unmap parts of two adjacent large pages of @size in all ways. */
static void split_each_way(struct lab *lab, u64 iova, u64 size, u64 unit)
{
	const struct split splits[] = {
		{ 0, unit },				/* the start */
		{ 0, size - unit },			/* all but the end */
		{ size - unit, size },			/* the end */
		{ unit, size },				/* all but the start */
		{ unit, 2 * unit },			/* near the start */
		{ size / 2, size / 2 + 3 * unit },	/* in the middle */
		{ unit, size - unit },			/* both ends stay */
		{ size - unit, size + unit },		/* across both */
		{ unit, 2 * size },			/* and the next */
		{ unit, 2 * size - unit },
		{ 0, 2 * size - unit },
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(splits); i++) {
		must_map(lab, iova, size, 2);
		must_unmap(lab, iova + splits[i].from, splits[i].to - splits[i].from);
		must_unmap(lab, iova, 2 * size);
	}
}

/* A part of a large page is unmapped; the rest never stops translating. */
static void unmap_splits(struct kunit *test)
{
	struct lab *lab = test->priv;
	u64 size, unit;

	for (size = SZ_4K; size; size = next_size(lab, size)) {
		for (unit = SZ_4K; unit < size; unit *= SPEC_ENTRIES) {
			split_each_way(lab, 4 * size, size, unit);
			split_each_way(lab, lab_end(lab) - 2 * size, size, unit);
		}
	}
}

/* A page is split no further than the split needs. */
static void unmap_splits_only_as_needed(struct kunit *test)
{
	struct lab *lab = test->priv;
	u64 iova = 8ULL * SZ_1G;

	must_map(lab, iova, SZ_1G, 1);
	must_unmap(lab, iova + 5 * SZ_2M + SZ_4K, SZ_4K);
	must_be_leaf(lab, iova + 4 * SZ_2M, SZ_2M);
	must_be_leaf(lab, iova + 5 * SZ_2M, SZ_4K);
	must_be_leaf(lab, iova + 6 * SZ_2M, SZ_2M);
}

/* Pages are split as far as needed, once. */
static void split_pages(struct kunit *test)
{
	struct lab *lab = test->priv;
	u64 size;

	lab_split(lab, 0);
	lab_split(lab, SZ_4K);
	lab_split(lab, lab_end(lab) - SZ_4K);

	for (size = SZ_4K; size; size = next_size(lab, size)) {
		must_map(lab, 4 * size, size, 3);
		lab_split(lab, 4 * size);
		lab_split(lab, 5 * size);
		lab_split(lab, 7 * size);
		must_be_leaf(lab, 5 * size, size);
		lab_split(lab, 5 * size + max(size / 2, SZ_4K));
		lab_split(lab, 5 * size + max(size / 2, SZ_4K));
		lab_split(lab, 6 * size + SZ_4K);
		lab_split(lab, 5 * size + SZ_4K);
		must_be_leaf(lab, 4 * size, size);
		must_unmap(lab, 4 * size, 3 * size);
	}
}

/* After the preparation, no memory is needed. */
static void split_prepares_unmap(struct kunit *test)
{
	struct lab *lab = test->priv;
	u64 size;

	for (size = SZ_4K; size; size = next_size(lab, size)) {
		u64 from = 4 * size + SZ_4K;

		must_map(lab, 4 * size, size, 2);
		KUNIT_EXPECT_EQ(test, 0, lab_split(lab, from));
		KUNIT_EXPECT_EQ(test, 0, lab_split(lab, from + size));
		atomic_set(&lab->fail_in, 0);
		must_unmap(lab, from, size);
		atomic_set(&lab->fail_in, -1);
		must_unmap(lab, 4 * size, 2 * size);
	}
}

/* Attributes of a large page, bit by bit (sections 9.7, 9.8) */

static const struct {
	u64 set;
	u64 clear;
} attributes[] = {
#if SECOND_LEVEL
	{ BIT_ULL(8), 0 },			/* A */
	{ BIT_ULL(9), 0 },			/* D */
	{ BIT_ULL(8) | BIT_ULL(9), 0 },
	{ BIT_ULL(11), 0 },			/* Snoop */
	{ BIT_ULL(10), 0 },			/* ignored */
	{ GENMASK_ULL(61, 53), 0 },		/* ignored; 52 is the library's, in tables */
	{ BIT_ULL(63), 0 },			/* ignored */
	{ 0, BIT_ULL(0) },			/* R */
	{ 0, BIT_ULL(1) },			/* W */
	{ GENMASK_ULL(61, 53) | GENMASK_ULL(11, 8), BIT_ULL(0) },
#else
	{ BIT_ULL(3), 0 },			/* PWT */
	{ BIT_ULL(4), 0 },			/* PCD */
	{ BIT_ULL(12), 0 },			/* PAT */
	{ BIT_ULL(63), 0 },			/* XD */
	{ GENMASK_ULL(62, 53), 0 },		/* ignored; 52 is the library's, in tables */
	{ GENMASK_ULL(11, 9), 0 },		/* ignored */
	{ 0, BIT_ULL(1) },			/* R/W */
	{ 0, BIT_ULL(2) },			/* U/S */
	{ 0, BIT_ULL(5) },			/* A */
	{ 0, BIT_ULL(6) },			/* D */
	{ 0, BIT_ULL(5) | BIT_ULL(6) },
	{ BIT_ULL(12) | BIT_ULL(4), BIT_ULL(6) },
	{ BIT_ULL(12) | GENMASK_ULL(62, 53) | GENMASK_ULL(11, 8), BIT_ULL(1) },
#endif
};

static bool same_attributes(const struct spec_walk *a, const struct spec_walk *b)
{
	return walk_access(a) == walk_access(b) && a->user == b->user &&
	       a->no_exec == b->no_exec && a->accessed == b->accessed &&
	       a->dirty == b->dirty && a->memory_type == b->memory_type &&
	       a->ignored == b->ignored;
}

/*
 * Every page of @unit in the large page at @iova has the attributes of the
 * large page.
 */
static void check_children(struct lab *lab, u64 iova, u64 unit,
			   const struct spec_walk *parent)
{
	unsigned int i;

	for (i = 0; i < SPEC_ENTRIES; i++) {
		struct spec_walk walk;

		lab_walk(lab, iova + i * unit, &walk);
		KUNIT_ASSERT_EQ(lab->test, walk.fault, SPEC_OK);
		KUNIT_ASSERT_EQ(lab->test, walk.size, unit);
		KUNIT_ASSERT_EQ(lab->test, walk.pa, parent->page + i * unit);
		KUNIT_ASSERT_TRUE_MSG(lab->test, same_attributes(parent, &walk),
				      "%llx became %llx", parent->entry,
				      walk.entry);
	}
}

/* Split keeps every attribute, and moves PAT to its bit in the smaller page. */
static void split_keeps_attributes(struct kunit *test)
{
	struct lab *lab = test->priv;
	unsigned int i;
	u64 size;

	lab->any_attributes = true;
	for (i = 0; i < ARRAY_SIZE(attributes); i++) {
		for (size = next_size(lab, SZ_4K); size; size = next_size(lab, size)) {
			struct spec_walk parent;
			u64 *entry;

			must_map(lab, size, size, 1);
			entry = lab_entry(lab, size);
			lab_poke(lab, entry, (*entry & ~attributes[i].clear) |
					     attributes[i].set);
			lab_walk(lab, size, &parent);
			lab->before.extents[0].prot = walk_access(&parent);
			lab_split(lab, size + size / SPEC_ENTRIES);
			check_children(lab, size, size / SPEC_ENTRIES, &parent);
			must_unmap(lab, size, size);
		}
	}
}

#if SECOND_LEVEL

/* Dirty tracking */

#define DIRTY	BIT_ULL(9)

static void lab_dirty(struct lab *lab, u64 iova)
{
	u64 *entry = lab_entry(lab, iova);

	lab_poke(lab, entry, *entry | DIRTY);
}

/* Reporting @start to @last gathers @from to @to, or nothing. */
static void pgtable_expect_dirty(struct lab *lab, u64 start, u64 last, unsigned long flags,
				 u64 from, u64 to)
{
	struct iommu_iotlb_gather gather;
	struct iommu_dirty_bitmap dirty;

	iommu_dirty_bitmap_init(&dirty, NULL, &gather);
	lab->racing = lab->dirty_unit;	/* do not log the invalidations */
	vtd_pt_read_and_clear_dirty(lab->pt, start, last, flags, lab->dirty_unit ?: U64_MAX,
				    &dirty);
	lab->racing = false;
	if (from == to) {
		KUNIT_EXPECT_LT(lab->test, gather.end, gather.start);
		return;
	}
	KUNIT_EXPECT_EQ(lab->test, gather.start, from);
	KUNIT_EXPECT_EQ(lab->test, gather.end, to - 1);
}

/* @size bytes at @iova are one leaf. */
static void check_dirty_leaf(struct lab *lab, u64 iova, u64 size)
{
	u64 end = lab_end(lab), middle = iova + size / 2 / SZ_4K * SZ_4K;

	pgtable_expect_dirty(lab, 0, end - 1, 0, 0, 0);
	lab_dirty(lab, iova);
	if (iova)
		pgtable_expect_dirty(lab, 0, iova - 1, 0, 0, 0);
	if (iova + size < end)
		pgtable_expect_dirty(lab, iova + size, end - 1, 0, 0, 0);
	pgtable_expect_dirty(lab, 0, U64_MAX, IOMMU_DIRTY_NO_CLEAR, iova, iova + size);
	pgtable_expect_dirty(lab, middle, iova + size - 1, IOMMU_DIRTY_NO_CLEAR, middle,
			     iova + size);
	lab_check(lab);

	/* It is reported once, and CPU and hardware see it cleared. */
	pgtable_expect_dirty(lab, 0, end - 1, 0, iova, iova + size);
	pgtable_expect_dirty(lab, 0, end - 1, 0, 0, 0);
	KUNIT_EXPECT_EQ(lab->test, *lab_entry(lab, iova) & DIRTY, 0);

	/* Parts that have not been reported stay dirty. */
	lab_dirty(lab, iova);
	if (size > SZ_4K) {
		pgtable_expect_dirty(lab, middle, end - 1, 0, middle, iova + size);
		KUNIT_EXPECT_EQ(lab->test, DIRTY, *lab_entry(lab, iova) & DIRTY);
		pgtable_expect_dirty(lab, 0, middle - 1, 0, iova, middle);
		KUNIT_EXPECT_EQ(lab->test, DIRTY, *lab_entry(lab, iova) & DIRTY);
	}
	pgtable_expect_dirty(lab, 0, iova + size - 1, 0, iova, iova + size);
	KUNIT_EXPECT_EQ(lab->test, *lab_entry(lab, iova) & DIRTY, 0);
	lab->any_attributes = false;
	lab_check(lab);
	lab->any_attributes = true;
}

static void dirty_leaves(struct kunit *test)
{
	struct lab *lab = test->priv;
	u64 end = lab_end(lab), size;

	lab->any_attributes = true;
	for (size = SZ_4K; size; size = next_size(lab, size)) {
		u64 iova[] = { 0, size, 3ULL * SZ_1G, end - size };
		unsigned int i;

		for (i = 0; i < ARRAY_SIZE(iova); i++)
			must_map(lab, iova[i], size, 1);
		for (i = 0; i < ARRAY_SIZE(iova); i++)
			check_dirty_leaf(lab, iova[i], size);
		for (i = 0; i < ARRAY_SIZE(iova); i++)
			must_unmap(lab, iova[i], size);
	}
}

/* Each leaf is visited, also where tables and large pages alternate. */
static void dirty_neighbours(struct kunit *test)
{
	struct lab *lab = test->priv;
	unsigned int i;

	lab->any_attributes = true;
	must_map(lab, SZ_1G, SZ_4K, 4 * SPEC_ENTRIES);
	for (i = 0; i < 4 * SPEC_ENTRIES; i += SPEC_ENTRIES - 1)
		lab_dirty(lab, SZ_1G + (u64)i * SZ_4K);
	for (i = 0; i < 4 * SPEC_ENTRIES; i += SPEC_ENTRIES - 1) {
		u64 iova = SZ_1G + (u64)i * SZ_4K;

		pgtable_expect_dirty(lab, SZ_1G, iova + SZ_4K - 1, 0, iova, iova + SZ_4K);
	}
	must_unmap(lab, SZ_1G, 4 * SPEC_ENTRIES * SZ_4K);
}

/*
 * The range begins inside of a large page; the next one is dirty, and reported
 * as a whole.
 */
static void dirty_after_a_part(struct kunit *test)
{
	struct lab *lab = test->priv;
	u64 size;

	lab->any_attributes = true;
	for (size = next_size(lab, SZ_4K); size; size = next_size(lab, size)) {
		u64 iova = 4 * size;

		must_map(lab, iova, size, 2);
		lab_dirty(lab, iova + size);
		pgtable_expect_dirty(lab, iova + SZ_4K, iova + 2 * size - 1, 0, iova + size,
				     iova + 2 * size);
		KUNIT_EXPECT_EQ(test, *lab_entry(lab, iova + size) & DIRTY, 0);
		must_unmap(lab, iova, 2 * size);
	}
}

static unsigned int leaf_level(struct lab *lab, u64 iova)
{
	u64 path[VTD_PT_MAX_LEVELS + 1];

	return vtd_pt_path(vtd_pt_root(lab->pt), lab->cfg.levels, iova, path);
}

static bool is_dirty(struct lab *lab, u64 iova)
{
	return *lab_entry(lab, iova) & DIRTY;
}

/* A reported large page is split, and the reported parts become clean. */
static void dirty_splits(struct kunit *test)
{
	struct lab *lab = test->priv;
	u64 size;

	lab->any_attributes = true;
	lab->dirty_unit = SZ_4K;
	for (size = next_size(lab, SZ_4K); size; size = next_size(lab, size)) {
		u64 small = size / SPEC_ENTRIES, iova = 5 * size, part = iova + 77 * small;
		unsigned int level = size == SZ_1G ? 3 : 2;

		/*
		 * The whole page; later reports have the granularity of its
		 * parts.
		 */
		must_map(lab, iova, size, 1);
		lab_dirty(lab, iova);
		pgtable_expect_dirty(lab, 0, U64_MAX, IOMMU_DIRTY_NO_CLEAR, iova, iova + size);
		KUNIT_EXPECT_EQ(test, level, leaf_level(lab, iova));
		pgtable_expect_dirty(lab, 0, U64_MAX, 0, iova, iova + size);
		KUNIT_EXPECT_EQ(test, level - 1, leaf_level(lab, part));
		pgtable_expect_dirty(lab, 0, U64_MAX, 0, 0, 0);
		lab_dirty(lab, part);
		pgtable_expect_dirty(lab, 0, U64_MAX, 0, part, part + small);
		must_unmap(lab, iova, size);

		/*
		 * A part of the page: the rest has not been reported, and stays
		 * dirty.
		 */
		must_map(lab, iova, size, 1);
		lab_dirty(lab, iova);
		pgtable_expect_dirty(lab, part, part + 2 * small - 1, 0, part, part + 2 * small);
		KUNIT_EXPECT_FALSE(test, is_dirty(lab, part));
		KUNIT_EXPECT_FALSE(test, is_dirty(lab, part + small));
		KUNIT_EXPECT_TRUE(test, is_dirty(lab, iova));
		KUNIT_EXPECT_TRUE(test, is_dirty(lab, part - small));
		KUNIT_EXPECT_TRUE(test, is_dirty(lab, part + 2 * small));
		must_unmap(lab, iova, size);
	}
	if (!(lab->param->pgsizes & SZ_1G))
		return;

	/* Reporting only a part of a part leaves that part dirty. */
	must_map(lab, 0, SZ_1G, 1);
	lab_dirty(lab, 0);
	pgtable_expect_dirty(lab, 7 * SZ_2M + SZ_4K, 9 * SZ_2M - 1, 0, 7 * SZ_2M + SZ_4K,
			     9 * SZ_2M);
	KUNIT_EXPECT_TRUE(test, is_dirty(lab, 7 * SZ_2M));
	KUNIT_EXPECT_FALSE(test, is_dirty(lab, 8 * SZ_2M));
	must_unmap(lab, 0, SZ_1G);
}

static void access_meanwhile(struct lab *lab)
{
	u64 *entry = lab_entry(lab, SZ_2M);

	lab->on_alloc = NULL;
	lab_poke(lab, entry, *entry | ACCESSED_DIRTY);
}

static void fail_again(struct lab *lab)
{
	atomic_set(&lab->fail_in, 0);
}

static void access_and_fail(struct lab *lab)
{
	access_meanwhile(lab);
	fail_again(lab);
	lab->on_alloc = fail_again;
}

/* Without memory it is still reported, once, and stays large. */
static void dirty_without_memory(struct kunit *test)
{
	struct lab *lab = test->priv;

	lab->any_attributes = true;
	lab->dirty_unit = SZ_4K;
	must_map(lab, SZ_2M, SZ_2M, 1);
	lab_dirty(lab, SZ_2M);
	lab->on_alloc = access_and_fail;
	pgtable_expect_dirty(lab, 0, U64_MAX, 0, SZ_2M, 2 * SZ_2M);
	lab->on_alloc = NULL;
	KUNIT_EXPECT_EQ(test, 2, leaf_level(lab, SZ_2M));
	pgtable_expect_dirty(lab, 0, U64_MAX, 0, 0, 0);
	must_unmap(lab, SZ_2M, SZ_2M);
}

static void write_meanwhile(struct lab *lab, u64 start, u64 last)
{
	lab->on_racing_invalidate = NULL;
	lab_dirty(lab, SZ_2M + SZ_8K);
}

/* Bits that hardware sets while a page is split are not lost. */
static void dirty_during_split(struct kunit *test)
{
	struct lab *lab = test->priv;

	lab->any_attributes = true;
	lab->dirty_unit = SZ_4K;
	must_map(lab, SZ_2M, SZ_2M, 1);
	lab_dirty(lab, SZ_2M);
	lab->on_alloc = access_meanwhile;
	lab->on_racing_invalidate = write_meanwhile;
	pgtable_expect_dirty(lab, 0, U64_MAX, 0, SZ_2M, 2 * SZ_2M);
	KUNIT_EXPECT_EQ(test, ACCESSED_DIRTY & ~DIRTY,
			*lab_entry(lab, SZ_2M) & ACCESSED_DIRTY);
	pgtable_expect_dirty(lab, 0, U64_MAX, 0, SZ_2M + SZ_8K, SZ_2M + SZ_8K + SZ_4K);
	must_unmap(lab, SZ_2M, SZ_2M);
}

/*
 * A second reader runs while the page, which hardware has cached as dirty, is
 * not yet invalidated: it has to invalidate all of it before it clears the bit
 * of a part.
 */
static void forget_and_see(struct lab *lab, u64 start, u64 last)
{
	KUNIT_EXPECT_LE(lab->test, start, SZ_2M);
	KUNIT_EXPECT_LE(lab->test, 2 * SZ_2M - 1, last);
	KUNIT_EXPECT_TRUE(lab->test, is_dirty(lab, SZ_2M + SZ_1M));
	lab->on_racing_invalidate = NULL;
	atomic_set(&lab->cached, 0);
}

static void read_meanwhile(struct lab *lab, u64 start, u64 last)
{
	lab->on_racing_invalidate = forget_and_see;
	pgtable_expect_dirty(lab, SZ_2M + SZ_1M, 2 * SZ_2M - 1, 0, SZ_2M + SZ_1M, 2 * SZ_2M);
	lab->racing = true;
	KUNIT_EXPECT_EQ(lab->test, 0, atomic_read(&lab->cached));
	KUNIT_EXPECT_FALSE(lab->test, is_dirty(lab, SZ_2M + SZ_1M));
}

static void dirty_readers(struct kunit *test)
{
	struct lab *lab = test->priv;

	lab->any_attributes = true;
	lab->dirty_unit = SZ_4K;
	must_map(lab, SZ_2M, SZ_2M, 1);
	lab_dirty(lab, SZ_2M);
	atomic_set(&lab->cached, 1);
	lab->on_racing_invalidate = read_meanwhile;
	pgtable_expect_dirty(lab, SZ_2M, SZ_2M + SZ_1M - 1, 0, SZ_2M, SZ_2M + SZ_1M);
	must_unmap(lab, SZ_2M, SZ_2M);
}

/* A page is not split if a bit of the bitmap covers all of it. */
static void dirty_by_unit(struct kunit *test)
{
	struct lab *lab = test->priv;
	u64 size;

	lab->any_attributes = true;
	for (size = next_size(lab, SZ_4K); size; size = next_size(lab, size)) {
		unsigned int level = size == SZ_1G ? 3 : 2;

		must_map(lab, size, size, 1);
		lab->dirty_unit = size;
		lab_dirty(lab, size);
		pgtable_expect_dirty(lab, 0, U64_MAX, 0, size, 2 * size);
		KUNIT_EXPECT_EQ(test, level, leaf_level(lab, size));
		lab->dirty_unit = size / 2;
		lab_dirty(lab, size);
		pgtable_expect_dirty(lab, 0, U64_MAX, 0, size, 2 * size);
		KUNIT_EXPECT_EQ(test, level - 1, leaf_level(lab, size));
		must_unmap(lab, size, size);
	}
}

/*
 * Users choose the unit of their bitmap. Nothing is smaller than a page of 4
 * KiB.
 */
static void dirty_by_less_than_a_page(struct kunit *test)
{
	static const u64 units[] = { 1, 8, SZ_2K, SZ_4K };
	struct lab *lab = test->priv;
	unsigned int i;

	lab->any_attributes = true;
	must_map(lab, SZ_2M, SZ_4K, 1);
	for (i = 0; i < ARRAY_SIZE(units); i++) {
		unsigned long pages = lab_pages(lab);
		phys_addr_t phys = vtd_pt_iova_to_phys(lab->pt, SZ_2M);

		lab->dirty_unit = units[i];
		lab_dirty(lab, SZ_2M);
		pgtable_expect_dirty(lab, 0, U64_MAX, 0, SZ_2M, SZ_2M + SZ_4K);
		KUNIT_EXPECT_EQ(test, 1, leaf_level(lab, SZ_2M));
		KUNIT_EXPECT_EQ(test, phys, vtd_pt_iova_to_phys(lab->pt, SZ_2M));
		KUNIT_EXPECT_EQ(test, pages, lab_pages(lab));
		pgtable_expect_dirty(lab, 0, U64_MAX, 0, 0, 0);
	}
	must_unmap(lab, SZ_2M, SZ_4K);
}

/* Can other CPUs use the table below the page directory's entry? */
static bool is_synced(struct lab *lab, u64 iova)
{
	u64 path[VTD_PT_MAX_LEVELS + 1];

	vtd_pt_path(vtd_pt_root(lab->pt), lab->cfg.levels, iova, path);

	return path[2] & BIT_ULL(52);
}

static void count_invalidations(struct lab *lab, u64 start, u64 last)
{
	/* Before that, no CPU may use the tables. */
	KUNIT_EXPECT_EQ(lab->test, lab->base, start);
	KUNIT_EXPECT_EQ(lab->test, lab->base + lab->rounds * SZ_2M - 1, last);
	KUNIT_EXPECT_FALSE(lab->test, is_synced(lab, lab->base));
	lab->round++;
}

/* Dirty pages of one table are invalidated once, and clean ones not at all. */
static void dirty_one_invalidation(struct kunit *test)
{
	static const unsigned int pages[] = { 1, 2, 12 };
	struct lab *lab = test->priv;
	unsigned int i, page;

	lab->any_attributes = true;
	lab->dirty_unit = SZ_4K;
	for (i = 0; i < ARRAY_SIZE(pages); i++) {
		lab->base = 5ULL * SZ_1G + 300 * SZ_2M;
		lab->rounds = pages[i];
		lab->round = 0;
		must_map(lab, lab->base, SZ_2M, 16);
		for (page = 0; page < pages[i]; page += pages[i] > 2 ? 3 : 1)
			lab_dirty(lab, lab->base + (u64)page * SZ_2M);
		lab_dirty(lab, lab->base + (u64)(pages[i] - 1) * SZ_2M);
		lab->on_racing_invalidate = count_invalidations;
		pgtable_expect_dirty(lab, 0, U64_MAX, 0, lab->base,
				     lab->base + pages[i] * (u64)SZ_2M);
		lab->on_racing_invalidate = NULL;
		KUNIT_EXPECT_EQ(test, 1, lab->round);
		KUNIT_EXPECT_EQ(test, 1, leaf_level(lab, lab->base));
		KUNIT_EXPECT_EQ(test, pages[i] < 3 ? 2 : 1,
				leaf_level(lab, lab->base + 3 * SZ_2M));
		KUNIT_EXPECT_TRUE(test, is_synced(lab, lab->base));
		must_unmap(lab, lab->base, 16 * SZ_2M);
	}
}

#endif /* SECOND_LEVEL */

/* Tables that have become empty */

/* A 2M page replaces an empty table, which is deposited. */
static void large_over_empty(struct kunit *test)
{
	struct lab *lab = test->priv;
	struct vtd_pt_stats stats;
	unsigned long pages;

	must_map(lab, SZ_2M, SZ_4K, 512);
	must_unmap(lab, SZ_2M, SZ_2M);
	must_map(lab, 0, SZ_2M, 3);
	count_all(lab->pt, &stats);
	KUNIT_EXPECT_EQ(test, stats.deposited, 1);
	pages = lab_pages(lab);

	/* By mapping small pages... */
	must_unmap(lab, SZ_2M, SZ_2M);
	atomic_set(&lab->fail_in, 0);
	must_map(lab, SZ_2M + SZ_4K, SZ_4K, 7);
	atomic_set(&lab->fail_in, -1);
	count_all(lab->pt, &stats);
	KUNIT_EXPECT_EQ(test, stats.deposited, 0);
	must_unmap(lab, SZ_2M, SZ_2M);
	must_map(lab, SZ_2M, SZ_2M, 1);

	/* ...and by splitting the large one. */
	lab_split(lab, SZ_2M + SZ_4K);
	count_all(lab->pt, &stats);
	KUNIT_EXPECT_EQ(test, stats.deposited, 0);
	KUNIT_EXPECT_EQ(test, lab_pages(lab), pages);
}

/* A 1G page replaces a table of empty tables; all are used again. */
static void huge_over_empty(struct kunit *test)
{
	struct lab *lab = test->priv;
	u64 iova = 5ULL * SZ_1G;
	struct vtd_pt_stats stats;
	unsigned long pages;

	must_map(lab, iova, SZ_4K, 1);
	must_map(lab, iova + 9 * SZ_2M, SZ_4K, 600);
	must_map(lab, iova + 99 * SZ_2M, SZ_2M, 2);
	must_unmap(lab, iova, SZ_1G);
	must_map(lab, iova, SZ_1G, 1);
	count_all(lab->pt, &stats);
	KUNIT_EXPECT_EQ(test, stats.deposited, 4);
	pages = lab_pages(lab);

	must_unmap(lab, iova + 9 * SZ_2M + SZ_4K, SZ_2M);
	KUNIT_EXPECT_EQ(test, lab_pages(lab), pages);
	count_all(lab->pt, &stats);
	KUNIT_EXPECT_EQ(test, stats.deposited, 1);
	must_unmap(lab, iova, SZ_1G);
	must_map(lab, iova, SZ_1G, 1);
	must_unmap(lab, iova, SZ_1G);
	must_map(lab, iova, SZ_4K, 1);
	must_map(lab, iova + 9 * SZ_2M, SZ_4K, 600);
	KUNIT_EXPECT_EQ(test, lab_pages(lab), pages);
	must_unmap(lab, iova, SZ_1G);
	must_map(lab, iova, SZ_2M, 512);
	KUNIT_EXPECT_EQ(test, lab_pages(lab), pages);
}

static void flip(struct lab *lab, u64 iova, u64 size)
{
	size_t mapped;
	int ret;

	ret = vtd_pt_map(lab->pt, iova, iova, size, 1, RW, GFP_KERNEL, &mapped);
	KUNIT_ASSERT_EQ(lab->test, ret, 0);
	if (size > SZ_4K)
		KUNIT_ASSERT_EQ(lab->test, SZ_4K,
				vtd_pt_unmap(lab->pt, iova + size / 2, SZ_4K));
	KUNIT_ASSERT_EQ(lab->test, size, vtd_pt_unmap(lab->pt, iova, size));
}

/* Alternating page sizes on one range do not use more and more memory. */
static void alternating_sizes(struct kunit *test)
{
	struct lab *lab = test->priv;
	u64 iova = 7ULL * SZ_1G, size;
	unsigned long pages = 0;
	unsigned int i;

	lab->racing = true;	/* do not log all of the invalidations */
	for (i = 0; i < TIMES(5000); i++) {
		for (size = SZ_4K; size; size = next_size(lab, size))
			flip(lab, iova, size);
		if (i == 2)
			pages = lab_pages(lab);
		cond_resched();
	}
	KUNIT_EXPECT_EQ(test, lab_pages(lab), pages);
	lab->racing = false;
	lab_check(lab);
}

/* Use the table at @iova, and leave it empty. */
static void map_once(struct lab *lab, u64 iova, u64 pgsize)
{
	must_map(lab, iova, pgsize, 1);
	must_unmap(lab, iova, pgsize);
}

/* A deposited table is not used until its slot needs it, and then it is. */
static void deposit_and_withdraw(struct kunit *test)
{
	struct lab *lab = test->priv;
	u64 size;

	for (size = next_size(lab, SZ_4K); size; size = next_size(lab, size)) {
		u64 small = size / SPEC_ENTRIES, iova = 9 * size;

		map_once(lab, iova, small);
		must_map(lab, iova, size, 1);
		KUNIT_EXPECT_EQ(test, -EADDRINUSE,
				lab_map(lab, iova, SZ_1G, small, 1, RW));
		must_unmap(lab, iova, size);
		must_map(lab, iova + small, small, 2);
		must_map(lab, iova, small, 1);
		must_unmap(lab, iova, size);

		/* Withdrawn by a split. */
		must_map(lab, iova, size, 1);
		lab_split(lab, iova + small);
		must_unmap(lab, iova + small, small);
		must_map(lab, iova + small, small, 1);
		must_unmap(lab, iova, size);
	}
}

/*
 * Map and unmap all of @iova to @iova + 3 * SZ_2M, in small pages and in large
 * ones.
 */
static void map_in_turn(struct lab *lab, u64 iova)
{
	unsigned int round;

	for (round = 0; round < 2; round++) {
		must_map(lab, iova + SZ_2M - SZ_4K, SZ_4K, 3);
		must_unmap(lab, iova + SZ_2M - SZ_4K, 3 * SZ_4K);
		if (!(lab->param->pgsizes & SZ_2M))
			continue;
		must_map(lab, iova, SZ_2M, 3);
		must_unmap(lab, iova + SZ_1M, SZ_2M);
		must_unmap(lab, iova, 3 * SZ_2M);
	}
}

/*
 * Afterwards, maps of pages up to 2 MiB and their splits take no memory, in any
 * order.
 */
static void preallocated_tables(struct kunit *test)
{
	u64 iova = 5ULL * SZ_1G - SZ_2M, size = 3 * SZ_2M;	/* two directories */
	struct lab *lab = test->priv;
	unsigned long pages;
	int n = 0, ret;

	KUNIT_EXPECT_EQ(test, -ERANGE,
			vtd_pt_prealloc(lab->pt, lab_end(lab) - SZ_4K, SZ_2M, GFP_KERNEL));
	do {
		atomic_set(&lab->fail_in, n++);
		ret = vtd_pt_prealloc(lab->pt, iova, size, GFP_KERNEL);
		atomic_set(&lab->fail_in, -1);
	} while (ret == -ENOMEM);
	KUNIT_ASSERT_EQ(test, 0, ret);
	KUNIT_EXPECT_LT(test, 1, n);

	pages = lab_pages(lab);
	atomic_set(&lab->failed, 0);
	atomic_set(&lab->fail_in, 0);
	map_in_turn(lab, iova);
	KUNIT_EXPECT_EQ(test, 0, vtd_pt_prealloc(lab->pt, iova, size, GFP_KERNEL));
	KUNIT_EXPECT_EQ(test, 0, vtd_pt_prealloc(lab->pt, iova + SZ_4K, 1, GFP_KERNEL));
	KUNIT_EXPECT_EQ(test, 0, atomic_read(&lab->failed));
	atomic_set(&lab->fail_in, -1);
	KUNIT_EXPECT_EQ(test, pages, lab_pages(lab));

	/* The last page of a table, and the first of the next */
	iova = 7ULL * SZ_1G + SZ_2M;
	KUNIT_EXPECT_EQ(test, 0, vtd_pt_prealloc(lab->pt, iova - SZ_4K, 2 * SZ_4K, GFP_KERNEL));
	atomic_set(&lab->fail_in, 0);
	must_map(lab, iova - SZ_4K, SZ_4K, 2);
	atomic_set(&lab->fail_in, -1);

	if (lab->param->pgsizes & SZ_1G) {
		must_map(lab, 9ULL * SZ_1G, SZ_1G, 1);
		KUNIT_EXPECT_EQ(test, -EADDRINUSE,
				vtd_pt_prealloc(lab->pt, 9ULL * SZ_1G, SZ_4K, GFP_KERNEL));
	}
}

/* All over the aperture, one after the other */
static void regions_over_aperture(struct kunit *test)
{
	struct lab *lab = test->priv;
	u64 far = (lab_end(lab) - 1) & ~(u64)(SZ_2M - 1);
	const u64 iova[] = {
		0, SZ_2M, 8 * SZ_2M, 16 * SZ_2M, SZ_1G, 8ULL * SZ_1G, far / 2, far,
	};
	unsigned int i, round;

	for (round = 0; round < 3; round++) {
		for (i = 0; i < ARRAY_SIZE(iova); i++)
			must_map(lab, iova[i] + round * SZ_4K, SZ_4K, 1);
		for (i = 0; i < ARRAY_SIZE(iova); i++)
			must_unmap(lab, iova[i] + round * SZ_4K, SZ_4K);
	}
}

/* How much memory tables take */

static int touch(struct lab *lab, u64 iova)
{
	size_t mapped;
	int ret = vtd_pt_map(lab->pt, iova, SZ_1G, SZ_4K, 1, RW, GFP_KERNEL, &mapped);

	if (!ret)
		KUNIT_EXPECT_EQ(lab->test, SZ_4K, vtd_pt_unmap(lab->pt, iova, SZ_4K));
	return ret;
}

/*
 * Map one page in every 2 MiB, to use up memory: that fails at the limit,
 * ranges that have tables still work, and other domains are not affected.
 */
static void memory_limit(struct kunit *test)
{
	struct lab *lab = test->priv;
	struct vtd_pt_cfg other_cfg = lab->cfg;
	struct vtd_pt *other, *hostile;
	u64 iova = 0;
	int ret;

	other = vtd_pt_create(&other_cfg);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, other);
	vtd_pt_destroy(lab->pt);
	lab->cfg.max_pages = 600;
	lab_create(lab);
	hostile = lab->pt;

	/* Failed allocations do not count. */
	atomic_set(&lab->fail_in, 0);
	KUNIT_EXPECT_EQ(test, touch(lab, iova), -ENOMEM);
	atomic_set(&lab->fail_in, 0);
	KUNIT_EXPECT_EQ(test, vtd_pt_prealloc(lab->pt, iova, 1, GFP_KERNEL), -ENOMEM);
	atomic_set(&lab->fail_in, -1);

	while (!(ret = touch(lab, iova)) && iova < 4ULL * SZ_1G)
		iova += SZ_2M;
	KUNIT_EXPECT_EQ(test, ret, -ENOMEM);
	KUNIT_EXPECT_EQ(test, lab_pages(lab), 600);
	KUNIT_EXPECT_EQ(test, touch(lab, iova), -ENOMEM);
	KUNIT_EXPECT_EQ(test, vtd_pt_prealloc(lab->pt, iova, 1, GFP_KERNEL), -ENOSPC);
	KUNIT_EXPECT_EQ(test, touch(lab, iova - SZ_2M), 0);
	KUNIT_EXPECT_EQ(test, touch(lab, 0), 0);

	lab->pt = other;
	KUNIT_EXPECT_EQ(test, touch(lab, iova), 0);
	lab->pt = hostile;
	vtd_pt_destroy(other);

	/* The limit does not change after a failure. */
	KUNIT_EXPECT_EQ(test, 0, vtd_pt_free_empty_tables(lab->pt));
	KUNIT_EXPECT_EQ(test, lab_pages(lab), 1);
	KUNIT_EXPECT_EQ(test, touch(lab, iova), 0);
	rcu_barrier();
	lab_check(lab);
}

/* Splitting needs pages, too: at the limit it fails, with no change. */
static void split_at_memory_limit(struct kunit *test)
{
	struct lab *lab = test->priv;
	u64 size;

	for (size = next_size(lab, SZ_4K); size; size = next_size(lab, size)) {
		u64 small = size / SPEC_ENTRIES;

		lab->cfg.max_pages = 0;
		lab_renew(lab);
		must_map(lab, size, size, 1);
		must_map(lab, 2 * size, small, 1);
		must_unmap(lab, 2 * size, small);
		lab->cfg.max_pages = lab_pages(lab);
		lab_renew(lab);
		must_map(lab, size, size, 1);
		must_map(lab, 2 * size, small, 1);
		must_unmap(lab, 2 * size, small);

		KUNIT_EXPECT_EQ(test, 0, vtd_pt_unmap(lab->pt, size, small));
		KUNIT_EXPECT_EQ(test, -ENOMEM, vtd_pt_split_ends(lab->pt, size + small,
								 size + small, GFP_KERNEL));
		/* Nor does a large page over an empty table need memory. */
		must_map(lab, 2 * size, size, 1);
		must_unmap(lab, 2 * size, size);
		must_unmap(lab, size, size);
	}
}

/* Empty tables are freed when their owner requests it, and only then. */
static void free_empty_tables(struct kunit *test)
{
	struct lab *lab = test->priv;
	u64 size = max(next_size(lab, SZ_4K), SZ_4K), iova = 5ULL * SZ_1G;
	unsigned long pages;

	map_once(lab, iova, SZ_4K);
	must_map(lab, iova, size, 1);
	must_map(lab, iova + SZ_1G, SZ_4K, 1);
	must_unmap(lab, iova, SZ_1G);
	pages = lab_pages(lab);
	KUNIT_EXPECT_EQ(test, -EBUSY, vtd_pt_free_empty_tables(lab->pt));
	KUNIT_EXPECT_EQ(test, lab_pages(lab), pages);
	lab_check(lab);

	must_unmap(lab, iova + SZ_1G, SZ_4K);
	op_begin(lab);
	calls_add(lab->want, 0, vtd_pt_last_iova(lab->pt), VTD_PT_STRUCTURE);
	KUNIT_EXPECT_EQ(test, 0, vtd_pt_free_empty_tables(lab->pt));
	KUNIT_EXPECT_EQ(test, lab_pages(lab), 1);
	rcu_barrier();
	op_end(lab);

	/* No entry refers to the freed tables. */
	map_once(lab, iova, SZ_4K);
	KUNIT_EXPECT_EQ(test, lab_pages(lab), lab->param->levels);
}

/*
 * One call counts no more than 1 GiB, or skips one larger empty range: the
 * caller may hold a contended lock.
 */
static void counts_one_gib(struct kunit *test)
{
	struct lab *lab = test->priv;
	struct vtd_pt_stats stats = {};
	u64 iova = 0, last = lab_end(lab) - SZ_1G;
	unsigned int i;

	for (i = 0; i < 3; i++)
		must_map(lab, i * (u64)SZ_1G, SZ_4K, i + 1);
	must_map(lab, last, SZ_4K, 4);

	for (i = 0; i < 3; i++) {
		stats.leaves[1] = 0;
		KUNIT_EXPECT_TRUE(test, vtd_pt_count_leaves(lab->pt, &iova, &stats));
		KUNIT_EXPECT_EQ(test, stats.leaves[1], i + 1);
		KUNIT_EXPECT_EQ(test, iova, (i + 1) * (u64)SZ_1G);
	}

	iova = last;
	stats.leaves[1] = 0;
	KUNIT_EXPECT_FALSE(test, vtd_pt_count_leaves(lab->pt, &iova, &stats));
	KUNIT_EXPECT_EQ(test, stats.leaves[1], 4);

	/*
	 * Tables are freed between two calls: the second skips the rest of an
	 * empty entry.
	 */
	must_unmap(lab, 0, 4ULL * SZ_1G);
	must_unmap(lab, last, SZ_1G);
	KUNIT_ASSERT_EQ(test, 0, vtd_pt_free_empty_tables(lab->pt));
	iova = SZ_1G;
	vtd_pt_count_leaves(lab->pt, &iova, &stats);
	KUNIT_EXPECT_EQ(test, iova, ALIGN(SZ_1G + 1ULL, spec_reach(lab->param->levels)));
}

/* Lookups */

static void map_assorted(struct lab *lab)
{
	must_map(lab, 0, SZ_4K, 3);
	must_map(lab, far_boundary(lab) - SZ_4K, SZ_4K, 2);
	must_map(lab, lab_end(lab) - SZ_4K, SZ_4K, 1);
	if (lab->param->pgsizes & SZ_2M)
		must_map(lab, 4 * SZ_2M, SZ_2M, 2);
	if (lab->param->pgsizes & SZ_1G)
		must_map(lab, 3ULL * SZ_1G, SZ_1G, 2);
}

/* Every byte has its translation; outside of the aperture there is none. */
static void lookup(struct kunit *test)
{
	struct lab *lab = test->priv;
	unsigned int i;

	map_assorted(lab);
	for (i = 0; i < lab->before.nr; i++) {
		struct extent *e = &lab->before.extents[i];

		check_lookup(lab, e->start + 1);
		check_lookup(lab, e->start + 0xabc);
		check_lookup(lab, e->last - 7);
		check_lookup(lab, e->start + (e->last - e->start) / 2);
	}
	KUNIT_EXPECT_EQ(test, 0, vtd_pt_iova_to_phys(lab->pt, lab_end(lab)));
	KUNIT_EXPECT_EQ(test, 0, vtd_pt_iova_to_phys(lab->pt, U64_MAX));
	KUNIT_EXPECT_FALSE(test, vtd_pt_is_writable(lab->pt, lab_end(lab)));
	/* The bits above the width are not ignored, either. */
	KUNIT_EXPECT_EQ(test, 0,
			vtd_pt_iova_to_phys(lab->pt,
					    spec_reach(lab->param->levels + 1)));
	/* The upper half; at the second level that is the same as address 0. */
	if (!SECOND_LEVEL)
		KUNIT_EXPECT_EQ(test, 0,
				vtd_pt_iova_to_phys(lab->pt, spec_canonical(&(struct spec_hw) {
					.levels = lab->param->levels }, lab_end(lab))));
}

/* The expected length by the specification: leaves of one size in one table */
static u64 expect_length(struct lab *lab, u64 iova, u64 size, u64 *pa)
{
	struct spec_walk first, walk;
	u64 table, len;

	lab_walk(lab, iova, &first);
	*pa = first.fault ? 0 : first.pa;
	if (first.fault)
		return 0;

	table = spec_reach(first.level + 1);
	for (len = first.size - iova % first.size;
	     len < size && (iova + len) % table; len += first.size) {
		lab_walk(lab, iova + len, &walk);
		if (walk.fault || walk.size != first.size || walk.pa != first.pa + len)
			break;
	}

	return min(len, size);
}

static void check_length(struct lab *lab, u64 iova, u64 size)
{
	size_t length = ~0UL;
	u64 pa, want = expect_length(lab, iova, size, &pa);

	KUNIT_EXPECT_EQ(lab->test, pa,
			vtd_pt_iova_to_phys_length(lab->pt, iova, size, &length));
	KUNIT_EXPECT_EQ_MSG(lab->test, want, length, "%llx, %llx bytes", iova, size);
}

/* A page, and then a table that lies where the run would continue */
static void check_length_before_table(struct lab *lab, u64 iova, u64 size)
{
	u64 path[VTD_PT_MAX_LEVELS + 1], table;
	unsigned int level;

	must_map(lab, iova + size, size / SPEC_ENTRIES, 1);
	level = vtd_pt_path(vtd_pt_root(lab->pt), lab->param->levels, iova + size, path);
	table = ALIGN_DOWN(path[level + 1] & GENMASK_ULL(51, 12), size);
	/* Low memory */
	if (table < size)
		return;

	KUNIT_EXPECT_EQ(lab->test, 0, lab_map(lab, iova, table - size, size, 1, RW));
	check_length(lab, iova, 2 * size);
}

/* A lookup ends at a hole, at other memory, or at the end of the table. */
static void lookup_length(struct kunit *test)
{
	struct lab *lab = test->priv;
	static const u64 offsets[] = { 0, 0xabc, SZ_4K, 6 * SZ_4K, 8 * SZ_4K, SZ_2M - SZ_4K };
	static const u64 sizes[] = { 1, SZ_4K, SZ_4K + 1, 3 * SZ_4K, SZ_2M, SZ_1G, 1ULL << 40 };
	u64 size, iova, last = vtd_pt_last_iova(lab->pt);
	unsigned int i, j;
	size_t length;

	for (size = SZ_4K; size; size = next_size(lab, size)) {
		/*
		 * Across the end of a table, if there is another one of the
		 * kind.
		 */
		iova = min(8 * size * SPEC_ENTRIES, last + 1 - 32ULL * SZ_1G) - 6 * size;
		must_map(lab, iova, size, 8);
		/*
		 * After that, other memory; a hole; and smaller pages that
		 * continue the run.
		 */
		lab_map(lab, iova + 8 * size, pa_of(iova), size, 2, RW);
		must_map(lab, iova + 11 * size, size, 1);
		if (size > SZ_4K)
			must_map(lab, iova + 12 * size, size / SPEC_ENTRIES, 2);
		for (i = 0; i < ARRAY_SIZE(offsets); i++) {
			for (j = 0; j < ARRAY_SIZE(sizes); j++) {
				check_length(lab, iova + offsets[i], sizes[j]);
				check_length(lab, iova + 7 * size + offsets[i], sizes[j]);
				check_length(lab, iova + 11 * size + offsets[i], sizes[j]);
			}
		}
		if (size > SZ_4K)
			check_length_before_table(lab, iova + 14 * size, size);
		must_unmap(lab, iova, 16 * size);
	}

	iova = last + 1 - SZ_4K;
	must_map(lab, iova, SZ_4K, 1);
	check_length(lab, iova, SZ_1G);
	KUNIT_EXPECT_EQ(test, 0, vtd_pt_iova_to_phys_length(lab->pt, last + 1, 1, &length));
	KUNIT_EXPECT_EQ(test, 0, length);
}

static void check_path(struct lab *lab, u64 iova)
{
	u64 path[VTD_PT_MAX_LEVELS + 1], addr;
	struct view view;
	unsigned int level, ended;

	view_open(&view, lab, true);
	memset(path, GARBAGE, sizeof(path));
	ended = vtd_pt_path(vtd_pt_root(lab->pt), lab->param->levels, iova, path);
	for (level = 1; level <= SPEC_LEVELS; level++) {
		bool came_here = level <= lab->param->levels &&
				 spec_slot(&view.hw, vtd_pt_root(lab->pt), iova,
					   level, &addr);

		KUNIT_EXPECT_EQ(lab->test, came_here,
				level >= ended && level <= lab->param->levels);
		KUNIT_EXPECT_EQ(lab->test, path[level],
				came_here ? *(u64 *)phys_to_virt(addr) : 0);
	}
}

/* The path to an address has the entries of the tables. */
static void path_of_tables(struct kunit *test)
{
	struct lab *lab = test->priv;
	unsigned int i;

	map_assorted(lab);
	for (i = 0; i < lab->before.nr; i++) {
		check_path(lab, lab->before.extents[i].start);
		check_path(lab, lab->before.extents[i].last);
		check_path(lab, lab->before.extents[i].last + 1);
	}
	check_path(lab, 64ULL * SZ_1G);
	check_path(lab, lab_end(lab) / 2);
}

/* Walking from leaf to leaf, all are found, from wherever one begins. */
static void next_leaves(struct kunit *test)
{
	struct lab *lab = test->priv;
	u64 path[VTD_PT_MAX_LEVELS + 1], iova = 0, size = 0;
	unsigned int level, i;

	map_assorted(lab);
	for (i = 0; i < lab->before.nr; i++) {
		struct extent *e = &lab->before.extents[i];
		struct spec_walk walk;
		u64 leaf;

		for (leaf = e->start; leaf < e->last; leaf += size) {
			KUNIT_ASSERT_TRUE(test,
					  vtd_pt_next_leaf(vtd_pt_root(lab->pt),
							   lab->param->levels, &iova,
							   path, &level));
			lab_walk(lab, leaf, &walk);
			size = walk.size;
			KUNIT_EXPECT_EQ(test, iova, leaf);
			KUNIT_EXPECT_EQ(test, level, walk.level);
			KUNIT_EXPECT_EQ(test, path[level], walk.entry);
			iova += size;
		}
	}
	KUNIT_EXPECT_FALSE(test, vtd_pt_next_leaf(vtd_pt_root(lab->pt),
						  lab->param->levels, &iova, path,
						  &level));

	/* From inside of a leaf, that leaf. */
	iova = SZ_4K + 5;
	KUNIT_EXPECT_TRUE(test, vtd_pt_next_leaf(vtd_pt_root(lab->pt),
						 lab->param->levels, &iova, path,
						 &level));
	KUNIT_EXPECT_EQ(test, iova, SZ_4K);
}

/* No sleeping in atomic context; debug kernels check it. */
static void atomic_callers(struct kunit *test)
{
	struct lab *lab = test->priv;

	lab->atomic = true;
	map_assorted(lab);
	lab_map(lab, 0, 0, SZ_4K, 9, RW);
	if (lab->param->pgsizes & SZ_2M) {
		must_unmap(lab, 4 * SZ_2M + SZ_4K, SZ_2M);
		lab_split(lab, 5 * SZ_2M + SZ_1M);
	}
	must_unmap(lab, 0, lab_end(lab));
	if (lab->param->pgsizes & SZ_2M)
		must_map(lab, 0, SZ_2M, 4);
}

/* Out of memory, at every allocation of every operation */

static void prepare_nothing(struct lab *lab)
{
}

static void prepare_page(struct lab *lab)
{
	must_map(lab, 6ULL * SZ_1G, lab->param->pgsizes & SZ_1G ? SZ_1G :
		 lab->param->pgsizes & SZ_2M ? SZ_2M : SZ_4K, 2);
}

static void prepare_empty(struct lab *lab)
{
	must_map(lab, 6ULL * SZ_1G + SZ_4K, SZ_4K, 1);
	must_map(lab, 6ULL * SZ_1G + SZ_2M, SZ_4K, 1);
	must_map(lab, 7ULL * SZ_1G + SZ_4K, SZ_4K, 1);
	must_unmap(lab, 6ULL * SZ_1G, 2ULL * SZ_1G);
}

static void prepare_deposited(struct lab *lab)
{
	prepare_empty(lab);
	prepare_page(lab);
}

static void prepare_directory(struct lab *lab)
{
	must_map(lab, 6ULL * SZ_1G, SZ_4K, 1);
}

/* A page below an existing page directory */
static void map_below_directory(struct lab *lab)
{
	lab_map(lab, 6ULL * SZ_1G + SZ_2M, SZ_1G, SZ_4K, 1, RW);
}

static void map_small(struct lab *lab)
{
	u64 iova = far_boundary(lab) - 600 * SZ_4K;

	lab_map(lab, iova, pa_of(iova), SZ_4K, 1200, RW);
}

static void map_large(struct lab *lab)
{
	u64 size = lab->param->pgsizes & SZ_1G ? SZ_1G :
		   lab->param->pgsizes & SZ_2M ? SZ_2M : SZ_4K;

	lab_map(lab, 6ULL * SZ_1G, SZ_1G, size, 2, RW);
}

static void unmap_middle(struct lab *lab)
{
	lab_unmap(lab, 6ULL * SZ_1G + SZ_4K, SZ_1M);
}

static void unmap_across(struct lab *lab)
{
	u64 size = lab->param->pgsizes & SZ_1G ? SZ_1G : SZ_2M;

	lab_unmap(lab, 6ULL * SZ_1G + SZ_4K, size);
}

static void split_small(struct lab *lab)
{
	lab_split(lab, 6ULL * SZ_1G + SZ_1M);
}

static const struct {
	const char *name;
	void (*prepare)(struct lab *lab);
	void (*run)(struct lab *lab);
} failing[] = {
	{ "map 4K", prepare_nothing, map_small },
	{ "map 4K below a directory", prepare_directory, map_below_directory },
	{ "map large", prepare_nothing, map_large },
	{ "map large over empty tables", prepare_empty, map_large },
	{ "unmap the middle", prepare_page, unmap_middle },
	{ "unmap the middle, tables deposited", prepare_deposited, unmap_middle },
	{ "unmap across", prepare_page, unmap_across },
	{ "unmap across, tables deposited", prepare_deposited, unmap_across },
	{ "split", prepare_page, split_small },
	{ "split, tables deposited", prepare_deposited, split_small },
};

/*
 * The n-th allocation fails, for all n. The operation returns the error,
 * progress is right, a split changes nothing; the same operation works
 * afterwards; nothing leaks.
 */
static void out_of_memory(struct kunit *test)
{
	struct lab *lab = test->priv;
	unsigned int i, n;

	for (i = 0; i < ARRAY_SIZE(failing); i++) {
		for (n = 0; ; n++) {
			lab_renew(lab);
			failing[i].prepare(lab);
			atomic_set(&lab->fail_in, n);
			failing[i].run(lab);
			atomic_set(&lab->fail_in, -1);
			if (!atomic_read(&lab->failed))
				break;

			must_unmap(lab, 0, lab_end(lab));
			failing[i].prepare(lab);
			failing[i].run(lab);
		}
		kunit_info(test, "%s: %u allocations failed", failing[i].name, n);
	}
}

/*
 * Syncing: another CPU runs at the worst moment, when an entry is in the cache
 * of this CPU and not in memory yet. A second call from within the write-back
 * of that entry simulates the other CPU.
 */

struct intruder {
	unsigned int skip;	/* number of write-backs to skip */
	u64 iova;
	u64 size;
	u64 syncs;		/* size of the page that may have been in the slot, or 0 */
	bool ran;
};

static struct intruder intruder;

static bool intruder_is_due(struct lab *lab, size_t size)
{
	if (size != sizeof(u64) || intruder.skip--)
		return false;

	lab->on_sync = NULL;
	intruder.ran = true;

	return true;
}

/*
 * The other CPU invalidates what may have been in the slot that is not in sync.
 */
static void expect_sync(struct lab *lab)
{
	u64 start;

	if (!intruder.syncs)
		return;

	start = ALIGN_DOWN(intruder.iova, intruder.syncs);
	calls_add(lab->want, start, start + intruder.syncs - 1, VTD_PT_STRUCTURE);
}

static void intruder_maps(struct lab *lab, void *addr, size_t size)
{
	size_t mapped;

	if (!intruder_is_due(lab, size))
		return;

	expect_sync(lab);

	KUNIT_EXPECT_EQ(lab->test, 0,
			vtd_pt_map(lab->pt, intruder.iova, pa_of(intruder.iova),
				   intruder.size, 1, RW, GFP_KERNEL, &mapped));
	KUNIT_EXPECT_TRUE_MSG(lab->test,
			      hw_sees(lab, intruder.iova, pa_of(intruder.iova)),
			      "mapped, but not for hardware");
	model_insert(&lab->after, intruder.iova,
		     intruder.iova + intruder.size - 1, pa_of(intruder.iova),
		     RW);
}

/* A page that is mapped below an entry that is being synced works at once. */
static void sync_map_of_neighbour(struct kunit *test)
{
	struct lab *lab = test->priv;
	u64 iova = far_boundary(lab) + SZ_4K;
	unsigned int n;

	for (n = 0; n < lab->param->levels - 1; n++) {
		lab_renew(lab);
		intruder = (struct intruder) {
			.skip = n, .iova = iova + SZ_4K, .size = SZ_4K,
			.syncs = lab->param->pgsizes &
				 spec_reach(lab->param->levels - n),
		};
		lab->on_sync = intruder_maps;
		KUNIT_EXPECT_EQ(test, 0, lab_map(lab, iova, pa_of(iova), SZ_4K, 1,
						 RW));
		KUNIT_EXPECT_TRUE(test, intruder.ran);
	}
}

/* The same of a neighbour of a table that was deposited meanwhile. */
static void sync_withdrawn_table(struct kunit *test)
{
	struct lab *lab = test->priv;
	u64 size;

	for (size = next_size(lab, SZ_4K); size; size = next_size(lab, size)) {
		u64 small = size / SPEC_ENTRIES, iova = 4 * size;

		must_map(lab, iova, small, 1);
		must_unmap(lab, iova, small);
		must_map(lab, iova, size, 1);
		must_unmap(lab, iova, size);

		intruder = (struct intruder) {
			.iova = iova + small, .size = small, .syncs = size,
		};
		lab->on_sync = intruder_maps;
		KUNIT_EXPECT_EQ(test, 0, lab_map(lab, iova, pa_of(iova), small, 1,
						 RW));
		KUNIT_EXPECT_TRUE(test, intruder.ran);
	}
}

static void intruder_unmaps(struct lab *lab, void *addr, size_t size)
{
	int allocs = atomic_read(&lab->allocs);

	if (!intruder_is_due(lab, size))
		return;

	lab->racing = true;
	KUNIT_EXPECT_EQ(lab->test, intruder.size,
			vtd_pt_unmap(lab->pt, intruder.iova, intruder.size));
	lab->racing = false;
	atomic_set(&lab->allocs, allocs);
	KUNIT_EXPECT_TRUE_MSG(lab->test, hw_sees(lab, intruder.iova, 0),
			      "unmapped, but not for hardware");
	model_clear(lab, &lab->after, intruder.iova,
		    intruder.iova + intruder.size - 1);
}

/*
 * A range that is unmapped below a large page that another CPU is splitting is
 * gone at once: hardware must not find the large page any more.
 */
static void sync_entry_before_unmap(struct kunit *test)
{
	struct lab *lab = test->priv;
	u64 size, part;

	for (size = SZ_4K; size; size = next_size(lab, size)) {
		for (part = SZ_4K; part < size; part *= SPEC_ENTRIES) {
			must_map(lab, 2 * size, size, 1);
			intruder = (struct intruder) {
				.iova = 2 * size + 3 * size / 4, .size = part,
			};
			lab->on_sync = intruder_unmaps;
			lab_split(lab, 2 * size + size / 2);
			KUNIT_EXPECT_TRUE(test, intruder.ran);
			must_unmap(lab, 2 * size, size);
		}
	}
}

/* Replaces the invalidation by a CPU that has just split a page. */
static void intruder_unmaps_first(struct lab *lab)
{
	const struct call page = {
		.start = ALIGN_DOWN(intruder.iova, intruder.syncs),
		.last = (intruder.iova | (intruder.syncs - 1)),
		.change = VTD_PT_STRUCTURE,
	};
	int allocs = atomic_read(&lab->allocs);

	lab->on_invalidate = NULL;
	intruder.ran = true;
	expect_sync(lab);
	/* A part of 4 KiB of 1 GiB takes another split. */
	if (intruder.size * SPEC_ENTRIES < intruder.syncs)
		calls_add(lab->want, ALIGN_DOWN(intruder.iova, SZ_2M),
			  intruder.iova | (SZ_2M - 1), VTD_PT_STRUCTURE);
	model_clear(lab, &lab->after, intruder.iova,
		    intruder.iova + intruder.size - 1);
	KUNIT_EXPECT_EQ(lab->test, intruder.size,
			vtd_pt_unmap(lab->pt, intruder.iova, intruder.size));
	KUNIT_EXPECT_TRUE_MSG(lab->test, calls_have(lab->got, &page),
			      "unmapped, but the large page is still cached");
	atomic_set(&lab->allocs, allocs);
}

/*
 * Part of a large page is unmapped while another CPU that splits it has not yet
 * invalidated it: the large page is invalidated before the unmap returns.
 */
static void invalidate_before_unmap(struct kunit *test)
{
	struct lab *lab = test->priv;
	u64 size, part;

	for (size = SZ_4K; size; size = next_size(lab, size)) {
		for (part = SZ_4K; part < size; part *= SPEC_ENTRIES) {
			must_map(lab, 2 * size, size, 1);
			intruder = (struct intruder) {
				.iova = 2 * size + 3 * size / 4, .size = part,
				.syncs = size,
			};
			lab->on_invalidate = intruder_unmaps_first;
			lab_split(lab, 2 * size + size / 2);
			KUNIT_EXPECT_TRUE(test, intruder.ran);
			must_unmap(lab, 2 * size, size);
		}
	}
}

/* Before the table that replaces the page at @intruder.iova is installed. */
static void hardware_dirties(struct lab *lab, void *addr, size_t size)
{
	u64 *entry = lab_entry(lab, intruder.iova);

	if (size != PAGE_SIZE)
		return;

	lab->on_sync = NULL;
	intruder.ran = true;
	lab_poke(lab, entry, *entry | ACCESSED_DIRTY);
}

/* Accessed and Dirty that hardware sets during a split are not lost. */
static void sync_keeps_dirty(struct kunit *test)
{
	struct lab *lab = test->priv;
	u64 size;

	lab->any_attributes = true;
	for (size = next_size(lab, SZ_4K); size; size = next_size(lab, size)) {
		struct spec_walk parent;
		u64 *entry;

		must_map(lab, size, size, 1);
		entry = lab_entry(lab, size);
		lab_poke(lab, entry, *entry | ACCESSED_DIRTY);
		lab_walk(lab, size, &parent);
		lab_poke(lab, entry, *entry & ~ACCESSED_DIRTY);
		intruder = (struct intruder) { .iova = size, .size = size };
		lab->on_sync = hardware_dirties;
		lab_split(lab, size + size / 2);
		KUNIT_EXPECT_TRUE(test, intruder.ran);
		check_children(lab, size, size / SPEC_ENTRIES, &parent);
	}
}

/* The entry for the page table at @iova, in the CPU's memory. */
static u64 *table_entry(struct lab *lab, u64 iova)
{
	struct view view;
	u64 addr;

	view_open(&view, lab, true);
	KUNIT_ASSERT_TRUE(lab->test, spec_slot(&view.hw, vtd_pt_root(lab->pt), iova,
					       2, &addr));

	return phys_to_virt(addr);
}

/*
 * When this CPU has just found that the page at @iova has to be split, the
 * owner of the rest of the page splits it there, and installs a page table
 * below. Its entry is not in sync yet.
 */
static unsigned int neighbour_splits(struct vtd_pt *pt, u64 iova, unsigned int *level)
{
	struct kunit *test = kunit_get_current_test();
	unsigned int depth;
	size_t mapped;

	kunit_deactivate_static_stub(test, vtd_pt_split_depth);
	depth = vtd_pt_split_depth(pt, iova, level);
	if (iova != intruder.iova || intruder.skip--) {
		kunit_activate_static_stub(test, vtd_pt_split_depth, neighbour_splits);
		return depth;
	}

	intruder.ran = true;
	KUNIT_EXPECT_EQ(test, 0, vtd_pt_split_ends(pt, iova, iova, GFP_KERNEL));
	KUNIT_EXPECT_EQ(test, SZ_2M, vtd_pt_unmap(pt, iova, SZ_2M));
	KUNIT_EXPECT_EQ(test, 0, vtd_pt_map(pt, iova, pa_of(iova), SZ_4K, 1, RW,
					    GFP_KERNEL, &mapped));
	*table_entry(test->priv, iova) &= ~GENMASK_ULL(62, 52);

	return depth;
}

/*
 * A CPU that finds that another one has split a page first does not touch the
 * entries below, which belong to a neighbour and may be changing.
 */
static void split_leaves_neighbour_alone(struct kunit *test)
{
	struct lab *lab = test->priv;
	u64 base = 6ULL * SZ_1G, end = base + SZ_1G / 2;
	size_t mapped;

	lab->racing = true;	/* do not log the invalidations */
	KUNIT_EXPECT_EQ(test, 0, vtd_pt_map(lab->pt, base, pa_of(base), SZ_1G, 1, RW,
					    GFP_KERNEL, &mapped));
	/* It checks twice: to count the tables it may need, and to split. */
	intruder = (struct intruder) { .skip = 2, .iova = end };
	kunit_activate_static_stub(test, vtd_pt_split_depth, neighbour_splits);
	KUNIT_EXPECT_EQ(test, SZ_1G / 2, vtd_pt_unmap(lab->pt, base, SZ_1G / 2));
	KUNIT_EXPECT_TRUE(test, intruder.ran);
	KUNIT_EXPECT_EQ_MSG(test, *table_entry(lab, end) & GENMASK_ULL(62, 52), 0,
			    "worked below an entry of the neighbour");
	KUNIT_EXPECT_TRUE(test, hw_sees(lab, end - SZ_4K, 0));
	KUNIT_EXPECT_TRUE(test, hw_sees(lab, end, pa_of(end)));
	KUNIT_EXPECT_TRUE(test, hw_sees(lab, end + SZ_4K, 0));
	KUNIT_EXPECT_TRUE(test, hw_sees(lab, end + SZ_2M, pa_of(end + SZ_2M)));
}

/* The neighbour unmaps its part of the page. */
static unsigned int neighbour_withdraws(struct vtd_pt *pt, u64 iova, unsigned int *level)
{
	struct kunit *test = kunit_get_current_test();
	unsigned int depth;

	kunit_deactivate_static_stub(test, vtd_pt_split_depth);
	depth = vtd_pt_split_depth(pt, iova, level);
	if (intruder.skip--) {
		kunit_activate_static_stub(test, vtd_pt_split_depth, neighbour_withdraws);
		return depth;
	}

	intruder.ran = true;
	KUNIT_EXPECT_EQ(test, SZ_4K, vtd_pt_unmap(pt, intruder.iova, SZ_4K));

	return depth;
}

/* The same, with the last memory. */
static void neighbour_allocates(struct lab *lab)
{
	lab->on_alloc = NULL;
	intruder.ran = true;
	KUNIT_EXPECT_EQ(lab->test, SZ_4K, vtd_pt_unmap(lab->pt, intruder.iova, SZ_4K));
	atomic_set(&lab->fail_in, 0);
}

/*
 * Two CPUs that unmap parts of a page of 2 MiB need one table, wherever it
 * comes from.
 */
static void split_shares_table(struct kunit *test)
{
	struct lab *lab = test->priv;
	u64 base = 6ULL * SZ_1G;
	size_t mapped;

	lab->racing = true;	/* do not log the invalidations */
	KUNIT_EXPECT_EQ(test, 0, vtd_pt_prealloc(lab->pt, base, SZ_2M, GFP_KERNEL));
	KUNIT_EXPECT_EQ(test, 0, vtd_pt_map(lab->pt, base, pa_of(base), SZ_2M, 2, RW,
					    GFP_KERNEL, &mapped));

	/* The table is deposited. It checks both ends, then splits at both. */
	atomic_set(&lab->fail_in, 0);
	intruder = (struct intruder) { .skip = 3, .iova = base + SZ_1M };
	kunit_activate_static_stub(test, vtd_pt_split_depth, neighbour_withdraws);
	KUNIT_EXPECT_EQ(test, SZ_4K, vtd_pt_unmap(lab->pt, base, SZ_4K));
	KUNIT_EXPECT_TRUE(test, intruder.ran);

	/* It is the last page. */
	atomic_set(&lab->fail_in, -1);
	base += SZ_2M;
	intruder = (struct intruder) { .iova = base + SZ_1M };
	lab->on_alloc = neighbour_allocates;
	KUNIT_EXPECT_EQ(test, SZ_4K, vtd_pt_unmap(lab->pt, base, SZ_4K));
	KUNIT_EXPECT_TRUE(test, intruder.ran);
	atomic_set(&lab->fail_in, -1);

	KUNIT_EXPECT_TRUE(test, hw_sees(lab, base, 0));
	KUNIT_EXPECT_TRUE(test, hw_sees(lab, base + SZ_1M, 0));
	KUNIT_EXPECT_TRUE(test, hw_sees(lab, base + SZ_4K, pa_of(base + SZ_4K)));
}

static unsigned long deposited_before;

/* No table may be deposited for a slot while hardware may still walk it. */
static void deposited_not_yet(struct lab *lab)
{
	struct vtd_pt_stats stats;

	count_all(lab->pt, &stats);
	KUNIT_EXPECT_EQ(lab->test, stats.deposited, deposited_before);
}

/* A table is not reused before it has been invalidated. */
static void deposit_after_invalidation(struct kunit *test)
{
	struct lab *lab = test->priv;
	struct vtd_pt_stats stats;
	u64 size;

	for (size = next_size(lab, SZ_4K); size; size = next_size(lab, size)) {
		must_map(lab, 8 * size, size / SPEC_ENTRIES, 2);
		must_unmap(lab, 8 * size, size);
		count_all(lab->pt, &stats);
		deposited_before = stats.deposited;
		lab->on_invalidate = deposited_not_yet;
		must_map(lab, 8 * size, size, 1);
		lab->on_invalidate = NULL;
	}
}

/*
 * 2M pages replace many empty tables, below two directories, by one call: that
 * is one invalidation, and until it is done, the tables cannot be withdrawn.
 */
static void many_over_empty(struct kunit *test)
{
	struct lab *lab = test->priv;
	u64 iova = 5ULL * SZ_1G - 20 * SZ_2M, i;
	struct vtd_pt_stats stats;

	for (i = 0; i < 40; i++)
		must_map(lab, iova + i * SZ_2M, SZ_4K, 1);
	must_unmap(lab, iova, 40 * SZ_2M);
	deposited_before = 0;
	lab->on_invalidate = deposited_not_yet;
	must_map(lab, iova - SZ_2M, SZ_2M, 42);
	lab->on_invalidate = NULL;
	KUNIT_EXPECT_EQ(test, lab->got->nr, 1);
	count_all(lab->pt, &stats);
	KUNIT_EXPECT_EQ(test, stats.deposited, 40);

	/* A leaf is in use: those before it are invalidated, and unwound. */
	must_unmap(lab, iova, 40 * SZ_2M);
	for (i = 0; i < 40; i++)
		must_map(lab, iova + i * SZ_2M, SZ_4K, 1);
	must_unmap(lab, iova, 30 * SZ_2M);
	KUNIT_EXPECT_EQ(test, -EADDRINUSE,
			lab_map(lab, iova, iova, SZ_2M, 40, RW));
	count_all(lab->pt, &stats);
	KUNIT_EXPECT_EQ(test, stats.deposited, 30);
}

static void neighbour_deposits(struct lab *lab, u64 start, u64 last)
{
	struct vtd_pt_stats stats;
	size_t mapped;

	lab->on_racing_invalidate = NULL;
	intruder.ran = true;
	KUNIT_EXPECT_EQ(lab->test, 0,
			vtd_pt_map(lab->pt, intruder.iova, pa_of(intruder.iova),
				   intruder.size, 1, RW, GFP_KERNEL, &mapped));
	count_all(lab->pt, &stats);
	deposited_before = stats.deposited;
}

/*
 * Two CPUs deposit for the first time below the same table: neither deposit is
 * lost, and each CPU deposits its own table, as the other's may not be
 * invalidated yet.
 */
static void deposit_twice_at(struct lab *lab, u64 first, u64 second, u64 size)
{
	struct kunit *test = lab->test;
	u64 iova = min(first, second);
	struct vtd_pt_stats stats;
	unsigned long before;
	size_t mapped;

	must_map(lab, iova, size / SPEC_ENTRIES, 2 * SPEC_ENTRIES);
	must_unmap(lab, iova, 2 * size);
	count_all(lab->pt, &stats);
	before = stats.deposited;
	lab->racing = true;	/* do not log the invalidations */
	intruder = (struct intruder) { .iova = second, .size = size };
	lab->on_racing_invalidate = neighbour_deposits;
	KUNIT_EXPECT_EQ(test, 0, vtd_pt_map(lab->pt, first, pa_of(first), size, 1, RW,
					    GFP_KERNEL, &mapped));
	lab->racing = false;
	KUNIT_EXPECT_TRUE(test, intruder.ran);
	count_all(lab->pt, &stats);
	KUNIT_EXPECT_EQ(test, stats.deposited - before, 2 * (deposited_before - before));

	model_insert(&lab->before, iova, iova + 2 * size - 1, pa_of(iova), RW);
	model_copy(&lab->after, &lab->before);
	lab_check(lab);
	must_unmap(lab, iova, 2 * size);
	atomic_set(&lab->fail_in, 0);
	must_map(lab, iova, size / SPEC_ENTRIES, 2 * SPEC_ENTRIES);
	atomic_set(&lab->fail_in, -1);
	must_unmap(lab, iova, 2 * size);
}

static void deposit_twice(struct kunit *test)
{
	struct lab *lab = test->priv;
	u64 size;

	for (size = next_size(lab, SZ_4K); size; size = next_size(lab, size)) {
		deposit_twice_at(lab, 8 * size, 9 * size, size);
		deposit_twice_at(lab, 11 * size, 10 * size, size);
	}
}

/* Threads */

struct racer {
	struct lab *lab;
	unsigned int id;
	void (*run)(struct lab *lab, unsigned int id);
	struct task_struct *task;
	struct completion done;
};

/* A racer belongs to the test: pages come from the lab, reports go to it. */
static int racer_main(void *data)
{
	struct racer *racer = data;

	current->kunit_test = racer->lab->test;
	racer->run(racer->lab, racer->id);
	atomic_dec(&racer->lab->running);
	current->kunit_test = NULL;
	kthread_complete_and_exit(&racer->done, 0);
}

static struct racer *racers_create(struct lab *lab, unsigned int nr,
				   void (*run)(struct lab *lab, unsigned int id))
{
	struct racer *racers = kunit_kcalloc(lab->test, nr, sizeof(*racers),
					     GFP_KERNEL);
	unsigned int i;

	KUNIT_ASSERT_NOT_NULL(lab->test, racers);
	for (i = 0; i < nr; i++) {
		struct racer *racer = &racers[i];

		*racer = (struct racer) { lab, i, run };
		init_completion(&racer->done);
		racer->task = kthread_create(racer_main, racer, SUITE_PREFIX "-%u", i);
		KUNIT_ASSERT_NOT_ERR_OR_NULL(lab->test, racer->task);
		kthread_bind(racer->task, cpumask_nth(i % num_online_cpus(),
						      cpu_online_mask));
	}

	return racers;
}

/* Let @nr threads run at the same time until all have returned. */
static void race(struct lab *lab, unsigned int nr,
		 void (*run)(struct lab *lab, unsigned int id))
{
	struct racer *racers = racers_create(lab, nr, run);
	unsigned int i;

	lab->racing = true;
	atomic_set(&lab->arrived, 0);
	atomic_set(&lab->running, nr);
	atomic_set(&lab->wrong, 0);

	for (i = 0; i < nr; i++)
		wake_up_process(racers[i].task);
	for (i = 0; i < nr; i++)
		wait_for_completion(&racers[i].done);

	lab->racing = false;
	KUNIT_EXPECT_EQ(lab->test, atomic_read(&lab->wrong), 0);
}

static void race_is(struct lab *lab, bool right)
{
	if (!right)
		atomic_inc(&lab->wrong);
}

/* Two threads wait for each other, and see each other's stores. */
static void meet(struct lab *lab)
{
	int all = round_up(atomic_inc_return(&lab->arrived), 2);

	while (atomic_read_acquire(&lab->arrived) < all) {
		cpu_relax();
		cond_resched();
	}
}

/* Delay the thread a little in some rounds. */
static void jitter(unsigned int round, unsigned int id)
{
	unsigned int n = (round * 37 + id * 11) % 64;

	while (n--)
		cpu_relax();
}

static void need_two_cpus(struct kunit *test)
{
	if (num_online_cpus() < 2)
		kunit_skip(test, "needs two CPUs");
}

static bool map_one(struct lab *lab, u64 iova, u64 size)
{
	size_t mapped;

	return !vtd_pt_map(lab->pt, iova, pa_of(iova), size, 1, RW, GFP_KERNEL,
			   &mapped);
}

/*
 * Map every other page of a separate region, of 512G if there are enough. The
 * second thread may use large pages.
 */
static u64 install_place(struct lab *lab, unsigned int id, unsigned int round,
			 unsigned int i, u64 *size)
{
	u64 region = round * min(1ULL << 39, lab_end(lab) / 64);

	*size = SZ_4K;
	if (id && round % 2 && (lab->param->pgsizes & SZ_2M)) {
		*size = SZ_2M;
		return region + SZ_2M * (1 + i);
	}

	return region + SZ_4K * (2 * i + id);
}

#define INSTALL_ROUNDS	TIMES(60)
#define INSTALL_PAGES	4

static void install(struct lab *lab, unsigned int id, unsigned int round)
{
	unsigned int i;

	for (i = 0; i < INSTALL_PAGES; i++) {
		u64 size, iova = install_place(lab, id, round, i, &size);

		race_is(lab, map_one(lab, iova, size));
		race_is(lab, hw_sees(lab, iova, pa_of(iova)));
	}
}

static void race_to_install(struct lab *lab, unsigned int id)
{
	unsigned int round;

	for (round = 1; round <= INSTALL_ROUNDS; round++) {
		meet(lab);
		jitter(round, id);
		install(lab, id, round);
	}
}

static void model_installed(struct lab *lab, struct model *m, unsigned int id)
{
	unsigned int round, i;

	for (round = 1; round <= INSTALL_ROUNDS; round++) {
		for (i = 0; i < INSTALL_PAGES; i++) {
			u64 size, iova = install_place(lab, id, round, i, &size);

			model_insert(m, iova, iova + size - 1, pa_of(iova), RW);
		}
	}
}

/*
 * Two threads map for the first time below the same entries. Each page works
 * when its call returns, and there are no more tables than with a single
 * thread.
 */
static void race_installers(struct kunit *test)
{
	struct lab *lab = test->priv;
	unsigned int round;
	unsigned long pages;

	need_two_cpus(test);
	lab->racing = true;
	for (round = 1; round <= INSTALL_ROUNDS; round++) {
		install(lab, 0, round);
		install(lab, 1, round);
	}
	pages = lab_pages(lab);
	lab_renew(lab);

	race(lab, 2, race_to_install);
	KUNIT_EXPECT_EQ(test, lab_pages(lab), pages);
	model_installed(lab, &lab->before, 0);
	model_installed(lab, &lab->before, 1);
	model_copy(&lab->after, &lab->before);
	lab_check(lab);
}

static void neighbour_maps(struct lab *lab, unsigned int id)
{
	unsigned int i;

	for (i = 0; i < lab->rounds; i++) {
		u64 iova = lab->base + (2 * (i % 200) + id) * SZ_4K;

		race_is(lab, map_one(lab, iova, SZ_4K));
		race_is(lab, vtd_pt_iova_to_phys(lab->pt, iova) == pa_of(iova));
		race_is(lab, hw_sees(lab, iova, pa_of(iova)));
		race_is(lab, vtd_pt_unmap(lab->pt, iova, SZ_4K) == SZ_4K);
		race_is(lab, !vtd_pt_iova_to_phys(lab->pt, iova));
		race_is(lab, hw_sees(lab, iova, 0));
		cond_resched();
	}
}

static void neighbour_looks(struct lab *lab)
{
	unsigned int i;

	for (i = 0; atomic_read(&lab->running) > 1; i++) {
		u64 iova = lab->base + (i * 7 % 400) * SZ_4K + i % SZ_4K;
		u64 pa = vtd_pt_iova_to_phys(lab->pt, iova);

		race_is(lab, !pa || pa == pa_of(iova));
		cond_resched();
	}
}

static void race_beside(struct lab *lab, unsigned int id)
{
	if (id < 2)
		neighbour_maps(lab, id);
	else
		neighbour_looks(lab);
}

/*
 * Two threads map and unmap in the same table, a third looks up: each result is
 * right.
 */
static void race_neighbours(struct kunit *test)
{
	struct lab *lab = test->priv;

	need_two_cpus(test);
	lab->base = boundary(lab, 1);
	lab->rounds = TIMES(3000);
	race(lab, 3, race_beside);
	lab_check(lab);
}

#define HOLE_ROUNDS	TIMES(150)

static void race_hole(struct lab *lab, unsigned int id)
{
	unsigned int round, i;

	for (round = 0; round < HOLE_ROUNDS; round++) {
		u64 iova = lab->base + round * SZ_2M;

		meet(lab);
		jitter(round, id);
		if (!id) {
			race_is(lab, map_one(lab, iova, SZ_4K));
			continue;
		}
		for (i = 0; i < 4; i++)
			vtd_pt_unmap(lab->pt, iova + SZ_1M, SZ_4K);
	}
}

/* Unmapping a hole does not affect a map next to it at the same time. */
static void race_unmap_hole(struct kunit *test)
{
	struct lab *lab = test->priv;
	unsigned int round;

	need_two_cpus(test);
	lab->base = far_boundary(lab);
	race(lab, 2, race_hole);
	for (round = 0; round < HOLE_ROUNDS; round++) {
		u64 iova = lab->base + round * SZ_2M;

		model_insert(&lab->before, iova, iova + SZ_4K - 1, pa_of(iova),
			     RW);
	}
	model_copy(&lab->after, &lab->before);
	lab_check(lab);
}

static u64 largest(struct lab *lab)
{
	return lab->param->pgsizes & SZ_1G ? SZ_1G : SZ_2M;
}

/* In the lower half of the page at @lab->base, or in the upper. */
static u64 split_place(struct lab *lab, unsigned int id)
{
	return lab->base + largest(lab) / 4 * (1 + 2 * id) + 3 * SZ_4K;
}

/* It takes time, and removes the page only if it covers all of it. */
static void forget_large(struct lab *lab, u64 start, u64 last)
{
	unsigned int n = 16;

	while (n--)
		cpu_relax();
	if (start <= lab->base && last >= lab->base + largest(lab) - 1)
		atomic_set(&lab->cached, 0);
}

static void split_half(struct lab *lab, unsigned int id)
{
	u64 iova = split_place(lab, id);

	race_is(lab, vtd_pt_unmap(lab->pt, iova, SZ_4K) == SZ_4K);
	race_is(lab, !atomic_read(&lab->cached));
	race_is(lab, hw_sees(lab, iova, 0));
	race_is(lab, hw_sees(lab, iova + SZ_4K, pa_of(iova + SZ_4K)));
	race_is(lab, hw_sees(lab, iova - SZ_4K, pa_of(iova - SZ_4K)));
}

static void race_to_split(struct lab *lab, unsigned int id)
{
	unsigned int round;

	for (round = 0; round < lab->rounds; round++) {
		if (!id) {
			race_is(lab, map_one(lab, lab->base, largest(lab)));
			atomic_set(&lab->cached, 1);
		}
		meet(lab);
		jitter(round, id);
		split_half(lab, id);
		meet(lab);
		if (!id)
			vtd_pt_unmap(lab->pt, lab->base, largest(lab));
	}
}

static void race_to_preallocate(struct lab *lab, unsigned int id)
{
	unsigned int round;

	for (round = 0; round < lab->rounds; round++) {
		u64 base = lab->base + round * SZ_2M, iova = base + id * SZ_4K;

		meet(lab);
		jitter(round, id);
		race_is(lab, !vtd_pt_prealloc(lab->pt, base, SZ_2M, GFP_KERNEL));
		race_is(lab, map_one(lab, iova, SZ_4K));
		race_is(lab, hw_sees(lab, iova, pa_of(iova)));
		race_is(lab, vtd_pt_unmap(lab->pt, iova, SZ_4K) == SZ_4K);
	}
}

/* One CPU deposits a table, another withdraws it. */
static void race_preallocators(struct kunit *test)
{
	struct lab *lab = test->priv;

	need_two_cpus(test);
	lab->base = 3ULL * SZ_1G;
	lab->rounds = TIMES(300);
	race(lab, 2, race_to_preallocate);
	lab_check(lab);
}

/*
 * Two threads split the same large page at different addresses. The parts that
 * stay keep translating, the unmapped parts are gone, and so is the large page
 * that hardware has cached. The slot may get a table from each thread, with the
 * tables below it, but no more.
 */
static void race_splitters(struct kunit *test)
{
	struct lab *lab = test->priv;
	unsigned long pages, second;

	need_two_cpus(test);
	lab->base = 3ULL * SZ_1G;
	lab->rounds = TIMES(1000);
	must_map(lab, lab->base, largest(lab), 1);
	must_unmap(lab, split_place(lab, 0), SZ_4K);
	must_unmap(lab, split_place(lab, 1), SZ_4K);
	must_unmap(lab, lab->base, largest(lab));
	must_map(lab, lab->base, largest(lab), 1);
	must_unmap(lab, lab->base, largest(lab));
	pages = lab_pages(lab);
	/* 2 MiB take one table, 1 GiB one more for each address */
	second = largest(lab) == SZ_1G ? 3 : 1;

	lab->on_racing_invalidate = forget_large;
	race(lab, 2, race_to_split);
	lab->on_racing_invalidate = NULL;
	KUNIT_EXPECT_LE(test, lab_pages(lab), pages + second);
	must_map(lab, lab->base, largest(lab), 1);
	must_unmap(lab, lab->base, largest(lab));
	KUNIT_EXPECT_LE(test, lab_pages(lab), pages + second);
	lab_check(lab);
}

#define STAY_PAGES	64

static void split_all(struct lab *lab)
{
	unsigned int i;

	for (i = 0; i < STAY_PAGES; i++) {
		u64 iova = lab->base + i * largest(lab) + largest(lab) / 2;

		race_is(lab, vtd_pt_unmap(lab->pt, iova, SZ_4K) == SZ_4K);
		WRITE_ONCE(lab->round, i);
		cond_resched();
	}
}

/* Look up the parts that stay of the pages that are being split. */
static void watch_all(struct lab *lab)
{
	unsigned int i;

	for (i = 0; atomic_read(&lab->running) == 2; i++) {
		unsigned int page = (READ_ONCE(lab->round) + i % 2) % STAY_PAGES;
		u64 iova = lab->base + page * largest(lab) +
			   (i % 3 ? 0 : largest(lab) / 2 + SZ_4K);

		race_is(lab, vtd_pt_iova_to_phys(lab->pt, iova) == pa_of(iova));
		race_is(lab, hw_sees(lab, iova, pa_of(iova)));
		cond_resched();
	}
}

static void race_to_watch(struct lab *lab, unsigned int id)
{
	if (id)
		watch_all(lab);
	else
		split_all(lab);
}

/* Lookups while a page is split always find the rest of it. */
static void race_watcher(struct kunit *test)
{
	struct lab *lab = test->priv;
	u64 size = largest(lab);
	unsigned int i, round;

	need_two_cpus(test);
	lab->base = 64ULL * SZ_1G;
	for (round = 0; round < TIMES(5); round++) {
		must_map(lab, lab->base, size, STAY_PAGES);
		lab->round = 0;
		race(lab, 2, race_to_watch);
		for (i = 0; i < STAY_PAGES; i++) {
			u64 iova = lab->base + i * size + size / 2;

			model_clear(lab, &lab->before, iova, iova + SZ_4K - 1);
		}
		model_copy(&lab->after, &lab->before);
		lab_check(lab);
		vtd_pt_unmap(lab->pt, lab->base, STAY_PAGES * size);
		lab->before.nr = 0;
	}
}

/*
 * As hardware does it: an atomic update of the entry that was loaded, or the
 * walk starts again. Returns the size of the page.
 */
static u64 hardware_writes(struct lab *lab, u64 iova)
{
	struct spec_walk walk;
	struct view view;
	u64 *entry, old;

	view_open(&view, lab, true);
	do {
		spec_translate(&view.hw, vtd_pt_root(lab->pt), iova, &walk);
		race_is(lab, walk.fault == SPEC_OK);
		if (walk.fault)
			return 0;

		entry = phys_to_virt(walk.entry_addr);
		old = walk.entry;
	} while (!try_cmpxchg64(entry, &old, old | ACCESSED_DIRTY));

	return walk.size;
}

static void clear_dirty(struct lab *lab)
{
	u64 *entry = lab_entry(lab, lab->base);

	lab_poke(lab, entry, *entry & ~ACCESSED_DIRTY);
}

/* Exactly the pages that hardware has written to are dirty. */
static void check_dirty(struct lab *lab, u64 iova, u64 written)
{
	struct spec_walk walk;
	struct view view;
	u64 other = lab->base;

	view_open(&view, lab, true);
	spec_translate(&view.hw, vtd_pt_root(lab->pt), iova, &walk);
	race_is(lab, walk.dirty && walk.accessed);
	spec_translate(&view.hw, vtd_pt_root(lab->pt), other, &walk);
	race_is(lab, walk.dirty == (written == largest(lab)));
}

static void race_to_write(struct lab *lab, unsigned int id)
{
	u64 half = largest(lab) / 2, written;
	unsigned int round;

	for (round = 0; round < lab->rounds; round++) {
		if (id) {
			race_is(lab, map_one(lab, lab->base, largest(lab)));
			clear_dirty(lab);
		}
		meet(lab);
		if (id) {
			jitter(round, round / 64);
			written = hardware_writes(lab, lab->base + half);
		} else {
			race_is(lab, !vtd_pt_split_ends(lab->pt, lab->base + half,
							lab->base + half, GFP_KERNEL));
		}
		meet(lab);
		if (id) {
			check_dirty(lab, lab->base + half, written);
			vtd_pt_unmap(lab->pt, lab->base, largest(lab));
		}
	}
}

/* Hardware sets Accessed and Dirty during a split; none is lost. */
static void race_hardware(struct kunit *test)
{
	struct lab *lab = test->priv;

	need_two_cpus(test);
	lab->base = 9ULL * SZ_1G;
	lab->rounds = TIMES(1000);
	race(lab, 2, race_to_write);
	lab_check(lab);
}

/* Random operations */

static u32 pgtable_below(struct rnd_state *rnd, u32 n)
{
	return prandom_u32_state(rnd) % n;
}

static u64 random_size(struct lab *lab, struct rnd_state *rnd)
{
	u64 size = SZ_4K << (9 * pgtable_below(rnd, 3));

	return lab->param->pgsizes & size ? size : SZ_4K;
}

/* Near an end of a table of some level, or of the aperture; steps of @size. */
static u64 random_iova(struct lab *lab, struct rnd_state *rnd, u64 size)
{
	u64 around = boundary(lab, pgtable_below(rnd, 6));
	u64 iova = around + (pgtable_below(rnd, 8) * size);

	if (!around && pgtable_below(rnd, 2))
		iova = lab_end(lab) - (1 + pgtable_below(rnd, 8)) * size;
	else if (iova >= 4 * size)
		iova -= 4 * size;

	return ALIGN_DOWN(iova, size);
}

static void random_map(struct lab *lab, struct rnd_state *rnd)
{
	u64 size = random_size(lab, rnd), iova = random_iova(lab, rnd, size);
	u64 pa = (u64)pgtable_below(rnd, 1 << 20) * SZ_1G + pgtable_below(rnd, 512) * SZ_2M;
	static const u8 prots[] = { RW, RW, IOMMU_READ, IOMMU_WRITE };

	pa = ALIGN_DOWN(pa, size);
	lab_map(lab, iova, pa, size, 1 + pgtable_below(rnd, pgtable_below(rnd, 8) ? 8 : 600),
		prots[pgtable_below(rnd, ARRAY_SIZE(prots))]);
}

static void random_unmap(struct lab *lab, struct rnd_state *rnd)
{
	u64 size = random_size(lab, rnd), iova = random_iova(lab, rnd, size);
	u64 length = (1 + pgtable_below(rnd, pgtable_below(rnd, 4) ? 8 : 600)) * size;

	if (!pgtable_below(rnd, 3))
		iova += pgtable_below(rnd, 512) * SZ_4K;
	if (!pgtable_below(rnd, 3))
		length = (1 + pgtable_below(rnd, 1024)) * SZ_4K;

	lab_unmap(lab, iova, length);
}

static void random_split(struct lab *lab, struct rnd_state *rnd)
{
	u64 iova = random_iova(lab, rnd, random_size(lab, rnd));

	lab_split(lab, iova + pgtable_below(rnd, 512) * SZ_4K);
}

static void random_step(struct lab *lab, struct rnd_state *rnd)
{
	u32 what = pgtable_below(rnd, 100);

	lab->atomic = !pgtable_below(rnd, 4);
	atomic_set(&lab->fail_in, pgtable_below(rnd, 6) ? -1 : (int)pgtable_below(rnd, 4));

	if (what < 50)
		random_map(lab, rnd);
	else if (what < 85)
		random_unmap(lab, rnd);
	else
		random_split(lab, rnd);

	atomic_set(&lab->fail_in, -1);
}

/* After each random operation, library and model agree. */
static void random_operations(struct kunit *test)
{
	unsigned long long start = seed ?: get_random_u64();
	struct lab *lab = test->priv;
	struct rnd_state rnd;
	unsigned int i;

	kunit_info(test, "%s_kunit.seed=%llu %s_kunit.steps=%u", SUITE_PREFIX, start,
		   SUITE_PREFIX, steps);
	prandom_seed_state(&rnd, start);
	for (i = 0; i < steps; i++) {
		random_step(lab, &rnd);
		/* Make room for other operations. */
		if (lab->before.nr > 200)
			must_unmap(lab, 0, lab_end(lab));
		cond_resched();
	}
}

static struct kunit_case pgtable_test_cases[] = {
	KUNIT_CASE(spec_walk_fields),
	KUNIT_CASE(spec_scan_all),
	KUNIT_CASE(create_invalid),
	KUNIT_CASE_PARAM(create_empty, all_gen_params),
	KUNIT_CASE_PARAM(create_with_aperture, all_gen_params),
	KUNIT_CASE_PARAM(create_without_memory, all_gen_params),
	KUNIT_CASE_PARAM(page_accounting, all_gen_params),
	KUNIT_CASE_PARAM(map_across_tables, all_gen_params),
	KUNIT_CASE_PARAM(map_many, all_gen_params),
	KUNIT_CASE_PARAM(map_protection, all_gen_params),
	KUNIT_CASE_PARAM(map_invalid, all_gen_params),
	KUNIT_CASE_PARAM(map_outside, all_gen_params),
	KUNIT_CASE_PARAM(map_in_use, all_gen_params),
	KUNIT_CASE_PARAM(map_in_use_other_size, large_gen_params),
	KUNIT_CASE_PARAM(unmap_parts, all_gen_params),
	KUNIT_CASE_PARAM(unmap_holes, all_gen_params),
	KUNIT_CASE_PARAM(unmap_invalid, all_gen_params),
	KUNIT_CASE_PARAM(unmap_splits, large_gen_params),
	KUNIT_CASE_PARAM(unmap_splits_only_as_needed, huge_gen_params),
	KUNIT_CASE_PARAM(split_pages, all_gen_params),
	KUNIT_CASE_PARAM(split_prepares_unmap, large_gen_params),
	KUNIT_CASE_PARAM(split_keeps_attributes, large_gen_params),
#if SECOND_LEVEL
	KUNIT_CASE_PARAM(dirty_leaves, all_gen_params),
	KUNIT_CASE_PARAM(dirty_neighbours, all_gen_params),
	KUNIT_CASE_PARAM(dirty_after_a_part, large_gen_params),
	KUNIT_CASE_PARAM(dirty_splits, large_gen_params),
	KUNIT_CASE_PARAM(dirty_without_memory, large_gen_params),
	KUNIT_CASE_PARAM(dirty_during_split, large_gen_params),
	KUNIT_CASE_PARAM(dirty_readers, large_gen_params),
	KUNIT_CASE_PARAM(dirty_by_unit, large_gen_params),
	KUNIT_CASE_PARAM(dirty_by_less_than_a_page, all_gen_params),
	KUNIT_CASE_PARAM(dirty_one_invalidation, large_gen_params),
#endif
	KUNIT_CASE_PARAM(large_over_empty, large_gen_params),
	KUNIT_CASE_PARAM(many_over_empty, large_gen_params),
	KUNIT_CASE_PARAM(huge_over_empty, huge_gen_params),
	KUNIT_CASE_PARAM(alternating_sizes, large_gen_params),
	KUNIT_CASE_PARAM(deposit_and_withdraw, large_gen_params),
	KUNIT_CASE_PARAM(preallocated_tables, all_gen_params),
	KUNIT_CASE_PARAM(regions_over_aperture, all_gen_params),
	KUNIT_CASE_PARAM(memory_limit, all_gen_params),
	KUNIT_CASE_PARAM(split_at_memory_limit, large_gen_params),
	KUNIT_CASE_PARAM(free_empty_tables, all_gen_params),
	KUNIT_CASE_PARAM(counts_one_gib, all_gen_params),
	KUNIT_CASE_PARAM(lookup, all_gen_params),
	KUNIT_CASE_PARAM(lookup_length, all_gen_params),
	KUNIT_CASE_PARAM(path_of_tables, all_gen_params),
	KUNIT_CASE_PARAM(next_leaves, all_gen_params),
	KUNIT_CASE_PARAM(atomic_callers, all_gen_params),
	KUNIT_CASE_PARAM(out_of_memory, all_gen_params),
	KUNIT_CASE_PARAM(sync_map_of_neighbour, sync_gen_params),
	KUNIT_CASE_PARAM(sync_withdrawn_table, sync_large_gen_params),
	KUNIT_CASE_PARAM(sync_entry_before_unmap, sync_large_gen_params),
	KUNIT_CASE_PARAM(invalidate_before_unmap, large_gen_params),
	KUNIT_CASE_PARAM(sync_keeps_dirty, sync_large_gen_params),
	KUNIT_CASE_PARAM(split_leaves_neighbour_alone, sync_huge_gen_params),
	KUNIT_CASE_PARAM(split_shares_table, large_gen_params),
	KUNIT_CASE_PARAM(deposit_after_invalidation, large_gen_params),
	KUNIT_CASE_PARAM(deposit_twice, large_gen_params),
	KUNIT_CASE_PARAM(race_installers, all_gen_params),
	KUNIT_CASE_PARAM(race_neighbours, all_gen_params),
	KUNIT_CASE_PARAM(race_unmap_hole, all_gen_params),
	KUNIT_CASE_PARAM(race_preallocators, all_gen_params),
	KUNIT_CASE_PARAM(race_splitters, large_gen_params),
	KUNIT_CASE_PARAM(race_watcher, large_gen_params),
	KUNIT_CASE_PARAM(race_hardware, large_gen_params),
	KUNIT_CASE_PARAM(random_operations, all_gen_params),
	{}
};

static struct kunit_suite pgtable_test_suite = {
	.name = "intel-iommu-" SUITE_PREFIX,
	.init = pgtable_test_init,
	.exit = pgtable_test_exit,
	.test_cases = pgtable_test_cases,
};

kunit_test_suite(pgtable_test_suite);

MODULE_IMPORT_NS(EXPORTED_FOR_KUNIT_TESTING);
MODULE_DESCRIPTION("KUnit suite of Intel IOMMU page tables");
MODULE_LICENSE("GPL");
