// SPDX-License-Identifier: GPL-2.0
/*
 * Costs and savings of demand paging, on a machine whose clock counts
 * instructions, one for each nanosecond.  Prints tables, with "bench: " before each line.
 *
 * The suite "bench-demand" prepares cgroups, a swap device on zram and huge pages.
 * TESTDEV is a device whose driver says that it tolerates faults.
 */
#include <errno.h>
#include <linux/mman.h>
#include <stdarg.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "vtd_demand.h"

#define IOVA		(4 * SZ_1G)
#define CHUNK		(16 * PAGE)
#define CGROUP		"/sys/fs/cgroup/bench"
#define DESCRIPTORS	"intel_iommu/qi_submit"

struct bench {
	struct demand d;
	int done;			/* the device's interrupt */
	size_t size;			/* of the memory */
};

static void say(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fputs("bench: ", stdout);
	vprintf(format, args);
	va_end(args);
	fflush(stdout);
}

static void need(bool done, const char *what)
{
	if (done)
		return;
	printf("# cannot %s: %s\n", what, strerror(errno));
	exit(1);
}

/* Instructions so far, and the idle time of the machine */
static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000UL + t.tv_nsec;
}

/* ---- the device ---- */

static void open_bench(struct bench *b)
{
	struct iommu_ioas_alloc alloc = { .size = sizeof(alloc) };
	struct vmm *vmm = &b->d.vmm;

	*b = (struct bench) { .d.pasid = RID, .done = eventfd(0, EFD_CLOEXEC) };
	vmm->iommufd = open("/dev/iommu", O_RDWR | O_CLOEXEC);
	need(open_device(&vmm->dev, getenv("TESTDEV"), vmm->iommufd), "open the device");
	need(!ioctl(vmm->iommufd, IOMMU_IOAS_ALLOC, &alloc), "allocate an IOAS");
	vmm->ioas = alloc.out_ioas_id;
	need(set_trigger(&vmm->dev, VTDT_IRQ_DONE, b->done), "have interrupts");
}

static void map_and_attach(struct bench *b, unsigned int flags)
{
	need(map_area(&b->d.vmm, IOVA, b->d.memory, b->size), "map memory");
	b->d.hwpt = new_paging(&b->d.vmm, flags, 0);
	need(b->d.hwpt && attach(&b->d.vmm, RID, b->d.hwpt), "attach");
}

/* A device that works on new memory */
static void new_bench(struct bench *b, size_t size, int advice, unsigned int flags)
{
	open_bench(b);
	b->size = size;
	b->d.memory = new_memory(size, advice);
	need(b->d.memory, "have memory");
	map_and_attach(b, flags);
}

/* Sleeps until the device's interrupt, so that the CPU is the kernel's. */
static void transfer(struct bench *b, unsigned int op, uint64_t offset, size_t size)
{
	uint64_t events;

	start_transfer(&b->d, op | VTDT_IRQ, IOVA + offset, size, 1);
	need(read(b->done, &events, sizeof(events)) == sizeof(events), "be interrupted");
	need(finish_transfer(&b->d) == VTDT_OK, "transfer");
}

/* ---- the kernel's counters ---- */

static long memory_stat(const char *name)
{
	/* the kernel adds up what its CPUs have counted */
	number_in(CGROUP "/cpu.stat", "usage_usec");
	return number_in(CGROUP "/memory.stat", name);
}

/* ---- a process of its own, in the cgroup, for each measurement ---- */

#define in_process(statement) do {					\
	pid_t pid_ = fork();						\
	int status_ = 0;						\
									\
	if (!pid_) {							\
		need(write_file(CGROUP "/cgroup.procs", "0") &&		\
		     write_file(CGROUP "/memory.max", "max"), "be in the cgroup"); \
		statement;						\
		exit(0);						\
	}								\
	waitpid(pid_, &status_, 0);					\
	if (status_)							\
		exit(1);						\
} while (0)

/* ---- until the first DMA ---- */

static void start_up(unsigned int gib, bool pinned, int advice)
{
	const char *how = pinned ? "pinned" : "demand";
	const char *pages = advice == MADV_HUGEPAGE ? "2 MiB" : "4 KiB";
	long available = number_in("/proc/meminfo", "MemAvailable");
	uint64_t start, attached, done;
	struct bench b;

	if (pinned && available < (gib << 20) + (256L << 10)) {
		say("%3u GiB  %-6s  %s   (this machine has %ld MiB left)\n", gib, how, pages,
		    available >> 10);
		return;
	}
	open_bench(&b);
	b.size = gib * SZ_1G;
	b.d.memory = new_memory(b.size, advice);
	need(b.d.memory, "have memory");
	start = now();
	map_and_attach(&b, pinned ? 0 : IOMMU_HWPT_ALLOC_DEMAND);
	attached = now();
	transfer(&b, VTDT_WRITE, b.size / 2 + 123 * PAGE, 64);
	done = now();
	say("%3u GiB  %-6s  %s %14.3f %10.3f %12.1f %11.1f %10ld\n", gib, how, pages,
	    (attached - start) / 1e6, (done - attached) / 1e6,
	    status_kib("VmRSS") / 1024.0, status_kib("VmPin") / 1024.0,
	    memory_stat("sec_pagetables") / 1024);
}

