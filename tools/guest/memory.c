// SPDX-License-Identifier: GPL-2.0
/*
 * Shows that this guest has everything that moves or removes memory of a program:
 * each test checks the effect.  No device takes part.  Prints TAP.
 *
 * The suite "memory" prepares a swap device on zram, cgroup2 with the memory
 * controller, huge pages, two nodes, and a DIMM that is offline.
 */
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/mempolicy.h>
#include <linux/mman.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include "clock.h"
#include "kselftest_harness.h"

#define CGROUP		"/sys/fs/cgroup/"
#define KSM		"/sys/kernel/mm/ksm/"
#define KHUGEPAGED	"/sys/kernel/mm/transparent_hugepage/khugepaged/"
#define HUGETLB		"/sys/kernel/mm/hugepages/hugepages-2048kB/"
#define BLOCKS		"/sys/devices/system/memory/"
#define DIMM		"/sys/bus/acpi/devices/PNP0C80:00/"

#define PAGE		4096UL
#define SZ_2M		(2UL << 20)
#define HUGE_PAGES	(SZ_2M / PAGE)
#define PAGEMAP_PFN	((1UL << 55) - 1)
#define KPF_THP		22		/* Documentation/admin-guide/mm/pagemap.rst */

/* for events in the background, in rounds as wait_until(), but longer ones */
#define EVENTUALLY(condition) ({					\
	int rounds_ = 3000;						\
	bool met_;							\
	while (!(met_ = (condition)) && rounds_-- > 0)			\
		sleep_ms(20);						\
	met_;								\
})

/* ---- files ---- */

static bool write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);
	ssize_t written;

	if (fd < 0)
		return false;
	written = write(fd, text, strlen(text));
	close(fd);
	return written == (ssize_t)strlen(text);
}

/* An empty string if there is no such file */
static const char *read_file(const char *path)
{
	static char text[8192];
	int fd = open(path, O_RDONLY);
	ssize_t got = -1;

	if (fd >= 0) {
		got = read(fd, text, sizeof(text) - 1);
		close(fd);
	}
	text[got > 0 ? got : 0] = '\0';
	return text;
}

static bool file_says(const char *path, const char *text)
{
	return !strcmp(read_file(path), text);
}

/* The number behind NAME in a file, or the first in it; -1 if there is none */
static long number_in(const char *path, const char *name)
{
	const char *text = read_file(path);
	long number;

	if (name) {
		text = strstr(text, name);
		text = text ? text + strlen(name) : "";
	}
	return sscanf(text, "%ld", &number) == 1 ? number : -1;
}

static long number(const char *path)
{
	return number_in(path, NULL);
}

static uint64_t entry_of(const char *path, unsigned long index)
{
	uint64_t entry = 0;
	int fd = open(path, O_RDONLY);

	if (fd >= 0) {
		if (pread(fd, &entry, sizeof(entry), index * sizeof(entry)) < 0)
			entry = 0;
		close(fd);
	}
	return entry;
}

/* ---- memory ---- */

