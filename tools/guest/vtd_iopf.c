// SPDX-License-Identifier: GPL-2.0
/*
 * Page requests that a VMM serves at the level that stops them: in its guest's tables, in
 * its guest's memory, or in a domain without nesting.  Prints TAP.
 */
#include <sys/eventfd.h>

#include "vtd_iopf.h"

/* ---- demand mapping ---- */

#define BUFFER_PAGES	64U
#define BUFFER(n)	(IOVA + (n) * 0x40000000UL)	/* in different tables */

/* The levels that map pages on demand */
enum { FLAT, LEVEL_1, LEVEL_2, BOTH_LEVELS };

struct demand {
	struct vm vm;
	int where;
	unsigned int first[2];		/* pages of the guest, by buffer */
	unsigned int mapped[2];		/* pages on demand, by level */
};

static bool is_demanded(const struct demand *d, int level)
{
	if (level == FIRST)
		return d->where != LEVEL_2;
	return d->where == LEVEL_2 || d->where == BOTH_LEVELS;
}

/* The guest's page for the @i-th page of a buffer: they are not contiguous */
static unsigned int buffer_page(const struct demand *d, int buffer, unsigned int i)
{
	return d->first[buffer] + i * 29 % BUFFER_PAGES;
}

static volatile unsigned char *byte_of(struct demand *d, int buffer, unsigned int offset)
{
	unsigned int page = buffer_page(d, buffer, offset / PAGE);

	return (unsigned char *)d->vm.vmm.guest[page] + offset % PAGE;
}

/* The page that belongs at this input address, 0 if none */
static unsigned int page_at(const struct demand *d, uint64_t iova)
{
	int buffer;

	for (buffer = 0; buffer < 2; buffer++) {
		if (iova >= BUFFER(buffer) && iova < BUFFER(buffer) + BUFFER_PAGES * PAGE)
			return buffer_page(d, buffer, (iova - BUFFER(buffer)) / PAGE);
	}
	return 0;
}

/* Always writable: a nest parent allows nothing else. */
static bool map_on_demand(struct demand *d, int level, uint64_t addr, unsigned int page)
{
	if (!map_area(&d->vm.vmm, addr, d->vm.vmm.guest[page], PAGE))
		return errno == EEXIST;
	d->mapped[level]++;
	return true;
}

/* Serve a request like a guest, or like a VMM. */
static bool serve_fault(struct demand *d, int level,
			const struct iommu_hwpt_pgfault *fault)
{
	unsigned int page = level == FIRST ? page_at(d, fault->addr) : fault->addr / PAGE;
	struct vmm *vmm = &d->vm.vmm;
	uint64_t *e;

	if (!page || page >= GUEST_PAGES || !is_demanded(d, level)) {
		note("unexpected fault of level %d at %#llx\n", level + 1, fault->addr);
		return false;
	}
	if (level == SECOND || d->where == FLAT)
		return map_on_demand(d, level, fault->addr, page);

	e = entry(vmm, d->vm.root, fault->addr, 1, TABLE);
	d->mapped[FIRST] += !*e;
	*e = page * PAGE | (fault->perm & IOMMU_PGFAULT_PERM_WRITE ? LEAF : LEAF & ~W);
	return true;
}

static bool serve_queue(struct demand *d, int level)
{
	struct iommu_hwpt_pgfault fault[VTDT_SLOTS];
	ssize_t n = read(d->vm.queue[level].fd, fault, sizeof(fault));
	bool ok = true;
	unsigned int i;

	for (i = 0; n > 0 && i < n / sizeof(fault[0]); i++) {
		ok = serve_fault(d, level, &fault[i]) && ok;
		if (fault[i].flags & IOMMU_PGFAULT_FLAGS_LAST_PAGE)
			ok = respond(&d->vm.queue[level], fault[i].cookie,
				     ok ? SUCCESS : INVALID) && ok;
	}
	return ok && n >= 0;
}

/* Serve until the device has got its response. */
static bool serve(struct demand *d)
{
	word *status = reg(d->vm.dev, VTDT_STATUS);
	int rounds = PATIENCE;

	while (*status == VTDT_PENDING && rounds-- > 0) {
		if (poll(d->vm.queue, 2, 1) > 0 &&
		    (!serve_queue(d, FIRST) || !serve_queue(d, SECOND)))
			return false;
	}
	if (status[0] != VTDT_OK || status[1] != SUCCESS)
		note("the device's request: status %u, response %u\n", status[0], status[1]);
	return status[0] == VTDT_OK && status[1] == SUCCESS;
}

/* The device asks for all pages of an area, as one group. */
static bool ask_for(struct demand *d, uint64_t addr, unsigned int length, unsigned int want)
{
	uint64_t page = addr & ~(PAGE - 1);
	static unsigned int group;
	struct vtdt_command c;

	for (group++; page + PAGE < addr + length; page += PAGE) {
		c = page_request(&d->vm, group, page, want);
		start(d->vm.dev, &c);
		if (await(d->vm.dev).status != VTDT_OK)
			return false;
	}
	c = page_request(&d->vm, group, page, want | VTDT_LAST);
	start(d->vm.dev, &c);
	return serve(d);
}

/* One DMA command: the device requests missing pages, and retries. */
static bool transfer(struct demand *d, unsigned int op, uint64_t addr, unsigned int length)
{
	unsigned int want = op == VTDT_WRITE ? WRITE : READ;
	struct vtdt_command c;
	int tries;

	for (tries = 0; tries < 20; tries++) {
		c = command(op | VTDT_ATS, d->vm.pasid, addr);
		c.length = length;
		start(d->vm.dev, &c);
		c = await(d->vm.dev);
		if (c.status == VTDT_OK)
			return true;
		if (c.status != VTDT_NOT_TRANSLATED || !ask_for(d, addr, length, want))
			break;
	}
	note("no DMA at %#lx: status %u, %d tries\n", addr, c.status, tries);
	return false;
}

static bool build_tables(struct demand *d)
{
	unsigned int i;

	for (i = 0; i < 2 * BUFFER_PAGES; i++) {
		uint64_t iova = BUFFER(i & 1) + i / 2 * PAGE;

		map(&d->vm.vmm, d->vm.root, iova, page_at(d, iova));
	}
	return true;
}

