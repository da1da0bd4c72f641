// SPDX-License-Identifier: GPL-2.0
/*
 * Random work on memory that is not pinned, while a device reads and writes it by several
 * PASIDs at once, with and without a guest's tables.  The process loses pages in every way
 * that the kernel has, areas are mapped and unmapped, and domains attached and detached.
 * At times, another HWPT of the IOAS pins everything; PASIDs use it, too.
 * A model knows what each byte holds; device and CPU compare it.  Prints TAP.
 *
 * SECONDS is the duration (20), SEED the seed of the random numbers (the time).  The seed
 * determines all operations and their order; ROUNDS limits their number.  (The seed does
 * not determine when the reclaiming thread and the kernel take pages.)
 *
 * The suite "demand-soak" prepares cgroups, a swap device on zram, hugetlb, and two nodes,
 * the second with a memory block that is offline. TESTDEV is a device whose driver declares
 * it to be fault tolerant.
 */
#include <errno.h>
#include <linux/mempolicy.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "vtd_demand.h"

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE	25
#endif

#define PAGES		2560U
#define SHARED		1536U			/* pages from here on are a memfd's */
#define HUGE		2048U			/* and from here on, a page of hugetlb */
#define BLOCK		512U			/* pages of 2 MiB */
#define BASE		(4 * SZ_1G - 2 * SZ_2M)	/* the second area crosses a GiB */
#define ALIAS(i)	((64UL + (i)) * SZ_1G + (i) % 2 * 7 * PAGE)
#define GVA		0x7f0000000000UL

#define SECTOR		512U
#define WORDS		(SECTOR / 8)
#define PER_PAGE	(PAGE / SECTOR)
#define SECTORS		(PAGES * PER_PAGE)
#define MAX_SECTORS		(48 * PER_PAGE)		/* sectors of a command */
#define MIGRATED	128U			/* pages at once */

#define AREAS		5
#define ALIASES		3
#define WAYS		3			/* the RID and two PASIDs */
#define COMMANDS	8
#define LATE_PAGES	24
#define LISTS		0x777			/* the PASID by which lists are fetched */

#define MIN_ROUNDS		60			/* on a slow machine */
#define MAX_ROUNDS		600			/* there, for rare operations */

#define CGROUP		"/sys/fs/cgroup/soak"
#define THP		"/sys/kernel/mm/transparent_hugepage/"
#define KSM		"/sys/kernel/mm/ksm/"
#define HUGE_POOL	"/sys/devices/system/node/node1/hugepages/hugepages-2048kB/nr_hugepages"

/* What the device does with a sector; a write by transfer i is WRITTEN_BY + i */
enum { IDLE, BUSY, WRITTEN_BY };

enum { FLAT, OTHER_FLAT, NESTED, PINNED, HWPTS };

static const unsigned int bounds[AREAS + 1] = { 0, 500, 1100, SHARED, HUGE, PAGES };
static const unsigned int pasid_of[WAYS] = { RID, 1, 0xfffff };

/* A range of pages that has a second IOVA */
struct alias {
	unsigned int first, n;		/* n is 0: none */
};

struct transfer {
	bool write, dropped;		/* some of its pages were discarded */
	unsigned int way;
	unsigned int first, n;		/* sectors; n is 0: no transfer */
	uint64_t addr;			/* the device's */
	uint64_t key;			/* of the first sector, when complete */
};

static struct {
	struct demand d;
	unsigned char *memory, *tables;
	int shared;
	unsigned int hwpts[HWPTS], lists;	/* 0 for PINNED: not there */
	int attached[WAYS];			/* index of the HWPT, or -1 */
	bool mapped[AREAS];
	bool stale[PAGES];			/* what PINNED has pinned is not the process's */
	char block[80];				/* a memory block that goes on- and offline */
	unsigned long block_pfn, block_pages;
	bool online;
	bool limited;				/* memory.max is set */
	struct alias aliases[ALIASES];
	struct vtdt_command *list;

	uint64_t keys[SECTORS];			/* the data of each, see word_of() */
	unsigned char busy[SECTORS];		/* IDLE, BUSY or WRITTEN_BY */
	struct transfer transfers[COMMANDS];
	bool disturbed;				/* transfers may fail */

	struct late late;			/* pages that come late */
	unsigned int late_first, late_n;
	unsigned char *source;
	unsigned long asked[LATE_PAGES];
	unsigned int waiting, turns;

	pthread_t reclaimer;
	volatile bool working;			/* reclaim pages of transfers */
	volatile bool ending;

	pid_t child;
	unsigned long round;
	bool failed;
} soak;

static struct {
	unsigned long reads, writes, denied, cut, compared, late, lost, preserved, moved,
		      forked, attached, mapped, pinned, by_pinned, offline, busy,
		      evicted, evicted_huge;
} count;

static uint64_t seed;

/* xorshift64* */
static unsigned int random_of(uint64_t *state, unsigned int n)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return (*state * 0x2545f4914f6cdd1dULL >> 33) % n;
}

static unsigned int random_below(unsigned int n)
{
	return random_of(&seed, n);
}

/* ---- a log of the latest operations ---- */

#define REMEMBERED	48
static char history[REMEMBERED][100];
static unsigned int events;

#define event(...) \
	snprintf(history[events++ % REMEMBERED], sizeof(history[0]), __VA_ARGS__)

static bool fail(const char *what)
{
	unsigned int i;

	if (soak.failed)
		return false;
	soak.failed = true;
	for (i = events < REMEMBERED ? 0 : events - REMEMBERED; i < events; i++)
		note("%s\n", history[i % REMEMBERED]);
	note("round %lu: %s\n", soak.round, what);
	return false;
}

/* ---- the model: a sector's words follow from its key ---- */

/* A few keys are frequent, so that KSM finds equal pages. */
static uint64_t new_key(void)
{
	uint64_t high = random_below(1 << 30);

	return high % 8 ? high << 20 : (high % 3 + 1) << 20;
}

static uint64_t word_of(uint64_t key, unsigned int i)
{
	return key ? pattern_at(key, 8 * i) : 0;
}

/* The key of a sector behind one that begins a transfer */
static uint64_t key_after(uint64_t key, unsigned int sectors)
{
	return key ? key + sectors * WORDS : 0;
}

