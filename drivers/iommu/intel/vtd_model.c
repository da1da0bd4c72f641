// SPDX-License-Identifier: GPL-2.0-only
/*
 * A model of VT-d hardware: see vtd_model.h.
 *
 * This part connects the others. Devices keep using the addresses that a test
 * watches, so between any two steps of the software, hardware reads everything
 * that is visible, and caches it.
 */

#include <kunit/test.h>
#include <linux/printk.h>
#include <linux/slab.h>

#include "vtd_model_hw.h"

#define MAX_ERRORS	8

static void machine_free(void *data)
{
	struct vtd_machine *machine = data;
	unsigned int i;

	for (i = 0; i < machine->nr_models; i++)
		kvfree(machine->models[i]);
	vtd_memory_free(machine);
}

/**
 * vtd_machine_create() - memory without any IOMMU
 * @test: the test, which frees it at its end
 *
 * Return: the machine.
 */
struct vtd_machine *vtd_machine_create(struct kunit *test)
{
	struct vtd_machine *machine;

	machine = kunit_kzalloc(test, sizeof(*machine), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, machine);
	machine->test = test;
	xa_init(&machine->written_back);
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, machine_free, machine));

	return machine;
}

/**
 * vtd_machine_between() - register a check after every store
 * @machine: the machine
 * @between: called when software has stored 8 bytes of an entry, and hardware
 *	     has seen it; may call vtd_ask(), must not sleep. NULL to stop.
 * @data: for @between
 */
void vtd_machine_between(struct vtd_machine *machine,
			 void (*between)(struct vtd_machine *machine, void *data),
			 void *data)
{
	machine->between = between;
	machine->between_data = data;
}

/**
 * vtd_report_error() - report an error of the software
 * @machine: the machine
 * @fmt: description
 *
 * Context: any. vtd_expect_no_errors() fails the test.
 */
void vtd_report_error(struct vtd_machine *machine, const char *fmt, ...)
{
	struct va_format vaf;
	va_list args;

	va_start(args, fmt);
	vaf.fmt = fmt;
	vaf.va = &args;
	/* Print only the first ones. */
	if (machine->errors++ < MAX_ERRORS)
		kunit_err(machine->test, "%pV\n", &vaf);
	va_end(args);
}

/**
 * vtd_errors() - number of errors since the last call
 * @machine: the machine
 *
 * Return: the number.
 */
unsigned int vtd_errors(struct vtd_machine *machine)
{
	unsigned int n = machine->errors;

	machine->errors = 0;
	return n;
}

/**
 * vtd_model_add() - add an IOMMU
 * @machine: the machine
 * @iommu: the software's structure for it
 * @hw: its registers
 *
 * Return: the IOMMU.
 */
struct vtd_model *vtd_model_add(struct vtd_machine *machine, const void *iommu,
				const struct vtd_hw *hw)
{
	struct kunit *test = machine->test;
	struct vtd_model *model;

	KUNIT_ASSERT_LT(test, machine->nr_models, VTD_MAX_MODELS);
	model = kvzalloc(sizeof(*model), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, model);
	machine->models[machine->nr_models++] = model;
	model->machine = machine;
	model->iommu = iommu;
	model->hw = *hw;

	return model;
}

/**
 * vtd_model_find() - find an IOMMU
 * @machine: the machine
 * @iommu: the software's structure for it
 *
 * Return: the IOMMU or NULL.
 */
struct vtd_model *vtd_model_find(struct vtd_machine *machine, const void *iommu)
{
	unsigned int i;

	for (i = 0; i < machine->nr_models; i++) {
		if (machine->models[i]->iommu == iommu)
			return machine->models[i];
	}

	return NULL;
}

/**
 * vtd_model_add_device() - add a device
 * @model: the IOMMU that it is behind
 * @sid: requester ID
 * @ats: it has a TLB and uses it
 */
void vtd_model_add_device(struct vtd_model *model, u16 sid, bool ats)
{
	KUNIT_ASSERT_LT(model->machine->test, model->nr_devices, VTD_MAX_DEVICES);
	model->devices[model->nr_devices].sid = sid;
	model->devices[model->nr_devices++].ats = ats;
}

