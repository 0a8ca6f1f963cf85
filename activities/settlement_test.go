package activities

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"agentmarket/fault"
	"agentmarket/marketplace"
	"agentmarket/money"
	"agentmarket/product"
)

// aShop is the product part of a platform where the agent costs money.
func aShop(run product.Run) (*Product, *runs, *market) {
	store := newRuns(run)
	p := aProduct(store)
	m := &market{runs: store, claim: boughtClaim()}
	p.Settlements = m
	return p, store, m
}

func TestAcquireSlotHoldsWhatTheRunMayCost(t *testing.T) {
	run := plannedRun() // of two minutes
	run.UserID, run.Request.MaxCost = "usr_1", money.Of(500_000, "USD")
	p, store, m := aShop(run)
	got, err := p.AcquireSlot(t.Context(), first)
	require.NoError(t, err)
	require.Empty(t, cmp.Diff(Slot{Granted: true}, got))
	want := marketplace.Hold{
		RunID: runID, OrgID: "org_1", UserID: "usr_1", AgentID: "agt_1", Publisher: "org_2",
		EntitlementID: "ent_1", Source: marketplace.SourcePurchase, Price: *m.claim.Price,
		Amount: money.Of(120_000, "USD"), Affordable: 2 * time.Minute,
		FeeBasisPoints: 2000, Month: "2026-03", CreatedAt: now,
	}
	require.Empty(t, cmp.Diff([]marketplace.Hold{want}, m.held))
	require.Equal(t, product.StatusStarting, store.byID[runID].Status)

	// A repeat of the activity decides nothing again: the money may be gone by
	// then, for this very run.
	m.claim.Wallet = money.Of(0, "USD")
	got, err = p.AcquireSlot(t.Context(), first)
	require.NoError(t, err)
	require.Empty(t, cmp.Diff(Slot{Granted: true}, got))
	require.Len(t, m.held, 1)
}

func TestAcquireSlotOfTheNextAttemptHoldsNothing(t *testing.T) {
	run := running()
	run.Attempts[0].Reason = "node_lost"
	p, store, m := aShop(run)
	m.claim.Entitlements = nil
	got, err := p.AcquireSlot(t.Context(), AttemptRef{RunID: runID, Attempt: 2})
	require.NoError(t, err)
	require.Empty(t, cmp.Diff(Slot{Granted: true}, got), "it was admitted once and for all")
	require.Len(t, store.byID[runID].Attempts, 2)
	require.Empty(t, m.held)
}

func TestAcquireSlotDenied(t *testing.T) {
	for _, tt := range []struct {
		name    string
		arrange func(*marketplace.Claim)
		kind    fault.Kind
		code    string
	}{
		{"another run took the money", func(c *marketplace.Claim) { c.Wallet.Micros = 119_999 },
			fault.PaymentRequired, marketplace.CodeInsufficientFunds},
		{"another run was the last of the trial", func(c *marketplace.Claim) {
			c.Entitlements[0].Source = marketplace.SourceTrial
			c.Entitlements[0].Limits.Runs, c.Entitlements[0].Usage.Total = 3, 3
		}, fault.PaymentRequired, marketplace.CodeTrialExhausted},
		{"revoked meanwhile", func(c *marketplace.Claim) {
			c.Entitlements[0].RevokedAt, c.Visibility = now, marketplace.VisibilityPrivate
		}, fault.Forbidden, marketplace.CodeEntitlementRevoked},
		{"suspended meanwhile", func(c *marketplace.Claim) { c.Status = marketplace.ListingSuspended },
			fault.Forbidden, marketplace.CodeListingSuspended},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, store, m := aShop(plannedRun())
			tt.arrange(&m.claim)
			got, err := p.AcquireSlot(t.Context(), first)
			require.NoError(t, err, "an answer, not something to try again")
			require.Equal(t, string(tt.kind), got.DeniedKind)
			require.Equal(t, tt.code, got.DeniedCode)
			require.NotEmpty(t, got.DeniedMessage)
			require.False(t, got.Granted || got.Expired || got.CancelRequested)
			require.Empty(t, cmp.Diff(plannedRun(), store.byID[runID]), "nothing was opened")
			require.Empty(t, m.held)
		})
	}
}

