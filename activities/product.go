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
	// Names knows whose an agent is, Policies what may run (nil:
	// everything).
	Names    product.AgentNames
	Policies Policies
	// Secrets are what organizations have entrusted to the platform.
	Secrets Secrets
	// Bodies knows the runs that a run started.
	Bodies product.RunBodies
	// Settlements joins the record with the money where a run begins and ends.
	Settlements marketplace.Settlements
	// Queue, Waker and Canceler reach other runs than the one at work.
	Queue    product.QueueStore
	Waker    Waker
	Canceler Canceler
	Limits   product.Limits
	Policy   marketplace.Policy
	Now      func() time.Time
}

// Secrets lists those of an organization, see marketplace.SecretStore.
type Secrets interface {
	Secrets(ctx context.Context, org ids.Org) ([]marketplace.Secret, error)
}

// Policies find those that decide about a run: see product.PolicyStore.
type Policies interface {
	PoliciesFor(ctx context.Context, org ids.Org, team ids.Team, agent ids.Agent) ([]product.Policy, error)
}

// ResolvePlanInput names the run, the right that it starts under and what it may
// cost.
type ResolvePlanInput struct {
	RunID         ids.Run         `json:"run_id"`
	EntitlementID ids.Entitlement `json:"entitlement_id"`
	// PriceID and Currency are empty where there is nothing to pay, see
	// CheckEntitlementResult.
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
	// AgentAttempts bounds the attempts that end by a failure of the agent; 0 in
	// old histories is 1.
	AgentAttempts int `json:"agent_attempts,omitempty"`
	// Approval says why a person has to approve the run; empty: nobody has to.
	Approval string `json:"approval,omitempty"`
	// RetryWindow is product.Plan.RetryWindow, RefusalWindow how long after its creation
	// a run may be tried again that the cluster had no room for. 0 in old histories: no
	// bound.
	RetryWindow   time.Duration `json:"retry_window,omitempty"`
	RefusalWindow time.Duration `json:"refusal_window,omitempty"`
	// Sandboxed: see infra.Ref.
	Sandboxed bool `json:"sandboxed,omitempty"`
	// Watched: the watch ends an attempt that does not start, and the workflow needs
	// no timer for it. Absent in old histories.
	Watched bool `json:"watched,omitempty"`
}

// ResolvePlan resolves and stores the plan of a run. A run keeps its first plan.
// A plan that cannot be made is a non-retryable error of the kind invalid, one that
// a policy does not allow of the kind forbidden.
func (p *Product) ResolvePlan(ctx context.Context, in ResolvePlanInput) (PlanSummary, error) {
	plan, err := p.resolve(ctx, in)
	if err != nil {
		return PlanSummary{}, toTemporal(err)
	}
	return PlanSummary{
		Version: plan.Version, StartTimeout: plan.Deadlines.Start, RunTimeout: plan.Deadlines.Run,
		Grace: plan.Deadlines.Grace, MaxAttempts: plan.MaxAttempts, AgentAttempts: plan.AgentAttempts,
		RetryWindow: plan.RetryWindow(), RefusalWindow: plan.Deadlines.Queue,
		Approval: plan.Approval, Sandboxed: plan.Tier == product.TierSandboxed, Watched: true,
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
	question, err := p.question(ctx, run, version)
	if err != nil {
		return nil, err
	}
	question.Right = in.right()
	plan, err := product.Resolve(question)
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

// question is what decides about a plan, but for the right.
func (p *Product) question(ctx context.Context, run product.Run, version product.Version) (product.Question, error) {
	agent, err := p.agent(ctx, version)
	if err != nil {
		return product.Question{}, err
	}
	q := product.Question{Agent: agent, Version: version, Request: run.Request, Limits: p.Limits, Now: p.Now()}
	if wanted := version.Manifest.Secrets; len(wanted) > 0 {
		have, err := p.Secrets.Secrets(ctx, run.OrgID)
		if err != nil {
			return product.Question{}, err
		}
		q.MissingSecrets = marketplace.MissingSecrets(have, wanted)
	}
	q.Policies, err = p.policies(ctx, run, version)
	return q, err
}

// agent is whom a version is of.
func (p *Product) agent(ctx context.Context, version product.Version) (product.Agent, error) {
	named, err := p.Names.AgentsByID(ctx, []ids.Agent{version.AgentID})
	if err != nil {
		return product.Agent{}, err
	}
	agent, found := named[version.AgentID]
	if !found {
		return product.Agent{}, fault.Newf(fault.NotFound, "agent_not_found", "there is no agent %s", version.AgentID)
	}
	return agent, nil
}

// policies are those that decide about a run, as they are now.
func (p *Product) policies(ctx context.Context, run product.Run, version product.Version) ([]product.Policy, error) {
	if p.Policies == nil {
		return nil, nil
	}
	return p.Policies.PoliciesFor(ctx, run.OrgID, run.TeamID, version.AgentID)
}

// AttemptRef names one attempt of a run.
type AttemptRef struct {
	RunID   ids.Run `json:"run_id"`
	Attempt int     `json:"attempt"`
	// OrgID and Sandboxed say where in the cluster the attempt is, see infra.Ref.
	OrgID     ids.Org `json:"org_id,omitempty"`
	Sandboxed bool    `json:"sandboxed,omitempty"`
}

// RecordCancelInput is a request to cancel that reached the workflow.
type RecordCancelInput struct {
	RunID       ids.Run `json:"run_id"`
	RequestedBy string  `json:"requested_by"`
	Reason      string  `json:"reason"`
	// GraceSeconds overrides the plan's grace; nil leaves it.
	GraceSeconds *int `json:"grace_seconds,omitempty"`
	Force        bool `json:"force,omitempty"`
	// At is when the workflow heard of it. Zero in old histories: now.
	At time.Time `json:"at,omitzero"`
}

// at is when the cancel was asked for: never later than now, whatever the clocks say.
func (in RecordCancelInput) at(now time.Time) time.Time {
	if in.At.IsZero() || in.At.After(now) {
		return now
	}
	return in.At
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
		event, err := r.RequestCancel(c, in.at(p.Now()))
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
	// HasChildren: there may be runs that it started and that go on.
	HasChildren bool `json:"has_children,omitempty"`
}

// SettleRun ends a run for good, turns what is held for it into charges or
// releases it, and hands its slot to the next in the queue, in one transaction.
// The first settlement stands; a repeat returns it.
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
	bill := func(r product.Run, h marketplace.Hold, used marketplace.Used) marketplace.Settlement {
		return marketplace.Settle(h, r, used)
	}
	run, granted, err := p.Settlements.SettleRun(ctx, in.RunID, now, end, bill)
	if err != nil {
		return SettleRunResult{}, toTemporal(err)
	}
	p.wake(ctx, granted)
	return SettleRunResult{
		Status: run.Status, Reason: run.Reason, Cause: run.Cause, Message: run.Message, HasChildren: p.hasChildren(ctx, run),
	}, nil
}
