// SPDX-License-Identifier: GPL-2.0
/*
 * Demand paging without memory: each allocation of a VMM's calls, and of the workers that
 * serve page requests, fails in turn.  A call fails with ENOMEM and succeeds when it is
 * repeated; a device repeats its request, and its data arrives.  Nothing leaks.  Prints TAP.
 *
 * The suite "demand" prepares cgroups, swap and huge pages.
 */
#include <sys/stat.h>
#include <sys/wait.h>

#include "kselftest_harness.h"
#include "vtd_demand_machine.h"

#define DEBUG		"/sys/kernel/debug/"
#define CGROUP		"/sys/fs/cgroup/fail"
#define MAX_ALLOCATIONS		300		/* allocations of one call */
#define REPEATS		100		/* of each that fails */

static const char *const kinds[] = { "failslab", "fail_page_alloc" };

static bool set(const char *kind, const char *name, const char *value)
{
	char path[100];

	snprintf(path, sizeof(path), DEBUG "%s/%s", kind, name);
	return write_file(path, value);
}

static bool set_number(const char *kind, const char *name, long value)
{
	char text[30];

	snprintf(text, sizeof(text), "%ld", value);
	return set(kind, name, text);
}

/* Also fail allocations that may sleep, and print nothing. */
static bool prepare_injection(void)
{
	unsigned int i;

	for (i = 0; i < 2; i++) {
		if (!set(kinds[i], "ignore-gfp-wait", "N") || !set(kinds[i], "verbose", "0"))
			return false;
	}
	/* fail_iommufd, for its selftest, fails more than allocations: never. */
	return set("fail_page_alloc", "ignore-gfp-highmem", "N") &&
	       set("fail_page_alloc", "min-order", "0") &&
	       set("fail_iommufd", "require-start", "0x1") &&
	       set("fail_iommufd", "require-end", "0x2");
}

/* ---- leaks ---- */

/* Bytes of the kernel that the process is charged for: tables for devices, and objects */
static long kernel_memory(void)
{
	/* Without this, memory.stat may be two seconds old. */
	number_in(CGROUP "/cpu.stat", "usage_usec");
	return number_in(CGROUP "/memory.stat", "sec_pagetables") +
	       number_in(CGROUP "/memory.stat", "slab_unreclaimable");
}

/* The same, once it has stopped falling: the kernel frees some of it asynchronously. */
static long settled_memory(void)
{
	long least = kernel_memory(), now;
	unsigned int same;

	for (same = 0; same < 10; same++) {
		sleep_ms(20);
		now = kernel_memory();
		if (now < least) {
			least = now;
			same = 0;
		}
	}
	return least;
}

/* ---- calls ---- */

static int fail_nth;

/* Make the @n-th allocation of this thread from now on fail. */
static void fail_allocation(unsigned int n)
{
	char text[20];

	pwrite(fail_nth, text, snprintf(text, sizeof(text), "%u", n), 0);
}

/* Did it fail? These system calls allocate memory, too. */
static bool has_failed(void)
{
	char text[20] = "";
	bool failed;

	failed = pread(fail_nth, text, sizeof(text) - 1, 0) > 0 && atoi(text) == 0;
	while (pwrite(fail_nth, "0", 1, 0) != 1)
		failed = false;
	return failed;
}

/* A call that a VMM makes, what it does before, and a check of the result */
struct call {
	const char *name;
	bool (*before)(struct demand *d);
	bool (*call)(struct demand *d);
	bool (*after)(struct demand *d);
	unsigned int least;		/* number of allocations, at least */
};

static bool map_memory(struct demand *d)
{
	return map_area(&d->vmm, IOVA, d->memory, SIZE);
}

static bool new_flat(struct demand *d)
{
	d->hwpt = new_paging(&d->vmm, IOMMU_HWPT_ALLOC_DEMAND, 0);
	return d->hwpt;
}

static bool new_demand_parent(struct demand *d)
{
	d->vmm.parent = new_parent(&d->vmm, IOMMU_HWPT_ALLOC_DEMAND);
	return d->vmm.parent;
}

