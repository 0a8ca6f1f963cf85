package marketplace_test

import (
	"flag"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/marketplace"
	"agentmarket/money"
	"agentmarket/product"
)

var historySeed = flag.Uint64("history.seed", 20260301, "seed of the random histories of the rules")

// happenings are what a history is made of, each so many times as likely as one
// of weight one. The errors are what a caller is told.
var happenings = []struct {
	name   string
	weight int
	do     func(m *market, t *testing.T) error
}{
	{"credit", 3, (*market).credit}, {"order", 4, (*market).order}, {"admit", 9, (*market).admit}, {"charge", 4, (*market).charge},
	{"settle", 8, (*market).settle}, {"refund", 3, (*market).refund}, {"renew", 2, (*market).renew}, {"payout", 1, (*market).payout},
	{"limit", 1, (*market).limit}, {"no limits", 1, (*market).noLimits}, {"offer", 1, (*market).offer}, {"wait", 3, (*market).wait},
}

// errIdle is of what finds nothing to do.
var errIdle = fault.New(fault.Conflict, "idle", "there is nothing to do")

// TestEveryHistoryAddsUp: whatever happens, in whatever order, the rules neither
// make money nor lose any, and nobody pays what he need not. Package store has
// the same on real databases; these histories are many more, and of rules alone.
func TestEveryHistoryAddsUp(t *testing.T) {
	t.Logf("seed %d (-history.seed)", *historySeed)
	outcomes := map[string]int{}
	var likely []int
	for i, h := range happenings {
		likely = append(likely, slices.Repeat([]int{i}, h.weight)...)
	}
	for history := range 3000 {
		m := newMarket(history)
		for n := range 45 {
			h := happenings[pick(m.r, likely)]
			if n < 6 {
				h = happenings[n%2] // there must be some money and some orders
			}
			m.doing = h.name
			outcome, err := h.name, h.do(m, t)
			if err != nil {
				outcome += " " + fault.From(err).Code
				require.NotEqual(t, fault.Internal, fault.KindOf(err), "%s: %v", m, err)
			}
			outcomes[outcome]++
			m.check(t)
		}
		m.checkStatements(t)
		for _, tx := range m.posted {
			outcomes["posted "+string(tx.Kind)]++
		}
	}
	for _, outcome := range slices.Sorted(maps.Keys(outcomes)) {
		t.Logf("%6d %s", outcomes[outcome], outcome)
	}
	for _, h := range happenings {
		require.NotZero(t, outcomes[h.name], "%s never worked", h.name)
	}
	for _, denial := range []string{
		"admit insufficient_funds", "admit payment_required", "admit spend_limit_reached", "admit trial_exhausted", "admit budget_too_low",
		"admit included_runs_exhausted", "charge budget_exhausted", "order order_exists", "refund refund_amount", "settle run_ended",
	} {
		require.NotZero(t, outcomes[denial], "%s never happened", denial)
	}
}

// check looks at everything that must hold at any time.
func (m *market) check(t *testing.T) {
	t.Helper()
	sum, held, counted := int64(0), map[ids.Org]int64{}, map[ids.Entitlement]marketplace.Usage{}
	for _, balance := range m.balances {
		sum += balance
	}
	require.Zero(t, sum, m)
	for _, run := range m.runs {
		u := counted[run.hold.EntitlementID]
		switch {
		case run.hold.SettledAt.IsZero():
			held[run.hold.OrgID] += run.hold.Amount.Micros
			u.Active++
			u.Total++
		case run.bill.Counted:
			u.Total++
		}
		counted[run.hold.EntitlementID] = u
	}
	for _, org := range everyOrg {
		require.GreaterOrEqual(t, m.balances[marketplace.AccountOf(marketplace.AccountWallet, org)], int64(0), m)
		require.Equal(t, held[org], m.balances[marketplace.AccountOf(marketplace.AccountHeld, org)], m)
	}
	for _, e := range m.rights {
		u := counted[e.ID]
		require.True(t, u.Total == e.Usage.Total && u.Active == e.Usage.Active && e.Usage.Runs >= 0 && e.Usage.Runs <= u.Total, m)
		if e.Source == marketplace.SourceTrial && e.Limits.Runs > 0 {
			require.LessOrEqual(t, u.Total, e.Limits.Runs, m)
		}
	}
}

