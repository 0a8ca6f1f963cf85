package storetest

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/marketplace"
	"agentmarket/product"
)

var settlementTests = []testCase{
	{"what is held becomes what the run cost, and the rest goes back", settlementCharges},
	{"what the platform broke costs nothing, and is given back", func(t *testing.T, s Stores) {
		m := bought(t, s, 10_000, perRun(1_000))
		run := m.settled(t, m.admitted(t, start).ID, product.ReasonPlatformError, time.Minute, after(time.Minute))
		require.Equal(t, usd(0), run.Cost)
		requireMoney(t, s, m.buyer, 10_000, 0, 0)
		require.Equal(t, marketplace.Usage{Month: "2026-03"}, m.usage(t))
		list, err := s.Marketplace.Transactions(t.Context(), marketplace.AccountOf(marketplace.AccountHeld, m.buyer.ID), "", 1)
		require.NoError(t, err)
		require.Equal(t, marketplace.TxRelease, list[0].Kind)
		average, err := s.Marketplace.AverageRun(t.Context(), m.agent.ID)
		require.NoError(t, err)
		require.Zero(t, average)
	}},
	{"a failed run costs what its price says", func(t *testing.T, s Stores) {
		for name, rule := range map[string]marketplace.FailedRuns{"free": marketplace.FailedRunsFree, "charged": marketplace.FailedRunsCharged} {
			m := market{Stores: s, publisher: anOrganization(t, s, "acme-"+name), buyer: anOrganization(t, s, "globex-"+name)}
			m.agent, m.version = publish(t, s, m.publisher, "reviewer", "1.0.0", start)
			m.list(t, marketplace.VisibilityPublic)
			m.price(t, func(p *marketplace.Price) { p.FailedRuns = rule })
			m.order(t, marketplace.OrderUsage, start)
			fund(t, s, m.buyer, 1_000)
			m.settled(t, m.admitted(t, start).ID, "agent_error", time.Second, after(time.Minute))
			paid := map[marketplace.FailedRuns]int64{marketplace.FailedRunsFree: 0, marketplace.FailedRunsCharged: 1_000}[rule]
			requireMoney(t, s, m.buyer, 1_000-paid, 0, 0)
			require.Equal(t, marketplace.Usage{Month: "2026-03", Runs: 1, Seconds: 1, Total: 1}, m.usage(t))
		}
	}},
	{"a canceled run pays the time until the signal", func(t *testing.T, s Stores) {
		m := bought(t, s, 10_000, perSecond(10))
		run := m.admitted(t, start)
		w := world{Stores: s, org: m.buyer, agent: m.agent, version: m.version}
		w.cancel(t, run.ID, after(20*time.Second))
		run = m.settled(t, run.ID, product.ReasonCanceled, time.Minute, after(time.Minute))
		require.Equal(t, usd(200), run.Cost)
		requireMoney(t, s, m.buyer, 9_800, 0, 0)
	}},
	{"the same end from many at once is charged once", func(t *testing.T, s Stores) {
		m := bought(t, s, 10_000, perRun(1_000))
		run := m.admitted(t, start)
		errs := make([]error, 16)
		var asked atomic.Int32
		together(len(errs), func(i int) {
			change := func(r *product.Run) ([]*product.Event, error) {
				end := product.End{Reason: product.ReasonOK, StartedAt: start, FinishedAt: after(time.Minute)}
				return []*product.Event{r.AttemptEnded(1, end, after(time.Minute)), r.Settle(product.ReasonOK, "", after(time.Minute))}, nil
			}
			_, _, errs[i] = s.Marketplace.SettleRun(t.Context(), run.ID, after(time.Minute), change,
				func(r product.Run, h marketplace.Hold, c marketplace.Used) marketplace.Settlement {
					asked.Add(1)
					return bill(r, h, c)
				})
		})
		require.Equal(t, tally{passed: 16}, count("", errs))
		require.EqualValues(t, 1, asked.Load())
		requireMoney(t, s, m.buyer, 9_000, 0, 0)
		requireMoney(t, s, m.publisher, 0, 0, 800)
		require.Equal(t, marketplace.Usage{Month: "2026-03", Runs: 1, Seconds: 60, Total: 1}, m.usage(t))
		log, err := s.Runs.Events(t.Context(), run.ID, 0, 0)
		require.NoError(t, err)
		require.Len(t, log, 4, "created, attempt created, attempt ended, ended")
	}},
	{"a second settlement changes nothing, whatever it says", settlementStays},
	{"a run that goes on, or was never held for, is only changed", func(t *testing.T, s Stores) {
		m := bought(t, s, 10_000, perRun(1_000))
		never := func(product.Run, marketplace.Hold, marketplace.Used) marketplace.Settlement { panic("asked") }
		run := m.admitted(t, start)
		got, _, err := s.Marketplace.SettleRun(t.Context(), run.ID, after(time.Second), func(r *product.Run) ([]*product.Event, error) {
			return []*product.Event{r.AttemptStarted(1, after(time.Second))}, nil
		}, never)
		require.NoError(t, err)
		require.Equal(t, product.StatusRunning, got.Status)
		requireMoney(t, s, m.buyer, 9_000, 1_000, 0)

		queued := m.run(t, nil)
		got, _, err = s.Marketplace.SettleRun(t.Context(), queued.ID, start, func(r *product.Run) ([]*product.Event, error) {
			return []*product.Event{r.Settle(product.ReasonQueueTimeout, "", start)}, nil
		}, never)
		require.NoError(t, err)
		require.Equal(t, product.StatusExpired, got.Status)
		require.Zero(t, got.Cost)
		refusal := errors.New("no")
		_, _, err = s.Marketplace.SettleRun(t.Context(), run.ID, start,
			func(*product.Run) ([]*product.Event, error) { return nil, refusal }, never)
		require.Equal(t, refusal, err)
		_, _, err = s.Marketplace.SettleRun(t.Context(), "run_none", start, func(*product.Run) ([]*product.Event, error) { return nil, nil }, never)
		requireFault(t, err, fault.NotFound, "run_not_found")
	}},
	{"a settlement for more than is held stores nothing", func(t *testing.T, s Stores) {
		m := bought(t, s, 10_000, perRun(1_000))
		run := m.admitted(t, start)
		for _, total := range []int64{1_001, -1} {
			_, _, err := s.Marketplace.SettleRun(t.Context(), run.ID, start, func(r *product.Run) ([]*product.Event, error) {
				return []*product.Event{r.Settle(product.ReasonOK, "", start)}, nil
			}, func(product.Run, marketplace.Hold, marketplace.Used) marketplace.Settlement {
				return marketplace.Settlement{Total: usd(total), Fee: usd(0)}
			})
			require.Error(t, err)
		}
		got, err := s.Runs.Run(t.Context(), run.ID)
		require.NoError(t, err)
		requireSame(t, run, got)
		requireMoney(t, s, m.buyer, 9_000, 1_000, 0)
	}},
	{"a run counts in the month that it was admitted in", settlementOverMonths},
	{"a run of what is free costs nothing, and counts", func(t *testing.T, s Stores) {
		m := newMarket(t, s)
		run := m.settled(t, m.admitted(t, start).ID, product.ReasonOK, 90*time.Second, after(2*time.Minute))
		require.Zero(t, run.Cost)
		require.Equal(t, marketplace.Usage{Month: "2026-03", Runs: 1, Seconds: 90, Total: 1}, m.usage(t))
		average, err := s.Marketplace.AverageRun(t.Context(), m.agent.ID)
		require.NoError(t, err)
		require.Equal(t, 90*time.Second, average)
	}},
	{"a trial run that the platform broke can be had again, in another month too", func(t *testing.T, s Stores) {
		m := newMarket(t, s)
		m.price(t, func(p *marketplace.Price) { p.Trial.Runs = 1 })
		m.order(t, marketplace.OrderTrial, start)
		run := m.admitted(t, start)
		require.Equal(t, tally{denied: 1}, m.rush(t, 1, marketplace.CodeTrialExhausted))
		m.settled(t, run.ID, product.ReasonPlatformError, time.Minute, april)
		require.Equal(t, tally{passed: 1}, m.rush(t, 1, marketplace.CodeTrialExhausted))
	}},
}

