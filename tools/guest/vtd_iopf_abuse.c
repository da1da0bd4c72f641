// SPDX-License-Identifier: GPL-2.0
/*
 * Page requests of devices, guests and clients that misbehave, or that go away while
 * requests are outstanding.  Prints TAP.
 */
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/wait.h>

#include "vtd_iopf.h"

/* The program's threads run while this is set. */
static volatile bool running;

/* ---- clients that misbehave ---- */

static bool write_refused(struct vm *vm, int level, const void *data, size_t size, int error)
{
	errno = 0;
	return write(vm->queue[level].fd, data, size) < 0 && errno == error;
}

static bool reply_refused(struct vm *vm, int level, unsigned int cookie, unsigned int code)
{
	struct iommu_hwpt_page_response response = { .cookie = cookie, .code = code };

	return write_refused(vm, level, &response, sizeof(response), EINVAL);
}

/* Invalid responses are refused, and do not affect valid ones. */
TEST_F(one, wrong_answers)
{
	struct vm *vm = &self->vm;
	struct group group = new_group(vm, 3, "FSF");
	struct part *first = &group.part[FIRST], *second = &group.part[SECOND];
	struct iommu_hwpt_page_response short_one = {};
	void *volatile nowhere = NULL;

	EXPECT_TRUE(reply_refused(vm, FIRST, 1, SUCCESS));
	send_group(vm, &group);
	ASSERT_TRUE(receive_group(vm, &group));
	EXPECT_TRUE(reply_refused(vm, FIRST, first->cookie + 77, SUCCESS));
	EXPECT_TRUE(reply_refused(vm, FIRST, 0, SUCCESS));
	EXPECT_TRUE(reply_refused(vm, FIRST, ~0u, SUCCESS));
	EXPECT_TRUE(reply_refused(vm, FIRST, first->cookie, 2));
	EXPECT_TRUE(reply_refused(vm, SECOND, second->cookie, 0xffffffff));
	EXPECT_LT(write(vm->queue[FIRST].fd, &short_one, 4), 0);
	EXPECT_TRUE(write_refused(vm, FIRST, nowhere, 8, EFAULT));
	EXPECT_TRUE(reply(vm, FIRST, first, SUCCESS));
	/* a second response is refused */
	EXPECT_TRUE(reply_refused(vm, FIRST, first->cookie, SUCCESS));
	EXPECT_TRUE(is_pending(vm, group.n - 1));
	EXPECT_TRUE(reply(vm, SECOND, second, SUCCESS));
	EXPECT_TRUE(reply_refused(vm, SECOND, second->cookie, INVALID));
	EXPECT_EQ(SUCCESS, answer(vm, group.n - 1));
}

/* A cookie is valid only for its own queue. */
TEST_F(one, cookie_of_the_other_queue)
{
	struct vm *vm = &self->vm;
	struct group one = new_group(vm, 1, "F"), two = new_group(vm, 2, "F"),
		     other = new_group(vm, 3, "S");
	struct vtdt_command c[] = {
		page_request(vm, 1, one.addr[FIRST][0], BOTH | VTDT_LAST),
		page_request(vm, 2, two.addr[FIRST][0], BOTH | VTDT_LAST),
		page_request(vm, 3, IOVA + 3 * VTDT_SLOTS * PAGE, BOTH | VTDT_LAST),
	};

	send_list(vm, c, 3);
	ASSERT_TRUE(receive_group(vm, &one));
	ASSERT_TRUE(receive_group(vm, &two));
	ASSERT_TRUE(receive_group(vm, &other));
	/* the second queue has used one cookie, the first queue two */
	EXPECT_NE(one.part[FIRST].cookie, two.part[FIRST].cookie);
	EXPECT_TRUE(reply_refused(vm, SECOND, two.part[FIRST].cookie, SUCCESS));
	EXPECT_TRUE(reply(vm, FIRST, &two.part[FIRST], INVALID));
	EXPECT_EQ(INVALID, answer(vm, 1));
	EXPECT_TRUE(is_pending(vm, 0));
	EXPECT_TRUE(is_pending(vm, 2));
	EXPECT_TRUE(reply(vm, FIRST, &one.part[FIRST], SUCCESS));
	EXPECT_TRUE(reply(vm, SECOND, &other.part[SECOND], SUCCESS));
	EXPECT_EQ(SUCCESS, answer(vm, 0));
	EXPECT_EQ(SUCCESS, answer(vm, 2));
}

/* A read whose buffer is too small or invalid leaves the group in the queue. */
TEST_F(one, bad_reads)
{
	struct vm *vm = &self->vm;
	struct group group = new_group(vm, 1, "FFF");
	int fd = vm->queue[FIRST].fd;
	void *volatile nowhere = NULL;
	char small[48];

	send_group(vm, &group);
	ASSERT_TRUE(comes(&vm->queue[FIRST], 1));
	EXPECT_LT(read(fd, small, 1), 0);
	EXPECT_LT(read(fd, small, sizeof(struct iommu_hwpt_pgfault)), 0);
	EXPECT_LT(read(fd, nowhere, 3 * sizeof(struct iommu_hwpt_pgfault)), 0);
	ASSERT_TRUE(receive_group(vm, &group));
	EXPECT_TRUE(reply(vm, FIRST, &group.part[FIRST], SUCCESS));
	EXPECT_EQ(SUCCESS, answer(vm, group.n - 1));
}

