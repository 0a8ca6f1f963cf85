package product

import (
	"fmt"
	"time"
)

// Wait is where a run stands that waits for a slot.
type Wait struct {
	// Scope and Bound are the limit that the run does not fit under, Limit its
	// number.
	Scope Scope
	Bound Bound
	Limit int64
	// Position is 1 for the run that is next for this limit.
	Position int
	Since    time.Time
}

// Reason says for people what a run waits for.
func (w Wait) Reason() string {
	what := map[Bound]string{BoundRuns: "runs at once", BoundCPU: "thousandths of a core in flight", BoundMemory: "MiB of memory in flight"}
	return fmt.Sprintf("the limit of the %s: %d %s", w.Scope.Kind, w.Limit, what[w.Bound])
}

// Repair is what was wrong with slots and is not any more.
type Repair struct {
	Leaked   int // slots of runs that have ended
	Stranded int // places in the queue of runs that have ended
	Counters int // counts that were not those of the slots
}