// checkStatements follows the months of everybody, from the first to the last.
func (m *market) checkStatements(t *testing.T) {
	t.Helper()
	first, _, _ := marketplace.MonthOf(now).Bounds()
	for _, org := range everyOrg {
		var before marketplace.Statement
		for from := first; !from.After(m.now); from = from.AddDate(0, 1, 0) {
			st := m.statement(org, marketplace.MonthOf(from))
			require.True(t, st.Opening.Micros == before.Closing.Micros && st.EarningsOpening.Micros == before.EarningsClosing.Micros, m)
			sum, earned := st.Opening.Micros, st.EarningsOpening.Micros
			for _, l := range st.Lines {
				sum += l.Amount.Micros
				gain := l.Kind == marketplace.TxCredit || l.Kind == marketplace.TxRefund
				require.Equal(t, gain, l.Amount.Micros > 0, "%s: %+v", m, l)
			}
			for _, l := range st.Earnings {
				earned += l.Amount.Micros
			}
			require.Equal(t, st.Closing.Micros, sum, m)
			require.Equal(t, st.EarningsClosing.Micros, earned, m)
			before = st
		}
		require.Equal(t, m.balances[marketplace.AccountOf(marketplace.AccountHeld, org)], before.Held.Micros, m)
		require.Equal(t, m.balances[marketplace.AccountOf(marketplace.AccountWallet, org)]+before.Held.Micros, before.Closing.Micros, m)
		require.Equal(t, m.balances[marketplace.AccountOf(marketplace.AccountEarnings, org)], before.EarningsClosing.Micros, m)
	}
}

// pay pays a month of a subscription, within the limits.
func (m *market) pay(t *testing.T, o marketplace.Order, s *stall, amount money.Amount, user ids.User) error {
	t.Helper()
	if err := m.spending(o.OrgID, user).Allow(amount, user); err != nil {
		return err
	}
	tx, err := marketplace.SubscriptionMoney(o, s.publisher, amount, m.policy.FeeBasisPoints, m.now)
	require.NoError(t, err, m)
	if err := m.post(t, tx); err != nil {
		return err
	}
	for _, p := range m.months {
		require.False(t, p.right == o.EntitlementID && m.now.Sub(p.paid.CreatedAt) < 26*24*time.Hour, "%s: a month is paid twice", m)
	}
	m.months = append(m.months, month{right: o.EntitlementID, user: user, paid: tx})
	m.checkLimits(t, o.OrgID, user)
	return nil
}

func (m *market) order(t *testing.T) error {
	user := pick(m.r, anybody)
	s, org := m.visit(false)
	kinds := []marketplace.OrderKind{marketplace.OrderTrial, marketplace.OrderUsage, marketplace.OrderUsage, marketplace.OrderUsage}
	if s.price().Model == marketplace.ModelSubscription {
		kinds[1], kinds[2] = marketplace.OrderSubscription, marketplace.OrderSubscription
	}
	p, err := m.claim(s, org).Buy("acme/a", pick(m.r, kinds), "key_1", m.now)
	if err != nil {
		return err
	}
	if !p.Order.Amount.IsZero() {
		if err := m.pay(t, p.Order, s, p.Order.Amount, user); err != nil {
			return err
		}
		m.orders[p.Entitlement.ID] = p.Order
	}
	m.rights = append(m.rights, &p.Entitlement)
	return nil
}

// renew renews what is due, as late as it is.
func (m *market) renew(t *testing.T) error {
	denial := error(errIdle)
	for _, e := range m.rights {
		if !e.Renews || e.ExpiresAt.After(m.now) {
			continue
		}
		s := m.stallOf(e.AgentID)
		next, amount, ok := e.Renewed(s.price(), s.status, m.now)
		denial = nil
		if ok {
			require.True(t, next.ExpiresAt.After(m.now) && !next.ExpiresAt.After(m.now.AddDate(0, 0, 31)), m)
			denial = m.pay(t, m.orders[e.ID], s, amount, "")
		}
		if ok && denial == nil {
			*e = next
		} else {
			e.Renews = false
		}
	}
	return denial
}