static bool attach_it(struct demand *d)
{
	return attach(&d->vmm, d->pasid, d->hwpt);
}

static bool works(struct demand *d)
{
	return device_writes(d, IOVA + SIZE / 2 - PAGE, 2 * PAGE, 1) == VTDT_OK &&
	       holds(d->memory + SIZE / 2 - PAGE, IOVA + SIZE / 2 - PAGE, 2 * PAGE, 1);
}

static bool attached_works(struct demand *d)
{
	return attach_it(d) && works(d);
}

/* Three areas, the first of which crosses a GiB of IOVA */
static bool map_three(struct demand *d)
{
	return map_memory(d) && map_area(&d->vmm, ELSEWHERE, d->memory, SIZE) &&
	       map_area(&d->vmm, 2 * ELSEWHERE, d->memory, PAGE);
}

static bool three_work(struct demand *d)
{
	return attached_works(d) &&
	       device_writes(d, ELSEWHERE, SIZE, 2) == VTDT_OK &&
	       device_writes(d, 2 * ELSEWHERE, PAGE, 3) == VTDT_OK &&
	       holds(d->memory, 2 * ELSEWHERE, PAGE, 3) &&
	       holds(d->memory + PAGE, ELSEWHERE + PAGE, SIZE - PAGE, 2);
}

/* A nested HWPT with a guest's tables; allocates the parent if there is none */
static bool nest_it(struct demand *d)
{
	d->nested = true;
	return nest_demand(d);
}

/* Another nested HWPT with the same tables */
static bool nest_again(struct demand *d)
{
	d->hwpt = nest(&d->vmm, d->root, 0);
	return d->hwpt;
}

static bool nested_works(struct demand *d)
{
	return nest_it(d) && attached_works(d);
}

static bool parent_and_memory(struct demand *d)
{
	return nest_it(d) && destroy(&d->vmm, d->hwpt) && map_memory(d);
}

static bool nested_and_memory(struct demand *d)
{
	return nest_it(d) && map_memory(d);
}

static bool flat_and_parent(struct demand *d)
{
	return nest_it(d) && new_flat(d);
}

static bool flat_and_memory(struct demand *d)
{
	return new_flat(d) && map_memory(d);
}

static bool flat_with_pasid(struct demand *d)
{
	d->pasid = 5;
	return flat_and_memory(d);
}

static bool nested_with_pasid(struct demand *d)
{
	d->pasid = 5;
	return nested_and_memory(d);
}

/* If the call fails, the old domain has to work as before. */
static bool attached_flat_and_nested(struct demand *d)
{
	return flat_and_memory(d) && attached_works(d) && nest_it(d);
}

static bool replace_it(struct demand *d)
{
	bool ok = attach_it(d);
	int error = errno;

	if (!ok && !works(d))
		error = EIO;
	errno = error;
	return ok;
}

static bool attached_all(struct demand *d)
{
	return flat_and_memory(d) && attached_works(d) &&
	       map_area(&d->vmm, ELSEWHERE, d->memory, SIZE) &&
	       device_writes(d, ELSEWHERE, SIZE, 1) == VTDT_OK;
}

static bool copy_memory(struct demand *d)
{
	struct iommu_ioas_copy copy = {
		.size = sizeof(copy), .flags = RW | IOMMU_IOAS_MAP_FIXED_IOVA,
		.src_ioas_id = d->vmm.ioas, .dst_ioas_id = d->vmm.ioas,
		.length = SIZE, .dst_iova = ELSEWHERE, .src_iova = IOVA,
	};

	return !ioctl(d->vmm.iommufd, IOMMU_IOAS_COPY, &copy);
}

static bool copy_works(struct demand *d)
{
	return attached_works(d) && device_reads(d, ELSEWHERE, PAGE, 1) == VTDT_FAILED &&
	       device_writes(d, ELSEWHERE, SIZE, 2) == VTDT_OK &&
	       holds(d->memory, ELSEWHERE, SIZE, 2);
}

/* A HWPT beside it pins the same areas. */
static bool flat_and_pinning(struct demand *d)
{
	return new_flat(d) && new_paging(&d->vmm, 0, 0);
}

