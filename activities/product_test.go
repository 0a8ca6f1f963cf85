package activities

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"agentmarket/agentruntime"
	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/marketplace"
	"agentmarket/money"
	"agentmarket/product"
)

func aVersion() product.Version {
	return product.Version{
		ID: "ver_1", AgentID: "agt_1", Number: "1.0.0",
		Manifest: agentruntime.Manifest{Resources: agentruntime.DefaultResources(), Timeouts: agentruntime.DefaultTimeouts()},
	}
}

func aProduct(r *runs) *Product {
	o := &others{}
	return &Product{
		Runs: r, Agents: &agents{version: aVersion()}, Settlements: &market{runs: r, claim: ownClaim()},
		Names:  &named{agent: product.Agent{ID: "agt_1", OrgID: "org_acme", Publisher: "acme", Name: "greeter"}},
		Bodies: o, Queue: o, Waker: o, Canceler: o,
		Limits: product.DefaultLimits(), Policy: marketplace.DefaultPolicy(), Now: clock,
	}
}

func queuedRun() product.Run {
	return product.Run{ID: runID, OrgID: "org_1", VersionID: "ver_1", Status: product.StatusQueued, QueueDeadline: now}
}

// plannedRun is a run that waits for its slot.
func plannedRun() product.Run {
	run := queuedRun()
	run.Plan = aPlan()
	return run
}

func TestResolvePlan(t *testing.T) {
	store := newRuns(queuedRun())
	p := aProduct(store)
	want := PlanSummary{Version: "1.0.0", StartTimeout: 2 * time.Minute, RunTimeout: 5 * time.Minute, Grace: 10 * time.Second, MaxAttempts: 3, AgentAttempts: 1, Watched: true,
		RetryWindow: 3 * (7*time.Minute + 10*time.Second), RefusalWindow: time.Hour}
	got, err := p.ResolvePlan(t.Context(), ResolvePlanInput{RunID: runID, EntitlementID: "ent_1"})
	require.NoError(t, err)
	require.Empty(t, cmp.Diff(want, got))
	require.Equal(t, []product.EventType{product.EventPlanned}, store.events)
	stored := *store.byID[runID].Plan

	// A repeat under another configuration keeps the first plan.
	p.Limits.MaxAttempts, p.Limits.MaxRun = 9, time.Second
	got, err = p.ResolvePlan(t.Context(), ResolvePlanInput{RunID: runID, EntitlementID: "ent_2"})
	require.NoError(t, err)
	require.Empty(t, cmp.Diff(want, got))
	require.Empty(t, cmp.Diff(stored, *store.byID[runID].Plan))
	require.Equal(t, 1, p.Agents.(*agents).loads)
	require.Len(t, store.events, 1)
}

func TestResolvePlanWithinABudget(t *testing.T) {
	store := newRuns(queuedRun())
	got, err := aProduct(store).ResolvePlan(t.Context(), ResolvePlanInput{
		RunID: runID, EntitlementID: "ent_1", PriceID: "prc_1", BudgetMicros: 500_000, Currency: "USD", Affordable: time.Minute,
	})
	require.NoError(t, err)
	require.Equal(t, time.Minute, got.RunTimeout)
	plan := store.byID[runID].Plan
	require.Equal(t, ids.Entitlement("ent_1"), plan.EntitlementID)
	require.Equal(t, ids.Price("prc_1"), plan.PriceID)
	require.Equal(t, money.Of(500_000, "USD"), plan.Budget)
	require.True(t, plan.BudgetBound)
}

// TestResolvePlanInputOfOldHistories: their inputs have no price.
func TestResolvePlanInputOfOldHistories(t *testing.T) {
	var in ResolvePlanInput
	require.NoError(t, json.Unmarshal([]byte(`{"run_id":"run_1","entitlement_id":"ent_1"}`), &in))
	require.Empty(t, cmp.Diff(product.Right{Entitlement: "ent_1"}, in.right()))
	data, err := json.Marshal(in)
	require.NoError(t, err)
	require.JSONEq(t, `{"run_id":"run_1","entitlement_id":"ent_1"}`, string(data))
}

func TestResolvePlanOfTwoTries(t *testing.T) {
	store := newRuns(queuedRun())
	store.rival = func(r *product.Run) { r.Plan = aPlan() }
	got, err := aProduct(store).ResolvePlan(t.Context(), ResolvePlanInput{RunID: runID})
	require.NoError(t, err)
	require.Equal(t, 2*time.Minute, got.RunTimeout, "the plan that was stored first holds")
}

