package product

import (
	"time"

	"agentmarket/ids"
	"agentmarket/money"
)

// Plan is the resolved intent of a run: which version of which agent runs under
// which right, with which resources and deadlines. It is made once, stored with
// the run, and never changes. It holds no word of the infrastructure and no
// secret.
type Plan struct {
	AgentID       ids.Agent
	PublisherID   ids.Org
	VersionID     ids.Version
	Version       string
	Image         string // pinned: NAME@sha256:…
	Command       []string
	Env           map[string]string
	EntitlementID ids.Entitlement
	PriceID       ids.Price // empty: there is nothing to pay
	// Budget is what the run may cost at most. Zero currency: it costs nothing.
	Budget money.Amount
	// BudgetBound says that the run deadline is what the budget pays for:
	// reaching it is budget_exhausted and not deadline_exceeded.
	BudgetBound bool

	Resources Resources
	Deadlines Deadlines

	// MaxAttempts bounds the attempts of the run, whatever made them fail.
	MaxAttempts int
	// AgentAttempts bounds those that ended with a failure of the agent: 1 where
	// the caller asked for no retry.
	AgentAttempts int
	// MaxOutputBytes and MaxLogBytes bound what is kept of a run.
	MaxOutputBytes int64
	MaxLogBytes    int64

	// Tools, Models, Secrets, SecretFiles and Egress are what the run may use: names, never values.
	Tools, Models, Secrets, SecretFiles, Egress []string
	Tier                                        Tier
	// Warm is how many places are kept ready for runs with the same plan: 0 where
	// every attempt waits for its own.
	Warm int
	Mode Mode
	// Approval says for people why a person has to approve the run; empty: nobody
	// has to.
	Approval  string
	Retention Retention

	// Sources say for every field which rule set it.
	Sources []Source

	ResolvedAt time.Time
}

// Source explains a field of a plan.
type Source struct {
	Field string // as in the API: deadlines.run_seconds
	// Rule is who set it: manifest, request, price, installation, channel,
	// rollout, pin, latest, default, platform, platform_policy,
	// organization_policy, team_policy, agent_policy.
	Rule   string
	Detail string // for people; may be empty
}

// Retention is how long the bodies of a run are kept after its end. 0: for good.
type Retention struct {
	Input, Output, Log time.Duration
}

// Resources is what one attempt may use.
type Resources struct {
	CPUMillis int64
	MemoryMiB int64
	DiskMiB   int64
}

// Deadlines bound the parts of a run's life.
type Deadlines struct {
	Queue time.Duration // creation to first attempt
	Start time.Duration // an attempt's creation to the start of its process
	Run   time.Duration // the process
	Grace time.Duration // SIGTERM to SIGKILL
}

// RetryWindow is how long after the run was granted its slot attempts may begin: what
// all attempts that the plan allows come to if each takes as long as it may.
func (p Plan) RetryWindow() time.Duration {
	one := p.Deadlines.Start + p.Deadlines.Run + p.Deadlines.Grace
	return one * time.Duration(p.MaxAttempts+max(1, p.AgentAttempts)-1)
}

// Limits are the platform's own bounds; a plan never exceeds them.
type Limits struct {
	Resources      Resources
	MaxRun         time.Duration
	MaxQueue       time.Duration
	MaxGrace       time.Duration
	MaxAttempts    int
	MaxOutputBytes int64
	MaxLogBytes    int64
	// MaxWarm bounds what policies may keep ready. 0: nothing.
	MaxWarm int
	// Sandboxed says that there is a sandboxed tier here.
	Sandboxed bool
	// Tiers says which tiers are refused, for the cluster does not keep what they promise.
	// nil: none.
	Tiers *Tiers
	// Quota is what an organization gets that no operator has set one for.
	Quota Quota
}

// Quota is a limit without its scope: the default of organizations.
type Quota struct {
	ConcurrentRuns, CPUMillis, MemoryMiB int64
}

// DefaultLimits are the bounds of a platform that was not configured.
func DefaultLimits() Limits {
	return Limits{
		Resources: Resources{CPUMillis: 8000, MemoryMiB: 16 << 10, DiskMiB: 20 << 10},
		MaxRun:    24 * time.Hour, MaxQueue: 24 * time.Hour, MaxGrace: 10 * time.Minute,
		MaxAttempts: 3, MaxOutputBytes: 1 << 20, MaxLogBytes: 4 << 20,
	}
}
