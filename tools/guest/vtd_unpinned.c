// SPDX-License-Identifier: GPL-2.0
/*
 * A VMM whose guest has 8 GiB of memory, on a machine with 2 GiB: nothing is pinned, and
 * the assigned device works at once.  The host reclaims and moves pages in all usual ways
 * while the device continues, with and without a guest's tables, and a guest after
 * post-copy migration gets its memory late.  CPU and device check each other's data.
 *
 * Prints TAP, and one row of a table for each test ("# | ..."; nested.sh prints its head).
 * The numbers come from the device (its requests), the kernel (smaps, status, memory.stat
 * of a separate cgroup, a tracepoint of the IOMMU core, and the driver's statistics of
 * tables), and userfaultfd.
 *
 * The suite "unpinned" prepares cgroups, a swap device on zram and two nodes. TESTDEV is
 * a device whose driver declares it to be fault tolerant.
 */
#include <linux/mempolicy.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "kselftest_harness.h"
#include "vtd_demand.h"

/* Like a PC, the guest has a hole below 4 GiB, which includes the interrupt range. */
#define LOW		SZ_1G
#define HIGH		(4 * SZ_1G)
#define GUEST_SIZE	(8 * SZ_1G)
#define HIGH_SIZE	(GUEST_SIZE - LOW)

/* The working set of the device, which crosses a GiB, and the amount reclaimed at once */
#define DATA		(6 * SZ_1G - WORK / 2)
#define WORK		(8 * SZ_2M)
#define CHUNK		(16 * PAGE)
#define CHUNKS		(WORK / CHUNK)

/* A page of the guest from which the device fetches commands */
#define LIST		(SZ_2M / 2)

/* A guest's tables map GVA + x to its physical address x. */
#define GVA		0x7f0000000000UL

#define CGROUP		"/sys/fs/cgroup/guest"
#define MEMORY_STAT	CGROUP "/memory.stat"

/* Counted while the device works */
struct counts {
	long faults, major;		/* page faults of the process's memory */
	long requests, served;		/* page requests, and groups answered with success */
};

struct vm {
	struct demand d;
	uint64_t base;			/* of the guest's memory, for the device */
	struct counts counts;
	unsigned long resident, pinned, locked;	/* KiB, the highest values seen */
	unsigned long compared;		/* bytes */
	unsigned long late;		/* faults that userfaultfd reported */

	/* a thread that calls this repeatedly */
	void (*take)(struct vm *vm, unsigned int turn);
	volatile bool taking;
	pthread_t taker;
	unsigned long taken;		/* pages */
};

/* ---- the guest's memory ---- */

/* The host's address of a guest-physical address */
static unsigned char *host(struct vm *vm, uint64_t gpa)
{
	return vm->d.memory + (gpa < HIGH ? gpa : gpa - HIGH + LOW);
}

/* KiB of the guest's memory that are resident: the sum of its VMAs */
static unsigned long resident(struct vm *vm)
{
	unsigned long start = 0, end, kib, sum = 0;
	unsigned long first = (unsigned long)vm->d.memory;
	FILE *file = fopen("/proc/self/smaps", "r");
	char line[300];

	while (file && fgets(line, sizeof(line), file)) {
		sscanf(line, "%lx-%lx ", &start, &end);
		if (start >= first && start < first + GUEST_SIZE &&
		    sscanf(line, "Rss: %lu", &kib) == 1)
			sum += kib;
	}
	if (file)
		fclose(file);
	return sum;
}

/* ---- counting ---- */

static void most(unsigned long *most, unsigned long now)
{
	if (*most < now)
		*most = now;
}

/* Page faults of the process, except those of its own threads */
static void count_faults(struct counts *now)
{
	struct rusage own;

	/* this makes the kernel sum up its per-CPU counters */
	number_in(CGROUP "/cpu.stat", "usage_usec");
	now->faults = number_in(MEMORY_STAT, "pgfault");
	now->major = number_in(MEMORY_STAT, "pgmajfault");
	getrusage(RUSAGE_SELF, &own);
	now->faults -= own.ru_minflt + own.ru_majflt;
	now->major -= own.ru_majflt;
}

