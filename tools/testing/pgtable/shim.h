/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The parts of the kernel that pgtable.c needs, in user space. The Makefile replaces each
 * <linux/...> header that the library includes by a line that includes this file.
 * kunit_shim.h has the additional parts for its KUnit suite.
 *
 * Pages come from one arena, are handed out once and are not used again before
 * shim_reset(), so that a use after free is always detected. Physical addresses
 * differ from virtual ones, and hardware's view of the arena (shim_memory) from
 * that of the CPU.
 *
 * Atomics are those of C11 with the kernel's ordering, for ThreadSanitizer to
 * understand. READ_ONCE() is consume, since the kernel lets an address
 * dependency begin there. All of them first call shim_hook, where another CPU may
 * run.
 */
#ifndef _FLPT_SHIM_H
#define _FLPT_SHIM_H

#include <limits.h>
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef u64 phys_addr_t;
typedef unsigned int gfp_t;

#define CONFIG_64BIT		1
#define __ARG_PLACEHOLDER_1	0,
#define __second(a, b, ...)	b
#define __is_defined2(junk)	__second(junk 1, 0, 0)
#define __is_defined1(val)	__is_defined2(__ARG_PLACEHOLDER_##val)
#define IS_ENABLED(option)	__is_defined1(option)

#define likely(x)		__builtin_expect(!!(x), 1)
#define unlikely(x)		__builtin_expect(!!(x), 0)
#define container_of(ptr, type, member) \
	((type *)((char *)(ptr) - offsetof(type, member)))
#define ARRAY_SIZE(array)	(sizeof(array) / sizeof((array)[0]))
#define min_t(type, a, b)	((type)(a) < (type)(b) ? (type)(a) : (type)(b))
#define max(a, b)	((a) > (b) ? (a) : (b))
#define min(a, b)		min_t(__typeof__(a), a, b)

#define U64_MAX			(~0ULL)
#define BIT(n)			(1UL << (n))
#define BIT_ULL(n)		(1ULL << (n))
#define GENMASK(high, low)	((~0UL >> (63 - (high))) & (~0UL << (low)))
#define GENMASK_ULL(high, low)	((~0ULL >> (63 - (high))) & (~0ULL << (low)))
#define ALIGN(x, a)		(((x) + (a) - 1) & ~((a) - 1))
#define ALIGN_DOWN(x, a)	((x) & ~((__typeof__(x))(a) - 1))
#define IS_ALIGNED(x, a)	(((x) & ((__typeof__(x))(a) - 1)) == 0)

#define SZ_4K			0x1000
#define SZ_2M			0x200000
#define SZ_1G			0x40000000
#define PAGE_SIZE		4096UL
#define PAGE_MASK		(~(PAGE_SIZE - 1))
#define offset_in_page(p)	((uintptr_t)(p) & ~PAGE_MASK)
#define NUMA_NO_NODE		(-1)

/* Bitmaps of the length of a table */
#define DECLARE_BITMAP(name, bits)	unsigned long name[(bits) / 64]
#define __set_bit(bit, map)	((void)((map)[(bit) / 64] |= BIT((bit) % 64)))
#define test_bit(bit, map)	((map)[(bit) / 64] >> (bit) % 64 & 1)

static inline unsigned int find_next_bit(const unsigned long *map, unsigned int bits,
					 unsigned int from)
{
	while (from < bits && !test_bit(from, map))
		from++;
	return from;
}

static inline unsigned int find_last_bit(const unsigned long *map, unsigned int bits)
{
	unsigned int last = bits;

	while (last && !test_bit(last - 1, map))
		last--;
	return last ? last - 1 : bits;
}

#define find_first_bit(map, bits)	find_next_bit(map, bits, 0)
#define for_each_set_bit(bit, map, bits)					\
	for ((bit) = find_first_bit(map, bits); (bit) < (bits);			\
	     (bit) = find_next_bit(map, bits, (bit) + 1))

#define IOMMU_READ		1
#define IOMMU_WRITE		2
#define IOMMU_CACHE		4

/* Dirty tracking: a gather is always given; a bitmap is where to hand the report. */
#define IOMMU_DIRTY_NO_CLEAR	1

struct iommu_iotlb_gather {
	unsigned long start, end;
};

struct iova_bitmap {
	void (*record)(struct iova_bitmap *bitmap, unsigned long iova, size_t length);
};

struct iommu_dirty_bitmap {
	struct iova_bitmap *bitmap;
	struct iommu_iotlb_gather *gather;
};

static inline void iommu_dirty_bitmap_init(struct iommu_dirty_bitmap *dirty,
					   struct iova_bitmap *bitmap,
					   struct iommu_iotlb_gather *gather)
{
	*gather = (struct iommu_iotlb_gather) { .start = ~0UL };
	dirty->bitmap = bitmap;
	dirty->gather = gather;
}