static volatile uint64_t *at(unsigned int sector)
{
	return (volatile uint64_t *)(soak.memory + sector * SECTOR);
}

static bool sector_holds(unsigned int sector, uint64_t key, uint64_t or_key)
{
	unsigned int i;
	uint64_t is;

	for (i = 0; i < WORDS; i++) {
		is = at(sector)[i];
		if (is == word_of(key, i) || is == word_of(or_key, i))
			continue;
		note("page %u, byte %lu: %#lx, not %#lx (key %#lx or %#lx)\n",
		     sector / (unsigned int)PER_PAGE, sector % PER_PAGE * SECTOR + 8 * i, is,
		     word_of(key, i), key, or_key);
		return false;
	}
	count.compared += SECTOR;
	return true;
}

static void cpu_writes(unsigned int sector, uint64_t key)
{
	unsigned int i;

	for (i = 0; i < WORDS; i++)
		at(sector)[i] = word_of(key, i);
	soak.keys[sector] = key;
}

/* Compare all sectors that the device is not working on. */
static bool cpu_compares(unsigned int first, unsigned int n)
{
	unsigned int i;

	for (i = first; i < first + n; i++) {
		if (!soak.busy[i] && !sector_holds(i, soak.keys[i], soak.keys[i]))
			return fail("the CPU reads wrong data");
	}
	return true;
}

/* ---- ranges ---- */

/* The first of @n pages at random, within @below pages */
static unsigned int some_pages(unsigned int most, unsigned int below, unsigned int *n)
{
	*n = 1 + random_below(most);
	return random_below(below - *n + 1);
}

static unsigned char *page(unsigned int i)
{
	return soak.memory + i * PAGE;
}

static bool is_busy(unsigned int first, unsigned int n)
{
	unsigned int i;

	for (i = first * PER_PAGE; i < (first + n) * PER_PAGE; i++) {
		if (soak.busy[i])
			return true;
	}
	return false;
}

/* Is the device idle there, or does it only write, so that the data may be lost? */
static bool may_discard(unsigned int first, unsigned int n)
{
	unsigned int i;

	for (i = first * PER_PAGE; i < (first + n) * PER_PAGE; i++) {
		if (soak.busy[i] == BUSY)
			return false;
	}
	for (i = first * PER_PAGE; i < (first + n) * PER_PAGE; i++) {
		if (soak.busy[i])
			soak.transfers[soak.busy[i] - WRITTEN_BY].dropped = true;
	}
	return true;
}

static void set_keys(unsigned int first, unsigned int n, uint64_t key)
{
	unsigned int i;

	for (i = 0; i < n * PER_PAGE; i++)
		soak.keys[first * PER_PAGE + i] = key_after(key, i);
}

/* ---- operations that preserve data, on any page ---- */

static void page_out(void)
{
	unsigned int n, first = some_pages(64, PAGES, &n);
	bool also_tables = !random_below(8);

	event("page out %u+%u%s", first, n, also_tables ? " and tables" : "");
	madvise(page(first), n * PAGE, MADV_PAGEOUT);
	if (also_tables)
		madvise(soak.tables, SZ_2M, MADV_PAGEOUT);
}

/* Page out, several times, what a transfer works on. */
static void page_out_often(void)
{
	struct transfer *t = &soak.transfers[random_below(COMMANDS)];
	unsigned int times = 1 + random_below(24), i, first, end;

	first = t->first / PER_PAGE;
	end = (t->first + t->n + PER_PAGE - 1) / PER_PAGE;
	event("page out %u..%u, %u times", first, end, times);
	for (i = 0; t->n && i < times; i++)
		madvise(page(first), (end - first) * PAGE, MADV_PAGEOUT);
}

static void migrate_to(int node, unsigned int first, unsigned int n)
{
	int to[MIGRATED], status[MIGRATED];
	void *pages[MIGRATED];
	unsigned int i;

	for (i = 0; i < n; i++) {
		pages[i] = page(first + i);
		to[i] = node;
	}
	event("migrate %u+%u to node %d", first, n, node);
	syscall(SYS_move_pages, 0, (unsigned long)n, pages, to, status, MPOL_MF_MOVE);
}

static void migrate(void)
{
	unsigned int n, first = some_pages(16, PAGES, &n);

	migrate_to(random_below(2), first, n);
}

/* Allow, forbid, collapse or split huge pages. */
static void change_huge_pages(void)
{
	static const int advices[] = { MADV_HUGEPAGE, MADV_NOHUGEPAGE, MADV_COLLAPSE,
				       MADV_COLD };
	unsigned int first = random_below(PAGES / BLOCK) * BLOCK;
	int advice = advices[random_below(4)];

	event("advice %d for %u+%u", advice, first, BLOCK);
	madvise(page(first), BLOCK * PAGE, advice);
	if (!random_below(8))
		madvise(soak.tables, SZ_2M, advice);
}

static void merge(void)
{
	unsigned int n, first = some_pages(256, SHARED, &n);
	bool on = random_below(4);

	event("%smergeable %u+%u", on ? "" : "un", first, n);
	madvise(page(first), n * PAGE, on ? MADV_MERGEABLE : MADV_UNMERGEABLE);
}

static void limit(void)
{
	unsigned int what = random_below(4);

	/* Pinned pages cannot be reclaimed: the kernel would try for seconds. */
	if (soak.hwpts[PINNED])
		return;
	event("limit %u", what);
	if (what < 2) {
		write_file(CGROUP "/memory.reclaim", what ? "4M" : "512K");
		return;
	}
	soak.limited = what == 2;
	write_file(CGROUP "/memory.max", soak.limited ? "7M" : "max");
}

/* Make pages read-only for a moment, where the device does nothing. */
static bool toggle_protection(void)
{
	unsigned int n, first = some_pages(32, HUGE, &n);

	if (is_busy(first, n))
		return true;
	event("protect %u+%u", first, n);
	return !mprotect(page(first), n * PAGE, PROT_READ) &&
	       !mprotect(page(first), n * PAGE, PROT_READ | PROT_WRITE) ? true :
	       fail("mprotect");
}

static void ignore_signal(int signal)
{
}

