package store

import (
	"time"

	"agentmarket/ids"
	"agentmarket/product"
)

type rolloutRow struct {
	ID         string
	AgentID    string
	Channel    string
	FromID     string
	FromNumber string
	ToID       string
	ToNumber   string
	Stages     document[[]stageDocument]
	Stage      int
	Thresholds document[thresholdsDocument]
	Status     string
	Reason     string
	CreatedAt  stamp
	StagedAt   stamp
	UpdatedAt  stamp
	EndedAt    stamp
	// Revision counts the changes. DispatchDueAt is when the workflow engine has
	// to be told of the rollout; null while it knows everything.
	Revision      int64
	DispatchDueAt stamp
}

func (rolloutRow) TableName() string { return "rollouts" }

const rolloutColumns = `id, agent_id, channel, from_id, from_number, to_id, to_number, stages, stage, thresholds,
    status, reason, created_at, staged_at, updated_at, ended_at, revision, dispatch_due_at`

// The stored shapes. Fields are added, never renamed or reused.
type (
	stageDocument struct {
		Organizations []ids.Org `json:"organizations,omitempty"`
		Percent       int       `json:"percent"`
		DurationNS    int64     `json:"duration_ns,omitempty"`
	}
	thresholdsDocument struct {
		MinSamples  int     `json:"min_samples"`
		FailureRate float64 `json:"failure_rate"`
		Cost        float64 `json:"cost,omitempty"`
		Duration    float64 `json:"duration,omitempty"`
	}
)

func rowFromRollout(r product.Rollout) rolloutRow {
	stages := make([]stageDocument, len(r.Stages))
	for i, s := range r.Stages {
		stages[i] = stageDocument{append([]ids.Org(nil), s.Organizations...), s.Percent, int64(s.Duration)}
	}
	return rolloutRow{
		ID: string(r.ID), AgentID: string(r.AgentID), Channel: r.Channel,
		FromID: string(r.FromID), FromNumber: r.From, ToID: string(r.ToID), ToNumber: r.To,
		Stages: documentOf(stages), Stage: r.Stage, Thresholds: documentOf(thresholdsDocument(r.Thresholds)),
		Status: string(r.Status), Reason: printable(r.Reason),
		CreatedAt: at(r.CreatedAt), StagedAt: at(r.StagedAt), UpdatedAt: at(r.UpdatedAt), EndedAt: at(r.EndedAt),
		Revision: r.Revision,
	}
}

func rolloutFromRow(r rolloutRow) product.Rollout {
	rollout := product.Rollout{
		ID: ids.Rollout(r.ID), AgentID: ids.Agent(r.AgentID), Channel: r.Channel,
		FromID: ids.Version(r.FromID), From: r.FromNumber, ToID: ids.Version(r.ToID), To: r.ToNumber,
		Stage: r.Stage, Thresholds: product.Thresholds(*r.Thresholds.value),
		Status: product.RolloutStatus(r.Status), Reason: r.Reason,
		CreatedAt: r.CreatedAt.t, StagedAt: r.StagedAt.t, UpdatedAt: r.UpdatedAt.t, EndedAt: r.EndedAt.t,
		Revision: r.Revision,
	}
	for _, s := range *r.Stages.value {
		rollout.Stages = append(rollout.Stages, product.Stage{
			Organizations: append([]ids.Org(nil), s.Organizations...), Percent: s.Percent, Duration: time.Duration(s.DurationNS),
		})
	}
	return rollout
}

func rolloutsFromRows(rows []rolloutRow) []product.Rollout {
	rollouts := make([]product.Rollout, len(rows))
	for i, row := range rows {
		rollouts[i] = rolloutFromRow(row)
	}
	return rollouts
}

// rolloutEntry is a rollout in the audit log.
type rolloutEntry struct {
	Channel string `json:"channel"`
	From    string `json:"from"`
	To      string `json:"to"`
	Status  string `json:"status"`
	Stage   int    `json:"stage"`
	Reason  string `json:"reason,omitempty"`
}

func (r rolloutRow) entry() rolloutEntry {
	return rolloutEntry{r.Channel, r.FromNumber, r.ToNumber, r.Status, r.Stage, r.Reason}
}
