/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A simple model of the translations of a table, and checks that compare the
 * model, vtd_pt_spec's walk over memory as hardware finds it, and the library's
 * own counters.
 */
#ifndef _FLPT_MODEL_H
#define _FLPT_MODEL_H

#include "shim.h"
#include "pgtable.h"
#include "pgtable_spec.h"

/* What pgtable.c opens to tests, as pgtable_test.h has it for KUnit */
int vtd_pt_split_ends(struct vtd_pt *pt, u64 iova, u64 end, gfp_t gfp);

#define MODEL_EXTENTS	4096
#define MIN_LEVELS	(SECOND_LEVEL ? 3 : 4)

/* As hardware sets them (sections 9.7 and 9.8) */
#define ACCESSED	(1ULL << (SECOND_LEVEL ? 8 : 5))
#define DIRTY		(1ULL << (SECOND_LEVEL ? 9 : 6))

/* Leaves of one size, side by side, with nothing else between them. */
struct extent {
	u64 iova, end, pa;
	unsigned int level;
	bool read, write, snoop, accessed, dirty;
	u8 memory_type;
	u64 ignored;
	unsigned long map;	/* number of the operation that mapped it */
};

struct model {
	struct vtd_pt *pt;
	struct spec_hw hw;
	bool lazy;		/* memory changes only when it is written back */
	u64 reads[SPEC_LEVELS];	/* of the last walk */
	unsigned int nr_reads;
	unsigned int nr;
	struct extent extents[MODEL_EXTENTS];
};

static inline u64 leaf_size(unsigned int level)
{
	return spec_reach(level);
}

static inline u64 extent_pa(const struct extent *e, u64 iova)
{
	return e->pa + (iova - e->iova);
}

void model_init(struct model *m, struct vtd_pt *pt, bool lazy);
struct extent *model_find(struct model *m, u64 iova);
bool model_overlaps(struct model *m, u64 iova, u64 end);
bool model_must_split(struct model *m, u64 iova);
void model_split(struct model *m, u64 iova);
void model_map(struct model *m, const struct extent *e);
void model_unmap(struct model *m, u64 iova, u64 end);
struct extent *model_isolate(struct model *m, u64 iova);

void memory_sync(void *addr, size_t size);
u64 *hw_entry(struct model *m, u64 addr);
void model_check(struct model *m);

#endif /* _FLPT_MODEL_H */
