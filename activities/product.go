package activities

import (
	"context"
	"time"

	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/marketplace"
	"agentmarket/money"
	"agentmarket/product"
)

// Product is what workflows ask of layer 2.
type Product struct {
	Runs   product.RunStore
	Agents product.AgentStore
	// Settlements joins the record with the money where a run begins and ends.
	Settlements marketplace.Settlements
	Limits      product.Limits
	Policy      marketplace.Policy
	Now         func() time.Time
}

// ResolvePlanInput names the run, the right that it starts under and what it may
// cost.
type ResolvePlanInput struct {
	RunID         ids.Run         `json:"run_id"`
	EntitlementID ids.Entitlement `json:"entitlement_id"`
	// PriceID is empty and Currency is, too, where there is nothing to pay.
	PriceID      ids.Price `json:"price_id,omitempty"`
	BudgetMicros int64     `json:"budget_micros,omitempty"`
	Currency     string    `json:"currency,omitempty"`
	// Affordable is how long the process may run for the budget; 0: no bound.
	Affordable time.Duration `json:"affordable,omitempty"`
}

func (in ResolvePlanInput) right() product.Right {
	return product.Right{
		Entitlement: in.EntitlementID, Price: in.PriceID,
		Budget: money.Of(in.BudgetMicros, in.Currency), Affordable: in.Affordable,
	}
}

// PlanSummary is what a workflow needs of a plan; the plan itself is stored with
// the run.
type PlanSummary struct {
	Version      string        `json:"version"`
	StartTimeout time.Duration `json:"start_timeout"`
	RunTimeout   time.Duration `json:"run_timeout"`
	Grace        time.Duration `json:"grace"`
	MaxAttempts  int           `json:"max_attempts"`
}

// ResolvePlan resolves and stores the plan of a run. A run keeps its first plan.
// A plan that cannot be made is a non-retryable error of the kind invalid.
func (p *Product) ResolvePlan(ctx context.Context, in ResolvePlanInput) (PlanSummary, error) {
	plan, err := p.resolve(ctx, in)
	if err != nil {
		return PlanSummary{}, toTemporal(err)
	}
	return PlanSummary{
		Version: plan.Version, StartTimeout: plan.Deadlines.Start, RunTimeout: plan.Deadlines.Run,
		Grace: plan.Deadlines.Grace, MaxAttempts: plan.MaxAttempts,
	}, nil
}

func (p *Product) resolve(ctx context.Context, in ResolvePlanInput) (*product.Plan, error) {
	run, err := p.Runs.Run(ctx, in.RunID)
	if err != nil {
		return nil, err
	}
	if run.Plan != nil {
		return run.Plan, nil
	}
	version, err := p.Agents.Version(ctx, run.VersionID)
	if err != nil {
		return nil, err
	}
	plan, err := product.Resolve(version, run.Request, in.right(), p.Limits, p.Now())
	if err != nil {
		return nil, err
	}
	run, err = p.Runs.UpdateRun(ctx, in.RunID, func(r *product.Run) ([]*product.Event, error) {
		return []*product.Event{r.Planned(plan, p.Now())}, nil
	})
	if err != nil {
		return nil, err
	}
	if run.Plan == nil { // ended before it was planned
		return &plan, nil
	}
	return run.Plan, nil
}

// AttemptRef names one attempt of a run.
type AttemptRef struct {
	RunID   ids.Run `json:"run_id"`
	Attempt int     `json:"attempt"`
}

// Slot answers whether an attempt may begin.
type Slot struct {
	Granted bool `json:"granted"`
	// Expired: the queue deadline has passed before the first attempt.
	Expired bool `json:"expired,omitempty"`
	// CancelRequested: somebody canceled the run before the attempt began.
	CancelRequested bool `json:"cancel_requested,omitempty"`
	// DeniedKind is forbidden or payment_required: what CheckEntitlement found
	// does not hold any more. Nothing was opened and nothing is held.
	DeniedKind    string `json:"denied_kind,omitempty"`
	DeniedCode    string `json:"denied_code,omitempty"`
	DeniedMessage string `json:"denied_message,omitempty"`
}

// AcquireSlot opens an attempt: from here on it counts, and its objects may
// exist in the cluster. With the first attempt the run is admitted: its right is
// decided for good, and what it may cost is held. Who is denied here has lost a
// race, and is told so by the slot.
func (p *Product) AcquireSlot(ctx context.Context, in AttemptRef) (Slot, error) {
	var slot Slot
	now := p.Now()
	open := func(r *product.Run) ([]*product.Event, error) {
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
		}
		event, err := r.BeginAttempt(in.Attempt, now)
		slot.Granted = err == nil
		return []*product.Event{event}, err
	}
	var err error
	if in.Attempt == 1 {
		err = p.admit(ctx, in.RunID, now, open)
	} else {
		_, err = p.Runs.UpdateRun(ctx, in.RunID, open)
	}
	if denial := fault.From(err); fault.Is(err, fault.Forbidden) || fault.Is(err, fault.PaymentRequired) {
		return Slot{DeniedKind: string(denial.Kind), DeniedCode: denial.Code, DeniedMessage: denial.Message}, nil
	}
	if err != nil {
		return Slot{}, toTemporal(err)
	}
	return slot, nil
}

