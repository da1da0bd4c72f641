// SPDX-License-Identifier: GPL-2.0
/*
 * Random work on nested domains while the device does DMA by several PASIDs at once:
 * entries change and are invalidated later, domains are attached, replaced and detached,
 * pages of the guest are mapped and unmapped, and page requests are answered at the level
 * that stops them.  A model knows the possible results of each request.  Prints TAP.
 *
 * SECONDS is the duration (20), SEED the seed of the random numbers (the time).
 */
#include "vtd_vmm.h"

#define SPACES		4	/* PASIDs */
#define TABLES		2	/* of each, attached in turn */
#define SLOTS		4	/* input addresses of each table */
#define DATA_PAGES	32
#define COMMANDS	VTDT_SLOTS
#define IOVA		0x7f1234567000UL
#define REFUSED		(1ULL << 63)	/* an outcome; the others are pages */
#define PAGES		((1ULL << DATA_PAGES) - 1)

static const unsigned int pasid_of[SPACES] = { 1, 2, 0x12345, 0xfffff };

/* One input address of a table */
struct slot {
	uint64_t *leaf;
	int page;		/* index of the page of data, or -1 */
	uint64_t may;		/* possible outcomes of the first level alone */
};

struct table {
	unsigned int root, hwpt;
	struct slot slots[SLOTS];
};

struct space {
	struct table tables[TABLES];
	int attached;			/* table, or -1 */
	bool changed;			/* attached or detached since the list began */
	uint64_t seen[SLOTS];		/* possible outcomes since the list began */
};

struct soak {
	struct vmm vmm;
	struct testdev *dev;
	struct pollfd queue[2];			/* by level */
	unsigned int fault[2];
	struct space spaces[SPACES];
	unsigned int data[DATA_PAGES];		/* pages of the guest */
	uint64_t absent;			/* not in the second level: a mask */
	uint64_t seen[DATA_PAGES];		/* by guest-physical address */
	struct vtdt_command *list, sent[COMMANDS];
	unsigned int list_page;
	int answers[COMMANDS];			/* to page requests, -1 none */
	bool failed;
};

static struct {
	unsigned long lists, reads, writes, refused, requests[2], not_needed, attached,
		      changed, invalidated, unmapped;
} count;

static uint64_t seed;

/* xorshift64* */
static unsigned int random_below(unsigned int n)
{
	seed ^= seed >> 12;
	seed ^= seed << 25;
	seed ^= seed >> 27;
	return (seed * 0x2545f4914f6cdd1dULL >> 33) % n;
}

static bool fail(struct soak *soak, const char *what)
{
	if (!soak->failed)
		note("%s\n", what);
	soak->failed = true;
	return false;
}

/* ---- the model ---- */

static uint64_t page_outcome(int page)
{
	return page < 0 ? REFUSED : 1ULL << page;
}

/* Possible results of a request to a slot now */
static uint64_t outcomes(struct soak *soak, struct space *space, unsigned int slot)
{
	uint64_t may;

	if (space->attached < 0)
		return REFUSED;
	may = space->tables[space->attached].slots[slot].may;
	if (may & soak->absent)
		may = (may & ~soak->absent) | REFUSED;
	return may;
}

/* Commands of the list may have used the present state. */
static void note_state(struct soak *soak)
{
	unsigned int i, slot;

	for (i = 0; i < SPACES; i++) {
		for (slot = 0; slot < SLOTS; slot++)
			soak->spaces[i].seen[slot] |=
				outcomes(soak, &soak->spaces[i], slot);
	}
	for (i = 0; i < DATA_PAGES; i++)
		soak->seen[i] |= page_outcome(i) & soak->absent ? REFUSED : page_outcome(i);
}

/* Requests may be refused while an attachment changes. */
static void note_change(struct space *space)
{
	unsigned int slot;

	space->changed = true;
	for (slot = 0; slot < SLOTS; slot++)
		space->seen[slot] |= REFUSED;
}

