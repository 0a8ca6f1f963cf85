package storetest

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentmarket/fault"
	"agentmarket/marketplace"
	"agentmarket/product"
)

var admissionTests = []testCase{
	{"a run is held for with everything that its settlement needs", admissionHolds},
	{"a second time asks and changes nothing", func(t *testing.T, s Stores) {
		m := bought(t, s, 10_000, perRun(1_000))
		run := m.admitted(t, start)
		again, _, err := s.Marketplace.AdmitRun(t.Context(), run.ID, after(time.Hour), begin(after(time.Hour)),
			func(product.Run, marketplace.Claim, marketplace.Spending) (marketplace.Hold, error) {
				return marketplace.Hold{}, errors.New("asked again")
			})
		require.NoError(t, err)
		requireSame(t, run, again)
		requireMoney(t, s, m.buyer, 9_000, 1_000, 0)
		require.EqualValues(t, 1, m.usage(t).Active)
	}},
	{"a run begins when it has its slot, not when it asked for it", func(t *testing.T, s Stores) {
		m := bought(t, s, 10_000, perRun(1_000))
		run, clock := m.run(t, nil), start
		began, _, err := s.Marketplace.AdmitRun(t.Context(), run.ID, start, func(r *product.Run) ([]*product.Event, error) {
			clock = clock.Add(time.Second) // waiting for the locks of its limits took so long
			e, err := r.BeginAttempt(1, clock)
			return []*product.Event{e}, err
		}, m.decide(start))
		require.NoError(t, err)
		require.WithinDuration(t, after(2*time.Second), began.Attempts[0].CreatedAt, time.Microsecond)
		events, err := s.Runs.Events(t.Context(), run.ID, 0, 10)
		require.NoError(t, err)
		require.WithinDuration(t, after(2*time.Second), events[len(events)-1].At, time.Microsecond)
	}},
	{"without an attempt, or at its end, nothing is held", func(t *testing.T, s Stores) {
		m := bought(t, s, 10_000, perRun(1_000))
		never := func(product.Run, marketplace.Claim, marketplace.Spending) (marketplace.Hold, error) {
			return marketplace.Hold{}, errors.New("asked")
		}
		for _, change := range []func(*product.Run) ([]*product.Event, error){
			func(*product.Run) ([]*product.Event, error) { return nil, nil },
			func(r *product.Run) ([]*product.Event, error) {
				e, err := r.BeginAttempt(1, start)
				return []*product.Event{e, r.Settle(product.ReasonPlanInvalid, "", start)}, err
			},
		} {
			run := m.run(t, nil)
			_, _, err := s.Marketplace.AdmitRun(t.Context(), run.ID, start, change, never)
			require.NoError(t, err)
			_, err = s.Marketplace.HoldOf(t.Context(), run.ID)
			requireFault(t, err, fault.NotFound, "hold_not_found")
		}
		_, _, err := s.Marketplace.AdmitRun(t.Context(), "run_none", start, begin(start), never)
		requireFault(t, err, fault.NotFound, "run_not_found")
	}},
	{"a refusal comes back as it is, and undoes everything", admissionRefused},
	{"the price of the plan holds, not the one in effect", func(t *testing.T, s Stores) {
		m := bought(t, s, 10_000, perRun(1_000))
		planned := m.claim(t, "", start).Price
		setPrice(t, s, aPrice(m.agent, 7_000, after(time.Minute)))
		run := m.run(t, nil)
		_, err := s.Runs.UpdateRun(t.Context(), run.ID, func(r *product.Run) ([]*product.Event, error) {
			return []*product.Event{r.Planned(product.Plan{AgentID: m.agent.ID, PriceID: planned.ID, ResolvedAt: start}, start)}, nil
		})
		require.NoError(t, err)
		_, err = m.admit(t, run.ID, after(time.Hour))
		require.NoError(t, err)
		hold, err := s.Marketplace.HoldOf(t.Context(), run.ID)
		require.NoError(t, err)
		require.Equal(t, planned.ID, hold.Price.ID)
		require.Equal(t, usd(1_000), hold.Amount)
	}},
	{"what is free for everybody becomes a right with the first run", admissionOfFree},
	{"what is included holds nothing, and counts", func(t *testing.T, s Stores) {
		m := newMarket(t, s)
		m.price(t, monthly(1_000, 2, 400))
		fund(t, s, m.buyer, 5_000)
		m.order(t, marketplace.OrderSubscription, start)
		for range 2 {
			run := m.admitted(t, start)
			hold, err := s.Marketplace.HoldOf(t.Context(), run.ID)
			require.NoError(t, err)
			require.True(t, hold.Included)
			require.Equal(t, usd(0), hold.Amount)
		}
		requireMoney(t, s, m.buyer, 4_000, 0, 0)
		m.admitted(t, start)
		requireMoney(t, s, m.buyer, 3_600, 400, 0)
		require.EqualValues(t, 3, m.usage(t).Runs)
	}},
	{"a trial of three runs passes three of many", func(t *testing.T, s Stores) {
		m := newMarket(t, s)
		m.price(t, func(p *marketplace.Price) { p.PerRun, p.Trial.Runs = 1_000, 3 })
		m.order(t, marketplace.OrderTrial, start)
		require.Equal(t, tally{passed: 3, denied: 17}, m.rush(t, 20, marketplace.CodeTrialExhausted))
		require.Equal(t, marketplace.Usage{Month: "2026-03", Runs: 3, Total: 3, Active: 3}, m.usage(t))
	}},
	{"a wallet that pays for five runs passes five of many", func(t *testing.T, s Stores) {
		m := bought(t, s, 5_999, perRun(1_000))
		require.Equal(t, tally{passed: 5, denied: 25}, m.rush(t, 30, marketplace.CodeInsufficientFunds))
		requireMoney(t, s, m.buyer, 999, 5_000, 0)
		require.EqualValues(t, 5, m.usage(t).Active)
	}},
	{"a limit that leaves five runs passes five of many", func(t *testing.T, s Stores) {
		m := bought(t, s, 100_000, perRun(1_000))
		m.limit(t, marketplace.SpendMonthly, "", 5_500)
		require.Equal(t, tally{passed: 5, denied: 25}, m.rush(t, 30, marketplace.CodeSpendLimitReached))
		requireMoney(t, s, m.buyer, 95_000, 5_000, 0)
	}},
	{"a right for two at once passes two of many", func(t *testing.T, s Stores) {
		m := newMarket(t, s)
		m.grant(t, marketplace.AccessRun, nil)
		list, err := s.Marketplace.Entitlements(t.Context(), m.buyer.ID, "", 0)
		require.NoError(t, err)
		_, err = s.Marketplace.UpdateEntitlement(t.Context(), actor, m.buyer.ID, list[0].ID, start, func(e *marketplace.Entitlement) error {
			e.Limits.Concurrent = 2
			return nil
		})
		require.NoError(t, err)
		// The agent costs something, so that the right is the only way.
		m.price(t, perRun(1))
		require.Equal(t, tally{passed: 2, denied: 18}, m.rush(t, 20, marketplace.CodeConcurrencyReached))
	}},
	{"many first runs of what is free make one right", func(t *testing.T, s Stores) {
		m := newMarket(t, s)
		require.Equal(t, tally{passed: 20}, m.rush(t, 20, ""))
		require.Equal(t, marketplace.Usage{Month: "2026-03", Runs: 20, Total: 20, Active: 20}, m.usage(t))
	}},
}