static char *new_memory(size_t size, int advice)
{
	char *memory = mmap(NULL, size + SZ_2M, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		return NULL;
	memory = (void *)(((unsigned long)memory + SZ_2M - 1) & ~(SZ_2M - 1));
	return madvise(memory, size, advice) ? NULL : memory;
}

static char *small_pages(unsigned int count)
{
	return new_memory(count * PAGE, MADV_NOHUGEPAGE);
}

/* Each word eight times, so that it can be compressed */
static uint64_t pattern(unsigned int seed, unsigned int word)
{
	return (((uint64_t)seed << 32) + word / 8 + 1) * 0x61c8864680b583ebULL;
}

static void fill_page(char *page, unsigned int seed)
{
	uint64_t *words = (void *)page;
	unsigned int i;

	for (i = 0; i < PAGE / sizeof(*words); i++)
		words[i] = pattern(seed, i);
}

static bool page_holds(const char *page, unsigned int seed)
{
	const volatile uint64_t *words = (void *)page;
	unsigned int i;

	for (i = 0; i < PAGE / sizeof(*words); i++)
		if (words[i] != pattern(seed, i))
			return false;
	return true;
}

/* Pages that all differ, in one process */
static void fill(char *memory, unsigned int pages)
{
	unsigned int i;

	for (i = 0; i < pages; i++)
		fill_page(memory + i * PAGE, i);
}

static bool holds(const char *memory, unsigned int pages)
{
	unsigned int i;

	for (i = 0; i < pages; i++)
		if (!page_holds(memory + i * PAGE, i))
			return false;
	return true;
}

/* How many of these pages are PAGE_IS_...; -1 after an error */
static long pages_that_are(uint64_t category, const char *memory, unsigned int pages)
{
	struct page_region regions[64];
	struct pm_scan_arg arg = {
		.size = sizeof(arg),
		.start = (unsigned long)memory,
		.end = (unsigned long)memory + pages * PAGE,
		.vec = (unsigned long)regions,
		.vec_len = 64,
		.category_mask = category,
		.return_mask = category,
	};
	int fd = open("/proc/self/pagemap", O_RDONLY), i, found;
	long sum = 0;

	while (sum >= 0 && arg.start < arg.end) {
		found = ioctl(fd, PAGEMAP_SCAN, &arg);
		if (found < 0)
			sum = -1;
		for (i = 0; i < found; i++)
			sum += (regions[i].end - regions[i].start) / PAGE;
		arg.start = arg.walk_end;
	}
	close(fd);
	return sum;
}

static unsigned long pfn_of(const char *page)
{
	return entry_of("/proc/self/pagemap", (unsigned long)page / PAGE) & PAGEMAP_PFN;
}

/* In a large folio, whatever it is mapped by */
static bool in_large_folio(const char *page)
{
	return entry_of("/proc/kpageflags", pfn_of(page)) >> KPF_THP & 1;
}

/* The PID of a child that runs the statement and exits */
#define in_child(statement) ({						\
	pid_t pid_ = fork();						\
	if (!pid_) {							\
		statement;						\
		_exit(0);						\
	}								\
	pid_;								\
})

static int status_of(pid_t pid)
{
	int status = -1;

	waitpid(pid, &status, 0);
	return status;
}

/* ---- programs that change their own memory ---- */

TEST(dontneed_gives_zeroes)
{
	char *memory = small_pages(64);
	unsigned int i, zeroes = 0;

	ASSERT_NE(NULL, memory);
	fill(memory, 64);
	ASSERT_EQ(64, pages_that_are(PAGE_IS_PRESENT, memory, 64));
	ASSERT_EQ(0, madvise(memory, 64 * PAGE, MADV_DONTNEED));
	EXPECT_EQ(0, pages_that_are(PAGE_IS_PRESENT, memory, 64));
	for (i = 0; i < 64; i++)
		zeroes += !memory[i * PAGE];
	EXPECT_EQ(64, zeroes);
	fill(memory, 64);
	EXPECT_TRUE(holds(memory, 64));
}

TEST(fork_copies_on_write)
{
	char *page = small_pages(1), byte;
	unsigned long pfn;
	int written[2];
	pid_t child;

	ASSERT_NE(NULL, page);
	fill_page(page, 1);
	pfn = pfn_of(page);
	ASSERT_NE(0, pfn);
	ASSERT_EQ(0, pipe(written));
	child = in_child({
		if (read(written[0], &byte, 1) != 1 || !page_holds(page, 1) ||
		    pfn_of(page) != pfn)
			_exit(1);
	});
	fill_page(page, 2);
	EXPECT_NE(pfn, pfn_of(page));
	ASSERT_EQ(1, write(written[1], "", 1));
	EXPECT_EQ(0, status_of(child));
	EXPECT_TRUE(page_holds(page, 2));
}

TEST(mremap_keeps_the_page)
{
	char *page = small_pages(1), *to = small_pages(1);
	unsigned char resident;
	unsigned long pfn;

	ASSERT_NE(NULL, page);
	ASSERT_NE(NULL, to);
	fill_page(page, 1);
	pfn = pfn_of(page);
	ASSERT_EQ(to, mremap(page, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, to));
	EXPECT_EQ(pfn, pfn_of(to));
	EXPECT_TRUE(page_holds(to, 1));
	EXPECT_EQ(-1, mincore(page, PAGE, &resident));
	EXPECT_EQ(ENOMEM, errno);
}