static void forget(struct slot *slot)
{
	slot->may = page_outcome(slot->page);
}

static void forget_table(struct table *table)
{
	unsigned int slot;

	for (slot = 0; slot < SLOTS; slot++)
		forget(&table->slots[slot]);
}

/* ---- operations ---- */

static void set_leaf(struct soak *soak, struct slot *slot, int page)
{
	uint64_t leaf = page < 0 ? 0 : soak->data[page] * PAGE | LEAF;

	slot->page = page;
	slot->may |= page_outcome(page);
	__atomic_store_n(slot->leaf, leaf, __ATOMIC_RELEASE);
	note_state(soak);
	count.changed++;
}

static bool change_leaf(struct soak *soak)
{
	struct space *space = &soak->spaces[random_below(SPACES)];
	struct table *table = &space->tables[random_below(TABLES)];
	struct slot *slot = &table->slots[random_below(SLOTS)];

	set_leaf(soak, slot, random_below(8) ? (int)random_below(DATA_PAGES) : -1);
	/* A table that is not attached is not cached. */
	if (space->attached != table - space->tables)
		forget(slot);
	return true;
}

static bool invalidate_some(struct soak *soak)
{
	struct space *space = &soak->spaces[random_below(SPACES)];
	struct table *table = &space->tables[random_below(TABLES)];
	unsigned int slot = random_below(SLOTS);

	count.invalidated++;
	if (random_below(4)) {
		if (!invalidate(&soak->vmm, table->hwpt, IOVA + slot * PAGE, 1,
				random_below(2) ? IOMMU_VTD_INV_FLAGS_LEAF : 0))
			return fail(soak, "a page cannot be invalidated");
		forget(&table->slots[slot]);
	} else {
		if (!invalidate(&soak->vmm, table->hwpt, 0, ALL, 0))
			return fail(soak, "a table cannot be invalidated");
		forget_table(table);
	}
	return true;
}

static bool attach_or_detach(struct soak *soak)
{
	unsigned int i = random_below(SPACES);
	struct space *space = &soak->spaces[i];
	int next = random_below(5) ? (int)random_below(TABLES) : -1;

	if (next == space->attached)
		return true;
	note_change(space);
	if (next < 0 ? !detach(&soak->vmm, pasid_of[i]) :
		       !attach(&soak->vmm, pasid_of[i], space->tables[next].hwpt))
		return fail(soak, "a PASID cannot be attached, replaced or detached");
	if (space->attached >= 0)
		forget_table(&space->tables[space->attached]);
	space->attached = next;
	note_state(soak);
	count.attached++;
	return true;
}

/* Unmap a page of data from the second level, or map it again. */
static bool toggle_page(struct soak *soak, unsigned int page)
{
	uint64_t gpa = soak->data[page] * PAGE;

	soak->absent ^= 1ULL << page;
	note_state(soak);
	count.unmapped++;
	if (soak->absent & 1ULL << page)
		return unmap_area(&soak->vmm, gpa, PAGE) ||
		       fail(soak, "a page cannot be unmapped");
	return map_area(&soak->vmm, gpa, soak->vmm.guest[soak->data[page]], PAGE) ||
	       fail(soak, "a page cannot be mapped");
}

static bool change_second_level(struct soak *soak)
{
	unsigned int page = random_below(DATA_PAGES);

	/* keep most pages mapped most of the time */
	if (!(soak->absent & 1ULL << page) && random_below(4))
		return true;
	return toggle_page(soak, page);
}

/* The guest maps a page where a PASID lacks one. */
static bool map_first(struct soak *soak, const struct iommu_hwpt_pgfault *fault)
{
	unsigned int i, slot = (fault->addr - IOVA) / PAGE;
	struct space *space;

	for (i = 0; i < SPACES && pasid_of[i] != fault->pasid; i++)
		;
	if (i == SPACES || slot >= SLOTS)
		return fail(soak, "a page request for a wrong PASID or address");
	space = &soak->spaces[i];
	if (space->attached >= 0)
		set_leaf(soak, &space->tables[space->attached].slots[slot],
			 random_below(DATA_PAGES));
	return true;
}