static bool map_page(struct demand *d)
{
	return map_area(&d->vmm, ELSEWHERE, d->memory, PAGE);
}

static bool page_works(struct demand *d)
{
	return attach_it(d) && device_writes(d, ELSEWHERE, PAGE, 1) == VTDT_OK &&
	       holds(d->memory, ELSEWHERE, PAGE, 1);
}

/* Three areas that are copied at once */
static bool flat_and_three(struct demand *d)
{
	unsigned int i;

	for (i = 0; i < 3; i++)
		if (!map_area(&d->vmm, IOVA + i * SIZE / 4, d->memory + i * SIZE / 4, SIZE / 4))
			return false;
	return new_flat(d);
}

static bool copy_three(struct demand *d)
{
	struct iommu_ioas_copy copy = {
		.size = sizeof(copy), .flags = RW | IOMMU_IOAS_MAP_FIXED_IOVA,
		.src_ioas_id = d->vmm.ioas, .dst_ioas_id = d->vmm.ioas,
		.length = 3 * SIZE / 4, .dst_iova = ELSEWHERE, .src_iova = IOVA,
	};

	return !ioctl(d->vmm.iommufd, IOMMU_IOAS_COPY, &copy);
}

static bool copy_of_three_works(struct demand *d)
{
	return attach_it(d) && device_writes(d, ELSEWHERE, 3 * SIZE / 4, 2) == VTDT_OK &&
	       holds(d->memory, ELSEWHERE, 3 * SIZE / 4, 2);
}

static bool unmap_both(struct demand *d)
{
	return unmap_area(&d->vmm, 0, ALL);
}

static bool is_unmapped(struct demand *d)
{
	return device_writes(d, IOVA, PAGE, 1) == VTDT_DENIED &&
	       device_writes(d, ELSEWHERE, PAGE, 1) == VTDT_DENIED &&
	       map_memory(d) && works(d);
}

static const struct call calls[] = {
	{ "HWPT_ALLOC", map_memory, new_flat, attached_works, 4 },
	{ "HWPT_ALLOC, three areas", map_three, new_flat, three_work, 6 },
	{ "HWPT_ALLOC, nest parent", map_memory, new_demand_parent, nested_works, 4 },
	{ "HWPT_ALLOC, nested", parent_and_memory, nest_again, attached_works, 1 },
	{ "IOAS_MAP", flat_and_parent, map_memory, attached_works, 3 },
	{ "IOAS_COPY", flat_and_memory, copy_memory, copy_works, 2 },
	{ "IOAS_MAP, also pinned", flat_and_pinning, map_page, page_works, 4 },
	{ "IOAS_COPY, three areas", flat_and_three, copy_three, copy_of_three_works, 6 },
	{ "attach", flat_and_memory, attach_it, works, 4 },
	{ "attach, PASID", flat_with_pasid, attach_it, works, 4 },
	{ "attach, nested", nested_and_memory, attach_it, works, 4 },
	{ "attach, nested, PASID", nested_with_pasid, attach_it, works, 4 },
	{ "replace", attached_flat_and_nested, replace_it, works, 1 },
	{ "IOAS_UNMAP", attached_all, unmap_both, is_unmapped, 0 },
};

FIXTURE(without_memory)
{
	long before;
};

FIXTURE_SETUP(without_memory)
{
	char path[100];

	ASSERT_TRUE(prepare_injection());
	ASSERT_TRUE(!mkdir(CGROUP, 0755) || errno == EEXIST);
	ASSERT_TRUE(write_file(CGROUP "/cgroup.procs", "0"));
	snprintf(path, sizeof(path), "/proc/self/task/%u/fail-nth", getpid());
	fail_nth = open(path, O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, fail_nth);
}

FIXTURE_TEARDOWN(without_memory)
{
	close(fail_nth);
	EXPECT_EQ(0, status_kib("VmPin"));
	EXPECT_EQ(0, status_kib("VmLck"));
	write_file("/sys/fs/cgroup/cgroup.procs", "0");
	EXPECT_EQ(0, rmdir(CGROUP));
}

