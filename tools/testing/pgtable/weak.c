// SPDX-License-Identifier: GPL-2.0-only
/*
 * Weak memory order for the library's own source, when it is built with WEAK.
 *
 * A store waits in the buffer of its CPU and reaches memory at any later moment. It may
 * pass other stores, except to the same place and across smp_wmb(). A successful
 * cmpxchg() waits for all stores before it.
 *
 * A load may return any value that was in memory since the moment to which its CPU is
 * bound, by a full barrier, or by an earlier load from the same place. An address
 * dependency also binds loads from the page that the address is in. The binding moment is
 * that of the stores that the writer had to complete first: all of them for a cmpxchg(),
 * those before its last barrier for a plain store.
 *
 * That is less than the kernel's memory model allows: a store reaches all other CPUs
 * at once, and loads are not passed by later stores.
 */
#include "weak.h"

#define CPUS		4
#define BUFFER		640
#define PLACES		8192
#define MESSAGES	4
#define READ		256
#define PAGES		(1 << 16)

/* A store that waits */
struct store {
	u64 *addr;
	unsigned int size;
	u64 val;
	unsigned int epoch;	/* how many smp_wmb() came before it */
};

/* What was stored to a place, and from when on; the last is what memory has. */
struct message {
	u64 val, time;
	u64 binds;
};

struct place {
	u64 *addr;
	unsigned int nr;
	struct message messages[MESSAGES];
};

static struct cpu {
	struct store buffer[BUFFER];
	unsigned int nr, epoch, done;
	u64 bound, fence;
	/* The last message that was read from a place */
	struct { u64 *addr; u64 time; } read[READ];
	/* Pages that an address has been loaded of */
	struct { unsigned long run; u64 time; } page[PAGES];
	unsigned long run;
} cpus[CPUS], *cpu;

static struct place places[PLACES];
static u64 now, state;
unsigned long weak_stale;

static unsigned int below(unsigned int n)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (state >> 11) % n;
}

static struct place *place_of(u64 *addr)
{
	return places + ((uintptr_t)addr / 8 * 0x9e3779b97f4a7c15ULL >> 51) % PLACES;
}

static u64 get(u64 *addr, unsigned int size)
{
	return size == 8 ? *addr : *(u32 *)addr;
}

static void put(u64 *addr, unsigned int size, u64 val)
{
	if (size == 8)
		*addr = val;
	else
		*(u32 *)addr = val;
}

/* This CPU has seen what was stored to @addr at @time, and nothing older any more. */
static void saw(u64 *addr, u64 time)
{
	unsigned int slot = (uintptr_t)addr / 8 % READ;

	/* If there is no room for both places, exclude older values of all places. */
	if (cpu->read[slot].addr && cpu->read[slot].addr != addr &&
	    cpu->read[slot].time > cpu->bound)
		cpu->bound = cpu->read[slot].time;
	cpu->read[slot].addr = addr;
	cpu->read[slot].time = time;
}

/* @val reaches memory. */
static void reach(u64 *addr, unsigned int size, u64 val, u64 binds)
{
	struct place *p = place_of(addr);

	now++;
	if (p->addr != addr) {
		p->addr = addr;
		p->nr = 1;
		p->messages[0] = (struct message) { get(addr, size), 0, now };
	} else {
		/* Hardware may have set a bit. */
		p->messages[p->nr - 1].val = get(addr, size);
	}
	if (p->nr == MESSAGES)
		memmove(p->messages, p->messages + 1,
			--p->nr * sizeof(*p->messages));
	p->messages[p->nr++] = (struct message) { val, now, binds ?: now };
	saw(addr, now);
	put(addr, size, val);
}

/* Store number @n goes to memory. */
static void drain(unsigned int n)
{
	struct store s = cpu->buffer[n];

	memmove(cpu->buffer + n, cpu->buffer + n + 1,
		(--cpu->nr - n) * sizeof(*cpu->buffer));
	if (s.epoch > cpu->done) {
		cpu->done = s.epoch;
		cpu->fence = now;
	}
	reach(s.addr, s.size, s.val, cpu->fence);
}

static bool may_drain(unsigned int n)
{
	unsigned int i;

	for (i = 0; i < n; i++) {
		if (cpu->buffer[i].addr == cpu->buffer[n].addr ||
		    cpu->buffer[i].epoch < cpu->buffer[n].epoch)
			return false;
	}

	return true;
}

static void drain_all(void)
{
	while (cpu->nr)
		drain(0);
	cpu->done = cpu->epoch;
	cpu->fence = now;
}

/* Everything up to the last store to @addr to @end */
static void drain_to(u64 *addr, u64 *end)
{
	unsigned int i, n = 0;

	for (i = 0; i < cpu->nr; i++) {
		if (cpu->buffer[i].addr >= addr && cpu->buffer[i].addr < end)
			n = i + 1;
	}
	while (n--)
		drain(0);
}

