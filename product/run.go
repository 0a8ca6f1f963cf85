package product

import (
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"time"

	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/infra"
	"agentmarket/money"
)

// Run is the execution record of one invocation of an agent.
type Run struct {
	ID      ids.Run
	OrgID   ids.Org  // the buyer: who started it and who may see it
	KeyID   ids.Key  // the API key that started it
	UserID  ids.User // the person behind the key; empty for a program
	TeamID  ids.Team // for which the person started it; empty: for none
	AgentID ids.Agent
	Agent   string // publisher/name at the time of the start

	// VersionID and Version are pinned when the run is created: a newer
	// version that is published while the run waits does not change it.
	VersionID ids.Version
	Version   string
	Image     string

	Status   Status
	Reason   Reason // empty until it ended
	Cause    Cause
	Message  string
	Labels   map[string]string
	Origin   Origin
	Request  Request
	Plan     *Plan        // nil until resolved
	Approval *Approval    // nil: none was asked for
	Cost     money.Amount // what was charged, set at settlement

	CreatedAt     time.Time
	QueueDeadline time.Time // after it the run expires instead of starting
	StartedAt     time.Time // of the agent's process, first attempt that started
	FinishedAt    time.Time

	InputSize int64
	Output    *Blob   // nil without a result
	Log       *Blob   // nil until archived
	Cancel    *Cancel // nil without a request
	Attempts  []Attempt

	// WaitingUntil is until when the agent waits for a person, at the latest; zero: it
	// does not, or what it asked was answered.
	WaitingUntil time.Time

	// Webhook is told of this run alone. It is stored with the run and not loaded
	// with it: see WebhookStore.
	Webhook *Endpoint

	// RetentionDueAt is when the next body of the run is to be removed; zero: not
	// ended yet, or nothing left to remove. DataRemovedAt is when the last one was.
	RetentionDueAt time.Time
	DataRemovedAt  time.Time
}

// Blob is a body in the blob store.
type Blob struct {
	Key    string
	Size   int64
	SHA256 string // hex
	// Truncated says that the body was longer than what is kept.
	Truncated bool
}

// LogKey is where the log of an attempt is kept.
func LogKey(run ids.Run, attempt int) string {
	return fmt.Sprintf("runs/%s/attempts/%d/%s", run, attempt, timedLog)
}

// timedLog is the name of a log whose lines begin with their times. Older ones are
// text alone.
const timedLog = "timed-log.txt"

// Timed reports whether the body is a log whose lines begin with their times.
func (b Blob) Timed() bool { return path.Base(b.Key) == timedLog }

// Attempt is one try to execute the run.
type Attempt struct {
	Number     int // from 1
	Reason     Reason
	Message    string
	ExitCode   *int
	CreatedAt  time.Time
	StartedAt  time.Time
	FinishedAt time.Time
	Node       string // of the cluster, where it was to run; for operators
	Log        *Blob  // nil until archived
	// ReportedAt is when the supervisor told the gateway of the end; zero: it did not.
	ReportedAt time.Time
}

// Cancel is the request to cancel a run and the proof that it was carried out.
type Cancel struct {
	RequestedBy string // an API key, or the name of an operator's tool
	Reason      string
	Grace       *time.Duration // nil: the plan's
	Force       bool           // no grace at all

	SignaledAt   time.Time // when the request was accepted; metering stops here
	TerminatedAt time.Time // the end of the agent's process; zero: never ran
	GoneAt       time.Time // nothing of the run is left in the cluster
	ExitCode     *int
}

// Event is an entry of a run's append-only log. Sequence numbers start at 1 and
// have no gaps within a run.
type Event struct {
	RunID   ids.Run
	Seq     int64
	Type    EventType
	At      time.Time
	Attempt int    // 0 where it belongs to no attempt
	Message string // for people
	// Data is a JSON value that the agent gave along; nil: none.
	Data json.RawMessage
}

// EventType names what happened.
type EventType string

// The events of a run's life.
const (
	EventCreated           EventType = "created"
	EventPlanned           EventType = "planned"
	EventApprovalRequested EventType = "approval_requested"
	EventApproved          EventType = "approved"
	EventDenied            EventType = "denied"
	EventQueued            EventType = "queued" // waits for a slot
	EventDataRemoved       EventType = "data_removed"
	EventAttemptCreated    EventType = "attempt_created"
	EventAttemptStarted    EventType = "attempt_started"
	EventAttemptEnded      EventType = "attempt_ended"
	EventCancelRequested   EventType = "cancel_requested"
	EventEnded             EventType = "ended"

	// What agents tell of their work.
	EventAgentProgress EventType = "agent_progress"
	EventAgentNote     EventType = "agent_note"

	// What the gateway says of the connections that agents make through it: for each an
	// event when it begins and one when it ends, or one when it is refused.
	EventEgressBegan   EventType = "egress_began"
	EventEgressEnded   EventType = "egress_ended"
	EventEgressRefused EventType = "egress_refused"

	// EventToolCall is a call of a tool that has ended, as the gateway saw it.
	EventToolCall EventType = "tool_call"
	// What people are asked about calls of tools, and what they decide.
	EventToolApprovalRequested EventType = "tool_approval_requested"
	EventToolApproved          EventType = "tool_approved"
	EventToolDenied            EventType = "tool_denied"
)

// FromSession reports whether events of the type come from what an attempt does while it
// goes on. What they say is removed with the output of the run, for they may have words
// of the agent.
func (t EventType) FromSession() bool {
	switch t {
	case EventAgentProgress, EventAgentNote, EventEgressBegan, EventEgressEnded, EventEgressRefused, EventToolCall:
		return true
	default:
		return false
	}
}

