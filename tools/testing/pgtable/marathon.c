// SPDX-License-Identifier: GPL-2.0-only
/*
 * pgtable.c by two real threads at full speed, for very many operations. What the
 * interpreter interleaves at chosen places meets here as the CPUs have it.
 *
 * The space is cut into stripes that belong to the threads in turn. In each round, on a
 * new table, large pages are mapped across all stripes (or nothing, or small pages). Then
 * both threads unmap, map and look up pieces of their own stripes without waiting for
 * each other, so that they split the same large pages and populate the same slots. Each
 * knows what its own pages translate to, and asks the library and the walker that is
 * written from the specification, which reads memory as hardware finds it. The other
 * thread's operations must not change the answer. When a round is over, every page is
 * looked at.
 */
#include <pthread.h>
#include <time.h>

#include "model.h"

#define THREADS		2
#define SPACE		(2ULL << 30)
#define PAGES		(SPACE / SZ_4K)
#define OPS_A_ROUND	400000UL
#define BASE		(4ULL << 30)
#define VARIANTS	4

struct thread {
	unsigned int me;
	u64 random;
	unsigned long ops;
};

static struct vtd_pt *pt;
static struct spec_hw hw;
static unsigned int stripe;		/* in 4 KiB pages, a power of two */
static u8 state[PAGES];			/* 0 is unmapped, else a variant + 1 */
static pthread_barrier_t barrier;

static void sync_entries(void *unused, void *addr, size_t size)
{
	u64 *from = addr;
	size_t i;

	for (i = 0; i < size / sizeof(*from); i++)
		__atomic_store_n(shim_memory(virt_to_phys(from + i)),
				 __atomic_load_n(from + i, __ATOMIC_RELAXED),
				 __ATOMIC_RELEASE);
}

static void invalidate(void *unused, u64 start, u64 last, enum vtd_pt_change change)
{
}

static const struct vtd_pt_ops callbacks = { sync_entries, invalidate };

/* An incoherent walk finds what was written back, a coherent one what CPUs wrote. */
static bool read_entry(void *coherent, u64 addr, u64 *entry)
{
	const u64 *from = coherent ? phys_to_virt(addr) : shim_memory(addr);

	if (!from)
		return false;
	*entry = __atomic_load_n(from, __ATOMIC_ACQUIRE);
	return true;
}

static u64 random64(struct thread *t)
{
	t->random ^= t->random << 13;
	t->random ^= t->random >> 7;
	t->random ^= t->random << 17;
	return t->random;
}

static u64 iova_of(u64 page)
{
	return BASE + page * SZ_4K;
}

static u64 pa_of(u64 page, unsigned int variant)
{
	return iova_of(page) + ((u64)variant << 36);
}

static void check_page(u64 page, bool walk)
{
	u64 want = state[page] ? pa_of(page, state[page]) : 0;
	u64 offset = page % SZ_4K & ~7ULL, found;
	struct spec_walk w;

	if (want)
		want += offset;
	found = vtd_pt_iova_to_phys(pt, iova_of(page) + offset);
	if (found != want)
		BUG("%llx is %llx, not %llx", iova_of(page), found, want);
	if (!walk)
		return;
	spec_translate(&hw, vtd_pt_root(pt), iova_of(page) + offset, &w);
	if (w.fault != (want ? SPEC_OK : SPEC_NOT_PRESENT) || (want && w.pa != want))
		BUG("hardware finds %llx (fault %u) at %llx, not %llx", w.pa, w.fault,
		    iova_of(page), want);
}

static void map_pages(u64 page, u64 size, u64 count, unsigned int variant)
{
	size_t mapped;

	BUG_ON(vtd_pt_map(pt, iova_of(page), pa_of(page, variant), size, count,
			  IOMMU_READ | IOMMU_WRITE, GFP_KERNEL, &mapped));
	BUG_ON(mapped != size * count);
	memset(state + page, variant, size / SZ_4K * count);
}

static void unmap_pages(u64 page, u64 n)
{
	BUG_ON(vtd_pt_unmap(pt, iova_of(page), n * SZ_4K) != n * SZ_4K);
	memset(state + page, 0, n);
}

/* A large page, of @size, that contains @page, instead of what is there */
static void map_large(u64 page, u64 size, unsigned int variant)
{
	page = ALIGN_DOWN(page, size / SZ_4K);
	unmap_pages(page, size / SZ_4K);
	map_pages(page, size, 1, variant);
}

/* The first page of a random stripe of this thread's */
static u64 own_stripe(struct thread *t)
{
	u64 pair = random64(t) % (PAGES / stripe / THREADS);

	return (pair * THREADS + t->me) * stripe;
}