static bool open_demand(struct demand *d, int where, unsigned int pasid)
{
	struct vm *vm = &d->vm;
	unsigned int i, page;

	*d = (struct demand) { .where = where };
	if (!open_vm(vm, getenv("TESTDEV"), pasid))
		return false;
	for (i = 0; i < 2; i++) {
		d->first[i] = vm->vmm.used + 1;
		vm->vmm.used += BUFFER_PAGES;
	}
	if (where == FLAT) {
		vm->hwpt = new_paging(&vm->vmm, 0, vm->fault[FIRST]);
		return vm->hwpt && attach_vm(vm, vm->hwpt);
	}
	for (page = 0; where == LEVEL_1 && page < GUEST_PAGES; page++) {
		if (page != vm->list_page && !map_page(&vm->vmm, page))
			return false;
	}
	return nest_vm(vm) && (where != LEVEL_2 || build_tables(d));
}

FIXTURE(demand)
{
	struct demand d;
};

FIXTURE_VARIANT(demand)
{
	int where;
	unsigned int pasid;
};

FIXTURE_VARIANT_ADD(demand, flat_rid) { FLAT, RID };
FIXTURE_VARIANT_ADD(demand, flat_pasid) { FLAT, 0x12345 };
FIXTURE_VARIANT_ADD(demand, level_1_rid) { LEVEL_1, RID };
FIXTURE_VARIANT_ADD(demand, level_1_pasid) { LEVEL_1, 0x12345 };
FIXTURE_VARIANT_ADD(demand, level_2_rid) { LEVEL_2, RID };
FIXTURE_VARIANT_ADD(demand, level_2_pasid) { LEVEL_2, 0x12345 };
FIXTURE_VARIANT_ADD(demand, both_levels_rid) { BOTH_LEVELS, RID };
FIXTURE_VARIANT_ADD(demand, both_levels_pasid) { BOTH_LEVELS, 0x12345 };

FIXTURE_SETUP(demand)
{
	ASSERT_TRUE(open_demand(&self->d, variant->where, variant->pasid));
}

FIXTURE_TEARDOWN(demand)
{
	close_vm(&self->d.vm);
}

static unsigned char pattern(unsigned int offset)
{
	return (offset * 2654435761u) >> 24;
}

/* The device copies a buffer by commands that each lie in two pages. */
TEST_F(demand, whole_buffer)
{
	const unsigned int skip = 0x7f8, end = skip + (BUFFER_PAGES - 1) * PAGE;
	struct demand *d = &self->d;
	unsigned int offset;

	for (offset = 0; offset < BUFFER_PAGES * PAGE; offset++) {
		*byte_of(d, 0, offset) = pattern(offset);
		*byte_of(d, 1, offset) = 0xee;
	}
	for (offset = skip; offset < end; offset += PAGE) {
		ASSERT_TRUE(transfer(d, VTDT_READ, BUFFER(0) + offset, PAGE));
		ASSERT_TRUE(transfer(d, VTDT_WRITE, BUFFER(1) + offset, PAGE));
	}
	for (offset = 0; offset < BUFFER_PAGES * PAGE; offset++) {
		bool copied = offset >= skip && offset < end;

		ASSERT_EQ(pattern(offset), *byte_of(d, 0, offset));
		ASSERT_EQ(copied ? pattern(offset) : 0xee, *byte_of(d, 1, offset));
	}
	/* each page once, and at the second level also the tables */
	EXPECT_EQ(is_demanded(d, FIRST) ? 2 * BUFFER_PAGES : 0, d->mapped[FIRST]);
	EXPECT_EQ(is_demanded(d, SECOND) ? d->vm.vmm.used - 1 : 0, d->mapped[SECOND]);
}

/* ---- DMA that makes page requests when it faults ---- */

#define SEED		0x5eed
#define PAGE_IN		(VTDT_ATS | VTDT_PAGE_IN)

/* A PCI configuration register of the device, by sysfs: VFIO hides these. */
static bool access_config(const struct testdev *dev, unsigned int at, void *data,
			  unsigned int size, bool write)
{
	char path[100];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/config", dev->name);
	fd = open(path, O_RDWR | O_CLOEXEC);
	n = write ? pwrite(fd, data, size, at) : pread(fd, data, size, at);
	close(fd);
	return n == size;
}

/* The PRI capability of vtd-testdev */
#define PRI_CTRL	0x124
#define PRI_STATUS	0x126
#define PRI_CAPACITY	0x128
#define PRI_ALLOC	0x12c

static bool set_config(const struct testdev *dev, unsigned int at, uint32_t value,
		       unsigned int size)
{
	return access_config(dev, at, &value, size, true);
}

static unsigned int pri_status(const struct testdev *dev)
{
	uint16_t status = 0xffff;

	access_config(dev, PRI_STATUS, &status, sizeof(status), false);
	return status;
}

/* One of the @n commands that transfer the pattern to or from a whole buffer */
static struct vtdt_command part_of_buffer(struct demand *d, unsigned int op, int buffer,
					  unsigned int i, unsigned int n)
{
	unsigned int size = BUFFER_PAGES * PAGE / n;
	struct vtdt_command c = command(op | PAGE_IN | VTDT_PATTERN, d->vm.pasid,
					BUFFER(buffer) + i * size);

	c.length = size;
	c.data = SEED;
	return c;
}

static void start_parts(struct demand *d, unsigned int op, int buffer, unsigned int n)
{
	struct vtdt_command c[VTDT_SLOTS];
	unsigned int i;

	for (i = 0; i < n; i++)
		c[i] = part_of_buffer(d, op, buffer, i, n);
	send_list(&d->vm, c, n);
}

/* Serve until the list is done. */
static bool serve_list(struct demand *d)
{
	word *status = reg(d->vm.dev, VTDT_LIST_STATUS);
	int rounds = PATIENCE;

	while (*status == VTDT_LIST_RUNS && rounds-- > 0) {
		if (poll(d->vm.queue, 2, 1) > 0 &&
		    (!serve_queue(d, FIRST) || !serve_queue(d, SECOND)))
			return false;
	}
	return *status == VTDT_LIST_DONE;
}

/* All @n commands are complete, and found @differ bytes that were not the pattern's. */
static bool all_done(struct demand *d, unsigned int n, unsigned long differ)
{
	unsigned long sum = 0;
	unsigned int i;

	for (i = 0; i < n; i++) {
		volatile struct vtdt_command *c = sent(&d->vm, i);

		if (c->status != VTDT_OK || c->done != c->length) {
			note("command %u: status %u, %lu bytes\n", i, c->status, c->done);
			return false;
		}
		sum += c->result;
	}
	if (sum != differ)
		note("%lu bytes differ, not %lu\n", sum, differ);
	return sum == differ;
}

