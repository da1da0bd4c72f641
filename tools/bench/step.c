// SPDX-License-Identifier: GPL-2.0-only
/*
 * Runs user-mode Linux with a clock that counts instructions:
 *
 *	step ADDRESS LINUX ARGUMENT...
 *
 * ADDRESS is that of the clock, a function without arguments, which comes back
 * with the count instead of a time. It is always called in pairs. From the
 * first call of a pair to the second every instruction is stepped through and
 * counted; otherwise Linux runs by itself. Signals wait until it does so.
 */

#include <err.h>
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#define BREAKPOINT	0xcc
#define MAX_HELD	64

static pid_t child;
static unsigned long clock_address;
static unsigned long count;
static bool counting;

static int held[MAX_HELD];
static unsigned int nr_held;

static long trace(enum __ptrace_request request, unsigned long addr,
		  unsigned long data)
{
	long ret;

	errno = 0;
	ret = ptrace(request, child, addr, data);
	if (errno)
		err(1, "ptrace %d", request);

	return ret;
}

/* Linux has just been loaded. */
static void set_breakpoint(void)
{
	unsigned long text = trace(PTRACE_PEEKTEXT, clock_address, 0);

	trace(PTRACE_POKETEXT, clock_address, (text & ~0xffUL) | BREAKPOINT);
}

static unsigned long get_pc(void)
{
	return trace(PTRACE_PEEKUSER, offsetof(struct user, regs.rip), 0);
}

/* Returns from the clock, at whose first instruction Linux is. */
static void return_count(void)
{
	struct user_regs_struct regs;

	trace(PTRACE_GETREGS, 0, (unsigned long)&regs);
	regs.rip = trace(PTRACE_PEEKDATA, regs.rsp, 0);
	regs.rsp += sizeof(unsigned long);
	regs.rax = count;
	trace(PTRACE_SETREGS, 0, (unsigned long)&regs);
	counting = !counting;
}

/* The signal that Linux stopped for. */
static int next_stop(int signal)
{
	int status;

	trace(counting ? PTRACE_SINGLESTEP : PTRACE_CONT, 0, signal);
	if (waitpid(child, &status, 0) != child)
		err(1, "waitpid");
	if (WIFEXITED(status))
		exit(WEXITSTATUS(status));
	if (WIFSIGNALED(status))
		errx(1, "killed by signal %d", WTERMSIG(status));
	if (status >> 8 == (SIGTRAP | PTRACE_EVENT_EXEC << 8)) {
		set_breakpoint();
		return 0;
	}

	return WSTOPSIG(status);
}

/* A repeated instruction stops at each repetition, but counts as one. */
static void count_step(void)
{
	static unsigned long last;
	unsigned long pc = get_pc();

	if (pc == clock_address)
		return_count();
	else if (pc != last)
		count++;
	last = pc;
}

static void run(void)
{
	int signal = 0;

	for (;;) {
		signal = next_stop(signal);
		if (signal == SIGTRAP) {
			signal = 0;
			if (counting)
				count_step();
			else if (get_pc() == clock_address + 1)
				return_count();
		} else if (signal && counting) {
			if (nr_held < MAX_HELD)
				held[nr_held++] = signal;
			signal = 0;
		}
		if (!signal && !counting && nr_held)
			signal = held[--nr_held];
	}
}

int main(int argc, char **argv)
{
	int status;

	if (argc < 3)
		errx(1, "usage: step ADDRESS LINUX ARGUMENT...");

	clock_address = strtoul(argv[1], NULL, 16);
	child = fork();
	if (child < 0)
		err(1, "fork");
	if (!child) {
		ptrace(PTRACE_TRACEME, 0, 0, 0);
		execv(argv[2], argv + 2);
		err(127, "%s", argv[2]);
	}

	/* stopped by the first exec; Linux may do others */
	if (waitpid(child, &status, 0) != child || !WIFSTOPPED(status))
		errx(1, "%s does not run", argv[2]);
	trace(PTRACE_SETOPTIONS, 0, PTRACE_O_TRACEEXEC | PTRACE_O_EXITKILL);
	set_breakpoint();
	run();
}
