package activities_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"agentmarket/activities"
	"agentmarket/agentruntime"
	"agentmarket/ids"
	"agentmarket/marketplace"
	"agentmarket/product"
	"agentmarket/store"
)

// release is a rollout on a real store: an agent with two versions, and
// organizations that follow its channel stable.
type release struct {
	*activities.Rollouts
	db       *store.DB
	orgs     []ids.Org
	agent    product.Agent
	from, to product.Version
	id       ids.Rollout
	at       time.Time
}

func newRelease(t *testing.T, organizations int, stages ...product.Stage) *release {
	t.Helper()
	db, err := store.Open(t.Context(), store.Config{URL: "sqlite://" + t.TempDir() + "/store.db"})
	require.NoError(t, err)
	t.Cleanup(func() { _ = db.Close() })
	require.NoError(t, db.Migrate(t.Context()))
	r := &release{db: db, at: time.Now().UTC().Truncate(time.Millisecond)} // runs are found by their identifiers, which are made now
	r.Rollouts = &activities.Rollouts{Store: db.Product(), Now: func() time.Time { return r.at }}
	for i := range organizations {
		org, err := marketplace.NewOrganization(fmt.Sprint("org-", i), r.at)
		require.NoError(t, err)
		org.ID = ids.Org(fmt.Sprintf("org_%026d", i)) // the share of them is the same in every run of the test
		require.NoError(t, db.Marketplace().CreateOrganization(t.Context(), tests, org))
		r.orgs = append(r.orgs, org.ID)
	}
	r.from, r.to = r.publish(t, "1.0.0"), r.publish(t, "2.0.0")
	rollout, err := product.NewRollout(product.ChannelStable, r.from, r.to, stages,
		product.Thresholds{MinSamples: 10, FailureRate: 0.1}, r.at)
	require.NoError(t, err)
	rollout.ID = "rol_00000000000000000000000001"
	r.id = rollout.ID
	require.NoError(t, db.Product().CreateRollout(t.Context(), tests, rollout))
	return r
}

func (r *release) publish(t *testing.T, number string) product.Version {
	t.Helper()
	manifest := agentruntime.Manifest{
		APIVersion: agentruntime.APIVersion, Name: "greeter", Version: number, Command: []string{"/agent"},
		Resources: agentruntime.DefaultResources(), Timeouts: agentruntime.DefaultTimeouts(),
	}
	version, err := product.NewVersion("", manifest, "registry.test/a@sha256:"+"5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e", r.at)
	require.NoError(t, err)
	agent := product.Agent{
		ID: ids.New[ids.Agent](ids.PrefixAgent), OrgID: r.orgs[0], Publisher: "org-0", Name: "greeter", CreatedAt: r.at, UpdatedAt: r.at,
	}
	r.agent, version, _, err = r.db.Agents().AddVersion(t.Context(), tests, agent, version)
	require.NoError(t, err)
	return version
}

// chooses is the version that a start of an organization gets now.
func (r *release) chooses(t *testing.T, org ids.Org) product.Version {
	t.Helper()
	version, _ := r.chosen(t, org)
	return version
}

// chosen is the version that a start of an organization gets now, and the rule that
// chooses it.
func (r *release) chosen(t *testing.T, org ids.Org) (version product.Version, rule string) {
	t.Helper()
	active, err := r.db.Product().ActiveRollouts(t.Context(), r.agent.ID)
	require.NoError(t, err)
	for _, rollout := range active {
		if rollout.Channel == product.ChannelStable && rollout.Covers(org) {
			return r.to, product.RuleRollout
		}
	}
	version, err = r.db.Agents().Resolve(t.Context(), r.agent.ID, product.ChannelStable)
	require.NoError(t, err)
	return version, product.RuleChannel
}

// starts stores a run of the version that is chosen, which goes on.
func (r *release) starts(t *testing.T, org ids.Org) product.Run {
	t.Helper()
	version, rule := r.chosen(t, org)
	return r.startsVersion(t, org, version, rule)
}

// startsVersion stores a run of a version, which goes on.
func (r *release) startsVersion(t *testing.T, org ids.Org, version product.Version, rule string) product.Run {
	t.Helper()
	run, _, err := r.db.Runs().CreateRun(t.Context(), product.Run{
		ID: ids.New[ids.Run](ids.PrefixRun), OrgID: org, KeyID: "key_1", AgentID: r.agent.ID, Agent: r.agent.FullName(),
		VersionID: version.ID, Version: version.Number, Image: version.Image, Status: product.StatusQueued,
		Request: product.Request{VersionRule: rule}, CreatedAt: r.at, QueueDeadline: r.at.Add(time.Hour),
	}, []byte(`{}`), nil)
	require.NoError(t, err)
	return r.updates(t, run.ID, func(run *product.Run) *product.Event {
		_, err := run.BeginAttempt(1, r.at)
		require.NoError(t, err)
		return run.AttemptStarted(1, r.at)
	})
}

