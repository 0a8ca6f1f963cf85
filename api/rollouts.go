package api

import (
	"cmp"
	"context"
	"net/http"
	"time"

	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/marketplace"
	"agentmarket/product"
)

type (
	thresholdsRequest struct {
		MinSamples     *int     `json:"min_samples,omitempty" minimum:"1" maximum:"1000000" doc:"Ended runs of the new version before it is judged. Default: 20." example:"20"`
		FailureRate    *float64 `json:"failure_rate,omitempty" minimum:"0" maximum:"1" doc:"By how much the share of failed runs may grow. Default: 0.1." example:"0.1"`
		CostFactor     float64  `json:"cost_factor,omitempty" minimum:"0" maximum:"1000" doc:"By which factor the mean cost of a run may grow, from 1. Default: it is not judged." example:"1.5"`
		DurationFactor float64  `json:"duration_factor,omitempty" minimum:"0" maximum:"1000" doc:"By which factor the mean duration of a run may grow, from 1. Default: it is not judged." example:"2"`
	}
	rolloutRequest struct {
		Channel    string            `json:"channel,omitempty" maxLength:"40" doc:"Default: stable." example:"stable"`
		Version    string            `json:"version" minLength:"1" maxLength:"64" doc:"A number, or latest." example:"1.3.0"`
		From       string            `json:"from,omitempty" maxLength:"64" doc:"The version that the others keep. Default: the one that the channel points at." example:"1.2.0"`
		Stages     []stageBody       `json:"stages" minItems:"1" maxItems:"20"`
		Thresholds thresholdsRequest `json:"thresholds,omitempty"`
	}
	createRolloutInput struct {
		Publisher string `path:"publisher" maxLength:"40" example:"acme"`
		Name      string `path:"name" maxLength:"40" example:"greeter"`
		Body      rolloutRequest
	}
	listRolloutsInput struct {
		Publisher string `path:"publisher" maxLength:"40" example:"acme"`
		Name      string `path:"name" maxLength:"40" example:"greeter"`
		Limit     int    `query:"limit" minimum:"1" maximum:"200" default:"50"`
		Cursor    string `query:"cursor" maxLength:"200"`
	}
	rolloutInput struct {
		Publisher string `path:"publisher" maxLength:"40" example:"acme"`
		Name      string `path:"name" maxLength:"40" example:"greeter"`
		ID        string `path:"id" example:"rol_01jd3m0f9zq4x8v5c7n2b6k1ta"`
	}
	rolloutReason struct {
		Reason string `json:"reason,omitempty" maxLength:"1000" doc:"For people." example:"The answers are in the wrong language."`
	}
	changeRolloutInput struct {
		Publisher string `path:"publisher" maxLength:"40" example:"acme"`
		Name      string `path:"name" maxLength:"40" example:"greeter"`
		ID        string `path:"id" example:"rol_01jd3m0f9zq4x8v5c7n2b6k1ta"`
		Body      *rolloutReason
	}
	advanceRequest struct {
		Stage int `json:"stage" minimum:"1" maximum:"20" doc:"The stage that you see it in, from 1: who is slower than another caller advances nothing." example:"1"`
	}
	advanceRolloutInput struct {
		Publisher string `path:"publisher" maxLength:"40" example:"acme"`
		Name      string `path:"name" maxLength:"40" example:"greeter"`
		ID        string `path:"id" example:"rol_01jd3m0f9zq4x8v5c7n2b6k1ta"`
		Body      advanceRequest
	}
	createdRollout struct {
		Location string `header:"Location" doc:"The rollout."`
		Body     rolloutBody
	}
	rolloutAnswer  struct{ Body rolloutBody }
	rolloutsAnswer struct{ Body page[rolloutBody] }
)

