package storetest

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/product"
)

// release is an agent with two versions, the second one to be rolled out.
type release struct {
	world
	next product.Version
}

func newRelease(t *testing.T, s Stores) release {
	t.Helper()
	w := newWorld(t, s)
	_, next := publish(t, s, w.org, "reviewer", "2.0.0", start)
	return release{w, next}
}

// draft is a rollout as the API would hand it over.
func (r release) draft(channel string) product.Rollout {
	return product.Rollout{
		ID: ids.New[ids.Rollout](ids.PrefixRollout), AgentID: r.agent.ID, Channel: channel,
		FromID: r.version.ID, From: r.version.Number, ToID: r.next.ID, To: r.next.Number,
		Stages: []product.Stage{
			{Organizations: []ids.Org{r.org.ID, "org_x"}, Duration: time.Hour}, {Percent: 10, Duration: 24 * time.Hour}, {Percent: 100},
		},
		Thresholds: product.Thresholds{MinSamples: 20, FailureRate: 0.05, Cost: 1.5},
		Status:     product.RolloutRunning, CreatedAt: start, StagedAt: start, UpdatedAt: start,
	}
}

// create stores a rollout, and returns it as it comes back.
func (r release) create(t *testing.T, rollout product.Rollout) product.Rollout {
	t.Helper()
	require.NoError(t, r.Control.CreateRollout(t.Context(), actor, rollout))
	got, err := r.Control.Rollout(t.Context(), rollout.ID)
	require.NoError(t, err)
	return got
}

// change changes a rollout as its methods do.
func (r release) change(t *testing.T, id ids.Rollout, dispatch bool, at time.Time, change func(*product.Rollout)) product.Rollout {
	t.Helper()
	rollout, err := r.Control.UpdateRollout(t.Context(), actor, id, "rollout.change", dispatch, func(r *product.Rollout) error {
		change(r)
		r.UpdatedAt = at
		return nil
	})
	require.NoError(t, err)
	loaded, err := r.Control.Rollout(t.Context(), id)
	require.NoError(t, err)
	requireSame(t, loaded, rollout)
	return rollout
}

// ends sets the state of a rollout that ends.
func ends(status product.RolloutStatus, at time.Time) func(*product.Rollout) {
	return func(r *product.Rollout) { r.Status, r.EndedAt, r.Reason = status, at, "for the test" }
}

// follows is the version that a channel points at; empty for one that is not set.
func (r release) follows(t *testing.T, channel string) string {
	t.Helper()
	channels, err := r.Channels.Channels(t.Context(), r.agent.ID)
	require.NoError(t, err)
	for _, c := range channels {
		if c.Name == channel {
			return c.Version
		}
	}
	return ""
}

func (r release) due(t *testing.T, now time.Time) []product.Rollout {
	t.Helper()
	rollouts, err := r.Control.DueRollouts(t.Context(), now, lease, 100)
	require.NoError(t, err)
	return rollouts
}

