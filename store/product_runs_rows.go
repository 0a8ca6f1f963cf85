package store

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"agentmarket/ids"
	"agentmarket/money"
	"agentmarket/product"
)

type runRow struct {
	ID        string
	OrgID     string
	KeyID     string
	AgentID   string
	Agent     string
	VersionID string
	Version   string
	Image     string

	Status  string
	Reason  string
	Cause   string
	Message string
	Labels  document[map[string]string]
	Request document[requestDocument]
	Plan    document[planDocument]

	CreatedAt     stamp
	QueueDeadline stamp
	StartedAt     stamp
	FinishedAt    stamp

	InputSize int64
	Output    document[blobDocument]
	Log       document[blobDocument]

	CancelRequestedBy  string
	CancelReason       string
	CancelGraceNS      *int64 `gorm:"column:cancel_grace_ns"`
	CancelForce        bool
	CancelSignaledAt   stamp // not null: a cancel was requested
	CancelTerminatedAt stamp
	CancelGoneAt       stamp
	CancelExitCode     *int

	// LastEventSeq is the number of the run's newest event. Whoever holds the
	// lock on the row may give out the next ones; so they have no gaps.
	LastEventSeq int64
	// DispatchDueAt is when the workflow engine has to be told of the run; null
	// while it knows everything.
	DispatchDueAt stamp
	UserID        string // empty: a program
	CostMicros    int64
	CostCurrency  string
}

func (runRow) TableName() string { return "runs" }

// runColumns are the columns of runRow for statements in SQL text.
const runColumns = `id, org_id, key_id, agent_id, agent, version_id, version, image,
    status, reason, cause, message, labels, request, plan,
    created_at, queue_deadline, started_at, finished_at, input_size, output, log,
    cancel_requested_by, cancel_reason, cancel_grace_ns, cancel_force,
    cancel_signaled_at, cancel_terminated_at, cancel_gone_at, cancel_exit_code,
    last_event_seq, dispatch_due_at, user_id, cost_micros, cost_currency`

// The stored shapes. Fields are added, never renamed or reused.
type (
	requestDocument struct {
		RunTimeoutNS   int64          `json:"run_timeout_ns,omitempty"`
		QueueTimeoutNS int64          `json:"queue_timeout_ns,omitempty"`
		MaxCost        amountDocument `json:"max_cost,omitzero"`
	}
	amountDocument struct {
		Micros   int64  `json:"micros"`
		Currency string `json:"currency"`
	}
	blobDocument struct {
		Key       string `json:"key"`
		Size      int64  `json:"size"`
		SHA256    string `json:"sha256"`
		Truncated bool   `json:"truncated,omitempty"`
	}
	planDocument struct {
		AgentID        string            `json:"agent_id"`
		VersionID      string            `json:"version_id"`
		Version        string            `json:"version"`
		Image          string            `json:"image"`
		Command        []string          `json:"command"`
		Env            map[string]string `json:"env,omitempty"`
		EntitlementID  string            `json:"entitlement_id"`
		PriceID        string            `json:"price_id,omitempty"`
		Budget         amountDocument    `json:"budget,omitzero"`
		BudgetBound    bool              `json:"budget_bound,omitempty"`
		CPUMillis      int64             `json:"cpu_millis"`
		MemoryMiB      int64             `json:"memory_mib"`
		DiskMiB        int64             `json:"disk_mib"`
		QueueNS        int64             `json:"queue_ns"`
		StartNS        int64             `json:"start_ns"`
		RunNS          int64             `json:"run_ns"`
		GraceNS        int64             `json:"grace_ns"`
		MaxAttempts    int               `json:"max_attempts"`
		MaxOutputBytes int64             `json:"max_output_bytes"`
		MaxLogBytes    int64             `json:"max_log_bytes"`
		ResolvedAt     time.Time         `json:"resolved_at"`
	}
)