// rush admits n runs at the same moment.
func (m market) rush(t *testing.T, n int, denial string) tally {
	t.Helper()
	runs, errs := make([]product.Run, n), make([]error, n)
	for i := range runs {
		runs[i] = m.run(t, nil)
	}
	together(n, func(i int) { _, errs[i] = m.admit(t, runs[i].ID, start) })
	for i, r := range runs {
		_, err := m.Marketplace.HoldOf(t.Context(), r.ID)
		require.Equal(t, errs[i] == nil, err == nil, "a run is held for exactly when it is admitted")
	}
	return count(denial, errs)
}

func admissionHolds(t *testing.T, s Stores) {
	m := newMarket(t, s)
	price := m.price(t, perSecond(10))
	order := m.order(t, marketplace.OrderUsage, start)
	fund(t, s, m.buyer, 10_000)
	user := m.member(t, m.buyer, "ada")
	run := m.run(t, func(r *product.Run) { r.UserID, r.Request.MaxCost = user, usd(305) })
	admitted, err := m.admit(t, run.ID, after(time.Second))
	require.NoError(t, err)
	require.Equal(t, product.StatusStarting, admitted.Status)

	hold, err := s.Marketplace.HoldOf(t.Context(), run.ID)
	require.NoError(t, err)
	requireSame(t, marketplace.Hold{
		RunID: run.ID, OrgID: m.buyer.ID, UserID: user, AgentID: m.agent.ID, Publisher: m.publisher.ID,
		EntitlementID: order.EntitlementID, Source: marketplace.SourcePurchase, Price: price,
		Amount: usd(305), Affordable: 30 * time.Second, FeeBasisPoints: 2000, Month: "2026-03", CreatedAt: stored(after(time.Second)),
	}, hold)
	requireMoney(t, s, m.buyer, 9_695, 305, 0)
	require.Equal(t, marketplace.Usage{Month: "2026-03", Runs: 1, Total: 1, Active: 1}, m.usage(t))
	spend := marketplace.Spend{Month: "2026-03", Spent: usd(0), Held: usd(305)}
	requireSame(t, marketplace.Spending{Org: spend, User: spend}, m.spending(t, user, "2026-03"))
	requireSame(t, marketplace.Spending{Org: spend, User: marketplace.Spend{Month: "2026-03"}}, m.spending(t, "usr_other", "2026-03"))

	list, err := s.Marketplace.Transactions(t.Context(), marketplace.AccountOf(marketplace.AccountHeld, m.buyer.ID), "", 0)
	require.NoError(t, err)
	require.Len(t, list, 1)
	require.Equal(t, marketplace.TxHold, list[0].Kind)
	require.Equal(t, run.ID, list[0].RunID)
	require.Equal(t, m.agent.FullName(), list[0].Agent)
	require.Equal(t, string(run.KeyID), list[0].CreatedBy)
}

