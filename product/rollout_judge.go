package product

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"time"

	"agentmarket/fault"
	"agentmarket/ids"
)

// The bounds of rollouts.
const (
	MaxStages             = 20
	MaxStageOrganizations = 100 // that are named in one stage
	MaxStageDuration      = 30 * 24 * time.Hour
	MaxSamples            = 1_000_000 // of Thresholds.MinSamples
	MaxFactor             = 1000      // of Thresholds.Cost and Duration
	MaxRolloutReason      = 1000      // characters
)

// NewRollout is a rollout in its first stage, or fault.Invalid with the code
// rollout_invalid and what is wrong.
func NewRollout(channel string, from, to Version, stages []Stage, t Thresholds, now time.Time) (Rollout, error) {
	r := Rollout{
		ID: ids.New[ids.Rollout](ids.PrefixRollout), AgentID: to.AgentID, Channel: channel,
		FromID: from.ID, From: from.Number, ToID: to.ID, To: to.Number,
		Stages: stages, Thresholds: t,
		Status: RolloutRunning, CreatedAt: now, StagedAt: now, UpdatedAt: now,
	}
	if err := r.Check(); err != nil {
		return Rollout{}, err
	}
	return r, nil
}

// Check is fault.Invalid, rollout_invalid, for a rollout that could not be carried
// out.
func (r Rollout) Check() error {
	var fields []fault.Field
	refuse := func(bad bool, pointer, format string, args ...any) {
		if bad {
			fields = append(fields, fault.Field{Pointer: pointer, Message: fmt.Sprintf(format, args...)})
		}
	}
	refuse(!ValidChannel(r.Channel), "/channel", "is not the name of a channel")
	refuse(r.FromID == r.ToID, "/version", "is what the channel points at already")
	refuse(len(r.Stages) == 0 || len(r.Stages) > MaxStages, "/stages", "must be 1 to %d", MaxStages)
	percent := 0
	for i, s := range r.Stages {
		at := fmt.Sprintf("/stages/%d/", i)
		refuse(s.Percent < 0 || s.Percent > 100, at+"percent", "must be 0 to 100")
		refuse(s.Percent < percent, at+"percent", "must not be less than in the stage before")
		refuse(s.Duration < 0 || s.Duration > MaxStageDuration, at+"duration_seconds", "must be 0 to %d", int64(MaxStageDuration/time.Second))
		refuse(len(s.Organizations) > MaxStageOrganizations, at+"organizations", "must be at most %d", MaxStageOrganizations)
		percent = max(percent, s.Percent)
	}
	t := r.Thresholds
	refuse(t.MinSamples < 1 || t.MinSamples > MaxSamples, "/thresholds/min_samples", "must be 1 to %d", MaxSamples)
	refuse(!(t.FailureRate >= 0 && t.FailureRate <= 1), "/thresholds/failure_rate", "must be 0 to 1")
	refuse(!factor(t.Cost), "/thresholds/cost_factor", "must be 1 to %d, or 0", MaxFactor)
	refuse(!factor(t.Duration), "/thresholds/duration_factor", "must be 1 to %d, or 0", MaxFactor)
	if len(fields) > 0 {
		return fault.New(fault.Invalid, "rollout_invalid", "the rollout is not valid").WithFields(fields...)
	}
	return nil
}

// factor reports whether a mean may grow by this one. NaN is none.
func factor(f float64) bool { return f == 0 || f >= 1 && f <= MaxFactor }

// Percent is the share of all organizations that the current stage reaches.
func (r Rollout) Percent() int {
	percent := 0
	for _, s := range r.Stages[:min(r.Stage+1, len(r.Stages))] {
		percent = max(percent, s.Percent)
	}
	return percent
}

// Covers reports whether an organization that follows the channel gets the new
// version now. The share of organizations is another one in each rollout, and one
// that grows keeps whom it had.
func (r Rollout) Covers(org ids.Org) bool {
	if !r.Status.Active() {
		return false
	}
	for _, s := range r.Stages[:min(r.Stage+1, len(r.Stages))] {
		if slices.Contains(s.Organizations, org) {
			return true
		}
	}
	sum := sha256.Sum256([]byte(string(r.ID) + "/" + string(org)))
	return binary.BigEndian.Uint64(sum[:])%100 < uint64(r.Percent())
}

// Judge says for people why the new version is worse than the old one; empty: it
// is not, or there are too few samples of it. No organization decides alone while
// others have samples: without those of any one the version must be worse, too.
func (r Rollout) Judge(from, to OrgSamples) string {
	was, is := from.Sum(), to.Sum()
	if is.Runs < int64(max(r.Thresholds.MinSamples, 1)) {
		return ""
	}
	if len(to) > 1 {
		for _, one := range to {
			if r.worse(was, is.without(one)) == "" {
				return ""
			}
		}
	}
	return r.worse(was, is)
}

