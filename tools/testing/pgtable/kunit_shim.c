// SPDX-License-Identifier: GPL-2.0-only
/*
 * Runs the KUnit suite it is linked with, in user space, and reports as the kernel
 * does. A case that leaves pages allocated fails in any case.
 *
 *	kunit [filter_glob=CASES] [NAME=VALUE]...
 *
 * sets the suite's module parameters, with or without the prefix they have there.
 */
#include <fnmatch.h>
#include <time.h>

#include "shim.h"

_Thread_local struct task_struct *current;
pg_data_t shim_node = {
	.vm_stat = &shim_accounted,
	.per_cpu_nodestats = (struct per_cpu_nodestat[SHIM_ONLINE]) {},
};

/* Parameters */

static struct shim_param *params;
static const char *filter = "*";

void shim_add_param(struct shim_param *param)
{
	param->next = params;
	params = param;
}

static void set_param(const struct shim_param *param, const char *text)
{
	unsigned long long value = strtoull(text, NULL, 0);

	switch (param->type) {
	case SHIM_PARAM_ullong:
		*(unsigned long long *)param->value = value;
		break;
	case SHIM_PARAM_uint:
		*(unsigned int *)param->value = value;
		break;
	case SHIM_PARAM_bool:
		*(bool *)param->value = value;
		break;
	}
}

static void parse(const char *argument)
{
	const char *name = argument, *equals = strchr(argument, '=');
	const char *dot = strchr(argument, '.');
	const struct shim_param *param;

	if (!equals)
		BUG("%s: not NAME=VALUE", argument);
	if (dot && dot < equals)
		name = dot + 1;
	if (!strncmp(name, "filter_glob=", equals + 1 - name)) {
		filter = equals + 1;
		return;
	}
	for (param = params; param; param = param->next) {
		if (strlen(param->name) == equals - name &&
		    !strncmp(name, param->name, equals - name)) {
			set_param(param, equals + 1);
			return;
		}
	}
	BUG("%s: no such parameter", argument);
}

/* Reports */

static pthread_mutex_t report_lock = PTHREAD_MUTEX_INITIALIZER;
static struct task_struct main_task;

static void print(const char *fmt, va_list args)
{
	const struct va_format *vaf;

	if (strcmp(fmt, "%pV")) {
		vprintf(fmt, args);
		return;
	}

	vaf = va_arg(args, const struct va_format *);
	vprintf(vaf->fmt, *vaf->va);
}

void kunit_info(struct kunit *test, const char *fmt, ...)
{
	va_list args;

	pthread_mutex_lock(&report_lock);
	printf("        # %s: ", test->name);
	va_start(args, fmt);
	print(fmt, args);
	va_end(args);
	putchar('\n');
	pthread_mutex_unlock(&report_lock);
}

/* Leave the case. Only the thread that runs it can. */
static void __noreturn leave(struct kunit *test)
{
	BUG_ON(current != &main_task);
	longjmp(test->out, 1);
}

void kunit_found(struct kunit *test, const struct kunit_finding *f,
		 const char *fmt, ...)
{
	const char *file = strrchr(f->file, '/');
	va_list args;

	pthread_mutex_lock(&report_lock);
	test->status = KUNIT_FAILURE;
	printf("        # %s: %s at %s:%d: %s", test->name,
	       f->fatal ? "ASSERTION FAILED" : "EXPECTATION FAILED",
	       file ? file + 1 : f->file, f->line, f->text);
	if (f->compared)
		printf(": %#llx (%lld), %#llx (%lld)", f->left, f->left, f->right,
		       f->right);
	if (fmt) {
		printf(": ");
		va_start(args, fmt);
		print(fmt, args);
		va_end(args);
	}
	putchar('\n');
	pthread_mutex_unlock(&report_lock);

	if (f->fatal)
		leave(test);
}

void kunit_skip(struct kunit *test, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(test->status_comment, sizeof(test->status_comment), fmt, args);
	va_end(args);
	test->status = KUNIT_SKIPPED;
	leave(test);
}