/* Called with -1 before the device works, and with 1 afterwards */
static void count(struct vm *vm, int sign)
{
	struct counts now;

	count_faults(&now);
	vm->counts.faults += sign * now.faults;
	vm->counts.major += sign * now.major;
	vm->counts.requests += sign * (long)page_requests(&vm->d);
	vm->counts.served += sign * (long)*reg(&vm->d.vmm.dev, VTDT_SUCCESSES);

	most(&vm->resident, resident(vm));
	most(&vm->pinned, status_kib("VmPin"));
	most(&vm->locked, status_kib("VmLck"));
}

/* Pages that were mapped and no longer are; there is no tracepoint for each unmapped page. */
static unsigned long evicted(void)
{
	return pages_mapped() - pages_in_domain();
}

static void print_row(struct vm *vm, const char *name, const char *tables)
{
	struct counts *c = &vm->counts;

	printf("# | %-11s %-7s %8.1f %6lu %6lu %8ld %7ld %7ld %8ld %5lu %7lu %8lu %8.1f\n",
	       name, tables, vm->resident / 1024.0, vm->pinned, vm->locked, c->requests,
	       c->served, c->faults - c->major, c->major, vm->late, pages_mapped(), evicted(),
	       vm->compared / 1048576.0);
}

/* ---- data ---- */

static bool device_fills(struct vm *vm, uint64_t gpa, size_t size, uint64_t seed)
{
	unsigned int status;

	count(vm, -1);
	status = device_writes(&vm->d, vm->base + gpa, size, seed);
	count(vm, 1);
	if (status != VTDT_OK)
		note("write at %#lx ends with %u\n", gpa, status);
	return status == VTDT_OK;
}

static bool device_compares(struct vm *vm, uint64_t gpa, size_t size, uint64_t seed)
{
	unsigned int status;

	count(vm, -1);
	status = device_reads(&vm->d, vm->base + gpa, size, seed);
	count(vm, 1);
	vm->compared += size;
	if (status != VTDT_OK)
		note("read at %#lx ends with %u\n", gpa, status);
	return status == VTDT_OK;
}

static void cpu_fills(struct vm *vm, uint64_t gpa, size_t size, uint64_t seed)
{
	fill(host(vm, gpa), vm->base + gpa, size, seed);
}

static bool cpu_compares(struct vm *vm, uint64_t gpa, size_t size, uint64_t seed)
{
	vm->compared += size;
	return holds(host(vm, gpa), vm->base + gpa, size, seed);
}

/* ---- the machine ---- */

/* In a separate cgroup, memory can be counted and limited. */
static bool enter_cgroup(void)
{
	return (!mkdir(CGROUP, 0755) || errno == EEXIST) &&
	       write_file(CGROUP "/cgroup.procs", "0") &&
	       write_file(CGROUP "/memory.max", "max");
}

static bool leave_cgroup(void)
{
	return write_file("/sys/fs/cgroup/cgroup.procs", "0") && !rmdir(CGROUP);
}

/* The guest's own tables: all of its memory in pages of 2 MiB, from GVA on */
static unsigned int guest_tables(struct vm *vm)
{
	struct vmm *vmm = &vm->d.vmm;
	unsigned int root;
	uint64_t gpa;

	vmm->guest = (void *)vm->d.memory;
	root = new_page(vmm);
	for (gpa = 0; gpa < HIGH + HIGH_SIZE; gpa += SZ_2M) {
		if (gpa < LOW || gpa >= HIGH)
			*entry(vmm, root, GVA + gpa, 2, TABLE) = gpa | LEAF | LARGE;
	}
	return root;
}

static bool attach_flat(struct vm *vm)
{
	struct vmm *vmm = &vm->d.vmm;

	vm->d.hwpt = new_paging(vmm, IOMMU_HWPT_ALLOC_DEMAND, 0);
	return vm->d.hwpt && attach(vmm, vm->d.pasid, vm->d.hwpt);
}