func admissionRefused(t *testing.T, s Stores) {
	m := bought(t, s, 500, perRun(1_000))
	run := m.run(t, nil)
	refusal := errors.New("no")
	_, _, err := s.Marketplace.AdmitRun(t.Context(), run.ID, start,
		func(*product.Run) ([]*product.Event, error) { return nil, refusal }, m.decide(start))
	require.Equal(t, refusal, err)
	_, _, err = s.Marketplace.AdmitRun(t.Context(), run.ID, start, begin(start),
		func(product.Run, marketplace.Claim, marketplace.Spending) (marketplace.Hold, error) {
			return marketplace.Hold{}, refusal
		})
	require.Equal(t, refusal, err)
	// A decision for more than there is, as one of two rivals makes it.
	_, _, err = s.Marketplace.AdmitRun(t.Context(), run.ID, start, begin(start),
		func(r product.Run, c marketplace.Claim, sp marketplace.Spending) (marketplace.Hold, error) {
			c.Wallet = usd(1_000_000)
			return m.decide(start)(r, c, sp)
		})
	requireFault(t, err, fault.PaymentRequired, marketplace.CodeInsufficientFunds)
	m.limit(t, marketplace.SpendMonthly, "", 10)
	fund(t, s, m.buyer, 10_000)
	_, _, err = s.Marketplace.AdmitRun(t.Context(), run.ID, start, begin(start),
		func(r product.Run, c marketplace.Claim, _ marketplace.Spending) (marketplace.Hold, error) {
			return m.decide(start)(r, c, marketplace.Spending{})
		})
	requireFault(t, err, fault.PaymentRequired, marketplace.CodeSpendLimitReached)

	got, err := s.Runs.Run(t.Context(), run.ID)
	require.NoError(t, err)
	requireSame(t, run, got)
	requireMoney(t, s, m.buyer, 10_500, 0, 0)
	require.Equal(t, marketplace.Usage{}, m.usage(t))
	require.Zero(t, m.spending(t, "", "2026-03").Org.Held.Micros)
}

func admissionOfFree(t *testing.T, s Stores) {
	m := newMarket(t, s)
	first := m.admitted(t, start)
	hold, err := s.Marketplace.HoldOf(t.Context(), first.ID)
	require.NoError(t, err)
	require.NotEmpty(t, hold.EntitlementID)
	require.Equal(t, marketplace.SourceFree, hold.Source)
	second := m.admitted(t, start)
	again, err := s.Marketplace.HoldOf(t.Context(), second.ID)
	require.NoError(t, err)
	require.Equal(t, hold.EntitlementID, again.EntitlementID)
	require.EqualValues(t, 2, m.usage(t).Total)

	own := m
	own.buyer = m.publisher
	run := own.admitted(t, start)
	hold, err = s.Marketplace.HoldOf(t.Context(), run.ID)
	require.NoError(t, err)
	require.Equal(t, marketplace.SourceOwnership, hold.Source)
	require.EqualValues(t, 1, own.usage(t).Total)
}