func settlementCharges(t *testing.T, s Stores) {
	m := bought(t, s, 10_000, perSecond(10))
	run := m.admitted(t, start)
	requireMoney(t, s, m.buyer, 9_100, 900, 0)
	run = m.settled(t, run.ID, product.ReasonOK, 20500*time.Millisecond, after(time.Minute))
	require.Equal(t, usd(210), run.Cost)
	loaded, err := s.Runs.Run(t.Context(), run.ID)
	require.NoError(t, err)
	requireSame(t, loaded, run)
	requireMoney(t, s, m.buyer, 9_790, 0, 0)
	requireMoney(t, s, m.publisher, 0, 0, 168)
	hold, err := s.Marketplace.HoldOf(t.Context(), run.ID)
	require.NoError(t, err)
	require.Equal(t, usd(210), hold.Charged)
	require.Equal(t, stored(after(time.Minute)), hold.SettledAt)
	require.Equal(t, marketplace.Usage{Month: "2026-03", Runs: 1, Seconds: 21, Total: 1}, m.usage(t))
	require.Equal(t, marketplace.Spend{Month: "2026-03", Spent: usd(210), Held: usd(0)}, m.spending(t, "", "2026-03").Org)

	list, err := s.Marketplace.Transactions(t.Context(), marketplace.AccountOf(marketplace.AccountFees, ""), "", 1)
	require.NoError(t, err)
	got := list[0]
	requireSame(t, marketplace.Transaction{
		ID: got.ID, Kind: marketplace.TxCharge, OrgID: m.buyer.ID, Publisher: m.publisher.ID, RunID: run.ID,
		AgentID: m.agent.ID, Agent: m.agent.FullName(), Month: "2026-03", CreatedBy: "settlement", CreatedAt: stored(after(time.Minute)),
		Lines: []marketplace.Line{
			{Account: ids.Account("held:" + string(m.buyer.ID)), Amount: usd(-900), Balance: usd(0)},
			{Account: ids.Account("wallet:" + string(m.buyer.ID)), Amount: usd(690), Balance: usd(9_790)},
			{Account: ids.Account("earnings:" + string(m.publisher.ID)), Amount: usd(168), Balance: usd(168)},
			{Account: "fees", Amount: usd(42), Balance: usd(42)},
		},
		Costs: []marketplace.CostLine{{Kind: marketplace.LineTime, Quantity: 21, Amount: usd(210)}},
	}, got)
}