func (a *app) routeRollouts() {
	const path = "/v1/agents/{publisher}/{name}/rollouts"
	handle(a, route{
		id: "create-rollout", method: http.MethodPost, path: path, tag: tagPublishing, action: marketplace.ActRolloutsManage,
		status: http.StatusCreated, summary: "Bring a version to those who follow a channel, step by step",
		description: "The channel points at the old version until the last stage is over. The rollout goes from stage to stage by itself, " +
			"and rolls back by itself when the new version fails, costs or lasts more than the thresholds allow. Runs that go on keep their version. " +
			"An organization that has not consented to what the new version asks for keeps the old one.",
		problems: []string{"agent_not_found", "version_not_found", "rollout_active", "rollout_invalid"},
	}, a.createRollout)
	handle(a, route{
		id: "list-rollouts", method: http.MethodGet, path: path, tag: tagPublishing, action: marketplace.ActAgentsRead,
		summary:     "List the rollouts of your agent, newest first",
		description: "Shows what was rolled out, and how it ended.",
		problems:    []string{"agent_not_found", "cursor_invalid"},
	}, a.listRollouts)
	handle(a, route{
		id: "get-rollout", method: http.MethodGet, path: path + "/{id}", tag: tagPublishing, action: marketplace.ActAgentsRead,
		summary:     "Get a rollout with its samples",
		description: "Shows the stage, whom it reaches, and the ended runs of both versions that it is judged by.",
		problems:    []string{"agent_not_found", "rollout_not_found"},
	}, a.getRollout)
	a.routeRolloutSteps(path + "/{id}")
}

func (a *app) routeRolloutSteps(path string) {
	handle(a, route{
		id: "advance-rollout", method: http.MethodPost, path: path + "/advance", tag: tagPublishing,
		action: marketplace.ActRolloutsManage, summary: "Begin the next stage of a rollout now",
		description: "After the last stage the rollout is completed: the channel points at the new version. " +
			"A rollout that is in another stage than you see stays there.",
		problems: []string{"agent_not_found", "rollout_not_found", "rollout_state", "rollout_stage"},
	}, func(ctx context.Context, in *advanceRolloutInput) (*rolloutAnswer, error) {
		return a.changeRollout(ctx, rolloutInput{in.Publisher, in.Name, in.ID}, "rollout.advance",
			func(r *product.Rollout) error { return r.Advance(in.Body.Stage-1, a.Now()) })
	})
	for _, step := range []struct {
		name, summary, description string
		do                         func(*product.Rollout, string, time.Time) error
	}{
		{
			"pause", "Pause a rollout",
			"It stays in its stage, and is not judged meanwhile. Who has got the version keeps it. A second call changes nothing.",
			func(r *product.Rollout, why string, now time.Time) error { return r.Pause(why, now) },
		},
		{
			"resume", "Go on with a rollout that is paused",
			"Its stage lasts as much longer as it was paused. A second call changes nothing.",
			func(r *product.Rollout, _ string, now time.Time) error { return r.Resume(now) },
		},
		{
			"rollback", "Roll back",
			"New runs of everybody who follows the channel get the old version from now on; runs that go on keep theirs. A second call changes nothing.",
			func(r *product.Rollout, why string, now time.Time) error {
				return r.RollBack(cmp.Or(why, "rolled back by its publisher"), now)
			},
		},
	} {
		handle(a, route{
			id: step.name + "-rollout", method: http.MethodPost, path: path + "/" + step.name, tag: tagPublishing,
			action: marketplace.ActRolloutsManage, optionalBody: true, summary: step.summary, description: step.description,
			problems: []string{"agent_not_found", "rollout_not_found", "rollout_state"},
		}, func(ctx context.Context, in *changeRolloutInput) (*rolloutAnswer, error) {
			why := ""
			if in.Body != nil {
				why = in.Body.Reason
			}
			return a.changeRollout(ctx, rolloutInput{in.Publisher, in.Name, in.ID}, "rollout."+step.name, func(r *product.Rollout) error { return step.do(r, why, a.Now()) })
		})
	}
}

func (a *app) createRollout(ctx context.Context, in *createRolloutInput) (*createdRollout, error) {
	agent, err := a.ownAgent(ctx, in.Publisher, in.Name)
	if err != nil {
		return nil, err
	}
	channel := cmp.Or(in.Body.Channel, product.ChannelStable)
	if !product.ValidChannel(channel) {
		return nil, requestInvalid(fault.Field{Pointer: "/channel", Message: channelRule})
	}
	to, err := a.namedVersion(ctx, agent, in.Body.Version)
	if err != nil {
		return nil, err
	}
	from, err := a.rolloutFrom(ctx, agent, channel, in.Body.From, to)
	if err != nil {
		return nil, err
	}
	stages, err := a.stagesOf(ctx, in.Body.Stages)
	if err != nil {
		return nil, err
	}
	rollout, err := product.NewRollout(channel, from, to, stages, in.Body.Thresholds.thresholds(), a.Now())
	if err != nil {
		return nil, err
	}
	if err := a.Control.CreateRollout(ctx, actor(ctx), rollout); err != nil {
		return nil, err
	}
	names, err := a.namesOf(ctx, rollout)
	if err != nil {
		return nil, err
	}
	return &createdRollout{
		Location: agentPath(in.Publisher, in.Name) + "/rollouts/" + string(rollout.ID), Body: rolloutBodyOf(agent, names, rollout),
	}, nil
}

