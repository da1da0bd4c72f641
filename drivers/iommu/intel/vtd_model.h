/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A model of VT-d hardware for KUnit tests. It shares nothing with the driver
 * that it checks.
 *
 * Hardware may or may not have cached anything that it was able to see since
 * the last invalidation that covered it. So a request has a set of possible
 * results, and a test passes only if all of them are right.
 *
 * References are to the Intel Virtualization Technology for Directed I/O
 * Architecture Specification, revision 4.1.
 */
#ifndef _INTEL_IOMMU_VTD_MODEL_H
#define _INTEL_IOMMU_VTD_MODEL_H

#include <linux/types.h>

struct kunit;
struct vtd_machine;
struct vtd_model;

/**
 * enum vtd_fault - fault reasons, as section 7.1.3 numbers them
 * @VTD_OK: no fault
 * @VTD_LEGACY_ROOT_PRESENT: legacy mode, root entry
 * @VTD_LEGACY_CONTEXT_PRESENT: legacy mode, context entry
 * @VTD_LEGACY_CONTEXT_INVALID: legacy mode, type or width is not supported
 * @VTD_LEGACY_BEYOND: legacy mode, the address is beyond what can be translated
 * @VTD_LEGACY_WRITE: legacy mode, no right to write
 * @VTD_LEGACY_READ: legacy mode, no right to read
 * @VTD_LEGACY_TABLE_ACCESS: legacy mode, a second-stage table cannot be read
 * @VTD_LEGACY_ROOT_ACCESS: legacy mode, a root entry cannot be read
 * @VTD_LEGACY_CONTEXT_ACCESS: legacy mode, a context entry cannot be read
 * @VTD_LEGACY_ROOT_RESERVED: legacy mode, root entry
 * @VTD_LEGACY_CONTEXT_RESERVED: legacy mode, context entry
 * @VTD_LEGACY_TABLE_RESERVED: legacy mode, second-stage entry
 * @VTD_LEGACY_TRANSLATION: legacy mode, a translation request where the type
 *                          has none
 * @VTD_LEGACY_INTERRUPT: legacy mode, the interrupt address range
 * @VTD_ROOT_TABLE_ACCESS: RTA.1, the root table cannot be read
 * @VTD_ROOT_TABLE_MODE: RTA.2, a request with PASID outside of scalable mode
 * @VTD_ROOT_ACCESS: SRT.1, a root entry cannot be read
 * @VTD_ROOT_PRESENT: SRT.2
 * @VTD_ROOT_RESERVED: SRT.3
 * @VTD_CONTEXT_ACCESS: SCT.1
 * @VTD_CONTEXT_PRESENT: SCT.2
 * @VTD_CONTEXT_RESERVED: SCT.3
 * @VTD_CONTEXT_DTE: SCT.5, a translation request where that is not enabled
 * @VTD_CONTEXT_PASIDE: SCT.6, a request with PASID where that is not enabled
 * @VTD_CONTEXT_PASID: SCT.7, the PASID is beyond the directory
 * @VTD_CONTEXT_RID_PASID: SCT.9, RID_PASID is beyond the directory
 * @VTD_DIR_ACCESS: SPD.1
 * @VTD_DIR_PRESENT: SPD.2
 * @VTD_DIR_RESERVED: SPD.3
 * @VTD_PASID_ACCESS: SPT.1
 * @VTD_PASID_PRESENT: SPT.2
 * @VTD_PASID_RESERVED: SPT.3
 * @VTD_PASID_INVALID: SPT.4, type, width or depth is not supported
 * @VTD_PASID_ERE: SPT.5, an execute request where that is not enabled
 * @VTD_PASID_SRE: SPT.6, a supervisor request where that is not enabled
 * @VTD_FIRST_ACCESS: SFS.1, a first-stage table cannot be read
 * @VTD_FIRST_PRESENT: SFS.2
 * @VTD_FIRST_RESERVED: SFS.3
 * @VTD_FIRST_ROOT: SFS.4, the topmost first-stage table cannot be read
 * @VTD_FIRST_WIDTH: SFS.5, nested: a table's address is beyond the second stage
 * @VTD_FIRST_ROOT_READ: SFS.6, nested: the topmost table may not be read
 * @VTD_FIRST_READ: SFS.7, nested: a table may not be read
 * @VTD_FIRST_WRITE: SFS.8, nested: A/D cannot be written to a table
 * @VTD_SECOND_ACCESS: SSS.1, a second-stage table cannot be read
 * @VTD_SECOND_RIGHTS: SSS.2, not present, or not with the access that is needed
 * @VTD_SECOND_RESERVED: SSS.3
 * @VTD_SECOND_ROOT: SSS.4, the topmost second-stage table cannot be read
 * @VTD_SECOND_AD: SSS.5, A/D cannot be updated without snooping
 * @VTD_CANONICAL: SGN.1
 * @VTD_USER: SGN.2, a user request to a supervisor page
 * @VTD_EXECUTE: SGN.3
 * @VTD_BEYOND: SGN.4, the address is beyond what the entry can translate
 * @VTD_NESTED_BEYOND: SGN.5, the same for the guest address
 * @VTD_WRITE_RIGHT: SGN.6, first stage: a write to a read-only page
 * @VTD_INTERRUPT: SGN.8, the interrupt address range
 * @VTD_FIRST_AD: SFS.9, A/D cannot be updated without snooping
 */
