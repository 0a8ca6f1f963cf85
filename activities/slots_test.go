package activities

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/infra"
	"agentmarket/product"
)

// aCrowd is the product part of a platform where other runs are about.
func aCrowd(run product.Run) (*Product, *runs, *market, *others) {
	p, store, m := aShop(run)
	return p, store, m, p.Waker.(*others)
}

func TestAcquireSlotOverALimitIsQueued(t *testing.T) {
	p, store, m, _ := aCrowd(plannedRun())
	m.wait = &product.Wait{
		Scope: product.Scope{Kind: product.ScopeTeam, ID: "team_1"}, Bound: product.BoundRuns, Limit: 3, Position: 2, Since: now,
	}
	got, err := p.AcquireSlot(t.Context(), first)
	require.NoError(t, err)
	require.Empty(t, cmp.Diff(Slot{Queued: true, Position: 2, Reason: "the limit of the team: 3 runs at once", QueueDeadline: now}, got))
	require.Empty(t, cmp.Diff(plannedRun(), store.byID[runID]), "nothing was opened")
	require.Empty(t, m.held, "and nothing is held")

	m.wait = nil // it was its turn
	got, err = p.AcquireSlot(t.Context(), first)
	require.NoError(t, err)
	require.Empty(t, cmp.Diff(Slot{Granted: true}, got))
	require.Len(t, m.held, 1)
}

func TestAcquireSlotOfARunInTheQueueExpires(t *testing.T) {
	p, store, _, _ := aCrowd(plannedRun())
	p.Now = func() time.Time { return now.Add(time.Second) }
	got, err := p.AcquireSlot(t.Context(), first)
	require.NoError(t, err)
	require.Empty(t, cmp.Diff(Slot{Expired: true}, got))
	require.Empty(t, store.events)
}

func TestAcquireSlotBeyondALimitThatNoWaitingMends(t *testing.T) {
	p, _, m, _ := aCrowd(plannedRun())
	m.refusal = fault.New(fault.Forbidden, product.CodeLimitReached, "the limit of the quota allows 5 runs a day")
	got, err := p.AcquireSlot(t.Context(), first)
	require.NoError(t, err, "an answer, not something to try again")
	require.Empty(t, cmp.Diff(Slot{
		DeniedKind: "forbidden", DeniedCode: "limit_reached", DeniedMessage: "the limit of the quota allows 5 runs a day",
	}, got))
}

// TestAcquireSlotAsksThePoliciesAgain: one may have been tightened since the plan
// was made, while the run waited for a person or for its turn.
func TestAcquireSlotAsksThePoliciesAgain(t *testing.T) {
	nobody := []product.Policy{{Scope: product.PolicyScope{Kind: product.ScopeOrganization}, Agents: []string{}}}
	denied := Slot{
		DeniedKind: "forbidden", DeniedCode: "policy_denied",
		DeniedMessage: "a policy does not allow the run: the policy of the organization does not allow acme/greeter",
	}
	ofTeam, canceled, late, failed := plannedRun(), plannedRun(), plannedRun(), running()
	ofTeam.TeamID = "team_1"
	canceled.Cancel, canceled.Status = &product.Cancel{Reason: "enough"}, product.StatusCanceling
	late.QueueDeadline = now.Add(-time.Second)
	failed.Attempts[0].Reason = "node_lost"
	for _, tt := range []struct {
		name     string
		run      product.Run
		attempt  int
		policies []product.Policy
		want     Slot
	}{
		{"denied", ofTeam, 1, nobody, denied},
		{"allowed", ofTeam, 1, []product.Policy{{Agents: []string{"acme/*"}, MaxRun: time.Second}}, Slot{Granted: true}},
		{"without a policy", ofTeam, 1, nil, Slot{Granted: true}},
		{"a cancel wins", canceled, 1, nobody, Slot{CancelRequested: true}},
		{"the deadline wins", late, 1, nobody, Slot{Expired: true}},
		{"a repeat of what has begun", running(), 1, nobody, Slot{Granted: true}},
		{"a later attempt goes on", failed, 2, nobody, Slot{Granted: true}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, store, m, _ := aCrowd(tt.run)
			names := p.Names.(*named)
			p.Policies, names.policies = names, tt.policies
			before := *tt.run.Plan
			got, err := p.AcquireSlot(t.Context(), AttemptRef{RunID: runID, Attempt: tt.attempt})
			require.NoError(t, err)
			require.Empty(t, cmp.Diff(tt.want, got))
			require.Empty(t, cmp.Diff(before, *store.byID[runID].Plan), "the plan stays as it is")
			if tt.run.TeamID != "" {
				require.Equal(t, []string{"org_1", "team_1", "agt_1"}, names.asked)
			}
			if tt.want.DeniedKind != "" {
				require.Empty(t, cmp.Diff(tt.run, store.byID[runID]), "nothing was opened")
				require.Empty(t, m.held, "and nothing is held")
			}
		})
	}
}

