package storetest

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"agentmarket/ids"
	"agentmarket/product"
)

// runAt is the identifier of a run that is created at a time.
func runAt(at time.Time) ids.Run {
	const stamp = len("run_") + 10
	return ids.Earliest[ids.Run](ids.PrefixRun, at)[:stamp] + ids.New[ids.Run](ids.PrefixRun)[stamp:]
}

// sampled is a run that has ended.
type sampled struct {
	org     ids.Org
	version product.Version
	rule    string        // that chose the version
	created time.Duration // after the rollout
	reason  product.Reason
	ran     time.Duration
	micros  int64
}

// sample stores a run that has ended.
func (r release) sample(t *testing.T, s sampled) {
	t.Helper()
	created := after(s.created)
	run := r.queued(created)
	run.ID, run.OrgID, run.VersionID, run.Version, run.Request.VersionRule = runAt(created), s.org, s.version.ID, s.version.Number, s.rule
	r.storeRun(t, run, func(run *product.Run) {
		if s.ran > 0 || s.reason == product.ReasonOK {
			run.Status, run.StartedAt = product.StatusRunning, created.Add(time.Second)
		}
		run.Settle(s.reason, "", created.Add(time.Second+s.ran))
		run.Cost.Micros, run.Cost.Currency = s.micros, "USD"
	})
}

// samples are those of the rollout of the draft, of the old version and of the next
// one.
func (r release) samples(t *testing.T) (from, to product.OrgSamples) {
	t.Helper()
	got, err := r.Control.Samples(t.Context(), r.draft("stable"))
	require.NoError(t, err)
	require.Len(t, got, 2)
	return got[r.version.ID], got[r.next.ID]
}

// storeRun stores a run as its workflow left it.
func (r release) storeRun(t *testing.T, run product.Run, change func(*product.Run)) {
	t.Helper()
	r.world.create(t, run)
	r.update(t, run.ID, func(stored *product.Run) ([]*product.Event, error) {
		change(stored)
		return nil, nil
	})
}

var sampleTests = []testCase{
	{"samples are the ends that a version is responsible for", func(t *testing.T, s Stores) {
		r := newRelease(t, s)
		org := anOrganization(t, s, "globex").ID
		old := sampled{org: org, version: r.version, rule: product.RuleChannel}
		next := sampled{org: org, version: r.next, rule: product.RuleRollout}
		add := func(s sampled, created time.Duration, reason product.Reason, ran time.Duration, micros int64) {
			s.created, s.reason, s.ran, s.micros = created, reason, ran, micros
			r.sample(t, s)
		}
		add(old, -time.Second, product.ReasonOK, time.Minute, 5) // before the rollout
		add(old, time.Second, product.ReasonOK, 1500*time.Millisecond, 1000)
		add(old, time.Minute, product.ReasonOK, 2500*time.Millisecond, 3000)
		add(next, time.Second, product.ReasonOK, time.Second, 10)
		add(next, time.Second, "agent_error", 3*time.Second, 20)
		add(next, time.Second, product.ReasonDeadline, time.Second, 0)
		add(next, time.Second, "image_pull", 0, 0)
		for _, nobody := range []product.Reason{
			product.ReasonCanceled, product.ReasonBudgetExhausted, product.ReasonNotEntitled, product.ReasonPlatformError,
			product.ReasonQueueTimeout, "node_lost",
		} {
			add(next, time.Second, nobody, 0, 7)
		}
		running := r.queued(after(time.Second))
		running.ID, running.OrgID, running.VersionID, running.Request.VersionRule = runAt(after(time.Second)), org, r.next.ID, product.RuleRollout
		r.storeRun(t, running, func(run *product.Run) { run.Status, run.StartedAt = product.StatusRunning, after(time.Minute) })

		from, to := r.samples(t)
		// SQLite reads times to the millisecond.
		about := roughly(5 * time.Millisecond)
		require.Empty(t, cmp.Diff(product.OrgSamples{org: {Runs: 2, Micros: 4000, Duration: 4 * time.Second}}, from, about))
		require.Empty(t, cmp.Diff(product.OrgSamples{org: {Runs: 4, Failed: 3, Micros: 30, Duration: 5 * time.Second}}, to, about))
	}},
	{"samples are runs of those whom the rollout is about", func(t *testing.T, s Stores) {
		r := newRelease(t, s)
		org := anOrganization(t, s, "globex").ID
		for _, rule := range []string{
			product.RuleRollout, product.RuleChannel, product.RuleInstallation, product.RuleRequest, product.RuleLatest, product.RulePin, "",
		} {
			for _, version := range []product.Version{r.version, r.next} {
				r.sample(t, sampled{org: r.org.ID, version: version, rule: rule, reason: product.ReasonOK}) // of the publisher
				r.sample(t, sampled{org: org, version: version, rule: rule, reason: product.ReasonOK})
			}
		}
		from, to := r.samples(t)
		require.Equal(t, product.OrgSamples{org: {Runs: 3}}, from)
		require.Equal(t, product.OrgSamples{org: {Runs: 1}}, to)
	}},
	{"an organization has a share of the samples, its newest ones", func(t *testing.T, s Stores) {
		r := newRelease(t, s)
		needed := r.draft("stable").Thresholds.MinSamples
		require.Equal(t, 20, needed)
		flood := anOrganization(t, s, "flood").ID
		for i := range needed + 5 {
			reason := product.ReasonOK
			if i >= needed { // the last five
				reason = "agent_error"
			}
			r.sample(t, sampled{org: flood, version: r.next, rule: product.RuleRollout, created: time.Duration(i) * time.Second, reason: reason})
		}
		for n, want := range []int64{20, 10, 7, 5, 5} { // of 1 to 5 organizations
			from, to := r.samples(t)
			require.Empty(t, from, "each version has its own shares")
			require.Equal(t, product.Samples{Runs: want, Failed: 5}, to[flood], "of %d", n+1)
			require.Len(t, to, n+1)
			require.Equal(t, want+int64(n), to.Sum().Runs)
			other := anOrganization(t, s, fmt.Sprint("other-", n)).ID
			r.sample(t, sampled{org: other, version: r.next, rule: product.RuleRollout, reason: product.ReasonOK})
		}
	}},
	{"without runs there are no samples", func(t *testing.T, s Stores) {
		r := newRelease(t, s)
		from, to := r.samples(t)
		require.Empty(t, from)
		require.Empty(t, to)
		r.sample(t, sampled{org: anOrganization(t, s, "globex").ID, version: r.version, rule: product.RuleChannel, reason: product.ReasonOK})
		foreign := r.draft("stable")
		foreign.AgentID = "agt_none"
		got, err := s.Control.Samples(t.Context(), foreign)
		require.NoError(t, err)
		require.Empty(t, got[r.version.ID])
	}},
}

// roughly compares durations.
func roughly(most time.Duration) cmp.Option {
	return cmp.Comparer(func(a, b time.Duration) bool { return (a - b).Abs() <= most })
}