var rolloutTests = []testCase{
	{"a rollout is stored as it is, and its channel points at the old version", func(t *testing.T, s Stores) {
		r := newRelease(t, s)
		require.Empty(t, r.follows(t, "stable"))
		want := r.draft("stable")
		got := r.create(t, want)
		want.CreatedAt, want.StagedAt, want.UpdatedAt = stored(start), stored(start), stored(start)
		requireSame(t, want, got)
		require.Equal(t, "1.0.0", r.follows(t, "stable"), "it was not set, and was the newest release")
		requireAudit(t, s, r.org.ID, string(want.ID),
			entry{"rollout.create", "", `{"channel":"stable","from":"1.0.0","to":"2.0.0","status":"running","stage":0}`})
		requireAudit(t, s, r.org.ID, string(r.agent.ID), entry{"agent.create", "", `{"name":"acme/reviewer"}`},
			entry{"channel.set", "", `{"name":"stable","version":"1.0.0"}`})

		_, err := s.Channels.SetChannel(t.Context(), actor, r.agent.ID, "beta", "2.0.0", start)
		require.NoError(t, err)
		r.create(t, r.draft("beta"))
		require.Equal(t, "1.0.0", r.follows(t, "beta"), "it pointed elsewhere")
		_, err = s.Control.Rollout(t.Context(), "rol_none")
		requireFault(t, err, fault.NotFound, "rollout_not_found")
	}},
	{"a channel has one active rollout", func(t *testing.T, s Stores) {
		r := newRelease(t, s)
		first := r.create(t, r.draft("stable"))
		second := r.draft("stable")
		requireFault(t, s.Control.CreateRollout(t.Context(), actor, second), fault.Conflict, "rollout_active")
		other := r.create(t, r.draft("beta"))
		r.change(t, first.ID, false, after(1), func(r *product.Rollout) { r.Status = product.RolloutPaused })
		requireFault(t, s.Control.CreateRollout(t.Context(), actor, second), fault.Conflict, "rollout_active")
		active, err := s.Control.ActiveRollouts(t.Context(), r.agent.ID)
		require.NoError(t, err)
		require.Equal(t, []ids.Rollout{other.ID, first.ID}, rolloutIDs(active))

		r.change(t, first.ID, false, after(2), ends(product.RolloutRolledBack, after(2)))
		active, err = s.Control.ActiveRollouts(t.Context(), r.agent.ID)
		require.NoError(t, err)
		requireSame(t, []product.Rollout{other}, active)
		r.create(t, second)
		for before, want := range map[ids.Rollout][]ids.Rollout{
			"": {other.ID, second.ID}, other.ID: {second.ID, first.ID}, first.ID: nil,
		} {
			page, err := s.Control.Rollouts(t.Context(), r.agent.ID, before, 2)
			require.NoError(t, err)
			require.Equal(t, want, rolloutIDs(page))
		}
	}},
	{"of many at once one is active", func(t *testing.T, s Stores) {
		r := newRelease(t, s)
		var stored, refused atomic.Int32
		together(10, func(int) {
			switch err := s.Control.CreateRollout(t.Context(), actor, r.draft("stable")); {
			case err == nil:
				stored.Add(1)
			case fault.Is(err, fault.Conflict):
				refused.Add(1)
			}
		})
		require.Equal(t, []int32{1, 9}, []int32{stored.Load(), refused.Load()})
	}},
	{"versions must be those of the agent", func(t *testing.T, s Stores) {
		r := newRelease(t, s)
		_, foreign := publish(t, s, r.org, "other", "3.0.0", start)
		wrong := r.draft("stable")
		wrong.ToID = foreign.ID
		requireFault(t, s.Control.CreateRollout(t.Context(), actor, wrong), fault.NotFound, "version_not_found")
		wrong = r.draft("stable")
		wrong.AgentID = "agt_none"
		requireFault(t, s.Control.CreateRollout(t.Context(), actor, wrong), fault.NotFound, "agent_not_found")
		require.Empty(t, r.follows(t, "stable"), "nothing is left")
	}},
	{"a completed one points the channel at the new version", func(t *testing.T, s Stores) {
		r := newRelease(t, s)
		rollout := r.create(t, r.draft("stable"))
		r.change(t, rollout.ID, false, after(time.Hour), func(r *product.Rollout) { r.Stage, r.StagedAt = 1, after(time.Hour) })
		require.Equal(t, "1.0.0", r.follows(t, "stable"))
		got := r.change(t, rollout.ID, false, after(2*time.Hour), ends(product.RolloutCompleted, after(2*time.Hour)))
		require.Equal(t, "2.0.0", r.follows(t, "stable"))
		want := rollout
		want.Status, want.Reason, want.Stage, want.StagedAt = product.RolloutCompleted, "for the test", 1, stored(after(time.Hour))
		want.UpdatedAt, want.EndedAt, want.Revision = stored(after(2*time.Hour)), stored(after(2*time.Hour)), 2
		requireSame(t, want, got)
		change := `{"channel":"stable","from":"1.0.0","to":"2.0.0",`
		requireAudit(t, s, r.org.ID, string(rollout.ID),
			entry{"rollout.create", "", change + `"status":"running","stage":0}`},
			entry{"rollout.change", change + `"status":"running","stage":0}`, change + `"status":"running","stage":1}`},
			entry{"rollout.change", change + `"status":"running","stage":1}`, change + `"status":"completed","stage":1,"reason":"for the test"}`})

		_, err := s.Control.UpdateRollout(t.Context(), actor, rollout.ID, "x", true, func(r *product.Rollout) error {
			r.Status = product.RolloutRunning
			return nil
		})
		requireFault(t, err, fault.Conflict, "rollout_state")
	}},
	{"one that is rolled back leaves the channel", func(t *testing.T, s Stores) {
		r := newRelease(t, s)
		rollout := r.create(t, r.draft("stable"))
		r.change(t, rollout.ID, false, after(time.Hour), ends(product.RolloutRolledBack, after(time.Hour)))
		require.Equal(t, "1.0.0", r.follows(t, "stable"))
		require.Len(t, actions(t, s, r.org.ID, auditOf(string(r.agent.ID))), 2, "the agent, and the channel at the beginning")
	}},
	{"nobody else points the channel meanwhile", func(t *testing.T, s Stores) {
		r := newRelease(t, s)
		rollout := r.create(t, r.draft("stable"))
		set := func(channel, version string) error {
			_, err := s.Channels.SetChannel(t.Context(), actor, r.agent.ID, channel, version, start)
			return err
		}
		requireFault(t, set("stable", "2.0.0"), fault.Conflict, "rollout_active")
		requireFault(t, s.Channels.DeleteChannel(t.Context(), actor, r.agent.ID, "stable", start), fault.Conflict, "rollout_active")
		require.NoError(t, set("stable", "1.0.0"), "that is where it points")
		require.NoError(t, set("beta", "2.0.0"))
		r.change(t, rollout.ID, false, after(1), ends(product.RolloutRolledBack, after(1)))
		require.NoError(t, set("stable", "2.0.0"))
		require.NoError(t, s.Channels.DeleteChannel(t.Context(), actor, r.agent.ID, "stable", start))
	}},
	{"an update may not touch what the rollout is about, and what stays is not written", func(t *testing.T, s Stores) {
		r := newRelease(t, s)
		rollout := r.create(t, r.draft("stable"))
		got, err := s.Control.UpdateRollout(t.Context(), actor, rollout.ID, "x", true, func(r *product.Rollout) error {
			r.Channel, r.To, r.ToID, r.From, r.AgentID, r.Revision = "beta", "7", "ver_x", "8", "agt_x", 9
			return nil
		})
		require.NoError(t, err)
		requireSame(t, rollout, got)
		refusal := fault.New(fault.Conflict, "mine", "no")
		_, err = s.Control.UpdateRollout(t.Context(), actor, rollout.ID, "x", true, func(r *product.Rollout) error {
			r.Status = product.RolloutCompleted
			return refusal
		})
		require.Equal(t, refusal, err)
		_, err = s.Control.UpdateRollout(t.Context(), actor, "rol_none", "x", true, func(*product.Rollout) error { return nil })
		requireFault(t, err, fault.NotFound, "rollout_not_found")
		require.Len(t, actions(t, s, r.org.ID, auditOf(string(rollout.ID))), 1)
	}},
	{"a rollout is due until what was seen is told", func(t *testing.T, s Stores) {
		r := newRelease(t, s)
		r.create(t, r.draft("stable"))
		require.Empty(t, r.due(t, after(-time.Second)))
		seen := r.due(t, start)
		require.Len(t, seen, 1)
		require.Empty(t, r.due(t, after(lease-time.Second)), "left to its claimer")
		require.Len(t, r.due(t, after(lease)), 1)

		id, pause := seen[0].ID, func(r *product.Rollout) { r.Status = product.RolloutPaused }
		r.change(t, id, true, after(2*lease), pause)
		require.NoError(t, s.Control.RolloutDispatched(t.Context(), seen[0]), "of the rollout before its change")
		seen = r.due(t, after(2*lease))
		require.Len(t, seen, 1)
		require.Equal(t, product.RolloutPaused, seen[0].Status)
		require.NoError(t, s.Control.RolloutDispatched(t.Context(), seen[0]))
		require.Empty(t, r.due(t, after(time.Hour)))

		r.change(t, id, false, after(time.Hour), func(r *product.Rollout) { r.Reason = "seen by its workflow" })
		require.Empty(t, r.due(t, after(2*time.Hour)))
		r.change(t, id, true, after(2*time.Hour), ends(product.RolloutRolledBack, after(2*time.Hour)))
		require.Len(t, r.due(t, after(2*time.Hour)), 1, "the workflow has to end")
		none, err := s.Control.DueRollouts(t.Context(), after(9*time.Hour), lease, 0)
		require.NoError(t, err)
		require.Empty(t, none)
	}},
}