/**
 * vtd_model_set_global() - make a device support Global Invalidate
 * @model: the IOMMU that it is behind
 * @sid: requester ID
 *
 * Other devices ignore the bit that requests it (PCIe 10.3.8).
 */
void vtd_model_set_global(struct vtd_model *model, u16 sid)
{
	unsigned int i;

	for (i = 0; i < model->nr_devices; i++) {
		if (model->devices[i].sid == sid)
			model->devices[i].global = true;
	}
}

static bool vtd_model_has_ats(const struct vtd_model *model, u16 sid)
{
	unsigned int i;

	for (i = 0; i < model->nr_devices; i++) {
		if (model->devices[i].sid == sid)
			return model->devices[i].ats;
	}

	return false;
}

/**
 * vtd_model_watch() - make a device keep using an address
 * @model: the IOMMU
 * @sid: requester ID
 * @pasid: PASID or %VTD_NO_PASID
 * @addr: the address
 */
void vtd_model_watch(struct vtd_model *model, u16 sid, u32 pasid, u64 addr)
{
	struct vtd_request *req;
	unsigned int i;

	for (i = 0; i < model->nr_watched; i++) {
		req = &model->watched[i];
		if (req->sid == sid && req->pasid == pasid && req->addr == addr)
			return;
	}

	if (model->nr_watched == VTD_MAX_WATCHED) {
		vtd_report_error(model->machine, "too many addresses to watch");
		return;
	}

	req = &model->watched[model->nr_watched++];
	*req = (struct vtd_request) {
		.sid = sid,
		.pasid = pasid,
		.addr = addr,
		.access = VTD_READ,
		.ats = vtd_model_has_ats(model, sid),
	};
	vtd_stored(model->machine);
}

/**
 * vtd_model_unwatch() - devices stop using the addresses
 * @model: the IOMMU; what it has cached stays
 */
void vtd_model_unwatch(struct vtd_model *model)
{
	model->nr_watched = 0;
}

/* Devices use their addresses, and hardware caches what it reads. */
static void run_devices(struct vtd_model *model)
{
	struct vtd_answers answers;
	unsigned int i;

	for (i = 0; i < model->nr_watched; i++) {
		struct vtd_request req = model->watched[i];

		vtd_walk(model, &req, true, &answers);
		/*
		 * A device with a TLB may make untranslated requests as well.
		 */
		if (!req.ats)
			continue;
		req.ats = false;
		vtd_walk(model, &req, true, &answers);
	}
}

/**
 * vtd_stored() - the software has stored something that hardware can see
 * @machine: the machine
 *
 * Context: any.
 */
void vtd_stored(struct vtd_machine *machine)
{
	unsigned int i;

	/* Walks through random tables may take too long. */
	if (machine->errors >= MAX_ERRORS)
		return;

	for (i = 0; i < machine->nr_models; i++)
		run_devices(machine->models[i]);

	if (!machine->between || machine->busy)
		return;
	machine->busy = true;
	machine->between(machine, machine->between_data);
	machine->busy = false;
}

/**
 * vtd_written_back() - the software has written caches of the CPU back
 * @machine: the machine
 * @addr: what was written back
 * @size: bytes
 *
 * Context: any.
 */
void vtd_written_back(struct vtd_machine *machine, const void *addr, size_t size)
{
	/* Until it is written back, hardware may or may not see it. */
	vtd_stored(machine);
	vtd_memory_write_back(machine, addr, size);
	vtd_stored(machine);
}

/**
 * vtd_submitted() - the software has submitted invalidation descriptors
 * @machine: the machine
 * @iommu: the software's structure for the IOMMU
 * @descs: descriptors of 256 bits
 * @count: how many
 *
 * Context: any.
 */
void vtd_submitted(struct vtd_machine *machine, const void *iommu,
		   const void *descs, unsigned int count)
{
	struct vtd_model *model = vtd_model_find(machine, iommu);
	const u64 *desc = descs;
	unsigned int i;

	if (!model) {
		vtd_report_error(machine, "descriptors for an IOMMU that is not there");
		return;
	}

	/* Between any two of them hardware caches what it can still see. */
	vtd_stored(machine);
	for (i = 0; i < count; i++) {
		vtd_execute(model, desc + 4 * i);
		vtd_stored(machine);
	}
}