/*
 * Repeat the call with allocation @n failing, so that a leak adds up. Returns 0 if the
 * allocation has failed, 1 if there is no such allocation, -1 if the test fails.
 */
static int check_failed_call(const struct call *call, unsigned int n)
{
	bool ok = false, failed = true, ever = false, right;
	struct demand d;
	unsigned int i;
	int error = 0;

	if (!open_detached(&d, RID) || !call->before(&d)) {
		note("%s: cannot be prepared\n", call->name);
		return -1;
	}
	for (i = 0; i < REPEATS && !ok && failed; i++) {
		fail_allocation(n);
		ok = call->call(&d);
		error = errno;
		failed = has_failed();
		ever |= failed;
	}
	right = (ok || (failed && error == ENOMEM)) &&
		(ok || call->call(&d)) && call->after(&d);
	if (!right)
		note("%s, allocation %u: %s\n", call->name, n,
		     ok ? "does not work" : strerror(error));
	close_demand(&d);
	return !right ? -1 : !ever;
}

/* One more than the number of allocations of the call, 0 if the test fails */
static unsigned int fail_each_allocation(const struct call *call)
{
	unsigned int n;
	int ret = 0;

	for (n = 0; !ret && n < MAX_ALLOCATIONS; n++)
		ret = check_failed_call(call, n + 1);
	return ret == 1 ? n : 0;
}

TEST_F(without_memory, calls)
{
	unsigned int i, n;
	long before;

	for (i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		/* no failure: make the allocations that are made only once */
		EXPECT_EQ(1, check_failed_call(&calls[i], MAX_ALLOCATIONS));
		before = settled_memory();
		n = fail_each_allocation(&calls[i]);
		EXPECT_LT(calls[i].least, n);
		EXPECT_TRUE(wait_until(kernel_memory() - before < 8 * 1024));
		note("%s: %u allocations; %ld bytes leaked\n", calls[i].name, n - 1,
		     kernel_memory() - before);
	}
}

#define AREAS		1024
#define MOST_AREAS	32768		/* DEMAND_MAX_AREAS */

/* If HWPT_ALLOC fails at one of many areas, those before it do not count any more. */
TEST_F(without_memory, areas_of_failed_calls)
{
	unsigned int i, n, failed = 0, hwpt = 0;
	struct demand d;
	long before;
	int error;
	bool ok;

	ASSERT_TRUE(open_detached(&d, RID));
	for (i = 0; i < AREAS; i++)
		ASSERT_TRUE(map_area(&d.vmm, IOVA + i * PAGE, d.memory + i * PAGE, PAGE));
	ASSERT_TRUE(new_flat(&d) && destroy(&d.vmm, d.hwpt));
	before = settled_memory();
	for (i = 0; i < REPEATS; i++) {
		fail_allocation(AREAS / 2 + i);
		ok = new_flat(&d);
		error = errno;
		EXPECT_TRUE(has_failed());
		/* If the kernel tried to get several pages at once, it makes do with less. */
		EXPECT_TRUE(ok ? destroy(&d.vmm, d.hwpt) : error == ENOMEM);
		failed += !ok;
	}
	EXPECT_LE(REPEATS / 2, failed);
	EXPECT_TRUE(wait_until(kernel_memory() - before < 8 * 1024));
	for (n = 0; n <= MOST_AREAS / AREAS && new_flat(&d); n++)
		hwpt = d.hwpt;
	EXPECT_EQ(ENOSPC, errno);
	EXPECT_EQ(MOST_AREAS / AREAS, n);
	d.hwpt = hwpt;
	EXPECT_TRUE(attach_it(&d));
	EXPECT_EQ(VTDT_OK, device_writes(&d, IOVA, 2 * PAGE, 1));
	EXPECT_TRUE(holds(d.memory, IOVA, 2 * PAGE, 1));
	close_demand(&d);
}