func TestResolvePlanFails(t *testing.T) {
	p := aProduct(newRuns(queuedRun()))
	p.Limits.Resources.CPUMillis = 1
	_, err := p.ResolvePlan(t.Context(), ResolvePlanInput{RunID: runID})
	requireKind(t, err, fault.Invalid)
	require.Nil(t, p.Runs.(*runs).byID[runID].Plan)

	p = aProduct(newRuns())
	_, err = p.ResolvePlan(t.Context(), ResolvePlanInput{RunID: runID})
	requireKind(t, err, fault.NotFound)
	p.Runs.(*runs).err = fault.New(fault.Unavailable, "", "away")
	_, err = p.ResolvePlan(t.Context(), ResolvePlanInput{RunID: runID})
	requireKind(t, err, fault.Unavailable)
}

func TestResolvePlanAsksThePolicies(t *testing.T) {
	run := queuedRun()
	run.TeamID, run.Request = "team_1", product.Request{Attempts: 2}
	store := newRuns(run)
	p := aProduct(store)
	names := p.Names.(*named)
	p.Policies = names
	p.Agents.(*agents).version.Manifest.Retry = &agentruntime.Retry{MaxAttempts: 3}
	names.policies = []product.Policy{{Scope: product.PolicyScope{Kind: product.ScopeTeam}, ApprovalAgents: []string{"acme/*"}, MaxRun: time.Minute}}
	got, err := p.ResolvePlan(t.Context(), ResolvePlanInput{RunID: runID, EntitlementID: "ent_1"})
	require.NoError(t, err)
	require.Equal(t, []string{"org_1", "team_1", "agt_1"}, names.asked)
	require.Empty(t, cmp.Diff(PlanSummary{
		Version: "1.0.0", StartTimeout: 2 * time.Minute, RunTimeout: time.Minute, Grace: 10 * time.Second, MaxAttempts: 3, AgentAttempts: 2,
		Approval: "the policy of the team asks for an approval of each run of acme/greeter", Watched: true,
		RetryWindow: 4 * (3*time.Minute + 10*time.Second), RefusalWindow: time.Hour,
	}, got))
	require.Equal(t, ids.Org("org_acme"), store.byID[runID].Plan.PublisherID)

	p = aProduct(newRuns(run))
	p.Policies = names
	names.policies = []product.Policy{{Scope: product.PolicyScope{Kind: product.ScopeOrganization}, Agents: []string{"globex/*"}}}
	_, err = p.ResolvePlan(t.Context(), ResolvePlanInput{RunID: runID, EntitlementID: "ent_1"})
	requireKind(t, err, fault.Forbidden)
	f, _ := FaultOf(err)
	require.Equal(t, "policy_denied", f.Code)
	require.Equal(t, "a policy does not allow the run: the policy of the organization does not allow acme/greeter", f.Message)
	require.Nil(t, p.Runs.(*runs).byID[runID].Plan)

	names.err = fault.New(fault.Unavailable, "", "away")
	_, err = p.ResolvePlan(t.Context(), ResolvePlanInput{RunID: runID, EntitlementID: "ent_1"})
	requireKind(t, err, fault.Unavailable)
}

