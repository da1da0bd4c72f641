// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit suite of PASID-table entries: building them from a description, and
 * setting up, replacing and tearing down. The VT-d model checks what hardware
 * can do in every state between two stores.
 */

#include <kunit/test.h>
#include <linux/bitfield.h>
#include <linux/io.h>
#include <linux/mm.h>
#include <linux/rcupdate.h>
#include <linux/sizes.h>
#include <linux/string.h>

#include "iommu.h"
#include "pasid.h"
#include "pasid_entry.h"
#include "vtd_caps.h"
#include "vtd_fake.h"

#define CAP_FULL	(CAP_ND_256 | CAP_SAGAW_3 | CAP_SAGAW_4 | CAP_SAGAW_5 | \
			 CAP_MGAW(57) | CAP_SS2M | CAP_SS1G | CAP_PSI | CAP_MAMV(18) | \
			 CAP_FS1GP | CAP_FS5LP)
#define ECAP_FULL	(ECAP_C | ECAP_QI | ECAP_DT | ECAP_PT | ECAP_SC | ECAP_NEST | \
			 ECAP_SRS | ECAP_EAFS | ECAP_PASID | ECAP_SMTS | ECAP_SSADS | \
			 ECAP_SSTS | ECAP_FSTS | ECAP_SMPWC)

#define PASID	7
#define ADDR	(5ULL * SZ_1G)

/* Translation types, and two entries of each with tables of their own */
enum kind { FIRST, FIRST_5, SECOND, SECOND_3, NESTED, PASS, NR_KINDS };

static const char * const kind_names[] = {
	"first", "first, 5 levels", "second", "second, 3 levels", "nested",
	"pass-through",
};

struct target {
	struct pasid_desc desc;
	u64 hpa;			/* what ADDR translates to */
};

struct pasid_test {
	struct vtd_fake fake;
	struct target targets[NR_KINDS][2];
	u64 second_shared;		/* of nested entries */

	/* for the check between two stores */
	struct device *dev;
	u32 pasid;
	const struct target *old, *new;
	bool may_be_absent;
};

/* Tables made by hand */

/* Addresses below 512 GiB translate to themselves, except for ADDR. */
static u64 pasid_second_table(struct kunit *test, unsigned int levels, u64 pa)
{
	u64 *top = vtd_fake_page(test), *table = top;
	unsigned int i;

	for (; levels > 3; levels--) {
		u64 *next = vtd_fake_page(test);

		vtd_fake_store(test, &table[0], virt_to_phys(next) | 3);
		table = next;
	}
	for (i = 0; i < 512; i++)
		vtd_fake_store(test, &table[i], (u64)i * SZ_1G | BIT(7) | 3);
	if (pa)
		vtd_fake_store(test, &table[ADDR / SZ_1G], pa | BIT(7) | 3);

	return virt_to_phys(top);
}

static void describe(struct kunit *test, enum kind kind, unsigned int nr)
{
	struct pasid_test *ctx = test->priv;
	struct target *t = &ctx->targets[kind][nr];
	struct pasid_desc *desc = &t->desc;
	u64 pa = (u64)(64 + 2 * kind + nr) * SZ_1G;

	*t = (struct target) {
		.desc.did = 20 + 2 * kind + nr,
		.desc.aw = 3,
		.hpa = pa,
	};
	switch (kind) {
	case FIRST:
	case FIRST_5:
		desc->pgtt = PASID_ENTRY_PGTT_FL_ONLY;
		desc->fl_levels = kind == FIRST ? 4 : 5;
		desc->fl_root = vtd_fake_table(test, desc->fl_levels, 0, ADDR, pa).root;
		break;
	case SECOND:
	case SECOND_3:
		desc->pgtt = PASID_ENTRY_PGTT_SL_ONLY;
		desc->aw = kind == SECOND ? 2 : 1;
		desc->sl_root = pasid_second_table(test, desc->aw + 2, pa);
		break;
	case NESTED:
		desc->pgtt = PASID_ENTRY_PGTT_NESTED;
		desc->aw = 2;
		desc->fl_levels = 4;
		desc->fl_root = vtd_fake_table(test, 4, 0, ADDR, pa).root;
		desc->sl_root = ctx->second_shared;
		break;
	default:
		desc->pgtt = PASID_ENTRY_PGTT_PT;
		desc->did = FLPT_DEFAULT_DID;
		t->hpa = ADDR;
	}
}

/* Machines that require different operations of the driver */

static const char * const machine_names[] = {
	"coherent", "not coherent", "caching mode", "caching mode, not coherent",
	"ATS", "ATS, not coherent", "ATS, caching mode",
	"ATS, caching mode, not coherent",
};

static struct device *pasid_test_machine(struct kunit *test, unsigned int nr)
{
	u64 cap = CAP_FULL, ecap = ECAP_FULL;
	struct pasid_test *ctx = test->priv;
	unsigned int i, j;

	if (ctx->dev)
		vtd_model_unwatch(vtd_fake_model(test, ctx->dev));
	if (nr & 1)
		ecap &= ~(ECAP_C | ECAP_SMPWC | ECAP_SSADS);
	if (nr & 2)
		cap |= CAP_CM;
	ctx->dev = vtd_fake_device(test, vtd_fake_iommu(test, cap, ecap), nr & 4);
	ctx->pasid = PASID;

	ctx->second_shared = pasid_second_table(test, 4, 0);
	for (i = 0; i < NR_KINDS; i++) {
		for (j = 0; j < 2; j++) {
			describe(test, i, j);
			if (ecap & ECAP_SMPWC)
				ctx->targets[i][j].desc.flags |= PASID_DESC_PWSNP;
		}
	}

