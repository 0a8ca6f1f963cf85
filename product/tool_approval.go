package product

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"time"

	"agentmarket/audit"
	"agentmarket/fault"
	"agentmarket/ids"
)

// ToolApproval is the need of a person to agree to a call of a tool, and her decision. It
// is of one attempt: another one asks again.
type ToolApproval struct {
	ID           ids.ToolApproval
	RunID        ids.Run
	Attempt      int
	Server, Tool string
	// Arguments are a JSON object. They go with the output of the run.
	Arguments   json.RawMessage
	RequestedAt time.Time
	Deadline    time.Time // after it nobody can agree any more

	Decision  Decision // empty: none yet
	DecidedBy string
	Note      string
	DecidedAt time.Time
	// UsedAt is when the call was made that was agreed to: one, and not again.
	UsedAt time.Time
}

// The bounds of what people are asked.
const (
	// ToolApprovalTimeout is how long a call waits for a person. The time of the run
	// goes on meanwhile.
	ToolApprovalTimeout = time.Hour
	// MaxToolApprovals bounds the calls of a run about which people are asked.
	MaxToolApprovals = 100
	// MaxApprovedArguments bounds the arguments of such a call, in bytes: somebody has
	// to read them.
	MaxApprovedArguments = 32 << 10
)

// Key is what two requests to make the same call have in common.
func (a ToolApproval) Key() string {
	sum := sha256.New()
	for _, part := range [][]byte{[]byte(a.Server), []byte(a.Tool), a.Arguments} {
		_, _ = sum.Write(append(part[:len(part):len(part)], 0)) // hashes take everything
	}
	return hex.EncodeToString(sum.Sum(nil))
}

// Waits reports whether the approval can be decided about at a time.
func (a ToolApproval) Waits(now time.Time) bool { return a.Decision == "" && now.Before(a.Deadline) }

// Answers reports whether an approval stands for another request to make its call: it
// waits still, it was denied, or the call that was agreed to was not made.
func (a ToolApproval) Answers(now time.Time) bool {
	switch a.Decision {
	case DecisionApproved:
		return a.UsedAt.IsZero()
	case DecisionDenied:
		return true
	default:
		return a.Waits(now)
	}
}

// Decide records a decision. The same one again changes nothing, and is false. What does
// not wait is fault.Conflict with the code not_waiting.
func (a *ToolApproval) Decide(d Decision, by, note string, now time.Time) (changed bool, err error) {
	switch {
	case a.Decision == d:
		return false, nil
	case !a.Waits(now):
		return false, fault.New(fault.Conflict, "not_waiting", "the call does not wait for an approval any more")
	}
	a.Decision, a.DecidedBy, a.Note, a.DecidedAt = d, by, note, now
	return true, nil
}

// ToolServerStore keeps the servers of tools, by name. The organization is empty for
// those of the operators.
type ToolServerStore interface {
	// SetToolServer stores a server in place of the one of its name; beyond
	// MaxToolServers fault.Conflict, too_many.
	SetToolServer(ctx context.Context, by audit.Actor, s ToolServer) error
	// DeleteToolServer removes a server.
	DeleteToolServer(ctx context.Context, by audit.Actor, org ids.Org, name string, at time.Time) error
	// ToolServers lists servers in the order of their names.
	ToolServers(ctx context.Context, org ids.Org) ([]ToolServer, error)
}

// ToolApprovalStore keeps what people are asked about calls of tools.
type ToolApprovalStore interface {
	// AskForTool stores an approval of an open attempt, and that its run waits for input.
	// Where one of the same call stands for it, see [ToolApproval.Answers], it returns
	// that. Beyond MaxToolApprovals it is fault.RateLimited, too_many_approvals.
	AskForTool(ctx context.Context, a ToolApproval) (ToolApproval, error)
	// UseToolApproval reports whether the call may be made that was agreed to, and that
	// it is made: once, while the attempt is open.
	UseToolApproval(ctx context.Context, a ToolApproval, at time.Time) (bool, error)
	// DecideTool records a decision, see [ToolApproval.Decide], with an entry in the audit
	// log of the organization.
	DecideTool(ctx context.Context, by audit.Actor, run ids.Run, id ids.ToolApproval, d Decision, note string, at time.Time) (ToolApproval, error)
	// ToolApprovals lists those of a run, newest first.
	ToolApprovals(ctx context.Context, run ids.Run) ([]ToolApproval, error)
	// ToolDecisions are the decisions about some; what was not decided about is missing.
	ToolDecisions(ctx context.Context, list []ids.ToolApproval) (map[ids.ToolApproval]Decision, error)
}

// Shown is the state of the run as people see it: one whose agent waits for a person is
// waiting_input, though its process goes on.
func (r *Run) Shown(now time.Time) Status {
	if slices.Contains(mayWait, r.Status) && now.Before(r.WaitingUntil) {
		return StatusWaitingInput
	}
	return r.Status
}

// mayWait are the states in which an agent works.
var mayWait = []Status{StatusStarting, StatusRunning}

// stopWaiting says that the attempt asks nothing any more.
func (r *Run) stopWaiting() { r.WaitingUntil = time.Time{} }