TEST(mprotect_is_obeyed)
{
	int zero = open("/dev/zero", O_RDONLY), ends[2];
	char *page = small_pages(1);

	ASSERT_NE(NULL, page);
	ASSERT_LE(0, zero);
	ASSERT_EQ(0, pipe(ends));
	fill_page(page, 1);
	ASSERT_EQ(0, mprotect(page, PAGE, PROT_READ));
	EXPECT_EQ(-1, read(zero, page, PAGE));
	EXPECT_EQ(EFAULT, errno);
	EXPECT_TRUE(page_holds(page, 1));
	ASSERT_EQ(0, mprotect(page, PAGE, PROT_NONE));
	EXPECT_EQ(-1, write(ends[1], page, 1));
	EXPECT_EQ(EFAULT, errno);
	ASSERT_EQ(0, mprotect(page, PAGE, PROT_READ | PROT_WRITE));
	EXPECT_EQ(PAGE, read(zero, page, PAGE));
	EXPECT_EQ(0, page[0]);
}

TEST(hugetlb)
{
	long unused = number(HUGETLB "free_hugepages");
	char *memory;

	ASSERT_LT(0, unused);
	memory = mmap(NULL, SZ_2M, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
	ASSERT_NE(MAP_FAILED, memory);
	fill(memory, HUGE_PAGES);
	EXPECT_EQ(unused - 1, number(HUGETLB "free_hugepages"));
	EXPECT_EQ(HUGE_PAGES, pages_that_are(PAGE_IS_HUGE, memory, HUGE_PAGES));
	EXPECT_EQ(0, pfn_of(memory) % HUGE_PAGES);
	EXPECT_TRUE(holds(memory, HUGE_PAGES));
	ASSERT_EQ(0, munmap(memory, SZ_2M));
	EXPECT_EQ(unused, number(HUGETLB "free_hugepages"));
}

/* Memory that the kernel must not read for others: get_user_pages() refuses it. */
TEST(secretmem_is_refused)
{
	int fd = syscall(SYS_memfd_secret, 0), ends[2];
	char *secret, *page = small_pages(1);
	struct iovec iov = { .iov_len = PAGE };

	ASSERT_LE(0, fd);
	ASSERT_NE(NULL, page);
	ASSERT_EQ(0, pipe(ends));
	ASSERT_EQ(0, ftruncate(fd, PAGE));
	secret = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ASSERT_NE(MAP_FAILED, secret);
	fill_page(secret, 1);
	fill_page(page, 1);
	EXPECT_TRUE(page_holds(secret, 1));
	iov.iov_base = secret;
	EXPECT_EQ(-1, vmsplice(ends[1], &iov, 1, 0));
	EXPECT_EQ(EFAULT, errno);
	iov.iov_base = page;
	EXPECT_EQ(PAGE, vmsplice(ends[1], &iov, 1, 0));
}

/* ---- userfaultfd ---- */

FIXTURE(late_page)
{
	char *page;
	int fd;
	pthread_t reader;
	bool has_read;
	unsigned char first;
};

static void *read_late(void *data)
{
	FIXTURE_DATA(late_page) *self = data;

	self->first = *(volatile unsigned char *)self->page;
	__atomic_store_n(&self->has_read, true, __ATOMIC_RELEASE);
	return NULL;
}

/* A thread waits for a page that only this program can provide. */
FIXTURE_SETUP(late_page)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register range = {
		.range.len = PAGE,
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};
	struct pollfd waiting = { .events = POLLIN };
	struct uffd_msg msg;

	self->page = small_pages(1);
	ASSERT_NE(NULL, self->page);
	self->fd = syscall(SYS_userfaultfd, O_CLOEXEC);
	ASSERT_LE(0, self->fd);
	ASSERT_EQ(0, ioctl(self->fd, UFFDIO_API, &api));
	range.range.start = (unsigned long)self->page;
	ASSERT_EQ(0, ioctl(self->fd, UFFDIO_REGISTER, &range));
	ASSERT_EQ(0, pthread_create(&self->reader, NULL, read_late, self));
	waiting.fd = self->fd;
	ASSERT_TRUE(comes(&waiting, 1));
	ASSERT_EQ(sizeof(msg), read(self->fd, &msg, sizeof(msg)));
	ASSERT_EQ(UFFD_EVENT_PAGEFAULT, msg.event);
	ASSERT_EQ((unsigned long)self->page, msg.arg.pagefault.address);
	sleep_ms(100);
	ASSERT_FALSE(__atomic_load_n(&self->has_read, __ATOMIC_ACQUIRE));
}

FIXTURE_TEARDOWN(late_page)
{
}