	return ctx->dev;
}

/* Hardware acts by the old entry, by the new one, or refuses. */
static void check_between_stores(struct vtd_machine *machine, void *data)
{
	struct kunit *test = data;
	struct pasid_test *ctx = test->priv;
	struct vtd_request req = vtd_fake_request(ctx->dev, ctx->pasid, ADDR);
	struct vtd_answers answers;
	unsigned int i;

	vtd_ask(vtd_fake_model(test, ctx->dev), &req, &answers);
	for (i = 0; i < answers.nr; i++) {
		const struct vtd_answer *a = &answers.answer[i];

		if (ctx->old && !a->fault && a->hpa == ctx->old->hpa)
			continue;
		if (ctx->new && !a->fault && a->hpa == ctx->new->hpa)
			continue;
		if (ctx->may_be_absent && a->fault == VTD_PASID_PRESENT)
			continue;
		vtd_report_error(machine, "in between: fault %#x, page %#llx", a->fault, a->hpa);
	}
}

static void check_change(struct kunit *test, const struct target *old,
			 const struct target *new, bool may_be_absent)
{
	struct pasid_test *ctx = test->priv;

	ctx->old = old;
	ctx->new = new;
	ctx->may_be_absent = may_be_absent;
	vtd_machine_between(ctx->fake.machine, check_between_stores, test);
}

static void check_no_more(struct kunit *test)
{
	struct pasid_test *ctx = test->priv;

	vtd_machine_between(ctx->fake.machine, NULL, NULL);
}

static void tear_down(struct kunit *test, u32 pasid)
{
	struct pasid_test *ctx = test->priv;

	intel_pasid_tear_down_entry(vtd_fake_iommu_of(ctx->dev), ctx->dev, pasid, false);
}

static u64 *entry_of(struct device *dev, u32 pasid)
{
	struct pasid_dir_entry *dir = intel_pasid_get_table(dev)->table;

	return get_pasid_table_from_pde(dir)[pasid].val;
}

static void expect_cleared(struct kunit *test, u32 pasid)
{
	struct pasid_test *ctx = test->priv;
	u64 *e = entry_of(ctx->dev, pasid);

	KUNIT_EXPECT_NULL(test, memchr_inv(e, 0, sizeof(struct pasid_entry)));
}

/* Set up and tear down */

static void kind_desc(const enum kind *kind, char *desc)
{
	strscpy(desc, kind_names[*kind], KUNIT_PARAM_DESC_SIZE);
}

static const enum kind kinds[] = { FIRST, FIRST_5, SECOND, SECOND_3, NESTED, PASS };

KUNIT_ARRAY_PARAM(kind, kinds, kind_desc);

static void set_and_tear_down(struct kunit *test, u32 pasid)
{
	struct pasid_test *ctx = test->priv;
	const enum kind *kind = test->param_value;
	const struct target *t = &ctx->targets[*kind][0];

	ctx->pasid = pasid;
	vtd_fake_watch(test, ctx->dev, pasid, ADDR);
	vtd_fake_expect_gone(test, ctx->dev, pasid, ADDR);

	check_change(test, NULL, t, true);
	KUNIT_ASSERT_EQ(test, 0, intel_pasid_set_entry(ctx->dev, pasid, &t->desc));
	check_no_more(test);
	vtd_fake_expect(test, ctx->dev, pasid, ADDR, t->hpa);

	check_change(test, t, NULL, true);
	tear_down(test, pasid);
	check_no_more(test);
	vtd_fake_expect_gone(test, ctx->dev, pasid, ADDR);
	expect_cleared(test, pasid);
}

static void pasid_set_tear_down(struct kunit *test)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(machine_names); i++) {
		kunit_info(test, "%s\n", machine_names[i]);
		pasid_test_machine(test, i);
		set_and_tear_down(test, PASID);
		set_and_tear_down(test, IOMMU_NO_PASID);
		set_and_tear_down(test, PASID);
		vtd_expect_no_errors(test, ((struct pasid_test *)test->priv)->fake.machine);
	}
}

/* Replace: all pairs of types */

/* Is one chunk of 16 bytes all that differs? */
static bool one_store(struct kunit *test, const struct target *old,
		      const struct target *new)
{
	struct pasid_test *ctx = test->priv;
	struct intel_iommu *iommu = vtd_fake_iommu_of(ctx->dev);
	struct pasid_entry a, b;
	unsigned int i, qwords = 0, chunks = 0;

	KUNIT_ASSERT_EQ(test, 0, pasid_entry_build(iommu, &old->desc, &a));
	KUNIT_ASSERT_EQ(test, 0, pasid_entry_build(iommu, &new->desc, &b));
	for (i = 0; i < 8; i += 2) {
		qwords += a.val[i] != b.val[i];
		qwords += a.val[i + 1] != b.val[i + 1];
		chunks += a.val[i] != b.val[i] || a.val[i + 1] != b.val[i + 1];
	}

	return qwords <= 1 ||
	       (IS_ENABLED(CONFIG_64BIT) && system_has_cmpxchg128() && chunks == 1);
}

static void pasid_test_replace(struct kunit *test, const struct target *old,
			       const struct target *new)
{
	struct pasid_test *ctx = test->priv;
	bool at_once = one_store(test, old, new);

	KUNIT_ASSERT_EQ(test, 0, intel_pasid_set_entry(ctx->dev, ctx->pasid, &old->desc));
	vtd_fake_expect(test, ctx->dev, ctx->pasid, ADDR, old->hpa);

	check_change(test, old, new, !at_once);
	KUNIT_EXPECT_EQ(test, 0, intel_pasid_replace_entry(ctx->dev, ctx->pasid,
							   &new->desc));
	check_no_more(test);
	vtd_fake_expect(test, ctx->dev, ctx->pasid, ADDR, new->hpa);

	tear_down(test, ctx->pasid);
	vtd_fake_expect_gone(test, ctx->dev, ctx->pasid, ADDR);
}

