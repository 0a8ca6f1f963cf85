package launch

import (
	"context"
	"time"

	"agentmarket/audit"
	"agentmarket/ids"
	"agentmarket/marketplace"
	"agentmarket/product"
)

// Market is what is asked of layer 1.
type Market interface {
	Claim(ctx context.Context, q marketplace.ClaimQuery) (marketplace.Claim, error)
	Spending(ctx context.Context, org ids.Org, user ids.User, month marketplace.Month) (marketplace.Spending, error)
	UpdateInstallation(ctx context.Context, by audit.Actor, org ids.Org, agent ids.Agent, now time.Time, change func(*marketplace.Installation) error) (marketplace.Installation, error)
	Secrets(ctx context.Context, org ids.Org) ([]marketplace.Secret, error)
	AverageRun(ctx context.Context, agent ids.Agent) (time.Duration, error)
}

// Runs is what is asked of the execution records.
type Runs interface {
	CreateRun(ctx context.Context, r product.Run, input []byte, key *product.IdempotencyKey) (product.Run, bool, error)
	Run(ctx context.Context, id ids.Run) (product.Run, error)
	RunOfKey(ctx context.Context, org ids.Org, key product.IdempotencyKey) (product.Run, error)
}

// Control is what is asked of the rules of layer 2.
type Control interface {
	PoliciesFor(ctx context.Context, org ids.Org, team ids.Team, agent ids.Agent) ([]product.Policy, error)
	ActiveRollouts(ctx context.Context, agent ids.Agent) ([]product.Rollout, error)
	Limits(ctx context.Context, scopes []product.Scope, now time.Time) ([]product.Limit, []product.Usage, error)
}

// Launcher starts runs. All fields are required.
type Launcher struct {
	Market   Market
	Agents   product.AgentStore
	Channels product.ChannelStore
	Runs     Runs
	Control  Control
	Limits   product.Limits
	Policy   marketplace.Policy
	Now      func() time.Time
}

// Caller is who starts a run.
type Caller struct {
	OrgID  ids.Org
	KeyID  ids.Key
	UserID ids.User   // empty: a program
	Teams  []ids.Team // of the user
	Actor  audit.Actor
}

// Start is a request to start a run, well-formed.
type Start struct {
	Caller
	Publisher, Name string
	// TeamID is the team that the caller names; empty: his only one, if he has
	// one.
	TeamID ids.Team
	// Version is a number, a channel or latest; empty: what is installed.
	Version string
	Input   []byte
	Request product.Request
	Labels  map[string]string
	Key     *product.IdempotencyKey
	// Origin is where the request comes from. Of a run that another one starts it
	// names the parent; the store finds its place in the tree.
	Origin product.Origin
	// Webhook is told of this run alone; nil: nobody is.
	Webhook *product.Endpoint
}

// Preview is what a start would do now.
type Preview struct {
	Agent product.Agent
	// Version is what would run. Its identifier is empty where there is none and
	// the caller had no right to it anyway.
	Version  product.Version
	Plan     *product.Plan        // nil where it could not be made
	Estimate marketplace.Estimate // what it would cost
	// Denial is why the run would not start; nil: it would.
	Denial error
	// Waits are the limits that are reached now: the run would wait for them.
	Waits []product.Wait
}

// Start stores a run, unless the same request made one before: then it returns
// that one and false, whatever has happened to the right since. From the moment
// that the run is stored it is as good as started.
//
// What is denied is fault.PaymentRequired or fault.Forbidden with the code of
// what denies it: layer 1, policy_denied or limit_reached. A plan that no
// approval could mend is fault.Invalid, plan_invalid.
func (l *Launcher) Start(ctx context.Context, s Start) (product.Run, bool, error) {
	if s.Key != nil {
		run, err := l.Runs.RunOfKey(ctx, s.OrgID, *s.Key)
		if err == nil || !isNotFound(err) {
			return run, false, err
		}
	}
	c, err := l.consider(ctx, s)
	if err == nil {
		err = c.denial
	}
	if err == nil {
		err = CheckInput(c.version, s.Input)
	}
	if err == nil {
		err = l.moveInstallation(ctx, s, c)
	}
	if err != nil {
		return product.Run{}, false, err
	}
	return l.Runs.CreateRun(ctx, c.run, s.Input, s.Key)
}

// Preview says what a start would do now, and does nothing. Only what cannot be
// judged at all is an error: an agent or a version that does not exist for the
// caller, and a request that is wrong.
func (l *Launcher) Preview(ctx context.Context, s Start) (Preview, error) {
	c, err := l.consider(ctx, s)
	if err != nil {
		return Preview{}, err
	}
	if c.version.ID != "" {
		if err := CheckInput(c.version, s.Input); err != nil {
			return Preview{}, err
		}
	}
	average, err := l.Market.AverageRun(ctx, c.agent.ID)
	if err != nil {
		return Preview{}, err
	}
	subject := c.subject
	subject.UserID = s.UserID
	return Preview{
		Agent: c.agent, Version: c.version, Plan: c.plan, Denial: c.denial, Waits: c.waits,
		Estimate: c.claim.Estimate(subject, c.spending, average, l.Policy, l.Now()),
	}, nil
}