/* A group that is unread, held or half answered when its client goes away */
FIXTURE(gone)
{
	struct vm vm;
	struct group group;
};

FIXTURE_VARIANT(gone)
{
	unsigned int pasid;
	const char *letters;
	bool received;
	int answered;		/* level, or -1 */
};

FIXTURE_VARIANT_ADD(gone, level_1_unread) { 1, "FF", false, -1 };
FIXTURE_VARIANT_ADD(gone, level_1_held) { RID, "FMF", true, -1 };
FIXTURE_VARIANT_ADD(gone, level_2_held) { 1, "SS", true, -1 };
FIXTURE_VARIANT_ADD(gone, both_unread) { RID, "FS", false, -1 };
FIXTURE_VARIANT_ADD(gone, both_held) { 1, "SFS", true, -1 };
FIXTURE_VARIANT_ADD(gone, level_1_answered) { RID, "SF", true, FIRST };
FIXTURE_VARIANT_ADD(gone, level_2_answered) { 1, "SF", true, SECOND };

FIXTURE_SETUP(gone)
{
	struct vm *vm = &self->vm;

	ASSERT_TRUE(open_vm(vm, getenv("TESTDEV"), variant->pasid));
	ASSERT_TRUE(fill_vm(vm));
	ASSERT_TRUE(nest_vm(vm));
	self->group = new_group(vm, 1, variant->letters);
	send_group(vm, &self->group);
	if (variant->received) {
		ASSERT_TRUE(receive_group(vm, &self->group));
	} else {
		ASSERT_TRUE(comes(&vm->queue[FIRST], 1));
	}
	if (variant->answered >= 0)
		ASSERT_TRUE(reply(vm, variant->answered,
				  &self->group.part[variant->answered], SUCCESS));
}

FIXTURE_TEARDOWN(gone)
{
	close_vm(&self->vm);
}

/* Outstanding requests are answered when the queues are closed, and so are later ones. */
TEST_F(gone, queues_closed)
{
	struct vm *vm = &self->vm;
	uint64_t second = IOVA + 3 * VTDT_SLOTS * PAGE;

	EXPECT_TRUE(is_pending(vm, self->group.n - 1));
	close_queue(vm, FIRST);
	if (self->group.records[SECOND] && variant->answered != SECOND)
		EXPECT_TRUE(is_pending(vm, self->group.n - 1));
	close_queue(vm, SECOND);
	EXPECT_EQ(INVALID, answer(vm, self->group.n - 1));
	EXPECT_EQ(INVALID, request(vm, 2, IOVA + 2 * VTDT_SLOTS * PAGE, READ));
	new_group(vm, 3, "S");
	EXPECT_EQ(INVALID, request(vm, 3, second, READ));
	new_group(vm, 3, "M");
	EXPECT_EQ(VTDT_OK, execute(vm->dev, VTDT_READ | BY_TLB, vm->pasid, second,
				   0).status);
}

/* No queue has the group any more. */
static bool is_dropped(struct vm *vm, const struct group *group, bool received)
{
	bool ok = true;
	int level;

	for (level = FIRST; level <= SECOND; level++) {
		ok = ok && is_empty(vm, level);
		if (received && group->records[level])
			ok = ok && reply_refused(vm, level, group->part[level].cookie,
						 SUCCESS);
	}
	return ok;
}

TEST_F(gone, detach_drops_group)
{
	struct vm *vm = &self->vm;

	ASSERT_TRUE(detach(&vm->vmm, variant->pasid));
	EXPECT_EQ(INVALID, answer(vm, self->group.n - 1));
	EXPECT_TRUE(is_dropped(vm, &self->group, variant->received));
	EXPECT_TRUE(destroy(&vm->vmm, vm->hwpt));
}

TEST_F(gone, close_drops_group)
{
	struct vm *vm = &self->vm;

	close_device(vm);
	EXPECT_TRUE(is_dropped(vm, &self->group, variant->received));
}

TEST_F(gone, replace_drops_group)
{
	struct vm *vm = &self->vm;
	unsigned int old = vm->hwpt;

	ASSERT_TRUE(nest_vm(vm));
	EXPECT_EQ(INVALID, answer(vm, self->group.n - 1));
	EXPECT_TRUE(destroy(&vm->vmm, old));
	EXPECT_TRUE(is_served(vm, 2));
}

/* A group whose last request has not arrived yet is dropped at detach. */
TEST_F(iopf, partial_group_detached)
{
	struct vm *vm = &self->vm;
	struct vtdt_command c[] = {
		page_request(vm, 5, IOVA, READ), page_request(vm, 6, IOVA + PAGE, READ),
	};
	struct part part;

	send_list(vm, c, 2);
	ASSERT_EQ(0, answer(vm, 1));
	ASSERT_TRUE(detach(&vm->vmm, vm->pasid));
	ASSERT_TRUE(attach_vm(vm, vm->hwpt));
	start_request(vm, 5, IOVA + 2 * PAGE, READ);
	EXPECT_TRUE(receive(vm, FIRST, &part, 1));
	EXPECT_TRUE(reply(vm, FIRST, &part, SUCCESS));
	EXPECT_EQ(SUCCESS, answer(vm, 0));

	/* by another table, too */
	c[1] = page_request(vm, 6, IOVA + PAGE, READ);
	send_list(vm, c, 2);
	ASSERT_EQ(0, answer(vm, 1));
	ASSERT_TRUE(nest_vm(vm));
	start_request(vm, 6, IOVA + 2 * PAGE, READ);
	EXPECT_TRUE(receive(vm, FIRST, &part, 1));
	EXPECT_TRUE(reply(vm, FIRST, &part, SUCCESS));
	EXPECT_EQ(SUCCESS, answer(vm, 0));
}

