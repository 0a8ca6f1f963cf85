package product

import (
	"fmt"
	"slices"
	"time"

	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/money"
)

// Request is what a caller may say about a run besides its input. Zero values
// mean "what the manifest says".
type Request struct {
	RunTimeout   time.Duration
	QueueTimeout time.Duration
	// MaxCost is the most that the run may cost; zero: the caller names none.
	MaxCost money.Amount
	// Resources narrow those of the manifest, one by one.
	Resources Resources
	// Attempts bounds the attempts that end with a failure of the agent; the
	// manifest's bound holds, too. 0: one.
	Attempts int
	// Priority orders the waiting runs of one user: -10 to 10, the higher first.
	Priority int
	Mode     Mode // empty: async
	// Version is what the caller asked for, and VersionRule what chose the version
	// of the run, as in Source.
	Version     string
	VersionRule string
}

// Right is what layer 1 granted: under which right and at which price a run
// starts.
type Right struct {
	Entitlement ids.Entitlement
	Price       ids.Price    // empty: there is nothing to pay
	Budget      money.Amount // what the run may cost at most; zero currency: it costs nothing
	// Affordable is how long the process may run for the budget; 0: no bound.
	Affordable time.Duration
}

// DefaultQueueTimeout applies to callers that do not name one.
const DefaultQueueTimeout = time.Hour

// Question is all that decides what runs.
type Question struct {
	Agent   Agent
	Version Version
	Request Request
	Right   Right
	// Policies are in the order platform, organization, team, agent: of their
	// defaults the last one counts. See PolicyStore.PoliciesFor.
	Policies []Policy
	// MissingSecrets are those that the version asks for and the organization does not
	// have.
	MissingSecrets []string
	Limits         Limits
	Now            time.Time
}

// Resolve decides what runs: the version's manifest, narrowed by the caller's
// request, the policies, the platform's limits and the budget; the strictest wins.
// It is pure, and says for every field of the plan which rule set it.
//
// What a policy does not allow is fault.Forbidden with the reason code
// policy_denied. A manifest that asks for more than the platform gives is
// fault.Invalid with the reason code plan_invalid: it would fail the same way every
// time; so is a secret that the organization does not have. Either one has a field for every reason.
func Resolve(q Question) (Plan, error) {
	r := resolution{Question: q}
	r.subject()
	r.resources()
	r.deadlines()
	r.bounds()
	r.permissions()
	r.tier()
	r.warm()
	r.mode()
	r.approval()
	r.retention()
	if err := r.denial(); err != nil {
		return Plan{}, err
	}
	return r.plan, nil
}

// resolution is a plan in the making.
type resolution struct {
	Question
	plan Plan
	// denied is what policies do not allow, beyond what the platform cannot give.
	denied, beyond []fault.Field
}

// subject says what runs, and under which right.
func (r *resolution) subject() {
	v, m, right := r.Version, r.Version.Manifest, r.Right
	r.plan = Plan{
		AgentID: v.AgentID, PublisherID: r.Agent.OrgID, VersionID: v.ID, Version: v.Number, Image: v.Image,
		Command: m.Command, Env: m.Env, EntitlementID: right.Entitlement, PriceID: right.Price, Budget: right.Budget,
		ResolvedAt: r.Now,
	}
	r.explain("version", r.versionRule(), r.Request.Version)
	r.explain("image", RuleManifest, "")
	r.explain("command", RuleManifest, "")
	r.explain("env", RuleManifest, "")
	r.explain("entitlement", RuleEntitlement, "")
	r.explainMoney()
	for _, p := range r.Policies {
		if p.Agents != nil && !coversAgent(p.Agents, r.Agent.FullName()) {
			r.deny("/agent", "%s does not allow %s", p, r.Agent.FullName())
		}
	}
}

// versionRule is what chose the version when the run was created. Runs of older
// programs do not say.
func (r *resolution) versionRule() string {
	switch {
	case r.Request.VersionRule != "":
		return r.Request.VersionRule
	case r.Request.Version != "":
		return RuleRequest
	}
	return RuleInstallation
}

