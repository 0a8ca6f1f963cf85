package activities

import (
	"context"
	"encoding/json"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/temporal"

	"agentmarket/agentruntime"
	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/infra"
	"agentmarket/product"
)

// Infra is what workflows ask of layer 3.
type Infra struct {
	Cluster infra.Cluster
	Runs    product.RunStore
	Now     func() time.Time
	// Watch completes the waiting activities. While it is not healthy they poll.
	Watch infra.Watch
	// Reports are what supervisors told the gateway.
	Reports Reports
	// Tiers is what the doctor found; nil: nothing.
	Tiers *product.Tiers
}

// Reports are what supervisors told the gateway of the ends of attempts, see
// product.SessionStore.
type Reports interface {
	Report(ctx context.Context, run ids.Run, attempt int) (json.RawMessage, error)
}

// pollInterval is how often a waiting activity looks while nothing watches.
const pollInterval = 2 * time.Second

// CreateJob makes the objects of an attempt. Whatever can be mended is retried;
// a spec that the cluster refuses for good is of the kind invalid or conflict.
func (a *Infra) CreateJob(ctx context.Context, in AttemptRef) error {
	run, err := a.Runs.Run(ctx, in.RunID)
	if err != nil {
		return toTemporal(err)
	}
	if run.Plan == nil {
		return toTemporal(fault.New(fault.Conflict, "", "the run has no plan"))
	}
	input, err := a.Runs.Input(ctx, in.RunID)
	if err != nil {
		return toTemporal(err)
	}
	if err := ctx.Err(); err != nil { // too late to make something that nobody waits for
		return err
	}
	sandbox := sandboxFor(run, in.Attempt, input)
	sandbox.UserNamespace = a.Tiers.Keeps(run.Plan.Tier, infra.CheckUsers)
	if err := a.Cluster.Create(ctx, sandbox); err != nil {
		return toTemporal(err)
	}
	a.Watch.Expect(sandbox.Ref, a.Now().Add(sandbox.StartTimeout))
	return nil
}

// sandboxFor translates the intent of layer 2 into the words of layer 3.
func sandboxFor(run product.Run, attempt int, input []byte) infra.Sandbox {
	p := run.Plan
	return infra.Sandbox{
		Ref:   run.Ref(attempt),
		Agent: run.AgentID,
		Image: p.Image, Command: p.Command, Env: p.Env, Input: input,
		CPUMillis: p.Resources.CPUMillis, MemoryMiB: p.Resources.MemoryMiB, DiskMiB: p.Resources.DiskMiB,
		Egress:       len(p.Egress) > 0,
		SecretFiles:  len(p.SecretFiles) > 0,
		StartTimeout: p.Deadlines.Start, RunTimeout: p.Deadlines.Run, Grace: p.Deadlines.Grace,
		AvoidNodes: run.BadNodes(),
		Warm:       p.Warm,
	}
}

// JobOutcome is what became of an attempt.
type JobOutcome struct {
	Reason     infra.Reason `json:"reason"`
	Message    string       `json:"message,omitempty"`
	ExitCode   *int         `json:"exit_code,omitempty"`
	StartedAt  time.Time    `json:"started_at,omitzero"`
	FinishedAt time.Time    `json:"finished_at,omitzero"`
	Node       string       `json:"node,omitempty"`
	// Reported: by the gateway, before the cluster saw the end.
	Reported bool `json:"reported,omitempty"`
}

// JobOutcomeFrom returns the payload of an outcome.
func JobOutcomeFrom(o infra.Outcome) JobOutcome {
	return JobOutcome{
		Reason: o.Reason, Message: o.Message, ExitCode: o.ExitCode, StartedAt: o.StartedAt, FinishedAt: o.FinishedAt, Node: o.Node,
		Reported: o.Reported,
	}
}

// AwaitJob waits for the end of an attempt without holding anything. It looks
// once; if the attempt is over it returns, else it leaves its completion to the
// watcher (see conductor). Its StartToClose timeout is a lease: when nobody
// completes it in time, the next attempt of the activity looks again.
func (a *Infra) AwaitJob(ctx context.Context, in AttemptRef) (JobOutcome, error) {
	switch outcome, err := a.reported(ctx, in); {
	case err == nil: // the agent was faster
		return outcome, nil
	case !fault.Is(err, fault.NotFound):
		return JobOutcome{}, toTemporal(err)
	}
	seen, err := a.look(ctx, in, activity.GetInfo(ctx).Attempt == 1)
	if err != nil {
		return JobOutcome{}, toTemporal(err)
	}
	if verdict := infra.Classify(in.ref(), seen, a.Now()); verdict.Ended {
		return JobOutcomeFrom(verdict.Outcome), nil
	}
	return JobOutcome{}, a.pending(ctx)
}

// reported is what the supervisor of an attempt told the gateway of its end;
// fault.NotFound: nothing.
func reported(ctx context.Context, reports Reports, ref AttemptRef) (agentruntime.Envelope, error) {
	text, err := reports.Report(ctx, ref.RunID, ref.Attempt)
	if err != nil {
		return agentruntime.Envelope{}, err
	}
	return agentruntime.ParseEnvelope(text)
}