static bool has_pattern(struct demand *d, int buffer)
{
	unsigned int offset;

	for (offset = 0; offset < BUFFER_PAGES * PAGE; offset += 8) {
		volatile uint64_t *found = (volatile uint64_t *)byte_of(d, buffer, offset);

		if (*found != pattern_at(SEED, BUFFER(buffer) + offset))
			return false;
	}
	return true;
}

struct counters {
	unsigned int requests, groups, successes, invalids;
};

static struct counters counters(struct demand *d)
{
	return (struct counters) {
		*reg(d->vm.dev, VTDT_PAGE_REQUESTS), *reg(d->vm.dev, VTDT_GROUPS),
		*reg(d->vm.dev, VTDT_SUCCESSES), *reg(d->vm.dev, VTDT_INVALIDS),
	};
}

/* Sixteen commands write a buffer and read it back, by groups of five pages. */
TEST_F(demand, pages_in)
{
	struct counters before = counters(&self->d), after;
	struct demand *d = &self->d;

	*reg(d->vm.dev, VTDT_GROUP_SIZE) = 5;
	*reg(d->vm.dev, VTDT_CREDITS_MAX) = 0;
	start_parts(d, VTDT_WRITE, 0, 16);
	ASSERT_TRUE(serve_list(d));
	EXPECT_TRUE(all_done(d, 16, 0));
	EXPECT_TRUE(has_pattern(d, 0));
	after = counters(d);
	/* of four pages each, at either level */
	EXPECT_LE(16 * 4, after.requests - before.requests);
	EXPECT_LE(16, after.groups - before.groups);
	EXPECT_EQ(after.groups - before.groups, after.successes - before.successes);
	EXPECT_EQ(before.invalids, after.invalids);
	EXPECT_EQ(0, *reg(d->vm.dev, VTDT_CREDITS));
	EXPECT_LT(4, *reg(d->vm.dev, VTDT_CREDITS_MAX));
	EXPECT_GE(VTDT_SLOTS, *reg(d->vm.dev, VTDT_CREDITS_MAX));

	start_parts(d, VTDT_READ, 0, 16);
	ASSERT_TRUE(serve_list(d));
	EXPECT_TRUE(all_done(d, 16, 0));
	*byte_of(d, 0, 7) ^= 1;
	*byte_of(d, 0, 12345) ^= 0xff;
	*byte_of(d, 0, BUFFER_PAGES * PAGE - 1) ^= 0x80;
	start_parts(d, VTDT_READ, 0, 16);
	ASSERT_TRUE(serve_list(d));
	EXPECT_TRUE(all_done(d, 16, 3));
}

/* The device never exceeds its Outstanding Page Request Allocation. */
TEST_F(demand, credits_are_respected)
{
	struct demand *d = &self->d;
	word *credits = reg(d->vm.dev, VTDT_CREDITS);

	ASSERT_TRUE(set_config(d->vm.dev, PRI_ALLOC, 3, 4));
	*reg(d->vm.dev, VTDT_GROUP_SIZE) = 2;
	*reg(d->vm.dev, VTDT_CREDITS_MAX) = 0;
	start_parts(d, VTDT_WRITE, 1, 32);
	sleep_ms(20);
	EXPECT_EQ(3, *credits);
	ASSERT_TRUE(serve_list(d));
	EXPECT_TRUE(all_done(d, 32, 0));
	EXPECT_TRUE(has_pattern(d, 1));
	EXPECT_EQ(0, *credits);
	EXPECT_EQ(3, *reg(d->vm.dev, VTDT_CREDITS_MAX));
	ASSERT_TRUE(set_config(d->vm.dev, PRI_ALLOC, VTDT_SLOTS, 4));
}

/* A domain without nesting; groups of one page */
FIXTURE(flat)
{
	struct demand d;
};

FIXTURE_VARIANT(flat)
{
	unsigned int pasid;
};

FIXTURE_VARIANT_ADD(flat, rid) { RID };
FIXTURE_VARIANT_ADD(flat, pasid) { 0x12345 };

FIXTURE_SETUP(flat)
{
	ASSERT_TRUE(open_demand(&self->d, FLAT, variant->pasid));
}

FIXTURE_TEARDOWN(flat)
{
	close_vm(&self->d.vm);
}

static bool all_have(struct demand *d, unsigned int status, unsigned int n)
{
	unsigned int i;

	for (i = 0; i < n; i++) {
		if (sent(&d->vm, i)->status != status)
			note("command %u: status %u\n", i, sent(&d->vm, i)->status);
		if (sent(&d->vm, i)->status != status)
			return false;
	}
	return true;
}

/* One of four commands ends at its third page, which is refused. */
TEST_F(flat, page_denied)
{
	uint64_t refused = BUFFER(0) + 34 * PAGE;
	struct demand *d = &self->d;
	struct part part;
	unsigned int i;

	start_parts(d, VTDT_WRITE, 0, 4);
	for (i = 0; i < 3 * 16 + 3; i++) {
		bool wrong;

		ASSERT_TRUE(receive(&d->vm, FIRST, &part, 1));
		wrong = part.fault[0].addr == refused;
		if (!wrong)
			ASSERT_TRUE(serve_fault(d, FIRST, &part.fault[0]));
		ASSERT_TRUE(reply(&d->vm, FIRST, &part, wrong ? INVALID : SUCCESS));
	}
	ASSERT_TRUE(serve_list(d));
	for (i = 0; i < 4; i++) {
		volatile struct vtdt_command *c = sent(&d->vm, i);

		EXPECT_EQ(i == 2 ? VTDT_DENIED : VTDT_OK, c->status);
		EXPECT_EQ(i == 2 ? 2 * PAGE : 16 * PAGE, c->done);
	}
	EXPECT_EQ(INVALID, sent(&d->vm, 2)->info);
	EXPECT_EQ(0, *reg(d->vm.dev, VTDT_CREDITS));
}