/**
 * vtd_ask() - find all possible results of a request
 * @model: the IOMMU
 * @req: the request
 * @answers: all possible results
 *
 * Context: any.
 */
void vtd_ask(struct vtd_model *model, const struct vtd_request *req,
	     struct vtd_answers *answers)
{
	vtd_walk(model, req, false, answers);
}

static void print_answers(struct kunit *test, const struct vtd_request *req,
			  const struct vtd_answers *answers)
{
	unsigned int i;

	kunit_err(test, "requester %#x PASID %#x address %#llx access %#x%s can give\n",
		  req->sid, req->pasid, req->addr, req->access,
		  req->ats ? " translated" : "");
	for (i = 0; i < answers->nr; i++) {
		const struct vtd_answer *a = &answers->answer[i];

		if (a->fault)
			kunit_err(test, "  fault %#x%s\n", a->fault,
				  a->silent ? ", not reported" : "");
		else
			kunit_err(test, "  page %#llx of %#llx bytes\n", a->hpa, a->size);
	}
}

static bool answer_is(const struct vtd_answer *answer, enum vtd_fault fault, u64 hpa)
{
	return answer->fault == fault && (fault || answer->hpa == hpa);
}

static void expect_only(struct kunit *test, struct vtd_model *model,
			const struct vtd_request *req, enum vtd_fault fault, u64 hpa)
{
	struct vtd_answers answers;
	unsigned int i, wrong = 0;

	vtd_ask(model, req, &answers);
	for (i = 0; i < answers.nr; i++)
		wrong += !answer_is(&answers.answer[i], fault, hpa);
	if (answers.nr && !wrong)
		return;

	print_answers(test, req, &answers);
	if (fault)
		KUNIT_FAIL(test, "expected fault %#x and nothing else", fault);
	else
		KUNIT_FAIL(test, "expected page %#llx and nothing else", hpa);
}

/**
 * vtd_expect_page() - expect that hardware can only translate to this address
 * @test: the test
 * @model: the IOMMU
 * @req: the request
 * @hpa: the host address
 */
void vtd_expect_page(struct kunit *test, struct vtd_model *model,
		     const struct vtd_request *req, u64 hpa)
{
	expect_only(test, model, req, VTD_OK, hpa);
}

/**
 * vtd_expect_fault() - expect that hardware can only refuse for this reason
 * @test: the test
 * @model: the IOMMU
 * @req: the request
 * @fault: the reason
 */
void vtd_expect_fault(struct kunit *test, struct vtd_model *model,
		      const struct vtd_request *req, enum vtd_fault fault)
{
	expect_only(test, model, req, fault, 0);
}

/**
 * vtd_expect_gone() - expect that hardware can only refuse, for any reason
 * @test: the test
 * @model: the IOMMU
 * @req: the request
 */
void vtd_expect_gone(struct kunit *test, struct vtd_model *model,
		     const struct vtd_request *req)
{
	struct vtd_answers answers;
	unsigned int i, wrong = 0;

	vtd_ask(model, req, &answers);
	for (i = 0; i < answers.nr; i++)
		wrong += !answers.answer[i].fault;
	if (answers.nr && !wrong)
		return;

	print_answers(test, req, &answers);
	KUNIT_FAIL(test, "expected that nothing is translated");
}

/**
 * vtd_expect_stale() - expect that hardware may still translate to this address
 * @test: the test
 * @model: the IOMMU
 * @req: the request
 * @hpa: the host address
 */
void vtd_expect_stale(struct kunit *test, struct vtd_model *model,
		      const struct vtd_request *req, u64 hpa)
{
	struct vtd_answers answers;
	unsigned int i;

	vtd_ask(model, req, &answers);
	for (i = 0; i < answers.nr; i++) {
		if (answer_is(&answers.answer[i], VTD_OK, hpa))
			return;
	}

	print_answers(test, req, &answers);
	KUNIT_FAIL(test, "expected that page %#llx is still cached", hpa);
}

/**
 * vtd_expect_no_errors() - expect that the model has found no error
 * @test: the test
 * @machine: the machine
 */
void vtd_expect_no_errors(struct kunit *test, struct vtd_machine *machine)
{
	KUNIT_EXPECT_EQ(test, 0, vtd_errors(machine));
}
