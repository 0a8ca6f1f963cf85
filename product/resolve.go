package product

import (
	"fmt"
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

// Resolve decides what runs: the version's manifest, narrowed by the caller's
// request, the platform's limits and the budget; the strictest wins. It is pure. A manifest
// that asks for more than the platform gives is fault.Invalid with the reason
// code plan_invalid: it would fail the same way every time.
func Resolve(v Version, req Request, right Right, limits Limits, now time.Time) (Plan, error) {
	m := v.Manifest
	res := Resources{CPUMillis: m.Resources.CPUMillis, MemoryMiB: m.Resources.MemoryMiB, DiskMiB: m.Resources.DiskMiB}
	var fields []fault.Field
	for _, r := range []struct {
		name       string
		want, most int64
	}{
		{"cpu_millis", res.CPUMillis, limits.Resources.CPUMillis},
		{"memory_mib", res.MemoryMiB, limits.Resources.MemoryMiB},
		{"disk_mib", res.DiskMiB, limits.Resources.DiskMiB},
	} {
		if r.want > r.most {
			fields = append(fields, fault.Field{Pointer: "/manifest/resources/" + r.name,
				Message: fmt.Sprintf("asks for %d, this platform gives at most %d", r.want, r.most)})
		}
	}
	if len(fields) > 0 {
		return Plan{}, fault.New(fault.Invalid, string(ReasonPlanInvalid),
			"the agent asks for more than this platform gives").WithFields(fields...)
	}
	queue := req.QueueTimeout
	if queue == 0 {
		queue = DefaultQueueTimeout
	}
	run := limits.RunTimeout(v, req)
	affordable := shorter(run, right.Affordable)
	return Plan{
		AgentID: v.AgentID, VersionID: v.ID, Version: v.Number, Image: v.Image,
		Command: m.Command, Env: m.Env, EntitlementID: right.Entitlement,
		PriceID: right.Price, Budget: right.Budget, BudgetBound: affordable < run,
		Resources: res,
		Deadlines: Deadlines{
			Queue: min(queue, limits.MaxQueue),
			Start: seconds(m.Timeouts.StartSeconds),
			Run:   affordable,
			Grace: min(seconds(m.Timeouts.GraceSeconds), limits.MaxGrace),
		},
		MaxAttempts: limits.MaxAttempts, MaxOutputBytes: limits.MaxOutputBytes, MaxLogBytes: limits.MaxLogBytes,
		ResolvedAt: now,
	}, nil
}

// RunTimeout is how long the process of a version may run that is started with a
// request: the strictest of the manifest, the request and the platform's bound.
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