static void pasid_replace(struct kunit *test)
{
	struct pasid_test *ctx = test->priv;
	const enum kind *kind = test->param_value;
	unsigned int i, j;

	for (i = 0; i < ARRAY_SIZE(machine_names); i++) {
		pasid_test_machine(test, i);
		for (j = 0; j < 2 * NR_KINDS; j++) {
			ctx->pasid = j & 1 ? IOMMU_NO_PASID : PASID;
			vtd_fake_watch(test, ctx->dev, ctx->pasid, ADDR);
			pasid_test_replace(test, &ctx->targets[*kind][0], &ctx->targets[j / 2][1]);
			cond_resched();
		}
		if (!vtd_errors(ctx->fake.machine))
			continue;
		KUNIT_FAIL(test, "errors about the machine: %s", machine_names[i]);
	}
}

/* It is present all the time, and its neighbours do not change. */
static void pasid_replace_by_same(struct kunit *test)
{
	struct pasid_test *ctx = test->priv;
	const enum kind *kind = test->param_value;
	struct target *same, *beside;
	u64 before[3 * 8];

	pasid_test_machine(test, 0);
	same = &ctx->targets[*kind][0];
	beside = &ctx->targets[FIRST_5][1];
	vtd_fake_watch(test, ctx->dev, PASID, ADDR);
	KUNIT_ASSERT_EQ(test, 0, intel_pasid_set_entry(ctx->dev, PASID - 1,
						       &beside->desc));
	KUNIT_ASSERT_EQ(test, 0, intel_pasid_set_entry(ctx->dev, PASID, &same->desc));
	KUNIT_ASSERT_EQ(test, 0, intel_pasid_set_entry(ctx->dev, PASID + 1,
						       &beside->desc));
	memcpy(before, entry_of(ctx->dev, PASID - 1), sizeof(before));

	check_change(test, same, same, false);
	KUNIT_EXPECT_EQ(test, 0, intel_pasid_replace_entry(ctx->dev, PASID, &same->desc));
	check_no_more(test);
	KUNIT_EXPECT_MEMEQ(test, before, entry_of(ctx->dev, PASID - 1), sizeof(before));
	vtd_fake_expect(test, ctx->dev, PASID, ADDR, same->hpa);
	vtd_fake_expect(test, ctx->dev, PASID + 1, ADDR, beside->hpa);
	tear_down(test, PASID - 1);
	tear_down(test, PASID);
	tear_down(test, PASID + 1);
}

/*
 * A domain ID is reused as soon as its entries have been torn down. Then
 * nothing may be cached under it.
 */
static void pasid_domain_id_reuse(struct kunit *test)
{
	struct pasid_test *ctx = test->priv;
	const enum kind *kind = test->param_value;
	unsigned int i, j;

	for (i = 0; i < ARRAY_SIZE(machine_names); i++) {
		pasid_test_machine(test, i);
		vtd_fake_watch(test, ctx->dev, PASID, ADDR);
		for (j = 0; j < NR_KINDS; j++) {
			struct target *old = &ctx->targets[*kind][0];
			struct target *new = &ctx->targets[j][1];

			new->desc.did = old->desc.did;
			KUNIT_ASSERT_EQ(test, 0, intel_pasid_set_entry(ctx->dev, PASID,
								       &old->desc));
			vtd_fake_expect(test, ctx->dev, PASID, ADDR, old->hpa);
			tear_down(test, PASID);
			KUNIT_ASSERT_EQ(test, 0, intel_pasid_set_entry(ctx->dev, PASID,
								       &new->desc));
			vtd_fake_expect(test, ctx->dev, PASID, ADDR, new->hpa);
			tear_down(test, PASID);
		}
	}
}

/* Replacing an entry that is not present sets it up. */
static void pasid_replace_absent(struct kunit *test)
{
	struct pasid_test *ctx = test->priv;
	const enum kind *kind = test->param_value;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(machine_names); i++) {
		const struct target *t;

		pasid_test_machine(test, i);
		t = &ctx->targets[*kind][0];
		vtd_fake_watch(test, ctx->dev, PASID, ADDR);
		check_change(test, NULL, t, true);
		KUNIT_EXPECT_EQ(test, 0, intel_pasid_replace_entry(ctx->dev, PASID,
								   &t->desc));
		check_no_more(test);
		vtd_fake_expect(test, ctx->dev, PASID, ADDR, t->hpa);
		tear_down(test, PASID);
		vtd_fake_expect_gone(test, ctx->dev, PASID, ADDR);
	}
}