/* The device repeats a request while the page is missing in spite of the response. */
TEST_F(flat, success_without_page)
{
	unsigned int successes = *reg(self->d.vm.dev, VTDT_SUCCESSES), i;
	struct demand *d = &self->d;
	struct part part;

	start_parts(d, VTDT_WRITE, 0, 1);
	for (i = 0; i < 10; i++) {
		ASSERT_TRUE(receive(&d->vm, FIRST, &part, 1));
		EXPECT_EQ(BUFFER(0), part.fault[0].addr);
		EXPECT_EQ(PERM(WRITE), part.fault[0].perm);
		ASSERT_TRUE(reply(&d->vm, FIRST, &part, SUCCESS));
	}
	ASSERT_TRUE(serve_list(d));
	EXPECT_TRUE(all_done(d, 1, 0));
	EXPECT_TRUE(has_pattern(d, 0));
	EXPECT_EQ(10 + BUFFER_PAGES, *reg(d->vm.dev, VTDT_SUCCESSES) - successes);
}

/* Transfers that are larger than the device's buffer */
TEST_F(flat, transfers_of_2_mib)
{
	const uint64_t iova = 0x100000000, size = 32 << 20;
	struct vtdt_command c[16];
	struct demand *d = &self->d;
	uint64_t *memory, i;
	unsigned int op;

	memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, memory);
	ASSERT_TRUE(map_area(&d->vm.vmm, iova, memory, size));
	for (op = VTDT_READ; op <= VTDT_WRITE; op++) {
		for (i = 0; i < 16; i++) {
			/* from within a page to within another */
			c[i] = command(op | PAGE_IN | VTDT_PATTERN, d->vm.pasid,
				       iova + 123 + i * (size / 16));
			c[i].length = size / 16 - (i == 15 ? 246 : 0);
			c[i].data = SEED;
		}
		if (op == VTDT_READ) {
			for (i = 0; i < size / 8; i++)
				memory[i] = pattern_at(SEED, iova + i * 8);
			memory[size / 16] ^= 0xff00ff;
		}
		send_list(&d->vm, c, 16);
		ASSERT_TRUE(serve_list(d));
		EXPECT_TRUE(all_done(d, 16, op == VTDT_READ ? 2 : 0));
	}
	for (i = 0; i < size / 8 && memory[i] == pattern_at(SEED, iova + i * 8); i++)
		;
	EXPECT_EQ(size / 8, i);
	EXPECT_TRUE(unmap_area(&d->vm.vmm, iova, size));
	munmap(memory, size);
}

#define GROUP_PAGES	16
#define MAX_GROUPS	(MAX_OUTSTANDING / GROUP_PAGES)

/* The next groups of a device that asks for GROUP_PAGES at once */
static bool receive_all(struct demand *d, struct part *part, unsigned int n)
{
	unsigned int i;

	for (i = 0; i < n; i++) {
		if (!receive(&d->vm, FIRST, &part[i], GROUP_PAGES))
			return false;
	}
	return true;
}

/*
 * A device gets no more credits than the kernel accepts requests. If it respects them, no
 * request is refused, not even one that immediately follows a response.
 */
TEST_F(flat, credits_match_kernel_limit)
{
	const uint64_t iova = 0x100000000, size = VTDT_SLOTS * GROUP_PAGES * PAGE;
	unsigned int groups, held, i, rounds = PATIENCE;
	struct counters before = counters(&self->d), after;
	uint32_t capacity = 0, credits = 0;
	struct vtdt_command c[VTDT_SLOTS];
	struct part part[MAX_GROUPS];
	struct demand *d = &self->d;
	uint64_t *memory;

	ASSERT_TRUE(access_config(d->vm.dev, PRI_CAPACITY, &capacity, 4, false));
	ASSERT_TRUE(access_config(d->vm.dev, PRI_ALLOC, &credits, 4, false));
	/* the kernel has to be the limit, not the device */
	ASSERT_LT(MAX_OUTSTANDING, capacity);
	EXPECT_GE(MAX_OUTSTANDING, credits);
	held = credits / GROUP_PAGES < MAX_GROUPS ? credits / GROUP_PAGES : MAX_GROUPS;
	ASSERT_LT(0, held);
	memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, memory);

	*reg(d->vm.dev, VTDT_GROUP_SIZE) = GROUP_PAGES;
	*reg(d->vm.dev, VTDT_CREDITS_MAX) = 0;
	for (i = 0; i < VTDT_SLOTS; i++) {
		c[i] = command(VTDT_WRITE | PAGE_IN | VTDT_PATTERN, d->vm.pasid,
			       iova + i * GROUP_PAGES * PAGE);
		c[i].length = GROUP_PAGES * PAGE;
		c[i].data = SEED;
	}
	send_list(&d->vm, c, VTDT_SLOTS);
	ASSERT_TRUE(receive_all(d, part, held));
	EXPECT_EQ(credits, *reg(d->vm.dev, VTDT_CREDITS));

	/* At the limit, each response allows one more group. Nothing is mapped yet. */
	for (groups = held; groups < 8 * MAX_GROUPS; groups++) {
		ASSERT_TRUE(reply(&d->vm, FIRST, &part[groups % held], SUCCESS));
		ASSERT_TRUE(receive_all(d, &part[groups % held], 1));
	}
	ASSERT_TRUE(map_area(&d->vm.vmm, iova, memory, size));
	for (i = 0; i < held; i++)
		ASSERT_TRUE(reply(&d->vm, FIRST, &part[i], SUCCESS));
	while (*reg(d->vm.dev, VTDT_LIST_STATUS) == VTDT_LIST_RUNS && rounds-- > 0) {
		if (poll(d->vm.queue, 1, 1) <= 0)
			continue;
		ASSERT_TRUE(receive_all(d, part, 1));
		ASSERT_TRUE(reply(&d->vm, FIRST, &part[0], SUCCESS));
		groups++;
	}
	EXPECT_TRUE(all_done(d, VTDT_SLOTS, 0));
	for (i = 0; i < size / 8 && memory[i] == pattern_at(SEED, iova + i * 8); i++)
		;
	EXPECT_EQ(size / 8, i);

	after = counters(d);
	EXPECT_EQ(before.invalids, after.invalids);
	EXPECT_EQ(groups, after.groups - before.groups);
	EXPECT_EQ(groups, after.successes - before.successes);
	EXPECT_EQ(groups * GROUP_PAGES, after.requests - before.requests);
	EXPECT_EQ(credits, *reg(d->vm.dev, VTDT_CREDITS_MAX));
	EXPECT_TRUE(unmap_area(&d->vm.vmm, iova, size));
	munmap(memory, size);
}