func (r *release) ends(t *testing.T, run ids.Run, reason product.Reason) product.Run {
	t.Helper()
	return r.updates(t, run, func(run *product.Run) *product.Event { return run.Settle(reason, "", r.at.Add(time.Second)) })
}

func (r *release) updates(t *testing.T, id ids.Run, change func(*product.Run) *product.Event) product.Run {
	t.Helper()
	run, err := r.db.Runs().UpdateRun(t.Context(), id, func(run *product.Run) ([]*product.Event, error) {
		return []*product.Event{change(run)}, nil
	})
	require.NoError(t, err)
	return run
}

func (r *release) looks(t *testing.T) activities.RolloutView {
	t.Helper()
	view, err := r.EvaluateRollout(t.Context(), activities.EvaluateRolloutInput{RolloutID: r.id})
	require.NoError(t, err)
	return view
}

func (r *release) record(t *testing.T) product.Rollout {
	t.Helper()
	rollout, err := r.db.Product().Rollout(t.Context(), r.id)
	require.NoError(t, err)
	return rollout
}

// A rollout at 10 % of a version of whose runs a third fails rolls back by itself.
// No run that goes on is touched.
func TestABadVersionRollsBack(t *testing.T) {
	r := newRelease(t, 300, product.Stage{Percent: 10, Duration: time.Hour}, product.Stage{Percent: 100})
	runs := map[string]int{}
	var going product.Run // of the new version
	for _, org := range r.orgs {
		run := r.starts(t, org)
		runs[run.Version]++
		switch n := runs["2.0.0"]; {
		case run.Version == "1.0.0":
			r.ends(t, run.ID, product.ReasonOK)
		case n == 1:
			going = run
		case n%3 == 0:
			r.ends(t, run.ID, "agent_error")
		default:
			r.ends(t, run.ID, product.ReasonOK)
		}
		if runs["2.0.0"] == 10 { // the first of them goes on: nine are not enough
			require.Equal(t, product.RolloutRunning, r.looks(t).Status)
		}
	}
	require.InDelta(t, 30, runs["2.0.0"], 8, "10 % of 300 organizations")

	view := r.looks(t)
	require.Equal(t, product.RolloutRolledBack, view.Status)
	require.Zero(t, view.NextLook)
	record := r.record(t)
	require.Equal(t, product.RolloutRolledBack, record.Status)
	require.Regexp(t, `^3\d(\.\d)? % of the runs of 2\.0\.0 failed, 0 % of those of 1\.0\.0$`, record.Reason)
	require.Contains(t, view.Summary, record.Reason)

	for _, org := range r.orgs {
		require.Equal(t, r.from, r.chooses(t, org), "everybody is back")
	}
	got, err := r.db.Runs().Run(t.Context(), going.ID)
	require.NoError(t, err)
	require.Empty(t, cmp.Diff(going, got), "the run goes on")
	require.Equal(t, "2.0.0", got.Version)
	require.Equal(t, product.StatusSucceeded, r.ends(t, going.ID, product.ReasonOK).Status)

	r.at = r.at.Add(time.Hour)
	require.Equal(t, view.Status, r.looks(t).Status)
	require.Empty(t, cmp.Diff(record, r.record(t)), "an end is an end")
}

func TestAGoodVersionPassesItsStages(t *testing.T) {
	r := newRelease(t, 40, product.Stage{Organizations: []ids.Org{"org_00000000000000000000000007"}, Duration: time.Hour},
		product.Stage{Percent: 50, Duration: time.Hour}, product.Stage{Percent: 100, Duration: 10 * time.Second})
	got := func() (new int) {
		for _, org := range r.orgs {
			if run := r.starts(t, org); run.Version == "2.0.0" {
				r.ends(t, run.ID, product.ReasonOK)
				new++
			}
		}
		return new
	}
	view := r.looks(t)
	require.Equal(t, 30*time.Second, view.NextLook)
	require.Equal(t, 1, got())
	r.at = r.at.Add(time.Hour - 10*time.Second)
	view = r.looks(t)
	require.Equal(t, []any{0, 0, 10 * time.Second}, []any{view.Stage, view.Percent, view.NextLook}, "until the end of the stage")

	r.at = r.at.Add(10 * time.Second)
	view = r.looks(t)
	require.Equal(t, []any{1, 50, 30 * time.Second}, []any{view.Stage, view.Percent, view.NextLook})
	require.InDelta(t, 20, got(), 8)
	require.Equal(t, "stage 2 of 3: 50 % of the organizations get 2.0.0 instead of 1.0.0; "+
		"1 runs of 2.0.0 have ended, 0 failed; 0 runs of 1.0.0 have ended, 0 failed", view.Summary)
	r.at = r.at.Add(3 * time.Hour) // nobody looked: each stage lasts nevertheless
	require.Equal(t, 2, r.looks(t).Stage)
	require.Equal(t, 40, got())
	require.Equal(t, 2, r.looks(t).Stage)
	r.at = r.at.Add(10 * time.Second)
	require.Equal(t, product.RolloutCompleted, r.looks(t).Status)
	require.Equal(t, 40, got(), "the channel points at it")
	require.Equal(t, r.to, r.chooses(t, "org_of_tomorrow"))
}

