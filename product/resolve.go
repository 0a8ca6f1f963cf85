package product

import (
	"fmt"
	"time"

	"agentmarket/fault"
	"agentmarket/ids"
)

// Request is what a caller may say about a run besides its input. Zero values
// mean "what the manifest says".
type Request struct {
	RunTimeout   time.Duration
	QueueTimeout time.Duration
}

// DefaultQueueTimeout applies to callers that do not name one.
const DefaultQueueTimeout = time.Hour

// Resolve decides what runs: the version's manifest, narrowed by the caller's
// request and the platform's limits; the strictest wins. It is pure. A manifest
// that asks for more than the platform gives is fault.Invalid with the reason
// code plan_invalid: it would fail the same way every time.
func Resolve(v Version, req Request, entitlement ids.Entitlement, limits Limits, now time.Time) (Plan, error) {
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
	return Plan{
		AgentID: v.AgentID, VersionID: v.ID, Version: v.Number, Image: v.Image,
		Command: m.Command, Env: m.Env, EntitlementID: entitlement,
		Resources: res,
		Deadlines: Deadlines{
			Queue: min(queue, limits.MaxQueue),
			Start: seconds(m.Timeouts.StartSeconds),
			Run:   min(shorter(seconds(m.Timeouts.RunSeconds), req.RunTimeout), limits.MaxRun),
			Grace: min(seconds(m.Timeouts.GraceSeconds), limits.MaxGrace),
		},
		MaxAttempts: limits.MaxAttempts, MaxOutputBytes: limits.MaxOutputBytes, MaxLogBytes: limits.MaxLogBytes,
		ResolvedAt: now,
	}, nil
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