/* Two PASIDs use the same table. Detaching one does not affect requests of the other. */
TEST_F(one, neighbour_detached)
{
	struct vm *vm = &self->vm;
	struct group group = new_group(vm, 1, "SF"), other = new_group(vm, 2, "FS");
	struct vtdt_command c[4];
	unsigned int i;

	ASSERT_TRUE(attach(&vm->vmm, 2, vm->hwpt));
	for (i = 0; i < 4; i++) {
		vm->pasid = 1 + i / 2;
		c[i] = page_request(vm, vm->pasid,
				    IOVA + (vm->pasid * VTDT_SLOTS + i % 2) * PAGE,
				    BOTH | (i & 1 ? VTDT_LAST : 0));
	}
	send_list(vm, c, 4);
	vm->pasid = 1;
	ASSERT_TRUE(receive_group(vm, &group));
	ASSERT_TRUE(detach(&vm->vmm, 1));
	EXPECT_EQ(INVALID, answer(vm, 1));
	EXPECT_TRUE(is_pending(vm, 3));
	vm->pasid = 2;
	ASSERT_TRUE(receive_group(vm, &other));
	EXPECT_TRUE(reply(vm, FIRST, &other.part[FIRST], SUCCESS));
	EXPECT_TRUE(reply(vm, SECOND, &other.part[SECOND], SUCCESS));
	EXPECT_EQ(SUCCESS, answer(vm, 3));
}

/* Some command of the list is not complete, or its page request is not answered. */
static bool runs(struct vm *vm)
{
	return *reg(vm->dev, VTDT_LIST_STATUS) == VTDT_LIST_RUNS;
}

/* The list is done, and no page request was answered with success. */
static bool is_refused(struct vm *vm, const struct vtdt_command *c, unsigned int n)
{
	unsigned int i;

	if (*reg(vm->dev, VTDT_BUSY) || *reg(vm->dev, VTDT_LIST_STATUS) != VTDT_LIST_DONE)
		return false;
	for (i = 0; i < n; i++) {
		if (sent(vm, i)->status == VTDT_OK && (c[i].op & VTDT_LAST) &&
		    sent(vm, i)->info == SUCCESS)
			return false;
	}
	return true;
}

/*
 * Domains are replaced repeatedly while unanswered requests arrive. On a busy
 * host a list may end before the first replace; then the test sends another one.
 */
TEST_F(iopf, replaced_while_requests_come)
{
	struct vm *vm = &self->vm;
	struct vtdt_command c[VTDT_SLOTS];
	unsigned int hwpt[2], i, lists, turns = 0, meanwhile = 0;

	hwpt[0] = vm->hwpt;
	ASSERT_TRUE(nest_vm(vm));
	hwpt[1] = vm->hwpt;
	for (i = 0; i < VTDT_SLOTS; i++)
		c[i] = page_request(vm, i / 2, IOVA + i * PAGE,
				    READ | (i & 1 ? VTDT_LAST : 0));
	*reg(vm->dev, VTDT_DELAY) = 1000000;
	for (lists = 0; lists < 1000 && meanwhile < 10; lists++) {
		send_list(vm, c, VTDT_SLOTS);
		for (i = 0; *reg(vm->dev, VTDT_BUSY) && i < PATIENCE; i++) {
			ASSERT_TRUE(attach_vm(vm, hwpt[turns++ % 2]));
			meanwhile += runs(vm);
		}
		ASSERT_TRUE(is_refused(vm, c, VTDT_SLOTS));
	}
	EXPECT_LE(10, meanwhile);
	note("%u times replaced, %u of them while requests came\n", turns, meanwhile);
	*reg(vm->dev, VTDT_DELAY) = 0;
	EXPECT_TRUE(is_empty(vm, FIRST));
	vm->hwpt = 0;
	ASSERT_TRUE(nest_vm(vm));
	EXPECT_TRUE(is_served(vm, 2));
}

/* Answer all requests in either queue at random, some of them twice. */
static void *answer_somehow(void *data)
{
	struct iommu_hwpt_pgfault fault[VTDT_SLOTS];
	struct vm *vm = data;
	unsigned int seed = 1, i;
	ssize_t n;
	int level;

	while (running) {
		poll(vm->queue, 2, 1);
		level = rand_r(&seed) & 1;
		n = read(vm->queue[level].fd, fault, sizeof(fault));
		for (i = 0; n > 0 && i < n / sizeof(fault[0]); i++) {
			if (fault[i].flags & IOMMU_PGFAULT_FLAGS_LAST_PAGE || i % 8 == 0)
				respond(&vm->queue[level], fault[i].cookie, i & 1);
		}
	}
	return NULL;
}