static void start_ups(void)
{
	static const unsigned int sizes[] = { 1, 8, 64 };
	unsigned int i;

	say("memory   HWPT    pages  10^6 instructions     resident      pinned     tables\n");
	say("                         to attach  first DMA         MiB         MiB        KiB\n");
	for (i = 0; i < 3; i++) {
		in_process(start_up(sizes[i], false, MADV_NOHUGEPAGE));
		in_process(start_up(sizes[i], false, MADV_HUGEPAGE));
		in_process(start_up(sizes[i], true, MADV_NOHUGEPAGE));
		in_process(start_up(sizes[i], true, MADV_HUGEPAGE));
	}
}

/* ---- page requests ---- */

#define AT_ONCE		(2 * SZ_2M)

static void cpu_fills(struct bench *b)
{
	fill(b->d.memory, IOVA, AT_ONCE, 1);
}

static void swap_out(struct bench *b)
{
	cpu_fills(b);
	madvise(b->d.memory, AT_ONCE, MADV_PAGEOUT);
}

static void hugetlb(struct bench *b)
{
	need(mmap(b->d.memory, AT_ONCE, PROT_READ | PROT_WRITE, MAP_PRIVATE |
		  MAP_ANONYMOUS | MAP_HUGETLB | MAP_FIXED, -1, 0) == b->d.memory,
	     "have huge pages");
}

static void file(struct bench *b)
{
	int fd = memfd_create("guest", 0);

	need(!ftruncate(fd, AT_ONCE) &&
	     mmap(b->d.memory, AT_ONCE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd,
		  0) == b->d.memory, "have a file");
}

/* Without mapping around: no neighbour is faulted in. */
static void expect_random(struct bench *b)
{
	madvise(b->d.memory, AT_ONCE, MADV_RANDOM);
}

static void file_present(struct bench *b)
{
	file(b);
	cpu_fills(b);
}

static void four_mib(const char *memory, int advice, void (*prepare)(struct bench *b))
{
	unsigned int requests;
	uint64_t start, took;
	struct bench b;

	new_bench(&b, 2 * AT_ONCE, advice, IOMMU_HWPT_ALLOC_DEMAND);
	/* the tables above, and first-time costs */
	transfer(&b, VTDT_WRITE, AT_ONCE, 64);
	if (prepare)
		prepare(&b);
	requests = page_requests(&b.d);
	need(count_event(MAPS, "size", true), "count");
	start = now();
	transfer(&b, VTDT_WRITE, 0, AT_ONCE);
	took = now() - start;
	requests = page_requests(&b.d) - requests;
	say("%-28s %8u %8lu %8lu %18.1f\n", memory, requests, counted(MAPS, "hitcount"),
	    pages_mapped(), took / 1e3 / requests);
	need(count_event(MAPS, "size", false), "count");
}

static void requests(void)
{
	say("4 MiB of                     requests     maps    pages  10^3 instructions\n");
	say("                                                 mapped  / request\n");
	in_process(four_mib("2 MiB pages, not there", MADV_HUGEPAGE, NULL));
	in_process(four_mib("2 MiB pages, there", MADV_HUGEPAGE, cpu_fills));
	in_process(four_mib("hugetlb, not there", MADV_NOHUGEPAGE, hugetlb));
	in_process(four_mib("4 KiB pages, not there", MADV_NOHUGEPAGE, NULL));
	in_process(four_mib("the same, MADV_RANDOM", MADV_NOHUGEPAGE, expect_random));
	in_process(four_mib("4 KiB pages, there", MADV_NOHUGEPAGE, cpu_fills));
	in_process(four_mib("4 KiB pages, swapped out", MADV_NOHUGEPAGE, swap_out));
	in_process(four_mib("memfd, not there", MADV_NOHUGEPAGE, file));
	in_process(four_mib("memfd, there", MADV_NOHUGEPAGE, file_present));
}

/* ---- less memory than the working set ---- */

#define WORK		(8 * SZ_2M)
#define CHUNKS		(WORK / CHUNK)
#define PACE		16000		/* ns for 256 KiB, as on a link of 16 GB/s */