enum vtd_fault {
	VTD_OK				= 0x00,
	VTD_LEGACY_ROOT_PRESENT		= 0x01,
	VTD_LEGACY_CONTEXT_PRESENT	= 0x02,
	VTD_LEGACY_CONTEXT_INVALID	= 0x03,
	VTD_LEGACY_BEYOND		= 0x04,
	VTD_LEGACY_WRITE		= 0x05,
	VTD_LEGACY_READ			= 0x06,
	VTD_LEGACY_TABLE_ACCESS		= 0x07,
	VTD_LEGACY_ROOT_ACCESS		= 0x08,
	VTD_LEGACY_CONTEXT_ACCESS	= 0x09,
	VTD_LEGACY_ROOT_RESERVED	= 0x0a,
	VTD_LEGACY_CONTEXT_RESERVED	= 0x0b,
	VTD_LEGACY_TABLE_RESERVED	= 0x0c,
	VTD_LEGACY_TRANSLATION		= 0x0d,
	VTD_LEGACY_INTERRUPT		= 0x0e,
	VTD_ROOT_TABLE_ACCESS		= 0x30,
	VTD_ROOT_TABLE_MODE		= 0x31,
	VTD_ROOT_ACCESS			= 0x38,
	VTD_ROOT_PRESENT		= 0x39,
	VTD_ROOT_RESERVED		= 0x3a,
	VTD_CONTEXT_ACCESS		= 0x40,
	VTD_CONTEXT_PRESENT		= 0x41,
	VTD_CONTEXT_RESERVED		= 0x42,
	VTD_CONTEXT_DTE			= 0x44,
	VTD_CONTEXT_PASIDE		= 0x45,
	VTD_CONTEXT_PASID		= 0x46,
	VTD_CONTEXT_RID_PASID		= 0x48,
	VTD_DIR_ACCESS			= 0x50,
	VTD_DIR_PRESENT			= 0x51,
	VTD_DIR_RESERVED		= 0x52,
	VTD_PASID_ACCESS		= 0x58,
	VTD_PASID_PRESENT		= 0x59,
	VTD_PASID_RESERVED		= 0x5a,
	VTD_PASID_INVALID		= 0x5b,
	VTD_PASID_ERE			= 0x5c,
	VTD_PASID_SRE			= 0x5d,
	VTD_FIRST_ACCESS		= 0x70,
	VTD_FIRST_PRESENT		= 0x71,
	VTD_FIRST_RESERVED		= 0x72,
	VTD_FIRST_ROOT			= 0x73,
	VTD_FIRST_WIDTH			= 0x74,
	VTD_FIRST_ROOT_READ		= 0x75,
	VTD_FIRST_READ			= 0x76,
	VTD_FIRST_WRITE			= 0x77,
	VTD_SECOND_ACCESS		= 0x78,
	VTD_SECOND_RIGHTS		= 0x79,
	VTD_SECOND_RESERVED		= 0x7a,
	VTD_SECOND_ROOT			= 0x7b,
	VTD_SECOND_AD			= 0x7c,
	VTD_CANONICAL			= 0x80,
	VTD_USER			= 0x81,
	VTD_EXECUTE			= 0x82,
	VTD_BEYOND			= 0x83,
	VTD_NESTED_BEYOND		= 0x84,
	VTD_WRITE_RIGHT			= 0x85,
	VTD_INTERRUPT			= 0x87,
	VTD_FIRST_AD			= 0x90,
};