/* How many pages are there, by pagemap: bit 63 is set if a page is present. */
static unsigned int pages_in_block(unsigned int first, unsigned int n)
{
	off_t from = (uintptr_t)page(first) / PAGE * sizeof(uint64_t);
	int fd = open("/proc/self/pagemap", O_RDONLY);
	static uint64_t entries[PAGES];
	unsigned int i, found = 0;

	if (pread(fd, entries, n * sizeof(*entries), from) != (ssize_t)(n * sizeof(*entries)))
		fail("no pagemap");
	close(fd);
	for (i = 0; i < n; i++)
		found += entries[i] >> 63 &&
			 (entries[i] & PFN_OF_PAGEMAP) - soak.block_pfn < soak.block_pages;
	return found;
}

/* A memory block of the second node comes, with pages of hugetlb. Pages migrate there. */
static bool bring_block(void)
{
	unsigned int n, first = some_pages(MIGRATED, HUGE, &n);

	event("block online");
	if (!write_file(soak.block, "online_movable") || !write_file(HUGE_POOL, "12"))
		return fail("a block does not come online");
	soak.online = true;
	migrate_to(1, first, n);
	migrate_to(0, HUGE, 1);
	migrate_to(1, HUGE, 1);
	return true;
}

/*
 * It goes with all pages. The kernel tries for as long as it takes to migrate them, or until
 * a signal. Now and then it fails with EBUSY: try again.
 */
static bool take_block(void)
{
	unsigned int tries = 0;
	int error;

	event("block offline");
	count.evicted += pages_in_block(0, HUGE);
	count.evicted_huge += pages_in_block(HUGE, 1);
	do {
		alarm(60);
		error = write_file(soak.block, "offline") ? 0 : errno;
		alarm(0);
		if (error) {
			event("error %d", error);
			count.busy++;
			sleep_ms(10);
		}
	} while (error == EBUSY && tries++ < 100);
	if (error)
		return fail("a block does not go offline");
	soak.online = false;
	count.offline++;
	return !pages_in_block(0, PAGES) || fail("a page is in a block that is offline");
}

/*
 * A thread that reclaims, page by page, what the device is working on: if possible between
 * lookup and mapping of a page.
 */
static void *reclaim(void *unused)
{
	uint64_t state = seed;
	struct transfer t;

	while (!soak.ending) {
		t = soak.transfers[random_of(&state, COMMANDS)];
		if (soak.working && t.n)
			madvise(page((t.first + random_of(&state, t.n)) / PER_PAGE), PAGE,
				MADV_PAGEOUT);
		else
			sleep_ms(1);
	}
	return NULL;
}

/* ---- fork: the child keeps the present data ---- */

static void child_compares(void)
{
	unsigned int i;

	sched_yield();
	for (i = 0; i < SHARED * PER_PAGE; i++) {
		if (!soak.busy[i] && !sector_holds(i, soak.keys[i], soak.keys[i]))
			_exit(1);
	}
	_exit(0);
}

/* The child compares its data while its parent and the device go on. */
static bool fork_child(void)
{
	if (soak.child)
		return true;
	event("fork");
	fflush(stdout);
	soak.child = fork();
	if (!soak.child)
		child_compares();
	/*
	 * A pinned page of hugetlb is copied, for which there may be no free one. Near the
	 * limit there may be no memory for the child: nobody may be killed for it.
	 */
	if (soak.child < 0 && errno == ENOMEM && (soak.hwpts[PINNED] || soak.limited)) {
		soak.child = 0;
		return true;
	}
	count.forked++;
	return soak.child > 0 || fail("fork");
}

static bool wait_for_child(void)
{
	int status;

	if (!soak.child)
		return true;
	event("wait for the child");
	if (waitpid(soak.child, &status, 0) != soak.child || status)
		return fail("the child reads wrong data");
	soak.child = 0;
	return true;
}

/* ---- operations that change data, where the device is idle ---- */

/* PINNED keeps the pages that the process gives away. */
static void make_stale(unsigned int first, unsigned int n)
{
	memset(soak.stale + first, true, n);
}

static bool discard(unsigned int first, unsigned int n)
{
	bool is_shared = first >= SHARED && first < HUGE;

	set_keys(first, n, 0);
	make_stale(first, n);
	count.lost += n;
	return !madvise(page(first), n * PAGE, is_shared ? MADV_REMOVE : MADV_DONTNEED) ||
	       fail("madvise");
}

/* Either private or shared memory, of small pages */
static unsigned int pages_of_one_kind(unsigned int most, unsigned int *n)
{
	bool is_shared = !random_below(4);
	unsigned int first = some_pages(most, is_shared ? HUGE - SHARED : SHARED, n);

	return first + (is_shared ? SHARED : 0);
}

static bool discard_pages(void)
{
	unsigned int n, first = pages_of_one_kind(random_below(4) ? 16 : BLOCK, &n);

	/* a page of hugetlb only as a whole */
	if (!random_below(6)) {
		first = HUGE;
		n = PAGES - HUGE;
	}
	if (!may_discard(first, n))
		return true;
	event("discard %u+%u", first, n);
	return discard(first, n);
}

/* Discard a few pages that the device is writing; some of its data is lost. */
static bool discard_written_pages(void)
{
	struct transfer *t = &soak.transfers[random_below(COMMANDS)];
	unsigned int first = t->first / PER_PAGE, n = 1 + random_below(4);

	first += random_below(t->n / PER_PAGE + 1);
	if (!t->n || first + n > HUGE || (first < SHARED && first + n > SHARED) ||
	    !may_discard(first, n))
		return true;
	event("discard %u+%u while written", first, n);
	return discard(first, n);
}

