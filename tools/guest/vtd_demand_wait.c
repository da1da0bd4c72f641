// SPDX-License-Identifier: GPL-2.0
/*
 * Demand paging while something of the process waits: another user's MMU notifier, or an
 * allocation at the limit of a cgroup.  Nobody else waits for it.  Prints TAP.
 *
 * The suite "demand" prepares cgroups and swap, and loads slow_notifier.
 */
#include <pthread.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "kselftest_harness.h"
#include "vtd_demand_machine.h"

#define SLOW		"/sys/module/slow_notifier/parameters/"
#define CGROUP		"/sys/fs/cgroup/waits"

/* Delay the invalidations of a range of this process, from now on. */
static bool hold_invalidations(const unsigned char *memory, size_t size)
{
	char range[50];

	snprintf(range, sizeof(range), "%lx-%lx", (unsigned long)memory,
		 (unsigned long)memory + size);
	return write_file(SLOW "hold", range);
}

static bool release_invalidations(void)
{
	return write_file(SLOW "hold", "0");
}

static bool invalidation_waits(void)
{
	return number_in(SLOW "waiting", "") > 0;
}

/* ---- calls of other threads, which exist before: to make one needs mmap_lock ---- */

struct caller {
	struct demand *d;
	bool (*call)(struct demand *d);
	pthread_t thread;
	volatile pid_t tid;
	volatile bool go, done, ok;
};

static void *call_when_told(void *data)
{
	struct caller *caller = data;

	caller->tid = syscall(SYS_gettid);
	while (!caller->go)
		sleep_ms(1);
	caller->ok = caller->call(caller->d);
	caller->done = true;
	return NULL;
}

static bool prepare_call(struct caller *caller, struct demand *d, bool (*call)(struct demand *d))
{
	*caller = (struct caller) { .d = d, .call = call };
	return !pthread_create(&caller->thread, NULL, call_when_told, caller) &&
	       wait_until(caller->tid);
}

/* Does the thread sleep in this function of the kernel? */
static bool sleeps_in(const struct caller *caller, const char *function)
{
	char path[60], where[80] = "";
	int fd;

	snprintf(path, sizeof(path), "/proc/self/task/%d/wchan", caller->tid);
	fd = open(path, O_RDONLY);
	if (read(fd, where, sizeof(where) - 1) < 1)
		where[0] = 0;
	close(fd);
	return !strcmp(where, function);
}

static bool discard_first_page(struct demand *d)
{
	return !madvise(d->memory, PAGE, MADV_DONTNEED);
}

static bool unmap_all(struct demand *d)
{
	return unmap_area(&d->vmm, IOVA, SIZE);
}

/* It is not attached any more. */
static bool destroy_other(struct demand *d)
{
	return destroy(&d->vmm, d->root);
}

static bool list_iova_ranges(struct demand *d)
{
	struct iommu_iova_range ranges[16];
	struct iommu_ioas_iova_ranges cmd = {
		.size = sizeof(cmd), .ioas_id = d->vmm.ioas, .num_iovas = 16,
		.allowed_iovas = (uintptr_t)ranges,
	};

	return !ioctl(d->vmm.iommufd, IOMMU_IOAS_IOVA_RANGES, &cmd);
}

/* ---- a notifier that sleeps ---- */

FIXTURE(notifier)
{
	struct demand d;
	struct caller discards;
};

FIXTURE_SETUP(notifier)
{
	struct demand *d = &self->d;

	ASSERT_TRUE(open_demand(d, RID, false));
	ASSERT_EQ(VTDT_OK, device_writes(d, IOVA, SIZE, 1));
	ASSERT_TRUE(prepare_call(&self->discards, d, discard_first_page));
	ASSERT_TRUE(hold_invalidations(d->memory, PAGE));
}

FIXTURE_TEARDOWN(notifier)
{
	EXPECT_TRUE(release_invalidations());
	self->discards.go = true;
	pthread_join(self->discards.thread, NULL);
	EXPECT_TRUE(self->discards.ok);
	close_demand(&self->d);
}

/* Have an invalidation wait, then @caller for its end. */
static bool have_both_wait(struct caller *discards, struct caller *caller)
{
	discards->go = true;
	if (!wait_until(invalidation_waits()))
		return false;
	caller->go = true;
	return wait_until(sleeps_in(caller, "mmu_interval_notifier_remove"));
}

/*
 * Unmapping removes notifiers of the process, which waits for its other ones, without a lock
 * of the IOAS: other calls do not wait.
 */