func settlementStays(t *testing.T, s Stores) {
	m := bought(t, s, 10_000, perRun(1_000))
	run := m.settled(t, m.admitted(t, start).ID, product.ReasonOK, time.Second, after(time.Minute))
	hold, err := s.Marketplace.HoldOf(t.Context(), run.ID)
	require.NoError(t, err)
	for range 3 {
		again, err := m.end(t, run.ID, product.ReasonPlatformError, time.Hour, after(time.Hour))
		require.NoError(t, err)
		requireSame(t, run, again)
	}
	_, _, err = s.Marketplace.SettleRun(t.Context(), run.ID, after(time.Hour), func(r *product.Run) ([]*product.Event, error) {
		r.Log = &product.Blob{Key: "log", Size: 1, SHA256: "ab"} // what comes late is stored
		return nil, nil
	}, bill)
	require.NoError(t, err)
	requireMoney(t, s, m.buyer, 9_000, 0, 0)
	requireMoney(t, s, m.publisher, 0, 0, 800)
	after, err := s.Marketplace.HoldOf(t.Context(), run.ID)
	require.NoError(t, err)
	requireSame(t, hold, after)
	got, err := s.Runs.Run(t.Context(), run.ID)
	require.NoError(t, err)
	require.Equal(t, usd(1_000), got.Cost)
	require.NotNil(t, got.Log)
}

func settlementOverMonths(t *testing.T, s Stores) {
	m := bought(t, s, 10_000, perRun(1_000))
	charged, broken := m.admitted(t, start), m.admitted(t, start)
	m.admitted(t, april)
	require.Equal(t, marketplace.Usage{Month: "2026-04", Runs: 1, Total: 3, Active: 3}, m.usage(t))
	m.settled(t, charged.ID, product.ReasonOK, time.Second, april)
	m.settled(t, broken.ID, product.ReasonPlatformError, time.Second, april)
	require.Equal(t, marketplace.Usage{Month: "2026-04", Runs: 1, Total: 2, Active: 1}, m.usage(t))
	require.Equal(t, marketplace.Spend{Month: "2026-03", Spent: usd(1_000), Held: usd(0)}, m.spending(t, "", "2026-03").Org)
	require.Equal(t, marketplace.Spend{Month: "2026-04", Spent: usd(0), Held: usd(1_000)}, m.spending(t, "", "2026-04").Org)
}