static inline void iommu_iotlb_gather_add_range(struct iommu_iotlb_gather *gather,
						unsigned long iova, size_t size)
{
	gather->start = min(gather->start, iova);
	if (gather->end < iova + size - 1)
		gather->end = iova + size - 1;
}

static inline void iommu_dirty_bitmap_record(struct iommu_dirty_bitmap *dirty,
					     unsigned long iova, unsigned long length)
{
	if (dirty->bitmap)
		dirty->bitmap->record(dirty->bitmap, iova, length);
	iommu_iotlb_gather_add_range(dirty->gather, iova, length);
}

#define __GFP_DIRECT_RECLAIM	1u
#define __GFP_ACCOUNT		2u
#define __GFP_NOWARN		4u
#define GFP_ATOMIC		8u
#define GFP_NOWAIT		16u
#define __GFP_ZERO		32u
#define __GFP_DMA		64u
#define __GFP_NORETRY		128u
#define GFP_KERNEL		__GFP_DIRECT_RECLAIM

#define MAX_ERRNO		4095
#define ERR_PTR(error)		((void *)(long)(error))
#define PTR_ERR(ptr)		((long)(ptr))
#define IS_ERR(ptr)		((uintptr_t)(ptr) >= (uintptr_t)-MAX_ERRNO)

#define static_assert(condition)	_Static_assert(condition, #condition)
#define noinline		__attribute__((noinline))
#define fallthrough		__attribute__((fallthrough))
#define ____cacheline_aligned_in_smp	__attribute__((aligned(64)))
#define swap(a, b) do {							\
	__typeof__(a) swapped = (a);					\
	(a) = (b);							\
	(b) = swapped;							\
} while (0)

/* A check that failed: say so and abort, which is what fuzzers look for. */
#define BUG(...) do {							\
	fprintf(stderr, "%s:%d: ", __FILE__, __LINE__);			\
	fprintf(stderr, __VA_ARGS__);					\
	fputc('\n', stderr);						\
	abort();							\
} while (0)
#define BUG_ON(condition) do {						\
	if (unlikely(condition))					\
		BUG("%s", #condition);					\
} while (0)
#define WARN_ON(condition)	({ BUG_ON(condition); false; })

/* Memory order */

/* An atomic operation loads and, as it may, stores. */
enum shim_access { SHIM_LOAD, SHIM_STORE, SHIM_ATOMIC };

extern void (*shim_hook)(enum shim_access access);

static inline void shim_step(enum shim_access access)
{
	if (unlikely(shim_hook))
		shim_hook(access);
}

#ifdef WEAK
u64 weak_load(void *addr, unsigned int size);
void weak_store(void *addr, unsigned int size, u64 val);
bool weak_cmpxchg(void *addr, unsigned int size, u64 *old, u64 new, bool full);
void weak_wmb(void);

#define weak_value(type, val)	((type)(uintptr_t)(val))
#define READ_ONCE(x)							\
	(shim_step(SHIM_LOAD),						\
	 weak_value(__typeof__(x), weak_load((void *)&(x), sizeof(x))))
#define WRITE_ONCE(x, val)						\
	(shim_step(SHIM_STORE),						\
	 weak_store(&(x), sizeof(x), (uintptr_t)(val)))
#define weak_try_cmpxchg(ptr, oldp, new, full) ({			\
	u64 was = (uintptr_t)*(oldp);					\
	bool done;							\
									\
	shim_step(SHIM_ATOMIC);						\
	done = weak_cmpxchg(ptr, sizeof(*(ptr)), &was, (uintptr_t)(new), full); \
	if (!done)							\
		*(oldp) = weak_value(__typeof__(*(oldp)), was);		\
	done;								\
})
#define try_cmpxchg(ptr, oldp, new)	weak_try_cmpxchg(ptr, oldp, new, true)
#define try_cmpxchg64_relaxed(ptr, oldp, new) \
	weak_try_cmpxchg(ptr, oldp, new, false)
#define smp_wmb()			weak_wmb()
/* A barrier in front of the store is no less than a release, and all that stores need. */
#define smp_store_release(ptr, val)	(weak_wmb(), WRITE_ONCE(*(ptr), val))
#else
#define READ_ONCE(x)							\
	(shim_step(SHIM_LOAD), __atomic_load_n(&(x), __ATOMIC_CONSUME))
#define WRITE_ONCE(x, val)						\
	(shim_step(SHIM_STORE), __atomic_store_n(&(x), val, __ATOMIC_RELAXED))
#define try_cmpxchg(ptr, old, new)					\
	(shim_step(SHIM_ATOMIC),						\
	 __atomic_compare_exchange_n(ptr, old, new, false, __ATOMIC_SEQ_CST,	\
				     __ATOMIC_CONSUME))
