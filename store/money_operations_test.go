package store_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"agentmarket/audit"
	"agentmarket/ids"
	"agentmarket/marketplace"
	"agentmarket/money"
	"agentmarket/product"
)

type operation struct {
	name string
	run  func(b *bazaar, t *testing.T, r *rand.Rand) error
}

// operations are what can happen; what is there more than once happens more often.
var operations = []operation{
	{"admit", (*bazaar).admit}, {"admit", (*bazaar).admit}, {"admit", (*bazaar).admit}, {"admit", (*bazaar).admit},
	{"charge", (*bazaar).charge}, {"charge", (*bazaar).charge},
	{"settle", (*bazaar).settle}, {"settle", (*bazaar).settle}, {"settle", (*bazaar).settle}, {"settle", (*bazaar).settle},
	{"order", (*bazaar).order}, {"order", (*bazaar).order}, {"order", (*bazaar).order}, {"cancel order", (*bazaar).cancelOrder},
	{"renew", (*bazaar).renew}, {"credit", (*bazaar).credit}, {"top up", (*bazaar).topUp}, {"confirm", (*bazaar).confirm},
	{"refund", (*bazaar).refund}, {"payout", (*bazaar).payout}, {"limit", (*bazaar).limit}, {"no limit", (*bazaar).noLimit},
	{"set credit", (*bazaar).setCredit}, {"reprice", (*bazaar).reprice}, {"statement", (*bazaar).statement},
}

var users = []ids.User{"", "usr_1", "usr_2"}

// admit starts a run: of a buyer, or of a publisher's own agent.
func (b *bazaar) admit(t *testing.T, r *rand.Rand) error {
	s, org := one(r, b.stalls), one(r, append(b.buyers[:3:3], b.publishers...))
	run := product.Run{
		ID: ids.New[ids.Run](ids.PrefixRun), OrgID: org.ID, KeyID: "key_1", UserID: one(r, users), AgentID: s.agent.ID, Agent: s.agent.FullName(),
		VersionID: s.version.ID, Version: s.version.Number, Image: s.version.Image, Status: product.StatusQueued,
		Request: product.Request{RunTimeout: time.Minute}, CreatedAt: b.now, QueueDeadline: b.now.Add(time.Hour),
	}
	if r.IntN(3) == 0 {
		run.Request.MaxCost = usd(r.Int64N(3_000))
	}
	planned := product.Plan{AgentID: s.agent.ID, ResolvedAt: b.now}
	if prices, err := b.market.Prices(t.Context(), s.agent.ID); err != nil {
		return err
	} else if r.IntN(2) == 0 {
		planned.PriceID = one(r, prices).ID // perhaps not the one in effect any more
	}
	run, _, err := b.db.Runs().CreateRun(t.Context(), run, nil, nil)
	if err != nil {
		return err
	}
	_, _, err = b.market.AdmitRun(t.Context(), run.ID, b.now, func(run *product.Run) ([]*product.Event, error) {
		plan := run.Planned(planned, b.now)
		begun, err := run.BeginAttempt(1, b.now)
		return []*product.Event{plan, begun}, err
	}, func(run product.Run, c marketplace.Claim, sp marketplace.Spending) (marketplace.Hold, error) {
		return c.Admit(run, marketplace.SubjectOf(s.version, run.Request, product.DefaultLimits(), marketplace.DefaultPolicy()), sp, marketplace.DefaultPolicy(), b.now)
	})
	b.mu.Lock()
	b.runs = append(b.runs, run.ID)
	b.mu.Unlock()
	return err
}

// someRun is a run that was tried to start; "" while there is none.
func (b *bazaar) someRun(r *rand.Rand) ids.Run {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.runs) == 0 {
		return ""
	}
	return one(r, b.runs)
}

func (b *bazaar) charge(t *testing.T, r *rand.Rand) error {
	id := b.someRun(r)
	if _, err := b.market.HoldOf(t.Context(), id); err != nil {
		return nil //nolint:nilerr // it was not admitted
	}
	key, event, count := fmt.Sprint("key-", r.IntN(4)), one(r, []string{"page", "mail"}), 1+r.Int64N(3)
	if r.IntN(3) > 0 {
		key = fmt.Sprint("key-", r.Int64())
	}
	_, err := b.market.ChargeEvent(t.Context(), id, 1, key, event, count, b.now)
	return err
}