TEST_F(late_page, is_served)
{
	struct uffdio_copy copy = { .len = PAGE };
	char *source = small_pages(1);

	ASSERT_NE(NULL, source);
	fill_page(source, 1);
	copy.dst = (unsigned long)self->page;
	copy.src = (unsigned long)source;
	ASSERT_EQ(0, ioctl(self->fd, UFFDIO_COPY, &copy));
	ASSERT_EQ(0, pthread_join(self->reader, NULL));
	EXPECT_EQ((unsigned char)source[0], self->first);
	EXPECT_TRUE(page_holds(self->page, 1));
}

TEST_F(late_page, is_zero_after_close)
{
	ASSERT_EQ(0, close(self->fd));
	ASSERT_EQ(0, pthread_join(self->reader, NULL));
	EXPECT_EQ(0, self->first);
}

/* ---- large folios ---- */

TEST(thp_is_split_and_collapsed)
{
	char *memory = new_memory(SZ_2M, MADV_HUGEPAGE), range[64];

	ASSERT_NE(NULL, memory);
	fill(memory, HUGE_PAGES);
	ASSERT_EQ(HUGE_PAGES, pages_that_are(PAGE_IS_HUGE, memory, HUGE_PAGES));
	ASSERT_TRUE(in_large_folio(memory));
	snprintf(range, sizeof(range), "%d,%p,%p", getpid(), memory, memory + SZ_2M);
	ASSERT_TRUE(write_file("/sys/kernel/debug/split_huge_pages", range));
	EXPECT_EQ(0, pages_that_are(PAGE_IS_HUGE, memory, HUGE_PAGES));
	EXPECT_FALSE(in_large_folio(memory));
	EXPECT_TRUE(holds(memory, HUGE_PAGES));
	ASSERT_EQ(0, madvise(memory, SZ_2M, MADV_COLLAPSE));
	EXPECT_EQ(HUGE_PAGES, pages_that_are(PAGE_IS_HUGE, memory, HUGE_PAGES));
	EXPECT_TRUE(holds(memory, HUGE_PAGES));
}

/* The mapping is split, the folio is not. */
TEST(thp_is_mapped_in_parts)
{
	char *memory = new_memory(SZ_2M, MADV_HUGEPAGE);

	ASSERT_NE(NULL, memory);
	fill(memory, HUGE_PAGES);
	ASSERT_EQ(HUGE_PAGES, pages_that_are(PAGE_IS_HUGE, memory, HUGE_PAGES));
	ASSERT_EQ(0, mprotect(memory, PAGE, PROT_READ));
	EXPECT_EQ(0, pages_that_are(PAGE_IS_HUGE, memory, HUGE_PAGES));
	EXPECT_TRUE(in_large_folio(memory));
	EXPECT_TRUE(holds(memory, HUGE_PAGES));
}

TEST(khugepaged_collapses)
{
	char *memory = small_pages(HUGE_PAGES);

	ASSERT_NE(NULL, memory);
	fill(memory, HUGE_PAGES);
	ASSERT_EQ(0, pages_that_are(PAGE_IS_HUGE, memory, HUGE_PAGES));
	ASSERT_TRUE(write_file(KHUGEPAGED "scan_sleep_millisecs", "10"));
	ASSERT_EQ(0, madvise(memory, SZ_2M, MADV_HUGEPAGE));
	EXPECT_TRUE(EVENTUALLY(pages_that_are(PAGE_IS_HUGE, memory, HUGE_PAGES) ==
			       HUGE_PAGES));
	EXPECT_TRUE(holds(memory, HUGE_PAGES));
	write_file(KHUGEPAGED "scan_sleep_millisecs", "10000");
}

/* ---- KSM ---- */

static unsigned int same_pages(const char *a, const char *b, unsigned int pages)
{
	unsigned int i, same = 0;

	for (i = 0; i < pages; i++)
		same += pfn_of(a + i * PAGE) == pfn_of(b + i * PAGE);
	return same;
}