/* The process of an area has exited: a HWPT cannot be allocated, and leaves nothing behind. */
TEST_F(without_memory, owner_of_memory_has_exited)
{
	unsigned int i, failed = 0;
	struct demand d;
	long before = 0;
	pid_t child;
	int status;

	ASSERT_TRUE(open_detached(&d, RID));
	child = fork();
	if (!child)
		_exit(!map_memory(&d));
	ASSERT_EQ(child, waitpid(child, &status, 0));
	ASSERT_EQ(0, status);
	for (i = 0; i < 2 * REPEATS; i++) {
		if (i == REPEATS)
			before = settled_memory();
		failed += !new_flat(&d) && errno == EFAULT;
	}
	EXPECT_EQ(2 * REPEATS, failed);
	EXPECT_TRUE(wait_until(kernel_memory() - before < 8 * 1024));
	note("%ld bytes leaked\n", kernel_memory() - before);
	close_demand(&d);
}

/* ---- workers: allocations of one function, and of what it calls ---- */

struct injection {
	const char *kind;
	unsigned long count;		/* the kernel's count of allocations */
	unsigned long interval;
};

static bool find_function(const char *name, unsigned long *start, unsigned long *end)
{
	FILE *file = fopen("/proc/kallsyms", "r");
	unsigned long address;
	char symbol[200];

	*start = *end = 0;
	while (file && fscanf(file, "%lx %*c %199[^\n]", &address, symbol) == 2) {
		if (!strcmp(symbol, name))
			*start = address;
		else if (*start && address > *start && !*end)
			*end = address;
	}
	if (file)
		fclose(file);
	return *start && *end;
}

static bool inject_into(const char *kind, const char *function)
{
	unsigned long start, end;
	char text[30];

	if (!find_function(function, &start, &end))
		return false;
	snprintf(text, sizeof(text), "0x%lx", start);
	if (!set(kind, "require-start", text))
		return false;
	snprintf(text, sizeof(text), "0x%lx", end);
	return set(kind, "require-end", text);
}

static void stop_injection(const char *kind)
{
	set_number(kind, "probability", 0);
	set_number(kind, "interval", 1);
}

/*
 * Make the @n-th allocation from now on fail. The kernel counts allocations from boot on,
 * and fails those whose number is a multiple of the interval; as "times" is 1, it stops
 * after the first.
 */
static void fail_worker(struct injection *injection, unsigned int n)
{
	injection->interval = injection->count + n;
	set_number(injection->kind, "interval", injection->interval);
	set_number(injection->kind, "times", 1);
	set_number(injection->kind, "probability", 100);
}

static bool worker_has_failed(struct injection *injection)
{
	char path[100], text[20] = "";
	int fd;

	stop_injection(injection->kind);
	snprintf(path, sizeof(path), DEBUG "%s/times", injection->kind);
	fd = open(path, O_RDONLY);
	if (read(fd, text, sizeof(text) - 1) < 1)
		text[0] = 0;
	close(fd);
	/* With an interval of 1, the kernel does not count. */
	if (text[0] != '0')
		injection->count = injection->interval - 1;
	else if (injection->interval > 1)
		injection->count = injection->interval;
	return text[0] == '0';
}

/* A kind of memory, of which the device accesses 64 KiB that are missing */
struct memory {
	const char *name;
	bool nested;
	bool (*prepare)(struct demand *d);
};

static bool leave_empty(struct demand *d)
{
	return true;
}

static bool make_huge(struct demand *d)
{
	return !madvise(d->memory, SZ_2M, MADV_HUGEPAGE);
}

static bool make_swapped(struct demand *d)
{
	fill(d->memory, IOVA, SZ_2M, 7);
	return !madvise(d->memory, SZ_2M, MADV_PAGEOUT);
}

static bool make_shared(struct demand *d)
{
	int fd = memfd_create("guest", MFD_CLOEXEC);
	bool ok = fd >= 0 && !ftruncate(fd, SZ_2M) &&
		  mmap(d->memory, SZ_2M, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd,
		       0) == d->memory;

	close(fd);
	return ok;
}

static bool make_hugetlb(struct demand *d)
{
	return mmap(d->memory, SZ_2M, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS |
		    MAP_HUGETLB | MAP_FIXED, -1, 0) == d->memory;
}

