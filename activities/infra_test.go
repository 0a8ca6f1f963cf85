package activities

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"

	"agentmarket/agentruntime"
	"agentmarket/fault"
	"agentmarket/infra"
	"agentmarket/product"
)

func anInfra(c *cluster, watching bool, list ...product.Run) *Infra {
	return &Infra{Cluster: c, Runs: newRuns(list...), Now: clock, Watch: watched{healthy: watching, seen: c.seen}, Reports: sessions{}}
}

// watched is a watch that has seen what there is in a cluster.
type watched struct {
	healthy  bool
	seen     infra.Observed
	expected map[infra.Ref]time.Time
}

func (w watched) Healthy() bool { return w.healthy }

func (w watched) Expect(ref infra.Ref, by time.Time) {
	if w.expected != nil {
		w.expected[ref] = by
	}
}

func (w watched) Look(infra.Ref) (infra.Observed, bool) { return w.seen, w.seen.Pod != nil }

// execute runs an activity as a worker would.
func execute[T any](t *testing.T, act, in any) (T, error) {
	t.Helper()
	var suite testsuite.WorkflowTestSuite
	env := suite.NewTestActivityEnvironment()
	env.RegisterActivity(act)
	var out T
	value, err := env.ExecuteActivity(act, in)
	if err == nil && value.HasValue() {
		require.NoError(t, value.Get(&out))
	}
	return out, err
}

func requireKind(t *testing.T, err error, kind fault.Kind) {
	t.Helper()
	f, ok := FaultOf(err)
	require.True(t, ok, "%v", err)
	require.Equal(t, kind, f.Kind, "%v", err)
}

// requirePolling: again soon, and red for nobody.
func requirePolling(t *testing.T, err error) {
	t.Helper()
	var app *temporal.ApplicationError
	require.ErrorAs(t, err, &app)
	require.False(t, app.NonRetryable())
	require.Equal(t, pollInterval, app.NextRetryDelay())
	require.Equal(t, temporal.ApplicationErrorCategoryBenign, app.Category())
}

func TestAwaitJob(t *testing.T) {
	alive := infra.Observed{JobExists: true, Pod: &infra.Pod{Phase: "Running", Running: &infra.Running{StartedAt: now}}}
	_, err := execute[JobOutcome](t, anInfra(&cluster{seen: alive}, true).AwaitJob, first)
	require.ErrorIs(t, err, activity.ErrResultPending)
	_, err = execute[JobOutcome](t, anInfra(&cluster{seen: alive}, false).AwaitJob, first)
	requirePolling(t, err)
	_, err = execute[JobOutcome](t, anInfra(&cluster{err: fault.New(fault.Unavailable, "", "away")}, false).AwaitJob, first)
	requireKind(t, err, fault.Unavailable)
	_, err = execute[JobOutcome](t, anInfra(&cluster{err: fault.New(fault.Unavailable, "", "away")}, true).AwaitJob, first)
	require.ErrorIs(t, err, activity.ErrResultPending, "the cluster was not asked")

	for _, watching := range []bool{true, false} {
		failed := okEnvelope(nil, "")
		failed.Outcome, failed.ExitCode, failed.Message = agentruntime.AgentError, new(3), "no such file"
		failed.ResultSHA256, failed.Result = "", nil
		outcome, err := execute[JobOutcome](t, anInfra(&cluster{seen: ended(t, failed)}, watching).AwaitJob, first)
		require.NoError(t, err, "a failed agent is an answer, not an error")
		want := JobOutcome{Reason: infra.ReasonAgentError, Message: "no such file", ExitCode: new(3), StartedAt: now, FinishedAt: now}
		require.Empty(t, cmp.Diff(want, outcome))

		outcome, err = execute[JobOutcome](t, anInfra(&cluster{seen: ended(t, okEnvelope([]byte(`1`), ""))}, watching).AwaitJob, first)
		require.NoError(t, err)
		require.Equal(t, infra.ReasonOK, outcome.Reason)
	}
	outcome, err := execute[JobOutcome](t, anInfra(&cluster{}, false).AwaitJob, first)
	require.NoError(t, err)
	require.Equal(t, infra.ReasonPodGone, outcome.Reason, "nothing there is never success")
}