/* Send groups of requests that stop at either level or at none, @letters each. */
static void send_many(struct vm *vm, const char *letters)
{
	unsigned int n = strlen(letters), i;
	struct vtdt_command c[VTDT_SLOTS];
	struct group group = {};

	for (i = 0; i < VTDT_SLOTS; i++) {
		prepare(vm, &group, IOVA + i * PAGE, letters[i % n]);
		c[i] = page_request(vm, i / n, IOVA + i * PAGE,
				    BOTH | (i % n == n - 1 ? VTDT_LAST : 0));
	}
	send_list(vm, c, VTDT_SLOTS);
}

/* Requests and responses, while domains are attached and detached */
TEST_F(iopf, random_requests_and_attachments)
{
	static const char *const letters[] = { "F", "SF", "FMSF", "FSFSFSFM" };
	struct vm *vm = &self->vm;
	unsigned int hwpt[2], turns = 0;
	long end = now_ms() + 2000;
	pthread_t thread;

	hwpt[0] = vm->hwpt;
	hwpt[1] = nest_faulting(&vm->vmm, vm->root, 0, vm->fault[FIRST]);
	ASSERT_NE(0, hwpt[1]);
	running = true;
	ASSERT_EQ(0, pthread_create(&thread, NULL, answer_somehow, vm));
	*reg(vm->dev, VTDT_DELAY) = 20000;
	while (now_ms() < end) {
		if (!runs(vm))
			send_many(vm, letters[turns % 4]);
		ASSERT_TRUE(turns % 5 == 4 ? detach(&vm->vmm, vm->pasid) :
					     attach_vm(vm, hwpt[turns % 2]));
		turns++;
	}
	ASSERT_TRUE(attach_vm(vm, hwpt[0]));
	EXPECT_TRUE(wait_until(!runs(vm)));
	running = false;
	pthread_join(thread, NULL);
	note("%u times attached or detached\n", turns);
	*reg(vm->dev, VTDT_DELAY) = 0;
	ASSERT_TRUE(attach_vm(vm, hwpt[1]));
	EXPECT_TRUE(is_served(vm, 300));
}

/* The child, which is killed while it holds both parts of a group */
static void hold_and_wait(int ready)
{
	struct group group;
	uint32_t responses;
	struct vm vm;

	if (!open_vm(&vm, getenv("TESTDEV"), 1) || !fill_vm(&vm) || !nest_vm(&vm))
		_exit(1);
	responses = *reg(vm.dev, VTDT_RESPONSES);
	group = new_group(&vm, 1, "FSFS");
	send_group(&vm, &group);
	if (!receive_group(&vm, &group) ||
	    write(ready, &responses, sizeof(responses)) != sizeof(responses))
		_exit(1);
	for (;;)
		pause();
}

TEST(client_killed)
{
	uint32_t responses;
	struct vm vm;
	int fds[2];
	pid_t pid;

	ASSERT_EQ(0, pipe(fds));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		close(fds[0]);
		hold_and_wait(fds[1]);
	}
	close(fds[1]);
	ASSERT_EQ(sizeof(responses), read(fds[0], &responses, sizeof(responses)));
	ASSERT_EQ(0, kill(pid, SIGKILL));
	ASSERT_EQ(pid, waitpid(pid, NULL, 0));

	ASSERT_TRUE(open_vm(&vm, getenv("TESTDEV"), 1));
	/* a reset does not clear the device's counter */
	EXPECT_EQ(responses + 1, *reg(vm.dev, VTDT_RESPONSES));
	EXPECT_EQ(0, *reg(vm.dev, VTDT_BUSY));
	ASSERT_TRUE(fill_vm(&vm));
	ASSERT_TRUE(nest_vm(&vm));
	EXPECT_TRUE(is_served(&vm, 1));
	close_vm(&vm);
}

/* IDs of nothing, or of another type of object, are refused. */
TEST_F(one, not_a_queue)
{
	struct vmm *vmm = &self->vm.vmm;

	EXPECT_EQ(0, nest_faulting(vmm, self->vm.root, 0, 0x7fffffff));
	EXPECT_EQ(0, nest_faulting(vmm, self->vm.root, 0, vmm->ioas));
	EXPECT_EQ(0, new_paging(vmm, IOMMU_HWPT_ALLOC_NEST_PARENT, vmm->ioas));
	EXPECT_EQ(0, new_paging(vmm, 0, vmm->parent));
}

/* ---- tables that misbehave ---- */

/* One page serves as all four levels of the table, and as the mapped page. */
TEST_F(one, recursive_table)
{
	struct vm *vm = &self->vm;
	uint64_t iova = 255 * (1UL << 39 | 1UL << 30 | 1UL << 21 | 1UL << 12);
	struct vtdt_command c;

	vm->vmm.guest[vm->root][255] = vm->root * PAGE | LEAF;
	EXPECT_EQ(SUCCESS, request(vm, 1, iova, BOTH));
	c = execute(vm->dev, VTDT_READ | BY_TLB, 1, iova + 255 * 8, 0);
	EXPECT_EQ(VTDT_OK, c.status);
	EXPECT_EQ(vm->root * PAGE | LEAF, c.data);
}

