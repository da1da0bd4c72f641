// SPDX-License-Identifier: GPL-2.0-only
/*
 * A walker of first- and second-stage tables, written from the VT-d
 * specification for the tests of pgtable.c.
 *
 * Intel Virtualization Technology for Directed I/O, Architecture Specification,
 * revision 4.1: how tables are walked is in section 3.6 "First-Stage
 * Translation" and section 3.7 "Second-Stage Translation", the entries are in
 * section 9.7 "First-Stage Paging Entries" and section 9.8 "Second-Stage Paging
 * Entries". Numbers are written as the tables there have them, to be read side
 * by side.
 */

#include "pgtable_spec.h"

/* Section 9.7: the fields of the five kinds of entries. */
#define BIT_OF(n)	(1ULL << (n))
#define BITS(hi, lo)	((~0ULL >> (63 - (hi))) & (~0ULL << (lo)))

#define PRESENT		BIT_OF(0)
#define READ_WRITE	BIT_OF(1)
#define USER		BIT_OF(2)
#define WRITE_THROUGH	BIT_OF(3)
#define CACHE_DISABLE	BIT_OF(4)
#define ACCESSED	BIT_OF(5)
#define DIRTY		BIT_OF(6)
#define PAGE_SIZE_BIT	BIT_OF(7)	/* FS-PDPE and FS-PDE */
#define NO_EXECUTE	BIT_OF(63)

/* Bits 62:52, 11, 9 and 8 are ignored; 10 where Extended Accessed is off. */
#define IGNORED		(BITS(62, 52) | BITS(11, 8))
/* An entry that refers to a table has no Dirty bit; bit 6 is ignored there. */
#define IGNORED_TABLE	(IGNORED | BIT_OF(6))

/* Section 9.8: the same for the second stage. */
#define SECOND_READ	BIT_OF(0)
#define SECOND_WRITE	BIT_OF(1)
#define SECOND_ACCESSED	BIT_OF(8)
#define SECOND_DIRTY	BIT_OF(9)
#define SNOOP		BIT_OF(11)	/* of an entry that maps a page */

/* Ignored by all revisions. */
#define SECOND_IGNORED	(BIT_OF(63) | BITS(61, 52) | BIT_OF(10))
/*
 * Execute, memory type and transient mapping: revisions differ, so they must
 * not be set.
 */
#define SECOND_UNUSED	(BIT_OF(62) | BITS(6, 2))

struct frame {
	u64 table;
	unsigned int index;
};

/* Accumulated over the entries of one path (section 3.6.1, access rights). */
static void start_walk(struct spec_walk *walk)
{
	*walk = (struct spec_walk) {
		.read = true,
		.write = true,
		.user = true,
		.accessed = true,
	};
}

/**
 * spec_reach() - bytes that one entry of a table translates
 * @level: 1 is the page table
 *
 * Section 3.6: 12 bits of offset, and 9 bits of the address for every table.
 *
 * Return: the number of bytes.
 */
u64 spec_reach(unsigned int level)
{
	static const u8 shift[] = { 0, 12, 21, 30, 39, 48, 57 };

	return 1ULL << shift[level];
}

/**
 * spec_canonical() - what an address would be if it were canonical
 * @hw: the hardware
 * @iova: the address
 *
 * Section 3.6: bits 63:47 with 4 levels, 63:56 with 5, have to be identical.
 * Section 3.7: the second stage translates no more than its depth; the bits
 * above have to be zero.
 *
 * Return: @iova with the bits above replaced by the highest one translated, or
 * zero.
 */
u64 spec_canonical(const struct spec_hw *hw, u64 iova)
{
	unsigned int top = hw->levels == 5 ? 56 : 47;

	if (hw->second)
		return iova & (spec_reach(hw->levels + 1) - 1);

	return iova & BIT_OF(top) ? iova | BITS(63, top) : iova & ~BITS(63, top);
}

static unsigned int index_of(u64 iova, unsigned int level)
{
	return iova / spec_reach(level) % SPEC_ENTRIES;
}