/* What a test has */

void *kunit_kzalloc(struct kunit *test, size_t size, gfp_t gfp)
{
	struct kunit_memory *memory = calloc(1, sizeof(*memory) + size);

	BUG_ON(!memory || current != &main_task);
	memory->next = test->memory;
	test->memory = memory;
	return memory->data;
}

/* The replacement of @real, if this thread runs a test that has one. */
void *shim_stub(void *real)
{
	struct kunit *test = current->kunit_test;
	unsigned int i;

	for (i = 0; test && i < KUNIT_STUBS; i++) {
		if (test->stubs[i].real == real)
			return test->stubs[i].replacement;
	}

	return NULL;
}

void kunit_activate_static_stub_(struct kunit *test, void *real, void *replacement)
{
	struct kunit_stub *stub = test->stubs;

	while (stub->real && stub->real != real)
		stub++;
	BUG_ON(stub == test->stubs + KUNIT_STUBS);
	*stub = (struct kunit_stub) { real, replacement };
}

/* Memory */

unsigned long __get_free_page(gfp_t gfp)
{
	struct page *page = alloc_pages_node(NUMA_NO_NODE, gfp, 0);

	return page ? (unsigned long)page_address(page) : 0;
}

void *iommu_alloc_page_node(int nid, gfp_t gfp)
{
	struct page *page = alloc_pages_node(nid, gfp | __GFP_ZERO, 0);

	if (!page)
		return NULL;

	__iommu_alloc_account(page, 0);
	return page_address(page);
}

/* A tree of five levels. Nodes stay until all go. */

#define XA_SHIFT	6
#define XA_SLOTS	(1UL << XA_SHIFT)
#define XA_TOP		(4 * XA_SHIFT)
#define XA_END		(1UL << (XA_TOP + XA_SHIFT))

struct xa_node {
	void *slot[XA_SLOTS];
};

static void **xa_slot(struct xa_node *node, unsigned long index, int shift)
{
	return &node->slot[(index >> shift) % XA_SLOTS];
}

void xa_init(struct xarray *xa)
{
	xa->root = NULL;
	pthread_mutex_init(&xa->lock, NULL);
}

static void xa_free(struct xa_node *node, int shift)
{
	unsigned int i;

	for (i = 0; node && shift && i < XA_SLOTS; i++)
		xa_free(node->slot[i], shift - XA_SHIFT);
	free(node);
}

void xa_destroy(struct xarray *xa)
{
	xa_free(xa->root, XA_TOP);
	xa->root = NULL;
	pthread_mutex_destroy(&xa->lock);
}

/* What is at @index, or NULL and how many bits of the index lead to nothing. */
static void *xa_walk(struct xarray *xa, unsigned long index, int *shift)
{
	void *node = __atomic_load_n(&xa->root, __ATOMIC_ACQUIRE);

	*shift = XA_TOP + XA_SHIFT;
	while (node && *shift) {
		*shift -= XA_SHIFT;
		node = __atomic_load_n(xa_slot(node, index, *shift),
				       __ATOMIC_ACQUIRE);
	}

	return node;
}

void *xa_load(struct xarray *xa, unsigned long index)
{
	int shift;

	return index < XA_END ? xa_walk(xa, index, &shift) : NULL;
}

/* The next entry from *@index on. */
void *shim_xa_next(struct xarray *xa, unsigned long *index)
{
	while (*index < XA_END) {
		int shift;
		void *entry = xa_walk(xa, *index, &shift);

		if (entry)
			return entry;
		*index = ((*index >> shift) + 1) << shift;
	}

	return NULL;
}

/* The slot for @index, with all nodes that lead to it. The lock is held. */
static void **xa_make(struct xarray *xa, unsigned long index)
{
	void **slot = (void **)&xa->root;
	int shift;

	BUG_ON(index >= XA_END);
	for (shift = XA_TOP; shift >= 0; shift -= XA_SHIFT) {
		if (!*slot) {
			struct xa_node *node = calloc(1, sizeof(*node));

			BUG_ON(!node);
			__atomic_store_n(slot, node, __ATOMIC_RELEASE);
		}
		slot = xa_slot(*slot, index, shift);
	}

	return slot;
}