static bool attach_nested(struct vm *vm)
{
	struct vmm *vmm = &vm->d.vmm;

	vm->base = GVA;
	vmm->parent = new_parent(vmm, IOMMU_HWPT_ALLOC_DEMAND);
	if (!vmm->parent)
		return false;
	vm->d.hwpt = nest(vmm, guest_tables(vm), 0);
	return vm->d.hwpt && attach(vmm, vm->d.pasid, vm->d.hwpt);
}

/* Everything that a VMM does before its guest can run */
static bool open_vm(struct vm *vm, bool nested)
{
	struct iommu_ioas_alloc alloc = { .size = sizeof(alloc) };
	struct vmm *vmm = &vm->d.vmm;

	*vm = (struct vm) { .d.pasid = RID };
	vm->d.memory = new_memory(GUEST_SIZE, MADV_NOHUGEPAGE);
	vmm->iommufd = open("/dev/iommu", O_RDWR | O_CLOEXEC);
	if (!vm->d.memory || !open_device(&vmm->dev, getenv("TESTDEV"), vmm->iommufd) ||
	    ioctl(vmm->iommufd, IOMMU_IOAS_ALLOC, &alloc))
		return false;
	vmm->ioas = alloc.out_ioas_id;
	if (!map_area(vmm, 0, host(vm, 0), LOW) ||
	    !map_area(vmm, HIGH, host(vm, HIGH), HIGH_SIZE))
		return false;
	return nested ? attach_nested(vm) : attach_flat(vm);
}

static void close_vm(struct vm *vm)
{
	munmap((void *)vm->d.vmm.dev.regs, 0x10000);
	close(vm->d.vmm.dev.fd);
	close(vm->d.vmm.iommufd);
	munmap(vm->d.memory, GUEST_SIZE);
}

FIXTURE(vm)
{
	struct vm vm;
};

FIXTURE_VARIANT(vm)
{
	bool nested;
};

FIXTURE_VARIANT_ADD(vm, flat) { false };
FIXTURE_VARIANT_ADD(vm, nested) { true };

FIXTURE_SETUP(vm)
{
	ASSERT_TRUE(enter_cgroup());
	ASSERT_TRUE(open_vm(&self->vm, variant->nested));
	ASSERT_TRUE(count_event(MAPS, "size", true));
}

FIXTURE_TEARDOWN(vm)
{
	EXPECT_EQ(0, self->vm.pinned);
	EXPECT_EQ(0, self->vm.locked);
	print_row(&self->vm, _metadata->name, variant->nested ? "nested" : "flat");
	EXPECT_TRUE(count_event(MAPS, "size", false));
	close_vm(&self->vm);
	EXPECT_TRUE(leave_cgroup());
}

/* ---- a device that works at once ---- */

#define PLACES		64

static uint64_t place(unsigned int i)
{
	return HIGH + i * (HIGH_SIZE / PLACES) + i * 7919 % 512 * CHUNK;
}

/* Only the pages that the device accesses become resident. */
TEST_F(vm, sparse)
{
	struct vm *vm = &self->vm;
	unsigned int i;

	for (i = 0; i < PLACES; i++)
		EXPECT_TRUE(device_fills(vm, place(i), CHUNK, 1));
	for (i = 0; i < PLACES; i++) {
		EXPECT_TRUE(device_compares(vm, place(i), CHUNK, 1));
		EXPECT_TRUE(cpu_compares(vm, place(i), CHUNK, 1));
		cpu_fills(vm, place(i), CHUNK, 2);
		EXPECT_TRUE(device_compares(vm, place(i), CHUNK, 2));
	}
	/* including the guest's tables */
	EXPECT_GE((PLACES * CHUNK + CHUNK * 2) / 1024, vm->resident);
}

/* ---- less memory than the working set ---- */

