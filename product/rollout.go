package product

import (
	"time"

	"agentmarket/ids"
)

// Rollout brings a version to the organizations that follow a channel step by
// step: first those that are named, then a share of all, then everybody. An
// organization that has got the version keeps it for as long as the rollout goes
// on. The channel points at From until the rollout is complete.
type Rollout struct {
	ID      ids.Rollout
	AgentID ids.Agent
	Channel string
	FromID  ids.Version
	From    string // number
	ToID    ids.Version
	To      string

	Stages     []Stage
	Stage      int // index of the current one
	Thresholds Thresholds

	Status    RolloutStatus
	Reason    string // why it is where it is, for people
	CreatedAt time.Time
	StagedAt  time.Time // when the current stage began
	UpdatedAt time.Time
	EndedAt   time.Time
	// Revision grows with every change: what Temporal was told of is compared.
	Revision int64
}

// Stage is one step of a rollout.
type Stage struct {
	Organizations []ids.Org
	Percent       int           // of all organizations, 0 to 100
	Duration      time.Duration // before the next stage; 0: until somebody advances it
}

// Thresholds say when the new version is worse than the old one.
type Thresholds struct {
	MinSamples int // samples of the new version before it is judged
	// FailureRate is by how much the share of failed runs may grow, 0 to 1.
	FailureRate float64
	// Cost and Duration are by which factor the mean may grow; 0: not judged.
	Cost     float64
	Duration float64
}

// RolloutStatus is the state of a rollout.
type RolloutStatus string

// The states. Terminal ones never change.
const (
	RolloutRunning    RolloutStatus = "running"
	RolloutPaused     RolloutStatus = "paused"
	RolloutCompleted  RolloutStatus = "completed"
	RolloutRolledBack RolloutStatus = "rolled_back"
)

// Active reports whether the rollout decides about versions.
func (s RolloutStatus) Active() bool { return s == RolloutRunning || s == RolloutPaused }