/* A request stops at the second level, at @gpa, and is answered with INVALID. */
static bool stops_at(struct vm *vm, uint64_t iova, uint64_t gpa, unsigned int perm)
{
	struct part part;

	start_request(vm, 9, iova, BOTH);
	if (!receive(vm, SECOND, &part, 1))
		return false;
	if (part.fault[0].addr != gpa || part.fault[0].perm != perm)
		note("stops at %#llx, for %u\n", part.fault[0].addr, part.fault[0].perm);
	return part.fault[0].addr == gpa && part.fault[0].perm == perm &&
	       is_empty(vm, FIRST) && reply(vm, SECOND, &part, INVALID) &&
	       answer(vm, 0) == INVALID;
}

TEST_F(iopf, outside_the_guest)
{
	const uint64_t outside = GUEST_PAGES * PAGE;
	struct vm *vm = &self->vm;
	unsigned int level;

	for (level = 1; level <= 4; level++) {
		*entry(&vm->vmm, vm->root, IOVA, level, TABLE) = outside | LEAF;
		EXPECT_TRUE(stops_at(vm, IOVA, outside, PERM(level == 1 ? BOTH : READ)))
			TH_LOG("level %u", level);
		*entry(&vm->vmm, vm->root, IOVA, level, TABLE) = 0;
	}
}

TEST_F(iopf, root_outside_the_guest)
{
	struct vm *vm = &self->vm;
	unsigned int hwpt = nest_faulting(&vm->vmm, GUEST_PAGES, 0, vm->fault[FIRST]);

	ASSERT_NE(0, hwpt);
	ASSERT_TRUE(attach_vm(vm, hwpt));
	EXPECT_TRUE(stops_at(vm, IOVA, GUEST_PAGES * PAGE, PERM(READ)));
}

/* The owner of the guest's memory has no queue. */
TEST_F(iopf, second_level_unserved)
{
	long unserved = counter("unserved_level2");
	struct vm *vm = &self->vm;
	struct group group;

	vm->vmm.parent = new_parent(&vm->vmm, 0);
	ASSERT_NE(0, vm->vmm.parent);
	ASSERT_TRUE(nest_vm(vm));
	new_group(vm, 1, "S");
	EXPECT_EQ(INVALID, request(vm, 1, IOVA + VTDT_SLOTS * PAGE, READ));
	EXPECT_TRUE(counts("unserved_level2", unserved + 1));
	/* the first level is still served */
	group = new_group(vm, 2, "F");
	send_group(vm, &group);
	ASSERT_TRUE(receive_group(vm, &group));
	EXPECT_TRUE(reply(vm, FIRST, &group.part[FIRST], SUCCESS));
	EXPECT_EQ(SUCCESS, answer(vm, 0));
}

/* The owner of the guest's table has no queue; the owner of the memory has one. */
TEST_F(iopf, first_level_unserved)
{
	long unserved = counter("unserved");
	struct vm *vm = &self->vm;
	struct group group;

	vm->hwpt = nest(&vm->vmm, vm->root, 0);
	ASSERT_NE(0, vm->hwpt);
	ASSERT_TRUE(attach_vm(vm, vm->hwpt));
	EXPECT_EQ(INVALID, request(vm, 1, IOVA, READ));
	EXPECT_TRUE(counts("unserved", unserved + 1));
	group = new_group(vm, 2, "S");
	send_group(vm, &group);
	ASSERT_TRUE(receive_group(vm, &group));
	EXPECT_TRUE(reply(vm, SECOND, &group.part[SECOND], SUCCESS));
	EXPECT_EQ(SUCCESS, answer(vm, 0));
}

#define TABLES	8

/* A random entry, which may be valid */
static uint64_t random_entry(const unsigned int *tables)
{
	uint64_t e = tables[random() % TABLES] * PAGE | LEAF;

	if (random() % 8 == 0)
		e ^= 1UL << random() % 12;	/* permissions, page size, ignored */
	if (random() % 32 == 0)
		e ^= 1UL << (12 + random() % 40);	/* the address, or reserved */
	return random() % 32 ? e : (uint64_t)random() << 32 | random();
}

/* Answer a request with INVALID at each level. Returns the device's response. */
static int refuse_all(struct vm *vm, bool *reported)
{
	int rounds = PATIENCE, level;
	struct part part;

	*reported = false;
	while (sent(vm, 0)->status == VTDT_PENDING && rounds-- > 0) {
		if (poll(vm->queue, 2, 1) <= 0)
			continue;
		for (level = FIRST; level <= SECOND; level++) {
			if (vm->queue[level].revents && receive(vm, level, &part, 1))
				*reported = reply(vm, level, &part, INVALID);
		}
	}
	return answer(vm, 0);
}

/*
 * Tables of garbage, in a guest of which half of the pages are missing: a request is
 * reported exactly where the hardware does not translate.
 */