/* Other PASIDs, and the same PASID of other devices, are not affected. */
static void pasid_neighbours(struct kunit *test)
{
	struct pasid_test *ctx = test->priv;
	const enum kind *kind = test->param_value;
	struct device *other, *dev = pasid_test_machine(test, 4);
	struct target *t = ctx->targets[*kind];

	other = vtd_fake_device(test, vtd_fake_iommu_of(dev), true);
	vtd_fake_watch(test, dev, PASID, ADDR);
	vtd_fake_watch(test, dev, PASID + 1, ADDR);
	vtd_fake_watch(test, other, PASID, ADDR);
	KUNIT_ASSERT_EQ(test, 0, intel_pasid_set_entry(dev, PASID, &t[0].desc));
	KUNIT_ASSERT_EQ(test, 0, intel_pasid_set_entry(dev, PASID + 1, &t[1].desc));
	KUNIT_ASSERT_EQ(test, 0, intel_pasid_set_entry(other, PASID, &t[1].desc));

	/* checked all the time: the other PASID of the device */
	ctx->pasid = PASID + 1;
	check_change(test, &t[1], &t[1], false);
	KUNIT_EXPECT_EQ(test, 0, intel_pasid_replace_entry(dev, PASID, &t[1].desc));
	tear_down(test, PASID);
	check_no_more(test);

	vtd_fake_expect_gone(test, dev, PASID, ADDR);
	vtd_fake_expect(test, dev, PASID + 1, ADDR, t[1].hpa);
	vtd_fake_expect(test, other, PASID, ADDR, t[1].hpa);
	tear_down(test, PASID + 1);
	intel_pasid_tear_down_entry(vtd_fake_iommu_of(dev), other, PASID, false);
	vtd_fake_expect_gone(test, other, PASID, ADDR);
}

/* A process exits before its device has been stopped. */
static void pasid_faults_ignored(struct kunit *test)
{
	struct pasid_test *ctx = test->priv;
	struct vtd_request req;
	struct vtd_answers answers;
	struct target *t;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(machine_names); i++) {
		struct device *dev = pasid_test_machine(test, i);
		struct intel_iommu *iommu = vtd_fake_iommu_of(dev);

		t = &ctx->targets[FIRST][0];
		t->desc.did = FLPT_DEFAULT_DID;
		vtd_fake_watch(test, dev, PASID, ADDR);
		KUNIT_ASSERT_EQ(test, 0, intel_pasid_set_entry(dev, PASID, &t->desc));
		check_change(test, t, NULL, true);
		intel_pasid_tear_down_entry(iommu, dev, PASID, true);
		check_no_more(test);
		vtd_fake_expect_gone(test, dev, PASID, ADDR);

		if (!(i & 2)) {
			req = vtd_fake_request(dev, PASID, ADDR);
			vtd_ask(vtd_fake_model(test, dev), &req, &answers);
			KUNIT_EXPECT_EQ(test, 1, answers.nr);
			KUNIT_EXPECT_TRUE(test, answers.answer[0].silent);
		}
		KUNIT_EXPECT_EQ(test, PASID_PTE_FPD, entry_of(dev, PASID)[0]);

		tear_down(test, PASID);
		expect_cleared(test, PASID);

		/* it does not change the entry of another domain */
		t = &ctx->targets[FIRST][1];
		KUNIT_ASSERT_EQ(test, 0, intel_pasid_set_entry(dev, PASID, &t->desc));
		intel_pasid_tear_down_entry(iommu, dev, PASID, true);
		vtd_fake_expect(test, dev, PASID, ADDR, t->hpa);
		tear_down(test, PASID);
	}
}

static void set_other(struct kunit *test)
{
	struct pasid_test *ctx = test->priv;

	KUNIT_EXPECT_EQ(test, 0, intel_pasid_set_entry(ctx->dev, PASID,
						       &ctx->targets[FIRST][1].desc));
}

static void tear_down_meanwhile(struct kunit *test)
{
	tear_down(test, PASID);
}

/*
 * While the entry of an exiting process is invalidated, the core attaches the
 * PASID to another domain, or detaches it: that must not be undone.
 */
static void pasid_late_process_exit(struct kunit *test)
{
	struct pasid_test *ctx = test->priv;
	struct target *t, *other;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(machine_names); i++) {
		struct device *dev = pasid_test_machine(test, i);
		struct intel_iommu *iommu = vtd_fake_iommu_of(dev);

		t = &ctx->targets[FIRST][0];
		other = &ctx->targets[FIRST][1];
		t->desc.did = FLPT_DEFAULT_DID;

		KUNIT_ASSERT_EQ(test, 0, intel_pasid_set_entry(dev, PASID, &t->desc));
		ctx->fake.meanwhile = set_other;
		intel_pasid_tear_down_entry(iommu, dev, PASID, true);
		KUNIT_EXPECT_NULL(test, ctx->fake.meanwhile);
		vtd_fake_expect(test, dev, PASID, ADDR, other->hpa);
		tear_down(test, PASID);

		KUNIT_ASSERT_EQ(test, 0, intel_pasid_set_entry(dev, PASID, &t->desc));
		ctx->fake.meanwhile = tear_down_meanwhile;
		intel_pasid_tear_down_entry(iommu, dev, PASID, true);
		KUNIT_EXPECT_NULL(test, ctx->fake.meanwhile);
		expect_cleared(test, PASID);
	}
}

static void exit_meanwhile(struct kunit *test)
{
	struct pasid_test *ctx = test->priv;

	intel_pasid_tear_down_entry(vtd_fake_iommu_of(ctx->dev), ctx->dev, PASID, true);
	vtd_fake_expect_gone(test, ctx->dev, PASID, ADDR);
}

/*
 * A process exits while its PASID is detached: then nothing may use its tables
 * any more.
 */
static void pasid_exit_during_detach(struct kunit *test)
{
	struct pasid_test *ctx = test->priv;
	struct target *t;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(machine_names); i++) {
		struct device *dev = pasid_test_machine(test, i);

		t = &ctx->targets[FIRST][0];
		t->desc.did = FLPT_DEFAULT_DID;
		vtd_fake_watch(test, dev, PASID, ADDR);
		KUNIT_ASSERT_EQ(test, 0, intel_pasid_set_entry(dev, PASID, &t->desc));
		vtd_fake_expect(test, dev, PASID, ADDR, t->hpa);
		ctx->fake.meanwhile = exit_meanwhile;
		tear_down(test, PASID);
		KUNIT_EXPECT_NULL(test, ctx->fake.meanwhile);
		expect_cleared(test, PASID);
	}
}