// admit opens the first attempt of a run and holds what the run may cost, in one
// transaction. It asks for the time that the plan gives, so that the run costs
// at most what was promised, and fits what is there.
func (p *Product) admit(ctx context.Context, id ids.Run, now time.Time, open func(*product.Run) ([]*product.Event, error)) error {
	run, err := p.Runs.Run(ctx, id)
	if err != nil {
		return err
	}
	version, err := p.Agents.Version(ctx, run.VersionID)
	if err != nil {
		return err
	}
	_, _, err = p.Settlements.AdmitRun(ctx, id, now, open,
		func(r product.Run, claim marketplace.Claim, spending marketplace.Spending) (marketplace.Hold, error) {
			if r.Plan == nil {
				return marketplace.Hold{}, fault.New(fault.Conflict, "", "the run has no plan")
			}
			subject := marketplace.SubjectOf(version, r.Request, p.Limits)
			subject.Timeout = r.Plan.Deadlines.Run
			hold, err := claim.Admit(r, subject, spending, p.Policy, now)
			if err == nil {
				err = hold.Fits(*r.Plan)
			}
			return hold, err
		})
	return err
}

// RecordCancelInput is a request to cancel that reached the workflow.
type RecordCancelInput struct {
	RunID       ids.Run `json:"run_id"`
	RequestedBy string  `json:"requested_by"`
	Reason      string  `json:"reason"`
	// GraceSeconds overrides the plan's grace; nil leaves it.
	GraceSeconds *int `json:"grace_seconds,omitempty"`
	Force        bool `json:"force,omitempty"`
}

// maxGraceSeconds bounds what a signal may ask for before the plan's grace does.
const maxGraceSeconds = 24 * 60 * 60

// CancelOrder is how the run is to be ended.
type CancelOrder struct {
	Grace time.Duration `json:"grace"`
	// Reason is that of the first request.
	Reason string `json:"reason,omitempty"`
}

// RecordCancel shows a request to cancel on the run, unless the API has done so
// before, and returns the grace that holds: that of the first request, never
// longer than the plan's.
func (p *Product) RecordCancel(ctx context.Context, in RecordCancelInput) (CancelOrder, error) {
	run, err := p.Runs.UpdateRun(ctx, in.RunID, func(r *product.Run) ([]*product.Event, error) {
		c := product.Cancel{RequestedBy: in.RequestedBy, Reason: in.Reason, Force: in.Force}
		if in.GraceSeconds != nil {
			c.Grace = new(time.Duration(min(max(*in.GraceSeconds, 0), maxGraceSeconds)) * time.Second)
		}
		event, err := r.RequestCancel(c, p.Now())
		if fault.Is(err, fault.Conflict) {
			return nil, nil // it has ended meanwhile; settling says how
		}
		return []*product.Event{event}, err
	})
	if err != nil {
		return CancelOrder{}, toTemporal(err)
	}
	order := CancelOrder{Grace: cancelGrace(run)}
	if run.Cancel != nil {
		order.Reason = run.Cancel.Reason
	}
	return order, nil
}

func cancelGrace(r product.Run) time.Duration {
	var grace time.Duration
	if r.Plan != nil {
		grace = r.Plan.Deadlines.Grace
	}
	switch {
	case r.Cancel == nil:
		return grace
	case r.Cancel.Force:
		return 0
	case r.Cancel.Grace != nil:
		return max(0, min(grace, *r.Cancel.Grace))
	}
	return grace
}

// SettleRunInput is how a run ended.
type SettleRunInput struct {
	RunID   ids.Run        `json:"run_id"`
	Reason  product.Reason `json:"reason"`
	Message string         `json:"message"`
	// Gone completes the receipt of a canceled run.
	Gone *GoneReceipt `json:"gone,omitempty"`
}

// GoneReceipt is the proof that nothing of an attempt is left in the cluster.
type GoneReceipt struct {
	Attempt      int       `json:"attempt,omitempty"`
	TerminatedAt time.Time `json:"terminated_at,omitzero"`
	GoneAt       time.Time `json:"gone_at,omitzero"`
	ExitCode     *int      `json:"exit_code,omitempty"`
}

// SettleRunResult is the state that the run ended in.
type SettleRunResult struct {
	Status  product.Status `json:"status"`
	Reason  product.Reason `json:"reason"`
	Cause   product.Cause  `json:"cause,omitempty"`
	Message string         `json:"message,omitempty"`
}

// SettleRun ends a run for good, and turns what is held for it into charges or
// releases it, in one transaction. The first settlement stands; a repeat returns
// it.
func (p *Product) SettleRun(ctx context.Context, in SettleRunInput) (SettleRunResult, error) {
	now := p.Now()
	end := func(r *product.Run) ([]*product.Event, error) {
		if r.Status.Terminal() {
			return nil, nil
		}
		var events []*product.Event
		if in.Gone != nil && r.Cancel != nil {
			r.Cancel.TerminatedAt, r.Cancel.GoneAt, r.Cancel.ExitCode = in.Gone.TerminatedAt, in.Gone.GoneAt, in.Gone.ExitCode
			events = append(events, r.AttemptEnded(in.Gone.Attempt, product.End{
				Reason: in.Reason, Message: in.Message, ExitCode: in.Gone.ExitCode, FinishedAt: in.Gone.TerminatedAt,
			}, now))
		}
		for _, open := range r.Attempts { // given up without a verdict
			events = append(events, r.AttemptEnded(open.Number, product.End{Reason: in.Reason, Message: in.Message}, now))
		}
		return append(events, r.Settle(in.Reason, in.Message, now)), nil
	}
	bill := func(r product.Run, h marketplace.Hold, events []marketplace.EventCharge) marketplace.Settlement {
		return marketplace.Settle(h, r, events)
	}
	run, _, err := p.Settlements.SettleRun(ctx, in.RunID, now, end, bill)
	if err != nil {
		return SettleRunResult{}, toTemporal(err)
	}
	return SettleRunResult{Status: run.Status, Reason: run.Reason, Cause: run.Cause, Message: run.Message}, nil
}