void *xa_store(struct xarray *xa, unsigned long index, void *entry, gfp_t gfp)
{
	void *old;

	pthread_mutex_lock(&xa->lock);
	old = __atomic_exchange_n(xa_make(xa, index), entry, __ATOMIC_ACQ_REL);
	pthread_mutex_unlock(&xa->lock);

	return old;
}

int xa_insert(struct xarray *xa, unsigned long index, void *entry, gfp_t gfp)
{
	if (xa_load(xa, index))
		return -EBUSY;

	xa_store(xa, index, entry, gfp);
	return 0;
}

/* Threads */

/*
 * Threads that wait for each other call this repeatedly. They spin for a while, to
 * continue at the same time, and then sleep: the other may be without a CPU.
 */
void cond_resched(void)
{
	static _Thread_local unsigned int calls;

	if (++calls % 2048 == 0)
		nanosleep(&(struct timespec) { .tv_nsec = 1 }, NULL);
}

static void *thread_main(void *arg)
{
	struct task_struct *task = arg;

	current = task;
	task->run(task->data);
	BUG("a kthread that returns is not known here");
}

struct task_struct *kthread_create(int (*run)(void *data), void *data,
				   const char *name, ...)
{
	struct task_struct *task = calloc(1, sizeof(*task));

	BUG_ON(!task);
	task->run = run;
	task->data = data;
	return task;
}

void wake_up_process(struct task_struct *task)
{
	pthread_t thread;

	BUG_ON(pthread_create(&thread, NULL, thread_main, task));
	pthread_detach(thread);
}

void kthread_complete_and_exit(struct completion *done, long code)
{
	free(current);
	pthread_mutex_lock(&done->lock);
	done->done = true;
	pthread_cond_signal(&done->changed);
	pthread_mutex_unlock(&done->lock);
	pthread_exit(NULL);
}

void init_completion(struct completion *done)
{
	pthread_mutex_init(&done->lock, NULL);
	pthread_cond_init(&done->changed, NULL);
	done->done = false;
}

void wait_for_completion(struct completion *done)
{
	pthread_mutex_lock(&done->lock);
	while (!done->done)
		pthread_cond_wait(&done->changed, &done->lock);
	pthread_mutex_unlock(&done->lock);
}

/* Numbers */

/*
 * Four linear feedback shift registers, of 31, 29, 28 and 25 bits at the upper end
 * of a word (L'Ecuyer, "Tables of maximally equidistributed combined LFSR
 * generators").
 */
static const struct {
	unsigned int bits, left, right, step;
} registers[4] = {
	{ 31, 6, 13, 18 }, { 29, 2, 27, 2 }, { 28, 13, 21, 7 }, { 25, 3, 12, 13 },
};

void prandom_seed_state(struct rnd_state *state, u64 seed)
{
	u32 start = seed >> 32 ^ seed << 10 ^ seed;
	unsigned int i;

	/* None may be stuck at zero. */
	for (i = 0; i < ARRAY_SIZE(registers); i++) {
		u32 least = 1U << (32 - registers[i].bits);

		state->s[i] = start < least ? start + least : start;
	}
}

u32 prandom_u32_state(struct rnd_state *state)
{
	unsigned int i;
	u32 sum = 0;

	for (i = 0; i < ARRAY_SIZE(registers); i++) {
		u32 s = state->s[i], kept = ~0U << (32 - registers[i].bits);

		s = (s & kept) << registers[i].step ^
		    (s << registers[i].left ^ s) >> registers[i].right;
		state->s[i] = s;
		sum ^= s;
	}

	return sum;
}

u64 get_random_u64(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return now.tv_sec * 1000000000ULL + now.tv_nsec;
}

