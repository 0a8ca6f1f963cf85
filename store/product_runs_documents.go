package store

import (
	"time"

	"agentmarket/money"
	"agentmarket/product"
)

func documentFromRequest(r product.Request) requestDocument {
	return requestDocument{
		RunTimeoutNS: int64(r.RunTimeout), QueueTimeoutNS: int64(r.QueueTimeout), MaxCost: amountDocument(r.MaxCost),
		CPUMillis: r.Resources.CPUMillis, MemoryMiB: r.Resources.MemoryMiB, DiskMiB: r.Resources.DiskMiB,
		Attempts: r.Attempts, Priority: r.Priority, Mode: string(r.Mode), Version: r.Version, VersionRule: r.VersionRule,
	}
}

func requestFromDocument(d requestDocument) product.Request {
	return product.Request{
		RunTimeout: time.Duration(d.RunTimeoutNS), QueueTimeout: time.Duration(d.QueueTimeoutNS), MaxCost: money.Amount(d.MaxCost),
		Resources: product.Resources{CPUMillis: d.CPUMillis, MemoryMiB: d.MemoryMiB, DiskMiB: d.DiskMiB},
		Attempts:  d.Attempts, Priority: d.Priority, Mode: product.Mode(d.Mode), Version: d.Version, VersionRule: d.VersionRule,
	}
}

func documentFromApproval(a *product.Approval) document[approvalDocument] {
	if a == nil {
		return document[approvalDocument]{}
	}
	return documentOf(approvalDocument{
		Why: printable(a.Why), RequestedAt: at(a.RequestedAt).t, Deadline: at(a.Deadline).t,
		Decision: string(a.Decision), DecidedBy: printable(a.DecidedBy), Note: printable(a.Note),
		DecidedAt: at(a.DecidedAt).t, InputEdited: a.InputEdited,
	})
}

func approvalFromDocument(d document[approvalDocument]) *product.Approval {
	if d.value == nil {
		return nil
	}
	a := *d.value
	return &product.Approval{
		Why: a.Why, RequestedAt: a.RequestedAt, Deadline: a.Deadline, Decision: product.Decision(a.Decision),
		DecidedBy: a.DecidedBy, Note: a.Note, DecidedAt: a.DecidedAt, InputEdited: a.InputEdited,
	}
}