TEST_F(iopf, garbage)
{
	unsigned int tables[TABLES], turn, i, reports = 0, none = 0;
	struct vm *vm = &self->vm;
	bool reported;

	srandom(7);
	for (i = 0; i < TABLES; i++)
		tables[i] = i < 5 ? new_page(&vm->vmm) : vm->pages[i % 2][i];
	for (turn = 0; turn < 300; turn++) {
		uint64_t iova = (random() * 0x10001UL ^ random()) << 12 & 0x7ffffffff000;
		struct vtdt_command c;
		bool mapped;
		int answered;

		if (turn % 4 == 0) {
			for (i = 0; i < TABLES * 512; i++)
				vm->vmm.guest[tables[i / 512]][i % 512] = random_entry(tables);
			for (i = 0; i < 512; i++)
				vm->vmm.guest[vm->root][i] = random_entry(tables);
		}
		ASSERT_TRUE(invalidate(&vm->vmm, vm->hwpt, 0, ALL, 0));
		c = execute(vm->dev, VTDT_TRANSLATE, vm->pasid, iova, 0);
		mapped = c.status == VTDT_OK && (c.info & 3) == 3;
		start_request(vm, turn, iova, BOTH);
		answered = refuse_all(vm, &reported);
		ASSERT_EQ(mapped ? SUCCESS : INVALID, answered)
			TH_LOG("turn %u, %#lx: status %u, rights %#x", turn, iova, c.status, c.info);
		ASSERT_EQ(!mapped, reported);
		reports += reported;
		none += mapped;
	}
	EXPECT_LT(20, reports);
	EXPECT_LT(20, none);
}

/* Unmap a page of the guest, or of its tables, from the second level, and map another. */
static bool change_second_level(struct vm *vm, unsigned int change, unsigned int pages)
{
	const unsigned int missing = 4;
	unsigned int lost = vm->root + change % pages,
		     found = vm->root + (change - missing) % pages;

	return unmap_area(&vm->vmm, lost * PAGE, PAGE) &&
	       (change < missing || map_page(&vm->vmm, found));
}

/* The guest's tables are unmapped and mapped while the driver walks them. */
TEST_F(iopf, second_level_changes)
{
	struct vm *vm = &self->vm;
	struct vtdt_command c[VTDT_SLOTS];
	unsigned int i, turn, mapped = 0, changes = 0;
	struct part part;
	int level;

	for (i = 0; i < VTDT_SLOTS; i++) {
		*entry(&vm->vmm, vm->root, IOVA + i * (PAGE << 9), 1, TABLE) =
			vm->pages[PRESENT][i % POOL] * PAGE | LEAF;
		c[i] = page_request(vm, i, IOVA + i * (PAGE << 9), BOTH | VTDT_LAST);
	}
	*reg(vm->dev, VTDT_DELAY) = 100000;
	for (turn = 0; turn < 5; turn++) {
		send_list(vm, c, VTDT_SLOTS);
		while (*reg(vm->dev, VTDT_LIST_STATUS) == VTDT_LIST_RUNS) {
			ASSERT_TRUE(change_second_level(vm, changes++, VTDT_SLOTS + 3));
			for (level = FIRST; level <= SECOND; level++) {
				if (poll(&vm->queue[level], 1, 0) != 1)
					continue;
				ASSERT_TRUE(receive(vm, level, &part, 1));
				ASSERT_EQ(SECOND, level);
				ASSERT_TRUE(reply(vm, level, &part, INVALID));
			}
		}
		for (i = 0; i < VTDT_SLOTS; i++)
			mapped += answer(vm, i) == SUCCESS;
	}
	note("%u requests, %u already mapped, %u changes\n",
	     turn * VTDT_SLOTS, mapped, changes);
	EXPECT_LT(0, mapped);
	EXPECT_LT(mapped, turn * VTDT_SLOTS);
}

/* ---- floods ---- */

/* The other device is served, whatever this one does. */
static bool other_device_is_served(void)
{
	struct vm vm;
	bool ok = open_vm(&vm, getenv("TESTDEV2"), 1) && fill_vm(&vm) && nest_vm(&vm) &&
		  is_served(&vm, 1);

	close_vm(&vm);
	return ok;
}

/* Half of the commands that can be in flight: the others may still be pending. */
#define SOME	(VTDT_SLOTS / 2)

/* Send @n requests of a group without the last one. Returns how many were sent. */
static unsigned int send_some(struct vm *vm, unsigned int number, unsigned int n)
{
	struct vtdt_command c[SOME];
	unsigned int i, looks = 0, made = 0;

	for (i = 0; i < n; i++)
		c[i] = page_request(vm, number, IOVA + i * PAGE, BOTH);
	send_list(vm, c, n);
	/* no sleep: with stop_other_threads() no timer wakes this thread */
	while (*reg(vm->dev, VTDT_LIST_STATUS) == VTDT_LIST_RUNS &&
	       looks++ < 1000 * PATIENCE)
		;
	for (i = 0; i < n; i++)
		made += sent(vm, i)->status == VTDT_OK;
	return made;
}

#define GROUPS	(MAX_OUTSTANDING / SOME)

/* A client holds as many requests as one device may have: further ones are refused. */
TEST_F(one, flood_of_groups)
{
	long too_many = counter("too_many");
	struct vm *vm = &self->vm;
	struct part part[GROUPS];
	unsigned int i;

	if (!getenv("TESTDEV2"))
		SKIP(return, "no second device");
	for (i = 0; i < GROUPS; i++) {
		ASSERT_EQ(SOME - 1, send_some(vm, i, SOME - 1));
		start_last(vm, i);
		ASSERT_TRUE(receive(vm, FIRST, &part[i], SOME));
	}
	start_last(vm, 100);
	EXPECT_EQ(INVALID, last_answer(vm));
	EXPECT_TRUE(counts("too_many", too_many + 1));
	EXPECT_TRUE(is_empty(vm, FIRST));
	EXPECT_EQ(GROUPS, *reg(vm->dev, VTDT_BUSY));
	EXPECT_TRUE(other_device_is_served());

	for (i = 0; i < GROUPS; i++)
		EXPECT_TRUE(reply(vm, FIRST, &part[i], SUCCESS));
	await(vm->dev);
	EXPECT_EQ(0, *reg(vm->dev, VTDT_BUSY));
	EXPECT_TRUE(is_served(vm, 200));
}