TEST_F(vm, limited)
{
	struct vm *vm = &self->vm;

	EXPECT_TRUE(device_fills(vm, DATA, WORK, 1));
	ASSERT_TRUE(write_file(CGROUP "/memory.max", "8M"));
	EXPECT_TRUE(device_compares(vm, DATA, WORK, 1));
	cpu_fills(vm, DATA, WORK, 2);
	EXPECT_TRUE(device_compares(vm, DATA, WORK, 2));
	EXPECT_TRUE(device_fills(vm, DATA, WORK, 3));
	EXPECT_TRUE(cpu_compares(vm, DATA, WORK, 3));
	EXPECT_LT(WORK / PAGE, vm->counts.major);
	EXPECT_LT(WORK / PAGE, evicted());
}

/* ---- pages that are reclaimed while the device works on them ---- */

static void *take_pages(void *data)
{
	struct vm *vm = data;
	unsigned int i;

	for (i = 0; vm->taking; i++) {
		vm->take(vm, i);
		sleep_ms(1);
	}
	return NULL;
}

/* Visits the chunks in a scattered order. */
static unsigned char *chunk_of(struct vm *vm, unsigned int turn)
{
	return host(vm, DATA + turn * 7919 % CHUNKS * CHUNK);
}

static bool start_taking(struct vm *vm, void (*take)(struct vm *vm, unsigned int turn))
{
	vm->take = take;
	vm->taking = true;
	return !pthread_create(&vm->taker, NULL, take_pages, vm);
}

static void stop_taking(struct vm *vm)
{
	vm->taking = false;
	pthread_join(vm->taker, NULL);
}

/*
 * Device and CPU write, and check each other's data, until enough pages were evicted.
 */
static bool works_while_taking(struct vm *vm, void (*take)(struct vm *vm, unsigned int turn))
{
	unsigned int seed;
	bool right = true;

	if (!start_taking(vm, take))
		return false;
	for (seed = 1; right && (seed < 4 || evicted() < 4 * CHUNKS) && seed < 200; seed += 2) {
		right = device_fills(vm, DATA, WORK, seed) &&
			device_compares(vm, DATA, WORK, seed) &&
			cpu_compares(vm, DATA, WORK, seed);
		cpu_fills(vm, DATA, WORK, seed + 1);
		right &= device_compares(vm, DATA, WORK, seed + 1);
	}
	stop_taking(vm);
	return right;
}

static void swap_out(struct vm *vm, unsigned int turn)
{
	madvise(chunk_of(vm, turn), CHUNK, MADV_PAGEOUT);
	/* tables of the guest, too */
	if (turn % 16 == 0)
		madvise(host(vm, 0), LIST, MADV_PAGEOUT);
}

TEST_F(vm, swapped)
{
	struct vm *vm = &self->vm;

	EXPECT_TRUE(works_while_taking(vm, swap_out));
	EXPECT_LT(CHUNKS, vm->counts.major);
	EXPECT_LE(4 * CHUNKS, evicted());
}

/* To the other node, and back */
static void migrate(struct vm *vm, unsigned int turn)
{
	int to[CHUNK / PAGE], status[CHUNK / PAGE], node = turn / CHUNKS & 1;
	void *pages[CHUNK / PAGE];
	unsigned int i;

	for (i = 0; i < CHUNK / PAGE; i++) {
		pages[i] = chunk_of(vm, turn) + i * PAGE;
		to[i] = node;
	}
	if (syscall(SYS_move_pages, 0, CHUNK / PAGE, pages, to, status, MPOL_MF_MOVE))
		return;
	for (i = 0; i < CHUNK / PAGE; i++)
		vm->taken += status[i] == node;
}

TEST_F(vm, migrated)
{
	struct vm *vm = &self->vm;

	EXPECT_TRUE(works_while_taking(vm, migrate));
	EXPECT_LT(CHUNKS, vm->taken);
	EXPECT_LE(4 * CHUNKS, evicted());
}

/* The balloon takes every second chunk, even out of huge pages. */
static void balloon(struct vm *vm, unsigned int turn)
{
	if (!madvise(chunk_of(vm, turn | 1), CHUNK, MADV_DONTNEED))
		vm->taken += CHUNK / PAGE;
}