/* The host maps the page again, if it is still absent. */
static bool map_second(struct soak *soak, const struct iommu_hwpt_pgfault *fault)
{
	unsigned int page;

	for (page = 0; page < DATA_PAGES; page++) {
		if (soak->data[page] * PAGE == fault->addr)
			return !(soak->absent & 1ULL << page) || toggle_page(soak, page);
	}
	return fail(soak, "a page request for a page that is always mapped");
}

/* Answer one page request of a level, if there is one: map a page, or refuse it. */
static bool serve_level(struct soak *soak, int level)
{
	struct pollfd *queue = &soak->queue[level];
	struct iommu_hwpt_pgfault fault;
	int code = random_below(3) ? IOMMUFD_PAGE_RESP_SUCCESS : IOMMUFD_PAGE_RESP_INVALID;

	if (poll(queue, 1, 0) <= 0)
		return true;
	if (read(queue->fd, &fault, sizeof(fault)) != sizeof(fault))
		return true;	/* its PASID has been detached meanwhile */
	if (fault.grpid >= COMMANDS || !(fault.flags & IOMMU_PGFAULT_FLAGS_LAST_PAGE))
		return fail(soak, "a page request of a group that was not sent");
	if (code == IOMMUFD_PAGE_RESP_SUCCESS &&
	    !(level ? map_second(soak, &fault) : map_first(soak, &fault)))
		return false;
	if (respond(queue, fault.cookie, code))
		soak->answers[fault.grpid] = code;
	count.requests[level]++;
	return true;
}

static bool serve(struct soak *soak)
{
	return serve_level(soak, 0) && serve_level(soak, 1);
}

static bool do_something(struct soak *soak)
{
	switch (random_below(8)) {
	case 0: return attach_or_detach(soak);
	case 1: return change_second_level(soak);
	case 2:
	case 3: return invalidate_some(soak);
	case 4:
	case 5: return serve(soak);
	default: return change_leaf(soak);
	}
}

/* ---- DMA, and the checks ---- */

/* Words of a page: the first is its mark, command @i writes word 1 + @i. */
static struct vtdt_command new_command(struct soak *soak, unsigned int i)
{
	static uint64_t value = 0x5eed000000000000;
	struct vtdt_command c = { .length = 8, .data = ++value };
	unsigned int space = random_below(SPACES + 1);
	unsigned int what = random_below(8);

	if (space < SPACES) {
		c.op = VTDT_HAS_PASID;
		c.pasid = pasid_of[space];
		c.addr = IOVA + random_below(SLOTS) * PAGE;
	} else {
		c.addr = soak->data[random_below(DATA_PAGES)] * PAGE;
	}
	if (what == 0) {
		c.op |= VTDT_PAGE_REQUEST | VTDT_LAST | VTDT_WANT_READ | VTDT_GROUP(i);
	} else if (what < 4) {
		c.op |= VTDT_WRITE | VTDT_IMMEDIATE;
		c.addr += 8 * (1 + i);
	} else {
		c.op |= VTDT_READ | VTDT_IMMEDIATE;
	}
	if (random_below(3) == 0 && (c.op & 0xff) != VTDT_PAGE_REQUEST)
		c.op |= VTDT_ATS;
	return c;
}

/* The outcomes that a command may have had */
static uint64_t allowed(struct soak *soak, const struct vtdt_command *c)
{
	unsigned int i, page;

	if (c->op & VTDT_HAS_PASID) {
		for (i = 0; pasid_of[i] != c->pasid; i++)
			;
		return soak->spaces[i].seen[(c->addr - IOVA) / PAGE];
	}
	for (page = 0; soak->data[page] != c->addr / PAGE; page++)
		;
	return soak->seen[page];
}