// admit starts a run, perhaps under a price that was planned before another took
// effect, or with what was in the wallet before another run was faster.
func (m *market) admit(t *testing.T) error {
	s, org := m.visit(m.r.IntN(5) > 0)
	c, timeout := m.claim(s, org), time.Duration(1+m.r.Int64N(60_000))*time.Millisecond
	run := product.Run{
		ID: ids.Run(fmt.Sprint("run_", len(m.runs))), OrgID: org, UserID: pick(m.r, anybody), AgentID: s.agent,
		Status: product.StatusRunning, Plan: &product.Plan{Deadlines: product.Deadlines{Run: timeout}},
	}
	if run.Request.RunTimeout = timeout * time.Duration(m.r.IntN(3)); m.r.IntN(3) == 0 {
		run.Request.MaxCost = usd(m.r.Int64N(2000))
	}
	if m.r.IntN(4) == 0 {
		c.Price = pick(m.r, s.prices)
	}
	if m.r.IntN(8) == 0 {
		c.Wallet = usd(money.MaxMicros)
	}
	h, err := c.Admit(run, marketplace.Subject{Version: "1.0.0", Timeout: timeout}, m.spending(org, run.UserID), m.policy, m.now)
	if err != nil {
		return err
	}
	most := run.Request.MaxCost
	for _, l := range m.limits[org] {
		require.True(t, l.Scope != marketplace.SpendPerRun || h.Amount.Micros <= l.Amount.Micros, m)
	}
	require.True(t, most.Currency == "" || h.Amount.Micros <= most.Micros, m)
	require.False(t, h.Amount.Micros < 0 || h.Included && h.Amount.Micros > 0, m)
	if !h.Amount.IsZero() {
		tx, err := h.HoldMoney(m.now)
		require.NoError(t, err, m)
		if err := m.post(t, tx); err != nil {
			return err
		}
	}
	m.begin(&h)
	m.runs = append(m.runs, &started{hold: h, run: run})
	if !h.Amount.IsZero() {
		m.checkLimits(t, org, run.UserID)
	}
	return nil
}

// open are the runs that go on.
func (m *market) open() []*started {
	return slices.DeleteFunc(slices.Clone(m.runs), func(s *started) bool { return !s.hold.SettledAt.IsZero() })
}

func (m *market) charge(t *testing.T) error {
	open := m.open()
	if len(open) == 0 {
		return errIdle
	}
	s, name, count, spent := pick(m.r, open), pick(m.r, []string{"page", "image"}), 1+m.r.Int64N(3), usd(0)
	for _, e := range s.events {
		spent.Micros += e.Amount.Micros
	}
	amount, err := s.hold.Charge(name, count, spent)
	if err != nil {
		return err
	}
	require.True(t, amount.Micros >= 0 && spent.Micros+amount.Micros <= s.hold.Amount.Micros, m)
	s.events = append(s.events, marketplace.EventCharge{Event: name, Count: count, Amount: amount, At: m.now})
	return nil
}

// finish makes some end of a run: for every reason, after no, one or more
// attempts, canceled before or while it ran, or not at all.
func (m *market) finish(run *product.Run) {
	reasons := []product.Reason{
		product.ReasonOK, product.ReasonOK, product.ReasonOK, product.ReasonOK, product.ReasonDeadline, product.ReasonCanceled, product.ReasonBudgetExhausted, agentError,
		evicted, imageInvalid, product.ReasonPlatformError, product.ReasonQueueTimeout, product.ReasonPlanInvalid, "meteor",
	}
	reason, attempts := pick(m.r, reasons), 1
	if m.r.IntN(2) == 0 {
		attempts = m.r.IntN(4)
	}
	for n := range attempts {
		a := product.Attempt{Number: n + 1, Reason: pick(m.r, []product.Reason{reason, reason, reason, pick(m.r, reasons)}), CreatedAt: m.now, FinishedAt: m.now}
		if m.r.IntN(8) > 0 {
			a.StartedAt = m.now.Add(-time.Duration(m.r.Int64N(int64(90 * time.Second))))
		}
		run.Attempts = append(run.Attempts, a)
	}
	if reason == product.ReasonCanceled || m.r.IntN(6) == 0 {
		run.Cancel = &product.Cancel{RequestedBy: "key_1", SignaledAt: m.now.Add(-time.Duration(m.r.Int64N(int64(100 * time.Second))))}
	}
	run.Settle(reason, "", m.now)
}