/* The same, with groups that never get their last request */
TEST_F(one, flood_of_partial_groups)
{
	long too_many = counter("too_many");
	struct vm *vm = &self->vm;
	unsigned int i;

	if (!getenv("TESTDEV2"))
		SKIP(return, "no second device");
	for (i = 0; i < GROUPS + 3; i++)
		ASSERT_EQ(SOME, send_some(vm, i, SOME));
	EXPECT_TRUE(counts("too_many", too_many + 3 * SOME));
	EXPECT_TRUE(other_device_is_served());
	start_last(vm, 100);
	EXPECT_EQ(INVALID, last_answer(vm));
	EXPECT_TRUE(is_empty(vm, FIRST));

	/* a refused last request also ends its group, which makes room */
	start_last(vm, 0);
	EXPECT_EQ(INVALID, last_answer(vm));
	EXPECT_TRUE(is_served(vm, 200));
}

/* Detaching makes room: partial groups are dropped. */
TEST_F(one, flood_detached)
{
	struct vm *vm = &self->vm;
	unsigned int i;

	for (i = 0; i < GROUPS; i++)
		ASSERT_EQ(SOME, send_some(vm, i, SOME));
	ASSERT_TRUE(detach(&vm->vmm, 1));
	ASSERT_TRUE(attach_vm(vm, vm->hwpt));
	EXPECT_TRUE(is_served(vm, 200));
}

/* ---- overflow of the IOMMU's queue ---- */

/* Occupies a CPU, with a higher priority than interrupt threads. */
static unsigned int hogs;

static void *hog(void *unused)
{
	__atomic_add_fetch(&hogs, 1, __ATOMIC_SEQ_CST);
	while (running)
		;
	return unused;
}

/* Only the calling thread, and those that it creates, run on @cpu. */
static bool become_highest_priority(int cpu)
{
	struct sched_param param = { .sched_priority = 98 };
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	return !sched_setaffinity(0, sizeof(set), &set) &&
	       !sched_setscheduler(0, SCHED_FIFO, &param);
}

static void become_normal(void)
{
	struct sched_param param = {};
	cpu_set_t set;

	memset(&set, 0xff, sizeof(set));
	sched_setscheduler(0, SCHED_OTHER, &param);
	sched_setaffinity(0, sizeof(set), &set);
}

/* Only the caller runs, on any CPU, until let_threads_continue(). */
static bool stop_other_threads(pthread_t *thread, int *n)
{
	int cpu, cpus = sysconf(_SC_NPROCESSORS_ONLN);

	running = true;
	hogs = 0;
	*n = 0;
	for (cpu = 1; cpu < cpus; cpu++) {
		if (!become_highest_priority(cpu) || pthread_create(&thread[*n], NULL, hog, NULL))
			return false;
		++*n;
	}
	/* the last hog gets its CPU when this thread leaves it */
	if (!become_highest_priority(0))
		return false;
	while (__atomic_load_n(&hogs, __ATOMIC_SEQ_CST) != (unsigned int)*n)
		;
	return true;
}

static void let_threads_continue(pthread_t *thread, int n)
{
	running = false;
	become_normal();
	while (n--)
		pthread_join(thread[n], NULL);
}

#define OVERFLOWING	(2 * QUEUE_SIZE / SOME)	/* groups */

/* Like last_answer(), without sleep */
static bool spin_for_answer(struct vm *vm)
{
	word *status = reg(vm->dev, VTDT_STATUS);
	int looks = 0;

	while (*status == VTDT_PENDING && looks++ < 1000 * PATIENCE)
		;
	return status[0] == VTDT_OK && status[1] == SUCCESS;
}

/*
 * Send more requests than the queue holds, without reading them. On overflow, the IOMMU
 * itself answers the last request of each group. Returns the number of answered groups.
 */
static unsigned int overflow(struct vm *vm)
{
	unsigned int i, answered = 0;

	for (i = 0; i < OVERFLOWING; i++)
		send_some(vm, i, SOME);
	for (i = 0; i < OVERFLOWING; i++) {
		start_last(vm, i);
		answered += spin_for_answer(vm);
	}
	return answered;
}

/* Requests that the kernel took out of the queue without the last one of their group */
static long dequeued(void)
{
	return counter("partial") + counter("too_many");
}