/* The outcome of a read by what was read, of a write by where it arrived */
static uint64_t outcome(struct soak *soak, const struct vtdt_command *c, unsigned int i,
			const struct vtdt_command *done)
{
	uint64_t where = 0;
	unsigned int page;

	for (page = 0; page < DATA_PAGES; page++) {
		uint64_t *data = soak->vmm.guest[soak->data[page]];

		if ((c->op & 0xff) == VTDT_READ ? done->status == VTDT_OK &&
						  done->data == data[0] :
						  data[1 + i] == c->data)
			where |= 1ULL << page;
	}
	if (done->status == VTDT_REFUSED || done->status == VTDT_NOT_TRANSLATED)
		where |= REFUSED;
	return where;
}

static bool check_access(struct soak *soak, unsigned int i)
{
	const struct vtdt_command *c = &soak->sent[i], *done = &soak->list[i];
	uint64_t was = outcome(soak, c, i, done), may = allowed(soak, c);

	if ((c->op & 0xff) == VTDT_READ)
		count.reads++;
	else
		count.writes++;
	count.refused += was == REFUSED;
	/* exactly one outcome, and a possible one */
	if (was && !(was & (was - 1)) && was & may)
		return true;
	note("command %u, op %#x, PASID %#x, address %#lx: status %u, data %#lx, outcome %#lx, allowed %#lx\n",
	     i, c->op, c->pasid, c->addr, done->status, done->data, was, may);
	return fail(soak, "a request had an outcome that is not allowed");
}

/* Not reported: the page was mapped, or no domain was attached for a while. */
static bool was_not_reported(struct soak *soak, const struct vtdt_command *c,
			     const struct vtdt_command *done)
{
	bool success = done->status == VTDT_OK && !done->info;
	unsigned int i;

	/* Requests without PASID always go to a queue. */
	if (!(c->op & VTDT_HAS_PASID))
		return false;
	count.not_needed += success;
	if (success)
		return allowed(soak, c) & PAGES;
	for (i = 0; pasid_of[i] != c->pasid; i++)
		;
	return (soak->spaces[i].changed || soak->spaces[i].attached < 0) &&
	       (done->status == VTDT_OK || done->status == VTDT_NOT_SENT);
}

static bool check_request(struct soak *soak, unsigned int i)
{
	const struct vtdt_command *done = &soak->list[i];

	if (soak->answers[i] >= 0 ?
	    done->status == VTDT_OK && (int)done->info == soak->answers[i] :
	    was_not_reported(soak, &soak->sent[i], done))
		return true;
	note("page request %u: status %u, response %u, answered %d\n", i, done->status,
	     done->info, soak->answers[i]);
	return fail(soak, "the device got a wrong response to a page request, or none");
}

static void send_list(struct soak *soak)
{
	unsigned int i;

	for (i = 0; i < SPACES; i++) {
		memset(soak->spaces[i].seen, 0, sizeof(soak->spaces[i].seen));
		soak->spaces[i].changed = false;
	}
	memset(soak->seen, 0, sizeof(soak->seen));
	note_state(soak);
	for (i = 0; i < COMMANDS; i++) {
		soak->sent[i] = new_command(soak, i);
		soak->list[i] = soak->sent[i];
		soak->answers[i] = -1;
	}
	*reg(soak->dev, VTDT_DELAY) = random_below(200) * 1000;
	start_list(soak->dev, RID, soak->list_page * PAGE, COMMANDS);
}