enum who { DEVICE, CPU };

static void write_by(enum who who, struct bench *b, uint64_t offset, size_t size)
{
	if (who == DEVICE)
		transfer(b, VTDT_WRITE, offset, size);
	else
		memset(b->d.memory + offset, 1, size);
}

/* All of it once, in order; or the same amount at random. Returns MiB/s. */
static double pass(enum who who, struct bench *b, bool in_order)
{
	static unsigned int seed = 1;
	uint64_t start = now();
	unsigned int i;

	if (in_order)
		write_by(who, b, 0, WORK);
	for (i = 0; i < CHUNKS && !in_order; i++) {
		seed = seed * 1103515245 + 12345;
		write_by(who, b, (seed >> 16) % CHUNKS * CHUNK, CHUNK);
	}
	return WORK / 1048576.0 / ((now() - start) / 1e9);
}

static void with_limit(unsigned int percent, bool in_order)
{
	unsigned long swapped_in, evicted, requests, descriptors;
	double device, cpu;
	char limit[30];
	struct bench b;

	new_bench(&b, WORK, MADV_NOHUGEPAGE, IOMMU_HWPT_ALLOC_DEMAND);
	*reg(&b.d.vmm.dev, VTDT_DELAY) = PACE;
	pass(DEVICE, &b, true);
	snprintf(limit, sizeof(limit), "%ld", number_in(CGROUP "/memory.current", "") -
		 memory_stat("anon") + (long)(WORK / 100 * percent));
	need(write_file(CGROUP "/memory.max", limit), "limit memory");
	pass(DEVICE, &b, in_order);

	need(count_event(MAPS, "size", true) && count_event(DESCRIPTORS, "hitcount", true),
	     "count");
	evicted = pages_in_domain();
	swapped_in = memory_stat("pgmajfault");
	requests = page_requests(&b.d);
	device = pass(DEVICE, &b, in_order);
	requests = page_requests(&b.d) - requests;
	swapped_in = memory_stat("pgmajfault") - swapped_in;
	evicted += pages_mapped() - pages_in_domain();
	descriptors = counted(DESCRIPTORS, "hitcount");
	need(count_event(MAPS, "size", false) && count_event(DESCRIPTORS, "hitcount", false),
	     "count");
	pass(CPU, &b, in_order);
	cpu = pass(CPU, &b, in_order);
	say("%4u %%   %-9s %8.1f %10.1f %9.2f %12.1f %12.1f %12.2f\n", percent,
	    in_order ? "in order" : "random", device, cpu, requests / (WORK / 1048576.0),
	    swapped_in / (WORK / 1048576.0), evicted / (WORK / 1048576.0),
	    evicted ? 1.0 * descriptors / evicted : 0);
}

static void limits(void)
{
	static const unsigned int percents[] = { 200, 150, 125, 110, 100, 90, 75, 50, 25 };
	unsigned int i, in_order;

	say("memory   access      device  CPU's own  requests   swapped in      evicted"
	    "  descriptors\n");
	say("                      MiB/s      MiB/s     / MiB  pages / MiB  pages / MiB"
	    "       / page\n");
	for (in_order = 0; in_order < 2; in_order++)
		for (i = 0; i < sizeof(percents) / sizeof(*percents); i++)
			in_process(with_limit(percents[i], in_order));
}

/* ---- all memory present ---- */

static void steady(bool pinned, int advice)
{
	unsigned int requests;
	uint64_t start, took;
	struct bench b;

	new_bench(&b, WORK, advice, pinned ? 0 : IOMMU_HWPT_ALLOC_DEMAND);
	transfer(&b, VTDT_WRITE, 0, WORK);
	requests = page_requests(&b.d);
	need(count_event(DESCRIPTORS, "hitcount", true), "count");
	start = now();
	transfer(&b, VTDT_WRITE, 0, WORK);
	transfer(&b, VTDT_READ, 0, WORK);
	took = now() - start;
	say("%-6s  %s %10u %12lu %12u %10ld %12.1f\n", pinned ? "pinned" : "demand",
	    advice == MADV_HUGEPAGE ? "2 MiB" : "4 KiB", page_requests(&b.d) - requests,
	    counted(DESCRIPTORS, "hitcount"), *reg(&b.d.vmm.dev, VTDT_TLB),
	    memory_stat("sec_pagetables") / 1024, took / 1e3);
	need(count_event(DESCRIPTORS, "hitcount", false), "count");
}

static void steady_states(void)
{
	unsigned int pinned;

	say("HWPT    pages    requests  descriptors  TLB entries   tables  10^3 instructions\n");
	say("                                        of the device     KiB  for 32 MiB\n");
	for (pinned = 0; pinned < 2; pinned++) {
		in_process(steady(pinned, MADV_NOHUGEPAGE));
		in_process(steady(pinned, MADV_HUGEPAGE));
	}
}

