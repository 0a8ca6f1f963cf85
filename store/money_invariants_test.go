package store_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/internal/storetest"
	"agentmarket/marketplace"
	"agentmarket/product"
)

// check looks at everything.
func (b *bazaar) check(t *testing.T) {
	t.Helper()
	for name, query := range storetest.MoneyInvariants {
		require.Empty(t, b.identifiers(t, query), "there is %s", name)
	}
	b.checkUsage(t)
	b.checkStatements(t)
	b.checkRenewals(t)
	confirmed := b.number(t, `SELECT COUNT(*) FROM top_ups WHERE status = 'confirmed'`)
	require.Equal(t, int64(b.credits)+confirmed, b.number(t, `SELECT COUNT(*) FROM ledger_transactions WHERE kind = 'credit'`))
	for _, table := range []string{"ledger_transactions", "ledger_lines"} {
		for _, change := range []string{"UPDATE %s SET month = '2020-01'", "DELETE FROM %s"} {
			_, err := b.raw.ExecContext(t.Context(), fmt.Sprintf(change, table))
			require.ErrorContains(t, err, "append-only")
		}
	}
}

func (b *bazaar) number(t *testing.T, query string, args ...any) (n int64) {
	t.Helper()
	require.NoError(t, b.raw.QueryRowContext(t.Context(), query, args...).Scan(&n))
	return n
}

// checkUsage compares the counters of rights, and of agents, with their runs.
func (b *bazaar) checkUsage(t *testing.T) {
	t.Helper()
	used, ran := map[ids.Entitlement]marketplace.Usage{}, map[ids.Agent]int64{}
	months := map[ids.Entitlement]marketplace.Month{}
	rights := map[ids.Entitlement]marketplace.Entitlement{}
	for _, org := range append(b.buyers[:3:3], b.publishers...) {
		list, err := b.market.Entitlements(t.Context(), org.ID, "", 10_000)
		require.NoError(t, err)
		for _, e := range list {
			rights[e.ID], months[e.ID] = e, e.Usage.Month
			used[e.ID] = marketplace.Usage{Month: e.Usage.Month}
		}
	}
	for _, id := range b.runs {
		h, err := b.market.HoldOf(t.Context(), id)
		if fault.Is(err, fault.NotFound) {
			continue
		}
		require.NoError(t, err)
		s := marketplace.Settlement{Counted: true}
		u := used[h.EntitlementID]
		if h.SettledAt.IsZero() {
			u.Active++
		} else {
			s = b.settlement(t, h)
			ran[h.AgentID] += map[bool]int64{true: 1}[s.Counted && h.OrgID != h.Publisher]
		}
		if s.Counted {
			u.Total++
		}
		if s.Counted && h.Month == months[h.EntitlementID] {
			u.Runs++
			u.Seconds += s.Seconds
		}
		used[h.EntitlementID] = u
	}
	for id, u := range used {
		require.Equal(t, u, rights[id].Usage, "use of %s by %s", rights[id].Source, rights[id].OrgID)
	}
	for agent, n := range ran {
		require.Equal(t, n, b.number(t, "SELECT COALESCE(SUM(runs), 0) FROM agent_usage WHERE agent_id = '"+string(agent)+"'"))
	}
}

// settlement asks once more what a run cost, and compares.
func (b *bazaar) settlement(t *testing.T, h marketplace.Hold) marketplace.Settlement {
	t.Helper()
	run, err := b.db.Runs().Run(t.Context(), h.RunID)
	require.NoError(t, err)
	rows, err := b.raw.QueryContext(t.Context(), "SELECT event, count, amount_micros FROM run_charges WHERE run_id = '"+string(h.RunID)+"'")
	require.NoError(t, err)
	defer func() { require.NoError(t, rows.Close()) }()
	var charges []marketplace.EventCharge
	for rows.Next() {
		var c marketplace.EventCharge
		require.NoError(t, rows.Scan(&c.Event, &c.Count, &c.Amount.Micros))
		c.Amount.Currency = h.Amount.Currency
		charges = append(charges, c)
	}
	require.NoError(t, rows.Err())
	s := marketplace.Settle(h, run, marketplace.Used{Events: charges})
	require.Equal(t, h.Charged, s.Total, "charge of %s", h.RunID)
	require.Equal(t, run.Cost, s.Total, "cost of %s", h.RunID)
	if cause := product.RuleOf(run.Reason).Cause; cause == product.CausePlatform || cause == product.CausePublisher {
		require.Zero(t, s.Total.Micros, "%s ended by %s", h.RunID, run.Reason)
	}
	return s
}