static const struct memory memories[] = {
	{ "fresh", false, leave_empty },
	{ "huge", false, make_huge },
	{ "swapped", false, make_swapped },
	{ "shared", false, make_shared },
	{ "hugetlb", false, make_hugetlb },
	{ "fresh, nested", true, leave_empty },
	{ "swapped, nested", true, make_swapped },
};

/* 0 if the allocation has failed, 1 if there is no such allocation, -1 if the test fails */
static int check_failed_worker(struct injection *injection, const struct memory *memory,
			 unsigned int n)
{
	struct demand d;
	unsigned int status;
	bool failed, right;

	if (!open_demand(&d, RID, memory->nested) || !memory->prepare(&d))
		return -1;
	fail_worker(injection, n);
	status = device_writes(&d, IOVA + PAGE, 16 * PAGE, 1);
	failed = worker_has_failed(injection);
	right = status == VTDT_OK && holds(d.memory + PAGE, IOVA + PAGE, 16 * PAGE, 1);
	if (!right)
		note("%s, %s %u: status %u\n", memory->name, injection->kind, n, status);
	close_demand(&d);
	return !right ? -1 : !failed;
}

/* The number of allocations that have failed */
static unsigned int fail_each_in_worker(struct injection *injection, const struct memory *memory)
{
	unsigned int n;
	int ret = 0;

	for (n = 1; !ret && n < MAX_ALLOCATIONS; n++)
		ret = check_failed_worker(injection, memory, n);
	return ret == 1 ? n - 2 : 0;
}

static unsigned int fail_allocations_in(const char *function, struct injection *injection)
{
	unsigned int i, n, least = ~0;

	if (!inject_into(injection->kind, function))
		return 0;
	for (i = 0; i < sizeof(memories) / sizeof(memories[0]); i++) {
		n = fail_each_in_worker(injection, &memories[i]);
		note("%s, %s: %u of %s failed\n", memories[i].name, function, n,
		     injection->kind);
		if (n < least)
			least = n;
	}
	set(injection->kind, "require-start", "0");
	set(injection->kind, "require-end", "0xffffffffffffffff");
	return least;
}

TEST_F(without_memory, workers)
{
	struct injection slab = { kinds[0] }, pages = { kinds[1] };

	EXPECT_LE(1, fail_allocations_in("demand_work", &slab));
	EXPECT_LE(1, fail_allocations_in("demand_work", &pages));
	EXPECT_LE(1, fail_allocations_in("iommufd_demand_iopf_handler", &slab));
}

/* While there is no memory, the device repeats its requests, and can be detached. */
TEST_F(without_memory, no_memory_for_long)
{
	unsigned int i, requests;
	struct demand d;

	ASSERT_TRUE(open_demand(&d, RID, false));
	for (i = 0; i < 2; i++) {
		ASSERT_TRUE(inject_into(kinds[i], "demand_work"));
		set_number(kinds[i], "times", -1);
		set_number(kinds[i], "probability", 100);
		requests = page_requests(&d);
		start_transfer(&d, VTDT_WRITE, IOVA + i * SZ_2M, SZ_2M, 1);
		EXPECT_TRUE(wait_until(page_requests(&d) - requests > 20));
		/* not as fast as it can */
		requests = page_requests(&d);
		sleep_ms(500);
		EXPECT_GT(100, page_requests(&d) - requests);
		EXPECT_NE(0, *reg(&d.vmm.dev, VTDT_BUSY));
		ASSERT_TRUE(detach(&d.vmm, d.pasid));
		EXPECT_NE(VTDT_OK, finish_transfer(&d));
		ASSERT_TRUE(attach_it(&d));
		start_transfer(&d, VTDT_WRITE, IOVA + i * SZ_2M, SZ_2M, 1);
		sleep_ms(100);
		EXPECT_NE(0, *reg(&d.vmm.dev, VTDT_BUSY));
		stop_injection(kinds[i]);
		EXPECT_EQ(VTDT_OK, finish_transfer(&d));
		EXPECT_TRUE(holds(d.memory + i * SZ_2M, IOVA + i * SZ_2M, SZ_2M, 1));
	}
	close_demand(&d);
}

TEST_HARNESS_MAIN