/* Requested accesses */
#define VTD_READ	BIT(0)
#define VTD_WRITE	BIT(1)
#define VTD_EXEC	BIT(2)
#define VTD_PRIV	BIT(3)		/* supervisor privilege */

#define VTD_NO_PASID	U32_MAX

/**
 * struct vtd_request - a DMA request of a device
 * @sid: requester ID
 * @pasid: PASID, or %VTD_NO_PASID
 * @addr: the address that it names
 * @access: VTD_READ, VTD_WRITE, VTD_EXEC, VTD_PRIV
 * @ats: the device translates the address by its own TLB or by a translation
 *	 request, instead of leaving it untranslated
 */
struct vtd_request {
	u16 sid;
	u32 pasid;
	u64 addr;
	unsigned int access;
	bool ats;
};

/**
 * struct vtd_answer - a possible result of a request
 * @fault: why it refuses, or %VTD_OK
 * @hpa: the host address that is accessed, if it does not refuse
 * @size: size in bytes of the page, as hardware has it cached
 * @gpa: nested: the guest address that the second stage refuses; 0 if a
 *	 cached translation lacks the access, as it is unknown then
 * @silent: the fault is not reported (FPD)
 */
struct vtd_answer {
	enum vtd_fault fault;
	u64 hpa;
	u64 gpa;
	u64 size;
	bool silent;
};

#define VTD_MAX_ANSWERS	16

/**
 * struct vtd_answers - all possible results of a request
 * @nr: number of results, which differ from each other
 * @answer: the results
 */
struct vtd_answers {
	unsigned int nr;
	struct vtd_answer answer[VTD_MAX_ANSWERS];
};

/**
 * struct vtd_hw - an IOMMU, as its registers describe it
 * @cap: Capability Register
 * @ecap: Extended Capability Register
 * @haw: host address width in bits
 * @rtaddr: Root Table Address Register; TTM selects legacy or scalable mode
 */
struct vtd_hw {
	u64 cap;
	u64 ecap;
	unsigned int haw;
	u64 rtaddr;
};

/* The machine: memory, as all IOMMUs see it, and errors of the software */
struct vtd_machine *vtd_machine_create(struct kunit *test);
void vtd_machine_between(struct vtd_machine *machine,
			 void (*between)(struct vtd_machine *machine, void *data),
			 void *data);
__printf(2, 3)
void vtd_report_error(struct vtd_machine *machine, const char *fmt, ...);
unsigned int vtd_errors(struct vtd_machine *machine);

/* IOMMUs, their devices, and addresses that the devices keep on using */
struct vtd_model *vtd_model_add(struct vtd_machine *machine, const void *iommu,
				const struct vtd_hw *hw);
struct vtd_model *vtd_model_find(struct vtd_machine *machine, const void *iommu);
void vtd_model_add_device(struct vtd_model *model, u16 sid, bool ats);
void vtd_model_set_global(struct vtd_model *model, u16 sid);
void vtd_model_watch(struct vtd_model *model, u16 sid, u32 pasid, u64 addr);
void vtd_model_unwatch(struct vtd_model *model);

/* Actions of the software that hardware can observe */
void vtd_stored(struct vtd_machine *machine);
void vtd_written_back(struct vtd_machine *machine, const void *addr, size_t size);
void vtd_submitted(struct vtd_machine *machine, const void *iommu,
		   const void *descs, unsigned int count);

/* Questions */
void vtd_ask(struct vtd_model *model, const struct vtd_request *req,
	     struct vtd_answers *answers);
void vtd_translate(struct vtd_model *model, const u64 *entry,
		   const struct vtd_request *req, struct vtd_answers *answers);
void vtd_expect_page(struct kunit *test, struct vtd_model *model,
		     const struct vtd_request *req, u64 hpa);
void vtd_expect_fault(struct kunit *test, struct vtd_model *model,
		      const struct vtd_request *req, enum vtd_fault fault);
void vtd_expect_gone(struct kunit *test, struct vtd_model *model,
		     const struct vtd_request *req);
void vtd_expect_stale(struct kunit *test, struct vtd_model *model,
		      const struct vtd_request *req, u64 hpa);
void vtd_expect_no_errors(struct kunit *test, struct vtd_machine *machine);

#endif /* _INTEL_IOMMU_VTD_MODEL_H */
