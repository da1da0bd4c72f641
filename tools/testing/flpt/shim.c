// SPDX-License-Identifier: GPL-2.0-only
/*
 * The memory behind shim.h: an arena of pages, each followed by a page that
 * nobody may touch, and the same again as hardware finds it in memory.
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

void (*shim_hook)(bool store);
_Thread_local unsigned int shim_cpu;
unsigned long shim_max_pages = -1UL;
_Thread_local u64 shim_fail;
_Thread_local unsigned long shim_failed;
_Thread_local bool shim_atomic;

static char *arena, *memory;
static struct page pages[PAGES];
static unsigned long used, live;
static struct rcu_head *callbacks;

static char *reserve(void)
{
	char *p = mmap(NULL, ARENA, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	BUG_ON(p == MAP_FAILED);
	return p;
}

/* Make all pages new again. Nobody else may be running. */
void shim_reset(void)
{
	if (!arena) {
		arena = reserve();
		memory = reserve();
		ASAN_POISON_MEMORY_REGION(arena, ARENA);
	}

	BUG_ON(live || callbacks);
	memset(pages, 0, used * sizeof(*pages));
	used = 0;
}

/* How many pages are allocated. */
unsigned long shim_pages(void)
{
	return __atomic_load_n(&live, __ATOMIC_RELAXED);
}

struct page *virt_to_page(const void *addr)
{
	size_t offset = (const char *)addr - arena;

	BUG_ON(offset >= ARENA || offset % STRIDE >= PAGE_SIZE);
	return pages + offset / STRIDE;
}

phys_addr_t virt_to_phys(const void *addr)
{
	BUG_ON(virt_to_page(addr)->state != SHIM_LIVE);
	return (const char *)addr - arena + PHYS_BASE;
}

void *phys_to_virt(phys_addr_t addr)
{
	BUG_ON(addr - PHYS_BASE >= ARENA);
	return arena + (addr - PHYS_BASE);
}

/* Where hardware finds the entry at @addr; NULL if that is no allocated page. */
u64 *shim_memory(u64 addr)
{
	u64 offset = addr - PHYS_BASE;

	if (offset >= ARENA || offset % STRIDE >= PAGE_SIZE ||
	    pages[offset / STRIDE].state != SHIM_LIVE)
		return NULL;
	return (u64 *)(memory + offset);
}

static bool must_fail(void)
{
	bool fail = shim_fail & 1;

	shim_fail >>= 1;
	shim_failed += fail;
	return fail;
}

struct page *alloc_pages_node(int nid, gfp_t gfp, unsigned int order)
{
	struct page *page;
	unsigned long nr;
	char *addr;

	BUG_ON(nid != NUMA_NO_NODE || order);
	BUG_ON(shim_atomic && (gfp & __GFP_DIRECT_RECLAIM));
	if (must_fail())
		return NULL;

	nr = __atomic_fetch_add(&used, 1, __ATOMIC_RELAXED);
	BUG_ON(nr >= PAGES);
	BUG_ON(__atomic_fetch_add(&live, 1, __ATOMIC_RELAXED) >= shim_max_pages);

	page = pages + nr;
	addr = arena + nr * STRIDE;
	memset(page, 0x5a, sizeof(*page));
	page->mapping = 0;
	page->state = SHIM_LIVE;
	page->gfp = gfp;
	page->reached = 0;
	ASAN_UNPOISON_MEMORY_REGION(addr, PAGE_SIZE);
	memset(addr, gfp & __GFP_ZERO ? 0 : 0x5a, PAGE_SIZE);
	/* What was in memory before; nobody has written this back. */
	memset(memory + nr * STRIDE, 0xa5, PAGE_SIZE);

	return page;
}

void *page_address(const struct page *page)
{
	return arena + (page - pages) * STRIDE;
}

void __iommu_free_pages(struct page *page, int order)
{
	char *addr = arena + (page - pages) * STRIDE;

	BUG_ON(order || page->state != SHIM_LIVE || page->mapping);
	page->state = SHIM_FREED;
	ASAN_POISON_MEMORY_REGION(addr, PAGE_SIZE);
	__atomic_fetch_sub(&live, 1, __ATOMIC_RELAXED);
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
