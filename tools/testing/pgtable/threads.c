// SPDX-License-Identifier: GPL-2.0-only
/*
 * pgtable.c under real threads, for ThreadSanitizer. In each round, on a new table:
 *
 * - owners of neighbouring pages map and unmap them: they race to populate the
 *   same slots;
 * - two owners of the halves of a 1 GiB page split it and unmap it at the same
 *   time, again and again, and it must not take more tables each time;
 * - they split another one, which stays mapped: hardware sets its Dirty bit
 *   meanwhile, and a reader always finds it;
 * - at the second level, two read the Dirty bits of a third one, and split it for that,
 *   while hardware sets them: each write is reported, or still to be.
 *
 * No harness lock is taken within a round, as it would order what the library
 * has to order. The state after each round is checked.
 */
#include <pthread.h>
#include <sched.h>
#include <time.h>

#include "model.h"

#define OWNERS		2
#define REGIONS		3
#define PAGES		512
#define SPLIT_BASE	(1ULL << 30)
#define KEPT		(2ULL << 30)	/* split in between, never unmapped */
#define READ		(3ULL << 30)	/* whose Dirty bits are read */
#define PLACES		8		/* where hardware writes there */
#define READERS		2
#define LOOPING		(2 + (SECOND_LEVEL ? READERS + 1 : 0))

static struct model model;
static struct vtd_pt *pt;
static bool coherent;
static unsigned long ops;
static bool stop;

static void sync_entries(void *unused, void *addr, size_t size)
{
	u64 *from = addr;
	size_t i;

	/* Others change other entries of the same line. */
	for (i = 0; i < size / sizeof(*from); i++)
		__atomic_store_n(shim_memory(virt_to_phys(from + i)),
				 __atomic_load_n(from + i, __ATOMIC_RELAXED),
				 __ATOMIC_RELAXED);
}

static void invalidate(void *unused, u64 start, u64 last,
		       enum vtd_pt_change change)
{
	sched_yield();
}

static const struct vtd_pt_ops callbacks = { sync_entries, invalidate };

/* Give the others a chance in between, without ordering anything. */
static void perturb(enum shim_access access)
{
	static _Thread_local unsigned int state;

	if (!state)
		state = (uintptr_t)&state >> 6 | 1;
	state = state * 1103515245 + 12345;
	if ((state >> 16) % 256 == 0)
		sched_yield();
}

static u64 leaf_pa(u64 iova)
{
	return iova + (1ULL << 40);
}

static void map(u64 iova, u64 size)
{
	size_t mapped;

	BUG_ON(vtd_pt_map(pt, iova, leaf_pa(iova), size, 1,
			  IOMMU_READ | IOMMU_WRITE, GFP_KERNEL, &mapped));
	__atomic_fetch_add(&ops, 1, __ATOMIC_RELAXED);
}

static void unmap(u64 iova, u64 size)
{
	BUG_ON(vtd_pt_unmap(pt, iova, size) != size);
	__atomic_fetch_add(&ops, 1, __ATOMIC_RELAXED);
}

static void *owner(void *arg)
{
	long me = (long)arg;
	u64 region;
	int page, pass;

	for (region = 0; region < REGIONS; region++) {
		for (pass = 0; pass < 2; pass++) {
			for (page = me; page < PAGES; page += OWNERS * 16)
				map(region * SZ_2M + page * SZ_4K, SZ_4K);
			for (page = me; page < PAGES; page += OWNERS * 16) {
				u64 iova = region * SZ_2M + page * SZ_4K;

				BUG_ON(vtd_pt_iova_to_phys(pt, iova) != leaf_pa(iova));
				if (pass == 0)
					unmap(iova, SZ_4K);
			}
		}
	}
	return NULL;
}

/* One of two threads that own the halves of both large pages */
static void *splitter(void *arg)
{
	u64 half = SZ_1G / 2, mine = SPLIT_BASE + (long)arg * half;
	u64 kept = KEPT + (long)arg * half + SZ_4K;

	BUG_ON(vtd_pt_split_ends(pt, kept, kept, GFP_KERNEL));
	unmap(mine, SZ_4K);
	unmap(mine + half - SZ_4K, SZ_4K);
	BUG_ON(vtd_pt_iova_to_phys(pt, mine));
	BUG_ON(vtd_pt_iova_to_phys(pt, mine + SZ_4K) != leaf_pa(mine + SZ_4K));
	unmap(mine + SZ_4K, half - 2 * SZ_4K);
	return NULL;
}