/* Send one list, change things until it is done, and check the results. */
static bool do_list(struct soak *soak)
{
	unsigned int i, rounds = 0;

	send_list(soak);
	while (*reg(soak->dev, VTDT_BUSY)) {
		if (!do_something(soak) || !serve(soak))
			return false;
		if (++rounds > 100 * PATIENCE)
			return fail(soak, "a list does not end");
	}
	if (*reg(soak->dev, VTDT_LIST_STATUS) != VTDT_LIST_DONE)
		return fail(soak, "a list cannot be fetched or written to");
	for (i = 0; i < COMMANDS; i++) {
		if ((soak->sent[i].op & 0xff) == VTDT_PAGE_REQUEST ?
		    !check_request(soak, i) : !check_access(soak, i))
			return false;
	}
	count.lists++;
	return true;
}

/* ---- the program ---- */

static bool new_table(struct soak *soak, struct table *table)
{
	unsigned int slot;

	table->root = new_page(&soak->vmm);
	for (slot = 0; slot < SLOTS; slot++) {
		table->slots[slot].leaf = entry(&soak->vmm, table->root,
						IOVA + slot * PAGE, 1, TABLE);
		table->slots[slot].page = -1;
		forget(&table->slots[slot]);
	}
	table->hwpt = nest_faulting(&soak->vmm, table->root, 0, soak->fault[0]);
	return table->hwpt;
}

static bool open_soak(struct vmm *vmm, struct soak *soak)
{
	if (!open_guest(vmm, getenv("TESTDEV")) || !map_guest(vmm) ||
	    !new_queue(vmm, &soak->queue[0], &soak->fault[0]) ||
	    !new_queue(vmm, &soak->queue[1], &soak->fault[1]))
		return false;
	fcntl(soak->queue[0].fd, F_SETFL, O_NONBLOCK);
	fcntl(soak->queue[1].fd, F_SETFL, O_NONBLOCK);
	vmm->parent = new_paging(vmm, IOMMU_HWPT_ALLOC_NEST_PARENT, soak->fault[1]);
	return vmm->parent && attach(vmm, RID, vmm->parent);
}

static bool begin(struct soak *soak)
{
	unsigned int i, t;

	if (!open_soak(&soak->vmm, soak))
		return fail(soak, "no device");
	soak->dev = &soak->vmm.dev;
	for (i = 0; i < DATA_PAGES; i++)
		soak->data[i] = new_data(&soak->vmm);
	soak->list_page = new_page(&soak->vmm);
	soak->list = (void *)soak->vmm.guest[soak->list_page];
	for (i = 0; i < SPACES; i++) {
		soak->spaces[i].attached = -1;
		for (t = 0; t < TABLES; t++) {
			if (!new_table(soak, &soak->spaces[i].tables[t]))
				return fail(soak, "no nested domain");
		}
	}
	return true;
}

int main(void)
{
	const char *seconds = getenv("SECONDS"), *given = getenv("SEED");
	static struct soak soak;
	long end = now_ms() + 1000 * (seconds ? atol(seconds) : 20);

	seed = given ? strtoull(given, NULL, 0) : (uint64_t)time(NULL);
	seed += !seed;
	setlinebuf(stdout);
	printf("TAP version 13\n1..1\n# SEED=%#lx\n", seed);
	if (begin(&soak)) {
		while (now_ms() < end && do_list(&soak))
			;
	}
	printf("# %lu lists: %lu reads, %lu writes, %lu refused\n",
	       count.lists, count.reads, count.writes, count.refused);
	printf("# page requests: %lu served at the first level, %lu at the second, %lu already mapped\n",
	       count.requests[0], count.requests[1], count.not_needed);
	printf("# meanwhile: %lu leaves changed, %lu invalidations, %lu PASIDs attached or detached, %lu pages mapped or unmapped\n",
	       count.changed, count.invalidated, count.attached, count.unmapped);
	/* if everything was refused, nothing was tested */
	if (!count.lists || !count.requests[0] || !count.requests[1] || !count.not_needed ||
	    count.refused == count.reads + count.writes)
		soak.failed = true;
	printf("%sok 1 soak\n", soak.failed ? "not " : "");
	return soak.failed;
}
