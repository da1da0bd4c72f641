// SPDX-License-Identifier: GPL-2.0-only
/*
 * The memory for shim.h: an arena of pages, each followed by an inaccessible
 * page, and a copy of it as hardware finds it in memory.
 */
#include <sys/mman.h>

#include "shim.h"

#ifdef ASAN
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(addr, size)	((void)(addr), (void)(size))
#define ASAN_UNPOISON_MEMORY_REGION(addr, size)	((void)(addr), (void)(size))
#endif

#define PAGES		(1UL << 16)
#define STRIDE		(2 * PAGE_SIZE)
#define ARENA		(PAGES * STRIDE)
#define PHYS_BASE	0x4200000000ULL
/* The last pages are those for __GFP_DMA, which have low addresses. */
#define DMA_PAGES	512UL
#define DMA_FIRST	(PAGES - DMA_PAGES)
#define DMA_OFFSET	(DMA_FIRST * STRIDE)
#define DMA_PHYS_BASE	0x100000ULL

void (*shim_hook)(enum shim_access access);
unsigned long shim_max_pages = -1UL;
_Thread_local u64 shim_fail;
_Thread_local unsigned long shim_failed;
_Thread_local bool shim_atomic;
atomic_long_t shim_accounted, shim_rescheds;

static char *arena, *memory;
static struct page pages[PAGES];
static unsigned long used, used_dma, live;
static struct rcu_head *callbacks;