func TestAcquireSlot(t *testing.T) {
	canceled := func(r product.Run) product.Run {
		r.Cancel, r.Status = &product.Cancel{Reason: "enough"}, product.StatusCanceling
		return r
	}
	late := plannedRun()
	late.QueueDeadline = now.Add(-time.Nanosecond)
	endless := plannedRun()
	endless.QueueDeadline = time.Time{}
	failed := running()
	failed.QueueDeadline = now.Add(-time.Hour)
	failed.Attempts[0].Reason = "node_lost"
	over := running()
	over.Status = product.StatusFailed
	for _, tt := range []struct {
		name     string
		run      product.Run
		attempt  int
		want     Slot
		kind     fault.Kind
		attempts int
	}{
		{"granted, at the last moment", plannedRun(), 1, Slot{Granted: true}, "", 1},
		{"without a plan", queuedRun(), 1, Slot{}, fault.Conflict, 0},
		{"granted without a deadline", endless, 1, Slot{Granted: true}, "", 1},
		{"expired", late, 1, Slot{Expired: true}, "", 0},
		{"cancel requested", canceled(plannedRun()), 1, Slot{CancelRequested: true}, "", 0},
		{"cancel wins against expiry", canceled(late), 1, Slot{CancelRequested: true}, "", 0},
		{"repeat", running(), 1, Slot{Granted: true}, "", 1},
		{"repeat after a cancel", canceled(running()), 1, Slot{CancelRequested: true}, "", 1},
		{"a retry does not expire", failed, 2, Slot{Granted: true}, "", 2},
		{"a retry of a canceled run", canceled(failed), 2, Slot{CancelRequested: true}, "", 1},
		{"repeat after the end", over, 1, Slot{}, fault.Conflict, 1},
		{"next after the end", over, 2, Slot{}, fault.Conflict, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			store := newRuns(tt.run)
			got, err := aProduct(store).AcquireSlot(t.Context(), AttemptRef{RunID: runID, Attempt: tt.attempt})
			if tt.kind != "" {
				requireKind(t, err, tt.kind)
			} else {
				require.NoError(t, err)
			}
			require.Empty(t, cmp.Diff(tt.want, got))
			require.Len(t, store.byID[runID].Attempts, tt.attempts)
			if tt.attempts > len(tt.run.Attempts) {
				require.Equal(t, []product.EventType{product.EventAttemptCreated}, store.events)
				require.Equal(t, product.StatusStarting, store.byID[runID].Status)
			} else {
				require.Empty(t, store.events)
				require.Equal(t, tt.run.Status, store.byID[runID].Status)
			}
		})
	}
}

func TestRecordCancelGrace(t *testing.T) {
	unplanned := queuedRun()
	for _, tt := range []struct {
		name string
		run  product.Run
		in   RecordCancelInput
		want time.Duration
	}{
		{"the plan's", running(), RecordCancelInput{}, 10 * time.Second},
		{"shorter", running(), RecordCancelInput{GraceSeconds: new(3)}, 3 * time.Second},
		{"none", running(), RecordCancelInput{GraceSeconds: new(0)}, 0},
		{"never longer than the plan's", running(), RecordCancelInput{GraceSeconds: new(11)}, 10 * time.Second},
		{"too large for a duration", running(), RecordCancelInput{GraceSeconds: new(1 << 40)}, 10 * time.Second},
		{"negative", running(), RecordCancelInput{GraceSeconds: new(-5)}, 0},
		{"force", running(), RecordCancelInput{GraceSeconds: new(5), Force: true}, 0},
		{"without a plan", unplanned, RecordCancelInput{GraceSeconds: new(5)}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			store := newRuns(tt.run)
			tt.in.RunID = runID
			order, err := aProduct(store).RecordCancel(t.Context(), tt.in)
			require.NoError(t, err)
			require.Equal(t, tt.want, order.Grace)
			require.Equal(t, product.StatusCanceling, store.byID[runID].Status)
		})
	}
}

// TestRecordCancelTakesTheTimeOfTheSignal, which may have waited for the end of an
// attempt: what came after it is not charged.
func TestRecordCancelTakesTheTimeOfTheSignal(t *testing.T) {
	for _, tt := range []struct {
		name     string
		at, want time.Time
	}{
		{"it waited", now.Add(-time.Minute), now.Add(-time.Minute)},
		{"clocks differ", now.Add(time.Minute), now},
		{"an old history", time.Time{}, now},
	} {
		t.Run(tt.name, func(t *testing.T) {
			store := newRuns(running())
			_, err := aProduct(store).RecordCancel(t.Context(), RecordCancelInput{RunID: runID, At: tt.at})
			require.NoError(t, err)
			require.Equal(t, tt.want, store.byID[runID].Cancel.SignaledAt)
		})
	}
}

func TestRecordCancelKeepsTheFirstRequest(t *testing.T) {
	run := running()
	run.Status = product.StatusCanceling
	run.Cancel = &product.Cancel{RequestedBy: "key_1", Reason: "enough", Grace: new(-time.Second), SignaledAt: now}
	store := newRuns(run)
	order, err := aProduct(store).RecordCancel(t.Context(), RecordCancelInput{RunID: runID, RequestedBy: "operator", GraceSeconds: new(9), Force: true})
	require.NoError(t, err)
	require.Equal(t, time.Duration(0), order.Grace, "a grace is never negative, wherever it came from")
	require.Empty(t, cmp.Diff(run.Cancel, store.byID[runID].Cancel))
	require.Empty(t, store.events)

	run = running()
	run.Status = product.StatusSucceeded
	store = newRuns(run)
	order, err = aProduct(store).RecordCancel(t.Context(), RecordCancelInput{RunID: runID})
	require.NoError(t, err, "a run that has ended meanwhile is settled next")
	require.Equal(t, 10*time.Second, order.Grace)
	require.Empty(t, cmp.Diff(run, store.byID[runID]))
}