/* A page that the balloon may have taken holds zeroes, or else the device's data. */
static bool empty_or_holds(struct vm *vm, uint64_t gpa, uint64_t seed, unsigned int *empty)
{
	static const unsigned char zeroes[PAGE];
	bool is_empty = !memcmp(host(vm, gpa), zeroes, PAGE);

	*empty += is_empty;
	return is_empty || cpu_compares(vm, gpa, PAGE, seed);
}

TEST_F(vm, ballooned)
{
	struct vm *vm = &self->vm;
	unsigned int seed, i, empty = 0;
	uint64_t gpa;

	ASSERT_EQ(0, madvise(host(vm, DATA), WORK, MADV_HUGEPAGE));
	for (seed = 1; seed <= 3; seed++) {
		ASSERT_TRUE(start_taking(vm, balloon));
		EXPECT_TRUE(device_fills(vm, DATA, WORK, seed));
		for (i = 0; i < CHUNKS; i += 2)
			EXPECT_TRUE(device_compares(vm, DATA + i * CHUNK, CHUNK, seed));
		stop_taking(vm);
		for (i = 0; i < CHUNKS; i += 2)
			EXPECT_TRUE(cpu_compares(vm, DATA + i * CHUNK, CHUNK, seed));
		for (gpa = DATA; gpa < DATA + WORK; gpa += PAGE) {
			if ((gpa - DATA) / CHUNK % 2)
				EXPECT_TRUE(empty_or_holds(vm, gpa, seed, &empty));
		}
	}
	EXPECT_LT(0, empty);
	EXPECT_LT(0, evicted());
}

/* ---- post-copy migration ---- */

#define COMMANDS	32
#define PART		(2 * CHUNK)
#define COPIED		(COMMANDS * PART)
#define HELD_BACK	64

/* The source's memory: the first 2 MiB with tables and list, and the data */
struct copy {
	struct vm *vm;
	struct late late[2];
	unsigned char *from[2];
	size_t size[2];
	unsigned long asked[HELD_BACK];	/* faults to be served */
	unsigned int waiting, random;
	unsigned long held;		/* a page that is delivered late... */
	long held_until;		/* ...not before this time */
	unsigned int held_asked;	/* number of faults for it */
	volatile bool going;
	pthread_t thread;
};

static unsigned int any(struct copy *copy, unsigned int n)
{
	copy->random = copy->random * 1103515245 + 12345;
	return (copy->random >> 16) % n;
}

/* Deliver a page of either area, which may be present already. */
static bool deliver(struct copy *copy, unsigned long address)
{
	unsigned int i;

	if (address == copy->held && now_ms() < copy->held_until)
		return false;
	for (i = 0; i < 2; i++) {
		unsigned long offset = address - (unsigned long)copy->late[i].memory;

		if (offset < copy->size[i])
			deliver_page(&copy->late[i], address, copy->from[i] + offset);
	}
	return true;
}

/* Hold back the first page of the data longer than the kernel waits, so that it retries. */
static void add_fault(struct copy *copy, int area, unsigned long address)
{
	copy->vm->late++;
	copy->asked[copy->waiting++] = address;
	if (area && !copy->held) {
		copy->held = address;
		copy->held_until = now_ms() + 1500;
	}
	copy->held_asked += address == copy->held;
}

static void receive_faults(struct copy *copy, int area, int ms)
{
	struct pollfd fd = { .fd = copy->late[area].fd, .events = POLLIN };
	unsigned long address;

	while (copy->waiting < HELD_BACK && poll(&fd, 1, ms) > 0 &&
	       wait_for_fault(&copy->late[area], &address)) {
		add_fault(copy, area, address);
		ms = 0;
	}
}

/* Serve the faults in random order. */
static void answer(struct copy *copy)
{
	unsigned int i = any(copy, copy->waiting);

	if (deliver(copy, copy->asked[i]))
		copy->asked[i] = copy->asked[--copy->waiting];
}

