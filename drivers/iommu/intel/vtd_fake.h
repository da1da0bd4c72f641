/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * IOMMUs and devices that exist in a KUnit test only: the driver's structures,
 * with the VT-d model (vtd_model.h) as the hardware behind them.
 */
#ifndef _INTEL_IOMMU_VTD_FAKE_H
#define _INTEL_IOMMU_VTD_FAKE_H

#include <linux/types.h>

#include "vtd_model.h"

struct device;
struct intel_iommu;
struct kunit;

/**
 * struct vtd_fake - a test's machine; test->priv begins with it
 * @machine: memory and IOMMUs, as the model has them
 * @nr_iommus: IOMMUs so far
 * @nr_devs: devices so far
 * @stores: stores to PASID and context entries
 * @descs: invalidation descriptors
 * @responses: page group responses among them
 * @response: the last of these
 */
struct vtd_fake {
	struct vtd_machine *machine;
	unsigned int nr_iommus, nr_devs;
	unsigned int stores, descs, responses;
	u64 response[2];
};

int vtd_fake_init(struct kunit *test, struct vtd_fake *fake);
struct intel_iommu *vtd_fake_iommu(struct kunit *test, u64 cap, u64 ecap);
struct device *vtd_fake_device(struct kunit *test, struct intel_iommu *iommu, bool ats);
void *vtd_fake_page(struct kunit *test);

struct intel_iommu *vtd_fake_iommu_of(struct device *dev);
struct vtd_model *vtd_fake_model(struct kunit *test, struct device *dev);
struct vtd_request vtd_fake_request(struct device *dev, u32 pasid, u64 addr);
void vtd_fake_watch(struct kunit *test, struct device *dev, u32 pasid, u64 addr);
void vtd_fake_expect(struct kunit *test, struct device *dev, u32 pasid, u64 addr,
		     u64 hpa);
void vtd_fake_expect_gone(struct kunit *test, struct device *dev, u32 pasid, u64 addr);

#endif /* _INTEL_IOMMU_VTD_FAKE_H */
