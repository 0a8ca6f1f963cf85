package store_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/marketplace"
	"agentmarket/product"
)

// invariants are questions that no database of the platform has an answer to:
// each finds what must not be. They read the tables as they are, past the code
// that is tested.
var invariants = map[string]string{
	"a currency whose lines do not add up to zero": `
		SELECT currency FROM ledger_lines GROUP BY currency HAVING SUM(amount_micros) <> 0`,
	"a transaction that does not add up to zero": `
		SELECT transaction_id FROM ledger_lines GROUP BY transaction_id HAVING SUM(amount_micros) <> 0 OR COUNT(DISTINCT currency) <> 1`,
	"a transaction without lines": `
		SELECT id FROM ledger_transactions AS t WHERE NOT EXISTS (SELECT 1 FROM ledger_lines AS l WHERE l.transaction_id = t.id)`,
	"a line in another month than its transaction": `
		SELECT t.id FROM ledger_transactions AS t JOIN ledger_lines AS l ON l.transaction_id = t.id WHERE l.month <> t.month`,
	"an account that is not the sum of its lines": `
		SELECT a.id FROM accounts AS a LEFT JOIN (
			SELECT account_id, SUM(amount_micros) AS amount, MAX(seq) AS last, COUNT(*) AS n, MAX(month) AS month FROM ledger_lines GROUP BY account_id
		) AS l ON l.account_id = a.id
		WHERE a.balance_micros <> COALESCE(l.amount, 0) OR a.last_seq <> COALESCE(l.last, 0)
			OR a.last_seq <> COALESCE(l.n, 0) OR a.last_month <> COALESCE(l.month, '')`,
	"a line whose balance is not the sum so far, or whose month goes back": `
		SELECT account_id FROM (
			SELECT account_id, balance_micros, month, SUM(amount_micros) OVER (PARTITION BY account_id ORDER BY seq) AS amount,
				LAG(month, 1, '') OVER (PARTITION BY account_id ORDER BY seq) AS month_before FROM ledger_lines
		) AS l WHERE balance_micros <> amount OR month < month_before`,
	"a wallet below its limit, or less than nothing held": `
		SELECT id FROM accounts WHERE kind = 'wallet' AND balance_micros < -credit_micros OR kind = 'held' AND balance_micros < 0`,
	"an organization whose held account is not what its runs hold": `
		SELECT a.id FROM accounts AS a WHERE a.kind = 'held' AND a.balance_micros <>
			(SELECT COALESCE(SUM(h.amount_micros), 0) FROM holds AS h WHERE h.org_id = a.org_id AND h.settled_at IS NULL)`,
	"a month in which something else counts as held than the runs hold": `
		SELECT s.org_id FROM spending AS s WHERE s.held_micros <>
			(SELECT COALESCE(SUM(h.amount_micros), 0) FROM holds AS h WHERE h.org_id = s.org_id AND h.month = s.month
				AND s.user_id IN ('', h.user_id) AND h.settled_at IS NULL)`,
	"a month in which something else counts as spent than was charged": `
		SELECT s.org_id FROM spending AS s WHERE s.user_id = '' AND s.spent_micros <>
			(SELECT COALESCE(SUM(h.charged_micros), 0) FROM holds AS h WHERE h.org_id = s.org_id AND h.month = s.month AND h.settled_at IS NOT NULL)
			- (SELECT COALESCE(SUM(l.amount_micros), 0) FROM ledger_transactions AS t JOIN ledger_lines AS l ON l.transaction_id = t.id
				WHERE t.kind = 'subscription' AND t.month = s.month AND l.account_id = 'wallet:' || s.org_id)`,
	"a hold that no month counts": `
		SELECT run_id FROM holds AS h WHERE amount_micros > 0 AND NOT EXISTS
			(SELECT 1 FROM spending AS s WHERE s.org_id = h.org_id AND s.month = h.month AND s.user_id = h.user_id)`,
	"a run whose money did not move once, as its hold says": `
		SELECT h.run_id FROM holds AS h LEFT JOIN ledger_transactions AS t ON t.run_id = h.run_id AND t.kind <> 'refund'
		GROUP BY h.run_id, h.amount_micros, h.settled_at, h.charged_micros
		HAVING SUM(CASE WHEN t.kind = 'hold' THEN 1 ELSE 0 END) <> CASE WHEN h.amount_micros > 0 THEN 1 ELSE 0 END
			OR SUM(CASE WHEN t.kind = 'charge' THEN 1 ELSE 0 END) <> CASE WHEN h.charged_micros > 0 THEN 1 ELSE 0 END
			OR SUM(CASE WHEN t.kind = 'release' THEN 1 ELSE 0 END) <>
				CASE WHEN h.amount_micros > 0 AND h.settled_at IS NOT NULL AND h.charged_micros = 0 THEN 1 ELSE 0 END`,
	"a run that was charged something else than its hold says": `
		SELECT h.run_id FROM holds AS h JOIN ledger_transactions AS t ON t.run_id = h.run_id AND t.kind = 'charge'
			JOIN ledger_lines AS l ON l.transaction_id = t.id AND (l.account_id LIKE 'earnings:%' OR l.account_id = 'fees')
		GROUP BY h.run_id, h.charged_micros HAVING SUM(l.amount_micros) <> h.charged_micros`,
	"a run whose cost, or end, is not that of its hold": `
		SELECT r.id FROM runs AS r LEFT JOIN holds AS h ON h.run_id = r.id
		WHERE r.cost_micros <> COALESCE(h.charged_micros, 0)
			OR h.run_id IS NOT NULL AND (h.settled_at IS NULL) <> (r.status IN ('queued', 'starting', 'running', 'canceling'))`,
	"a run that charged for more than was held": `
		SELECT h.run_id FROM holds AS h JOIN run_charges AS c ON c.run_id = h.run_id
		GROUP BY h.run_id, h.amount_micros HAVING SUM(c.amount_micros) > h.amount_micros`,
	"something that was refunded more than it cost": `
		SELECT t.of_id FROM ledger_transactions AS t JOIN ledger_lines AS back ON back.transaction_id = t.id AND back.account_id LIKE 'wallet:%'
		WHERE t.kind = 'refund' GROUP BY t.of_id HAVING SUM(back.amount_micros) >
			(SELECT SUM(l.amount_micros) FROM ledger_lines AS l WHERE l.transaction_id = t.of_id AND (l.account_id LIKE 'earnings:%' OR l.account_id = 'fees'))`,
	"an order with two rights, or a right that is had once and is there twice": `
		SELECT org_id FROM entitlements WHERE source IN ('ownership', 'free', 'trial') GROUP BY org_id, agent_id, source HAVING COUNT(*) > 1
		UNION ALL SELECT order_id FROM entitlements WHERE order_id <> '' GROUP BY order_id HAVING COUNT(*) > 1`,
	"two orders of one kind for one agent that hold": `
		SELECT org_id FROM orders WHERE status = 'active' AND kind <> 'trial' GROUP BY org_id, agent_id, kind HAVING COUNT(*) > 1`,
	"an order that says something else than its right": `
		SELECT o.id FROM orders AS o JOIN entitlements AS e ON e.id = o.entitlement_id
		WHERE e.renews <> (o.kind = 'subscription' AND o.status = 'active') OR o.status = 'active' AND o.renews_at <> e.expires_at
			OR (o.status = 'refunded' OR o.status = 'ended' AND o.kind <> 'subscription')
				AND e.revoked_at IS NULL AND (e.expires_at IS NULL OR e.expires_at > o.canceled_at)`,
	"a payment that was confirmed and not credited once": `
		SELECT id FROM top_ups WHERE (status = 'confirmed') <> (confirmed_at IS NOT NULL)`,
	"a change of a transaction that nobody accounts for": `
		SELECT t.id FROM ledger_transactions AS t WHERE kind IN ('credit', 'payout', 'refund') AND NOT EXISTS
			(SELECT 1 FROM audit_entries AS a WHERE a.org_id = t.org_id AND a.subject = t.id)`,
}

// check looks at everything.
func (b *bazaar) check(t *testing.T) {
	t.Helper()
	for name, query := range invariants {
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
	s := marketplace.Settle(h, run, charges)
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
