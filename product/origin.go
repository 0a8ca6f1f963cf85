package product

import "agentmarket/ids"

// Origin is where a run came from.
type Origin struct {
	Kind       OriginKind
	ScheduleID ids.Schedule
	RetryOf    ids.Run // the run that this one repeats
	// ParentID is the run that started this one, RootID the first of that tree,
	// Depth the number of runs above it. Empty and 0 for a run of its own.
	ParentID ids.Run
	RootID   ids.Run
	Depth    int
}

// OriginKind says what made a run.
type OriginKind string

// The kinds.
const (
	OriginAPI      OriginKind = "api"
	OriginSchedule OriginKind = "schedule"
	OriginRetry    OriginKind = "retry"
	OriginChild    OriginKind = "child"
)

// The bounds of a tree of runs.
const (
	MaxTreeDepth = 5   // runs above a run
	MaxTreeRuns  = 100 // runs below the root
)