/* Fields of an entry in use change without a gap, and are invalidated. */
static void pasid_dirty_tracking(struct kunit *test)
{
	struct pasid_test *ctx = test->priv;
	const enum kind *kind = test->param_value;
	bool second = *kind == SECOND || *kind == SECOND_3 || *kind == NESTED;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(machine_names); i += 2) {
		struct device *dev = pasid_test_machine(test, i);
		const struct target *t = &ctx->targets[*kind][0];
		int ret, want = second ? 0 : -EOPNOTSUPP;

		vtd_fake_watch(test, dev, PASID, ADDR);
		KUNIT_ASSERT_EQ(test, 0, intel_pasid_set_entry(dev, PASID, &t->desc));
		check_change(test, t, t, false);
		ret = intel_pasid_set_dirty_tracking(dev, PASID, t->desc.did, true);
		KUNIT_EXPECT_EQ(test, want, ret);
		KUNIT_EXPECT_EQ(test, second ? BIT(9) : 0, entry_of(dev, PASID)[0] & BIT(9));
		/* the entry of another domain does not change */
		intel_pasid_set_dirty_tracking(dev, PASID, t->desc.did + 1, false);
		KUNIT_EXPECT_EQ(test, second ? BIT(9) : 0, entry_of(dev, PASID)[0] & BIT(9));
		intel_pasid_set_dirty_tracking(dev, PASID, t->desc.did, false);
		KUNIT_EXPECT_EQ(test, 0, entry_of(dev, PASID)[0] & BIT(9));
		intel_pasid_set_page_snoop(dev, PASID, t->desc.did);
		KUNIT_EXPECT_EQ(test, BIT(24), entry_of(dev, PASID)[1] & BIT(24));
		check_no_more(test);
		vtd_fake_expect(test, dev, PASID, ADDR, t->hpa);
		tear_down(test, PASID);
		vtd_fake_expect_gone(test, dev, PASID, ADDR);
	}
}

/*
 * Hardware sets Dirty only if it has seen SSADE: with a stale entry in the
 * PASID cache, writes of a device would be lost.
 */
static void pasid_dirty_tracking_cached(struct kunit *test)
{
	struct pasid_test *ctx = test->priv;
	struct device *dev = pasid_test_machine(test, 0);
	const struct target *t = &ctx->targets[SECOND][0];
	u64 *top = phys_to_virt(t->desc.sl_root);
	u64 *leaf = phys_to_virt(top[0] & VTD_PAGE_MASK);

	leaf += ADDR / SZ_1G;
	KUNIT_ASSERT_EQ(test, 0, intel_pasid_set_entry(dev, PASID, &t->desc));
	vtd_fake_expect(test, dev, PASID, ADDR, t->hpa);
	KUNIT_EXPECT_EQ(test, 0, *leaf & BIT(9));

	intel_pasid_set_dirty_tracking(dev, PASID, t->desc.did, true);
	vtd_fake_expect(test, dev, PASID, ADDR, t->hpa);
	KUNIT_EXPECT_EQ(test, BIT(9), *leaf & BIT(9));

	intel_pasid_set_dirty_tracking(dev, PASID, t->desc.did, false);
	*leaf &= ~(u64)BIT(9);
	vtd_fake_expect(test, dev, PASID, ADDR, t->hpa);
	KUNIT_EXPECT_EQ(test, 0, *leaf & BIT(9));
	tear_down(test, PASID);
}

/* Golden values */

struct golden {
	const char *name;
	u64 no_cap, no_ecap;
	struct pasid_desc desc;
	u64 qw[3];
};

#define FL_ROOT	0x123456000ULL
#define SL_ROOT	0x3456789000ULL
#define DID	0xabc

#define GOLDEN_FL(levels, flag)	{ .pgtt = PASID_ENTRY_PGTT_FL_ONLY,		\
				  .fl_levels = levels, .aw = 3, .did = DID,	\
				  .flags = flag, .fl_root = FL_ROOT }
#define GOLDEN_SL(width, flag)	{ .pgtt = PASID_ENTRY_PGTT_SL_ONLY, .aw = width, \
				  .did = DID, .flags = flag, .sl_root = SL_ROOT }
#define GOLDEN_NEST(levels, width, flag)					\
				{ .pgtt = PASID_ENTRY_PGTT_NESTED,		\
				  .fl_levels = levels, .aw = width, .did = DID,	\
				  .flags = flag, .fl_root = FL_ROOT,		\
				  .sl_root = SL_ROOT }
#define GOLDEN_PT(flag)		{ .pgtt = PASID_ENTRY_PGTT_PT, .aw = 3,		\
				  .did = DID, .flags = flag }
#define PWSNP	BIT_ULL(23)
#define PGSNP	BIT_ULL(24)