static void *reader(void *arg)
{
	u64 path[VTD_PT_MAX_LEVELS + 1], iova;
	unsigned int level;

	do {
		for (iova = KEPT; iova < KEPT + SZ_1G; iova += SZ_1G / 8) {
			level = vtd_pt_path(vtd_pt_root(pt), model.hw.levels, iova,
					    path);
			BUG_ON(!(path[level] & 1));
			BUG_ON(vtd_pt_iova_to_phys(pt, iova + 5) !=
			       leaf_pa(iova + 5));
			BUG_ON(vtd_pt_iova_to_phys(pt, SPLIT_BASE * 8));
			__atomic_fetch_add(&ops, 1, __ATOMIC_RELAXED);
		}
	} while (!__atomic_load_n(&stop, __ATOMIC_RELAXED));
	return NULL;
}

/* Hardware sets Dirty in the entry that it has found, and a reader clears it. */
static void *dirty(void *arg)
{
	struct spec_walk walk;
	u64 *entry, old;

	/* A walk that does not snoop would set it in memory only. */
	if (!coherent)
		return NULL;

	do {
		spec_translate(&model.hw, vtd_pt_root(pt), KEPT, &walk);
		BUG_ON(walk.fault != SPEC_OK);
		entry = phys_to_virt(walk.entry_addr);
		old = walk.entry & ~DIRTY;
		if (__atomic_compare_exchange_n(entry, &walk.entry, old, false,
						__ATOMIC_RELAXED, __ATOMIC_RELAXED))
			__atomic_compare_exchange_n(entry, &old, old | DIRTY, false,
						    __ATOMIC_RELAXED, __ATOMIC_RELAXED);
	} while (!__atomic_load_n(&stop, __ATOMIC_RELAXED));
	return NULL;
}

#if SECOND_LEVEL

/* Reports of each place so far, and how many there were when hardware wrote last */
static unsigned long reports[PLACES], reports_before[PLACES];

static u64 place(unsigned int i)
{
	return READ + i * (SZ_1G / PLACES) + i * SZ_4K;
}

static void record(struct iova_bitmap *unused, unsigned long iova, size_t length)
{
	unsigned int i;

	for (i = 0; i < PLACES; i++) {
		if (iova <= place(i) && place(i) < iova + length)
			__atomic_fetch_add(reports + i, 1, __ATOMIC_RELAXED);
	}
}

static void *read_dirty(void *arg)
{
	struct iova_bitmap bitmap = { .record = record };
	struct iommu_iotlb_gather gather;
	struct iommu_dirty_bitmap dirty;

	do {
		iommu_dirty_bitmap_init(&dirty, &bitmap, &gather);
		vtd_pt_read_and_clear_dirty(pt, READ, READ + SZ_1G - 1, 0, SZ_4K, &dirty);
	} while (!__atomic_load_n(&stop, __ATOMIC_RELAXED));
	return NULL;
}

static void *write_dirty(void *arg)
{
	struct spec_walk walk;
	unsigned int i;
	bool done;

	if (!coherent)
		return NULL;

	do {
		for (i = 0; i < PLACES; i++) {
			__atomic_store_n(reports_before + i,
					 __atomic_load_n(reports + i, __ATOMIC_RELAXED),
					 __ATOMIC_RELAXED);
			do {
				spec_translate(&model.hw, vtd_pt_root(pt), place(i), &walk);
				BUG_ON(walk.fault != SPEC_OK);
				done = __atomic_compare_exchange_n((u64 *)
						phys_to_virt(walk.entry_addr), &walk.entry,
						walk.entry | DIRTY, false,
						__ATOMIC_RELAXED, __ATOMIC_RELAXED);
			} while (!done);
		}
		sched_yield();
	} while (!__atomic_load_n(&stop, __ATOMIC_RELAXED));
	return NULL;
}

/* No thread runs: the last writes are reported, or dirty. Begin anew. */
static void check_reports(void)
{
	struct spec_walk walk;
	unsigned int i;

	for (i = 0; i < PLACES && coherent; i++) {
		spec_translate(&model.hw, vtd_pt_root(pt), place(i), &walk);
		BUG_ON(walk.fault != SPEC_OK || walk.pa != leaf_pa(place(i)));
		if (!walk.dirty && reports[i] == reports_before[i])
			BUG("a write to %llx is lost", place(i));
	}
	unmap(READ, SZ_1G);
	map(READ, SZ_1G);
}