// settle ends a run, or says of one that has ended once more, and otherwise, that
// it did.
func (m *market) settle(t *testing.T) error {
	if len(m.runs) == 0 {
		return errIdle
	}
	s := pick(m.r, m.runs)
	if open := m.open(); len(open) > 0 && m.r.IntN(4) > 0 {
		s = pick(m.r, open)
	}
	if !s.hold.SettledAt.IsZero() {
		require.Nil(t, s.run.Settle(product.ReasonOK, "", m.now), m)
		require.Equal(t, s.bill, marketplace.Settle(s.hold, s.run, marketplace.Used{Events: s.events}), m)
		return fault.New(fault.Conflict, "run_ended", "it is settled")
	}
	m.finish(&s.run)
	s.bill = marketplace.Settle(s.hold, s.run, marketplace.Used{Events: s.events})
	total, fee, rule := s.bill.Total.Micros, s.bill.Fee.Micros, product.RuleOf(s.run.Reason)
	require.True(t, 0 <= total && total <= s.hold.Amount.Micros, "%s: %+v", m, s)
	require.True(t, 0 <= fee && fee <= total, "%s: %+v", m, s)
	start := slices.IndexFunc(s.run.Attempts, func(a product.Attempt) bool { return !a.StartedAt.IsZero() })
	if start < 0 || rule.Cause == product.CausePlatform || rule.Cause == product.CausePublisher {
		require.True(t, total == 0 && !s.bill.Counted, "%s: %+v", m, s)
	}
	s.hold.SettledAt, s.hold.Charged = m.now, s.bill.Total
	m.end(s.hold, s.bill)
	if s.hold.Amount.IsZero() {
		return nil
	}
	tx, err := s.hold.SettleMoney(s.bill, m.now)
	require.NoError(t, err, m)
	return m.post(t, tx)
}

func unpaid(tx marketplace.Transaction) bool {
	return tx.Kind != marketplace.TxCharge && tx.Kind != marketplace.TxSubscription
}

// refund gives back a part, the whole or too much of something. Nobody but an
// operator takes earnings below zero.
func (m *market) refund(t *testing.T) error {
	if len(m.posted) == 0 {
		return errIdle
	}
	of := pick(m.r, m.posted)
	if paid := slices.DeleteFunc(slices.Clone(m.posted), unpaid); len(paid) > 0 && m.r.IntN(4) > 0 {
		of = pick(m.r, paid)
	}
	earnings := marketplace.AccountOf(marketplace.AccountEarnings, of.Publisher)
	earned, charged := of.To(earnings).Micros, of.To(earnings).Micros+of.To(fees).Micros
	amount := []int64{1, (charged + 1) / 2, charged - m.refunded[of.ID], charged + 1}[m.r.IntN(4)]
	tx, err := marketplace.RefundMoney(of, usd(m.refunded[of.ID]), usd(amount), "sorry", m.now)
	if err != nil {
		return err
	}
	tx.Overdraw = m.r.IntN(2) == 0
	if err := m.post(t, tx); err != nil {
		return err
	}
	m.refunded[of.ID] += tx.To(marketplace.AccountOf(marketplace.AccountWallet, of.OrgID)).Micros
	for _, back := range m.posted {
		if back.Of == of.ID {
			earned += back.To(earnings).Micros
		}
	}
	left := charged - m.refunded[of.ID]
	require.True(t, left >= 0 && 0 <= earned && earned <= left, "%s: of %d there are %d left, %d of them earned", m, charged, left, earned)
	if left == 0 && of.Kind == marketplace.TxSubscription { // the store ends what was given back whole
		e := m.right(m.months[slices.IndexFunc(m.months, func(p month) bool { return p.paid.ID == of.ID })].right)
		e.Renews, e.RevokedAt = false, m.now
	}
	return nil
}
