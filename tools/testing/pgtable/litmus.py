#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Exhaustive checker for the litmus tests of pgtable.c and nested_walk.c.

The tests have the format of tools/memory-model, for herd7 where it is available, but only
this checker knows sync_entries() and hw(). It supports what the tests use:
READ_ONCE, WRITE_ONCE, smp_load_acquire, smp_store_release, smp_wmb, smp_rmb, smp_mb,
cmpxchg, cmpxchg_relaxed, spin_lock, spin_unlock, if (rN), if (rN == value), if (rN != value).

Model: each thread runs its operations in any order that keeps data, address and
control dependencies, the order of accesses to one variable, and fences. A load does
not wait for what it depends on by an if: it may be speculated. So may be what is
behind an if, as far as nothing in there that is taken has to come first. A store
reaches all other threads at once, as x86's do; a load is satisfied when it runs. cmpxchg
is a full fence if it succeeds, and none if it fails.
spin_lock runs when its variable is 0; what is behind it waits for it, what is
before it need not have happened. With spin_unlock it is the other way round: an
acquire and a release, no fences; likewise smp_load_acquire and smp_store_release.
sync_entries(x) copies x from the CPUs' view to memory and returns when it is
there, so it is a full fence. hw(x) is a device's load from memory; a device runs
in program order.

Usage: litmus.py FILE...   The "exists" of a *.weak*.litmus, which is a weakened
copy, must be reachable, that of any other must not.
       litmus.py --known FILE...   The same for the kernel's own tests, which state