func rowFromRun(r product.Run) (runRow, error) {
	labels := map[string]string{}
	maps.Copy(labels, r.Labels)
	row := runRow{
		ID: string(r.ID), OrgID: string(r.OrgID), KeyID: string(r.KeyID),
		AgentID: string(r.AgentID), Agent: r.Agent,
		VersionID: string(r.VersionID), Version: r.Version, Image: r.Image,
		Status: string(r.Status), Reason: string(r.Reason), Cause: string(r.Cause), Message: printable(r.Message),
		Labels: documentOf(labels),
		Request: documentOf(requestDocument{
			RunTimeoutNS: int64(r.Request.RunTimeout), QueueTimeoutNS: int64(r.Request.QueueTimeout),
			MaxCost: amountDocument(r.Request.MaxCost),
		}),
		Plan:      documentFromPlan(r.Plan),
		CreatedAt: at(r.CreatedAt), QueueDeadline: at(r.QueueDeadline),
		StartedAt: at(r.StartedAt), FinishedAt: at(r.FinishedAt),
		InputSize: r.InputSize, Output: documentFromBlob(r.Output), Log: documentFromBlob(r.Log),
		UserID: string(r.UserID), CostMicros: r.Cost.Micros, CostCurrency: r.Cost.Currency,
	}
	if c := r.Cancel; c != nil {
		if c.SignaledAt.IsZero() {
			return runRow{}, fmt.Errorf("store run %s: a request to cancel has no time", r.ID)
		}
		row.CancelRequestedBy, row.CancelReason = printable(c.RequestedBy), printable(c.Reason)
		row.CancelGraceNS, row.CancelForce = clone((*int64)(c.Grace)), c.Force
		row.CancelSignaledAt, row.CancelTerminatedAt, row.CancelGoneAt = at(c.SignaledAt), at(c.TerminatedAt), at(c.GoneAt)
		row.CancelExitCode = clone(c.ExitCode)
	}
	return row, nil
}

func runFromRow(r runRow, attempts []attemptRow) (product.Run, error) {
	if r.Labels.value == nil || r.Request.value == nil {
		return product.Run{}, fmt.Errorf("load run %s: labels or request are missing", r.ID)
	}
	run := product.Run{
		ID: ids.Run(r.ID), OrgID: ids.Org(r.OrgID), KeyID: ids.Key(r.KeyID),
		AgentID: ids.Agent(r.AgentID), Agent: r.Agent,
		VersionID: ids.Version(r.VersionID), Version: r.Version, Image: r.Image,
		Status: product.Status(r.Status), Reason: product.Reason(r.Reason), Cause: product.Cause(r.Cause), Message: r.Message,
		Labels: nilIfEmpty(maps.Clone(*r.Labels.value)),
		Request: product.Request{
			RunTimeout:   time.Duration(r.Request.value.RunTimeoutNS),
			QueueTimeout: time.Duration(r.Request.value.QueueTimeoutNS),
			MaxCost:      money.Amount(r.Request.value.MaxCost),
		},
		Plan:      planFromDocument(r.Plan),
		CreatedAt: r.CreatedAt.t, QueueDeadline: r.QueueDeadline.t, StartedAt: r.StartedAt.t, FinishedAt: r.FinishedAt.t,
		InputSize: r.InputSize, Output: blobFromDocument(r.Output), Log: blobFromDocument(r.Log),
		UserID: ids.User(r.UserID), Cost: money.Of(r.CostMicros, r.CostCurrency),
	}
	if !r.CancelSignaledAt.t.IsZero() {
		run.Cancel = &product.Cancel{
			RequestedBy: r.CancelRequestedBy, Reason: r.CancelReason,
			Grace: clone((*time.Duration)(r.CancelGraceNS)), Force: r.CancelForce,
			SignaledAt: r.CancelSignaledAt.t, TerminatedAt: r.CancelTerminatedAt.t, GoneAt: r.CancelGoneAt.t,
			ExitCode: clone(r.CancelExitCode),
		}
	}
	for _, a := range attempts {
		run.Attempts = append(run.Attempts, attemptFromRow(a))
	}
	return run, nil
}

// runsFromRows maps a page of runs, without attempts.
func runsFromRows(rows []runRow) ([]product.Run, error) {
	runs := make([]product.Run, len(rows))
	for i, row := range rows {
		var err error
		if runs[i], err = runFromRow(row, nil); err != nil {
			return nil, err
		}
	}
	return runs, nil
}

func documentFromPlan(p *product.Plan) document[planDocument] {
	if p == nil {
		return document[planDocument]{}
	}
	return documentOf(planDocument{
		AgentID: string(p.AgentID), VersionID: string(p.VersionID), Version: p.Version, Image: p.Image,
		Command: slices.Clone(p.Command), Env: maps.Clone(p.Env), EntitlementID: string(p.EntitlementID),
		PriceID: string(p.PriceID), Budget: amountDocument(p.Budget), BudgetBound: p.BudgetBound,
		CPUMillis: p.Resources.CPUMillis, MemoryMiB: p.Resources.MemoryMiB, DiskMiB: p.Resources.DiskMiB,
		QueueNS: int64(p.Deadlines.Queue), StartNS: int64(p.Deadlines.Start),
		RunNS: int64(p.Deadlines.Run), GraceNS: int64(p.Deadlines.Grace),
		MaxAttempts: p.MaxAttempts, MaxOutputBytes: p.MaxOutputBytes, MaxLogBytes: p.MaxLogBytes,
		ResolvedAt: at(p.ResolvedAt).t,
	})
}

