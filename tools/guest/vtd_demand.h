/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Helpers of the programs about demand paging: a device that works on unpinned memory of
 * the process, the state of its pages, counters of the kernel, and userfaultfd.
 */
#ifndef VTD_DEMAND_H
#define VTD_DEMAND_H

#include <dirent.h>
#include <linux/userfaultfd.h>
#include <sys/syscall.h>

#include "vtd_vmm.h"

#define SZ_2M		(2UL << 20)
#define SZ_1G		(1UL << 30)
#define BY_REQUESTS	(VTDT_ATS | VTDT_PAGE_IN | VTDT_PATTERN)

struct demand {
	struct vmm vmm;
	unsigned int pasid, hwpt;
	unsigned char *memory;
	bool nested;
	unsigned char *tables;		/* of the guest, if nested */
	unsigned int root;		/* the page of the root table */
};

/* ---- the process ---- */

/* The number after @name at the start of a line of a file; -1 if there is none */
static long number_in(const char *path, const char *name)
{
	FILE *file = fopen(path, "r");
	size_t length = strlen(name);
	char line[200];
	long number = -1;

	while (file && fgets(line, sizeof(line), file)) {
		if (!strncmp(line, name, length))
			sscanf(line + length + strspn(line + length, ": \t"), "%ld",
			       &number);
	}
	if (file)
		fclose(file);
	return number;
}

static long status_kib(const char *name)
{
	return number_in("/proc/self/status", name);
}

static bool write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);
	bool ok = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

	if (fd >= 0)
		close(fd);
	return ok;
}

