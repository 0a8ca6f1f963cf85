package storetest

// MoneyInvariants are questions that no database of the platform has an answer to:
// each finds what must not be. They read the tables as they are, past the code
// that is tested.
var MoneyInvariants = map[string]string{
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
