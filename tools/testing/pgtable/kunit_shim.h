/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The parts of the kernel that pgtable_kunit.c needs beyond shim.h, which includes this
 * file: KUnit, threads, an xarray, and some arithmetic.
 *
 * The suite is the file that the kernel builds. Its kthreads are threads. A lock is a
 * mutex. Accesses that only atomics order in the kernel are ordered by atomics here, too.
 */
#ifndef _FLPT_KUNIT_SHIM_H
#define _FLPT_KUNIT_SHIM_H

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>

#include "shim.h"

typedef signed char s8;

#define CONFIG_ZONE_DMA		1
#define VISIBLE_IF_KUNIT
#define EXPORT_SYMBOL_IF_KUNIT(symbol)
#define MODULE_IMPORT_NS(namespace)
#define MODULE_DESCRIPTION(text)
#define MODULE_LICENSE(name)
#define MODULE_PARM_DESC(name, text)
#define __printf(fmt, args)	__attribute__((format(printf, fmt, args)))
#define __noreturn		__attribute__((noreturn))

#define SZ_2K			0x800
#define SZ_8K			0x2000
#define SZ_1M			0x100000
#define SZ_4M			0x400000
#define IOMMU_CACHE		4
#define IOMMU_NOEXEC		8
#define IOMMU_MMIO		16
#define IOMMU_PRIV		32

#define max(a, b)		((a) < (__typeof__(a))(b) ? (__typeof__(a))(b) : (a))
#define min3(a, b, c)		min(min(a, b), c)
#define ALIGN(x, a)		ALIGN_DOWN((x) + (a) - 1, a)
#define PTR_ALIGN_DOWN(ptr, a)	((__typeof__(ptr))ALIGN_DOWN((uintptr_t)(ptr), a))
#define round_up(x, a)		ALIGN(x, a)
#define upper_32_bits(n)	((u32)((n) >> 32))
#define lower_32_bits(n)	((u32)(n))
#define hweight64(n)		__builtin_popcountll(n)

static inline long PTR_ERR_OR_ZERO(const void *ptr)
{
	return IS_ERR(ptr) ? PTR_ERR(ptr) : 0;
}

/* Parameters, as name=value arguments of the program. */

enum shim_param_type { SHIM_PARAM_ullong, SHIM_PARAM_uint, SHIM_PARAM_bool };

struct shim_param {
	const char *name;
	enum shim_param_type type;
	void *value;
	struct shim_param *next;
};

void shim_add_param(struct shim_param *param);

#define module_param(variable, kind, mode)				\
static void __attribute__((constructor)) add_param_##variable(void)	\
{									\
	static struct shim_param param = {				\
		.name = #variable,					\
		.type = SHIM_PARAM_##kind,				\
		.value = &variable,					\
	};								\
									\
	shim_add_param(&param);						\
}									\
static_assert(true)

/* KUnit */

enum kunit_status { KUNIT_SUCCESS, KUNIT_FAILURE, KUNIT_SKIPPED };

#define KUNIT_PARAM_DESC_SIZE	128
#define KUNIT_STUBS		4

struct kunit;

struct kunit_stub {
	void *real;
	void *replacement;
};

struct kunit_memory {
	struct kunit_memory *next;
	_Alignas(16) char data[];
};

struct kunit {
	void *priv;
	const void *param_value;
	const char *name;
	enum kunit_status status;
	char status_comment[256];
	void (*run)(struct kunit *test);
	jmp_buf out;
	struct kunit_stub stubs[KUNIT_STUBS];
	struct kunit_memory *memory;
};

struct kunit_case {
	void (*run_case)(struct kunit *test);
	const char *name;
	const void *(*generate_params)(const void *prev, char *desc);
};

struct kunit_suite {
	const char *name;
	int (*init)(struct kunit *test);
	void (*exit)(struct kunit *test);
	struct kunit_case *test_cases;
};

#define KUNIT_CASE(test)	{ .run_case = test, .name = #test }
#define KUNIT_CASE_PARAM(test, gen_params) \
	{ .run_case = test, .name = #test, .generate_params = gen_params }
#define kunit_test_suite(suite)	struct kunit_suite *const shim_suite = &(suite)

extern struct kunit_suite *const shim_suite;

/* A check that failed, with the two values if it compared any. */
struct kunit_finding {
	bool fatal;
	const char *file;
	int line;
	const char *text;
	bool compared;
	long long left, right;
};

void kunit_found(struct kunit *test, const struct kunit_finding *finding,
		 const char *fmt, ...) __printf(3, 4);
void kunit_info(struct kunit *test, const char *fmt, ...) __printf(2, 3);
void kunit_skip(struct kunit *test, const char *fmt, ...) __printf(2, 3) __noreturn;
void *kunit_kzalloc(struct kunit *test, size_t size, gfp_t gfp);

#define kunit_kcalloc(test, n, size, gfp)	kunit_kzalloc(test, (n) * (size), gfp)
#define kunit_kmalloc_array(test, n, size, gfp)	kunit_kcalloc(test, n, size, gfp)

#define KUNIT_CHECK(test, is_fatal, condition, what, ...) do {		\
	if (unlikely(!(condition)))					\
		kunit_found(test, &(struct kunit_finding) {		\
				.fatal = is_fatal, .file = __FILE__,	\
				.line = __LINE__, .text = what,		\
			    }, __VA_ARGS__);				\
} while (0)