static const struct golden goldens[] = {
	{ "first", .desc = GOLDEN_FL(4, 0), .qw = { 0x4d, DID, FL_ROOT } },
	{ "first, 5 levels", .desc = GOLDEN_FL(5, 0),
	  .qw = { 0x4d, DID, FL_ROOT | 0x4 } },
	{ "first, PWSNP", .desc = GOLDEN_FL(4, PASID_DESC_PWSNP),
	  .qw = { 0x4d, DID | PWSNP, FL_ROOT } },
	{ "first, PGSNP", .desc = GOLDEN_FL(4, PASID_DESC_PGSNP),
	  .qw = { 0x4d, DID | PGSNP, FL_ROOT } },
	{ "first, SRE", .desc = GOLDEN_FL(4, PASID_DESC_SRE),
	  .qw = { 0x4d, DID, FL_ROOT | 0x1 } },
	{ "first, SRE and WPE", .desc = GOLDEN_FL(4, PASID_DESC_SRE | PASID_DESC_WPE),
	  .qw = { 0x4d, DID, FL_ROOT | 0x11 } },
	{ "first, EAFE", .desc = GOLDEN_FL(4, PASID_DESC_EAFE),
	  .qw = { 0x4d, DID, FL_ROOT | 0x80 } },
	{ "first, without second stage", .no_ecap = ECAP_SSTS | ECAP_SSADS | ECAP_NEST,
	  .desc = GOLDEN_FL(4, 0), .qw = { 0x4d, DID, FL_ROOT } },
	{ "second, 3 levels", .desc = GOLDEN_SL(1, 0), .qw = { SL_ROOT | 0x85, DID } },
	{ "second, 4 levels", .desc = GOLDEN_SL(2, 0), .qw = { SL_ROOT | 0x89, DID } },
	{ "second, 5 levels", .desc = GOLDEN_SL(3, 0), .qw = { SL_ROOT | 0x8d, DID } },
	{ "second, SSADE", .desc = GOLDEN_SL(2, PASID_DESC_SSADE),
	  .qw = { SL_ROOT | 0x289, DID } },
	{ "second, PWSNP", .desc = GOLDEN_SL(2, PASID_DESC_PWSNP),
	  .qw = { SL_ROOT | 0x89, DID | PWSNP } },
	{ "second, PGSNP", .desc = GOLDEN_SL(2, PASID_DESC_PGSNP),
	  .qw = { SL_ROOT | 0x89, DID | PGSNP } },
	{ "nested, 4 on 4", .desc = GOLDEN_NEST(4, 2, 0),
	  .qw = { SL_ROOT | 0xc9, DID, FL_ROOT } },
	{ "nested, 5 on 4", .desc = GOLDEN_NEST(5, 2, 0),
	  .qw = { SL_ROOT | 0xc9, DID, FL_ROOT | 0x4 } },
	{ "nested, 4 on 5", .desc = GOLDEN_NEST(4, 3, 0),
	  .qw = { SL_ROOT | 0xcd, DID, FL_ROOT } },
	{ "nested, everything",
	  .desc = GOLDEN_NEST(4, 2, PASID_DESC_SRE | PASID_DESC_WPE | PASID_DESC_EAFE |
			      PASID_DESC_SSADE | PASID_DESC_PGSNP | PASID_DESC_PWSNP),
	  .qw = { SL_ROOT | 0x2c9, DID | PWSNP | PGSNP, FL_ROOT | 0x91 } },
	{ "pass-through", .desc = GOLDEN_PT(0), .qw = { 0x10d, DID } },
	{ "pass-through, PWSNP", .desc = GOLDEN_PT(PASID_DESC_PWSNP),
	  .qw = { 0x10d, DID | PWSNP } },
};

KUNIT_ARRAY_PARAM_DESC(golden, goldens, name);

static struct device *golden_device(struct kunit *test, u64 no_cap, u64 no_ecap)
{
	struct intel_iommu *iommu;

	iommu = vtd_fake_iommu(test, CAP_FULL & ~no_cap, ECAP_FULL & ~no_ecap);

	return vtd_fake_device(test, iommu, false);
}

static void pasid_golden(struct kunit *test)
{
	const struct golden *c = test->param_value;
	struct device *dev = golden_device(test, c->no_cap, c->no_ecap);
	struct pasid_entry entry;
	unsigned int i;

	memset(&entry, 0xff, sizeof(entry));
	KUNIT_ASSERT_EQ(test, 0, pasid_entry_build(vtd_fake_iommu_of(dev), &c->desc,
						   &entry));
	for (i = 0; i < 8; i++)
		KUNIT_EXPECT_EQ(test, i < 3 ? c->qw[i] : 0, entry.val[i]);
}

/* A refused change has no effect. */

struct refusal {
	const char *name;
	u64 no_cap, no_ecap;
	struct pasid_desc desc;
	int ret;
};

#define MISALIGNED	.fl_root = FL_ROOT | 0x800, .sl_root = SL_ROOT