func TestSettleRun(t *testing.T) {
	store := newRuns(running())
	p := aProduct(store)
	want := SettleRunResult{Status: product.StatusFailed, Reason: "agent_error", Cause: product.CauseAgent, Message: "exit 3"}
	got, err := p.SettleRun(t.Context(), SettleRunInput{RunID: runID, Reason: "agent_error", Message: "exit 3"})
	require.NoError(t, err)
	require.Empty(t, cmp.Diff(want, got))
	stored := store.byID[runID]

	got, err = p.SettleRun(t.Context(), SettleRunInput{RunID: runID, Reason: product.ReasonCanceled, Gone: &GoneReceipt{Attempt: 1, GoneAt: now}})
	require.NoError(t, err)
	require.Empty(t, cmp.Diff(want, got), "the first settlement stands")
	require.Empty(t, cmp.Diff(stored, store.byID[runID]))
	require.Equal(t, []product.EventType{product.EventAttemptEnded, product.EventEnded}, store.events)
}

func TestSettleRunClosesItsAttempts(t *testing.T) {
	store := newRuns(running())
	_, err := aProduct(store).SettleRun(t.Context(), SettleRunInput{RunID: runID, Reason: product.ReasonPlatformError, Message: "lost"})
	require.NoError(t, err)
	want := []product.Attempt{{Number: 1, Reason: product.ReasonPlatformError, Message: "lost", CreatedAt: now, StartedAt: now, FinishedAt: now}}
	require.Empty(t, cmp.Diff(want, store.byID[runID].Attempts))
}

func TestSettleRunWritesTheReceipt(t *testing.T) {
	run := running()
	run.Status, run.Cancel = product.StatusCanceling, &product.Cancel{RequestedBy: "key_1", SignaledAt: now}
	gone := &GoneReceipt{Attempt: 1, TerminatedAt: now.Add(time.Second), GoneAt: now.Add(2 * time.Second), ExitCode: new(143)}
	store := newRuns(run)
	got, err := aProduct(store).SettleRun(t.Context(), SettleRunInput{RunID: runID, Reason: product.ReasonCanceled, Message: "enough", Gone: gone})
	require.NoError(t, err)
	require.Empty(t, cmp.Diff(SettleRunResult{Status: product.StatusCanceled, Reason: product.ReasonCanceled, Cause: product.CauseCaller, Message: "enough"}, got))
	require.Empty(t, cmp.Diff(&product.Cancel{
		RequestedBy: "key_1", SignaledAt: now, TerminatedAt: gone.TerminatedAt, GoneAt: gone.GoneAt, ExitCode: gone.ExitCode,
	}, store.byID[runID].Cancel))
	require.Empty(t, cmp.Diff([]product.Attempt{{
		Number: 1, Reason: product.ReasonCanceled, Message: "enough", ExitCode: gone.ExitCode,
		CreatedAt: now, StartedAt: now, FinishedAt: gone.TerminatedAt,
	}}, store.byID[runID].Attempts))

	run = queuedRun()
	run.Status, run.Cancel = product.StatusCanceling, &product.Cancel{SignaledAt: now}
	store = newRuns(run)
	_, err = aProduct(store).SettleRun(t.Context(), SettleRunInput{RunID: runID, Reason: product.ReasonCanceled, Gone: &GoneReceipt{GoneAt: now}})
	require.NoError(t, err)
	require.Empty(t, cmp.Diff(&product.Cancel{SignaledAt: now, GoneAt: now}, store.byID[runID].Cancel), "it never ran")
}

func TestSettleKeepsTheEndOfAnAttempt(t *testing.T) {
	run := running()
	run.Status, run.Cancel = product.StatusCanceling, &product.Cancel{SignaledAt: now}
	run.Attempts[0].Reason = product.ReasonOK
	store := newRuns(run)
	got, err := aProduct(store).SettleRun(t.Context(), SettleRunInput{RunID: runID, Reason: product.ReasonOK})
	require.NoError(t, err)
	require.Equal(t, product.StatusSucceeded, got.Status, "it ended before the cancel reached it")
	require.Equal(t, []product.EventType{product.EventEnded}, store.events)
}