// settle ends a run somehow, or says once more that one has ended, perhaps
// otherwise.
func (b *bazaar) settle(t *testing.T, r *rand.Rand) error {
	id := b.someRun(r)
	if id == "" {
		return nil
	}
	reason := one(r, []product.Reason{
		product.ReasonOK, product.ReasonOK, product.ReasonOK, product.ReasonDeadline, product.ReasonBudgetExhausted, product.ReasonCanceled,
		product.ReasonPlatformError, "agent_error", "agent_oom", "node_lost", "image_invalid", product.ReasonQueueTimeout,
	})
	ran := time.Duration(r.Int64N(int64(90 * time.Second)))
	end := product.End{Reason: reason, StartedAt: b.now.Add(-ran), FinishedAt: b.now}
	if r.IntN(8) == 0 {
		end.StartedAt = time.Time{}
	}
	_, _, err := b.market.SettleRun(t.Context(), id, b.now, func(run *product.Run) ([]*product.Event, error) {
		var canceled *product.Event
		if reason == product.ReasonCanceled && !run.Status.Terminal() {
			var err error
			if canceled, err = run.RequestCancel(product.Cancel{RequestedBy: "key_1"}, b.now.Add(-ran/2)); err != nil {
				return nil, err
			}
		}
		return []*product.Event{canceled, run.AttemptEnded(1, end, b.now), run.Settle(reason, "", b.now)}, nil
	}, func(run product.Run, h marketplace.Hold, used marketplace.Used) marketplace.Settlement {
		return marketplace.Settle(h, run, used)
	})
	return err
}

func (b *bazaar) order(t *testing.T, r *rand.Rand) error {
	s, org, user := one(r, b.stalls), one(r, b.buyers), one(r, users)
	kind := one(r, s.kinds)
	if r.IntN(8) == 0 {
		kind = one(r, []marketplace.OrderKind{marketplace.OrderUsage, marketplace.OrderSubscription, marketplace.OrderTrial})
	}
	var key *marketplace.RequestKey
	if r.IntN(2) == 0 {
		key = &marketplace.RequestKey{Key: fmt.Sprint(s.agent.ID, kind, r.IntN(3)), Fingerprint: "f"}
	}
	q := marketplace.ClaimQuery{OrgID: org.ID, UserID: user, AgentID: s.agent.ID, At: b.now}
	o, first, err := b.market.PlaceOrder(t.Context(), audit.Actor{Kind: audit.KindKey, ID: "key_1", Org: org.ID}, q, key, &s.version,
		func(c marketplace.Claim) (marketplace.Purchase, error) {
			return c.Buy(s.agent.FullName(), kind, "key_1", b.now)
		},
		func(p marketplace.Purchase) (*marketplace.Transaction, error) {
			if p.Order.Amount.IsZero() {
				return nil, nil
			}
			paid, err := marketplace.SubscriptionMoney(p.Order, s.agent.OrgID, p.Order.Amount, 2000, b.now)
			return &paid, err
		})
	if err == nil && first {
		b.mu.Lock()
		b.orders = append(b.orders, o)
		b.mu.Unlock()
	}
	return err
}

func (b *bazaar) cancelOrder(t *testing.T, r *rand.Rand) error {
	b.mu.Lock()
	var o marketplace.Order
	if len(b.orders) > 0 && r.IntN(4) == 0 {
		o = one(r, b.orders)
	}
	b.mu.Unlock()
	if o.ID == "" {
		return nil
	}
	_, err := b.market.CancelOrder(t.Context(), someone, o.OrgID, o.ID, b.now)
	return err
}

func (b *bazaar) renew(t *testing.T, r *rand.Rand) error {
	_, err := b.market.RenewDue(t.Context(), b.now, 1+r.IntN(5), 2000)
	return err
}

func (b *bazaar) credit(t *testing.T, r *rand.Rand) error {
	paid, err := marketplace.CreditMoney(one(r, b.buyers).ID, usd(1+r.Int64N(1_000)), "paid", b.now)
	if err != nil {
		return err
	}
	var key *marketplace.RequestKey
	if r.IntN(3) == 0 {
		key = &marketplace.RequestKey{Key: fmt.Sprint("credit-", r.IntN(20)), Fingerprint: "f"}
	}
	_, first, err := b.market.Post(t.Context(), audit.Actor{Kind: audit.KindOperator, ID: "op", Org: b.publishers[0].ID}, paid, key)
	b.credited(err == nil && first)
	return err
}