/* Any good mixture: it is only ever compared with itself. */
u32 jhash_3words(u32 a, u32 b, u32 c, u32 initval)
{
	const u64 odd = 0x9e3779b97f4a7c15ULL;
	u64 sum = (((u64)a << 32 | b) ^ initval) * odd;

	sum = (sum ^ sum >> 29 ^ c) * odd;
	return sum ^ sum >> 32;
}

/* Running */

struct counts {
	unsigned int passed, failed, skipped;
};

static void init_and_run(struct kunit *test)
{
	if (shim_suite->init && shim_suite->init(test))
		KUNIT_FAIL(test, "cannot be initialized");
	else
		test->run(test);
}

static void attempt(struct kunit *test, void (*function)(struct kunit *test))
{
	current->kunit_test = test;
	if (!setjmp(test->out))
		function(test);
	current->kunit_test = NULL;
	shim_atomic = false;
}

static void cleanup(struct kunit *test)
{
	struct kunit_memory *memory, *next;
	unsigned long pages;

	for (memory = test->memory; memory; memory = next) {
		next = memory->next;
		free(memory);
	}

	shim_rcu_barrier();
	pages = shim_reclaim();
	if (pages)
		KUNIT_FAIL(test, "%lu pages are left", pages);
}

/* One case, for one parameter if it has any. */
static void run(const struct kunit_case *c, const void *param, const char *desc,
		unsigned int nr, struct counts *counts)
{
	struct kunit test = { .name = c->name, .param_value = param,
			      .run = c->run_case };

	shim_reset();
	attempt(&test, init_and_run);
	if (shim_suite->exit)
		attempt(&test, shim_suite->exit);
	cleanup(&test);

	counts->passed += test.status == KUNIT_SUCCESS;
	counts->failed += test.status == KUNIT_FAILURE;
	counts->skipped += test.status == KUNIT_SKIPPED;
	if (param)
		printf("        %sok %u %s%s%s\n",
		       test.status == KUNIT_FAILURE ? "not " : "", nr, desc,
		       test.status == KUNIT_SKIPPED ? " # SKIP " : "",
		       test.status_comment);
}

static void run_case(const struct kunit_case *c, unsigned int nr,
		     struct counts *total)
{
	char desc[KUNIT_PARAM_DESC_SIZE];
	struct counts counts = {};
	const void *param = NULL;
	unsigned int param_nr = 0;

	if (!c->generate_params) {
		run(c, NULL, NULL, 0, &counts);
	} else {
		printf("        KTAP version 1\n        # Subtest: %s\n", c->name);
		while ((param = c->generate_params(param, desc)))
			run(c, param, desc, ++param_nr, &counts);
	}

	printf("    %sok %u %s%s\n", counts.failed ? "not " : "", nr, c->name,
	       counts.skipped && !counts.passed && !counts.failed ? " # SKIP" : "");
	total->passed += counts.passed;
	total->failed += counts.failed;
	total->skipped += counts.skipped;
}

int main(int argc, char **argv)
{
	const struct kunit_case *c;
	struct counts total = {};
	unsigned int nr = 0;

	current = &main_task;
	setvbuf(stdout, NULL, _IOLBF, 0);
	while (--argc)
		parse(*++argv);

	for (c = shim_suite->test_cases; c->run_case; c++)
		nr += !fnmatch(filter, c->name, 0);
	printf("KTAP version 1\n1..1\n    KTAP version 1\n    # Subtest: %s\n"
	       "    1..%u\n", shim_suite->name, nr);

	nr = 0;
	for (c = shim_suite->test_cases; c->run_case; c++) {
		if (!fnmatch(filter, c->name, 0))
			run_case(c, ++nr, &total);
	}

	printf("# Totals: pass:%u fail:%u skip:%u total:%u\n", total.passed,
	       total.failed, total.skipped,
	       total.passed + total.failed + total.skipped);
	printf("%sok 1 %s\n", total.failed ? "not " : "", shim_suite->name);
	return !!total.failed;
}