// AttemptIndex returns the index of an attempt, or -1.
func (r *Run) AttemptIndex(number int) int {
	for i := range r.Attempts {
		if r.Attempts[i].Number == number {
			return i
		}
	}
	return -1
}

// The methods below are the only writers of a run's state. Each returns the
// event that describes the change; nil says that it was made before and nothing
// is to be stored. All of them may run more than once.

// Planned stores the plan. A run keeps its first plan.
func (r *Run) Planned(p Plan, now time.Time) *Event {
	if r.Plan != nil || r.Status.Terminal() {
		return nil
	}
	r.Plan = &p
	return &Event{Type: EventPlanned, At: now, Message: "plan resolved: version " + p.Version}
}

// BeginAttempt opens attempt number n. fault.Conflict with the code run_state
// when the run is past the point where an attempt may begin.
func (r *Run) BeginAttempt(n int, now time.Time) (*Event, error) {
	if r.AttemptIndex(n) >= 0 {
		return nil, nil
	}
	if r.Status != StatusStarting {
		if err := r.Status.mayBecome(StatusStarting); err != nil {
			return nil, err
		}
		r.Status = StatusStarting
	}
	r.stopWaiting()
	r.Attempts = append(r.Attempts, Attempt{Number: n, CreatedAt: now})
	return &Event{Type: EventAttemptCreated, At: now, Attempt: n}, nil
}

// AttemptStarted records that the agent's process of an attempt runs.
func (r *Run) AttemptStarted(n int, at time.Time) *Event {
	i := r.AttemptIndex(n)
	if i < 0 || i != len(r.Attempts)-1 || !r.Attempts[i].StartedAt.IsZero() ||
		r.Attempts[i].Reason != "" || r.Status.Terminal() {
		return nil
	}
	r.Attempts[i].StartedAt = at
	if r.StartedAt.IsZero() {
		r.StartedAt = at
	}
	if r.Status == StatusStarting {
		r.Status = StatusRunning
	}
	return &Event{Type: EventAttemptStarted, At: at, Attempt: n}
}

// End is how an attempt ended.
type End struct {
	Reason     Reason
	Message    string
	ExitCode   *int
	StartedAt  time.Time
	FinishedAt time.Time
	Node       string
	Log        *Blob
}

// AttemptEnded records the end of an attempt. A run that has ended keeps its
// attempts as they are.
func (r *Run) AttemptEnded(n int, end End, now time.Time) *Event {
	i := r.AttemptIndex(n)
	if i < 0 || r.Attempts[i].Reason != "" || r.Status.Terminal() {
		return nil
	}
	r.stopWaiting()
	a := &r.Attempts[i]
	a.Reason, a.Message, a.ExitCode, a.FinishedAt = end.Reason, end.Message, end.ExitCode, end.FinishedAt
	a.Node = end.Node
	if end.Log != nil {
		a.Log = end.Log
	}
	if a.FinishedAt.IsZero() {
		a.FinishedAt = now
	}
	if a.StartedAt.IsZero() {
		a.StartedAt = end.StartedAt
	}
	if r.StartedAt.IsZero() {
		r.StartedAt = end.StartedAt
	}
	return &Event{Type: EventAttemptEnded, At: now, Attempt: n, Message: string(end.Reason)}
}

// Ref names an attempt of the run to the Infra Control Plane.
func (r *Run) Ref(attempt int) infra.Ref {
	return infra.Ref{Run: r.ID, Attempt: attempt, Org: r.OrgID, Sandboxed: r.Plan != nil && r.Plan.Tier == TierSandboxed}
}

// BadNodes are the nodes at which an attempt failed by the node's fault.
func (r *Run) BadNodes() []string {
	var nodes []string
	for _, a := range r.Attempts {
		if a.Node != "" && nodeFaults[a.Reason] && !slices.Contains(nodes, a.Node) {
			nodes = append(nodes, a.Node)
		}
	}
	return nodes
}

// KeepLog notes where the log of an attempt is that has not ended yet. One that has
// keeps its own.
func (r *Run) KeepLog(n int, log Blob) {
	if i := r.AttemptIndex(n); i >= 0 && r.Attempts[i].Reason == "" && !r.Status.Terminal() {
		r.Attempts[i].Log, r.Log = &log, &log
	}
}

// RequestCancel records a request to cancel. A second request changes nothing.
// A run that has ended is fault.Conflict with the code run_ended.
func (r *Run) RequestCancel(c Cancel, now time.Time) (*Event, error) {
	if r.Status.Terminal() {
		return nil, fault.Newf(fault.Conflict, "run_ended", "the run has already ended: %s", r.Status)
	}
	if r.Cancel != nil {
		return nil, nil
	}
	c.SignaledAt = now
	r.stopWaiting()
	r.Cancel = &c
	r.Status = StatusCanceling
	return &Event{Type: EventCancelRequested, At: now, Message: c.Reason}, nil
}

// Settle ends the run for good. The first settlement stands.
func (r *Run) Settle(reason Reason, message string, now time.Time) *Event {
	if r.Status.Terminal() {
		return nil
	}
	rule := RuleOf(reason)
	status := rule.Status
	if err := r.Status.mayBecome(status); err != nil {
		status = StatusFailed // e.g. a run that could not even be planned
	}
	r.stopWaiting()
	r.Status, r.Reason, r.Cause, r.Message, r.FinishedAt = status, reason, rule.Cause, message, now
	_, r.RetentionDueAt = r.RetentionDue(now)
	return &Event{Type: EventEnded, At: now, Message: string(reason)}
}