static unsigned char *new_memory(size_t size, int advice)
{
	unsigned char *memory = mmap(NULL, size + SZ_2M, PROT_READ | PROT_WRITE,
				     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (memory == MAP_FAILED)
		return NULL;
	memory = (void *)(((unsigned long)memory + SZ_2M - 1) & ~(SZ_2M - 1));
	return madvise(memory, size, advice) ? NULL : memory;
}

static void fill(unsigned char *memory, uint64_t iova, size_t size, uint64_t seed)
{
	size_t i;

	for (i = 0; i < size; i += 8)
		*(volatile uint64_t *)(memory + i) = pattern_at(seed, iova + i);
}

static bool holds(const unsigned char *memory, uint64_t iova, size_t size, uint64_t seed)
{
	size_t i;

	for (i = 0; i < size; i += 8) {
		if (*(volatile uint64_t *)(memory + i) == pattern_at(seed, iova + i))
			continue;
		note("offset %#zx differs\n", i);
		return false;
	}
	return true;
}

static bool present(const unsigned char *page)
{
	unsigned char in_core = 0;

	return !mincore((void *)page, PAGE, &in_core) && (in_core & 1);
}

#define PFN_OF_PAGEMAP	((1UL << 55) - 1)

static unsigned long pfn_of(const void *page)
{
	int fd = open("/proc/self/pagemap", O_RDONLY);
	uint64_t entry = 0;

	if (pread(fd, &entry, sizeof(entry), (uintptr_t)page / PAGE * sizeof(entry)) < 0)
		entry = 0;
	close(fd);
	return entry & PFN_OF_PAGEMAP;
}

/* ---- memory hotplug ---- */

#define BLOCKS		"/sys/devices/system/memory/"

/* The DIMM of this machine is the only memory that Linux leaves offline when it boots. */
static bool find_block(char *state, size_t size, unsigned long *first_pfn,
		       unsigned long *pages)
{
	unsigned long block, bytes = 0;
	char word[16] = "";
	FILE *file;

	file = fopen(BLOCKS "block_size_bytes", "r");
	if (!file || fscanf(file, "%lx", &bytes) != 1)
		return false;
	fclose(file);
	for (block = 0; block < 1000; block++) {
		snprintf(state, size, BLOCKS "memory%lu/state", block);
		file = fopen(state, "r");
		if (file && fscanf(file, "%15s", word) != 1)
			word[0] = 0;
		if (file)
			fclose(file);
		*first_pfn = block * bytes / PAGE;
		*pages = bytes / PAGE;
		if (!strcmp(word, "offline"))
			return true;
	}
	return false;
}

/* ---- the device ---- */

static void start_transfer(struct demand *d, unsigned int op, uint64_t iova, size_t size,
			   uint64_t seed)
{
	struct vtdt_command c = command(op | BY_REQUESTS, d->pasid, iova);

	c.length = size;
	c.data = seed;
	start(&d->vmm.dev, &c);
}

/*
 * Wait for the command, even for long if it makes page requests. Returns its status, or
 * VTDT_FAILED if it read wrong data.
 */
static unsigned int finish_transfer(struct demand *d)
{
	word *busy = reg(&d->vmm.dev, VTDT_BUSY);
	word *requests = reg(&d->vmm.dev, VTDT_PAGE_REQUESTS);
	struct vtdt_command c;
	uint32_t before;

	do {
		before = *requests;
	} while (*busy && wait_until(!*busy || *requests != before));
	c = await(&d->vmm.dev);

	return c.status == VTDT_OK && c.result ? VTDT_FAILED : c.status;
}

static unsigned int device_writes(struct demand *d, uint64_t iova, size_t size,
				  uint64_t seed)
{
	start_transfer(d, VTDT_WRITE, iova, size, seed);
	return finish_transfer(d);
}

/* The device compares what it reads. */
static unsigned int device_reads(struct demand *d, uint64_t iova, size_t size,
				 uint64_t seed)
{
	start_transfer(d, VTDT_READ, iova, size, seed);
	return finish_transfer(d);
}

static unsigned int page_requests(struct demand *d)
{
	return *reg(&d->vmm.dev, VTDT_PAGE_REQUESTS);
}

/* ---- counters of the IOMMU core and the driver ---- */

#define TRACING		"/sys/kernel/tracing/"
#define MAPS		"iommu/map"

/* Start or stop counting an event and adding up one of its fields. */
static bool count_event(const char *event, const char *number, bool on)
{
	char path[100], trigger[100];

	snprintf(path, sizeof(path), TRACING "events/%s/trigger", event);
	snprintf(trigger, sizeof(trigger), "%shist:keys=common_cpu:vals=%s", on ? "" : "!",
		 number);
	return write_file(path, trigger);
}

/* The sum of that field, or the number of events if @number is "hitcount" */
static unsigned long counted(const char *event, const char *number)
{
	unsigned long of_cpu, sum = 0;
	char path[100], line[300];
	const char *at;
	FILE *file;

	snprintf(path, sizeof(path), TRACING "events/%s/hist", event);
	file = fopen(path, "r");
	while (file && fgets(line, sizeof(line), file)) {
		at = line[0] == '{' ? strstr(line, number) : NULL;
		if (at && sscanf(at + strlen(number), ": %lu", &of_cpu) == 1)
			sum += of_cpu;
	}
	if (file)
		fclose(file);
	return sum;
}

/* Pages of 4 KiB that were mapped since count_event(MAPS, "size", true) */
static unsigned long pages_mapped(void)
{
	return counted(MAPS, "size") / PAGE;
}

/* Pages of 4 KiB mapped in the domain that was allocated last; nested ones are not listed */
static unsigned long pages_in_domain(void)
{
	FILE *file = fopen("/sys/kernel/debug/iommu/intel/pgtable_stats", "r");
	unsigned long small = 0, large = 0;
	const char *at;
	char line[300];

	while (file && fgets(line, sizeof(line), file)) {
		at = strstr(line, "leaves_4k=");
		if (at)
			sscanf(at, "leaves_4k=%lu leaves_2m=%lu", &small, &large);
	}
	if (file)
		fclose(file);
	return small + large * (SZ_2M / PAGE);
}

/* ---- where threads wait ---- */

/* Is there a line with @text in a file of a thread? */
static bool says(const char *thread, const char *name, const char *text)
{
	char path[300], line[200];
	bool found = false;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%s/%s", thread, name);
	file = fopen(path, "r");
	while (file && !found && fgets(line, sizeof(line), file))
		found = strstr(line, text);
	if (file)
		fclose(file);
	return found;
}

/* Does a thread of any process sleep in @function of the kernel, or in what that has called? */
static bool sleeps_below(pid_t thread, const char *function)
{
	char number[20];

	snprintf(number, sizeof(number), "%d", thread);
	return says(number, "stack", function);
}

/* A thread that waits for the lock of a page sleeps in this function. */
#define FOR_PAGE_LOCK	"folio_wait_bit_common"

/* How many workers serve page requests now, of all devices, and sleep below @function */
static unsigned int workers_below(const char *function)
{
	unsigned int n = 0;
	struct dirent *entry;
	DIR *dir;

	dir = opendir("/proc");
	while (dir && (entry = readdir(dir))) {
		/* the device's queue, not that which destroys queues */
		n += says(entry->d_name, "comm", "+iommufd_demand_0") &&
		     (!function || says(entry->d_name, "stack", function));
	}
	if (dir)
		closedir(dir);
	return n;
}

static unsigned int busy_workers(void)
{
	return workers_below(NULL);
}

/* ---- late pages: userfaultfd ---- */

struct late {
	int fd;
	unsigned char *memory;
	size_t size;
};

/* Have faults of one kind (UFFDIO_REGISTER_MODE_*) in @memory reported to @late. */
static bool catch_faults_of(struct late *late, unsigned char *memory, size_t size, uint64_t mode)
{
	struct uffdio_api api = {
		.api = UFFD_API,
		.features = mode == UFFDIO_REGISTER_MODE_MINOR ? UFFD_FEATURE_MINOR_SHMEM : 0,
	};
	struct uffdio_register range = {
		.range = { (unsigned long)memory, size }, .mode = mode,
	};

	/* poll() reports an error if the descriptor is blocking */
	*late = (struct late) {
		syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK), memory, size
	};
	return late->fd >= 0 && !ioctl(late->fd, UFFDIO_API, &api) &&
	       !ioctl(late->fd, UFFDIO_REGISTER, &range);
}

/* Have faults of missing pages in @memory reported to @late. */
static bool catch_faults(struct late *late, unsigned char *memory, size_t size)
{
	return catch_faults_of(late, memory, size, UFFDIO_REGISTER_MODE_MISSING);
}

static bool wait_for_fault(struct late *late, unsigned long *address)
{
	struct pollfd fd = { .fd = late->fd, .events = POLLIN };
	struct uffd_msg msg;

	if (!comes(&fd, 1) || read(late->fd, &msg, sizeof(msg)) != sizeof(msg))
		return false;
	*address = msg.arg.pagefault.address & ~(PAGE - 1);
	return msg.event == UFFD_EVENT_PAGEFAULT;
}

static bool deliver_page(struct late *late, unsigned long address, void *from)
{
	struct uffdio_copy copy = {
		.dst = address, .src = (unsigned long)from, .len = PAGE,
	};

	return !ioctl(late->fd, UFFDIO_COPY, &copy);
}

#endif
