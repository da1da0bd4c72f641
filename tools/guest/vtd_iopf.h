/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Helpers of the programs about page requests: a VMM (see vtd_vmm.h) with a fault queue
 * for its guest's tables and one for its guest's memory, a device that makes groups of
 * requests, and checks of the results.
 */
#ifndef VTD_IOPF_H
#define VTD_IOPF_H

#include "kselftest_harness.h"
#include "vtd_vmm.h"

#define IOVA		0x7f1234400000UL
#define READ		VTDT_WANT_READ
#define WRITE		VTDT_WANT_WRITE
#define BOTH		(READ | WRITE)
#define SUCCESS		IOMMUFD_PAGE_RESP_SUCCESS
#define INVALID		IOMMUFD_PAGE_RESP_INVALID
#define NO_ANSWER	(-1)

#define LISTS		0x777		/* the PASID for fetching lists */
#define MAX_OUTSTANDING	512		/* requests of a device that may be outstanding */
#define QUEUE_SIZE	2048		/* requests in the IOMMU's own queue */

/* IOMMU_PGFAULT_PERM_* */
#define PERM(want)	((want) / VTDT_WANT_READ)

/* The level that stopped a request, and its queue */
enum { FIRST, SECOND };

/* Indices into pages[]: pages of the guest that the second level maps, or does not */
#define POOL		8
enum { PRESENT, ABSENT };

struct vm {
	struct vmm vmm;
	struct testdev *dev;
	unsigned int pasid;		/* of the requests, or RID */
	struct pollfd queue[2];
	unsigned int fault[2];		/* their IDs for iommufd */
	unsigned int root, hwpt;
	unsigned int pages[2][POOL];
	unsigned int list_page, in_list;
};

/* ---- counters of the kernel ---- */

/* The sum of all IOMMUs' counters of this name, -1 if there is none */
static long counter(const char *name)
{
	FILE *file = fopen("/sys/kernel/debug/iommu/intel/page_requests", "r");
	char line[200], word[100];
	long value, sum = -1;

	if (!file)
		return -1;
	while (fgets(line, sizeof(line), file)) {
		if (sscanf(line, " %99s %ld", word, &value) == 2 && !strcmp(word, name))
			sum = (sum < 0 ? 0 : sum) + value;
	}
	fclose(file);
	return sum;
}

/* The counter reaches @value, and does not exceed it. */
static bool counts(const char *name, long value)
{
	wait_until(counter(name) >= value);
	if (counter(name) != value)
		note("counter %s is %ld, not %ld\n", name, counter(name), value);
	return counter(name) == value;
}

/* ---- the machine ---- */

static bool map_page(struct vmm *vmm, unsigned int page)
{
	return map_area(vmm, page * PAGE, vmm->guest[page], PAGE);
}

static bool attach_vm(struct vm *vm, unsigned int hwpt)
{
	return attach(&vm->vmm, vm->pasid, hwpt);
}

/* Open a guest whose memory is not mapped, except for the list, and both queues. */
static bool open_vm(struct vm *vm, const char *device, unsigned int pasid)
{
	struct vmm *vmm = &vm->vmm;

	*vm = (struct vm) { .dev = &vmm->dev, .pasid = pasid };
	if (!open_guest(vmm, device) ||
	    !new_queue(vmm, &vm->queue[FIRST], &vm->fault[FIRST]) ||
	    !new_queue(vmm, &vm->queue[SECOND], &vm->fault[SECOND]))
		return false;
	vm->list_page = new_page(vmm);
	vmm->parent = new_paging(vmm, IOMMU_HWPT_ALLOC_NEST_PARENT, vm->fault[SECOND]);
	return vmm->parent && map_page(vmm, vm->list_page) &&
	       attach(vmm, LISTS, vmm->parent);
}

/* Attach a nested domain with an empty table of the guest. */
static bool nest_vm(struct vm *vm)
{
	vm->root = new_page(&vm->vmm);
	vm->hwpt = nest_faulting(&vm->vmm, vm->root, 0, vm->fault[FIRST]);
	return vm->hwpt && attach_vm(vm, vm->hwpt);
}

/* Map the guest's memory, except for the absent pages. */
static bool fill_vm(struct vm *vm)
{
	unsigned int page, i;

	for (i = 0; i < POOL; i++) {
		vm->pages[PRESENT][i] = new_data(&vm->vmm);
		vm->pages[ABSENT][i] = new_data(&vm->vmm);
	}
	for (page = 0; page < GUEST_PAGES; page++) {
		bool absent = page >= vm->pages[ABSENT][0] &&
			      page <= vm->pages[ABSENT][POOL - 1] &&
			      !((page - vm->pages[ABSENT][0]) & 1);

		if (page != vm->list_page && !absent && !map_page(&vm->vmm, page))
			return false;
	}
	return true;
}

static void close_queue(struct vm *vm, int level)
{
	if (vm->queue[level].fd >= 0)
		close(vm->queue[level].fd);
	vm->queue[level].fd = -1;
}