/*
 * ThreadSanitizer does not know of fences, so this stands for smp_wmb() before it, too,
 * and for the address dependency behind it. weak.c sees whether the barrier is there.
 */
#define try_cmpxchg64_relaxed(ptr, old, new)				\
	(shim_step(SHIM_ATOMIC),						\
	 __atomic_compare_exchange_n(ptr, old, new, false, __ATOMIC_ACQ_REL,	\
				     __ATOMIC_CONSUME))
#define smp_wmb()			__atomic_thread_fence(__ATOMIC_RELEASE)
#define smp_store_release(ptr, val)					\
	(shim_step(SHIM_STORE), __atomic_store_n(ptr, val, __ATOMIC_RELEASE))
#endif
#define try_cmpxchg64(ptr, old, new)	try_cmpxchg(ptr, old, new)

static inline u64 cmpxchg64(u64 *ptr, u64 old, u64 new)
{
	try_cmpxchg64(ptr, &old, new);
	return old;
}

typedef struct { long counter; } atomic_long_t;

#define pr_warn_once(...)	do { } while (0)

static inline bool atomic_long_add_unless(atomic_long_t *v, long n, long unless)
{
	long old = __atomic_load_n(&v->counter, __ATOMIC_RELAXED);

	while (old != unless) {
		if (__atomic_compare_exchange_n(&v->counter, &old, old + n, false,
						__ATOMIC_SEQ_CST, __ATOMIC_RELAXED))
			return true;
	}
	return false;
}

#define atomic_long_inc_return(v) \
	(__atomic_fetch_add(&(v)->counter, 1, __ATOMIC_RELAXED) + 1)
#define atomic_long_inc(v)	((void)atomic_long_inc_return(v))
#define atomic_long_dec(v) \
	((void)__atomic_fetch_sub(&(v)->counter, 1, __ATOMIC_RELAXED))
#define atomic_long_read(v) \
	__atomic_load_n(&(v)->counter, __ATOMIC_RELAXED)
#define atomic_long_set(v, n) \
	__atomic_store_n(&(v)->counter, n, __ATOMIC_RELAXED)

/* Memory */

enum shim_state { SHIM_UNUSED, SHIM_LIVE, SHIM_FREED };

struct rcu_head {
	struct rcu_head *next;
	void (*func)(struct rcu_head *head);
};

/* The fields that the library lays its own over, in the kernel's order. */
struct page {
	unsigned long flags;
	struct rcu_head rcu_head;
	unsigned long mapping;
	unsigned long index;
	unsigned long private;
	int _mapcount;
	unsigned int refs;
	enum shim_state state;
	gfp_t gfp;
	unsigned int reached;	/* by model_check(): number of the last scan that reached it */
};

/* Bit 0 says whether the next allocation of this thread fails, and so on. */
extern _Thread_local u64 shim_fail;
extern _Thread_local unsigned long shim_failed;
/* Limit for the number of allocated pages */
extern unsigned long shim_max_pages;
/* This thread must not sleep. */
extern _Thread_local bool shim_atomic;
/* Pages that are accounted as page tables. */
extern atomic_long_t shim_accounted;
/* Number of calls of cond_resched() */
extern atomic_long_t shim_rescheds;

void shim_reset(void);
unsigned long shim_pages(void);
unsigned long shim_reclaim(void);
void shim_rcu_barrier(void);
u64 *shim_memory(u64 addr);
long shim_page_of_value(u64 val);

struct page *virt_to_page(const void *addr);
phys_addr_t virt_to_phys(const void *addr);
void *phys_to_virt(phys_addr_t addr);

struct page *alloc_pages_node(int nid, gfp_t gfp, unsigned int order);
void *page_address(const struct page *page);
void put_page(struct page *page);
void __iommu_alloc_account(struct page *page, int order);
void __iommu_free_pages(struct page *page, int order);
void *kzalloc(size_t size, gfp_t gfp);
void call_rcu(struct rcu_head *head, void (*func)(struct rcu_head *head));

/* Callbacks run when shim_rcu_barrier() is called. */
#define guard(name)			shim_guard_##name
#define shim_guard_rcu()		do { } while (0)

#define iommu_free_page(addr)		__iommu_free_pages(virt_to_page(addr), 0)
#define kfree(ptr)			free(ptr)

#if IS_ENABLED(CONFIG_KUNIT)
#include "kunit_shim.h"
#else
#define VISIBLE_IF_KUNIT		/* model.h has the prototypes */
#define EXPORT_SYMBOL_IF_KUNIT(symbol)
#define KUNIT_STATIC_STUB_REDIRECT(...)
#define cond_resched()		atomic_long_inc(&shim_rescheds)
#endif

#endif /* _FLPT_SHIM_H */
