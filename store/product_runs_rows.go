package store

import (
	"cmp"
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

	TeamID     string
	Origin     string
	ScheduleID string
	RetryOf    string
	ParentID   string
	RootID     string
	Depth      int
	Approval   document[approvalDocument]

	RetentionDueAt stamp
	DataRemovedAt  stamp
	WaitingUntil   stamp
}

func (runRow) TableName() string { return "runs" }

// runColumns are the columns of runRow for statements in SQL text.
const runColumns = `id, org_id, key_id, agent_id, agent, version_id, version, image,
    status, reason, cause, message, labels, request, plan,
    created_at, queue_deadline, started_at, finished_at, input_size, output, log,
    cancel_requested_by, cancel_reason, cancel_grace_ns, cancel_force,
    cancel_signaled_at, cancel_terminated_at, cancel_gone_at, cancel_exit_code,
    last_event_seq, dispatch_due_at, user_id, cost_micros, cost_currency,
    team_id, origin, schedule_id, retry_of, parent_id, root_id, depth, approval, retention_due_at, data_removed_at, waiting_until`

// The stored shapes. Fields are added, never renamed or reused.
type (
	requestDocument struct {
		RunTimeoutNS   int64          `json:"run_timeout_ns,omitempty"`
		QueueTimeoutNS int64          `json:"queue_timeout_ns,omitempty"`
		MaxCost        amountDocument `json:"max_cost,omitzero"`
		CPUMillis      int64          `json:"cpu_millis,omitempty"`
		MemoryMiB      int64          `json:"memory_mib,omitempty"`
		DiskMiB        int64          `json:"disk_mib,omitempty"`
		Attempts       int            `json:"attempts,omitempty"`
		Priority       int            `json:"priority,omitempty"`
		Mode           string         `json:"mode,omitempty"`
		Version        string         `json:"version,omitempty"`
		VersionRule    string         `json:"version_rule,omitempty"`
	}
	approvalDocument struct {
		Why         string    `json:"why"`
		RequestedAt time.Time `json:"requested_at"`
		Deadline    time.Time `json:"deadline"`
		Decision    string    `json:"decision,omitempty"`
		DecidedBy   string    `json:"decided_by,omitempty"`
		Note        string    `json:"note,omitempty"`
		DecidedAt   time.Time `json:"decided_at,omitzero"`
		InputEdited bool      `json:"input_edited,omitempty"`
	}
	sourceDocument struct {
		Field  string `json:"field"`
		Rule   string `json:"rule"`
		Detail string `json:"detail,omitempty"`
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
		PublisherID    string            `json:"publisher_id,omitempty"`
		AgentAttempts  int               `json:"agent_attempts,omitempty"`
		Tools          []string          `json:"tools,omitempty"`
		Models         []string          `json:"models,omitempty"`
		Secrets        []string          `json:"secrets,omitempty"`
		SecretFiles    []string          `json:"secret_files,omitempty"`
		Egress         []string          `json:"egress,omitempty"`
		Tier           string            `json:"tier,omitempty"`
		Mode           string            `json:"mode,omitempty"`
		Approval       string            `json:"approval,omitempty"`
		KeepInputNS    int64             `json:"keep_input_ns,omitempty"`
		KeepOutputNS   int64             `json:"keep_output_ns,omitempty"`
		KeepLogNS      int64             `json:"keep_log_ns,omitempty"`
		Warm           int               `json:"warm,omitempty"`
		Sources        []sourceDocument  `json:"sources,omitempty"`
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
		Labels:    documentOf(labels),
		Request:   documentOf(documentFromRequest(r.Request)),
		Plan:      documentFromPlan(r.Plan),
		CreatedAt: at(r.CreatedAt), QueueDeadline: at(r.QueueDeadline),
		StartedAt: at(r.StartedAt), FinishedAt: at(r.FinishedAt),
		InputSize: r.InputSize, Output: documentFromBlob(r.Output), Log: documentFromBlob(r.Log),
		UserID: string(r.UserID), CostMicros: r.Cost.Micros, CostCurrency: r.Cost.Currency,
		TeamID: string(r.TeamID), Origin: string(cmp.Or(r.Origin.Kind, product.OriginAPI)),
		ScheduleID: string(r.Origin.ScheduleID), RetryOf: string(r.Origin.RetryOf),
		ParentID: string(r.Origin.ParentID), RootID: string(r.Origin.RootID), Depth: r.Origin.Depth,
		Approval:       documentFromApproval(r.Approval),
		RetentionDueAt: at(r.RetentionDueAt), DataRemovedAt: at(r.DataRemovedAt), WaitingUntil: at(r.WaitingUntil),
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
		Labels:    nilIfEmpty(maps.Clone(*r.Labels.value)),
		Request:   requestFromDocument(*r.Request.value),
		Plan:      planFromDocument(r.Plan),
		CreatedAt: r.CreatedAt.t, QueueDeadline: r.QueueDeadline.t, StartedAt: r.StartedAt.t, FinishedAt: r.FinishedAt.t,
		InputSize: r.InputSize, Output: blobFromDocument(r.Output), Log: blobFromDocument(r.Log),
		UserID: ids.User(r.UserID), Cost: money.Of(r.CostMicros, r.CostCurrency),
		TeamID: ids.Team(r.TeamID),
		Origin: product.Origin{
			Kind: product.OriginKind(r.Origin), ScheduleID: ids.Schedule(r.ScheduleID), RetryOf: ids.Run(r.RetryOf),
			ParentID: ids.Run(r.ParentID), RootID: ids.Run(r.RootID), Depth: r.Depth,
		},
		Approval:       approvalFromDocument(r.Approval),
		RetentionDueAt: r.RetentionDueAt.t, DataRemovedAt: r.DataRemovedAt.t, WaitingUntil: r.WaitingUntil.t,
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
	var sources []sourceDocument
	for _, s := range p.Sources {
		sources = append(sources, sourceDocument(s))
	}
	return documentOf(planDocument{
		AgentID: string(p.AgentID), VersionID: string(p.VersionID), Version: p.Version, Image: p.Image,
		Command: slices.Clone(p.Command), Env: maps.Clone(p.Env), EntitlementID: string(p.EntitlementID),
		PriceID: string(p.PriceID), Budget: amountDocument(p.Budget), BudgetBound: p.BudgetBound,
		CPUMillis: p.Resources.CPUMillis, MemoryMiB: p.Resources.MemoryMiB, DiskMiB: p.Resources.DiskMiB,
		QueueNS: int64(p.Deadlines.Queue), StartNS: int64(p.Deadlines.Start),
		RunNS: int64(p.Deadlines.Run), GraceNS: int64(p.Deadlines.Grace),
		MaxAttempts: p.MaxAttempts, MaxOutputBytes: p.MaxOutputBytes, MaxLogBytes: p.MaxLogBytes,
		PublisherID: string(p.PublisherID), AgentAttempts: p.AgentAttempts,
		Tools: slices.Clone(p.Tools), Models: slices.Clone(p.Models), Secrets: slices.Clone(p.Secrets), SecretFiles: slices.Clone(p.SecretFiles), Egress: slices.Clone(p.Egress),
		Tier: string(p.Tier), Mode: string(p.Mode), Approval: printable(p.Approval),
		KeepInputNS: int64(p.Retention.Input), KeepOutputNS: int64(p.Retention.Output), KeepLogNS: int64(p.Retention.Log),
		Warm:       p.Warm,
		Sources:    sources,
		ResolvedAt: at(p.ResolvedAt).t,
	})
}

func planFromDocument(d document[planDocument]) *product.Plan {
	if d.value == nil {
		return nil
	}
	p := *d.value
	var sources []product.Source
	for _, s := range p.Sources {
		sources = append(sources, product.Source(s))
	}
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
		PublisherID: ids.Org(p.PublisherID), AgentAttempts: p.AgentAttempts,
		Tools: slices.Clone(p.Tools), Models: slices.Clone(p.Models), Secrets: slices.Clone(p.Secrets), SecretFiles: slices.Clone(p.SecretFiles), Egress: slices.Clone(p.Egress),
		Tier: product.Tier(p.Tier), Mode: product.Mode(p.Mode), Approval: p.Approval,
		Retention: product.Retention{
			Input: time.Duration(p.KeepInputNS), Output: time.Duration(p.KeepOutputNS), Log: time.Duration(p.KeepLogNS),
		},
		Warm:       p.Warm,
		Sources:    sources,
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
	Node       string
	Log        document[blobDocument]
	ReportedAt stamp
}

func (attemptRow) TableName() string { return "run_attempts" }

func rowFromAttempt(run ids.Run, a product.Attempt) attemptRow {
	return attemptRow{
		RunID: string(run), Number: a.Number, Reason: string(a.Reason), Message: printable(a.Message),
		ExitCode: clone(a.ExitCode), CreatedAt: at(a.CreatedAt), StartedAt: at(a.StartedAt), FinishedAt: at(a.FinishedAt),
		Node: printable(a.Node), Log: documentFromBlob(a.Log), ReportedAt: at(a.ReportedAt),
	}
}

func attemptFromRow(r attemptRow) product.Attempt {
	return product.Attempt{
		Number: r.Number, Reason: product.Reason(r.Reason), Message: r.Message, ExitCode: clone(r.ExitCode),
		CreatedAt: r.CreatedAt.t, StartedAt: r.StartedAt.t, FinishedAt: r.FinishedAt.t,
		Node: r.Node, Log: blobFromDocument(r.Log), ReportedAt: r.ReportedAt.t,
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
