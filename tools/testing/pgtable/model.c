// SPDX-License-Identifier: GPL-2.0-only
/* See model.h. */

#include "model.h"

/* The bits that only CPUs look at; the format's header must not be used here. */
#define KNOWN_IN_MEMORY	(1ULL << 52)

/* The model */

struct extent *model_find(struct model *m, u64 iova)
{
	unsigned int i;

	for (i = 0; i < m->nr; i++) {
		if (m->extents[i].iova <= iova && iova < m->extents[i].end)
			return m->extents + i;
	}

	return NULL;
}

bool model_overlaps(struct model *m, u64 iova, u64 end)
{
	unsigned int i;

	for (i = 0; i < m->nr; i++) {
		if (m->extents[i].iova < end && iova < m->extents[i].end)
			return true;
	}

	return false;
}

static struct extent *insert(struct model *m, unsigned int at)
{
	BUG_ON(m->nr == MODEL_EXTENTS);
	memmove(m->extents + at + 1, m->extents + at,
		(m->nr++ - at) * sizeof(*m->extents));
	return m->extents + at;
}

void model_map(struct model *m, const struct extent *e)
{
	unsigned int at = 0;

	while (at < m->nr && m->extents[at].iova < e->iova)
		at++;
	*insert(m, at) = *e;
}

/* Let an extent begin at @iova, where a leaf begins, if one reaches across. */
static void divide(struct model *m, u64 iova)
{
	struct extent *e = model_find(m, iova);

	if (!e || e->iova == iova)
		return;

	e = insert(m, e - m->extents);
	e[1].pa = extent_pa(e, iova);
	e[1].iova = iova;
	e->end = iova;
}

bool model_must_split(struct model *m, u64 iova)
{
	struct extent *e = model_find(m, iova);

	return e && iova % leaf_size(e->level);
}

/* The leaf that @iova is in as an extent of its own. */
struct extent *model_isolate(struct model *m, u64 iova)
{
	struct extent *e = model_find(m, iova);
	u64 size = leaf_size(e->level);

	divide(m, iova / size * size);
	divide(m, iova / size * size + size);
	return model_find(m, iova);
}

void model_split(struct model *m, u64 iova)
{
	while (model_must_split(m, iova))
		model_isolate(m, iova)->level--;
}

void model_unmap(struct model *m, u64 iova, u64 end)
{
	unsigned int from, to;

	model_split(m, iova);
	model_split(m, end);
	divide(m, iova);
	divide(m, end);
	for (from = 0; from < m->nr && m->extents[from].iova < iova; from++)
		;
	for (to = from; to < m->nr && m->extents[to].iova < end; to++)
		;
	memmove(m->extents + from, m->extents + to,
		(m->nr - to) * sizeof(*m->extents));
	m->nr -= to - from;
}

/* Memory as hardware finds it */

void memory_sync(void *addr, size_t size)
{
	BUG_ON(!size || offset_in_page(addr) + size > PAGE_SIZE);
	memcpy(shim_memory(virt_to_phys(addr)), addr, size);
}

u64 *hw_entry(struct model *m, u64 addr)
{
	u64 *entry = shim_memory(addr);

	return entry && !m->lazy ? phys_to_virt(addr) : entry;
}

static bool hw_read(void *memory, u64 addr, u64 *entry)
{
	struct model *m = memory;
	u64 *p = hw_entry(m, addr);

	m->reads[m->nr_reads++ % SPEC_LEVELS] = addr;
	if (p)
		*entry = *p;
	return p;
}

void model_init(struct model *m, struct vtd_pt *pt, bool lazy)
{
	const struct vtd_pt_cfg *cfg = vtd_pt_config(pt);

	m->pt = pt;
	m->lazy = lazy;
	m->nr = 0;
	m->hw = (struct spec_hw) {
		.second = SECOND_LEVEL,
		.snoop_control = true,
		.levels = cfg->levels,
		.haw = 52,
		.has_1g = cfg->pgsize_bitmap & SZ_1G,
		.read = hw_read,
		.memory = m,
	};
}

/* Compare the table with the model */

struct tally {
	struct spec_visitor visitor;
	struct model *model;
	unsigned int round, extent;
	u64 next;		/* where in the extent the next leaf must be */
	unsigned long tables[VTD_PT_MAX_LEVELS + 1];
	unsigned long leaves[VTD_PT_MAX_LEVELS + 1];
};