// TestLookAsksTheClusterLast: the watch is asked first, and the cluster only where
// the watch is not sound, or has said nothing for a whole lease.
func TestLookAsksTheClusterLast(t *testing.T) {
	alive := infra.Observed{JobExists: true, Pod: &infra.Pod{Phase: "Running"}}
	away := fault.New(fault.Unavailable, "", "away")
	for name, tt := range map[string]struct {
		seen           infra.Observed
		healthy, first bool
		asks           bool
	}{
		"seen":                  {seen: alive, healthy: true},
		"nothing yet":           {healthy: true, first: true},
		"nothing for a lease":   {healthy: true, asks: true},
		"the watch is broken":   {seen: alive, first: true, asks: true},
		"broken, and seen late": {seen: alive, asks: true},
	} {
		a := &Infra{Cluster: &cluster{err: away}, Now: clock, Watch: watched{healthy: tt.healthy, seen: tt.seen}, Reports: sessions{}}
		seen, err := a.look(t.Context(), first, tt.first)
		require.Equal(t, tt.asks, err != nil, name)
		if !tt.asks {
			require.Empty(t, cmp.Diff(infra.Observed{JobExists: true, Pod: tt.seen.Pod}, seen), name)
		}
	}
}

func TestAwaitGone(t *testing.T) {
	for name, seen := range map[string]infra.Observed{
		"pod and job": {JobExists: true, Pod: &infra.Pod{Deleting: true}},
		"pod":         {Pod: &infra.Pod{Deleting: true}},
		"ended pod":   {Pod: &infra.Pod{Phase: "Failed"}},
		"job":         {JobExists: true},
	} {
		_, err := execute[GoneReceipt](t, anInfra(&cluster{seen: seen}, true).AwaitGone, first)
		require.ErrorIs(t, err, activity.ErrResultPending, name)
		_, err = execute[GoneReceipt](t, anInfra(&cluster{seen: seen}, false).AwaitGone, first)
		requirePolling(t, err)
	}
	_, err := execute[GoneReceipt](t, anInfra(&cluster{err: fault.New(fault.Unavailable, "", "away")}, true).AwaitGone, first)
	requireKind(t, err, fault.Unavailable)

	receipt, err := execute[GoneReceipt](t, anInfra(&cluster{}, true).AwaitGone, first)
	require.NoError(t, err)
	require.Empty(t, cmp.Diff(GoneReceipt{Attempt: 1, GoneAt: now}, receipt))
}

func TestGoneReceiptFrom(t *testing.T) {
	ref := infra.Ref{Run: runID, Attempt: 2}
	require.Empty(t, cmp.Diff(GoneReceipt{Attempt: 2, GoneAt: now}, GoneReceiptFrom(ref, infra.Pod{}, now)))
	pod := *ended(t, okEnvelope([]byte(`1`), "")).Pod
	want := GoneReceipt{Attempt: 2, TerminatedAt: now, GoneAt: now.Add(time.Second), ExitCode: new(0)}
	require.Empty(t, cmp.Diff(want, GoneReceiptFrom(ref, pod, now.Add(time.Second))))
}

func TestCheckStart(t *testing.T) {
	check, err := execute[StartCheck](t, anInfra(&cluster{seen: infra.Observed{Pod: &infra.Pod{Running: &infra.Running{StartedAt: now}}}}, true).CheckStart, first)
	require.NoError(t, err)
	require.Empty(t, cmp.Diff(StartCheck{Started: true}, check))
	check, err = execute[StartCheck](t, anInfra(&cluster{seen: infra.Observed{Pod: &infra.Pod{Unschedulable: "no room"}}}, true).CheckStart, first)
	require.NoError(t, err)
	require.Empty(t, cmp.Diff(StartCheck{Outcome: JobOutcome{Reason: infra.ReasonUnschedulable, Message: "no room"}}, check))
}