static bool receive_and_hold(struct demand *d, struct part *part, unsigned int n)
{
	unsigned int i;

	start_parts(d, VTDT_WRITE, 0, n);
	for (i = 0; i < n; i++) {
		if (!receive(&d->vm, FIRST, &part[i], 1))
			return false;
	}
	return true;
}

/* Commands end at once; their requests stay outstanding until they are answered. */
TEST_F(flat, page_requests_disabled)
{
	struct demand *d = &self->d;
	struct part part[4];
	unsigned int i;

	ASSERT_TRUE(receive_and_hold(d, part, 4));
	ASSERT_TRUE(set_config(d->vm.dev, PRI_CTRL, 0, 2));
	EXPECT_EQ(VTDT_LIST_DONE, *reg(d->vm.dev, VTDT_LIST_STATUS));
	EXPECT_TRUE(all_have(d, VTDT_STOPPED, 4));
	start_parts(d, VTDT_WRITE, 0, 4);
	EXPECT_TRUE(serve_list(d));
	EXPECT_TRUE(all_have(d, VTDT_NOT_SENT, 4));
	for (i = 0; i < 4; i++) {
		EXPECT_EQ(4 - i, *reg(d->vm.dev, VTDT_CREDITS));
		EXPECT_FALSE(pri_status(d->vm.dev) & PCI_PRI_STATUS_STOPPED);
		ASSERT_TRUE(reply(&d->vm, FIRST, &part[i], SUCCESS));
	}
	EXPECT_TRUE(pri_status(d->vm.dev) & PCI_PRI_STATUS_STOPPED);
	ASSERT_TRUE(set_config(d->vm.dev, PRI_CTRL, PCI_PRI_CTRL_ENABLE, 2));
	start_parts(d, VTDT_WRITE, 0, 4);
	ASSERT_TRUE(serve_list(d));
	EXPECT_TRUE(all_done(d, 4, 0));
	EXPECT_TRUE(has_pattern(d, 0));
}

TEST_F(flat, device_reset)
{
	struct demand *d = &self->d;
	word *regs = reg(d->vm.dev, 0);
	struct part part[4];

	ASSERT_TRUE(map_on_demand(d, FIRST, BUFFER(1), buffer_page(d, 1, 0)));
	EXPECT_EQ(VTDT_OK, execute(d->vm.dev, VTDT_TRANSLATE, variant->pasid, BUFFER(1),
				   0).status);
	ASSERT_TRUE(receive_and_hold(d, part, 4));
	EXPECT_EQ(4, regs[VTDT_BUSY / 4]);
	EXPECT_EQ(4, regs[VTDT_CREDITS / 4]);
	EXPECT_EQ(1, regs[VTDT_TLB / 4]);
	ASSERT_EQ(0, ioctl(d->vm.dev->fd, VFIO_DEVICE_RESET));
	EXPECT_EQ(0, regs[VTDT_BUSY / 4]);
	EXPECT_EQ(0, regs[VTDT_CREDITS / 4]);
	EXPECT_EQ(0, regs[VTDT_TLB / 4]);
	EXPECT_TRUE(all_have(d, VTDT_PENDING, 4));
}

/* ---- groups ---- */

/* A request for a mapped page is answered at once, and not reported. */
TEST_F(iopf, mapped_already)
{
	static const char *const letters[] = { "M", "MMM" };
	struct group group;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(letters); i++) {
		group = new_group(&self->vm, i, letters[i]);
		send_group(&self->vm, &group);
		EXPECT_EQ(SUCCESS, answer(&self->vm, group.n - 1));
	}
	EXPECT_TRUE(is_empty(&self->vm, FIRST));
	EXPECT_TRUE(is_empty(&self->vm, SECOND));
}

/*
 * The device interrupts when it gets the response, while the CPU still writes the IOMMU's
 * register.
 */
TEST_F(iopf, interrupt_of_response)
{
	struct pollfd come = { .fd = eventfd(0, EFD_CLOEXEC), .events = POLLIN };
	struct group group = new_group(&self->vm, 0, "F");

	ASSERT_TRUE(set_trigger(self->vm.dev, VTDT_IRQ_RESPONSE, come.fd));
	send_group(&self->vm, &group);
	ASSERT_TRUE(receive_group(&self->vm, &group));
	EXPECT_EQ(0, poll(&come, 1, 50));
	EXPECT_TRUE(reply_group(&self->vm, &group, FIRST, SUCCESS, SUCCESS));
	EXPECT_EQ(SUCCESS, answer(&self->vm, 0));
	EXPECT_TRUE(comes(&come, 1));
	close(come.fd);
}

TEST_F(iopf, one_level)
{
	static const char *const letters[] = { "F", "S", "FFFFF", "SSSSS", "MFMFM", "MSSMM" };
	struct group group;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(letters); i++) {
		group = new_group(&self->vm, i, letters[i]);
		send_group(&self->vm, &group);
		ASSERT_TRUE(receive_group(&self->vm, &group));
		EXPECT_TRUE(is_empty(&self->vm, group.records[FIRST] ? SECOND : FIRST));
		EXPECT_TRUE(reply_group(&self->vm, &group, FIRST, i & 1, i & 1));
		EXPECT_EQ(i & 1, answer(&self->vm, group.n - 1));
	}
}

/* Each queue gets its part. The device gets a response when both parts are answered. */
TEST_F(iopf, mixed_levels)
{
	static const char *const letters[] = { "FS", "SF", "FSFSFS", "SMFMSFM" };
	struct group group;
	unsigned int i;

	for (i = 0; i < 2 * ARRAY_SIZE(letters); i++) {
		group = new_group(&self->vm, i, letters[i / 2]);
		send_group(&self->vm, &group);
		ASSERT_TRUE(receive_group(&self->vm, &group));
		EXPECT_TRUE(reply_group(&self->vm, &group, i & 1, SUCCESS, SUCCESS));
		EXPECT_EQ(SUCCESS, answer(&self->vm, group.n - 1));
	}
}

/* If either part is answered with INVALID, the device gets INVALID. */
TEST_F(iopf, invalid_in_one_part)
{
	struct group group;
	unsigned int i;

	for (i = 0; i < 8; i++) {
		group = new_group(&self->vm, i, "SFMF");
		send_group(&self->vm, &group);
		ASSERT_TRUE(receive_group(&self->vm, &group));
		EXPECT_TRUE(reply_group(&self->vm, &group, i & 1, i >> 1 & 1, i >> 2 & 1));
		EXPECT_EQ(i >> 1 ? INVALID : SUCCESS, answer(&self->vm, group.n - 1));
	}
}