herd7's result ("Result: Never"). Tests that need more than the above are skipped; most
must not be. This checks the checker.
"""
import re
import sys

# Found by herd7, as a store need not reach all other threads at once.
BEYOND = ("Z6.0+pooncelock+pooncelock+pombonce.litmus",
          "Z6.0+pooncerelease+poacquirerelease+fencembonceonce.litmus")

STATEMENT = re.compile(
    r"(?:(?:int\s+|int\s*\*\s*)?(?P<reg>r\d+)\s*=\s*)?"
    r"(?P<op>READ_ONCE|WRITE_ONCE|smp_load_acquire|smp_store_release|cmpxchg_relaxed|cmpxchg|smp_wmb|smp_rmb|smp_mb|"
    r"spin_lock|spin_unlock|sync_entries|hw)\s*\((?P<args>[^()]*)\)\s*;")


# Other words for the same, in the kernel's tests.
SYNONYMS = (
    (r"rcu_dereference\b", "READ_ONCE"),
    (r"rcu_assign_pointer\b", "smp_store_release"),
    (r"rcu_read_(un)?lock\(\);", ""),
    (r"smp_mb__after_(spinlock|atomic)\b", "smp_mb"),
    (r"(if\s*\(r\d+\))\s*([^{}]*?;)", r"\1 { \2 }"),
)


def is_register(word):
    return re.fullmatch(r"r\d+", word)


class Op:
    """One operation; guards are the enclosing ifs: (register, is, value)."""

    def __init__(self, op, reg, args, guards):
        self.op, self.reg, self.guards = op, reg, guards
        self.var, *self.values = [a.strip("*& ") for a in args] or [""]

    def registers(self):
        """The registers that address, data or an enclosing if depend on."""
        by_if = {reg for reg, _, _ in self.guards}
        return ({a for a in [self.var, *self.values] if is_register(a)} |
                (set() if self.op == "READ_ONCE" else by_if))


def parse_thread(body):
    ops, guards, at = [], [], 0
    body = re.sub(r"//[^\n]*|/\*.*?\*/|int\s[\s*]*r\d+;", "", body, flags=re.S)
    while body[at:].strip():
        rest = body[at:]
        skip = len(rest) - len(rest.lstrip())
        rest = rest.lstrip()
        if match := re.match(r"if\s*\((r\d+)(?: (==|!=) (\w+))?\)\s*\{", rest):
            guards.append((match[1], match[2] == "==", match[3] or "0"))
        elif match := re.match(r"\}", rest):
            guards.pop()
        elif match := STATEMENT.match(rest):
            args = list(filter(None, match["args"].split(",")))
            ops.append(Op(match["op"], match["reg"], args, tuple(guards)))
        else:
            raise SyntaxError(rest.split("\n")[0])
        at += skip + match.end()
    return ops


def parse(text):
    text = re.sub(r"\(\*\s.*?\*\)", "", text, flags=re.S)
    initial = dict(re.findall(r"(\w+)\s*=\s*&?(\w+)\s*;",
                              text[text.index("{"):text.index("}")]))
    for other, ours in SYNONYMS:
        text = re.sub(other, ours, text)
    parts = re.split(r"^P\d+\([^)]*\)\s*", text, flags=re.M)
    threads = [parse_thread(p[p.index("{") + 1:p.rindex("\n}")])
               for p in parts[1:]]
    for op in sum(threads, []):
        initial.setdefault(op.var, "0")
    condition = re.search(r"exists\s*\((.*)\)\s*$", text, re.S)[1]
    condition = re.sub(r"(\d+):(r\d+)", r'reg[\1, "\2"]', condition)
    condition = re.sub(r"=\s*&?(\w+)", r'== "\1"', condition)
    condition = (condition.replace("/\\", "and").replace("\\/", "or")
                 .replace("~", "not "))
    return initial, threads, compile(condition.strip(), "exists", "eval")


def loads(op):
    return op.op in ("READ_ONCE", "smp_load_acquire") or op.op.startswith("cmpxchg")


def stores(op):
    return op.op in ("WRITE_ONCE", "smp_store_release") or op.op.startswith("cmpxchg")


def ordered(before, after):
    """Must before, which is earlier in program order, run before after?"""
    kinds = {before.op, after.op}
    if kinds & {"smp_mb", "sync_entries"} or kinds == {"hw"}:
        return True
    if (before.op in ("spin_lock", "smp_load_acquire") or
            after.op in ("spin_unlock", "smp_store_release")):
        return True
    if before.reg in after.registers():
        return True
    if "smp_wmb" in kinds:
        return stores(before) or stores(after)
    if "smp_rmb" in kinds:
        return loads(before) or loads(after)
    # A register may hold the address of any variable.
    return (before.var == after.var or is_register(before.var) or
            is_register(after.var))


class Search:
    """All states that can be reached, depth first."""

    def __init__(self, initial, threads, condition):
        self.threads, self.condition = threads, condition
        self.seen, self.found = set(), False
        self.visit((0,) * len(threads), initial, initial, {})

    def visit(self, done, cpu, memory, regs):
        state = (done, *(tuple(sorted(d.items())) for d in (cpu, memory, regs)))
        if state in self.seen:
            return
        self.seen.add(state)
        last = True
        for t, ops in enumerate(self.threads):
            for i in range(len(ops)):
                if done[t] >> i & 1:
                    continue
                last = False
                if self.ready(t, i, done[t], cpu, regs):
                    self.run(t, i, done, dict(cpu), dict(memory), dict(regs))
        if last:
            self.final(cpu, regs)

    def ready(self, t, i, done, cpu, regs):
        ops = self.threads[t]
        op, taken = ops[i], self.is_taken(t, ops[i], regs)
        if (taken and op.op == "cmpxchg" and
                cpu[op.var] == self.value(t, op.values[0], regs)):
            return done == (1 << i) - 1
        if taken and op.op == "spin_lock" and cpu[op.var] != "0":
            return False
        # Operations within an if may be skipped, and can then no longer run.
        if taken and any(done >> j & 1 and self.ordered(t, i, j)
                         for j in range(i + 1, len(ops))):
            return False
        return all(done >> j & 1 or not self.ordered(t, j, i) or
                   (ops[j].guards and ops[j].op != "READ_ONCE") for j in range(i))

    def ordered(self, t, j, i):
        """The same for numbers; an unlock and a lock between them order all but a
        store and a load."""
        ops = self.threads[t]
        between = [op.op for op in ops[j + 1:i]]
        unlock = between.index("spin_unlock") if "spin_unlock" in between else i
        return (ordered(ops[j], ops[i]) or "spin_lock" in between[unlock:] and
                (loads(ops[j]) or stores(ops[i])))

    @staticmethod
    def value(t, word, regs):
        return regs.get((t, word), "none") if is_register(word) else word

    def run(self, t, i, done, cpu, memory, regs):
        op = self.threads[t][i]
        if op.op == "READ_ONCE" or self.is_taken(t, op, regs):
            self.effect(t, op, cpu, memory, regs)
        done = tuple(d | (1 << i if n == t else 0) for n, d in enumerate(done))
        self.visit(done, cpu, memory, regs)

    @staticmethod
    def is_taken(t, op, regs):
        return all((regs.get((t, reg)) == value) == equal
                   for reg, equal, value in op.guards)

    def effect(self, t, op, cpu, memory, regs):
        var, *values = [self.value(t, w, regs) for w in [op.var, *op.values]]
        if op.reg:
            regs[t, op.reg] = (memory if op.op == "hw" else cpu).get(var, "none")
        if op.op in ("WRITE_ONCE", "smp_store_release"):
            cpu[var] = values[0]
        elif op.op in ("spin_lock", "spin_unlock"):
            cpu[var] = "1" if op.op == "spin_lock" else "0"
        elif op.op == "sync_entries":
            memory[var] = cpu[var]
        elif op.op.startswith("cmpxchg") and cpu[var] == values[0]:
            cpu[var] = values[1]

    def final(self, cpu, regs):
        known = {(t, op.reg): regs.get((t, op.reg), "none")
                 if self.is_taken(t, op, regs) else "none"
                 for t, ops in enumerate(self.threads) for op in ops}
        self.found |= bool(eval(self.condition, {"reg": known}, cpu))


def main(names):
    failed, known, left_out = False, names[0] == "--known", 0
    for name in names[known:]:
        with open(name, encoding="utf-8") as file:
            text = file.read()
        expected = ".weak" in name
        if known:
            expected = (re.search(r"Result: (\w+)", text)[1] != "Never" and
                        not name.endswith(BEYOND))
        try:
            search = Search(*parse(text))
        except (SyntaxError, KeyError):
            if not known:
                raise
            print(f"{'-':6} {name.rsplit('/', 1)[-1]}: not understood")
            left_out += 1
            continue
        good = search.found == expected
        failed |= not good
        print(f"{'ok' if good else 'FAILED':6} {name.rsplit('/', 1)[-1]}: "
              f"{'found' if search.found else 'never'}, "
              f"{len(search.seen)} states")
    return failed or left_out > len(names) / 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