// rolloutFrom finds the version that a rollout begins with: the one that is
// named, or the one that the channel points at.
func (a *app) rolloutFrom(ctx context.Context, agent product.Agent, channel, named string, to product.Version) (product.Version, error) {
	if named != "" {
		return a.namedVersion(ctx, agent, named)
	}
	from, err := a.Channels.Resolve(ctx, agent.ID, channel)
	switch {
	case fault.Is(err, fault.NotFound):
		return from, requestInvalid(fault.Field{Pointer: "/from", Message: "is required: the channel is not set"})
	case err == nil && from.ID == to.ID:
		return from, requestInvalid(fault.Field{Pointer: "/from", Message: "is required: the channel points at the version already"})
	}
	return from, err
}

// The thresholds of who names none.
const (
	defaultMinSamples  = 20
	defaultFailureRate = 0.1
)

func (t thresholdsRequest) thresholds() product.Thresholds {
	thresholds := product.Thresholds{MinSamples: defaultMinSamples, FailureRate: defaultFailureRate, Cost: t.CostFactor, Duration: t.DurationFactor}
	if t.MinSamples != nil {
		thresholds.MinSamples = *t.MinSamples
	}
	if t.FailureRate != nil {
		thresholds.FailureRate = *t.FailureRate
	}
	return thresholds
}

func (a *app) listRollouts(ctx context.Context, in *listRolloutsInput) (*rolloutsAnswer, error) {
	before, err := decodeCursor[ids.Rollout](ids.PrefixRollout, in.Cursor)
	if err != nil {
		return nil, err
	}
	agent, err := a.ownAgent(ctx, in.Publisher, in.Name)
	if err != nil {
		return nil, err
	}
	found, err := a.Control.Rollouts(ctx, agent.ID, before, in.Limit+1)
	if err != nil {
		return nil, err
	}
	names, err := a.namesOf(ctx, found...)
	if err != nil {
		return nil, err
	}
	return &rolloutsAnswer{pageOf(found, in.Limit, func(r product.Rollout) ids.Rollout { return r.ID },
		func(r product.Rollout) rolloutBody { return rolloutBodyOf(agent, names, r) })}, nil
}

// ownRollout finds a rollout of an agent that the caller's organization publishes.
func (a *app) ownRollout(ctx context.Context, in rolloutInput) (product.Agent, product.Rollout, error) {
	agent, err := a.ownAgent(ctx, in.Publisher, in.Name)
	if err != nil {
		return agent, product.Rollout{}, err
	}
	if err := known(ids.PrefixRollout, in.ID, "rollout"); err != nil {
		return agent, product.Rollout{}, err
	}
	rollout, err := a.Control.Rollout(ctx, ids.Rollout(in.ID))
	if err == nil && rollout.AgentID != agent.ID {
		err = fault.Newf(fault.NotFound, "rollout_not_found", "there is no rollout %s", in.ID)
	}
	return agent, rollout, err
}

func (a *app) getRollout(ctx context.Context, in *rolloutInput) (*rolloutAnswer, error) {
	agent, rollout, err := a.ownRollout(ctx, *in)
	if err != nil {
		return nil, err
	}
	samples, err := a.Control.Samples(ctx, rollout)
	if err != nil {
		return nil, err
	}
	names, err := a.namesOf(ctx, rollout)
	if err != nil {
		return nil, err
	}
	body := rolloutBodyOf(agent, names, rollout)
	body.Samples = &rolloutSamplesBody{From: samplesBodyOf(samples[rollout.FromID].Sum()), Version: samplesBodyOf(samples[rollout.ToID].Sum())}
	return &rolloutAnswer{body}, nil
}

// changeRollout stores a change; the relay wakes the workflow of the rollout.
func (a *app) changeRollout(ctx context.Context, in rolloutInput, action string, change func(*product.Rollout) error) (*rolloutAnswer, error) {
	agent, rollout, err := a.ownRollout(ctx, in)
	if err != nil {
		return nil, err
	}
	rollout, err = a.Control.UpdateRollout(ctx, actor(ctx), rollout.ID, action, true, change)
	if err != nil {
		return nil, err
	}
	names, err := a.namesOf(ctx, rollout)
	if err != nil {
		return nil, err
	}
	return &rolloutAnswer{rolloutBodyOf(agent, names, rollout)}, nil
}