static void close_device(struct vm *vm)
{
	if (vm->dev->regs)
		munmap((void *)vm->dev->regs, 0x10000);
	if (vm->dev->fd >= 0)
		close(vm->dev->fd);
	vm->dev->regs = NULL;
	vm->dev->fd = -1;
}

static void close_vm(struct vm *vm)
{
	close_queue(vm, FIRST);
	close_queue(vm, SECOND);
	close_device(vm);
	close(vm->vmm.iommufd);
	munmap(vm->vmm.guest, GUEST_PAGES * PAGE);
}

/* ---- page requests ---- */

static struct vtdt_command page_request(struct vm *vm, unsigned int group, uint64_t addr,
					unsigned int flags)
{
	return command(VTDT_PAGE_REQUEST | VTDT_GROUP(group % 512) | flags, vm->pasid,
		       addr);
}

/* The device executes a list from both ends: the place of the @i-th command executed */
static unsigned int place(unsigned int i, unsigned int n)
{
	return i & 1 ? n - 1 - i / 2 : i / 2;
}

static volatile struct vtdt_command *sent(struct vm *vm, unsigned int i)
{
	volatile struct vtdt_command *list = (void *)vm->vmm.guest[vm->list_page];

	return &list[place(i, vm->in_list)];
}

/* Have the device execute commands in this order. */
static void send_list(struct vm *vm, const struct vtdt_command *c, unsigned int n)
{
	unsigned int i;

	vm->in_list = n;
	for (i = 0; i < n; i++)
		*sent(vm, i) = c[i];
	start_list(vm->dev, LISTS, vm->list_page * PAGE, n);
}

/* The response that the device got */
static int answer(struct vm *vm, unsigned int i)
{
	wait_until(sent(vm, i)->status != VTDT_PENDING);
	return sent(vm, i)->status == VTDT_OK ? (int)sent(vm, i)->info : NO_ANSWER;
}

static bool is_pending(struct vm *vm, unsigned int i)
{
	sleep_ms(20);
	return sent(vm, i)->status == VTDT_PENDING;
}

/* Send a group of one request, and do not wait. */
static void start_request(struct vm *vm, unsigned int group, uint64_t addr,
			  unsigned int flags)
{
	struct vtdt_command c = page_request(vm, group, addr, VTDT_LAST | flags);

	send_list(vm, &c, 1);
}

static int request(struct vm *vm, unsigned int group, uint64_t addr, unsigned int flags)
{
	start_request(vm, group, addr, flags);
	return answer(vm, 0);
}

/* Send the last request of a group by the registers, while a list may be running. */
static void start_last(struct vm *vm, unsigned int number)
{
	struct vtdt_command c = page_request(vm, number, IOVA + 63 * PAGE, BOTH | VTDT_LAST);

	start(vm->dev, &c);
}

/* The response to it */
static int last_answer(struct vm *vm)
{
	word *status = reg(vm->dev, VTDT_STATUS);

	wait_until(*status != VTDT_PENDING);
	return status[0] == VTDT_OK ? (int)status[1] : NO_ANSWER;
}

/* ---- queues ---- */

/* The records of a group in one queue, which share a cookie */
struct part {
	unsigned int n, cookie;
	struct iommu_hwpt_pgfault fault[VTDT_SLOTS];
};

static bool is_from_vm(struct vm *vm, const struct iommu_hwpt_pgfault *fault)
{
	bool has_pasid = fault->flags & IOMMU_PGFAULT_FLAGS_PASID_VALID;

	return fault->dev_id == vm->dev->dev_id && has_pasid == (vm->pasid != RID) &&
	       (!has_pasid || fault->pasid == vm->pasid);
}

/* Read the next part, of @n records, from a queue. */
static bool receive(struct vm *vm, int level, struct part *part, unsigned int n)
{
	ssize_t size = n * sizeof(part->fault[0]), got = 0;
	bool ok = true;
	unsigned int i;

	if (comes(&vm->queue[level], 1))
		got = read(vm->queue[level].fd, part->fault, size);
	if (got != size) {
		note("queue %d has %zd bytes, not %zd\n", level, got, size);
		return false;
	}
	part->n = n;
	part->cookie = part->fault[0].cookie;
	for (i = 0; i < n; i++) {
		bool last = part->fault[i].flags & IOMMU_PGFAULT_FLAGS_LAST_PAGE;

		if (part->fault[i].cookie != part->cookie || last != (i == n - 1) ||
		    part->fault[i].grpid != part->fault[0].grpid ||
		    !is_from_vm(vm, &part->fault[i])) {
			note("queue %d, record %u of %u: flags %#x, cookie %u\n", level,
			     i, n, part->fault[i].flags, part->fault[i].cookie);
			ok = false;
		}
	}
	return ok;
}

static bool is_empty(struct vm *vm, int level)
{
	return poll(&vm->queue[level], 1, 20) == 0;
}