TEST(ksm_merges_and_unmerges)
{
	char *a = small_pages(16), *b = small_pages(16);

	ASSERT_NE(NULL, a);
	ASSERT_NE(NULL, b);
	fill(a, 16);
	fill(b, 16);
	ASSERT_EQ(0, same_pages(a, b, 16));
	ASSERT_TRUE(write_file(KSM "smart_scan", "0"));
	ASSERT_TRUE(write_file(KSM "sleep_millisecs", "10"));
	ASSERT_TRUE(write_file(KSM "run", "1"));
	ASSERT_EQ(0, madvise(a, 16 * PAGE, MADV_MERGEABLE));
	ASSERT_EQ(0, madvise(b, 16 * PAGE, MADV_MERGEABLE));
	EXPECT_TRUE(EVENTUALLY(same_pages(a, b, 16) == 16));
	EXPECT_EQ(16, number(KSM "pages_sharing"));
	EXPECT_TRUE(holds(a, 16));
	EXPECT_TRUE(holds(b, 16));
	fill_page(a, 100);
	EXPECT_EQ(15, same_pages(a, b, 16));
	EXPECT_TRUE(holds(b, 16));
	ASSERT_EQ(0, madvise(a, 16 * PAGE, MADV_UNMERGEABLE));
	EXPECT_EQ(0, same_pages(a, b, 16));
	EXPECT_TRUE(page_holds(a, 100));
	EXPECT_TRUE(page_holds(a + PAGE, 1));
	EXPECT_TRUE(holds(b, 16));
	write_file(KSM "run", "0");
}

/* ---- swap and cgroups ---- */

TEST(swap_out_and_in)
{
	const unsigned int pages = 2048;
	char *memory = small_pages(pages);
	long stored = number("/sys/block/zram0/mm_stat");

	ASSERT_NE(NULL, memory);
	ASSERT_LE(0, stored);
	fill(memory, pages);
	EXPECT_TRUE(EVENTUALLY(!madvise(memory, pages * PAGE, MADV_PAGEOUT) &&
		pages_that_are(PAGE_IS_SWAPPED, memory, pages) == pages));
	EXPECT_EQ(0, pages_that_are(PAGE_IS_PRESENT, memory, pages));
	EXPECT_LE(stored + pages * PAGE, number("/sys/block/zram0/mm_stat"));
	EXPECT_TRUE(holds(memory, pages));
	EXPECT_EQ(pages, pages_that_are(PAGE_IS_PRESENT, memory, pages));
}

#define LIMIT		(16UL << 20)

static bool set_limits(const char *group, const char *max, const char *swap_max)
{
	char path[128];

	snprintf(path, sizeof(path), CGROUP "%s", group);
	mkdir(path, 0755);
	snprintf(path, sizeof(path), CGROUP "%s/memory.swap.max", group);
	if (!write_file(path, swap_max))
		return false;
	snprintf(path, sizeof(path), CGROUP "%s/memory.max", group);
	return write_file(path, max);
}

/* Twice the limit, written once and read twice */
static void need_twice_the_limit(const char *procs)
{
	const unsigned int pages = 2 * LIMIT / PAGE;
	char *memory = small_pages(pages);

	if (!memory || !write_file(procs, "0"))
		_exit(1);
	fill(memory, pages);
	if (!holds(memory, pages) || !holds(memory, pages))
		_exit(2);
}

TEST(memcg_limit_swaps)
{
	ASSERT_TRUE(set_limits("limit", "16M", "max"));
	EXPECT_EQ(0, status_of(in_child(need_twice_the_limit(CGROUP "limit/cgroup.procs"))));
	EXPECT_GE(LIMIT + SZ_2M, number(CGROUP "limit/memory.peak"));
	EXPECT_LE(LIMIT, number(CGROUP "limit/memory.swap.peak"));
	EXPECT_EQ(0, number_in(CGROUP "limit/memory.events", "oom_kill "));
}

TEST(memcg_oom_kills_the_child)
{
	const unsigned int pages = LIMIT / 2 / PAGE;
	int ready[2], end[2], status;
	pid_t other;
	char byte;

	ASSERT_TRUE(set_limits("oom", "16M", "0"));
	ASSERT_TRUE(set_limits("other", "16M", "0"));
	ASSERT_EQ(0, pipe(ready));
	ASSERT_EQ(0, pipe(end));
	other = in_child({
		char *memory = small_pages(pages);

		if (!memory || !write_file(CGROUP "other/cgroup.procs", "0"))
			_exit(1);
		fill(memory, pages);
		if (write(ready[1], "", 1) != 1 || read(end[0], &byte, 1) != 1 ||
		    !holds(memory, pages))
			_exit(2);
	});
	ASSERT_EQ(1, read(ready[0], &byte, 1));
	status = status_of(in_child(need_twice_the_limit(CGROUP "oom/cgroup.procs")));
	EXPECT_TRUE(WIFSIGNALED(status));
	EXPECT_EQ(SIGKILL, WTERMSIG(status));
	EXPECT_EQ(1, number_in(CGROUP "oom/memory.events", "oom_kill "));
	ASSERT_EQ(1, write(end[1], "", 1));
	EXPECT_EQ(0, status_of(other));
	EXPECT_EQ(0, number_in(CGROUP "other/memory.events", "oom_kill "));
}