func TestAcquireSlotDeniesARunThatWouldWait(t *testing.T) {
	p, _, m, _ := aCrowd(plannedRun())
	names := p.Names.(*named)
	p.Policies, names.policies = names, []product.Policy{{Agents: []string{}}}
	m.wait = &product.Wait{Scope: product.Scope{Kind: product.ScopeTeam, ID: "team_1"}, Bound: product.BoundRuns, Limit: 3, Position: 2, Since: now}
	got, err := p.AcquireSlot(t.Context(), first)
	require.NoError(t, err)
	require.Equal(t, "policy_denied", got.DeniedCode)
}

// What the doctor finds while a run waits counts, too.
func TestAcquireSlotInARefusedTier(t *testing.T) {
	p, store, m, _ := aCrowd(plannedRun())
	p.Limits.Tiers = &product.Tiers{}
	p.Limits.Tiers.Learn(product.DoctorReport{Tiers: []product.TierReport{{Tier: store.byID[runID].Plan.Tier,
		Findings: []infra.Finding{{Check: infra.CheckSeccomp, State: infra.Broken}}}}})
	got, err := p.AcquireSlot(t.Context(), first)
	require.NoError(t, err)
	require.Equal(t, "policy_denied", got.DeniedCode)
	require.Contains(t, got.DeniedMessage, "seccomp")
	require.Empty(t, m.held)
}

func TestAcquireSlotWithoutAnswerOfThePolicies(t *testing.T) {
	p, store, _, _ := aCrowd(plannedRun())
	names := p.Names.(*named)
	p.Policies, names.err = names, fault.New(fault.Unavailable, "", "away")
	_, err := p.AcquireSlot(t.Context(), first)
	requireKind(t, err, fault.Unavailable)
	require.Empty(t, store.byID[runID].Attempts)
}

// TestAcquireSlotOfARunThatWaitsForAnApproval: without a decision nothing begins,
// whoever asks.
func TestAcquireSlotOfARunThatWaitsForAnApproval(t *testing.T) {
	p, store, m, _ := aCrowd(waitingRun())
	_, err := p.AcquireSlot(t.Context(), first)
	requireKind(t, err, fault.Conflict)
	require.Empty(t, store.byID[runID].Attempts)
	require.Empty(t, m.held)
}

func TestSettleRunWakesTheNext(t *testing.T) {
	both := []ids.Run{"run_a", "run_b"}
	away := fault.New(fault.Unavailable, "", "away")
	for _, tt := range []struct {
		name   string
		signal error
		store  error
		said   []string
	}{
		{"told", nil, nil, []string{"freed run_a", "told run_a", "freed run_b", "told run_b"}},
		{"ended meanwhile", fault.New(fault.NotFound, "", "ended"), nil, []string{"freed run_a", "told run_a", "freed run_b", "told run_b"}},
		{"Temporal is away: left to the relay", away, nil, []string{"freed run_a", "freed run_b"}},
		{"the store is away: told again by the relay", nil, away, []string{"freed run_a", "told run_a", "freed run_b", "told run_b"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, store, m, o := aCrowd(queuedRun())
			m.granted, o.signal, o.err = both, tt.signal, tt.store
			got, err := p.SettleRun(t.Context(), SettleRunInput{RunID: runID, Reason: product.ReasonQueueTimeout})
			require.NoError(t, err, "the run has ended, whoever was told of it")
			require.Equal(t, product.StatusExpired, got.Status)
			require.Equal(t, tt.said, o.said)
			require.Equal(t, product.StatusExpired, store.byID[runID].Status)

			o.said = nil
			_, err = p.SettleRun(t.Context(), SettleRunInput{RunID: runID, Reason: product.ReasonQueueTimeout})
			require.NoError(t, err)
			require.Empty(t, o.said, "a slot is handed over once")
		})
	}
}

func TestSettleRunThatFailsWakesNobody(t *testing.T) {
	p, store, m, o := aCrowd(queuedRun())
	m.granted, store.err = []ids.Run{"run_a"}, fault.New(fault.Unavailable, "", "away")
	_, err := p.SettleRun(t.Context(), SettleRunInput{RunID: runID, Reason: product.ReasonQueueTimeout})
	requireKind(t, err, fault.Unavailable)
	require.Empty(t, o.said)
}
