package product

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"agentmarket/fault"
)

// bound is what a rule says about a number.
type bound struct {
	value int64
	rule  string
}

// unbound is the value of a rule that says nothing.
const unbound = math.MaxInt64

// asks is a bound of a rule for which 0 means to say nothing.
func asks[T ~int64](value T, rule string) bound {
	if value == 0 {
		return bound{unbound, rule}
	}
	return bound{int64(value), rule}
}

// unit is how a number is shown to people.
type unit func(int64) string

func count(n int64) string { return strconv.FormatInt(n, 10) }

func inSeconds(n int64) string {
	return strconv.FormatFloat(time.Duration(n).Seconds(), 'f', -1, 64)
}

// narrow explains a field with the least of several bounds, and returns it. Of
// equal ones the first counts.
func (r *resolution) narrow(field string, in unit, bounds ...bound) bound {
	least := bounds[0]
	var said []string
	for _, b := range bounds {
		if b.value < least.value {
			least = b
		}
		if b.value != unbound {
			said = append(said, b.rule+" "+in(b.value))
		}
	}
	detail := ""
	if len(said) > 1 {
		detail = "the least of " + strings.Join(said, ", ")
	}
	r.explain(field, least.rule, detail)
	return least
}

// everyPolicy is what each policy says about a number.
func everyPolicy[T ~int64](policies []Policy, says func(Policy) T) []bound {
	bounds := make([]bound, len(policies))
	for i, p := range policies {
		bounds[i] = asks(says(p), p.Rule())
	}
	return bounds
}

// nearest is what the most specific policy that says something says about a
// number, unless the request names one itself; otherwise where nobody does.
func nearest[T ~int64](asked T, policies []Policy, says func(Policy) T, otherwise bound) bound {
	if asked != 0 {
		return asks(asked, RuleRequest)
	}
	for i := len(policies) - 1; i >= 0; i-- {
		if value := says(policies[i]); value != 0 {
			return asks(value, policies[i].Rule())
		}
	}
	return otherwise
}

// resource is one of the three resources.
type resource struct {
	name string
	most int64 // that a policy may name
	of   func(Resources) int64
	set  func(*Resources, int64)
}

var resources = []resource{
	{"cpu_millis", MaxPolicyCPU, func(r Resources) int64 { return r.CPUMillis }, func(r *Resources, n int64) { r.CPUMillis = n }},
	{"memory_mib", MaxPolicyMiB, func(r Resources) int64 { return r.MemoryMiB }, func(r *Resources, n int64) { r.MemoryMiB = n }},
	{"disk_mib", MaxPolicyMiB, func(r Resources) int64 { return r.DiskMiB }, func(r *Resources, n int64) { r.DiskMiB = n }},
}

// resources narrows those of the manifest. What is still too much is refused: an
// agent that gets less than it asks for would fail later, and be paid for.
func (r *resolution) resources() {
	manifest := Resources(r.Version.Manifest.Resources)
	for _, one := range resources {
		narrowing := nearest(one.of(r.Request.Resources), r.Policies,
			func(p Policy) int64 { return one.of(p.DefaultResources) }, bound{unbound, RuleDefault})
		got := r.narrow("resources."+one.name, count, bound{one.of(manifest), RuleManifest}, narrowing).value
		one.set(&r.plan.Resources, got)
		pointer := "/manifest/resources/" + one.name
		for _, p := range r.Policies {
			if most := one.of(p.MaxResources); most > 0 && got > most {
				r.deny(pointer, "%s allows %d %s, the run asks for %d", p, most, one.name, got)
			}
		}
		if most := one.of(r.Limits.Resources); got > most {
			r.beyond = append(r.beyond, fault.Field{Pointer: pointer,
				Message: fmt.Sprintf("asks for %d %s, this platform gives at most %d", got, one.name, most)})
		}
	}
}

// deadlines narrows those of the manifest. They are never a reason for a denial.
func (r *resolution) deadlines() {
	m, to := r.Version.Manifest.Timeouts, &r.plan.Deadlines
	queue := []bound{nearest(r.Request.QueueTimeout, r.Policies, func(p Policy) time.Duration { return p.DefaultQueue },
		bound{int64(DefaultQueueTimeout), RuleDefault})}
	queue = append(queue, everyPolicy(r.Policies, func(p Policy) time.Duration { return p.MaxQueue })...)
	queue = append(queue, bound{int64(r.Limits.MaxQueue), RulePlatform})
	to.Queue = time.Duration(r.narrow("deadlines.queue_seconds", inSeconds, queue...).value)

	to.Start = seconds(m.StartSeconds)
	r.explain("deadlines.start_seconds", RuleManifest, "")

	run := []bound{
		{int64(seconds(m.RunSeconds)), RuleManifest},
		nearest(r.Request.RunTimeout, r.Policies, func(p Policy) time.Duration { return p.DefaultRun }, bound{unbound, RuleDefault}),
	}
	run = append(run, everyPolicy(r.Policies, func(p Policy) time.Duration { return p.MaxRun })...)
	run = append(run, bound{int64(r.Limits.MaxRun), RulePlatform}, asks(r.Right.Affordable, RulePrice))
	least := r.narrow("deadlines.run_seconds", inSeconds, run...)
	to.Run, r.plan.BudgetBound = time.Duration(least.value), least.rule == RulePrice

	to.Grace = time.Duration(r.narrow("deadlines.grace_seconds", inSeconds,
		bound{int64(seconds(m.GraceSeconds)), RuleManifest}, bound{int64(r.Limits.MaxGrace), RulePlatform}).value)
}

// retention is the shortest time that a policy keeps a body.
func (r *resolution) retention() {
	keep := &r.plan.Retention
	for _, body := range []struct {
		field string
		of    func(Policy) time.Duration
		to    *time.Duration
	}{
		{"retention.input_seconds", func(p Policy) time.Duration { return p.KeepInput }, &keep.Input},
		{"retention.output_seconds", func(p Policy) time.Duration { return p.KeepOutput }, &keep.Output},
		{"retention.log_seconds", func(p Policy) time.Duration { return p.KeepLog }, &keep.Log},
	} {
		bounds := append([]bound{{unbound, RuleDefault}}, everyPolicy(r.Policies, body.of)...)
		if least := r.narrow(body.field, inSeconds, bounds...); least.value != unbound {
			*body.to = time.Duration(least.value)
		}
	}
}