/* Does the present @entry of @level map a page? Table 9.7 "PS". */
static bool maps_page(u64 entry, unsigned int level)
{
	return level == 1 || (level <= 3 && (entry & PAGE_SIZE_BIT));
}

/*
 * The bits that must be zero in the present @entry of @level of the first
 * stage.
 */
static u64 spec_first_reserved(const struct spec_hw *hw, u64 entry, unsigned int level)
{
	u64 mask = hw->haw < 52 ? BITS(51, hw->haw) : 0;

	switch (level) {
	case 5:
	case 4:
		return mask | BIT_OF(7);
	case 3:
		if (!(entry & PAGE_SIZE_BIT))
			return mask;
		return hw->has_1g ? mask | BITS(29, 13) : mask | PAGE_SIZE_BIT;
	case 2:
		return entry & PAGE_SIZE_BIT ? mask | BITS(20, 13) : mask;
	default:
		return mask;
	}
}

/*
 * The same of the second stage. Only what maps a page has Snoop, and only with
 * ECAP.SC.
 */
static u64 spec_second_reserved(const struct spec_hw *hw, u64 entry, unsigned int level)
{
	u64 mask = SECOND_UNUSED | (hw->haw < 52 ? BITS(51, hw->haw) : 0);
	bool page = maps_page(entry, level);

	if (!page || !hw->snoop_control)
		mask |= SNOOP;
	if (level > 3 || (level == 3 && !hw->has_1g))
		mask |= PAGE_SIZE_BIT;
	if (page && level == 3)
		mask |= BITS(29, 12);
	if (page && level == 2)
		mask |= BITS(20, 12);

	return mask;
}

static u64 spec_reserved(const struct spec_hw *hw, u64 entry, unsigned int level)
{
	return hw->second ? spec_second_reserved(hw, entry, level) :
			    spec_first_reserved(hw, entry, level);
}

static bool is_present(const struct spec_hw *hw, u64 entry)
{
	return entry & (hw->second ? SECOND_READ | SECOND_WRITE : PRESENT);
}

/* Section 9.7: bit 12 holds PAT where bit 7 is the page size. */
static u8 memory_type(u64 entry, unsigned int level)
{
	u64 pat = BIT_OF(level == 1 ? 7 : 12);

	return (entry & pat ? 4 : 0) + (entry & CACHE_DISABLE ? 2 : 0) +
	       (entry & WRITE_THROUGH ? 1 : 0);
}

static void map_page(const struct spec_hw *hw, struct spec_walk *walk, u64 iova)
{
	u64 entry = walk->entry;

	walk->size = spec_reach(walk->level);
	walk->page = entry & BITS(51, 12) & ~(walk->size - 1);
	walk->pa = walk->page | (iova & (walk->size - 1));
	if (hw->second) {
		walk->dirty = entry & SECOND_DIRTY;
		walk->snoop = entry & SNOOP;
		return;
	}
	walk->dirty = entry & DIRTY;
	walk->memory_type = memory_type(entry, walk->level);
}

/* Rights add up over the entries of a path, each of which has to grant them. */
static void add_first(struct spec_walk *walk, u64 entry)
{
	walk->write &= !!(entry & READ_WRITE);
	walk->user &= !!(entry & USER);
	walk->no_exec |= !!(entry & NO_EXECUTE);
	walk->accessed &= !!(entry & ACCESSED);
	walk->ignored = entry & (maps_page(entry, walk->level) ? IGNORED : IGNORED_TABLE);
}

static void spec_add_second(struct spec_walk *walk, u64 entry)
{
	walk->read &= !!(entry & SECOND_READ);
	walk->write &= !!(entry & SECOND_WRITE);
	walk->accessed &= !!(entry & SECOND_ACCESSED);
	walk->ignored = entry & SECOND_IGNORED;
	/* The page-size bit has another meaning in a page table. */
	if (walk->level == 1)
		walk->ignored |= entry & PAGE_SIZE_BIT;
}

/*
 * Take one more entry into account. Returns true if it refers to a table, so
 * that the walk continues at @walk->page.
 */