TEST_F(notifier, calls_beside_unmap)
{
	struct demand *d = &self->d;
	struct caller unmaps;

	ASSERT_TRUE(prepare_call(&unmaps, d, unmap_all));
	ASSERT_TRUE(have_both_wait(&self->discards, &unmaps));
	EXPECT_TRUE(list_iova_ranges(d));
	EXPECT_TRUE(map_area(&d->vmm, IOVA, d->memory, SIZE));
	EXPECT_NE(0, new_paging(&d->vmm, IOMMU_HWPT_ALLOC_DEMAND, 0));
	EXPECT_TRUE(invalidation_waits());
	EXPECT_FALSE(unmaps.done);
	ASSERT_TRUE(release_invalidations());
	pthread_join(unmaps.thread, NULL);
	EXPECT_TRUE(unmaps.ok);
	EXPECT_EQ(VTDT_OK, device_writes(d, IOVA, SIZE, 2));
	EXPECT_TRUE(holds(d->memory, IOVA, SIZE, 2));
}

/* So does destroying a HWPT, while the device works with another one. */
TEST_F(notifier, calls_beside_destroy)
{
	struct demand *d = &self->d;
	struct caller destroys;

	d->root = new_paging(&d->vmm, IOMMU_HWPT_ALLOC_DEMAND, 0);
	ASSERT_NE(0, d->root);
	ASSERT_EQ(0, madvise(d->memory + SIZE / 2, PAGE, MADV_DONTNEED));
	ASSERT_TRUE(prepare_call(&destroys, d, destroy_other));
	ASSERT_TRUE(have_both_wait(&self->discards, &destroys));
	EXPECT_TRUE(list_iova_ranges(d));
	EXPECT_TRUE(map_area(&d->vmm, ELSEWHERE, d->memory, SIZE));
	EXPECT_NE(0, new_paging(&d->vmm, IOMMU_HWPT_ALLOC_DEMAND, 0));
	/* in another GiB of IOVA than the page that is discarded */
	EXPECT_EQ(VTDT_OK, device_writes(d, IOVA + SIZE / 2, PAGE, 2));
	EXPECT_TRUE(invalidation_waits());
	EXPECT_FALSE(destroys.done);
	ASSERT_TRUE(release_invalidations());
	pthread_join(destroys.thread, NULL);
	EXPECT_TRUE(destroys.ok);
}

/*
 * A worker waits for the notifier, which no signal ends. Its request is answered, the device
 * repeats it, and can be detached.
 */
TEST_F(notifier, answered_meanwhile)
{
	struct demand *d = &self->d;
	unsigned int groups = *reg(&d->vmm.dev, VTDT_GROUPS);
	long start;

	self->discards.go = true;
	ASSERT_TRUE(wait_until(invalidation_waits()));
	start_transfer(d, VTDT_WRITE, IOVA, PAGE, 2);
	EXPECT_TRUE(wait_until(*reg(&d->vmm.dev, VTDT_GROUPS) - groups >= 3));
	EXPECT_NE(0, *reg(&d->vmm.dev, VTDT_BUSY));
	start = now_ms();
	ASSERT_TRUE(detach(&d->vmm, RID));
	EXPECT_NE(VTDT_OK, finish_transfer(d));
	EXPECT_GT(800, now_ms() - start);
	EXPECT_TRUE(invalidation_waits());
}

/* ---- the limit of a cgroup ---- */

/* Set a limit of the cgroup to what it is charged for and @pages more. */
static bool limit_to(const char *name, long pages)
{
	char path[60], limit[30];

	snprintf(path, sizeof(path), CGROUP "/%s", name);
	sprintf(limit, "%ld", number_in(CGROUP "/memory.current", "") + pages * (long)PAGE);
	return write_file(path, limit);
}

/* Bytes that the cgroup uses: CPUs charge up to 64 pages in advance. */
static long used_memory(void)
{
	return number_in(CGROUP "/memory.stat", "anon ") +
	       number_in(CGROUP "/memory.stat", "file ") +
	       number_in(CGROUP "/memory.stat", "kernel ");
}

/*
 * Set the limit of the cgroup to what it uses and @pages more. Nobody in the cgroup runs
 * meanwhile, so that no CPU has pages in stock afterwards.
 */
static bool limit_exactly(long pages)
{
	/* This takes the stocks away, and kills nobody. */
	return limit_to("memory.high", -1) &&
	       wait_until(number_in(CGROUP "/memory.current", "") <= used_memory()) &&
	       write_file(CGROUP "/memory.high", "max") && limit_to("memory.max", pages);
}

