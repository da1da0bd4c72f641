#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Simulates the rate of strict unmaps on many CPUs that share an invalidation queue.

Each CPU repeatedly unmaps a page and invalidates it, by one of these schemes:

  before    A CPU holds the domain's lock while hardware works. For each poll of the
            status, it takes q_lock and reads the fault status register.
  poll      The status is polled in memory, and each CPU reads the register once in 10 us.
            The domain's lock is still held.
  rcu       The domain has no lock. q_lock is taken twice for each unmap.
  free      Slots are freed without q_lock.
  one       One CPU reads the register for all.
  combine   If q_lock is taken, one of the waiting CPUs writes the descriptors of all of
            them, with one write of the tail, and a wait descriptor for every eight
            submissions: the driver's scheme.
  smmu      Slots are allocated by an atomic operation, and each submission has its own
            command to wait for: the scheme of SMMUv3's driver.

The queue never fills up. All times are in nanoseconds. The defaults are guesses at a
server; the ratios of the schemes depend little on them. The machine of "make
bench-queue" has --first 20000 --further 1000, and --work as measured there.
"""
import argparse
import heapq
import random

LOOK = 10000
SCHEMES = ("before", "poll", "rcu", "free", "one", "combine", "smmu")


class Machine:
    """The clock, and generators that wait for times, locks and hardware."""

    def __init__(self, opt):
        self.opt, self.now, self.events, self.count = opt, 0, [], 0
        self.random = random.Random(opt.seed)
        self.idle_at = 0                # when hardware has executed all descriptors

    def at(self, when, process):
        self.count += 1
        heapq.heappush(self.events, (when, self.count, process))

    def post(self, descriptors):
        """When the last of these descriptors is complete"""
        start = max(self.idle_at, self.now)
        if self.idle_at <= self.now:    # it has to fetch the first one
            start += self.opt.first - self.opt.further
        self.idle_at = start + descriptors * self.opt.further
        return self.idle_at

    def run(self, until):
        while self.events and self.now < until:
            self.now, _, process = heapq.heappop(self.events)
            wait = next(process)
            if isinstance(wait, Lock):
                wait.take(process)
            elif isinstance(wait, list):
                wait.append(process)
            else:
                self.at(self.now + wait, process)


class Lock:
    """A queued lock, whose cache line has to be fetched from its last owner"""

    def __init__(self, machine):
        self.machine, self.taken, self.waiting = machine, False, []

    def take(self, process):
        if self.taken:
            self.waiting.append(process)
            return
        self.taken = True
        self.machine.at(self.machine.now + self.machine.opt.lock / 3, process)

    def release(self):
        if self.waiting:
            self.machine.at(self.machine.now + self.machine.opt.lock,
                            self.waiting.pop(0))
        else:
            self.taken = False


class Domain:
    def __init__(self, machine):
        self.lock = Lock(machine)


class Queue:
    """The queue of one IOMMU; waiting lists the CPUs for which another one, the leader,
    writes descriptors"""

    def __init__(self, machine):
        self.lock, self.leader, self.waiting = Lock(machine), False, []
        self.looked = 0                 # when a CPU last looked for errors


def locked(machine, lock, time):
    yield lock
    yield time
    lock.release()


def before(machine, queue, domain):
    opt = machine.opt
    yield domain.lock
    yield queue.lock
    yield opt.write
    done = machine.post(opt.descriptors + 1)
    while machine.now < done:
        yield opt.register
        queue.lock.release()
        yield queue.lock
    yield opt.free
    queue.lock.release()
    domain.lock.release()


def posted(machine, queue, one=False):
    """Post, and poll memory. Each CPU looks for errors, or one for all."""
    yield queue.lock
    yield machine.opt.write
    done = machine.post(machine.opt.descriptors + 1)
    queue.lock.release()
    while done - machine.now > LOOK:
        yield LOOK
        if one and (machine.now - queue.looked < LOOK or queue.lock.taken):
            continue
        queue.looked = machine.now
        yield from locked(machine, queue.lock, machine.opt.register)
    yield max(0, done - machine.now)


def rcu(machine, queue, domain):
    yield from posted(machine, queue)
    yield from locked(machine, queue.lock, machine.opt.free)


def poll(machine, queue, domain):
    yield domain.lock
    yield from rcu(machine, queue, domain)
    domain.lock.release()


def free(machine, queue, domain):
    yield from posted(machine, queue)
    yield machine.opt.free


def one(machine, queue, domain):
    yield from posted(machine, queue, True)
    yield machine.opt.free


def combine(machine, queue, domain):
    """If the lock is taken, the first CPU that waits becomes the leader. When it gets the
    lock, it writes for all CPUs on the list, with a wait descriptor for each --group."""
    opt, size = machine.opt, int(machine.opt.group)
    if not queue.lock.taken:
        yield from posted(machine, queue, True)
        yield opt.free
        return
    yield opt.atomic
    if queue.leader:
        yield queue.waiting
        return
    queue.leader = True
    yield queue.lock
    others, queue.waiting, queue.leader = queue.waiting, [], False
    yield opt.write + len(others) * opt.copy
    done = machine.post(min(len(others) + 1, size) * opt.descriptors + 1)
    first, others = others[:size - 1], others[size - 1:]
    for process in first:
        machine.at(done + opt.atomic, process)
    while others:
        group, others = others[:size], others[size:]
        at = machine.post(len(group) * opt.descriptors + 1)
        for process in group:
            machine.at(at + opt.atomic, process)
    queue.lock.release()
    yield max(0, done - machine.now)
    yield opt.free


def smmu(machine, queue, domain):
    opt = machine.opt
    yield from locked(machine, queue.lock, opt.atomic)
    yield opt.write
    yield max(0, machine.post(opt.descriptors + 1) - machine.now)
    yield opt.atomic


def cpu(machine, scheme, queue, domain, counts, index):
    while True:
        yield machine.opt.work * machine.random.uniform(1 - machine.opt.jitter,
                                                        1 + machine.opt.jitter)
        start = machine.now
        yield from scheme(machine, queue, domain)
        counts[index][0] += 1
        counts[index][1] = max(counts[index][1], machine.now - start)


def simulate(opt, name, cpus, domains):
    """Millions of unmaps per second, and the longest time of an unmap in us"""
    machine = Machine(opt)
    queue = Queue(machine)
    shared = Domain(machine)
    counts = [[0, 0] for _ in range(cpus)]
    for i in range(cpus):
        domain = shared if domains == "one" else Domain(machine)
        machine.at(i * opt.work / cpus, cpu(machine, globals()[name], queue, domain,
                                            counts, i))
    machine.run(opt.time)
    return sum(c[0] for c in counts) * 1e3 / opt.time, max(c[1] for c in counts) / 1e3


def main():
    parser = argparse.ArgumentParser()
    for name, value, text in (
            ("first", 800, "latency until the first descriptor"),
            ("further", 100, "latency of each further one"),
            ("register", 400, "time to read a register"),
            ("lock", 60, "time to hand over a lock"),
            ("atomic", 30, "time of an atomic operation"),
            ("write", 100, "time to write descriptors and the tail"),
            ("copy", 15, "time to write another CPU's descriptors"),
            ("free", 30, "time to free slots"),
            ("group", 8, "submissions for each wait descriptor"),
            ("work", 1000, "time of an unmap without the invalidation"),
            ("time", 2000000, "simulated time")):
        parser.add_argument("--" + name, type=float, default=value, help=text)
    parser.add_argument("--jitter", type=float, default=0.8, help="varying part of the work")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--descriptors", type=int, default=1, help="descriptors for each unmap")
    parser.add_argument("--cpus", type=int, nargs="*", default=[1, 2, 16, 64, 256])
    opt = parser.parse_args()

    for domains in ("one", "each"):
        print(f"{'one domain' if domains == 'one' else 'a domain for each CPU':24}"
              + "".join(f"{name:>14}" for name in SCHEMES))
        for cpus in opt.cpus:
            row = [simulate(opt, name, cpus, domains) for name in SCHEMES]
            print(f"{cpus:10} CPUs         "
                  + "".join(f"{rate:7.3f} {longest:5.0f}u" for rate, longest in row))


if __name__ == "__main__":
    main()