static const struct refusal refusals[] = {
	{ "type 0", 0, 0, { .pgtt = 0 }, -EINVAL },
	{ "type 5", 0, 0, { .pgtt = 5 }, -EINVAL },
	{ "first without FSTS", 0, ECAP_FSTS, GOLDEN_FL(4, 0), -EINVAL },
	{ "first, 3 levels", 0, 0, GOLDEN_FL(3, 0), -EINVAL },
	{ "first, 6 levels", 0, 0, GOLDEN_FL(6, 0), -EINVAL },
	{ "first, 5 levels without FS5LP", CAP_FS5LP, 0, GOLDEN_FL(5, 0), -EINVAL },
	{ "first, SRE without SRS", 0, ECAP_SRS, GOLDEN_FL(4, PASID_DESC_SRE), -EINVAL },
	{ "first, WPE without SRS", 0, ECAP_SRS, GOLDEN_FL(4, PASID_DESC_WPE), -EINVAL },
	{ "first, EAFE without EAFS", 0, ECAP_EAFS, GOLDEN_FL(4, PASID_DESC_EAFE),
	  -EINVAL },
	{ "first, PGSNP without SC", 0, ECAP_SC, GOLDEN_FL(4, PASID_DESC_PGSNP),
	  -EOPNOTSUPP },
	{ "first, PWSNP without SMPWC", 0, ECAP_SMPWC,
	  GOLDEN_FL(4, PASID_DESC_PWSNP), -EOPNOTSUPP },
	{ "first, SSADE", 0, 0, GOLDEN_FL(4, PASID_DESC_SSADE), -EINVAL },
	{ "first, unknown flag", 0, 0, GOLDEN_FL(4, BIT(31)), -EINVAL },
	{ "first, misaligned", 0, 0,
	  { .pgtt = PASID_ENTRY_PGTT_FL_ONLY, .fl_levels = 4, MISALIGNED }, -EINVAL },
	{ "second without SSTS", 0, ECAP_SSTS, GOLDEN_SL(2, 0), -EINVAL },
	{ "second, AW 0", 0, 0, GOLDEN_SL(0, 0), -EINVAL },
	{ "second, AW 4", 0, 0, GOLDEN_SL(4, 0), -EINVAL },
	{ "second, AW not in SAGAW", CAP_SAGAW_3, 0, GOLDEN_SL(1, 0), -EINVAL },
	{ "second, SSADE without SSADS", 0, ECAP_SSADS,
	  GOLDEN_SL(2, PASID_DESC_SSADE), -EOPNOTSUPP },
	{ "second, SRE", 0, 0, GOLDEN_SL(2, PASID_DESC_SRE), -EINVAL },
	{ "nested without NEST", 0, ECAP_NEST, GOLDEN_NEST(4, 2, 0), -EINVAL },
	{ "nested without FSTS", 0, ECAP_FSTS, GOLDEN_NEST(4, 2, 0), -EINVAL },
	{ "nested without SSTS", 0, ECAP_SSTS, GOLDEN_NEST(4, 2, 0), -EINVAL },
	{ "nested, 5 levels without FS5LP", CAP_FS5LP, 0, GOLDEN_NEST(5, 2, 0),
	  -EINVAL },
	{ "nested, AW not in SAGAW", CAP_SAGAW_4, 0, GOLDEN_NEST(4, 2, 0), -EINVAL },
	{ "nested, AW 255", 0, 0, GOLDEN_NEST(4, 255, 0), -EINVAL },
	{ "nested, root beyond AW", 0, 0,
	  { .pgtt = PASID_ENTRY_PGTT_NESTED, .fl_levels = 4, .aw = 1,
	    .fl_root = BIT_ULL(39), .sl_root = SL_ROOT }, -EINVAL },
	{ "nested, EAFE without EAFS", 0, ECAP_EAFS,
	  GOLDEN_NEST(4, 2, PASID_DESC_EAFE), -EINVAL },
	{ "nested, misaligned", 0, 0,
	  { .pgtt = PASID_ENTRY_PGTT_NESTED, .fl_levels = 4, .aw = 2, MISALIGNED },
	  -EINVAL },
	{ "pass-through, PGSNP", 0, 0, GOLDEN_PT(PASID_DESC_PGSNP), -EINVAL },
	{ "pass-through, SRE", 0, 0, GOLDEN_PT(PASID_DESC_SRE), -EINVAL },
};

KUNIT_ARRAY_PARAM_DESC(refusal, refusals, name);

static void pasid_refuses(struct kunit *test)
{
	const struct refusal *c = test->param_value;
	struct device *dev = golden_device(test, c->no_cap, c->no_ecap);
	struct intel_iommu *iommu = vtd_fake_iommu_of(dev);
	struct pasid_test *ctx = test->priv;
	struct pasid_desc pass = GOLDEN_PT(0);
	unsigned int stores, descs;

	pass.did = FLPT_DEFAULT_DID;
	if (c->no_cap & CAP_SAGAW_5)
		pass.aw = 2;
	KUNIT_ASSERT_EQ(test, 0, intel_pasid_set_entry(dev, PASID, &pass));
	vtd_fake_watch(test, dev, PASID, ADDR);
	stores = ctx->fake.stores;
	descs = ctx->fake.descs;

	KUNIT_EXPECT_EQ(test, c->ret, intel_pasid_set_entry(dev, PASID + 1, &c->desc));
	KUNIT_EXPECT_EQ(test, c->ret, intel_pasid_replace_entry(dev, PASID, &c->desc));
	/* a present entry is not set up again */
	KUNIT_EXPECT_EQ(test, -EBUSY, intel_pasid_set_entry(dev, PASID, &pass));
	KUNIT_EXPECT_EQ(test, stores, ctx->fake.stores);
	KUNIT_EXPECT_EQ(test, descs, ctx->fake.descs);
	vtd_fake_expect(test, dev, PASID, ADDR, ADDR);

	/* tearing down an absent entry has no effect */
	intel_pasid_tear_down_entry(iommu, dev, PASID + 1, false);
	KUNIT_EXPECT_EQ(test, stores, ctx->fake.stores);
	KUNIT_EXPECT_EQ(test, descs, ctx->fake.descs);
	intel_pasid_tear_down_entry(iommu, dev, PASID, false);
	vtd_fake_expect_gone(test, dev, PASID, ADDR);
}

/*
 * Pass-through needs the largest width of the second stage (section 9.6, AW).
 */