static void see_table(struct spec_visitor *v, u64 addr, unsigned int level,
		      u64 iova)
{
	struct tally *t = container_of(v, struct tally, visitor);
	bool coherent = vtd_pt_config(t->model->pt)->coherent;
	u64 *table = phys_to_virt(addr);
	struct page *page = virt_to_page(table);
	unsigned int i;

	t->tables[level]++;
	if (page->reached == t->round)
		BUG("table %llx is reached a second time, at %llx", addr, iova);
	page->reached = t->round;
	BUG_ON((page->gfp & vtd_pt_config(t->model->pt)->gfp) !=
	       vtd_pt_config(t->model->pt)->gfp);

	for (i = 0; i < SPEC_ENTRIES; i++) {
		bool directory = level > 3 || (level > 1 && !(table[i] & 0x80));
		bool present = table[i] & (SECOND_LEVEL ? 3 : 1);

		if (table[i] && !present)
			BUG("entry %u of level %u at %llx: neither present nor zero: %llx",
			    i, level, iova, table[i]);
		if (present && directory && !(table[i] & KNOWN_IN_MEMORY))
			BUG("entry %u of level %u at %llx is not synced",
			    i, level, iova);
		if (!coherent && ((table[i] ^ *shim_memory(addr + i * 8)) &
				  ~KNOWN_IN_MEMORY))
			BUG("entry %u of level %u at %llx is not written back",
			    i, level, iova);
	}
}

static void see_leaf(struct spec_visitor *v, u64 iova,
		     const struct spec_walk *walk)
{
	struct tally *t = container_of(v, struct tally, visitor);
	struct extent *e = t->model->extents + t->extent;

	if (t->extent == t->model->nr)
		BUG("leaf at %llx that should not be there", iova);
	if (!t->next)
		t->next = e->iova;
	if (iova != t->next || walk->level != e->level)
		BUG("level %u leaf at %llx, expected level %u at %llx",
		    walk->level, iova, e->level, t->next);
	if (walk->page != extent_pa(e, iova))
		BUG("%llx translates to %llx instead of %llx", iova, walk->page,
		    extent_pa(e, iova));
	if (walk->read != e->read || walk->write != e->write || !walk->user ||
	    walk->no_exec || walk->snoop != e->snoop ||
	    walk->memory_type != e->memory_type || walk->ignored != e->ignored ||
	    (e->accessed && !walk->accessed) || (e->dirty && !walk->dirty))
		BUG("attributes of the leaf at %llx: %llx", iova, walk->entry);

	t->leaves[walk->level]++;
	t->next += walk->size;
	if (t->next == e->end) {
		t->next = 0;
		t->extent++;
	}
}

static void see_illegal(struct spec_visitor *v, u64 iova,
			const struct spec_walk *walk)
{
	BUG("level %u entry %llx for %llx is illegal: %d", walk->level,
	    walk->entry, iova, walk->fault);
}

/* Compare table, counters and model, while nothing changes. */
void model_check(struct model *m)
{
	static unsigned int round;
	struct tally t = {
		.visitor = { see_table, see_leaf, see_illegal },
		.model = m,
		.round = ++round,
	};
	unsigned long deposited = 0, all = 0;
	struct vtd_pt_stats stats;
	unsigned int level;
	u64 iova = 0;

	spec_scan(&m->hw, vtd_pt_root(m->pt), &t.visitor);
	if (t.extent < m->nr)
		BUG("nothing at %llx", t.next ?: m->extents[t.extent].iova);

	vtd_pt_count_tables(m->pt, &stats);
	while (vtd_pt_count_leaves(m->pt, &iova, &stats))
		;
	for (level = 1; level <= VTD_PT_MAX_LEVELS; level++) {
		BUG_ON(stats.tables[level] < t.tables[level]);
		BUG_ON(stats.leaves[level] != t.leaves[level]);
		deposited += stats.tables[level] - t.tables[level];
		all += stats.tables[level];
	}
	/* Below a deposited table there may be deposited tables, which count, too. */
	BUG_ON(stats.deposited != deposited);
	if (all != shim_pages())
		BUG("%lu tables, but %lu pages", all, shim_pages());
}