static bool move(void)
{
	unsigned int n, from = some_pages(32, SHARED, &n), to, i;
	bool keep = random_below(2);

	to = random_below(SHARED - n + 1);
	if (is_busy(from, n) || is_busy(to, n) || (from < to + n && to < from + n))
		return true;
	event("move %u+%u to %u%s", from, n, to, keep ? ", keeping it" : "");
	for (i = 0; i < n * PER_PAGE; i++)
		soak.keys[to * PER_PAGE + i] = soak.keys[from * PER_PAGE + i];
	set_keys(from, n, 0);
	make_stale(from, n);
	make_stale(to, n);
	count.moved += n;

	/* mremap() moves within one mapping only */
	for (i = 0; i < n; i++) {
		if (mremap(page(from + i), PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED |
			   (keep ? MREMAP_DONTUNMAP : 0), page(to + i)) != page(to + i))
			return fail("mremap");
	}
	return keep || mmap(page(from), n * PAGE, PROT_READ | PROT_WRITE, MAP_FIXED |
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED ||
	       fail("mmap");
}

/* The CPU writes sectors that the device is not working on, even in the same page. */
static void write_sectors(void)
{
	unsigned int n = 1 + random_below(40), first = random_below(SECTORS - n + 1), i;
	uint64_t key = new_key();

	event("CPU writes sectors %u+%u", first, n);
	for (i = 0; i < n; i++) {
		if (!soak.busy[first + i])
			cpu_writes(first + i, key_after(key, i));
	}
}

/* Write equal pages. */
static void repeat_pages(void)
{
	unsigned int n, first = some_pages(6, PAGES, &n), i;
	uint64_t key = new_key();

	if (is_busy(first, n))
		return;
	event("CPU writes pages %u+%u", first, n);
	for (i = 0; i < n * PER_PAGE; i++)
		cpu_writes(first * PER_PAGE + i, key_after(key, i % PER_PAGE));
}

static bool compare_pages(void)
{
	unsigned int n, first = some_pages(32, PAGES, &n);

	event("CPU compares %u+%u", first, n);
	return cpu_compares(first * PER_PAGE, n * PER_PAGE);
}

/* ---- operations that may end transfers ---- */

static bool set_hwpt(unsigned int way, int next)
{
	struct vmm *vmm = &soak.d.vmm;

	event("PASID %#x: HWPT %d", pasid_of[way], next);
	count.attached++;
	if (next < 0 ? !detach(vmm, pasid_of[way]) :
		       !attach(vmm, pasid_of[way], soak.hwpts[next]))
		return fail("a PASID cannot be attached, replaced or detached");
	soak.attached[way] = next;
	return true;
}

static bool change_hwpt(bool idle)
{
	unsigned int way = random_below(WAYS);
	int next = (int)random_below(HWPTS + 1) - 1;

	if (next == soak.attached[way] || (next >= 0 && !soak.hwpts[next]))
		return true;
	/* A transfer must not continue on pages that are stale. */
	if (next == PINNED && !idle)
		return true;
	soak.disturbed = true;
	return set_hwpt(way, next);
}

/* PINNED would wait for late pages, which this thread delivers. */
static bool must_not_pin(void)
{
	return soak.hwpts[PINNED] && soak.late_n;
}

static bool map_pages(uint64_t iova, unsigned int first, unsigned int n)
{
	count.mapped++;
	return map_area(&soak.d.vmm, iova, page(first), n * PAGE) || fail("IOAS_MAP");
}

static bool toggle_area(void)
{
	unsigned int i = random_below(AREAS), first = bounds[i];
	unsigned int n = bounds[i + 1] - first;

	if (must_not_pin())
		return true;
	event("area %u %smapped", i, soak.mapped[i] ? "un" : "");
	soak.mapped[i] = !soak.mapped[i];
	memset(soak.stale + first, false, n);
	if (soak.mapped[i])
		return map_pages(BASE + first * PAGE, first, n);
	soak.disturbed = true;
	return unmap_area(&soak.d.vmm, BASE + first * PAGE, n * PAGE) ||
	       fail("IOAS_UNMAP");
}

/* Copy a part of other areas to a second IOVA. */
static bool copy_area(uint64_t to, unsigned int first, unsigned int n)
{
	struct vmm *vmm = &soak.d.vmm;
	struct iommu_ioas_copy copy = {
		.size = sizeof(copy), .flags = RW | IOMMU_IOAS_MAP_FIXED_IOVA,
		.src_ioas_id = vmm->ioas, .dst_ioas_id = vmm->ioas,
		.length = n * PAGE, .dst_iova = to, .src_iova = BASE + first * PAGE,
	};

	count.mapped++;
	return !ioctl(vmm->iommufd, IOMMU_IOAS_COPY, &copy) || fail("IOAS_COPY");
}

static bool all_mapped(unsigned int first, unsigned int n)
{
	unsigned int i;

	for (i = 0; i < AREAS; i++) {
		if (!soak.mapped[i] && first < bounds[i + 1] && first + n > bounds[i])
			return false;
	}
	return true;
}

static bool toggle_alias(void)
{
	unsigned int i = random_below(ALIASES), n, first = some_pages(300, PAGES, &n);
	struct alias *alias = &soak.aliases[i];
	bool copy = random_below(2);

	if (alias->n) {
		event("alias %u unmapped", i);
		soak.disturbed = true;
		n = alias->n;
		alias->n = 0;
		return unmap_area(&soak.d.vmm, ALIAS(i), n * PAGE) || fail("IOAS_UNMAP");
	}
	if (must_not_pin())
		return true;
	copy = copy && all_mapped(first, n);
	event("alias %u of %u+%u %s", i, first, n, copy ? "copied" : "mapped");
	*alias = (struct alias) { first, n };
	return copy ? copy_area(ALIAS(i), first, n) : map_pages(ALIAS(i), first, n);
}

/* ---- late pages ---- */

/* Have pages come late on which only the next transfers work. */
static bool begin_late(void)
{
	unsigned int n, first = pages_of_one_kind(LATE_PAGES, &n), i, w;
	uint64_t key = new_key();

	event("late %u+%u", first, n);
	if (!discard(first, n))
		return false;
	set_keys(first, n, key);
	for (i = 0; i < n * PER_PAGE; i++)
		for (w = 0; w < WORDS; w++)
			((uint64_t *)(soak.source + i * SECTOR))[w] =
				word_of(key_after(key, i), w);
	soak.late_first = first;
	soak.late_n = n;
	soak.waiting = soak.turns = 0;
	memset(soak.busy + first * PER_PAGE, BUSY, n * PER_PAGE);
	return catch_faults(&soak.late, page(first), n * PAGE) || fail("userfaultfd");
}

static void deliver(unsigned long address)
{
	deliver_page(&soak.late, address,
		     soak.source + (address - (unsigned long)page(soak.late_first)));
}

/* Deliver pages with a delay, and in reverse order. */
static void serve_late(void)
{
	struct pollfd fd = { .fd = soak.late.fd, .events = POLLIN };
	unsigned long address;

	if (!soak.late_n)
		return;
	while (soak.waiting < LATE_PAGES && poll(&fd, 1, 0) > 0 &&
	       wait_for_fault(&soak.late, &address)) {
		soak.asked[soak.waiting++] = address;
		count.late++;
	}
	if (soak.waiting && ++soak.turns % 3 == 0)
		deliver(soak.asked[--soak.waiting]);
}

/* Deliver the rest. */
static void end_late(void)
{
	unsigned int i;

	for (i = 0; i < soak.late_n; i++)
		deliver((unsigned long)page(soak.late_first + i));
	if (soak.late_n)
		close(soak.late.fd);
	soak.late_n = 0;
}

/* ---- transfers ---- */

/* How many sectors from @first on PINNED has of the process's memory, at most @n */
static unsigned int pinned_sectors(unsigned int first, unsigned int n)
{
	unsigned int i;

	for (i = 0; i < n && !soak.stale[(first + i) / PER_PAGE]; i++)
		;
	return i;
}

/* The device's address of these sectors by a PASID, 0 if there is none */
static uint64_t device_address(unsigned int way, unsigned int sector, unsigned int n,
			       unsigned int which)
{
	int hwpt = soak.attached[way];
	struct alias *alias;

	if (hwpt < 0)
		return 0;
	if (which < ALIASES && hwpt != NESTED && hwpt != PINNED) {
		alias = &soak.aliases[which];
		if (sector >= alias->first * PER_PAGE &&
		    sector + n <= (alias->first + alias->n) * PER_PAGE)
			return ALIAS(which) + (sector - alias->first * PER_PAGE) * SECTOR;
	}
	if (!all_mapped(sector / PER_PAGE, (sector % PER_PAGE + n + PER_PAGE - 1) / PER_PAGE))
		return 0;
	if (hwpt == PINNED && pinned_sectors(sector, n) < n)
		return 0;
	return (hwpt == NESTED ? GVA : 0) + BASE + sector * SECTOR;
}

/* How many sectors from @first on have consecutive keys, at most @n */
static unsigned int readable(unsigned int first, unsigned int n)
{
	unsigned int i;

	/* a single word, see new_command() */
	if (!soak.keys[first])
		return 1;
	for (i = 1; i < n; i++) {
		if (soak.keys[first + i] != key_after(soak.keys[first], i))
			break;
	}
	return i;
}

static unsigned int free_sectors(unsigned int first, unsigned int n)
{
	unsigned int i;

	for (i = 0; i < n && first + i < SECTORS && !soak.busy[first + i]; i++)
		;
	return i;
}

/* Only the first transfer may work on late pages, which are busy for the others. */
static struct transfer new_transfer(unsigned int i)
{
	unsigned int which = random_below(2 * ALIASES), way = random_below(WAYS);
	unsigned int n = 1 + random_below(random_below(2) ? MAX_SECTORS : 2 * PER_PAGE);
	struct transfer t = {
		.write = random_below(5) < 2, .way = way, .key = new_key(),
		.first = random_below(SECTORS),
	};

	if (i == 0 && soak.late_n) {
		t.first = soak.late_first * PER_PAGE + t.first % PER_PAGE;
		t.n = soak.late_n * PER_PAGE - t.first % PER_PAGE;
		t.n = t.n < n ? t.n : n;
	} else {
		t.n = free_sectors(t.first, n);
	}
	if (soak.attached[way] == PINNED)
		t.n = pinned_sectors(t.first, t.n);
	if (t.n && !t.write)
		t.n = readable(t.first, t.n);
	t.addr = t.n ? device_address(way, t.first, t.n, which) : 0;
	if (!t.addr)
		t.n = 0;
	if (!t.write)
		t.key = soak.keys[t.first];
	/* PINNED writes to the pages that it has pinned, even if they are discarded. */
	if (t.n)
		memset(soak.busy + t.first,
		       t.write && !soak.late_n && soak.attached[way] != PINNED ?
		       WRITTEN_BY + i : BUSY, t.n);
	count.by_pinned += t.n && soak.attached[way] == PINNED;
	event("%u: %s sectors %u+%u at %#lx, PASID %#x", i, t.write ? "write" : "read",
	      t.first, t.n, t.addr, pasid_of[way]);
	soak.list[i] = command(BY_REQUESTS | (t.write ? VTDT_WRITE : VTDT_READ),
			       pasid_of[way], t.addr);
	return t;
}

/* Zeroes are no pattern: the device only reads one word of them. */
static void new_command(unsigned int i)
{
	struct vtdt_command *c = &soak.list[i];
	struct transfer *t = &soak.transfers[i];

	*t = new_transfer(i);
	if (!t->n) {
		*c = command(VTDT_NOP, RID, 0);
		return;
	}
	c->length = t->n * SECTOR;
	c->data = t->key - t->addr / 8;
	if (!t->write && !t->key) {
		c->op = (c->op & ~VTDT_PATTERN) | VTDT_IMMEDIATE;
		c->length = 8;
		c->data = 1;
	}
}

static void begin_transfer(unsigned int op, unsigned int way, uint64_t addr, size_t length,
			   uint64_t key)
{
	soak.d.pasid = pasid_of[way];
	start_transfer(&soak.d, op, addr, length, key - addr / 8);
}

static unsigned int one_transfer(unsigned int op, unsigned int way, uint64_t addr,
				 size_t length, uint64_t key)
{
	begin_transfer(op, way, addr, length, key);
	return finish_transfer(&soak.d);
}

/*
 * Any part of an interrupted write may have arrived. The CPU then writes new data, which
 * the device has to read.
 */
static bool settle(struct transfer *t)
{
	uint64_t key = new_key();
	unsigned int i, s;

	for (i = 0; i < t->n; i++) {
		s = t->first + i;
		if (!sector_holds(s, soak.keys[s], key_after(t->key, i)))
			return fail("an interrupted write left wrong data");
		cpu_writes(s, key_after(key, i));
	}
	return soak.disturbed ||
	       one_transfer(VTDT_READ, t->way, t->addr, t->n * SECTOR, key) == VTDT_OK ||
	       fail("the device does not read the process's data");
}

static bool finish(unsigned int i)
{
	const struct vtdt_command *c = &soak.list[i];
	struct transfer *t = &soak.transfers[i];
	bool zeroes = c->op & VTDT_IMMEDIATE;
	unsigned int s;

	if (!t->n)
		return true;
	if (c->status == VTDT_OK && !t->write && (zeroes ? c->data : c->result)) {
		note("transfer %u: %#lx\n", i, zeroes ? c->data : c->result);
		return fail("the device reads wrong data");
	}
	if (c->status != VTDT_OK && !soak.disturbed) {
		note("transfer %u: status %u\n", i, c->status);
		return fail("the device is refused");
	}
	count.cut += c->status != VTDT_OK;
	if (!t->write) {
		count.reads++;
		return true;
	}
	count.writes++;
	if (soak.disturbed || t->dropped)
		return settle(t);
	for (s = 0; s < t->n; s++)
		soak.keys[t->first + s] = key_after(t->key, s);
	return true;
}

/* ---- when the device is idle ---- */

/* Page requests are disabled while all HWPTs that the device uses pin their memory. */
static bool can_request(void)
{
	unsigned int way;

	for (way = 0; way < WAYS; way++) {
		if (soak.attached[way] >= 0 && soak.attached[way] != PINNED)
			return true;
	}
	return false;
}

/* Where nothing is mapped, the device is refused. */
static bool check_refused(void)
{
	unsigned int way = random_below(WAYS), i = random_below(AREAS);
	unsigned int n = bounds[i + 1] - bounds[i], p = bounds[i] + random_below(n);
	int hwpt = soak.attached[way];
	unsigned int status;

	if (soak.mapped[i] || hwpt < 0)
		return true;
	event("refused in area %u, PASID %#x, HWPT %d", i, pasid_of[way], hwpt);
	count.denied++;
	status = one_transfer(VTDT_WRITE, way, (hwpt == NESTED ? GVA : 0) + BASE + p * PAGE,
			      PAGE, 1);
	if (status == (can_request() ? VTDT_DENIED : VTDT_NOT_SENT))
		return true;
	note("status %u\n", status);
	return fail("the device can access an unmapped page");
}

/* The device has no more permissions than the process. */
static bool check_refused_by_mprotect(void)
{
	unsigned int n, first = some_pages(8, HUGE, &n), way = random_below(WAYS);
	int prot = random_below(2) ? PROT_READ : PROT_NONE;
	uint64_t addr = device_address(way, first * PER_PAGE, n * PER_PAGE, ALIASES);

	if (!addr || soak.attached[way] == PINNED)
		return true;
	event("refused by mprotect %d of %u+%u", prot, first, n);
	count.denied++;
	if (mprotect(page(first), n * PAGE, prot))
		return fail("mprotect");
	if (one_transfer(prot ? VTDT_WRITE : VTDT_READ, way, addr, n * PAGE, 1) != VTDT_DENIED)
		return fail("the device can access a protected page");
	return !mprotect(page(first), n * PAGE, PROT_READ | PROT_WRITE) ? true :
	       fail("mprotect");
}

/* Pages that only the device writes after MADV_FREE are dirty. */
static bool write_freed_pages(void)
{
	unsigned int n, first = some_pages(64, SHARED, &n), way = random_below(WAYS);
	uint64_t addr = device_address(way, first * PER_PAGE, n * PER_PAGE, ALIASES);
	uint64_t key = new_key();

	if (!addr)
		return true;
	event("freed lazily %u+%u, written by PASID %#x", first, n, pasid_of[way]);
	if (madvise(page(first), n * PAGE, MADV_FREE))
		return fail("madvise");
	if (one_transfer(VTDT_WRITE, way, addr, n * PAGE, key) != VTDT_OK)
		return fail("the device is refused");
	set_keys(first, n, key);
	madvise(page(first), n * PAGE, MADV_PAGEOUT);
	return cpu_compares(first * PER_PAGE, n * PER_PAGE);
}

/* Destroy an unused HWPT, and allocate one, which has no tables yet. */
static bool replace_hwpt(void)
{
	struct vmm *vmm = &soak.d.vmm;
	unsigned int way;

	for (way = 0; way < WAYS; way++) {
		if (soak.attached[way] == OTHER_FLAT)
			return true;
	}
	event("HWPT %d anew", OTHER_FLAT);
	if (!destroy(vmm, soak.hwpts[OTHER_FLAT]))
		return fail("a HWPT cannot be destroyed");
	soak.hwpts[OTHER_FLAT] = new_paging(vmm, IOMMU_HWPT_ALLOC_DEMAND, 0);
	return soak.hwpts[OTHER_FLAT] || fail("no HWPT");
}

static bool only_list_is_pinned(void)
{
	return status_kib("VmPin") == (long)PAGE / 1024 && !status_kib("VmLck");
}

/* Another HWPT of the IOAS comes, which pins all that is mapped, or goes. */
static bool toggle_pinned(void)
{
	struct vmm *vmm = &soak.d.vmm;
	unsigned int way;

	event("pinned HWPT %s", soak.hwpts[PINNED] ? "goes" : "comes");
	if (!soak.hwpts[PINNED]) {
		soak.limited = false;
		write_file(CGROUP "/memory.max", "max");
		memset(soak.stale, false, sizeof(soak.stale));
		soak.hwpts[PINNED] = new_paging(vmm, 0, 0);
		count.pinned++;
		return soak.hwpts[PINNED] ? set_hwpt(random_below(WAYS), PINNED) :
		       fail("no HWPT that pins");
	}
	for (way = 0; way < WAYS; way++) {
		if (soak.attached[way] == PINNED && !set_hwpt(way, random_below(PINNED)))
			return false;
	}
	if (!destroy(vmm, soak.hwpts[PINNED]))
		return fail("a HWPT that pins cannot be destroyed");
	soak.hwpts[PINNED] = 0;
	return only_list_is_pinned() || fail("pages stay pinned");
}

/*
 * Discard a page while a worker maps it, at a random moment of the time that a request
 * takes, which is measured with the first one.
 */
static bool race_with_worker(void)
{
	unsigned int way = random_below(WAYS), i, p, part;
	struct transfer t = { .write = true, .way = way, .n = PER_PAGE };
	long takes = 0, start;

	if (soak.attached[way] == PINNED)
		return true;
	event("race, PASID %#x", pasid_of[way]);
	soak.disturbed = false;
	for (i = 0; i < 8; i++) {
		p = random_below(HUGE);
		part = random_below(1024);
		t.key = new_key();
		t.first = p * PER_PAGE;
		t.addr = device_address(way, t.first, t.n, ALIASES);
		if (!t.addr || !discard(p, 1))
			continue;
		start = now_us();
		begin_transfer(VTDT_WRITE, way, t.addr, PAGE, t.key);
		spin_us(takes * part / 1024);
		if (!discard(p, 1) || finish_transfer(&soak.d) != VTDT_OK)
			return fail("the device is refused");
		takes = i ? takes : now_us() - start;
		if (!settle(&t))
			return false;
	}
	return true;
}

static bool act_when_idle(void)
{
	/* For a third of the rounds: meanwhile, little can be reclaimed. */
	if (soak.round % 24 == 8 || soak.round % 24 == 16)
		return toggle_pinned();
	switch (random_below(14)) {
	case 0: return check_refused();
	case 1: return check_refused_by_mprotect();
	case 2: return write_freed_pages();
	case 3: return wait_for_child();
	case 4: return random_below(4) ? true : cpu_compares(0, SECTORS);
	case 5: return toggle_area();
	case 6: return toggle_alias();
	case 7: return change_hwpt(true);
	case 8:
	case 9: return race_with_worker();
	case 10: return replace_hwpt();
	default: return true;
	}
}

/* ---- rounds ---- */

static bool preserve_data(void)
{
	count.preserved++;
	switch (random_below(9)) {
	case 0: merge(); return true;
	case 1: limit(); return true;
	case 2: return toggle_protection();
	case 3: return fork_child();
	case 4: change_huge_pages(); return true;
	case 5: migrate(); return true;
	case 6:
	case 7: page_out_often(); return true;
	default: page_out(); return true;
	}
}

static bool change_something(void)
{
	switch (random_below(16)) {
	case 0:
	case 1: return discard_pages();
	case 2: return move();
	case 3:
	case 4: write_sectors(); return true;
	case 5: repeat_pages(); return true;
	case 6: return compare_pages();
	case 7:
	case 8:
	case 9: return discard_written_pages();
	default: return preserve_data();
	}
}

/* Rarely, as little can be checked of interrupted transfers */
static bool disturb_transfers(void)
{
	switch (random_below(40)) {
	case 0: return change_hwpt(false);
	case 1: return toggle_area();
	case 2: return toggle_alias();
	default: return true;
	}
}

static bool wait_for_device(void)
{
	unsigned int looks = 0;

	while (*reg(&soak.d.vmm.dev, VTDT_BUSY)) {
		serve_late();
		if (++looks > 300)
			sleep_ms(1);
		if (looks > PATIENCE)
			return fail("transfers do not end");
	}
	return *reg(&soak.d.vmm.dev, VTDT_LIST_STATUS) == VTDT_LIST_DONE ||
	       fail("a list cannot be fetched or written to");
}

static bool do_round(void)
{
	struct testdev *dev = &soak.d.vmm.dev;
	unsigned int i, things = random_below(6);

	soak.round++;
	event("round %lu", soak.round);
	soak.disturbed = false;
	*reg(dev, VTDT_GROUP_SIZE) = 1 << random_below(6);
	if (!random_below(8) && !begin_late())
		return false;
	for (i = 0; i < COMMANDS; i++)
		new_command(i);

	start_list(dev, LISTS, 0, COMMANDS);
	/* always reclaiming would slow down everything else */
	soak.working = random_below(2);
	if (soak.round % 10 == 0 && !(soak.online ? take_block() : bring_block()))
		return false;
	for (i = 0; i < things; i++) {
		serve_late();
		if (!change_something() || !disturb_transfers())
			return false;
	}
	if (!wait_for_device())
		return false;
	soak.working = false;
	end_late();
	memset(soak.busy, 0, sizeof(soak.busy));
	for (i = 0; i < COMMANDS; i++) {
		if (!finish(i))
			return false;
	}
	/* not always: some pages should be swapped out that only the device has accessed */
	for (i = 0; i < COMMANDS; i++) {
		if (random_below(2) &&
		    !cpu_compares(soak.transfers[i].first, soak.transfers[i].n))
			return false;
	}
	return act_when_idle();
}

/* ---- the program ---- */

/*
 * At the limit, the kernel may find nothing to reclaim for a moment. It must not kill this
 * process then: accesses wait, and devices repeat their requests.
 */
static bool enter_cgroup(void)
{
	return !mkdir(CGROUP, 0755) && write_file(CGROUP "/cgroup.procs", "0") &&
	       write_file("/proc/self/oom_score_adj", "-1000");
}

/* Have khugepaged and ksmd scan often. */
static void wake_daemons(bool on)
{
	write_file(THP "khugepaged/scan_sleep_millisecs", on ? "50" : "10000");
	write_file(THP "khugepaged/alloc_sleep_millisecs", on ? "50" : "60000");
	write_file(KSM "sleep_millisecs", "20");
	write_file(KSM "run", on ? "1" : "2");
}

static bool open_memory(void)
{
	size_t shared = (HUGE - SHARED) * PAGE, huge = (PAGES - HUGE) * PAGE;

	soak.memory = new_memory(PAGES * PAGE, MADV_NOHUGEPAGE);
	soak.tables = new_memory(SZ_2M, MADV_NOHUGEPAGE);
	soak.source = new_memory(LATE_PAGES * PAGE, MADV_NOHUGEPAGE);
	soak.shared = memfd_create("soak", MFD_CLOEXEC);
	signal(SIGALRM, ignore_signal);
	return soak.memory && soak.tables && soak.source &&
	       !ftruncate(soak.shared, shared) &&
	       mmap(page(SHARED), shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
		    soak.shared, 0) == page(SHARED) &&
	       mmap(page(HUGE), huge, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS |
		    MAP_HUGETLB | MAP_FIXED, -1, 0) == page(HUGE);
}

/* Lists have a separate IOAS, whose page is pinned. */
static bool open_lists(struct vmm *vmm)
{
	struct iommu_ioas_alloc alloc = { .size = sizeof(alloc) };
	unsigned int ioas = vmm->ioas;
	bool ok;

	soak.list = (void *)new_memory(PAGE, MADV_NOHUGEPAGE);
	if (!soak.list || ioctl(vmm->iommufd, IOMMU_IOAS_ALLOC, &alloc))
		return false;
	vmm->ioas = alloc.out_ioas_id;
	soak.lists = new_paging(vmm, 0, 0);
	ok = soak.lists && map_area(vmm, 0, soak.list, PAGE) &&
	     attach(vmm, LISTS, soak.lists);
	vmm->ioas = ioas;
	return ok;
}

/* The guest's tables are at 0; they map GVA + x to x. */
static unsigned int guest_tables(struct vmm *vmm)
{
	unsigned int root = new_page(vmm), i;

	for (i = 0; i < PAGES; i++)
		*entry(vmm, root, GVA + BASE + i * PAGE, 1, TABLE) =
			(BASE + i * PAGE) | LEAF;
	return root;
}

static bool open_hwpts(struct vmm *vmm)
{
	unsigned int i;

	vmm->guest = (void *)soak.tables;
	if (!map_area(vmm, 0, soak.tables, SZ_2M))
		return false;
	vmm->parent = new_parent(vmm, IOMMU_HWPT_ALLOC_DEMAND);
	if (!vmm->parent)
		return false;
	soak.hwpts[FLAT] = new_paging(vmm, IOMMU_HWPT_ALLOC_DEMAND, 0);
	soak.hwpts[OTHER_FLAT] = new_paging(vmm, IOMMU_HWPT_ALLOC_DEMAND, 0);
	soak.hwpts[NESTED] = nest(vmm, guest_tables(vmm), 0);
	for (i = 0; i < AREAS; i++) {
		soak.mapped[i] = true;
		if (!map_pages(BASE + bounds[i] * PAGE, bounds[i], bounds[i + 1] - bounds[i]))
			return false;
	}
	return soak.hwpts[FLAT] && soak.hwpts[OTHER_FLAT] && soak.hwpts[NESTED];
}

static bool begin_soak(void)
{
	struct iommu_ioas_alloc alloc = { .size = sizeof(alloc) };
	struct vmm *vmm = &soak.d.vmm;
	unsigned int way;

	vmm->iommufd = open("/dev/iommu", O_RDWR | O_CLOEXEC);
	if (!enter_cgroup() || !open_memory())
		return fail("no memory");
	if (!open_device(&vmm->dev, getenv("TESTDEV"), vmm->iommufd) ||
	    ioctl(vmm->iommufd, IOMMU_IOAS_ALLOC, &alloc))
		return fail("no device");
	if (!find_block(soak.block, sizeof(soak.block), &soak.block_pfn, &soak.block_pages))
		return fail("no memory block");
	vmm->ioas = alloc.out_ioas_id;
	if (!open_lists(vmm) || !open_hwpts(vmm))
		return fail("no HWPTs");
	for (way = 0; way < WAYS; way++) {
		soak.attached[way] = -1;
		if (!set_hwpt(way, way))
			return false;
	}
	wake_daemons(true);
	return !pthread_create(&soak.reclaimer, NULL, reclaim, NULL) || fail("no thread");
}

static void end_soak(void)
{
	struct demand *d = &soak.d;

	soak.ending = true;
	if (soak.reclaimer)
		pthread_join(soak.reclaimer, NULL);
	wait_for_child();
	if (soak.online && !soak.failed)
		take_block();
	if (soak.hwpts[PINNED] && !soak.failed)
		toggle_pinned();
	if (!only_list_is_pinned())
		fail("something is pinned");
	munmap((void *)d->vmm.dev.regs, 0x10000);
	close(d->vmm.dev.fd);
	close(d->vmm.iommufd);
	if (status_kib("VmPin"))
		fail("something stays pinned");
	wake_daemons(false);
	write_file("/sys/fs/cgroup/cgroup.procs", "0");
	rmdir(CGROUP);
}

static bool did_all_kinds(void)
{
	return count.reads && count.writes && count.late && count.lost && count.preserved &&
	       count.pinned && count.by_pinned && count.evicted;
}

/* Has the soak taken its time, and done something of each kind? */
static bool is_done(long end)
{
	return now_ms() >= end && soak.round >= MIN_ROUNDS &&
	       (did_all_kinds() || soak.round >= MAX_ROUNDS);
}

int main(void)
{
	const char *seconds = getenv("SECONDS"), *given = getenv("SEED");
	const char *rounds = getenv("ROUNDS");
	unsigned long last = rounds ? strtoul(rounds, NULL, 0) : ~0UL, requests = 0;
	long end = now_ms() + 1000 * (seconds ? atol(seconds) : 20);

	seed = given ? strtoull(given, NULL, 0) : (uint64_t)time(NULL);
	seed += !seed;
	setlinebuf(stdout);
	printf("TAP version 13\n1..1\n# SEED=%#lx\n", seed);
	if (begin_soak()) {
		while (soak.round < last && (rounds || !is_done(end)) && do_round()) {
			if (soak.round == 100)
				printf("# after 100 rounds: %#lx\n", seed);
		}
		requests = page_requests(&soak.d);
		end_soak();
	}
	printf("# %lu rounds: %lu reads, %lu writes, %lu interrupted, %lu page requests; the CPU compared %lu MiB\n",
	       soak.round, count.reads, count.writes, count.cut, requests,
	       count.compared >> 20);
	printf("# meanwhile: %lu pages lost, %lu moved, %lu late, %lu forks, %lu operations that preserve data\n",
	       count.lost, count.moved, count.late, count.forked, count.preserved);
	printf("# %lu times pinned, %lu transfers by that HWPT\n", count.pinned,
	       count.by_pinned);
	printf("# %lu times a block offline, %lu times busy, with %lu pages and %lu of hugetlb\n",
	       count.offline, count.busy, count.evicted, count.evicted_huge);
	printf("# %lu areas mapped, %lu PASIDs attached or detached, %lu times refused\n",
	       count.mapped, count.attached, count.denied);
	if (!requests || !did_all_kinds())
		fail("some kinds of operations were not done");
	printf("%sok 1 demand_soak\n", soak.failed ? "not " : "");
	return soak.failed;
}