static bool spec_step(const struct spec_hw *hw, struct spec_walk *walk, u64 iova,
		      u64 table, unsigned int level)
{
	u64 entry;

	walk->level = level;
	walk->entry_addr = table + 8 * index_of(iova, level);
	walk->fault = SPEC_NO_ACCESS;
	if (!hw->read(hw->memory, walk->entry_addr, &walk->entry))
		return false;

	entry = walk->entry;
	walk->fault = SPEC_NOT_PRESENT;
	if (!is_present(hw, entry))
		return false;

	walk->fault = SPEC_RESERVED;
	if (entry & spec_reserved(hw, entry, level))
		return false;

	walk->fault = SPEC_OK;
	if (hw->second)
		spec_add_second(walk, entry);
	else
		add_first(walk, entry);
	if (maps_page(entry, level)) {
		map_page(hw, walk, iova);
		return false;
	}

	walk->page = entry & BITS(51, 12);
	return true;
}

/**
 * spec_translate() - translate one address
 * @hw: the hardware
 * @root: physical address of the topmost table (FSPTPTR or SSPTPTR)
 * @iova: the address
 * @walk: what was found
 */
void spec_translate(const struct spec_hw *hw, u64 root, u64 iova,
		    struct spec_walk *walk)
{
	unsigned int level = hw->levels;
	u64 table = root;

	start_walk(walk);
	if (spec_canonical(hw, iova) != iova) {
		walk->fault = SPEC_NOT_CANONICAL;
		return;
	}

	while (spec_step(hw, walk, iova, table, level)) {
		table = walk->page;
		level--;
	}
}

/**
 * spec_slot() - find the entry of one level for an address
 * @hw: the hardware
 * @root: physical address of the topmost table
 * @iova: the address
 * @level: the level
 * @addr: physical address of the entry
 *
 * Return: false if the walk ends before that level.
 */
bool spec_slot(const struct spec_hw *hw, u64 root, u64 iova,
	       unsigned int level, u64 *addr)
{
	struct spec_walk walk;
	u64 table = root;
	unsigned int l;

	start_walk(&walk);
	for (l = hw->levels; l > level; l--) {
		if (!spec_step(hw, &walk, iova, table, l))
			return false;
		table = walk.page;
	}

	*addr = table + 8 * index_of(iova, level);
	return true;
}

/* Most entries are empty, and are not reported: skip them fast. */
static bool spec_is_empty(const struct spec_hw *hw, u64 table, unsigned int index)
{
	u64 entry;

	return hw->read(hw->memory, table + 8 * index, &entry) &&
	       !is_present(hw, entry);
}

static void spec_visit(struct spec_visitor *v, u64 iova, const struct spec_walk *walk)
{
	if (walk->fault == SPEC_OK)
		v->leaf(v, iova, walk);
	else if (walk->fault != SPEC_NOT_PRESENT)
		v->illegal(v, iova, walk);
}

/**
 * spec_scan() - visit every entry that hardware can reach
 * @hw: the hardware
 * @root: physical address of the topmost table
 * @v: called for tables, pages and illegal entries, in the order of addresses
 */
void spec_scan(const struct spec_hw *hw, u64 root, struct spec_visitor *v)
{
	/* One table and one set of accumulated rights for every level. */
	struct frame frames[SPEC_LEVELS + 1] = {};
	struct spec_walk above[SPEC_LEVELS + 2], walk;
	unsigned int level = hw->levels;
	u64 iova = 0;

	start_walk(&above[level + 1]);
	frames[level].table = root;
	v->table(v, root, level, 0);

	for (;;) {
		struct frame *frame = &frames[level];

		if (frame->index == SPEC_ENTRIES) {
			if (level == hw->levels)
				return;
			level++;
			continue;
		}

		frame->index++;
		if (spec_is_empty(hw, frame->table, frame->index - 1)) {
			iova += spec_reach(level);
			continue;
		}

		walk = above[level + 1];
		if (spec_step(hw, &walk, iova, frame->table, level)) {
			above[level] = walk;
			level--;
			frames[level] = (struct frame) { .table = walk.page };
			v->table(v, walk.page, level, spec_canonical(hw, iova));
			continue;
		}

		spec_visit(v, spec_canonical(hw, iova), &walk);
		iova += spec_reach(level);
	}
}