// TestAcquireSlotOfACanceledRunDecidesNothing: it must end as canceled, not as
// rejected.
func TestAcquireSlotOfACanceledRunDecidesNothing(t *testing.T) {
	run := plannedRun()
	run.Status, run.Cancel = product.StatusCanceling, &product.Cancel{Reason: "enough"}
	p, _, m := aShop(run)
	m.claim.Entitlements = nil
	got, err := p.AcquireSlot(t.Context(), first)
	require.NoError(t, err)
	require.Empty(t, cmp.Diff(Slot{CancelRequested: true}, got))
	require.Empty(t, m.held)
}

func TestAcquireSlotFails(t *testing.T) {
	away := fault.New(fault.Unavailable, "", "away")
	p, store, _ := aShop(plannedRun())
	p.Agents.(*agents).err = away
	_, err := p.AcquireSlot(t.Context(), first)
	requireKind(t, err, fault.Unavailable)
	store.err = away
	_, err = p.AcquireSlot(t.Context(), first)
	requireKind(t, err, fault.Unavailable)
}

func TestSettleRunBillsOnce(t *testing.T) {
	p, store, m := aShop(plannedRun())
	_, err := p.AcquireSlot(t.Context(), first)
	require.NoError(t, err)
	run := store.byID[runID]
	run.AttemptStarted(1, now)
	run.AttemptEnded(1, product.End{Reason: product.ReasonOK, FinishedAt: now.Add(2500 * time.Millisecond)}, now)
	store.byID[runID] = run

	for range 2 { // the activity is repeated after its transaction was stored
		got, err := p.SettleRun(t.Context(), SettleRunInput{RunID: runID, Reason: product.ReasonOK})
		require.NoError(t, err)
		require.Equal(t, product.StatusSucceeded, got.Status)
	}
	require.Empty(t, cmp.Diff([]marketplace.Settlement{{
		Lines: []marketplace.CostLine{{Kind: marketplace.LineTime, Quantity: 3, Amount: money.Of(3_000, "USD")}},
		Total: money.Of(3_000, "USD"), Fee: money.Of(600, "USD"), Counted: true, Seconds: 3,
	}}, m.settled))
}

// TestSettleRunCharges holds the rules of the bill to the end that the record
// keeps: it is that of the run, not of the request to settle it.
func TestSettleRunCharges(t *testing.T) {
	for _, tt := range []struct {
		name    string
		reason  product.Reason
		policy  marketplace.FailedRuns
		total   int64
		counted bool
	}{
		{"the agent failed, failed runs are free", "agent_error", marketplace.FailedRunsFree, 0, true},
		{"the agent failed, failed runs are charged", "agent_error", marketplace.FailedRunsCharged, 2_000, true},
		{"out of budget", product.ReasonBudgetExhausted, marketplace.FailedRunsFree, 2_000, true},
		{"the platform failed", "node_lost", marketplace.FailedRunsCharged, 0, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, store, m := aShop(plannedRun())
			m.claim.Price.FailedRuns = tt.policy
			_, err := p.AcquireSlot(t.Context(), first)
			require.NoError(t, err)
			run := store.byID[runID]
			run.AttemptStarted(1, now)
			run.AttemptEnded(1, product.End{Reason: tt.reason, FinishedAt: now.Add(2 * time.Second)}, now)
			store.byID[runID] = run
			_, err = p.SettleRun(t.Context(), SettleRunInput{RunID: runID, Reason: tt.reason})
			require.NoError(t, err)
			require.Len(t, m.settled, 1)
			require.Equal(t, money.Of(tt.total, "USD"), m.settled[0].Total)
			require.Equal(t, tt.counted, m.settled[0].Counted)
		})
	}
}

func TestSettleRunThatWasNeverAdmitted(t *testing.T) {
	p, store, m := aShop(queuedRun())
	got, err := p.SettleRun(t.Context(), SettleRunInput{RunID: runID, Reason: product.ReasonPaymentRequired, Message: "top up"})
	require.NoError(t, err)
	require.Empty(t, cmp.Diff(SettleRunResult{
		Status: product.StatusRejected, Reason: product.ReasonPaymentRequired, Cause: product.CauseCaller, Message: "top up",
	}, got))
	require.Equal(t, product.StatusRejected, store.byID[runID].Status)
	require.Empty(t, m.settled)
}