#endif

static bool cpu_read(void *unused, u64 addr, u64 *entry)
{
	*entry = __atomic_load_n((u64 *)phys_to_virt(addr), __ATOMIC_ACQUIRE);
	return true;
}

/* All threads at once; those that loop stop when the others are through. */
static void round_of_threads(void)
{
	pthread_t busy[OWNERS + 2], looping[LOOPING];
	long i;

	stop = false;
#if SECOND_LEVEL
	for (i = 0; i < READERS; i++)
		pthread_create(&looping[2 + i], NULL, read_dirty, NULL);
	pthread_create(&looping[2 + READERS], NULL, write_dirty, NULL);
#endif
	for (i = 0; i < 2; i++)
		pthread_create(&busy[OWNERS + i], NULL, splitter, (void *)i);
	for (i = 0; i < OWNERS; i++)
		pthread_create(&busy[i], NULL, owner, (void *)i);
	pthread_create(&looping[0], NULL, reader, NULL);
	pthread_create(&looping[1], NULL, dirty, NULL);

	for (i = 0; i < OWNERS + 2; i++)
		pthread_join(busy[i], NULL);
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	for (i = 0; i < LOOPING; i++)
		pthread_join(looping[i], NULL);
#if SECOND_LEVEL
	check_reports();
#endif
}

static void note(u64 iova, u64 end, unsigned int level)
{
	const struct extent e = {
		.iova = iova, .end = end, .pa = leaf_pa(iova), .level = level,
		.read = true, .write = true, .accessed = !SECOND_LEVEL,
	};

	model_map(&model, &e);
}

/* What the owners leave, and the split but kept page. */
static void note_all(void)
{
	u64 region, page, half = SZ_1G / 2;
	int i;

	for (region = 0; region < REGIONS; region++) {
		for (page = 0; page < PAGES; page++) {
			u64 iova = region * SZ_2M + page * SZ_4K;

			if (page % (OWNERS * 16) < OWNERS)
				note(iova, iova + SZ_4K, 1);
		}
	}

	note(KEPT, KEPT + SZ_1G, 3);
	for (i = 0; i < 2; i++)
		model_split(&model, KEPT + i * half + SZ_4K);
}

static void one_table(unsigned int nr)
{
	struct vtd_pt_cfg cfg = {
		.ops = &callbacks,
		.levels = MIN_LEVELS + nr % (6 - MIN_LEVELS),
		.pgsize_bitmap = SZ_4K | SZ_2M | SZ_1G,
		.coherent = coherent,
		.nid = NUMA_NO_NODE,
	};
	unsigned int i;

	shim_reset();
	pt = vtd_pt_create(&cfg);
	model_init(&model, pt, false);
	model.hw.read = cpu_read;
	map(KEPT, SZ_1G);
	if (SECOND_LEVEL)
		map(READ, SZ_1G);
	for (i = 0; i < 4; i++) {
		map(SPLIT_BASE, SZ_1G);
		round_of_threads();
		if (i < 3)
			unmap(0, REGIONS * SZ_2M);
	}
	map(SPLIT_BASE, SZ_1G);
	unmap(SPLIT_BASE, SZ_1G);
	if (SECOND_LEVEL)
		unmap(READ, SZ_1G);
	/*
	 * Levels above 2, the regions' tables, what the splits of the kept and the
	 * flipped page take, twice for the latter, as there are two who split it, and so
	 * for each page that is read and split.
	 */
	BUG_ON(shim_pages() > 3 + 1 + REGIONS + 3 + 2 * 5 +
	       (SECOND_LEVEL ? READERS * (1 + READERS * PLACES) : 0));

	model_init(&model, pt, !coherent);
	note_all();
	model_check(&model);
	vtd_pt_destroy(pt);
	shim_rcu_barrier();
	BUG_ON(shim_pages());
}

int main(int argc, char **argv)
{
	time_t until = time(NULL) + (argc > 1 ? atol(argv[1]) : 10);
	unsigned int nr = 0;

	shim_hook = perturb;
	while (time(NULL) < until) {
		coherent = nr / 2 % 2;
		one_table(nr++);
	}
	printf("threads: %u rounds, %lu operations\n", 4 * nr, ops);
	return 0;
}