func (r *resolution) explainMoney() {
	asked := r.Request.MaxCost
	switch {
	case r.Right.Budget.Currency == "":
		r.explain("budget", RuleDefault, "there is nothing to pay")
	case asked.Currency != "" && asked == r.Right.Budget:
		r.explain("budget", RuleRequest, "")
	case r.Right.Price == "":
		r.explain("budget", RulePlatform, "for models")
	default:
		r.explain("budget", RulePrice, "")
	}
	if r.Right.Price == "" {
		r.explain("price", RuleDefault, "there is nothing to pay")
		return
	}
	r.explain("price", RulePrice, "")
}

// bounds are those of every run here.
func (r *resolution) bounds() {
	r.plan.MaxAttempts = r.Limits.MaxAttempts
	r.explain("max_attempts", RulePlatform, "")
	asked := bound{1, RuleDefault}
	if n := r.Request.Attempts; n > 0 {
		asked = bound{int64(n), RuleRequest}
	}
	bounds := []bound{asked, {r.Version.Manifest.MaxAttempts(), RuleManifest}, {int64(r.Limits.MaxAttempts), RulePlatform}}
	if r.Right.Affordable > 0 { // what is held pays for one attempt
		bounds = append(bounds, bound{1, RulePrice})
	}
	r.plan.AgentAttempts = int(max(1, r.narrow("agent_attempts", count, bounds...).value))
	r.plan.MaxOutputBytes, r.plan.MaxLogBytes = r.Limits.MaxOutputBytes, r.Limits.MaxLogBytes
	r.explain("max_output_bytes", RulePlatform, "")
	r.explain("max_log_bytes", RulePlatform, "")
}

// warm is what the nearest policy wants to be ready, as far as the platform has room.
func (r *resolution) warm() {
	wanted := nearest(0, r.Policies, func(p Policy) int64 { return int64(p.Warm) }, bound{0, RuleDefault})
	if wanted.value == 0 || r.Limits.MaxWarm == 0 {
		return
	}
	r.plan.Warm = int(r.narrow("warm", count, wanted, bound{int64(r.Limits.MaxWarm), RulePlatform}).value)
}

// deny records what a policy does not allow.
func (r *resolution) deny(pointer, format string, args ...any) {
	r.denied = append(r.denied, fault.Field{Pointer: pointer, Message: fmt.Sprintf(format, args...)})
}

// denial is why there is no plan; nil: there is one. Its message has the first
// reason: it is all that the record of a run keeps.
func (r *resolution) denial() error {
	kind, code, message := fault.Invalid, ReasonPlanInvalid, "the agent asks for more than this platform gives"
	if len(r.beyond) == 0 {
		kind, code, message = fault.Forbidden, ReasonPolicyDenied, "a policy does not allow the run"
	}
	reasons := slices.Concat(r.beyond, r.denied)
	switch len(reasons) {
	case 0:
		return nil
	case 1:
		message += ": " + reasons[0].Message
	default:
		message += fmt.Sprintf(": %s, and for %d more reasons", reasons[0].Message, len(reasons)-1)
	}
	return fault.New(kind, string(code), message).WithFields(reasons...)
}

// RunTimeout is how long the process of a version may run that is started with a
// request: the strictest of the manifest, the request and the platform's bound.
// Policies may leave less.
func (l Limits) RunTimeout(v Version, req Request) time.Duration {
	return min(shorter(seconds(v.Manifest.Timeouts.RunSeconds), req.RunTimeout), l.MaxRun)
}

// shorter returns the shorter of two durations, where 0 for the second means
// that nothing was asked for.
func shorter(a, b time.Duration) time.Duration {
	if b == 0 {
		return a
	}
	return min(a, b)
}

func seconds(n int64) time.Duration { return time.Duration(n) * time.Second }