var chargeTests = []testCase{
	{"an event is charged within what is held, and is part of the bill", func(t *testing.T, s Stores) {
		m := bought(t, s, 10_000, perEvent(100, 30, 1_000))
		run := m.admitted(t, start)
		got, err := s.Marketplace.ChargeEvent(t.Context(), run.ID, 1, "a", "page", 5, after(time.Second))
		require.NoError(t, err)
		want := marketplace.EventCharge{Key: "a", Event: "page", Count: 5, Amount: usd(150), At: stored(after(time.Second))}
		requireSame(t, want, got)
		got, err = s.Marketplace.ChargeEvent(t.Context(), run.ID, 1, "a", "page", 5, after(time.Hour))
		require.NoError(t, err)
		requireSame(t, want, got)
		_, err = s.Marketplace.ChargeEvent(t.Context(), run.ID, 1, "a", "page", 6, after(time.Second))
		requireFault(t, err, fault.Invalid, "idempotency_key_reused")
		_, err = s.Marketplace.ChargeEvent(t.Context(), run.ID, 1, "b", "mail", 1, after(time.Second))
		requireFault(t, err, fault.Invalid, "")
		_, err = s.Marketplace.ChargeEvent(t.Context(), run.ID, 1, "b", "page", 26, after(time.Second))
		requireFault(t, err, fault.PaymentRequired, marketplace.CodeBudgetExhausted)
		_, err = s.Marketplace.ChargeEvent(t.Context(), run.ID, 1, "b", "page", 25, after(time.Second))
		require.NoError(t, err)
		run = m.settled(t, run.ID, product.ReasonOK, time.Second, after(time.Minute))
		require.Equal(t, usd(1_000), run.Cost)
		requireMoney(t, s, m.buyer, 9_000, 0, 0)

		got, err = s.Marketplace.ChargeEvent(t.Context(), run.ID, 1, "a", "page", 5, after(time.Hour))
		require.NoError(t, err, "what was charged is told after the end, too")
		requireSame(t, want, got)
		_, err = s.Marketplace.ChargeEvent(t.Context(), run.ID, 1, "c", "page", 1, after(time.Hour))
		requireFault(t, err, fault.Conflict, "run_ended")
	}},
	{"only a run that was admitted and goes on", func(t *testing.T, s Stores) {
		m := bought(t, s, 10_000, perEvent(100, 30, 1_000))
		_, err := s.Marketplace.ChargeEvent(t.Context(), m.run(t, nil).ID, 1, "a", "page", 1, start)
		requireFault(t, err, fault.NotFound, "hold_not_found")
		run := m.admitted(t, start)
		_, err = s.Runs.UpdateRun(t.Context(), run.ID, func(r *product.Run) ([]*product.Event, error) {
			return []*product.Event{r.Settle(product.ReasonOK, "", start)}, nil
		})
		require.NoError(t, err)
		_, err = s.Marketplace.ChargeEvent(t.Context(), run.ID, 1, "a", "page", 1, start)
		requireFault(t, err, fault.Conflict, "run_ended")
		// Ended by another way, it is settled when SettleRun comes by.
		m.settled(t, run.ID, product.ReasonOK, time.Second, after(time.Minute))
		requireMoney(t, s, m.buyer, 10_000, 0, 0)
	}},
	{"many at once never charge more than is held", func(t *testing.T, s Stores) {
		m := bought(t, s, 10_000, perEvent(100, 90, 1_000))
		run := m.admitted(t, start)
		errs := make([]error, 30)
		together(len(errs), func(i int) {
			_, errs[i] = s.Marketplace.ChargeEvent(t.Context(), run.ID, 1, string(rune('a'+i)), "page", 1, start)
		})
		require.Equal(t, tally{passed: 10, denied: 20}, count(marketplace.CodeBudgetExhausted, errs))
		for i := range errs { // the same key from many is one charge
			errs[i] = nil
		}
		other := m.admitted(t, start)
		together(len(errs), func(i int) {
			_, errs[i] = s.Marketplace.ChargeEvent(t.Context(), other.ID, 1, "a", "page", 3, start)
		})
		require.Equal(t, tally{passed: 30}, count("", errs))
		require.Equal(t, usd(1_000), m.settled(t, run.ID, product.ReasonOK, time.Second, after(time.Minute)).Cost)
		require.Equal(t, usd(370), m.settled(t, other.ID, product.ReasonOK, time.Second, after(time.Minute)).Cost)
	}},
	{"a charge and the end at once: it is on the bill, or refused", func(t *testing.T, s Stores) {
		m := bought(t, s, 100_000, perEvent(100, 10, 1_000))
		for range 10 {
			run := m.admitted(t, start)
			errs := make([]error, 8)
			together(len(errs), func(i int) {
				if i == 0 {
					_, errs[i] = m.end(t, run.ID, product.ReasonOK, time.Second, after(time.Minute))
					return
				}
				_, errs[i] = s.Marketplace.ChargeEvent(t.Context(), run.ID, 1, string(rune('a'+i)), "page", 1, start)
			})
			require.NoError(t, errs[0])
			n := count("run_ended", errs[1:])
			require.Empty(t, n.other)
			got, err := s.Runs.Run(t.Context(), run.ID)
			require.NoError(t, err)
			require.Equal(t, usd(100+10*int64(n.passed)), got.Cost)
		}
	}},
}
