package activities

import (
	"context"
	"time"

	"go.temporal.io/sdk/activity"

	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/marketplace"
	"agentmarket/product"
)

// Slot answers whether an attempt may begin.
type Slot struct {
	Granted bool `json:"granted"`
	// Expired: the queue deadline has passed before the first attempt.
	Expired bool `json:"expired,omitempty"`
	// CancelRequested: somebody canceled the run before the attempt began.
	CancelRequested bool `json:"cancel_requested,omitempty"`
	// DeniedKind is forbidden or payment_required: what CheckEntitlement found
	// does not hold any more, or a limit is reached that no waiting mends. Nothing
	// was opened and nothing is held.
	DeniedKind    string `json:"denied_kind,omitempty"`
	DeniedCode    string `json:"denied_code,omitempty"`
	DeniedMessage string `json:"denied_message,omitempty"`
	// Queued: a limit is reached, and the run waits in the queue until it is given
	// a slot, or until QueueDeadline (zero: for ever). Nothing was opened and
	// nothing is held.
	Queued        bool      `json:"queued,omitempty"`
	Position      int       `json:"position,omitempty"` // 1: next for its limit
	Reason        string    `json:"reason,omitempty"`   // what it waits for, for people
	QueueDeadline time.Time `json:"queue_deadline,omitzero"`
}

// AcquireSlot opens an attempt: from here on it counts, and its objects may
// exist in the cluster. With the first attempt the run is admitted: it takes its
// slot under every limit, its right is decided for good, and what it may cost is
// held. Who is denied here has lost a race, and is told so by the slot. A run that
// waits asks again when it was told that there is a slot for it; asking earlier
// keeps its place in the queue. What the policies do not allow any more by then
// does not begin.
func (p *Product) AcquireSlot(ctx context.Context, in AttemptRef) (Slot, error) {
	var slot Slot
	now := p.Now()
	open := func(r *product.Run, denial error) ([]*product.Event, error) {
		slot = Slot{}
		switch {
		case r.Status.Terminal():
			return nil, fault.Newf(fault.Conflict, "run_ended", "the run has already ended: %s", r.Status)
		case r.AttemptIndex(in.Attempt) >= 0: // opened by an earlier try of this activity
			slot.Granted = r.Cancel == nil
			slot.CancelRequested = r.Cancel != nil
			return nil, nil
		case r.Cancel != nil:
			slot.CancelRequested = true
			return nil, nil
		case in.Attempt == 1 && !r.QueueDeadline.IsZero() && now.After(r.QueueDeadline):
			slot.Expired = true
			return nil, nil
		case denial != nil:
			return nil, denial
		}
		event, err := r.BeginAttempt(in.Attempt, p.Now()) // not before it has its slot
		slot.Granted = err == nil
		return []*product.Event{event}, err
	}
	var run product.Run
	var wait *product.Wait
	var err error
	if in.Attempt == 1 {
		run, wait, err = p.admit(ctx, in.RunID, now, open)
	} else {
		_, err = p.Runs.UpdateRun(ctx, in.RunID, func(r *product.Run) ([]*product.Event, error) {
			return open(r, nil) // what has begun goes on
		})
	}
	if denial := fault.From(err); fault.Is(err, fault.Forbidden) || fault.Is(err, fault.PaymentRequired) {
		return Slot{DeniedKind: string(denial.Kind), DeniedCode: denial.Code, DeniedMessage: denial.Message}, nil
	}
	if err != nil {
		return Slot{}, toTemporal(err)
	}
	if wait != nil { // what open did was not stored
		return Slot{Queued: true, Position: wait.Position, Reason: wait.Reason(), QueueDeadline: run.QueueDeadline}, nil
	}
	return slot, nil
}

// admit opens the first attempt of a run and holds what the run may cost, in one
// transaction. It asks for the time that the plan gives, so that the run costs
// at most what was promised, and fits what is there. open is told what the policies
// deny by now. It returns where the run stands in the queue, if a limit makes it
// wait.
func (p *Product) admit(ctx context.Context, id ids.Run, now time.Time,
	open func(r *product.Run, denial error) ([]*product.Event, error),
) (product.Run, *product.Wait, error) {
	run, err := p.Runs.Run(ctx, id)
	if err != nil {
		return product.Run{}, nil, err
	}
	version, err := p.Agents.Version(ctx, run.VersionID)
	if err != nil {
		return product.Run{}, nil, err
	}
	denial := p.denial(ctx, run, version)
	return p.Settlements.AdmitRun(ctx, id, now,
		func(r *product.Run) ([]*product.Event, error) { return open(r, denial) },
		func(r product.Run, claim marketplace.Claim, spending marketplace.Spending) (marketplace.Hold, error) {
			if r.Plan == nil {
				return marketplace.Hold{}, fault.New(fault.Conflict, "", "the run has no plan")
			}
			subject := marketplace.SubjectOf(version, r.Request, p.Limits, p.Policy)
			subject.Timeout = r.Plan.Deadlines.Run
			hold, err := claim.Admit(r, subject, spending, p.Policy, now)
			if err == nil {
				err = hold.Fits(*r.Plan)
			}
			return hold, err
		})
}

// denial is why a run that was planned before may not begin: a policy was tightened
// while it waited, or the doctor found its tier broken. nil: it may.
func (p *Product) denial(ctx context.Context, run product.Run, version product.Version) error {
	if run.Plan == nil {
		return nil
	}
	if refusal := p.Limits.Tiers.Refusal(run.Plan.Tier); refusal != "" {
		return fault.Newf(fault.Forbidden, string(product.ReasonPolicyDenied), "the %s tier is refused: %s", run.Plan.Tier, refusal)
	}
	policies, err := p.policies(ctx, run, version)
	if err != nil || len(policies) == 0 {
		return err
	}
	agent, err := p.agent(ctx, version)
	if err != nil {
		return err
	}
	return run.Plan.Recheck(agent, policies)
}

// Waker tells the workflow of a run that there is a slot for it. One that does not
// exist any more is fault.NotFound. See conductor.Conductor.
type Waker interface {
	SlotFreed(ctx context.Context, run ids.Run) error
}

// wakeTime bounds how long a settlement is held up by telling others of it.
const wakeTime = 3 * time.Second

// wake tells the runs that were given the slot of another one. It is the short
// way: who is not told here stays due, and is told by the relay.
func (p *Product) wake(ctx context.Context, granted []ids.Run) {
	ctx, cancel := context.WithTimeout(ctx, wakeTime)
	defer cancel()
	for _, run := range granted {
		err := p.Waker.SlotFreed(ctx, run)
		if err == nil || fault.Is(err, fault.NotFound) { // it ended, and its slot with it
			err = p.Queue.Told(ctx, run)
		}
		if err != nil {
			warn(ctx, "run not told of its slot, left to the relay", "run_id", string(run), "error", err)
		}
	}
}

// warn logs what an activity leaves to others.
func warn(ctx context.Context, message string, keyvals ...any) {
	if activity.IsActivity(ctx) {
		activity.GetLogger(ctx).Warn(message, keyvals...)
	}
}
