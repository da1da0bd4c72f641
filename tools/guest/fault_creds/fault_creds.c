// SPDX-License-Identifier: GPL-2.0
/*
 * Counts the pages that kernel threads allocate with the credentials of a user: the
 * parameter uid chooses the user, and sets the parameter pages to 0.
 */
#include <linux/cred.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/sched.h>
#include <linux/tracepoint.h>

static unsigned int uid = ~0U;
static unsigned int pages;
module_param(pages, uint, 0444);

static int set_uid(const char *value, const struct kernel_param *param)
{
	WRITE_ONCE(pages, 0);
	return param_set_uint(value, param);
}

static const struct kernel_param_ops uid_ops = {
	.set = set_uid,
	.get = param_get_uint,
};
module_param_cb(uid, &uid_ops, &uid, 0644);

/* The probe of kmem:mm_page_alloc */
static void page_alloc(void *unused, struct page *page, unsigned int order, gfp_t gfp, int type)
{
	if ((current->flags & PF_KTHREAD) &&
	    __kuid_val(current_fsuid()) == READ_ONCE(uid))
		WRITE_ONCE(pages, READ_ONCE(pages) + 1);
}

static struct tracepoint *mm_page_alloc;

static void find(struct tracepoint *tp, void *unused)
{
	if (!strcmp(tp->name, "mm_page_alloc"))
		mm_page_alloc = tp;
}

static int __init fault_creds_init(void)
{
	for_each_kernel_tracepoint(find, NULL);
	return mm_page_alloc ? tracepoint_probe_register(mm_page_alloc, page_alloc, NULL) :
			       -ENOENT;
}
module_init(fault_creds_init);

static void __exit fault_creds_exit(void)
{
	tracepoint_probe_unregister(mm_page_alloc, page_alloc, NULL);
	tracepoint_synchronize_unregister();
}
module_exit(fault_creds_exit);

MODULE_DESCRIPTION("Count pages that kernel threads allocate for a user, for tests");
MODULE_LICENSE("GPL");