/* Three groups of one each are outstanding: the last one is answered first. */
TEST_F(iopf, reverse_order)
{
	struct vtdt_command c[3];
	struct group group[3];
	int i;

	for (i = 0; i < 3; i++) {
		group[i] = new_group(&self->vm, i, "F");
		c[i] = page_request(&self->vm, i, group[i].addr[FIRST][0], BOTH | VTDT_LAST);
	}
	send_list(&self->vm, c, 3);
	for (i = 0; i < 3; i++)
		ASSERT_TRUE(receive_group(&self->vm, &group[i]));
	for (i = 2; i >= 0; i--) {
		EXPECT_TRUE(is_pending(&self->vm, i));
		EXPECT_TRUE(reply(&self->vm, FIRST, &group[i].part[FIRST], i & 1));
		EXPECT_EQ(i & 1, answer(&self->vm, i));
	}
}

/* Requests of two groups alternate. */
TEST_F(iopf, interleaved)
{
	struct group one = new_group(&self->vm, 1, "FSF"), two = new_group(&self->vm, 2, "SFS");
	struct vtdt_command c[6];
	unsigned int i;

	for (i = 0; i < 6; i++)
		c[i] = page_request(&self->vm, 1 + i % 2,
				    IOVA + ((1 + i % 2) * VTDT_SLOTS + i / 2) * PAGE,
				    BOTH | (i > 3 ? VTDT_LAST : 0));
	send_list(&self->vm, c, 6);
	ASSERT_TRUE(receive_group(&self->vm, &one));
	ASSERT_TRUE(receive_group(&self->vm, &two));
	for (i = 0; i < 2; i++) {
		EXPECT_TRUE(reply(&self->vm, i, &one.part[i], SUCCESS));
		EXPECT_TRUE(reply(&self->vm, i, &two.part[i], INVALID));
	}
	EXPECT_EQ(SUCCESS, answer(&self->vm, 4));
	EXPECT_EQ(INVALID, answer(&self->vm, 5));
}

/* Two PASIDs may use the same group number. */
TEST_F(one, same_group_of_two_pasids)
{
	struct vm *vm = &self->vm;
	struct vtdt_command c[3];
	struct part part;

	ASSERT_TRUE(attach(&vm->vmm, 2, vm->hwpt));
	c[0] = page_request(vm, 5, IOVA, READ);
	vm->pasid = 2;
	c[1] = page_request(vm, 5, IOVA + PAGE, READ | VTDT_LAST);
	vm->pasid = 1;
	c[2] = page_request(vm, 5, IOVA + 2 * PAGE, READ | VTDT_LAST);
	send_list(vm, c, 3);
	vm->pasid = 2;
	ASSERT_TRUE(receive(vm, FIRST, &part, 1));
	EXPECT_EQ(IOVA + PAGE, part.fault[0].addr);
	EXPECT_TRUE(reply(vm, FIRST, &part, INVALID));
	vm->pasid = 1;
	ASSERT_TRUE(receive(vm, FIRST, &part, 2));
	EXPECT_EQ(IOVA, part.fault[0].addr);
	EXPECT_TRUE(reply(vm, FIRST, &part, SUCCESS));
	EXPECT_EQ(INVALID, answer(vm, 1));
	EXPECT_EQ(SUCCESS, answer(vm, 2));
}

/* Two devices share table and queues; dev_id distinguishes them. */
TEST_F(one, two_devices)
{
	struct vm *vm = &self->vm, other = *vm;
	struct part part[2];

	if (!getenv("TESTDEV2"))
		SKIP(return, "no second device");
	other.dev = &other.vmm.dev;
	ASSERT_TRUE(open_device(other.dev, getenv("TESTDEV2"), vm->vmm.iommufd));
	ASSERT_TRUE(attach_vm(&other, vm->hwpt));
	start_last(vm, 1);
	ASSERT_TRUE(receive(vm, FIRST, &part[0], 1));
	start_last(&other, 1);
	ASSERT_TRUE(receive(&other, FIRST, &part[1], 1));
	EXPECT_NE(part[0].fault[0].dev_id, part[1].fault[0].dev_id);
	ASSERT_TRUE(detach(&vm->vmm, 1));
	EXPECT_EQ(INVALID, last_answer(vm));
	EXPECT_TRUE(reply(&other, FIRST, &part[1], SUCCESS));
	EXPECT_EQ(SUCCESS, last_answer(&other));
	close_device(&other);
}

#define CAP_IOPF_ALL	(IOMMU_HW_CAP_IOPF_FLAT | IOMMU_HW_CAP_IOPF_NESTED_L1 | \
			 IOMMU_HW_CAP_IOPF_NESTED_L2)

static uint64_t iopf_capabilities(struct vmm *vmm)
{
	struct iommu_hw_info info = { .size = sizeof(info), .dev_id = vmm->dev.dev_id };

	return ioctl(vmm->iommufd, IOMMU_GET_HW_INFO, &info) ?
	       ~0UL : info.out_capabilities & CAP_IOPF_ALL;
}

/* Records do not name the level: a nested hwpt needs another queue than its parent. */
TEST_F(one, nested_needs_another_queue)
{
	struct vmm *vmm = &self->vm.vmm;

	EXPECT_EQ(CAP_IOPF_ALL, iopf_capabilities(vmm));
	EXPECT_EQ(0, nest_faulting(vmm, self->vm.root, 0, self->vm.fault[SECOND]));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_TRUE(is_served(&self->vm, 1));
	/* a queue of another parent is allowed */
	vmm->parent = new_parent(vmm, 0);
	EXPECT_NE(0, nest_faulting(vmm, self->vm.root, 0, self->vm.fault[SECOND]));
}