/* Parent and child take turns. */
struct turns {
	int to_child[2], to_parent[2];
};

static bool give_turn(int to)
{
	return write(to, "", 1) == 1;
}

static bool wait_for_turn(int from)
{
	char byte;

	return read(from, &byte, 1) == 1;
}

/*
 * The child of "another_process_maps": its IOMMU_IOAS_MAP has to reclaim. @others: further
 * IOASes
 */
static void map_at_limit(const struct turns *turns, unsigned int others)
{
	struct iommu_ioas_alloc alloc = { .size = sizeof(alloc) };
	struct demand d = { .pasid = RID };
	int rc = 0;

	close(turns->to_child[1]);
	/* Reclaim takes only pages that are mapped later, none that the calls below need. */
	if (mlockall(MCL_CURRENT) || !write_file(CGROUP "/cgroup.procs", "0"))
		_exit(1);
	d.vmm.iommufd = open("/dev/iommu", O_RDWR | O_CLOEXEC);
	if (!open_device(&d.vmm.dev, getenv("TESTDEV2"), d.vmm.iommufd))
		_exit(2);
	do
		rc |= ioctl(d.vmm.iommufd, IOMMU_IOAS_ALLOC, &alloc);
	while (others--);
	if (rc)
		_exit(2);
	d.vmm.ioas = alloc.out_ioas_id;
	d.memory = new_memory(SIZE, MADV_NOHUGEPAGE);
	if (!d.memory || !new_paging(&d.vmm, IOMMU_HWPT_ALLOC_DEMAND, 0))
		_exit(3);
	fill(d.memory, IOVA, SIZE, 1);
	if (!give_turn(turns->to_parent[1]) || !wait_for_turn(turns->to_child[0]) ||
	    !hold_invalidations(d.memory, SIZE) ||
	    !give_turn(turns->to_parent[1]) || !wait_for_turn(turns->to_child[0]))
		_exit(4);
	_exit(map_area(&d.vmm, IOVA, d.memory, SIZE) ? 0 : 5);
}

static bool has_ended(pid_t child)
{
	siginfo_t info = { };

	return !waitid(P_PID, child, &info, WEXITED | WNOHANG | WNOWAIT) && info.si_pid;
}

/*
 * Let a child map that may use @slack more pages than it has. If it waits for its own notifier
 * as it reclaims for the count of areas, then another process can map memory. Returns whether
 * it has waited there, or -1 if the other process had to wait. @others: see map_at_limit().
 */
static int map_beside_child(struct demand *d, unsigned int slack, unsigned int others)
{
	int status, waited = 0;
	struct turns turns;
	pid_t child;

	if (pipe(turns.to_child) || pipe(turns.to_parent))
		return -1;
	child = fork();
	if (!child)
		map_at_limit(&turns, others);
	close(turns.to_parent[1]);
	/* With less than 64 pages left, CPUs charge none in advance. */
	if (!wait_for_turn(turns.to_parent[0]) || !limit_exactly(40) ||
	    !give_turn(turns.to_child[1]) || !wait_for_turn(turns.to_parent[0]) ||
	    !limit_to("memory.max", slack) || !give_turn(turns.to_child[1]))
		waited = -1;
	wait_until(invalidation_waits() || has_ended(child));
	if (invalidation_waits() && sleeps_below(child, "__xa_cmpxchg")) {
		waited = map_area(&d->vmm, IOVA, d->memory, SIZE) &&
			 invalidation_waits() ? 1 : -1;
		unmap_area(&d->vmm, IOVA, SIZE);
	}
	release_invalidations();
	write_file(CGROUP "/memory.max", "max");
	waitpid(child, &status, 0);
	close(turns.to_child[0]);
	close(turns.to_child[1]);
	close(turns.to_parent[0]);
	return waited;
}

/* A process has to reclaim for the count of its areas: others are not delayed. */
TEST(another_process_maps)
{
	unsigned int try;
	struct demand d;
	int waited = 0;

	ASSERT_EQ(0, mkdir(CGROUP, 0755));
	ASSERT_TRUE(open_detached(&d, RID));
	ASSERT_TRUE(new_hwpt(&d));
	/*
	 * The call allocates a few hundred bytes before, and some thousand for the count.
	 * Only the rest of a page that is charged already is not known: vary it.
	 */
	for (try = 0; try < 18 && !waited; try++)
		waited = map_beside_child(&d, try % 3, try / 3);
	note("%u tries\n", try);
	EXPECT_EQ(1, waited);
	close_demand(&d);
	EXPECT_TRUE(wait_until(!rmdir(CGROUP)));
}

