package storetest

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/marketplace"
)

var orderTests = []testCase{
	{"an order by use is a right, and a consent", func(t *testing.T, s Stores) {
		m := newMarket(t, s)
		price := m.price(t, perRun(1_000))
		o := m.order(t, marketplace.OrderUsage, after(time.Hour))
		requireSame(t, marketplace.Order{
			ID: o.ID, OrgID: m.buyer.ID, AgentID: m.agent.ID, Agent: m.agent.FullName(), Kind: marketplace.OrderUsage,
			Status: marketplace.OrderActive, PriceID: price.ID, EntitlementID: o.EntitlementID, Amount: usd(0),
			CreatedBy: "key_1", CreatedAt: stored(after(time.Hour)),
		}, o)
		loaded, err := s.Marketplace.Order(t.Context(), m.buyer.ID, o.ID)
		require.NoError(t, err)
		requireSame(t, o, loaded)
		c := m.claim(t, "", after(time.Hour))
		require.Len(t, c.Entitlements, 1)
		require.Equal(t, o.EntitlementID, c.Entitlements[0].ID)
		require.Equal(t, o.ID, c.Entitlements[0].OrderID)
		require.Equal(t, m.version.ID, c.Installation.VersionID)
		require.Equal(t, the(m.buyer).ID, c.Installation.ConsentedBy)
		require.Equal(t, stored(after(time.Hour)), c.Installation.ConsentedAt)
		entries := m.audit(t, m.buyer, string(o.ID))
		require.Len(t, entries, 1)
		require.Equal(t, "order.place", entries[0].Action)
		require.Len(t, m.audit(t, m.buyer, string(m.agent.ID)), 1, "the consent")
		_, err = s.Marketplace.Order(t.Context(), m.publisher.ID, o.ID)
		requireFault(t, err, fault.NotFound, "order_not_found")
	}},
	{"a subscription pays its first month", func(t *testing.T, s Stores) {
		m := newMarket(t, s)
		m.price(t, monthly(1_000, 10, 0))
		fund(t, s, m.buyer, 1_500)
		user := m.member(t, m.buyer, "ada")
		o, first, err := m.tryOrder(t, user, marketplace.OrderSubscription, nil, start)
		require.NoError(t, err)
		require.True(t, first)
		require.Equal(t, usd(1_000), o.Amount)
		require.Equal(t, stored(start).AddDate(0, 1, 0), o.RenewsAt)
		requireMoney(t, s, m.buyer, 500, 0, 0)
		requireMoney(t, s, m.publisher, 0, 0, 800)
		spend := marketplace.Spend{Month: "2026-03", Spent: usd(1_000), Held: usd(0)}
		requireSame(t, marketplace.Spending{Org: spend, User: spend}, m.spending(t, user, "2026-03"))
		list, err := s.Marketplace.Transactions(t.Context(), marketplace.AccountOf(marketplace.AccountWallet, m.buyer.ID), "", 1)
		require.NoError(t, err)
		require.Equal(t, marketplace.TxSubscription, list[0].Kind)
		require.Equal(t, o.ID, list[0].OrderID)
		require.Equal(t, the(m.buyer).ID, list[0].CreatedBy)
	}},
	{"what cannot be paid is not stored", ordersRefused},
	{"the same request orders once", func(t *testing.T, s Stores) {
		m := newMarket(t, s)
		m.price(t, monthly(1_000, 10, 0))
		fund(t, s, m.buyer, 5_000)
		orders, errs, firsts := make([]marketplace.Order, 10), make([]error, 10), 0
		first := make([]bool, 10)
		together(10, func(i int) {
			orders[i], first[i], errs[i] = m.tryOrder(t, "", marketplace.OrderSubscription, requestKey("k"), start)
		})
		require.Equal(t, tally{passed: 10}, count("", errs))
		for i := range orders {
			requireSame(t, orders[0], orders[i])
			if first[i] {
				firsts++
			}
		}
		require.Equal(t, 1, firsts)
		requireMoney(t, s, m.buyer, 4_000, 0, 0)
		_, _, err := m.tryOrder(t, "", marketplace.OrderTrial, &marketplace.RequestKey{Key: "k", Fingerprint: "other"}, start)
		requireFault(t, err, fault.Invalid, "idempotency_key_reused")
	}},
	{"of many orders at once one is placed", func(t *testing.T, s Stores) {
		for _, kind := range []marketplace.OrderKind{marketplace.OrderSubscription, marketplace.OrderTrial} {
			m := market{Stores: s, publisher: anOrganization(t, s, "acme-"+string(kind)), buyer: anOrganization(t, s, "globex-"+string(kind))}
			m.agent, m.version = publish(t, s, m.publisher, "reviewer", "1.0.0", start)
			m.list(t, marketplace.VisibilityPublic)
			m.price(t, func(p *marketplace.Price) {
				monthly(1_000, 10, 0)(p)
				p.Trial.Days = 3
			})
			fund(t, s, m.buyer, 50_000)
			errs := make([]error, 20)
			together(len(errs), func(i int) { _, _, errs[i] = m.tryOrder(t, "", kind, nil, start) })
			code := map[marketplace.OrderKind]string{
				marketplace.OrderSubscription: "order_exists", marketplace.OrderTrial: "order_trial_used",
			}[kind]
			require.Equal(t, tally{passed: 1, denied: 19}, count(code, errs))
			list, err := s.Marketplace.Orders(t.Context(), m.buyer.ID, "", 0)
			require.NoError(t, err)
			require.Len(t, list, 1)
			requireMoney(t, s, m.buyer, 50_000-list[0].Amount.Micros, 0, 0)
		}
	}},
	{"orders are listed newest first, by pages", func(t *testing.T, s Stores) {
		m := newMarket(t, s)
		var want []ids.Order
		for _, name := range []string{"a", "b", "c"} {
			a := m.another(t, name)
			a.list(t, marketplace.VisibilityPublic)
			a.price(t, perRun(1))
			want = append([]ids.Order{a.order(t, marketplace.OrderUsage, start).ID}, want...)
		}
		page, err := s.Marketplace.Orders(t.Context(), m.buyer.ID, "", 2)
		require.NoError(t, err)
		require.Equal(t, want[:2], orderIDs(page))
		page, err = s.Marketplace.Orders(t.Context(), m.buyer.ID, page[1].ID, 2)
		require.NoError(t, err)
		require.Equal(t, want[2:], orderIDs(page))
		page, err = s.Marketplace.Orders(t.Context(), m.publisher.ID, "", 2)
		require.NoError(t, err)
		require.Empty(t, page)
	}},
	{"a canceled subscription holds until the end of its month", func(t *testing.T, s Stores) {
		m := newMarket(t, s)
		m.price(t, monthly(1_000, 10, 0))
		fund(t, s, m.buyer, 5_000)
		o := m.order(t, marketplace.OrderSubscription, start)
		end := o.RenewsAt
		for range 2 { // the second changes nothing
			got, err := s.Marketplace.CancelOrder(t.Context(), the(m.buyer), m.buyer.ID, o.ID, after(time.Hour))
			require.NoError(t, err)
			o.Status, o.RenewsAt, o.CanceledAt = marketplace.OrderCanceled, time.Time{}, stored(after(time.Hour))
			requireSame(t, o, got)
		}
		require.Len(t, m.audit(t, m.buyer, string(o.ID)), 2)
		_, err := m.claim(t, "", end.Add(-time.Hour)).Decide(marketplace.Subject{}, end.Add(-time.Hour))
		require.NoError(t, err)
		n, err := s.Marketplace.RenewDue(t.Context(), end.Add(time.Hour), 10, 0)
		require.NoError(t, err)
		require.Zero(t, n)
		_, err = m.claim(t, "", end).Decide(marketplace.Subject{}, end)
		requireFault(t, err, fault.PaymentRequired, marketplace.CodeSubscriptionEnded)
	}},
	{"a canceled order by use ends at once, and can be ordered again", func(t *testing.T, s Stores) {
		m := bought(t, s, 1_000, perRun(100))
		list, err := s.Marketplace.Orders(t.Context(), m.buyer.ID, "", 0)
		require.NoError(t, err)
		_, err = s.Marketplace.CancelOrder(t.Context(), the(m.publisher), m.publisher.ID, list[0].ID, start)
		requireFault(t, err, fault.NotFound, "order_not_found")
		o, err := s.Marketplace.CancelOrder(t.Context(), the(m.buyer), m.buyer.ID, list[0].ID, start)
		require.NoError(t, err)
		require.Equal(t, marketplace.OrderEnded, o.Status)
		_, err = m.admit(t, m.run(t, nil).ID, start)
		requireFault(t, err, fault.PaymentRequired, marketplace.CodePaymentRequired)
		m.order(t, marketplace.OrderUsage, after(time.Minute))
		_, err = m.admit(t, m.run(t, nil).ID, after(time.Minute))
		require.NoError(t, err)
	}},
}