func rolloutIDs(rollouts []product.Rollout) []ids.Rollout {
	var list []ids.Rollout
	for _, r := range rollouts {
		list = append(list, r.ID)
	}
	return list
}

// fillRollouts uses every method of rollouts.
func (w world) fillRollouts(t *testing.T) {
	t.Helper()
	ctx := t.Context()
	_, next := publish(t, w.Stores, w.org, w.agent.Name, "1.1.0", start)
	r := release{w, next}
	r.agent.Name = "sampled" // the lists of other tests do not show its runs
	for _, end := range []product.RolloutStatus{product.RolloutCompleted, product.RolloutRolledBack, product.RolloutRunning} {
		rollout := r.create(t, r.draft("canary"))
		r.sample(t, sampled{org: w.org.ID, version: next, rule: product.RuleRollout, reason: product.ReasonOK})
		require.NotEmpty(t, r.due(t, after(time.Hour)))
		require.NoError(t, w.Control.RolloutDispatched(ctx, rollout))
		if end.Active() {
			break
		}
		r.change(t, rollout.ID, true, after(time.Hour), ends(end, after(time.Hour)))
		for _, before := range []ids.Rollout{"", rollout.ID} {
			_, err := w.Control.Rollouts(ctx, r.agent.ID, before, 10)
			require.NoError(t, err)
		}
	}
	_, err := w.Marketplace.FindOrganizations(ctx, []string{w.org.Name, "nobody"}, []ids.Org{w.org.ID, "org_none"})
	require.NoError(t, err)
	_, err = w.Control.ActiveRollouts(ctx, r.agent.ID)
	require.NoError(t, err)
	_, err = w.Control.Samples(ctx, r.draft("canary"))
	require.NoError(t, err)
}