func TestCreateJob(t *testing.T) {
	c, expected := &cluster{}, map[infra.Ref]time.Time{}
	a := anInfra(c, true, running())
	a.Watch = watched{expected: expected}
	_, err := execute[any](t, a.CreateJob, first)
	require.NoError(t, err)
	want := []infra.Sandbox{{
		Ref: infra.Ref{Run: runID, Attempt: 1, Org: "org_1"}, Agent: "agt_1", Image: "a@sha256:1",
		Command: []string{"/agent"}, Env: map[string]string{"A": "b"}, Input: []byte(`{}`),
		CPUMillis: 1, MemoryMiB: 2, DiskMiB: 3, StartTimeout: time.Minute, RunTimeout: 2 * time.Minute, Grace: 10 * time.Second,
	}}
	require.Empty(t, cmp.Diff(want, c.created))
	require.Equal(t, map[infra.Ref]time.Time{want[0].Ref: now.Add(time.Minute)}, expected, "its pod")

	// What the agent reads itself, and users of its own where the doctor saw them.
	reading := running()
	reading.Plan.Tier, reading.Plan.SecretFiles = product.TierStandard, []string{"KEY"}
	c = &cluster{}
	a = anInfra(c, true, reading)
	a.Tiers = &product.Tiers{}
	a.Tiers.Learn(product.DoctorReport{Tiers: []product.TierReport{{Tier: product.TierStandard,
		Findings: []infra.Finding{{Check: infra.CheckUsers, State: infra.Holds}}}}})
	_, err = execute[any](t, a.CreateJob, first)
	require.NoError(t, err)
	with := want[0]
	with.SecretFiles, with.UserNamespace = true, true
	require.Empty(t, cmp.Diff([]infra.Sandbox{with}, c.created))

	apart := running()
	apart.Plan.Tier = product.TierSandboxed
	c = &cluster{}
	_, err = execute[any](t, anInfra(c, true, apart).CreateJob, first)
	require.NoError(t, err)
	want[0].Sandboxed = true
	require.Empty(t, cmp.Diff(want, c.created))

	c = &cluster{err: fault.New(fault.Invalid, "", "refused")}
	_, err = execute[any](t, anInfra(c, true, running()).CreateJob, first)
	requireKind(t, err, fault.Invalid)

	unplanned := running()
	unplanned.Plan = nil
	c = &cluster{}
	_, err = execute[any](t, anInfra(c, true, unplanned).CreateJob, first)
	requireKind(t, err, fault.Conflict)

	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, anInfra(c, true, running()).CreateJob(canceled, first), context.Canceled)
	require.Empty(t, c.created, "nothing is made that nobody waits for")
}

func TestDeleteJob(t *testing.T) {
	c := &cluster{}
	_, err := execute[any](t, anInfra(c, true).DeleteJob, DeleteJobInput{AttemptRef: first, Grace: 7 * time.Second})
	require.NoError(t, err)
	require.Equal(t, []time.Duration{7 * time.Second}, c.deleted)
}

// TestAnEndThatTheGatewayWasToldOf is known before anybody looks at the cluster.
func TestAnEndThatTheGatewayWasToldOf(t *testing.T) {
	a := anInfra(&cluster{}, true)
	envelope := okEnvelope([]byte(`{"a":1}`), "")
	for name, look := range map[string]any{"AwaitJob": a.AwaitJob, "LastLook": a.LastLook} {
		t.Run(name, func(t *testing.T) {
			a.Reports = sessions{report: &envelope}
			outcome, err := execute[JobOutcome](t, look, first)
			require.NoError(t, err)
			require.Equal(t, infra.ReasonOK, outcome.Reason)
			require.True(t, outcome.Reported)

			a.Reports = sessions{err: fault.New(fault.Unavailable, "", "away")}
			_, err = execute[JobOutcome](t, look, first)
			requireKind(t, err, fault.Unavailable)
		})
	}
}