/* How many pages from @page on, at most @max, are in one state? */
static u64 same_state(u64 page, u64 max)
{
	u64 n = 1;

	while (n < max && state[page + n] == state[page])
		n++;
	return n;
}

/* Where nothing is mapped map, else unmap, look up, or both. */
static void operate(struct thread *t)
{
	u64 r = random64(t), first = own_stripe(t), page = first + r % stripe;
	u64 n = min(first + stripe - page, 1 + (r >> 32) % 16);
	unsigned int variant = 1 + (r >> 40) % VARIANTS;

	check_page(page, (r >> 48) % 8 == 0);
	if (state[page]) {
		if ((r >> 52) % 4)
			return;
		/* sometimes all of the stripe, holes included */
		if ((r >> 56) % 32 == 0)
			unmap_pages(first, stripe);
		else
			unmap_pages(page, n);
	} else if (stripe >= SZ_1G / SZ_4K && (r >> 48) % 4096 == 0) {
		map_large(page, SZ_1G, variant);
	} else if (stripe >= 512 && (r >> 56) % 64 == 0) {
		map_large(page, SZ_2M, variant);
	} else {
		map_pages(page, SZ_4K, same_state(page, n), variant);
	}
	check_page(page, (r >> 60) % 4 == 0);
}

static void *run(void *arg)
{
	struct thread *t = arg;
	unsigned long i;

	pthread_barrier_wait(&barrier);
	for (i = 0; i < OPS_A_ROUND; i++)
		operate(t);
	t->ops += i;
	return NULL;
}

/* What all stripes begin as */
static void map_all(struct thread *t)
{
	static const u64 sizes[] = { SZ_1G, SZ_2M, SZ_2M, SZ_4K };
	u64 size = sizes[random64(t) % ARRAY_SIZE(sizes)];

	memset(state, 0, sizeof(state));
	if (random64(t) % 8)
		map_pages(0, size, SPACE / size, 1 + random64(t) % VARIANTS);
}

static void one_round(struct thread *threads, unsigned long nr)
{
	struct thread *first = threads;
	const bool coherent = nr % 4;
	const struct vtd_pt_cfg cfg = {
		.ops = &callbacks,
		.levels = MIN_LEVELS + random64(first) % (6 - MIN_LEVELS),
		.pgsize_bitmap = SZ_4K | SZ_2M | SZ_1G,
		.coherent = coherent,
		.nid = NUMA_NO_NODE,
	};
	pthread_t id[THREADS];
	unsigned int i;
	u64 page;

	shim_reset();
	pt = vtd_pt_create(&cfg);
	hw = (struct spec_hw) {
		.second = SECOND_LEVEL, .levels = cfg.levels, .haw = 46, .has_1g = true,
		.read = read_entry, .memory = coherent ? &hw : NULL,
	};
	/* up to 32 MiB, or 1 GiB */
	stripe = 1U << random64(first) % 15;
	if (stripe == 1U << 14)
		stripe = SZ_1G / SZ_4K;
	map_all(first);
	for (i = 0; i < THREADS; i++)
		BUG_ON(pthread_create(&id[i], NULL, run, &threads[i]));
	for (i = 0; i < THREADS; i++)
		pthread_join(id[i], NULL);
	for (page = 0; page < PAGES; page++)
		check_page(page, true);

	vtd_pt_unmap(pt, BASE, SPACE);
	BUG_ON(vtd_pt_free_empty_tables(pt));
	shim_rcu_barrier();
	BUG_ON(shim_pages() != 1);
	vtd_pt_destroy(pt);
	shim_rcu_barrier();
	BUG_ON(shim_pages());
}

int main(int argc, char **argv)
{
	unsigned long want = argc > 1 ? strtoul(argv[1], NULL, 10) : 10000000;
	u64 seed = strtoull(getenv("SEED") ?: "1", NULL, 10);
	struct thread threads[THREADS];
	unsigned long rounds = 0, ops = 0;
	time_t start = time(NULL);
	unsigned int i;

	for (i = 0; i < THREADS; i++)
		threads[i] = (struct thread) { .me = i, .random = (seed << 8 | i) + 1 };
	pthread_barrier_init(&barrier, NULL, THREADS);
	while (ops < want) {
		one_round(threads, rounds++);
		for (ops = 0, i = 0; i < THREADS; i++)
			ops += threads[i].ops;
	}
	printf("marathon: %lu rounds, %lu operations, %ld s, seed %llu\n", rounds, ops,
	       (long)(time(NULL) - start), seed);
	return 0;
}