/* A device without page requests cannot be attached to a hwpt with a fault queue. */
TEST_F(one, device_without_page_requests)
{
	struct vm *vm = &self->vm, other = *vm;
	struct vmm *vmm = &other.vmm;
	unsigned int hwpt[5], i;

	if (!getenv("TESTDEV3"))
		SKIP(return, "no device without PRI");
	other.dev = &vmm->dev;
	ASSERT_TRUE(open_device(other.dev, getenv("TESTDEV3"), vmm->iommufd));
	EXPECT_EQ(0, iopf_capabilities(vmm));
	/* allocating is possible, attaching is not, whichever device allocated them */
	hwpt[0] = new_paging(vmm, 0, vm->fault[FIRST]);
	hwpt[1] = new_paging(vmm, IOMMU_HWPT_ALLOC_NEST_PARENT, vm->fault[SECOND]);
	hwpt[2] = nest_faulting(vmm, vm->root, 0, vm->fault[FIRST]);
	hwpt[3] = vmm->parent;
	hwpt[4] = vm->hwpt;
	for (i = 0; i < 5; i++) {
		ASSERT_NE(0, hwpt[i]);
		EXPECT_FALSE(attach(vmm, RID, hwpt[i]));
		EXPECT_EQ(ENODEV, errno);
		EXPECT_FALSE(attach(vmm, 1, hwpt[i]));
		EXPECT_EQ(ENODEV, errno);
	}
	vmm->parent = new_parent(vmm, 0);
	ASSERT_NE(0, vmm->parent);
	EXPECT_TRUE(attach(vmm, RID, vmm->parent));
	EXPECT_TRUE(attach(vmm, 1, nest(vmm, vm->root, 0)));
	close_device(&other);
}

/* A request stops at @level, and is answered with INVALID. */
static bool stops_at(struct vm *vm, int level, uint64_t addr, unsigned int want,
		  unsigned int missing)
{
	struct part part;

	start_request(vm, 1, IOVA, want);
	if (!receive(vm, level, &part, 1))
		return false;
	if (part.fault[0].addr != addr || part.fault[0].perm != PERM(missing))
		note("stops at %#llx, for %u\n", part.fault[0].addr, part.fault[0].perm);
	return part.fault[0].addr == addr && part.fault[0].perm == PERM(missing) &&
	       reply(vm, level, &part, INVALID) && answer(vm, 0) == INVALID;
}

/* All errors of the guest's entry are reported to the guest. */
TEST_F(iopf, first_level_entries)
{
	static const struct {
		uint64_t bits, missing;
	} wrong[] = {
		{ LEAF & ~P, BOTH }, { LEAF & ~U, BOTH }, { LEAF & ~W, WRITE },
		{ LEAF | 1UL << 51, BOTH },
	};
	struct vm *vm = &self->vm;
	unsigned int i, level;

	for (level = 1; level <= 4; level++) {
		uint64_t *e = entry(&vm->vmm, vm->root, IOVA, level, TABLE), was = *e;

		if (level == 1)
			was = vm->pages[PRESENT][0] * PAGE | LEAF;
		for (i = 0; i < ARRAY_SIZE(wrong); i++) {
			*e = (was & ~LEAF) | wrong[i].bits;
			EXPECT_TRUE(stops_at(vm, FIRST, IOVA, BOTH, wrong[i].missing))
				TH_LOG("%u of level %u", i, level);
		}
		*e = was;
		EXPECT_EQ(SUCCESS, request(vm, 2, IOVA, BOTH));
	}
	*entry(&vm->vmm, vm->root, IOVA, 1, TABLE) &= ~W;
	EXPECT_EQ(SUCCESS, request(vm, 3, IOVA, READ));
}

/* The second level maps a guest's large page by small ones, one of which is missing. */
TEST_F(iopf, large_pages)
{
	struct vm *vm = &self->vm;
	uint64_t gpa = vm->pages[ABSENT][1] * PAGE;
	unsigned int level;

	for (level = 3; level >= 2; level--) {
		uint64_t size = 1UL << (12 + 9 * (level - 1)), iova = IOVA & ~(size - 1);
		struct part part;

		*entry(&vm->vmm, vm->root, iova, level, TABLE) = LEAF | LARGE;
		EXPECT_EQ(SUCCESS, request(vm, 1, iova + gpa + PAGE, BOTH));
		start_request(vm, 2, iova + gpa, BOTH);
		ASSERT_TRUE(receive(vm, SECOND, &part, 1));
		EXPECT_EQ(gpa, part.fault[0].addr);
		EXPECT_TRUE(reply(vm, SECOND, &part, INVALID));
		EXPECT_EQ(INVALID, answer(vm, 0));
		*entry(&vm->vmm, vm->root, iova, level, TABLE) = 0;
	}
}

/* The nest parent itself is attached, as for a guest in pass-through mode. */
TEST_F(iopf, nest_parent_attached)
{
	struct vm *vm = &self->vm;
	uint64_t gpa = vm->pages[ABSENT][0] * PAGE;
	struct part part;

	ASSERT_TRUE(attach_vm(vm, vm->vmm.parent));
	start_request(vm, 1, gpa, READ);
	ASSERT_TRUE(receive(vm, SECOND, &part, 1));
	EXPECT_EQ(gpa, part.fault[0].addr);
	EXPECT_EQ(IOMMU_PGFAULT_PERM_READ, part.fault[0].perm);
	ASSERT_TRUE(map_page(&vm->vmm, gpa / PAGE));
	EXPECT_TRUE(reply(vm, SECOND, &part, SUCCESS));
	EXPECT_EQ(SUCCESS, answer(vm, 0));
	EXPECT_EQ(VTDT_OK, execute(vm->dev, VTDT_READ | BY_TLB, vm->pasid, gpa, 0).status);
}

/* A VMM declares that it maps everything. The driver relies on it, and does not walk. */
TEST_F(iopf, pinned_parent)
{
	const unsigned int pinned = IOMMU_HWPT_FAULT_PINNED;
	struct group group = {};
	struct vm *vm = &self->vm;
	struct vmm *vmm = &vm->vmm;

	/* the parent has a queue, which contradicts that */
	EXPECT_EQ(0, nest_with(vmm, vm->root, 0, pinned, vm->fault[FIRST]));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(0, new_paging(vmm, pinned, vm->fault[FIRST]));
	EXPECT_EQ(EOPNOTSUPP, errno);
	vmm->parent = new_parent(vmm, 0);
	EXPECT_EQ(0, nest_with(vmm, vm->root, 0, pinned, 0));
	EXPECT_EQ(EINVAL, errno);

	prepare(vm, &group, IOVA, 'S');
	ASSERT_TRUE(attach_vm(vm, nest_faulting(vmm, vm->root, 0, vm->fault[FIRST])));
	EXPECT_EQ(INVALID, request(vm, 1, IOVA, BOTH));
	EXPECT_TRUE(is_empty(vm, FIRST));
	ASSERT_TRUE(attach_vm(vm, nest_with(vmm, vm->root, 0, pinned, vm->fault[FIRST])));
	EXPECT_TRUE(stops_at(vm, FIRST, IOVA, BOTH, BOTH));
}