// reported is the outcome of an attempt that told the gateway of its end;
// fault.NotFound: it has not.
func (a *Infra) reported(ctx context.Context, in AttemptRef) (JobOutcome, error) {
	envelope, err := reported(ctx, a.Reports, in)
	if err != nil {
		return JobOutcome{}, err
	}
	return JobOutcomeFrom(infra.Reported(in.ref(), envelope)), nil
}

// look reads the state of an attempt that may have ended: what the watch has seen,
// as long as that is sound. The first look comes right after the Job was made, when
// the watch has seen nothing yet, and leaves it at that. A later one asks the
// cluster: nobody has heard of the pod for a whole lease.
func (a *Infra) look(ctx context.Context, in AttemptRef, first bool) (infra.Observed, error) {
	if a.Watch.Healthy() {
		if seen, ok := a.Watch.Look(in.ref()); ok {
			return seen, nil
		}
		if first {
			return infra.Observed{JobExists: true}, nil
		}
	}
	return a.Cluster.Observe(ctx, in.ref())
}

// pending is the error that keeps an activity open for the watcher, or makes it
// poll while nothing watches.
func (a *Infra) pending(ctx context.Context) error {
	if a.Watch.Healthy() {
		return activity.ErrResultPending
	}
	activity.GetLogger(ctx).Debug("polling, the watch is interrupted")
	return temporal.NewApplicationErrorWithOptions("not yet, and nothing watches", "not_yet",
		temporal.ApplicationErrorOptions{
			NextRetryDelay: pollInterval,
			Category:       temporal.ApplicationErrorCategoryBenign,
		})
}

// LastLook says what became of an attempt about which nobody has said anything
// until every deadline had passed. It may well have ended while nobody was there
// to look; only one that has not is given up.
func (a *Infra) LastLook(ctx context.Context, in AttemptRef) (JobOutcome, error) {
	switch outcome, err := a.reported(ctx, in); {
	case err == nil:
		return outcome, nil
	case !fault.Is(err, fault.NotFound):
		return JobOutcome{}, toTemporal(err)
	}
	seen, err := a.Cluster.Observe(ctx, in.ref())
	if err != nil {
		return JobOutcome{}, toTemporal(err)
	}
	if verdict := infra.Classify(in.ref(), seen, a.Now()); verdict.Ended {
		return JobOutcomeFrom(verdict.Outcome), nil
	}
	return JobOutcome{Reason: infra.ReasonNodeLost, Message: "the platform lost sight of the agent"}, nil
}

// StartCheck is the state of an attempt at its start deadline.
type StartCheck struct {
	Started bool       `json:"started"`
	Outcome JobOutcome `json:"outcome"` // where it did not start
}

// CheckStart looks whether an attempt has started; if not, it says why.
func (a *Infra) CheckStart(ctx context.Context, in AttemptRef) (StartCheck, error) {
	seen, err := a.Cluster.Observe(ctx, in.ref())
	if err != nil {
		return StartCheck{}, toTemporal(err)
	}
	if infra.Started(seen) {
		return StartCheck{Started: true}, nil
	}
	return StartCheck{Outcome: JobOutcomeFrom(infra.NotStarted(seen))}, nil
}

// DeleteJobInput names the attempt to remove and the grace of its process.
type DeleteJobInput struct {
	AttemptRef
	Grace time.Duration `json:"grace"`
}

// DeleteJob removes everything of an attempt from the cluster. What is not there
// is removed.
func (a *Infra) DeleteJob(ctx context.Context, in DeleteJobInput) error {
	return toTemporal(a.Cluster.Delete(ctx, in.ref(), in.Grace))
}

// AwaitGone waits, like AwaitJob, until nothing of an attempt is left in the
// cluster, and returns the proof.
func (a *Infra) AwaitGone(ctx context.Context, in AttemptRef) (GoneReceipt, error) {
	seen, err := a.Cluster.Observe(ctx, in.ref())
	if err != nil {
		return GoneReceipt{}, toTemporal(err)
	}
	if seen.Pod == nil && !seen.JobExists {
		return GoneReceipt{Attempt: in.Attempt, GoneAt: a.Now()}, nil
	}
	return GoneReceipt{}, a.pending(ctx)
}

// GoneReceiptFrom returns the receipt of a pod that was seen to vanish.
func GoneReceiptFrom(ref infra.Ref, last infra.Pod, at time.Time) GoneReceipt {
	receipt := GoneReceipt{Attempt: ref.Attempt, GoneAt: at}
	if t := last.Terminated; t != nil {
		receipt.TerminatedAt = t.FinishedAt
		receipt.ExitCode = infra.AgentExitCode(*t)
	}
	return receipt
}

func (r AttemptRef) ref() infra.Ref {
	return infra.Ref{Run: r.RunID, Attempt: r.Attempt, Org: r.OrgID, Sandboxed: r.Sandboxed}
}