// checkStatements follows the months of every organization.
func (b *bazaar) checkStatements(t *testing.T) {
	t.Helper()
	for _, org := range append(b.buyers[:3:3], b.publishers...) {
		var before marketplace.Statement
		from, _, _ := marketplace.MonthOf(b.first).Bounds()
		for m := from; !m.After(b.now); m = m.AddDate(0, 1, 0) {
			st, err := b.market.Statement(t.Context(), org.ID, marketplace.MonthOf(m), "USD")
			require.NoError(t, err)
			require.NoError(t, addsUp(st))
			require.Equal(t, before.Closing.Micros, st.Opening.Micros, "%s of %s", st.Month, org.Name)
			require.Equal(t, before.EarningsClosing.Micros, st.EarningsOpening.Micros, "%s of %s", st.Month, org.Name)
			before = st
		}
		accounts, err := b.market.Accounts(t.Context(), org.ID)
		require.NoError(t, err)
		require.Equal(t, accounts[0].Balance.Micros+accounts[1].Balance.Micros, before.Closing.Micros)
		require.Equal(t, accounts[1].Balance.Micros, before.Held.Micros)
		require.Equal(t, accounts[2].Balance.Micros, before.EarningsClosing.Micros)
	}
}

// addsUp checks a statement against itself.
func addsUp(st marketplace.Statement) error {
	sum, earned := st.Opening.Micros, st.EarningsOpening.Micros
	for _, l := range st.Lines {
		sum += l.Amount.Micros
	}
	for _, l := range st.Earnings {
		earned += l.Amount.Micros
	}
	if sum != st.Closing.Micros || earned != st.EarningsClosing.Micros || st.Held.Micros < 0 {
		return fmt.Errorf("the statement of %s does not add up: %+v", st.Month, st)
	}
	return nil
}

// identifiers are what a query of one column finds.
func (b *bazaar) identifiers(t *testing.T, query string) (found []string) {
	t.Helper()
	rows, err := b.raw.QueryContext(t.Context(), query)
	require.NoError(t, err, query)
	defer func() { require.NoError(t, rows.Close()) }()
	for rows.Next() {
		var id string
		require.NoError(t, rows.Scan(&id), query)
		found = append(found, id)
	}
	require.NoError(t, rows.Err())
	return found
}

// checkRenewals checks that no month of a subscription was paid twice.
func (b *bazaar) checkRenewals(t *testing.T) {
	t.Helper()
	rows, err := b.raw.QueryContext(t.Context(), `SELECT order_id, id FROM ledger_transactions WHERE kind = 'subscription' ORDER BY order_id, id`)
	require.NoError(t, err)
	defer func() { require.NoError(t, rows.Close()) }()
	paid := map[ids.Order]time.Time{}
	var list [][2]string
	for rows.Next() {
		var pair [2]string
		require.NoError(t, rows.Scan(&pair[0], &pair[1]))
		list = append(list, pair)
	}
	require.NoError(t, rows.Err())
	for _, pair := range list {
		tx, err := b.market.Transaction(t.Context(), ids.Transaction(pair[1]))
		require.NoError(t, err)
		if last, again := paid[tx.OrderID]; again {
			require.Greater(t, tx.CreatedAt.Sub(last), 26*24*time.Hour, "payments of %s", tx.OrderID)
		}
		paid[tx.OrderID] = tx.CreatedAt
	}
}

func isNotFound(err error) bool { return fault.Is(err, fault.NotFound) }