/* Random groups, levels and responses; the counters match. */
TEST_F(iopf, random_groups)
{
	long first = counter("level1"), second = counter("level2"), mapped = counter("mapped"),
	     success = counter("success"), invalid = counter("invalid");
	unsigned int turn, i, code[2], expected;
	struct group group;
	char letters[17];

	srandom(5);
	for (turn = 0; turn < 60; turn++) {
		unsigned int n = 1 + random() % 16;

		for (i = 0; i < n; i++)
			letters[i] = "FSM"[random() % 3];
		letters[n] = 0;
		group = new_group(&self->vm, turn, letters);
		send_group(&self->vm, &group);
		ASSERT_TRUE(receive_group(&self->vm, &group));
		expected = SUCCESS;
		for (i = 0; i < 2; i++) {
			int level = (turn + i) & 1;

			code[level] = random() % 4 == 0;
			if (!group.records[level])
				continue;
			expected |= code[level];
			ASSERT_TRUE(reply(&self->vm, level, &group.part[level], code[level]));
		}
		ASSERT_EQ(expected, answer(&self->vm, n - 1));
		first += group.records[FIRST];
		second += group.records[SECOND];
		mapped += n - group.records[FIRST] - group.records[SECOND];
		success += expected == SUCCESS;
		invalid += expected == INVALID;
	}
	EXPECT_TRUE(counts("level1", first));
	EXPECT_TRUE(counts("level2", second));
	EXPECT_TRUE(counts("mapped", mapped));
	EXPECT_TRUE(counts("success", success));
	EXPECT_TRUE(counts("invalid", invalid));
}

/* ---- the table that "make nested" shows ---- */

#define PRINT(...) fprintf(stderr, "# | " __VA_ARGS__)

static void print_part(struct vm *vm, const char *level, const struct part *part, int code)
{
	unsigned int i, perm;
	char from[24] = "RID";

	if (vm->pasid != RID)
		snprintf(from, sizeof(from), "PASID %#x", vm->pasid);
	for (i = 0; i < part->n; i++) {
		perm = part->fault[i].perm;
		PRINT("%-8s %-13s %5u  0x%012llx %-5s %s\n", level, from,
		    part->fault[i].grpid, part->fault[i].addr,
		    perm == PERM(BOTH) ? "rw" : perm & 1 ? "r" : "w",
		    i < part->n - 1 ? "" : code == SUCCESS ? "success" : "invalid");
	}
}

static void print_response(struct vm *vm, unsigned int number, int code)
{
	char from[24] = "RID";

	if (vm->pasid != RID)
		snprintf(from, sizeof(from), "PASID %#x", vm->pasid);
	PRINT("%-8s %-13s %5u  %-14s %-5s %s\n", "device", from, number, "", "",
	    code == SUCCESS ? "success" : code == INVALID ? "invalid" : "nothing");
}

/* Serve and print a group, second level first. */
static bool print_group(struct vm *vm, unsigned int number, const char *letters,
		       unsigned int code_first, unsigned int code_second)
{
	struct group group = new_group(vm, number, letters);
	int code = NO_ANSWER;

	send_group(vm, &group);
	if (!receive_group(vm, &group))
		return false;
	if (group.records[SECOND])
		print_part(vm, "second", &group.part[SECOND], code_second);
	if (group.records[FIRST])
		print_part(vm, "first", &group.part[FIRST], code_first);
	if (reply_group(vm, &group, SECOND, code_first, code_second))
		code = answer(vm, group.n - 1);
	print_response(vm, number, code);
	return code == (int)((group.records[FIRST] ? code_first : 0) |
			     (group.records[SECOND] ? code_second : 0));
}

/* The second level does not map a table of the guest. */
static bool print_missing_table(struct vm *vm)
{
	uint64_t iova = IOVA + (1UL << 39);
	unsigned int page = new_page(&vm->vmm);
	struct part part;

	vm->vmm.guest[vm->root][index_at(iova, 4)] = page * PAGE | TABLE;
	if (!unmap_area(&vm->vmm, page * PAGE, PAGE))
		return false;
	start_request(vm, 6, iova, BOTH);
	if (!receive(vm, SECOND, &part, 1) || part.fault[0].addr != page * PAGE)
		return false;
	print_part(vm, "second", &part, SUCCESS);
	if (!map_page(&vm->vmm, page) || !reply(vm, SECOND, &part, SUCCESS))
		return false;
	print_response(vm, 6, answer(vm, 0));
	return part.fault[0].perm == PERM(READ) && answer(vm, 0) == SUCCESS;
}

static bool print_flat(struct vm *vm)
{
	uint64_t gpa = vm->pages[ABSENT][0] * PAGE;
	struct part part;
	bool ok;

	start_request(vm, 7, gpa, BOTH);
	if (!receive(vm, SECOND, &part, 1))
		return false;
	print_part(vm, "flat", &part, SUCCESS);
	ok = map_page(&vm->vmm, gpa / PAGE) && reply(vm, SECOND, &part, SUCCESS) &&
	     answer(vm, 0) == SUCCESS;
	print_response(vm, 7, answer(vm, 0));
	return ok;
}

TEST_F(iopf, table_of_faults)
{
	struct vm *vm = &self->vm;

	PRINT("%-8s %-13s %5s  %-14s %-5s %s\n", "level", "requests", "group", "address",
	    "for", "answer");
	EXPECT_TRUE(print_group(vm, 1, "F", SUCCESS, SUCCESS));
	EXPECT_TRUE(print_group(vm, 2, "S", SUCCESS, SUCCESS));
	EXPECT_TRUE(print_group(vm, 3, "FSMF", SUCCESS, SUCCESS));
	EXPECT_TRUE(print_group(vm, 4, "SF", SUCCESS, INVALID));
	EXPECT_TRUE(print_group(vm, 5, "M", SUCCESS, SUCCESS));
	EXPECT_TRUE(print_missing_table(vm));
	ASSERT_TRUE(attach_vm(vm, vm->vmm.parent));
	EXPECT_TRUE(print_flat(vm));
}

TEST_HARNESS_MAIN