/* ---- a request by stages ---- */

#define SAMPLES		64

/* From the IOMMU's queue to the worker, there to the last mapping, there to the answer */
enum { REPORTED, SERVED, MAPPED, ANSWERED, STAGES };

static const char *const stage_events[STAGES] = {
	"intel_iommu/prq_report", "workqueue/workqueue_execute_start", "iommu/map",
	"intel_iommu/qi_submit",
};
static const char *const stage_words[STAGES] = {
	"prq_report:", "function demand_work", ": map:", "page_grp_resp",
};

static void trace(bool on)
{
	char path[100];
	int i;

	for (i = 0; i < STAGES; i++) {
		snprintf(path, sizeof(path), TRACING "events/%s/enable", stage_events[i]);
		need(write_file(path, on ? "1" : "0"), "trace");
	}
}

/* Add up how long the stages of all requests in the trace took; returns how many. */
static unsigned int stages_in_trace(uint64_t sum[STAGES])
{
	FILE *file = fopen(TRACING "trace", "r");
	uint64_t at[STAGES] = { }, time;
	unsigned int n = 0, i;
	char line[500], *stamp;

	while (file && fgets(line, sizeof(line), file)) {
		stamp = strchr(line, ']');
		if (line[0] == '#' || !stamp || sscanf(stamp + 1, " %*s %lu", &time) != 1)
			continue;
		for (i = 0; i < STAGES && !strstr(line, stage_words[i]); i++)
			;
		if (i == STAGES)
			continue;
		at[i] = time;
		if (i != ANSWERED || !at[MAPPED])
			continue;
		for (i = REPORTED; i < ANSWERED; i++)
			sum[i] += at[i + 1] - at[i];
		at[MAPPED] = 0;
		n++;
	}
	if (file)
		fclose(file);
	return n;
}

static void stages(const char *memory, int advice, void (*prepare)(struct bench *b),
		   size_t stride)
{
	uint64_t sum[STAGES] = { };
	unsigned int i, n;
	struct bench b;

	new_bench(&b, SAMPLES * stride + AT_ONCE, advice, IOMMU_HWPT_ALLOC_DEMAND);
	transfer(&b, VTDT_WRITE, SAMPLES * stride, 64);
	if (prepare)
		prepare(&b);
	/* what is in it goes */
	close(open(TRACING "trace", O_WRONLY | O_TRUNC));
	trace(true);
	for (i = 0; i < SAMPLES; i++)
		transfer(&b, VTDT_WRITE, i * stride, 64);
	trace(false);
	n = stages_in_trace(sum);
	need(n, "find requests in the trace");
	say("%-26s %8u %10.1f %12.1f %10.1f %10.1f\n", memory, n, sum[REPORTED] / 1e3 / n,
	    sum[SERVED] / 1e3 / n, sum[MAPPED] / 1e3 / n,
	    (sum[REPORTED] + sum[SERVED] + sum[MAPPED]) / 1e3 / n);
}

static void touch(struct bench *b)
{
	size_t i;

	for (i = 0; i < SAMPLES * SZ_2M; i += PAGE)
		b->d.memory[i] = 1;
}

static void touch_and_swap(struct bench *b)
{
	size_t i;

	for (i = 0; i < SAMPLES * SZ_2M; i += SZ_2M) {
		memset(b->d.memory + i, 1, CHUNK);
		madvise(b->d.memory + i, CHUNK, MADV_PAGEOUT);
	}
}

static void all_stages(void)
{
	need(write_file(TRACING "trace_clock", "x86-tsc"), "have the trace's clock");
	say("a page                     requests  to the       faulted in   answered      all\n");
	say("                                     worker       and mapped        10^3 instructions\n");
	in_process(stages("4 KiB, 2 MiB are there", MADV_NOHUGEPAGE, touch, SZ_2M));
	in_process(stages("4 KiB, not there", MADV_NOHUGEPAGE, NULL, CHUNK));
	in_process(stages("4 KiB, 64 KiB swapped out", MADV_NOHUGEPAGE, touch_and_swap,
			  SZ_2M));
	in_process(stages("2 MiB, there", MADV_HUGEPAGE, touch, SZ_2M));
	in_process(stages("2 MiB, not there", MADV_HUGEPAGE, NULL, SZ_2M));
}

int main(void)
{
	need(!mkdir(CGROUP, 0755), "make a cgroup");
	start_ups();
	say("\n");
	requests();
	say("\n");
	limits();
	say("\n");
	steady_states();
	say("\n");
	all_stages();
	return 0;
}