#define KUNIT_COMPARE(test, is_fatal, a, op, b, what, ...) do {		\
	const __auto_type left_ = (a);					\
	const __auto_type right_ = (b);					\
									\
	if (unlikely(!(left_ op right_)))				\
		kunit_found(test, &(struct kunit_finding) {		\
				.fatal = is_fatal, .file = __FILE__,	\
				.line = __LINE__, .text = what,		\
				.compared = true, .left = left_,	\
				.right = right_,			\
			    }, __VA_ARGS__);				\
} while (0)

#define KUNIT_FAIL(test, ...)	KUNIT_CHECK(test, false, false, "failed", __VA_ARGS__)
#define KUNIT_EXPECT_TRUE(test, condition) \
	KUNIT_CHECK(test, false, condition, #condition, NULL)
#define KUNIT_EXPECT_TRUE_MSG(test, condition, ...) \
	KUNIT_CHECK(test, false, condition, #condition, __VA_ARGS__)
#define KUNIT_ASSERT_TRUE(test, condition) \
	KUNIT_CHECK(test, true, condition, #condition, NULL)
#define KUNIT_ASSERT_TRUE_MSG(test, condition, ...) \
	KUNIT_CHECK(test, true, condition, #condition, __VA_ARGS__)
#define KUNIT_EXPECT_FALSE(test, condition) \
	KUNIT_CHECK(test, false, !(condition), "!(" #condition ")", NULL)
#define KUNIT_EXPECT_NOT_NULL(test, ptr) \
	KUNIT_CHECK(test, false, ptr, #ptr, NULL)
#define KUNIT_ASSERT_NOT_NULL(test, ptr) \
	KUNIT_CHECK(test, true, ptr, #ptr, NULL)
#define KUNIT_ASSERT_NOT_ERR_OR_NULL(test, ptr) \
	KUNIT_CHECK(test, true, (ptr) && !IS_ERR(ptr), #ptr, NULL)
#define KUNIT_EXPECT_MEMEQ(test, a, b, size) \
	KUNIT_CHECK(test, false, !memcmp(a, b, size), #a " as " #b, NULL)
#define KUNIT_EXPECT_EQ(test, a, b) \
	KUNIT_COMPARE(test, false, a, ==, b, #a " == " #b, NULL)
#define KUNIT_EXPECT_LE(test, a, b) \
	KUNIT_COMPARE(test, false, a, <=, b, #a " <= " #b, NULL)
#define KUNIT_EXPECT_LT(test, a, b) \
	KUNIT_COMPARE(test, false, a, <, b, #a " < " #b, NULL)
#define KUNIT_ASSERT_EQ(test, a, b) \
	KUNIT_COMPARE(test, true, a, ==, b, #a " == " #b, NULL)
#define KUNIT_EXPECT_EQ_MSG(test, a, b, ...) \
	KUNIT_COMPARE(test, false, a, ==, b, #a " == " #b, __VA_ARGS__)

void *shim_stub(void *real);
void kunit_activate_static_stub_(struct kunit *test, void *real, void *replacement);

#define KUNIT_STATIC_STUB_REDIRECT(real, ...) do {			\
	__typeof__(&(real)) replacement = shim_stub(real);		\
									\
	if (unlikely(replacement))					\
		return replacement(__VA_ARGS__);			\
} while (0)
#define kunit_activate_static_stub(test, real, replacement) do {	\
	__typeof__(&(real)) same_type = replacement;			\
									\
	kunit_activate_static_stub_(test, real, same_type);		\
} while (0)
#define kunit_deactivate_static_stub(test, real) \
	kunit_activate_static_stub_(test, real, NULL)

/* The one extension of printf() that the suite uses, as the whole of a format. */
struct va_format {
	const char *fmt;
	va_list *va;
};

/* Memory */

#define PHYS_PFN(addr)		((unsigned long)((addr) / PAGE_SIZE))
#define pfn_to_page(pfn)	virt_to_page(phys_to_virt((u64)(pfn) * PAGE_SIZE))
#define page_count(page)	((int)__atomic_load_n(&(page)->refs, __ATOMIC_ACQUIRE))
#define get_page(page) \
	((void)__atomic_fetch_add(&(page)->refs, 1, __ATOMIC_RELAXED))
#define gfpflags_allow_blocking(gfp)	((bool)((gfp) & __GFP_DIRECT_RECLAIM))
#define free_page(addr)		put_page(virt_to_page((void *)(addr)))
#define rcu_barrier()		shim_rcu_barrier()

unsigned long __get_free_page(gfp_t gfp);
void *iommu_alloc_page_node(int nid, gfp_t gfp);

/* One node, of whose count no CPU holds back a part. */
enum { NR_IOMMU_PAGES, NR_VM_NODE_STAT_ITEMS };

struct per_cpu_nodestat {
	s8 vm_node_stat_diff[NR_VM_NODE_STAT_ITEMS];
};

typedef struct pglist_data {
	atomic_long_t *vm_stat;
	struct per_cpu_nodestat *per_cpu_nodestats;
} pg_data_t;

extern pg_data_t shim_node;

#define NODE_DATA(nid)		(&shim_node)
#define for_each_online_node(nid)	for ((nid) = 0; (nid) < 1; (nid)++)

/* By an index of up to 30 bits. Loads take no lock. */
struct xa_node;

struct xarray {
	struct xa_node *root;
	pthread_mutex_t lock;
};

void xa_init(struct xarray *xa);
void xa_destroy(struct xarray *xa);
void *xa_load(struct xarray *xa, unsigned long index);
void *xa_store(struct xarray *xa, unsigned long index, void *entry, gfp_t gfp);
int xa_insert(struct xarray *xa, unsigned long index, void *entry, gfp_t gfp);
void *shim_xa_next(struct xarray *xa, unsigned long *index);

#define xa_err(entry)		((void)(entry), 0)
#define xa_erase(xa, index)	xa_store(xa, index, NULL, GFP_ATOMIC)
#define xa_mk_value(value)	((void *)((unsigned long)(value) << 1 | 1))
#define xa_for_each(xa, index, entry) \
	for ((index) = 0; ((entry) = shim_xa_next(xa, &(index))); (index)++)

/* CPUs and threads */

typedef struct { int counter; } atomic_t;

#define ATOMIC_INIT(n)		{ n }
#define atomic_read(v)		__atomic_load_n(&(v)->counter, __ATOMIC_RELAXED)
#define atomic_read_acquire(v)	__atomic_load_n(&(v)->counter, __ATOMIC_ACQUIRE)
#define atomic_set(v, n)	__atomic_store_n(&(v)->counter, n, __ATOMIC_RELAXED)
#define atomic_inc_return(v)	__atomic_add_fetch(&(v)->counter, 1, __ATOMIC_SEQ_CST)
#define atomic_dec_return(v)	__atomic_sub_fetch(&(v)->counter, 1, __ATOMIC_SEQ_CST)
#define atomic_inc(v) \
	((void)__atomic_add_fetch(&(v)->counter, 1, __ATOMIC_RELAXED))
#define atomic_dec(v) \
	((void)__atomic_sub_fetch(&(v)->counter, 1, __ATOMIC_RELAXED))

typedef pthread_mutex_t spinlock_t;

#define spin_lock_init(lock)	pthread_mutex_init(lock, NULL)
#define spin_lock(lock)		pthread_mutex_lock(lock)
#define spin_unlock(lock)	pthread_mutex_unlock(lock)

#define preempt_disable()	((void)(shim_atomic = true))
#define preempt_enable()	((void)(shim_atomic = false))
#define cpu_relax()		__atomic_signal_fence(__ATOMIC_SEQ_CST)

/* Threads run where they like. */
#define SHIM_ONLINE		2
#define num_online_cpus()	SHIM_ONLINE
#define cpumask_nth(n, mask)	(n)
#define per_cpu_ptr(ptr, cpu)	((ptr) + (cpu))
#define for_each_online_cpu(cpu)	for ((cpu) = 0; (cpu) < SHIM_ONLINE; (cpu)++)

struct task_struct {
	struct kunit *kunit_test;
	int (*run)(void *data);
	void *data;
};

struct completion {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool done;
};

extern _Thread_local struct task_struct *current;

#define kunit_get_current_test()	(current->kunit_test)

void cond_resched(void);
struct task_struct *kthread_create(int (*run)(void *data), void *data,
				   const char *name, ...) __printf(3, 4);
void wake_up_process(struct task_struct *task);
void kthread_complete_and_exit(struct completion *done, long code) __noreturn;
void init_completion(struct completion *done);
void wait_for_completion(struct completion *done);

#define kthread_bind(task, nr)	((void)(task), (void)(nr))

/* The kernel's generator, so that a seed gives the same operations there. */
struct rnd_state {
	u32 s[4];
};

void prandom_seed_state(struct rnd_state *state, u64 seed);
u32 prandom_u32_state(struct rnd_state *state);
u64 get_random_u64(void);
u32 jhash_3words(u32 a, u32 b, u32 c, u32 initval);

#endif /* _FLPT_KUNIT_SHIM_H */