static void pasid_pass_through_width(struct kunit *test)
{
	static const u64 no_cap[] = { 0, CAP_FS5LP, CAP_SAGAW_5, CAP_SAGAW_4,
				      CAP_SAGAW_5 | CAP_SAGAW_4,
				      CAP_FS5LP | CAP_SAGAW_3 };
	struct pasid_desc desc;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(no_cap); i++) {
		struct device *dev = golden_device(test, no_cap[i], 0);

		pasid_describe_pass_through(&desc, vtd_fake_iommu_of(dev));
		KUNIT_ASSERT_EQ(test, 0, intel_pasid_set_entry(dev, PASID, &desc));
		vtd_fake_expect(test, dev, PASID, ADDR, ADDR);
		intel_pasid_tear_down_entry(vtd_fake_iommu_of(dev), dev, PASID, false);
	}
}

/*
 * The pages of entries are freed with the last PASID of the device, whatever
 * has happened to it meanwhile, and so are cached directory entries.
 */
static void pasid_pages_are_freed(struct kunit *test)
{
	struct pasid_test *ctx = test->priv;
	const u32 near = PASID + 64, far = PASID + 128;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(machine_names); i++) {
		struct device *dev = pasid_test_machine(test, i);
		struct intel_iommu *iommu = vtd_fake_iommu_of(dev);
		struct pasid_table *table = intel_pasid_get_table(dev);
		struct pasid_dir_entry *dir = table->table;
		struct target *t = ctx->targets[FIRST];
		struct page *page;
		int users;

		table->max_pasid = 3 * 64;
		t[1].desc.did = FLPT_DEFAULT_DID;	/* a process's */
		vtd_fake_watch(test, dev, near, ADDR);
		vtd_fake_watch(test, dev, far, ADDR);
		vtd_fake_watch(test, dev, IOMMU_NO_PASID, ADDR);
		KUNIT_ASSERT_EQ(test, 0, intel_pasid_set_entry(dev, IOMMU_NO_PASID,
							       &t[0].desc));
		KUNIT_ASSERT_EQ(test, 0, intel_pasid_set_entry(dev, near, &t[0].desc));
		KUNIT_ASSERT_EQ(test, 0, intel_pasid_set_entry(dev, far, &t[1].desc));
		page = virt_to_page(get_pasid_table_from_pde(&dir[1]));
		get_page(page);

		/* set and torn down twice, which counts once */
		intel_pasid_tear_down_entry(iommu, dev, far, true);
		KUNIT_ASSERT_EQ(test, 0, intel_pasid_replace_entry(dev, far, &t[0].desc));
		KUNIT_ASSERT_EQ(test, 0, intel_pasid_replace_entry(dev, far, &t[1].desc));
		intel_pasid_tear_down_entry(iommu, dev, far, true);
		tear_down(test, near);
		tear_down(test, near);
		KUNIT_EXPECT_EQ(test, page_to_phys(page) | PASID_PTE_PRESENT, dir[1].val);
		KUNIT_EXPECT_NE(test, 0, dir[2].val);
		KUNIT_ASSERT_EQ(test, 0, intel_pasid_set_entry(dev, near, &t[0].desc));
		tear_down(test, far);
		vtd_fake_expect(test, dev, near, ADDR, t[0].hpa);

		/* A fault dump may be reading. */
		rcu_read_lock();
		tear_down(test, near);
		users = page_count(page);
		rcu_read_unlock();
		KUNIT_EXPECT_EQ(test, 2, users);
		KUNIT_EXPECT_EQ(test, 0, dir[1].val);
		KUNIT_EXPECT_EQ(test, 0, dir[2].val);

		KUNIT_ASSERT_EQ(test, 0, intel_pasid_set_entry(dev, near, &t[1].desc));
		rcu_barrier();
		KUNIT_EXPECT_EQ(test, 1, page_count(page));
		put_page(page);
		vtd_fake_expect(test, dev, near, ADDR, t[1].hpa);
		vtd_fake_expect(test, dev, IOMMU_NO_PASID, ADDR, t[0].hpa);
		tear_down(test, near);
		tear_down(test, IOMMU_NO_PASID);
		KUNIT_EXPECT_EQ(test, 0, dir[1].val);
		KUNIT_EXPECT_NE(test, 0, dir[0].val);
	}
}

static int pasid_test_init(struct kunit *test)
{
	struct pasid_test *ctx = kunit_kzalloc(test, sizeof(*ctx), GFP_KERNEL);

	return vtd_fake_init(test, ctx ? &ctx->fake : NULL);
}

static struct kunit_case pasid_test_cases[] = {
	KUNIT_CASE_PARAM(pasid_set_tear_down, kind_gen_params),
	KUNIT_CASE_PARAM(pasid_replace, kind_gen_params),
	KUNIT_CASE_PARAM(pasid_replace_by_same, kind_gen_params),
	KUNIT_CASE_PARAM(pasid_domain_id_reuse, kind_gen_params),
	KUNIT_CASE_PARAM(pasid_replace_absent, kind_gen_params),
	KUNIT_CASE_PARAM(pasid_neighbours, kind_gen_params),
	KUNIT_CASE(pasid_faults_ignored),
	KUNIT_CASE(pasid_late_process_exit),
	KUNIT_CASE(pasid_exit_during_detach),
	KUNIT_CASE_PARAM(pasid_dirty_tracking, kind_gen_params),
	KUNIT_CASE(pasid_dirty_tracking_cached),
	KUNIT_CASE_PARAM(pasid_golden, golden_gen_params),
	KUNIT_CASE_PARAM(pasid_refuses, refusal_gen_params),
	KUNIT_CASE(pasid_pass_through_width),
	KUNIT_CASE(pasid_pages_are_freed),
	{}
};

static struct kunit_suite pasid_test_suite = {
	.name = "intel-iommu-pasid",
	.init = pasid_test_init,
	.test_cases = pasid_test_cases,
};

kunit_test_suite(pasid_test_suite);