func (b *bazaar) credited(yes bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if yes {
		b.credits++
	}
}

func (b *bazaar) topUp(t *testing.T, r *rand.Rand) error {
	p, err := marketplace.NewTopUp(one(r, b.buyers).ID, usd(1+r.Int64N(1_000)), "usr_1", b.now)
	if err != nil {
		return err
	}
	p, _, err = b.market.CreateTopUp(t.Context(), someone, p, nil)
	b.mu.Lock()
	b.topUps = append(b.topUps, p.ID)
	b.mu.Unlock()
	return err
}

func (b *bazaar) confirm(t *testing.T, r *rand.Rand) error {
	b.mu.Lock()
	var id ids.TopUp
	if len(b.topUps) > 0 {
		id = one(r, b.topUps)
	}
	b.mu.Unlock()
	if id == "" {
		return nil
	}
	_, err := b.market.ConfirmTopUp(t.Context(), someone, id, b.now)
	return err
}

// refund gives back a part, the whole or too much of something that was paid.
func (b *bazaar) refund(t *testing.T, r *rand.Rand) error {
	earned := marketplace.AccountOf(marketplace.AccountEarnings, one(r, b.publishers).ID)
	list, err := b.market.Transactions(t.Context(), earned, "", 20)
	if err != nil || len(list) == 0 {
		return err
	}
	part := r.Int64N(4)
	_, _, err = b.market.Refund(t.Context(), someone, one(r, list).ID, nil,
		func(of marketplace.Transaction, refunded money.Amount) (marketplace.Transaction, error) {
			var paid int64
			for _, l := range of.Lines {
				if l.Account == earned || l.Account == marketplace.AccountOf(marketplace.AccountFees, "") {
					paid += l.Amount.Micros
				}
			}
			return marketplace.RefundMoney(of, refunded, usd(1+paid*part/2), "sorry", b.now)
		})
	return err
}

func (b *bazaar) payout(t *testing.T, r *rand.Rand) error {
	out, err := marketplace.PayoutMoney(one(r, b.publishers).ID, usd(1+r.Int64N(1_500)), "", b.now)
	if err != nil {
		return err
	}
	_, _, err = b.market.Post(t.Context(), someone, out, nil)
	return err
}

func someLimit(r *rand.Rand, org ids.Org) marketplace.SpendLimit {
	l := marketplace.SpendLimit{OrgID: org, Scope: one(r, []marketplace.SpendScope{
		marketplace.SpendPerRun, marketplace.SpendPerUser, marketplace.SpendMonthly,
	})}
	if l.Scope == marketplace.SpendPerUser {
		l.UserID = one(r, users)
	}
	return l
}

func (b *bazaar) limit(t *testing.T, r *rand.Rand) error {
	l := someLimit(r, one(r, b.buyers).ID)
	l.Amount, l.AlertAt, l.UpdatedAt = usd(r.Int64N(8_000)), []int{1, 50, 100}, b.now
	return b.market.SetSpendLimit(t.Context(), someone, l)
}

func (b *bazaar) noLimit(t *testing.T, r *rand.Rand) error {
	// Of all of them some: else there would soon be one of each.
	for _, org := range b.buyers {
		spending, err := b.market.Spending(t.Context(), org.ID, "", marketplace.MonthOf(b.now))
		if err != nil {
			return err
		}
		for _, l := range spending.Limits {
			if r.IntN(4) > 0 {
				continue
			}
			err := b.market.DeleteSpendLimit(t.Context(), someone, org.ID, l.Scope, l.UserID, b.now)
			if err != nil && !isNotFound(err) { // another worker was faster
				return err
			}
		}
	}
	return nil
}

func (b *bazaar) setCredit(t *testing.T, r *rand.Rand) error {
	_, err := b.market.SetCredit(t.Context(), someone, one(r, b.buyers).ID, usd(r.Int64N(2_000)), b.now)
	return err
}

func (b *bazaar) reprice(t *testing.T, r *rand.Rand) error {
	return b.market.SetPrice(t.Context(), someone, b.price(r, one(r, b.stalls)), func([]marketplace.Price) error { return nil })
}

func (b *bazaar) statement(t *testing.T, r *rand.Rand) error {
	st, err := b.market.Statement(t.Context(), one(r, append(b.buyers[:3:3], b.publishers...)).ID, marketplace.MonthOf(b.now), "USD")
	if err != nil {
		return err
	}
	return addsUp(st)
}
