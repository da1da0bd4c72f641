/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Fake IOMMUs, devices and guests for KUnit tests: the driver's structures,
 * with the VT-d model (vtd_model.h) as the hardware behind them.
 */
#ifndef _INTEL_IOMMU_VTD_FAKE_H
#define _INTEL_IOMMU_VTD_FAKE_H

#include <linux/iommu-gpasid.h>
#include <linux/sizes.h>
#include <linux/types.h>
#include <linux/workqueue.h>

#include "vtd_caps.h"
#include "vtd_model.h"

struct device;
struct dmar_domain;
struct intel_iommu;
struct iommu_domain;
struct kunit;
struct pci_dev;

/* Everything that nesting needs; page walks are coherent */
#define CAP_NESTING	(CAP_ND_256 | CAP_SAGAW_4 | CAP_MGAW(48) | CAP_SS2M | CAP_SS1G | \
			 CAP_PSI | CAP_MAMV(18))
#define ECAP_NESTING	(ECAP_C | ECAP_QI | ECAP_DT | ECAP_PT | ECAP_SC | ECAP_NEST | \
			 ECAP_PASID | ECAP_SMTS | ECAP_SSADS | ECAP_SSTS | ECAP_FSTS | \
			 ECAP_SMPWC)

/* First-level entries (section 9.7) */
#define FL_TABLE	0x27ULL			/* P, R/W, U/S, A */
#define FL_PAGE		0x67ULL			/* and D */

/* A guest, whose tables are at their host addresses plus GUEST_TABLES */
#define GVA		0x40003000ULL		/* what its table maps */
#define GUEST_DATA	SZ_1G			/* guest-physical page that it maps it to */
#define GUEST_TABLES	BIT_ULL(40)
#define HOST_DATA	(70ULL * SZ_1G)		/* where the second level maps GUEST_DATA */

/**
 * struct vtd_fake - a test's machine; test->priv begins with it
 * @machine: memory and IOMMUs, as the model has them
 * @nr_iommus: IOMMUs so far
 * @nr_devs: devices so far
 * @stores: stores to PASID and context entries
 * @descs: invalidation descriptors
 * @tlb_descs: those for a device's TLB among them
 * @submissions: calls of qi_submit_sync()
 * @responses: page group responses among them
 * @response: the last of these
 * @drain_did: domain ID of the last drain of page requests
 * @meanwhile: if not NULL, called once, before the next invalidations
 */
struct vtd_fake {
	struct vtd_machine *machine;
	unsigned int nr_iommus, nr_devs;
	unsigned int stores, descs, tlb_descs, submissions, responses;
	u64 response[2];
	u16 drain_did;
	void (*meanwhile)(struct kunit *test);
};

/**
 * struct vtd_table - a first-level table that maps one page
 * @root: address of the topmost page
 * @page: the pages of the path, by level from 1 on
 * @leaf: the entry of the page that is mapped
 */
struct vtd_table {
	u64 root;
	u64 *page[6];
	u64 *leaf;
};

/* What a thread runs: see vtd_fake_run(). */
typedef void (*vtd_fake_fn)(void *data);

/**
 * struct vtd_fake_call - a call on another CPU; see vtd_fake_call()
 * @work: runs it
 * @run: the function
 * @data: its argument
 * @done: it has returned
 */
struct vtd_fake_call {
	struct work_struct work;
	vtd_fake_fn run;
	void *data;
	bool done;
};

int vtd_fake_init(struct kunit *test, struct vtd_fake *fake);
struct intel_iommu *vtd_fake_iommu(struct kunit *test, u64 cap, u64 ecap);
struct device *vtd_fake_device(struct kunit *test, struct intel_iommu *iommu, bool ats);
struct pci_dev *vtd_fake_pci_dev(struct kunit *test, struct device *dev);
void *vtd_fake_page(struct kunit *test);

struct intel_iommu *vtd_fake_iommu_of(struct device *dev);
struct vtd_model *vtd_fake_model(struct kunit *test, struct device *dev);
struct vtd_request vtd_fake_request(struct device *dev, u32 pasid, u64 addr);
void vtd_fake_watch(struct kunit *test, struct device *dev, u32 pasid, u64 addr);
void vtd_fake_expect(struct kunit *test, struct device *dev, u32 pasid, u64 addr,
		     u64 hpa);
void vtd_fake_expect_gone(struct kunit *test, struct device *dev, u32 pasid, u64 addr);

struct dmar_domain *vtd_fake_keep(struct kunit *test, struct iommu_domain *domain);
bool vtd_fake_has_id(struct dmar_domain *domain);
struct dmar_domain *vtd_fake_domain(struct kunit *test, struct device *dev, u32 flags);
void vtd_fake_store(struct kunit *test, u64 *slot, u64 val);
struct vtd_table vtd_fake_table(struct kunit *test, unsigned int levels, u64 base,
				u64 addr, u64 pa);
void vtd_fake_run(struct kunit *test, const vtd_fake_fn *run, unsigned int nr, void *data);
bool vtd_fake_call(struct vtd_fake_call *call, vtd_fake_fn run, void *data);
unsigned int vtd_fake_log_lines(const char *text);

void vtd_guest_map(struct kunit *test, struct dmar_domain *parent, u64 gpa, u64 pa,
		   size_t size);
struct vtd_table vtd_guest_table(struct kunit *test, struct dmar_domain *parent, u64 addr,
				 u64 gpa);
struct iommu_gpasid_bind_data vtd_guest_bind_data(u64 root);
struct dmar_domain *vtd_guest_nested(struct kunit *test, struct device *dev,
				     struct dmar_domain *parent, u64 root);

#endif /* _INTEL_IOMMU_VTD_FAKE_H */
