package activities

import (
	"context"
	"fmt"
	"time"

	"agentmarket/audit"
	"agentmarket/ids"
	"agentmarket/product"
)

// Rollouts is what the workflows of rollouts ask of layer 2.
type Rollouts struct {
	Store product.RolloutStore
	Now   func() time.Time
	// Interval is the longest time between two looks at a rollout that goes on:
	// how late a version that is worse may be found out. Default: 30 seconds.
	Interval time.Duration
}

const (
	rolloutInterval = 30 * time.Second
	// pausedInterval is how long a rollout that is paused believes that it would
	// be told of a change.
	pausedInterval = 24 * time.Hour
)

// rolloutActor writes what a rollout does by itself to the audit log.
var rolloutActor = audit.System("rollout")

// EvaluateRolloutInput names the rollout.
type EvaluateRolloutInput struct {
	RolloutID ids.Rollout `json:"rollout_id"`
}

// RolloutView is where a rollout stands after a look at it.
type RolloutView struct {
	Status  product.RolloutStatus `json:"status"`
	Stage   int                   `json:"stage"` // from 0
	Stages  int                   `json:"stages"`
	Percent int                   `json:"percent"`
	// NextLook is how long to wait before the next look; 0: none is needed.
	NextLook time.Duration `json:"next_look,omitempty"`
	Channel  string        `json:"channel"`
	Version  string        `json:"version"`
	Summary  string        `json:"summary"` // for people
}

// EvaluateRollout looks at a rollout and does what is due: it rolls back one whose
// version is worse than the one before, and begins the next stage of one whose
// stage has lasted. It chooses for new runs only; those that go on keep their
// version. What follows from the same samples is done once, however often it is
// repeated.
func (s *Rollouts) EvaluateRollout(ctx context.Context, in EvaluateRolloutInput) (RolloutView, error) {
	view, err := s.evaluate(ctx, in.RolloutID)
	return view, toTemporal(err)
}

func (s *Rollouts) evaluate(ctx context.Context, id ids.Rollout) (RolloutView, error) {
	rollout, err := s.Store.Rollout(ctx, id)
	if err != nil {
		return RolloutView{}, err
	}
	now := s.Now()
	var samples map[ids.Version]product.OrgSamples
	if rollout.Status == product.RolloutRunning {
		samples, err = s.Store.Samples(ctx, rollout)
		if err != nil {
			return RolloutView{}, err
		}
		if next := nextStep(rollout, samples, now); next.do != nil {
			rollout, err = s.Store.UpdateRollout(ctx, rolloutActor, id, next.action, false, func(r *product.Rollout) error {
				if again := nextStep(*r, samples, now); again.action == next.action {
					return again.do(r)
				}
				return nil // somebody has changed it: the next look finds what is due
			})
			if err != nil {
				return RolloutView{}, err
			}
		}
	}
	return s.view(rollout, samples, now), nil
}

// step is what is due of a rollout: an action of the audit log and how it is done;
// nothing without do.
type step struct {
	action string
	do     func(*product.Rollout) error
}

// nextStep decides what is due of a rollout.
func nextStep(r product.Rollout, samples map[ids.Version]product.OrgSamples, now time.Time) step {
	if r.Status != product.RolloutRunning {
		return step{}
	}
	if why := r.Judge(samples[r.FromID], samples[r.ToID]); why != "" {
		return step{"rollout.rollback", func(r *product.Rollout) error { return r.RollBack(why, now) }}
	}
	lasts := r.Stages[r.Stage].Duration
	if lasts == 0 || now.Before(r.StagedAt.Add(lasts)) {
		return step{}
	}
	action := "rollout.advance"
	if r.Stage == len(r.Stages)-1 {
		action = "rollout.complete"
	}
	from := r.Stage
	return step{action, func(r *product.Rollout) error { return r.Advance(from, now) }}
}

// view says where a rollout stands and when to look at it again.
func (s *Rollouts) view(r product.Rollout, samples map[ids.Version]product.OrgSamples, now time.Time) RolloutView {
	view := RolloutView{
		Status: r.Status, Stage: r.Stage, Stages: len(r.Stages), Percent: r.Percent(), Channel: r.Channel, Version: r.To,
	}
	switch r.Status {
	case product.RolloutRunning:
		view.NextLook = s.Interval
		if view.NextLook == 0 {
			view.NextLook = rolloutInterval
		}
		if lasts := r.Stages[r.Stage].Duration; lasts > 0 {
			// Never at once: a change that was not made here is due again.
			view.NextLook = min(view.NextLook, max(r.StagedAt.Add(lasts).Sub(now), time.Second))
		}
		view.Summary = fmt.Sprintf("stage %d of %d: %d %% of the organizations get %s instead of %s; %s; %s",
			r.Stage+1, len(r.Stages), view.Percent, r.To, r.From, told(r.To, samples[r.ToID].Sum()), told(r.From, samples[r.FromID].Sum()))
	case product.RolloutPaused:
		view.NextLook = pausedInterval
		view.Summary = fmt.Sprintf("paused in stage %d of %d", r.Stage+1, len(r.Stages))
	default:
		view.Summary = string(r.Status)
	}
	if r.Reason != "" {
		view.Summary += ": " + r.Reason
	}
	return view
}

func told(number string, s product.Samples) string {
	return fmt.Sprintf("%d runs of %s have ended, %d failed", s.Runs, number, s.Failed)
}