static bool reply(struct vm *vm, int level, const struct part *part, unsigned int code)
{
	return respond(&vm->queue[level], part->cookie, code);
}

/* ---- groups as letters: F stops at the first level, S at the second, M is mapped ---- */

struct group {
	const char *letters;
	unsigned int number, n, records[2];
	uint64_t addr[2][VTDT_SLOTS];	/* to be reported, by level */
	struct part part[2];
};

/* Write the guest's entry so that a request for @iova stops where @letter says. */
static void prepare(struct vm *vm, struct group *group, uint64_t iova, char letter)
{
	unsigned int i = (iova / PAGE) % POOL;
	unsigned int page = vm->pages[letter == 'S' ? ABSENT : PRESENT][i];

	*entry(&vm->vmm, vm->root, iova, 1, TABLE) = letter == 'F' ? 0 : page * PAGE | LEAF;
	if (letter == 'F')
		group->addr[FIRST][group->records[FIRST]++] = iova;
	if (letter == 'S')
		group->addr[SECOND][group->records[SECOND]++] = page * PAGE;
}

/* @number of the group also determines its addresses */
static struct group new_group(struct vm *vm, unsigned int number, const char *letters)
{
	struct group group = { .letters = letters, .number = number % 512 };
	uint64_t iova = IOVA + number % 8 * VTDT_SLOTS * PAGE;

	for (; letters[group.n]; group.n++)
		prepare(vm, &group, iova + group.n * PAGE, letters[group.n]);
	return group;
}

static void send_group(struct vm *vm, struct group *group)
{
	uint64_t iova = IOVA + group->number % 8 * VTDT_SLOTS * PAGE;
	struct vtdt_command c[VTDT_SLOTS];
	unsigned int i;

	for (i = 0; i < group->n; i++)
		c[i] = page_request(vm, group->number, iova + i * PAGE,
				    BOTH | (i == group->n - 1 ? VTDT_LAST : 0));
	send_list(vm, c, group->n);
}

/* Receive each part from its queue; check the addresses and their order. */
static bool receive_group(struct vm *vm, struct group *group)
{
	bool ok = true;
	unsigned int i;
	int level;

	for (level = FIRST; level <= SECOND; level++) {
		struct part *part = &group->part[level];

		if (!group->records[level])
			continue;
		ok = ok && receive(vm, level, part, group->records[level]) &&
		     part->fault[0].grpid == group->number;
		for (i = 0; ok && i < part->n; i++)
			ok = part->fault[i].addr == group->addr[level][i] &&
			     part->fault[i].perm == PERM(BOTH);
	}
	if (!ok)
		note("group %u, %s\n", group->number, group->letters);
	return ok;
}

/* Answer the part of level @which first. The device must wait for both. */
static bool reply_group(struct vm *vm, struct group *group, int which,
			unsigned int code_first, unsigned int code_second)
{
	unsigned int code[2] = { code_first, code_second };
	int i, level;
	bool ok = true;

	for (i = 0; i < 2; i++) {
		level = i ? !which : which;
		if (!group->records[level])
			continue;
		ok = ok && is_pending(vm, group->n - 1) &&
		     reply(vm, level, &group->part[level], code[level]);
	}
	return ok;
}

/* A group that stops at both levels is reported, answered and completed. */
static bool is_served(struct vm *vm, unsigned int number)
{
	struct group group = new_group(vm, number, "FSM");

	send_group(vm, &group);
	return receive_group(vm, &group) &&
	       reply(vm, FIRST, &group.part[FIRST], SUCCESS) &&
	       reply(vm, SECOND, &group.part[SECOND], SUCCESS) &&
	       answer(vm, group.n - 1) == SUCCESS;
}

/* ---- fixtures ---- */

FIXTURE(iopf)
{
	struct vm vm;
};

FIXTURE_VARIANT(iopf)
{
	unsigned int pasid;
};

FIXTURE_VARIANT_ADD(iopf, rid) { .pasid = RID };
FIXTURE_VARIANT_ADD(iopf, pasid_1) { .pasid = 1 };

FIXTURE_SETUP(iopf)
{
	ASSERT_TRUE(open_vm(&self->vm, getenv("TESTDEV"), variant->pasid));
	ASSERT_TRUE(fill_vm(&self->vm));
	ASSERT_TRUE(nest_vm(&self->vm));
}

FIXTURE_TEARDOWN(iopf)
{
	close_vm(&self->vm);
}

/* For tests that are the same with and without PASID */
FIXTURE(one)
{
	struct vm vm;
};

FIXTURE_SETUP(one)
{
	ASSERT_TRUE(open_vm(&self->vm, getenv("TESTDEV"), 1));
	ASSERT_TRUE(fill_vm(&self->vm));
	ASSERT_TRUE(nest_vm(&self->vm));
}

FIXTURE_TEARDOWN(one)
{
	close_vm(&self->vm);
}

#endif