/* Deliver requested pages, and some others in advance. */
static void *post_copy(void *data)
{
	struct copy *copy = data;

	while (copy->going) {
		receive_faults(copy, 0, 0);
		receive_faults(copy, 1, 2);
		if (copy->waiting)
			answer(copy);
		if (!any(copy, 4))
			deliver(copy, (unsigned long)copy->late[1].memory +
				any(copy, COPIED / PAGE) * PAGE);
	}
	return NULL;
}

/* Copy an area, empty it, and have its faults reported. */
static bool leave_at_source(struct copy *copy, int area, uint64_t gpa, size_t size)
{
	unsigned char *memory = host(copy->vm, gpa);

	copy->size[area] = size;
	copy->from[area] = new_memory(size, MADV_NOHUGEPAGE);
	if (!copy->from[area])
		return false;
	memcpy(copy->from[area], memory, size);
	return !madvise(memory, size, MADV_DONTNEED) &&
	       catch_faults(&copy->late[area], memory, size);
}

/* The first half is read; of the second, each part is written except for its ends. */
static void make_list(struct vm *vm, struct vtdt_command *list)
{
	unsigned int i;

	for (i = 0; i < COMMANDS; i++) {
		bool write = i >= COMMANDS / 2;
		uint64_t gpa = DATA + i * PART + (write ? PAGE / 2 : 0);

		list[i] = command(BY_REQUESTS | (write ? VTDT_WRITE : VTDT_READ),
				  vm->d.pasid, vm->base + gpa);
		list[i].length = PART - (write ? PAGE : 0);
		list[i].data = write ? 2 : 1;
	}
}

/* The list's own page has to be present first: fetching it makes no page requests. */
static bool run_list(struct vm *vm)
{
	struct testdev *dev = &vm->d.vmm.dev;
	struct vtdt_command c;

	c = execute(dev, VTDT_WRITE | VTDT_IMMEDIATE | VTDT_ATS | VTDT_PAGE_IN, vm->d.pasid,
		    vm->base + LIST + PAGE - 8, 0);
	if (c.status != VTDT_OK)
		return false;
	start_list(dev, vm->d.pasid, vm->base + LIST, COMMANDS);
	return wait_until(*reg(dev, VTDT_LIST_STATUS) != VTDT_LIST_RUNS) &&
	       *reg(dev, VTDT_LIST_STATUS) == VTDT_LIST_DONE;
}

TEST_F(vm, post_copied)
{
	struct vm *vm = &self->vm;
	struct copy copy = { .vm = vm, .going = true, .random = 1 };
	struct vtdt_command *list = (void *)host(vm, LIST);
	unsigned int i;
	uint64_t gpa;

	cpu_fills(vm, DATA, COPIED, 1);
	make_list(vm, list);
	ASSERT_TRUE(leave_at_source(&copy, 0, 0, SZ_2M));
	ASSERT_TRUE(leave_at_source(&copy, 1, DATA, COPIED));
	ASSERT_EQ(0, resident(vm));

	ASSERT_EQ(0, pthread_create(&copy.thread, NULL, post_copy, &copy));
	count(vm, -1);
	EXPECT_TRUE(run_list(vm));
	count(vm, 1);
	copy.going = false;
	pthread_join(copy.thread, NULL);
	for (i = 0; i < 2; i++)
		close(copy.late[i].fd);

	for (i = 0; i < COMMANDS; i++) {
		EXPECT_EQ(VTDT_OK, list[i].status);
		gpa = DATA + i * PART;
		if (i < COMMANDS / 2) {
			EXPECT_EQ(0, list[i].result);
			vm->compared += PART;
			continue;
		}
		EXPECT_TRUE(cpu_compares(vm, gpa, PAGE / 2, 1));
		EXPECT_TRUE(cpu_compares(vm, gpa + PAGE / 2, PART - PAGE, 2));
		EXPECT_TRUE(cpu_compares(vm, gpa + PART - PAGE / 2, PAGE / 2, 1));
	}
	EXPECT_LT(COMMANDS, vm->late);
	EXPECT_LE(2, copy.held_asked);
}

TEST_HARNESS_MAIN