TEST_F(one, queue_overflow)
{
	long overflows = counter("overflow"), before = dequeued();
	uint32_t responses = *reg(self->vm.dev, VTDT_RESPONSES);
	struct vm *vm = &self->vm;
	unsigned int answered = 0;
	pthread_t thread[64];
	struct part part;
	int threads;

	if (stop_other_threads(thread, &threads))
		answered = overflow(vm);
	let_threads_continue(thread, threads);
	EXPECT_EQ(OVERFLOWING, answered);
	EXPECT_TRUE(counts("overflow", overflows + 1));
	/* a full queue has one free entry */
	EXPECT_EQ(QUEUE_SIZE - 1, dequeued() - before);
	/* no second response */
	EXPECT_EQ(OVERFLOWING, *reg(vm->dev, VTDT_RESPONSES) - responses);
	EXPECT_TRUE(is_served(vm, 500));
	if (getenv("TESTDEV2"))
		EXPECT_TRUE(other_device_is_served());
	/* partial groups were dropped: their last request may be lost */
	start_last(vm, 0);
	EXPECT_TRUE(receive(vm, FIRST, &part, 1));
}

/* ---- invalid requests ---- */

/* A stop marker is neither answered nor reported. */
TEST_F(one, stop_marker)
{
	long markers = counter("stop_marker");
	struct vm *vm = &self->vm;

	start_last(vm, 2);	/* an outstanding request */
	ASSERT_TRUE(comes(&vm->queue[FIRST], 1));
	start_request(vm, 3, 0, 0);
	EXPECT_TRUE(counts("stop_marker", markers + 1));
	EXPECT_TRUE(is_pending(vm, 0));
}

/* Requests that no mapping can satisfy are refused, and not reported. */
TEST_F(one, impossible_requests_are_refused)
{
	static const unsigned int flags[] = {
		VTDT_PRIV | READ, VTDT_PRIV | WRITE, VTDT_EXEC | READ,
	};
	long refused = counter("refused");
	struct vm *vm = &self->vm;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(flags); i++) {
		EXPECT_EQ(INVALID, request(vm, i, IOVA, flags[i]));
		EXPECT_TRUE(counts("refused", refused + 1 + i));
	}
	EXPECT_TRUE(is_empty(vm, FIRST));
	EXPECT_TRUE(is_empty(vm, SECOND));
	EXPECT_TRUE(is_served(vm, 100));
}

/* One refused request makes the group's response INVALID; the others are still served. */
TEST_F(one, impossible_request_in_a_group)
{
	struct vm *vm = &self->vm;
	struct vtdt_command c[] = {
		page_request(vm, 1, IOVA, READ), page_request(vm, 1, IOVA, VTDT_EXEC | READ),
		page_request(vm, 1, IOVA + PAGE, READ | VTDT_LAST),
	};
	struct part part;

	send_list(vm, c, 3);
	ASSERT_TRUE(receive(vm, FIRST, &part, 2));
	EXPECT_TRUE(reply(vm, FIRST, &part, SUCCESS));
	EXPECT_EQ(INVALID, answer(vm, 2));
}

/* The guest allows supervisor requests, so they are reported. */
TEST_F(one, supervisor_requests_are_reported)
{
	struct vm *vm = &self->vm;
	struct part part;

	vm->hwpt = nest_faulting(&vm->vmm, vm->root, IOMMU_VTD_S1_SRE, vm->fault[FIRST]);
	ASSERT_NE(0, vm->hwpt);
	ASSERT_TRUE(attach_vm(vm, vm->hwpt));
	start_request(vm, 1, IOVA, VTDT_PRIV | READ);
	ASSERT_TRUE(receive(vm, FIRST, &part, 1));
	EXPECT_TRUE(part.fault[0].perm & PERM(READ));
	*entry(&vm->vmm, vm->root, IOVA, 1, TABLE) = vm->pages[PRESENT][0] * PAGE | (LEAF & ~U);
	EXPECT_TRUE(reply(vm, FIRST, &part, SUCCESS));
	EXPECT_EQ(SUCCESS, answer(vm, 0));
	EXPECT_EQ(SUCCESS, request(vm, 2, IOVA, VTDT_PRIV | BOTH));
	EXPECT_EQ(VTDT_OK, execute(vm->dev, VTDT_READ | BY_TLB | VTDT_PRIV, 1, IOVA, 0).status);
}

/* Requests for non-canonical addresses are reported to the guest, which refuses them. */
TEST_F(one, not_canonical)
{
	static const uint64_t addr[] = { 1UL << 47, 0xffff7ffffffff000, 1UL << 63 };
	struct vm *vm = &self->vm;
	struct part part;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(addr); i++) {
		start_request(vm, i, addr[i], READ);
		ASSERT_TRUE(receive(vm, FIRST, &part, 1));
		EXPECT_EQ(addr[i], part.fault[0].addr);
		EXPECT_TRUE(reply(vm, FIRST, &part, INVALID));
		EXPECT_EQ(INVALID, answer(vm, 0));
	}
}

/* Requests for no access that are not stop markers: not the last, or without PASID */
TEST_F(one, malformed_requests)
{
	struct vtdt_command c = page_request(&self->vm, 1, IOVA, 0);
	long n = counter("malformed");
	struct vm *vm = &self->vm;

	send_list(vm, &c, 1);
	EXPECT_TRUE(counts("malformed", n + 1));
	vm->pasid = RID;
	EXPECT_EQ(INVALID, request(vm, 2, IOVA, 0));
	EXPECT_TRUE(counts("malformed", n + 2));
	vm->pasid = 1;
	EXPECT_TRUE(is_empty(vm, FIRST));
	EXPECT_TRUE(is_served(vm, 1));
}

TEST_HARNESS_MAIN