/* ---- nodes and DIMMs ---- */

static int node_of(char *page)
{
	void *pages[] = { page };
	int status = -1;

	return syscall(SYS_move_pages, 0, 1UL, pages, NULL, &status, 0) ? -1 : status;
}

TEST(two_nodes)
{
	EXPECT_TRUE(file_says("/sys/devices/system/node/has_memory", "0-1\n"));
	EXPECT_TRUE(file_says("/sys/devices/system/node/node0/cpulist", "0\n"));
	EXPECT_TRUE(file_says("/sys/devices/system/node/node1/cpulist", "1\n"));
}

TEST(pages_move_between_nodes)
{
	int to, round, status;
	unsigned long pfn;
	void *pages[1];
	char *page = small_pages(1);

	ASSERT_NE(NULL, page);
	fill_page(page, 1);
	pages[0] = page;
	for (round = 0; round < 2; round++) {
		to = !node_of(page);
		pfn = pfn_of(page);
		ASSERT_EQ(0, syscall(SYS_move_pages, 0, 1UL, pages, &to, &status,
				     MPOL_MF_MOVE));
		EXPECT_EQ(to, node_of(page));
		EXPECT_NE(pfn, pfn_of(page));
		EXPECT_TRUE(page_holds(page, 1));
	}
}

/* The DIMM is the only memory that Linux leaves offline when it boots. */
FIXTURE(dimm)
{
	char state[64];			/* of its first block, the file */
	unsigned long first_pfn, pages;	/* and what is in that */
	char *memory;
};

static bool in_block(const FIXTURE_DATA(dimm) *self, const char *page)
{
	return pfn_of(page) - self->first_pfn < self->pages;
}

static long memory_total(void)
{
	return number_in("/proc/meminfo", "MemTotal:") * 1024;
}

/* Brings the block online, with pages of ours in it */
static bool occupy(FIXTURE_DATA(dimm) *self)
{
	unsigned long node1 = 1 << 1;

	self->memory = small_pages(64);
	if (!self->memory || !write_file(self->state, "online_movable") ||
	    syscall(SYS_mbind, self->memory, 64 * PAGE, MPOL_BIND, &node1, 3UL, 0UL))
		return false;
	fill(self->memory, 64);
	return in_block(self, self->memory) && in_block(self, self->memory + 63 * PAGE);
}

FIXTURE_SETUP(dimm)
{
	unsigned long size, block;

	size = strtoul(read_file(BLOCKS "block_size_bytes"), NULL, 16);
	ASSERT_NE(0, size);
	for (block = 0; block < 1000; block++) {
		snprintf(self->state, sizeof(self->state), BLOCKS "memory%lu/state", block);
		if (file_says(self->state, "offline\n"))
			break;
	}
	ASSERT_NE(1000, block);
	self->first_pfn = block * size / PAGE;
	self->pages = size / PAGE;
}

FIXTURE_TEARDOWN(dimm)
{
}

TEST_F(dimm, block_goes_offline)
{
	long total = memory_total();

	ASSERT_TRUE(occupy(self));
	EXPECT_EQ(total + self->pages * PAGE, memory_total());
	ASSERT_TRUE(write_file(self->state, "offline"));
	EXPECT_EQ(total, memory_total());
	EXPECT_FALSE(in_block(self, self->memory));
	EXPECT_EQ(64, pages_that_are(PAGE_IS_PRESENT, self->memory, 64));
	EXPECT_TRUE(holds(self->memory, 64));
}

TEST_F(dimm, is_ejected)
{
	ASSERT_TRUE(file_says(DIMM "status", "15\n"));
	ASSERT_TRUE(occupy(self));
	ASSERT_TRUE(write_file(DIMM "eject", "1"));
	EXPECT_TRUE(EVENTUALLY(access(self->state, F_OK)));
	EXPECT_TRUE(EVENTUALLY(!file_says(DIMM "status", "15\n")));
	EXPECT_FALSE(in_block(self, self->memory));
	EXPECT_TRUE(holds(self->memory, 64));
}

TEST_HARNESS_MAIN