// worse says why samples of the new version are worse than those of the old one.
func (r Rollout) worse(from, to Samples) string {
	t := r.Thresholds
	was, is := from.mean(from.Failed), to.mean(to.Failed)
	if is > was+t.FailureRate && !chance(from, to) {
		return fmt.Sprintf("%s of the runs of %s failed, %s of those of %s", percentage(is), r.To, percentage(was), r.From)
	}
	if was, is := from.mean(from.Micros), to.mean(to.Micros); t.Cost > 0 && was > 0 && is > was*t.Cost {
		return fmt.Sprintf("a run of %s costs %.2f times what one of %s does", r.To, is/was, r.From)
	}
	if was, is := from.mean(int64(from.Duration)), to.mean(int64(to.Duration)); t.Duration > 0 && was > 0 && is > was*t.Duration {
		return fmt.Sprintf("a run of %s takes %.2f times as long as one of %s", r.To, is/was, r.From)
	}
	return ""
}

// certain is how many standard deviations the shares of failed runs must be apart:
// by chance they are in one of twenty cases.
const certain = 1.64

// chance reports whether two versions of the same quality may well fail as
// differently as these (a one-sided test of two proportions). Without samples of
// the old version there is nothing to compare with.
func chance(from, to Samples) bool {
	if from.Runs == 0 || to.Runs == 0 {
		return false
	}
	both := float64(from.Failed+to.Failed) / float64(from.Runs+to.Runs)
	deviation := math.Sqrt(both * (1 - both) * (1/float64(from.Runs) + 1/float64(to.Runs)))
	return to.mean(to.Failed)-from.mean(from.Failed) < certain*deviation
}

func percentage(share float64) string { return fmt.Sprintf("%g %%", math.Round(share*1000)/10) }

// The methods below are the only writers of a rollout's state. One that its state
// does not allow is fault.Conflict, rollout_state.

// Advance begins the stage after from (from 0); after the last one the rollout is
// complete. A rollout that is not in from, because somebody else was faster, is
// fault.Conflict, rollout_stage.
func (r *Rollout) Advance(from int, now time.Time) error {
	if err := r.active("advanced"); err != nil {
		return err
	}
	if r.Stage != from {
		return fault.Newf(fault.Conflict, "rollout_stage", "the rollout is in stage %d, not in stage %d", r.Stage+1, from+1)
	}
	if r.Stage+1 >= len(r.Stages) {
		return r.Complete(now)
	}
	r.Stage++
	r.StagedAt, r.UpdatedAt = now, now
	return nil
}

// Pause keeps the rollout where it is: it is neither judged nor advanced by
// itself. A second call changes nothing.
func (r *Rollout) Pause(reason string, now time.Time) error {
	if err := r.active("paused"); err != nil || r.Status == RolloutPaused {
		return err
	}
	r.Status, r.Reason, r.UpdatedAt = RolloutPaused, reason, now
	return nil
}

// Resume goes on with a rollout that is paused. Its stage lasts as much longer as
// it was paused. A second call changes nothing.
func (r *Rollout) Resume(now time.Time) error {
	if err := r.active("resumed"); err != nil || r.Status == RolloutRunning {
		return err
	}
	r.StagedAt = r.StagedAt.Add(max(0, now.Sub(r.UpdatedAt)))
	r.Status, r.Reason, r.UpdatedAt = RolloutRunning, "", now
	return nil
}

// RollBack ends the rollout: everybody who follows the channel gets the old
// version. A second call changes nothing.
func (r *Rollout) RollBack(reason string, now time.Time) error {
	if r.Status == RolloutRolledBack {
		return nil
	}
	return r.end(RolloutRolledBack, reason, now)
}

// Complete ends the rollout: everybody who follows the channel gets the new
// version. A second call changes nothing.
func (r *Rollout) Complete(now time.Time) error {
	if r.Status == RolloutCompleted {
		return nil
	}
	return r.end(RolloutCompleted, "all stages are passed", now)
}

func (r *Rollout) end(status RolloutStatus, reason string, now time.Time) error {
	if err := r.active(string(status)); err != nil {
		return err
	}
	r.Status, r.Reason, r.UpdatedAt, r.EndedAt = status, reason, now, now
	return nil
}

func (r *Rollout) active(become string) error {
	if r.Status.Active() {
		return nil
	}
	return fault.Newf(fault.Conflict, "rollout_state", "a rollout that is %s cannot be %s", r.Status, become)
}
