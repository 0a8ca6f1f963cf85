package product

import (
	"time"

	"agentmarket/fault"
)

// Limit bounds what the runs of a scope may use together. Zero values are no
// bound.
type Limit struct {
	Scope Scope
	// ConcurrentRuns, CPUMillis and MemoryMiB bound what is in flight. A run that
	// does not fit waits in the queue.
	ConcurrentRuns int64
	CPUMillis      int64
	MemoryMiB      int64
	// RunsPerDay and RunsPerMonth bound what is admitted in a day or a calendar
	// month (UTC). A run beyond them is refused: waiting would not help in time.
	RunsPerDay   int64
	RunsPerMonth int64

	UpdatedBy string
	UpdatedAt time.Time
}

// Usage is what the runs of a scope use now.
type Usage struct {
	Scope                         Scope
	Running, CPUMillis, MemoryMiB int64
	Waiting                       int64 // in the queue because of this scope
	RunsToday, RunsThisMonth      int64
}

// MaxLimit bounds every number of a limit.
const MaxLimit = int64(1) << 40

// CodeLimitReached is the code of a start beyond a limit per day or month, and of
// a run that could never fit.
const CodeLimitReached = "limit_reached"

// Check returns fault.Invalid with every field that is wrong.
func (l Limit) Check() error {
	var fields []fault.Field
	for _, f := range []struct {
		name  string
		value int64
	}{
		{"concurrent_runs", l.ConcurrentRuns}, {"cpu_millis", l.CPUMillis}, {"memory_mib", l.MemoryMiB},
		{"runs_per_day", l.RunsPerDay}, {"runs_per_month", l.RunsPerMonth},
	} {
		if f.value < 0 || f.value > MaxLimit {
			fields = append(fields, fault.Field{Pointer: "/" + f.name, Message: "must not be negative, or larger than 2^40"})
		}
	}
	if len(fields) > 0 {
		return fault.New(fault.Invalid, "limit_invalid", "the limit is not valid").WithFields(fields...)
	}
	return nil
}

// Bound names a number of a limit.
type Bound string

// The bounds that make a run wait.
const (
	BoundRuns   Bound = "concurrent_runs"
	BoundCPU    Bound = "cpu_millis"
	BoundMemory Bound = "memory_mib"
)

// Of returns the number of a bound; 0: none.
func (l Limit) Of(b Bound) int64 {
	switch b {
	case BoundRuns:
		return l.ConcurrentRuns
	case BoundCPU:
		return l.CPUMillis
	default:
		return l.MemoryMiB
	}
}

// Blocks returns the bound that a run with these resources does not fit under now;
// "" where it fits.
func (l Limit) Blocks(u Usage, r Resources) Bound {
	switch {
	case l.ConcurrentRuns > 0 && u.Running >= l.ConcurrentRuns:
		return BoundRuns
	case l.CPUMillis > 0 && u.CPUMillis+r.CPUMillis > l.CPUMillis:
		return BoundCPU
	case l.MemoryMiB > 0 && u.MemoryMiB+r.MemoryMiB > l.MemoryMiB:
		return BoundMemory
	}
	return ""
}

// Never returns fault.Forbidden, limit_reached, for a run that does not fit even
// while nothing else runs, and for one beyond the runs of the day or the month.
func (l Limit) Never(u Usage, r Resources) error {
	refuse := func(what string, n int64) error {
		return fault.Newf(fault.Forbidden, CodeLimitReached, "the limit of the %s allows %d %s", l.Scope.Kind, n, what)
	}
	switch {
	case l.CPUMillis > 0 && r.CPUMillis > l.CPUMillis:
		return refuse("thousandths of a core in flight, and the run alone asks for more", l.CPUMillis)
	case l.MemoryMiB > 0 && r.MemoryMiB > l.MemoryMiB:
		return refuse("MiB of memory in flight, and the run alone asks for more", l.MemoryMiB)
	case l.RunsPerDay > 0 && u.RunsToday >= l.RunsPerDay:
		return refuse("runs a day", l.RunsPerDay)
	case l.RunsPerMonth > 0 && u.RunsThisMonth >= l.RunsPerMonth:
		return refuse("runs a month", l.RunsPerMonth)
	}
	return nil
}