void weak_reset(u64 seed)
{
	memset(places, 0, sizeof(places));
	state = seed | 1;
	now = 1;
	cpu = NULL;
}

/* CPU @nr continues; -1: no CPU does. */
void weak_switch(int nr)
{
	cpu = nr < 0 ? NULL : cpus + nr;
}

/* CPU @nr begins something, and sees all that was there at @bound. */
void weak_begin(int nr, u64 bound)
{
	struct cpu *c = cpus + nr;

	c->nr = 0;
	c->epoch = 0;
	c->done = 0;
	c->bound = bound;
	c->fence = bound;
	c->run++;
	memset(c->read, 0, sizeof(c->read));
}

/* CPU @nr has finished: later operations see its stores. */
u64 weak_end(int nr)
{
	struct cpu *old = cpu;

	cpu = cpus + nr;
	drain_all();
	cpu = old;
	return now;
}

u64 weak_now(void)
{
	return now;
}

/* Some stores reach memory while time goes by. */
void weak_step(void)
{
	unsigned int n;

	while (cpu && cpu->nr && (cpu->nr > BUFFER - 8 || !below(8))) {
		n = cpu->nr > BUFFER - 8 ? 0 : below(cpu->nr);
		if (may_drain(n))
			drain(n);
	}
}

static void bind_page(u64 val, u64 time)
{
	long page = shim_page_of_value(val);

	if (page < 0)
		return;
	if (cpu->page[page].run != cpu->run || cpu->page[page].time < time) {
		cpu->page[page].run = cpu->run;
		cpu->page[page].time = time;
	}
}

/* From when on what is at @addr must be seen */
static u64 bound_of(u64 *addr)
{
	long page = shim_page_of_value((uintptr_t)addr);
	u64 bound = cpu->bound;

	if (page >= 0 && cpu->page[page].run == cpu->run &&
	    cpu->page[page].time > bound)
		bound = cpu->page[page].time;

	return bound;
}

u64 weak_load(void *at, unsigned int size)
{
	unsigned int slot = (uintptr_t)at / 8 % READ, i;
	struct place *p = place_of(at);
	struct message *m;
	u64 *addr = at, bound;

	if (!cpu)
		return get(addr, size);
	for (i = cpu->nr; i--; ) {
		if (cpu->buffer[i].addr == addr)
			return cpu->buffer[i].val;
	}
	if (p->addr != addr) {
		u64 val = get(addr, size);

		bind_page(val, now);
		return val;
	}

	bound = bound_of(addr);
	if (cpu->read[slot].addr == addr && cpu->read[slot].time > bound)
		bound = cpu->read[slot].time;

	p->messages[p->nr - 1].val = get(addr, size);
	for (i = p->nr - 1; i && p->messages[i].time > bound && below(2); i--)
		weak_stale++;

	m = p->messages + i;
	saw(addr, m->time);
	bind_page(m->val, m->binds);
	return m->val;
}

void weak_store(void *at, unsigned int size, u64 val)
{
	if (!cpu) {
		put(at, size, val);
		return;
	}
	if (cpu->nr == BUFFER)
		drain(0);
	cpu->buffer[cpu->nr++] = (struct store) { at, size, val, cpu->epoch };
}

bool weak_cmpxchg(void *at, unsigned int size, u64 *old, u64 new, bool full)
{
	u64 *addr = at, val;
	unsigned int i;

	if (!cpu) {
		val = get(addr, size);
		if (val == *old)
			put(addr, size, new);
	} else {
		drain_to(addr, addr + 1);
		val = get(addr, size);
		if (val == *old) {
			if (full)
				drain_all();
			/* Stores before the last smp_wmb() come first. */
			for (i = 0; i < cpu->nr; )
				if (cpu->buffer[i].epoch < cpu->epoch)
					drain(i);
				else
					i++;
			if (cpu->epoch > cpu->done) {
				cpu->done = cpu->epoch;
				cpu->fence = now;
			}
			reach(addr, size, new, full ? 0 : cpu->fence);
			if (full) {
				cpu->bound = now;
				cpu->fence = now;
			}
		} else {
			struct place *p = place_of(addr);
			struct message *last = p->messages + p->nr - 1;

			/* One that fails is a load, after which nothing older is found. */
			if (p->addr == addr)
				saw(addr, last->time);
			bind_page(val, p->addr == addr ? last->binds : now);
		}
	}
	if (val == *old)
		return true;
	*old = val;
	return false;
}

void weak_wmb(void)
{
	if (cpu)
		cpu->epoch++;
}

/* What the owner's callbacks are: a write-back of what was stored, then wmb(). */
void weak_write_back(void *addr, size_t size)
{
	if (cpu)
		drain_to(addr, addr + size);
}

void weak_full_wmb(void)
{
	if (cpu)
		drain_all();
}

/* An invalidation that is waited for */
void weak_mb(void)
{
	if (!cpu)
		return;
	drain_all();
	cpu->bound = now;
}
