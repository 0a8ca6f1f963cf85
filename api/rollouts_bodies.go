package api

import (
	"context"
	"fmt"
	"time"

	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/marketplace"
	"agentmarket/product"
)

type (
	// rolloutBody is a version on its way to those who follow a channel.
	rolloutBody struct {
		ID         string              `json:"id" example:"rol_01jd3m0f9zq4x8v5c7n2b6k1ta"`
		Agent      string              `json:"agent" example:"acme/greeter"`
		Channel    string              `json:"channel" example:"stable"`
		From       string              `json:"from" doc:"The version that the others keep." example:"1.2.0"`
		Version    string              `json:"version" doc:"The version that is rolled out." example:"1.3.0"`
		Status     string              `json:"status" doc:"running, paused, completed or rolled_back; the set may grow."`
		Reason     string              `json:"reason,omitempty" doc:"Why it is where it is, for people."`
		Stage      int                 `json:"stage" doc:"The current stage, from 1." example:"2"`
		Percent    int                 `json:"percent" doc:"The share of organizations that the current stage reaches, beside those that are named." example:"10"`
		Stages     []stageBody         `json:"stages"`
		Thresholds thresholdsBody      `json:"thresholds"`
		Samples    *rolloutSamplesBody `json:"samples,omitempty" doc:"The runs that were started since the rollout began and have ended. Not in lists."`
		CreatedAt  time.Time           `json:"created_at"`
		StagedAt   time.Time           `json:"staged_at" doc:"When the current stage began."`
		AdvancesAt *time.Time          `json:"advances_at,omitempty" doc:"When the current stage is over. Absent: when somebody advances it."`
		UpdatedAt  time.Time           `json:"updated_at"`
		EndedAt    *time.Time          `json:"ended_at,omitempty"`
	}
	stageBody struct {
		Organizations   []string `json:"organizations,omitempty" maxItems:"100" doc:"Names of organizations that get the version, whatever the share." example:"[\"globex\"]"`
		Percent         int      `json:"percent,omitempty" minimum:"0" maximum:"100" doc:"The share of all organizations; not less than in the stage before." example:"10"`
		DurationSeconds int64    `json:"duration_seconds,omitempty" minimum:"0" maximum:"2592000" doc:"After which the next stage begins. 0: when somebody advances it." example:"86400"`
	}
	thresholdsBody struct {
		MinSamples     int     `json:"min_samples" doc:"Ended runs of the new version before it is judged." example:"20"`
		FailureRate    float64 `json:"failure_rate" doc:"By how much the share of failed runs may grow." example:"0.1"`
		CostFactor     float64 `json:"cost_factor" doc:"By which factor the mean cost of a run may grow; 0: it is not judged." example:"1.5"`
		DurationFactor float64 `json:"duration_factor" doc:"By which factor the mean duration of a run may grow; 0: it is not judged." example:"2"`
	}
	rolloutSamplesBody struct {
		From    samplesBody `json:"from"`
		Version samplesBody `json:"version"`
	}
	samplesBody struct {
		Runs        int64   `json:"runs" doc:"Without those that the caller or the platform ended."`
		Failed      int64   `json:"failed"`
		FailureRate float64 `json:"failure_rate" example:"0.05"`
		MeanMicros  int64   `json:"mean_cost_micros"`
		MeanSeconds float64 `json:"mean_duration_seconds"`
	}
)

func rolloutBodyOf(agent product.Agent, names map[ids.Org]string, r product.Rollout) rolloutBody {
	body := rolloutBody{
		ID: string(r.ID), Agent: agent.FullName(), Channel: r.Channel, From: r.From, Version: r.To,
		Status: string(r.Status), Reason: r.Reason, Stage: r.Stage + 1, Percent: r.Percent(),
		Thresholds: thresholdsBody{r.Thresholds.MinSamples, r.Thresholds.FailureRate, r.Thresholds.Cost, r.Thresholds.Duration},
		CreatedAt:  r.CreatedAt.UTC(), StagedAt: r.StagedAt.UTC(), UpdatedAt: r.UpdatedAt.UTC(), EndedAt: when(r.EndedAt),
	}
	for _, s := range r.Stages {
		stage := stageBody{Percent: s.Percent, DurationSeconds: int64(s.Duration / time.Second)}
		for _, org := range s.Organizations {
			stage.Organizations = append(stage.Organizations, names[org])
		}
		body.Stages = append(body.Stages, stage)
	}
	if lasts := r.Stages[r.Stage].Duration; lasts > 0 && r.Status == product.RolloutRunning {
		body.AdvancesAt = when(r.StagedAt.Add(lasts))
	}
	return body
}

func samplesBodyOf(s product.Samples) samplesBody {
	body := samplesBody{Runs: s.Runs, Failed: s.Failed}
	if s.Runs > 0 {
		body.FailureRate = float64(s.Failed) / float64(s.Runs)
		body.MeanMicros = s.Micros / s.Runs
		body.MeanSeconds = s.Duration.Seconds() / float64(s.Runs)
	}
	return body
}

// namesOf are the names of the organizations that rollouts name, found at once.
func (a *app) namesOf(ctx context.Context, rollouts ...product.Rollout) (map[ids.Org]string, error) {
	var orgs []ids.Org
	for _, r := range rollouts {
		for _, s := range r.Stages {
			orgs = append(orgs, s.Organizations...)
		}
	}
	found, err := a.Marketplace.FindOrganizations(ctx, nil, orgs)
	names := make(map[ids.Org]string, len(found))
	for _, org := range found {
		names[org.ID] = org.Name
	}
	return names, err
}

// stagesOf reads stages. An organization that does not exist is named where it
// stands.
func (a *app) stagesOf(ctx context.Context, bodies []stageBody) ([]product.Stage, error) {
	var names []string
	for _, b := range bodies {
		names = append(names, b.Organizations...)
	}
	if len(names) > product.MaxStageOrganizations {
		return nil, requestInvalid(fault.Field{Pointer: "/stages", Message: fmt.Sprintf("must name at most %d organizations", product.MaxStageOrganizations)})
	}
	found, err := a.Marketplace.FindOrganizations(ctx, names, nil)
	if err != nil {
		return nil, err
	}
	known := make(map[string]marketplace.Organization, len(found))
	for _, org := range found {
		known[org.Name] = org
	}
	var fields []fault.Field
	stages := make([]product.Stage, len(bodies))
	for i, b := range bodies {
		stages[i] = product.Stage{Percent: b.Percent, Duration: time.Duration(b.DurationSeconds) * time.Second}
		for j, name := range b.Organizations {
			org, exists := known[name]
			if !exists {
				fields = append(fields, fault.Field{Pointer: fmt.Sprintf("/stages/%d/organizations/%d", i, j), Message: "is no organization"})
			}
			stages[i].Organizations = append(stages[i].Organizations, org.ID)
		}
	}
	if len(fields) > 0 {
		return nil, requestInvalid(fields[:min(len(fields), maxFieldErrors)]...)
	}
	return stages, nil
}