static char *reserve(void)
{
	char *p = mmap(NULL, ARENA, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	BUG_ON(p == MAP_FAILED);
	return p;
}

/* Make all pages new again. No other thread may be running. */
void shim_reset(void)
{
	if (!arena) {
		arena = reserve();
		memory = reserve();
		ASAN_POISON_MEMORY_REGION(arena, ARENA);
	}

	BUG_ON(live || callbacks);
	memset(pages, 0, used * sizeof(*pages));
	memset(pages + DMA_FIRST, 0, used_dma * sizeof(*pages));
	used = 0;
	used_dma = 0;
}

/* How many pages are allocated. */
unsigned long shim_pages(void)
{
	return __atomic_load_n(&live, __ATOMIC_RELAXED);
}

/* Free all pages that are left. No other thread may be running. */
unsigned long shim_reclaim(void)
{
	unsigned long nr, left = live;

	for (nr = 0; live && nr < PAGES; nr++) {
		if (pages[nr].state != SHIM_LIVE)
			continue;
		pages[nr].mapping = 0;
		pages[nr].refs = 1;
		put_page(pages + nr);
	}
	atomic_long_set(&shim_accounted, 0);

	return left;
}

struct page *virt_to_page(const void *addr)
{
	size_t offset = (const char *)addr - arena;

	BUG_ON(offset >= ARENA || offset % STRIDE >= PAGE_SIZE);
	return pages + offset / STRIDE;
}

phys_addr_t virt_to_phys(const void *addr)
{
	size_t offset = (const char *)addr - arena;

	BUG_ON(virt_to_page(addr)->state != SHIM_LIVE);
	if (offset >= DMA_OFFSET)
		return offset - DMA_OFFSET + DMA_PHYS_BASE;

	return offset + PHYS_BASE;
}

/* Where in the arena @addr is; its end or more if it is not there. */
static u64 phys_offset(phys_addr_t addr)
{
	if (addr - PHYS_BASE < DMA_OFFSET)
		return addr - PHYS_BASE;

	return addr < DMA_PHYS_BASE ? ARENA : addr - DMA_PHYS_BASE + DMA_OFFSET;
}

void *phys_to_virt(phys_addr_t addr)
{
	BUG_ON(phys_offset(addr) >= ARENA);
	return arena + phys_offset(addr);
}

/* Where hardware finds the entry at @addr; NULL if that is no allocated page. */
u64 *shim_memory(u64 addr)
{
	u64 offset = phys_offset(addr);

	if (offset >= ARENA || offset % STRIDE >= PAGE_SIZE ||
	    pages[offset / STRIDE].state != SHIM_LIVE)
		return NULL;
	return (u64 *)(memory + offset);
}

/* The page that @val is an address in, if it is one in any form; or -1. */
long shim_page_of_value(u64 val)
{
	u64 offset = val - (uintptr_t)arena;

	if (val - (uintptr_t)pages < sizeof(pages))
		return (val - (uintptr_t)pages) / sizeof(*pages);
	if (offset >= ARENA)
		offset = val & 1 ? phys_offset(val & 0xffffffffff000) : ARENA;

	return offset < ARENA ? offset / STRIDE : -1;
}

static bool must_fail(void)
{
	bool fail = shim_fail & 1;

	shim_fail >>= 1;
	shim_failed += fail;
	return fail;
}

/* The next page, or one for __GFP_DMA. */
static struct page *new_page(gfp_t gfp)
{
	bool dma = gfp & __GFP_DMA;
	unsigned long nr = __atomic_fetch_add(dma ? &used_dma : &used, 1,
					      __ATOMIC_RELAXED);

	BUG_ON(nr >= (dma ? DMA_PAGES : DMA_FIRST));
	return pages + (dma ? DMA_FIRST : 0) + nr;
}

struct page *alloc_pages_node(int nid, gfp_t gfp, unsigned int order)
{
	struct page *page;
	char *addr;

	BUG_ON(nid != NUMA_NO_NODE || order);
	BUG_ON(shim_atomic && (gfp & __GFP_DIRECT_RECLAIM));
	if (must_fail())
		return NULL;

	BUG_ON(__atomic_fetch_add(&live, 1, __ATOMIC_RELAXED) >= shim_max_pages);

	page = new_page(gfp);
	addr = page_address(page);
	/* The allocator leaves what its lists had, and sets these two. */
	memset(page, 0xa5, sizeof(*page));
	page->mapping = 0;
	page->private = 0;
	page->refs = 1;
	page->state = SHIM_LIVE;
	page->gfp = gfp;
	page->reached = 0;
	ASAN_UNPOISON_MEMORY_REGION(addr, PAGE_SIZE);
	memset(addr, gfp & __GFP_ZERO ? 0 : 0x5a, PAGE_SIZE);
	/* Memory keeps its old contents until the page is written back. */
	memset(memory + (addr - arena), 0xa5, PAGE_SIZE);

	return page;
}

void *page_address(const struct page *page)
{
	return arena + (page - pages) * STRIDE;
}

void put_page(struct page *page)
{
	BUG_ON(page->state != SHIM_LIVE || page->mapping);
	if (__atomic_sub_fetch(&page->refs, 1, __ATOMIC_ACQ_REL))
		return;

	page->state = SHIM_FREED;
	ASAN_POISON_MEMORY_REGION(page_address(page), PAGE_SIZE);
	__atomic_fetch_sub(&live, 1, __ATOMIC_RELAXED);
}

void __iommu_alloc_account(struct page *page, int order)
{
	BUG_ON(order);
	(void)atomic_long_inc_return(&shim_accounted);
}

/* Users that still have a reference may read the struct page, but not its contents. */
void __iommu_free_pages(struct page *page, int order)
{
	BUG_ON(order);
	atomic_long_dec(&shim_accounted);
	ASAN_POISON_MEMORY_REGION(page_address(page), PAGE_SIZE);
	put_page(page);
}

void *kzalloc(size_t size, gfp_t gfp)
{
	BUG_ON(shim_atomic && (gfp & __GFP_DIRECT_RECLAIM));
	return must_fail() ? NULL : calloc(1, size);
}

void call_rcu(struct rcu_head *head, void (*func)(struct rcu_head *head))
{
	BUG_ON(container_of(head, struct page, rcu_head)->state != SHIM_LIVE);
	head->func = func;
	head->next = __atomic_load_n(&callbacks, __ATOMIC_RELAXED);
	while (!__atomic_compare_exchange_n(&callbacks, &head->next, head, true,
					    __ATOMIC_RELEASE, __ATOMIC_RELAXED))
		;
}

void shim_rcu_barrier(void)
{
	struct rcu_head *head, *next;

	head = __atomic_exchange_n(&callbacks, NULL, __ATOMIC_ACQUIRE);
	for (; head; head = next) {
		next = head->next;
		head->func(head);
	}
}