func planFromDocument(d document[planDocument]) *product.Plan {
	if d.value == nil {
		return nil
	}
	p := *d.value
	return &product.Plan{
		AgentID: ids.Agent(p.AgentID), VersionID: ids.Version(p.VersionID), Version: p.Version, Image: p.Image,
		Command: slices.Clone(p.Command), Env: nilIfEmpty(maps.Clone(p.Env)), EntitlementID: ids.Entitlement(p.EntitlementID),
		PriceID: ids.Price(p.PriceID), Budget: money.Amount(p.Budget), BudgetBound: p.BudgetBound,
		Resources: product.Resources{CPUMillis: p.CPUMillis, MemoryMiB: p.MemoryMiB, DiskMiB: p.DiskMiB},
		Deadlines: product.Deadlines{
			Queue: time.Duration(p.QueueNS), Start: time.Duration(p.StartNS),
			Run: time.Duration(p.RunNS), Grace: time.Duration(p.GraceNS),
		},
		MaxAttempts: p.MaxAttempts, MaxOutputBytes: p.MaxOutputBytes, MaxLogBytes: p.MaxLogBytes,
		ResolvedAt: at(p.ResolvedAt).t,
	}
}

func documentFromBlob(b *product.Blob) document[blobDocument] {
	if b == nil {
		return document[blobDocument]{}
	}
	return documentOf(blobDocument(*b))
}

func blobFromDocument(d document[blobDocument]) *product.Blob {
	return (*product.Blob)(clone(d.value))
}

type attemptRow struct {
	RunID      string `gorm:"primaryKey"`
	Number     int    `gorm:"primaryKey;autoIncrement:false"`
	Reason     string
	Message    string
	ExitCode   *int
	CreatedAt  stamp
	StartedAt  stamp
	FinishedAt stamp
}

func (attemptRow) TableName() string { return "run_attempts" }

func rowFromAttempt(run ids.Run, a product.Attempt) attemptRow {
	return attemptRow{
		RunID: string(run), Number: a.Number, Reason: string(a.Reason), Message: printable(a.Message),
		ExitCode: clone(a.ExitCode), CreatedAt: at(a.CreatedAt), StartedAt: at(a.StartedAt), FinishedAt: at(a.FinishedAt),
	}
}

func attemptFromRow(r attemptRow) product.Attempt {
	return product.Attempt{
		Number: r.Number, Reason: product.Reason(r.Reason), Message: r.Message, ExitCode: clone(r.ExitCode),
		CreatedAt: r.CreatedAt.t, StartedAt: r.StartedAt.t, FinishedAt: r.FinishedAt.t,
	}
}

type eventRow struct {
	RunID   string `gorm:"primaryKey"`
	Seq     int64  `gorm:"primaryKey;autoIncrement:false"`
	Type    string
	At      stamp
	Attempt int
	Message string
}

func (eventRow) TableName() string { return "run_events" }

// rowFromEvent numbers an event; its own RunID and Seq do not count.
func rowFromEvent(run string, seq int64, e product.Event) eventRow {
	return eventRow{RunID: run, Seq: seq, Type: string(e.Type), At: at(e.At), Attempt: e.Attempt, Message: printable(e.Message)}
}

func eventFromRow(r eventRow) product.Event {
	return product.Event{
		RunID: ids.Run(r.RunID), Seq: r.Seq, Type: product.EventType(r.Type),
		At: r.At.t, Attempt: r.Attempt, Message: r.Message,
	}
}

type inputRow struct {
	RunID string `gorm:"primaryKey"`
	Body  []byte
}

func (inputRow) TableName() string { return "run_inputs" }

type idempotencyKeyRow struct {
	OrgID       string `gorm:"primaryKey"`
	Key         string `gorm:"primaryKey"`
	Fingerprint string
	RunID       string
	CreatedAt   stamp
}

func (idempotencyKeyRow) TableName() string { return "idempotency_keys" }