/* The children of "no_kill_for_neighbours" and "no_neighbours_of_random_pages" */

#define AROUND		(16 * PAGE)	/* DEMAND_AROUND */

/* The device writes to one page of each 64 KiB. */
static bool use_single_pages(struct demand *d, size_t from, size_t end)
{
	size_t at;

	for (at = from; at < end; at += AROUND)
		if (device_writes(d, IOVA + at, PAGE, 1) != VTDT_OK)
			return false;
	for (at = from; at < end; at += AROUND)
		if (!holds(d->memory + at, IOVA + at, PAGE, 1))
			return false;
	return true;
}

static bool wait_for_limit(const struct turns *turns)
{
	return give_turn(turns->to_parent[1]) && wait_for_turn(turns->to_child[0]);
}

/* There is memory for the single pages, but not for all of their neighbours. */
static void use_up_to_limit(const struct turns *turns)
{
	struct demand d;

	if (!open_demand(&d, RID, false) ||
	    device_writes(&d, IOVA, SZ_2M / 2, 1) != VTDT_OK || !wait_for_limit(turns))
		_exit(1);
	_exit(use_single_pages(&d, SZ_2M / 2, SZ_2M) ? 0 : 2);
}

/* There is memory for all neighbours of a page, but hardly more. Tables are there. */
static void use_page_near_limit(const struct turns *turns)
{
	unsigned int i, n = 0;
	struct demand d;

	if (!open_demand(&d, RID, false) ||
	    device_writes(&d, IOVA, SZ_2M / 2, 1) != VTDT_OK || !wait_for_limit(turns) ||
	    device_writes(&d, IOVA + SZ_2M / 2, PAGE, 1) != VTDT_OK)
		_exit(1);
	for (i = 0; i < AROUND / PAGE; i++)
		n += present(d.memory + SZ_2M / 2 + i * PAGE);
	_exit(n > 1 && n < AROUND / PAGE / 2 ? 0 : 2);
}

/* There is memory for a page of each 64 KiB, and the tables of device and process. */
static void use_random_pages(const struct turns *turns)
{
	struct demand d;

	if (!open_demand(&d, RID, false) || madvise(d.memory, SIZE, MADV_RANDOM) ||
	    !wait_for_limit(turns))
		_exit(1);
	_exit(use_single_pages(&d, 0, SIZE) ? 0 : 2);
}

/* The exit status of a child in a cgroup without swap, which may use @pages in the end */
static int status_without_swap(void (*run)(const struct turns *turns), long pages)
{
	struct turns turns;
	int status = -1;
	bool limited;
	pid_t child;

	if ((mkdir(CGROUP, 0755) && errno != EEXIST) || !write_file(CGROUP "/memory.max", "max") ||
	    !write_file(CGROUP "/memory.swap.max", "0") || pipe(turns.to_child) ||
	    pipe(turns.to_parent))
		return -1;
	child = fork();
	if (!child) {
		close(turns.to_child[1]);
		/* The program itself is charged to its old cgroup. */
		if (!mlockall(MCL_CURRENT) && write_file(CGROUP "/cgroup.procs", "0"))
			run(&turns);
		_exit(3);
	}
	close(turns.to_parent[1]);
	limited = wait_for_turn(turns.to_parent[0]) && limit_exactly(pages) &&
		  give_turn(turns.to_child[1]);
	close(turns.to_child[1]);
	close(turns.to_child[0]);
	close(turns.to_parent[0]);
	waitpid(child, &status, 0);
	return wait_until(!rmdir(CGROUP)) && limited ? status : -1;
}

/* Pages that are faulted in around others do not exceed the limit: nobody is killed. */
TEST(no_kill_for_neighbours)
{
	/* Neighbours take no more once 12 of 16 requests have been served. */
	EXPECT_EQ(0, status_without_swap(use_up_to_limit, 13 * AROUND / PAGE));
}

/* Pages that are faulted in around another one leave a margin, which other workers need. */
TEST(neighbours_leave_a_margin)
{
	EXPECT_EQ(0, status_without_swap(use_page_near_limit, AROUND / PAGE + 4));
}

/*
 * With MADV_RANDOM, only pages that the device requests are faulted in. The slack is for
 * what the kernel allocates, and what CPUs have charged in advance: neighbours would take
 * 16 times the pages.
 */
TEST(no_neighbours_of_random_pages)
{
	EXPECT_EQ(0, status_without_swap(use_random_pages,
					 SIZE / AROUND + 2 * SIZE / SZ_2M + 256));
}

TEST_HARNESS_MAIN