func orderIDs(orders []marketplace.Order) []ids.Order {
	list := []ids.Order{}
	for _, o := range orders {
		list = append(list, o.ID)
	}
	return list
}

func ordersRefused(t *testing.T, s Stores) {
	m := newMarket(t, s)
	m.price(t, monthly(1_000, 10, 0))
	fund(t, s, m.buyer, 999)
	key := requestKey("k")
	_, _, err := m.tryOrder(t, "", marketplace.OrderSubscription, key, start)
	requireFault(t, err, fault.PaymentRequired, marketplace.CodeInsufficientFunds)
	fund(t, s, m.buyer, 1_000)
	m.limit(t, marketplace.SpendMonthly, "", 500)
	_, _, err = m.tryOrder(t, "", marketplace.OrderSubscription, key, start)
	requireFault(t, err, fault.PaymentRequired, marketplace.CodeSpendLimitReached)
	refusal := errors.New("no")
	q := marketplace.ClaimQuery{OrgID: m.buyer.ID, AgentID: m.agent.ID, At: start}
	_, _, err = s.Marketplace.PlaceOrder(t.Context(), the(m.buyer), q, key, nil,
		func(marketplace.Claim) (marketplace.Purchase, error) { return marketplace.Purchase{}, refusal }, m.pay(start))
	require.Equal(t, refusal, err)
	q.AgentID = "agt_none"
	_, _, err = s.Marketplace.PlaceOrder(t.Context(), the(m.buyer), q, key, nil,
		func(marketplace.Claim) (marketplace.Purchase, error) { panic("asked") }, m.pay(start))
	requireFault(t, err, fault.NotFound, "agent_not_found")

	c := m.claim(t, "", start)
	require.Empty(t, c.Entitlements)
	require.Nil(t, c.Installation)
	require.Zero(t, m.spending(t, "", "2026-03").Org.Spent.Micros)
	requireMoney(t, s, m.buyer, 1_999, 0, 0)
	requireMoney(t, s, m.publisher, 0, 0, 0)

	require.NoError(t, s.Marketplace.DeleteSpendLimit(t.Context(), the(m.buyer), m.buyer.ID, marketplace.SpendMonthly, "", start))
	_, first, err := m.tryOrder(t, "", marketplace.OrderSubscription, key, start)
	require.NoError(t, err)
	require.True(t, first, "a request that was refused can be repeated")
}