// Nobody but those whom the rollout reaches has a say, and none of them alone.
func TestOneOrganizationDoesNotRollBack(t *testing.T) {
	r := newRelease(t, 12, product.Stage{Percent: 100})
	fails := func(org ids.Org, rule string) {
		for range 20 {
			r.ends(t, r.startsVersion(t, org, r.to, rule).ID, "agent_error")
		}
	}
	fails(r.orgs[0], product.RuleRollout) // the publisher
	for _, rule := range []string{product.RuleRequest, product.RuleLatest, product.RulePin, ""} {
		fails(r.orgs[1], rule)
	}
	view := r.looks(t)
	require.Equal(t, product.RolloutRunning, view.Status)
	require.Contains(t, view.Summary, "0 runs of 2.0.0 have ended")

	for _, org := range r.orgs[2:] {
		r.ends(t, r.starts(t, org).ID, product.ReasonOK)
	}
	fails(r.orgs[1], product.RuleRollout)
	view = r.looks(t)
	require.Equal(t, product.RolloutRunning, view.Status)
	require.Contains(t, view.Summary, "13 runs of 2.0.0 have ended, 3 failed", "a share of one organization, rounded up")

	fails(r.orgs[2], product.RuleRollout)
	require.Equal(t, product.RolloutRolledBack, r.looks(t).Status, "without one of them it is worse, too")
}

// A stage that reaches one organization is judged by it.
func TestOneOrganizationIsJudgedAlone(t *testing.T) {
	r := newRelease(t, 2, product.Stage{Percent: 100})
	for range 10 {
		require.Equal(t, product.RolloutRunning, r.looks(t).Status)
		r.ends(t, r.starts(t, r.orgs[1]).ID, "agent_error")
	}
	require.Equal(t, product.RolloutRolledBack, r.looks(t).Status)
}

// A stage without a duration waits for somebody, and is judged meanwhile.
func TestAStageWithoutADurationWaits(t *testing.T) {
	r := newRelease(t, 12, product.Stage{Percent: 100})
	r.Interval = time.Second
	r.at = r.at.Add(1000 * time.Hour)
	view := r.looks(t)
	require.Equal(t, []any{product.RolloutRunning, time.Second}, []any{view.Status, view.NextLook})
	for _, org := range r.orgs {
		r.ends(t, r.starts(t, org).ID, "agent_oom")
	}
	require.Equal(t, product.RolloutRolledBack, r.looks(t).Status)
}

func TestARolloutThatIsPausedIsLeftAlone(t *testing.T) {
	r := newRelease(t, 12, product.Stage{Percent: 100, Duration: time.Hour})
	for _, org := range r.orgs {
		r.ends(t, r.starts(t, org).ID, "agent_error")
	}
	// Somebody pauses it between the look and what follows from it.
	r.Store = &meanwhile{RolloutStore: r.db.Product(), do: func() {
		_, err := r.db.Product().UpdateRollout(t.Context(), tests, r.id, "rollout.pause", true, func(rollout *product.Rollout) error {
			return rollout.Pause("we know", r.at)
		})
		require.NoError(t, err)
	}}
	for range 2 {
		view := r.looks(t)
		require.Equal(t, []any{product.RolloutPaused, 24 * time.Hour}, []any{view.Status, view.NextLook})
		require.Equal(t, "paused in stage 1 of 1: we know", view.Summary)
		r.at = r.at.Add(2 * time.Hour)
	}
	require.Equal(t, r.to, r.chooses(t, r.orgs[0]), "it still decides")
}

// meanwhile does something once, after the samples were read.
type meanwhile struct {
	product.RolloutStore
	do func()
}

func (m *meanwhile) Samples(ctx context.Context, rollout product.Rollout) (map[ids.Version]product.OrgSamples, error) {
	samples, err := m.RolloutStore.Samples(ctx, rollout)
	if m.do != nil {
		m.do()
		m.do = nil
	}
	return samples, err
}

func TestEvaluateRolloutOfNothing(t *testing.T) {
	r := newRelease(t, 1, product.Stage{Percent: 100})
	_, err := r.EvaluateRollout(t.Context(), activities.EvaluateRolloutInput{RolloutID: "rol_none"})
	f, isFault := activities.FaultOf(err)
	require.True(t, isFault)
	require.Equal(t, "rollout_not_found", f.Code)
}
