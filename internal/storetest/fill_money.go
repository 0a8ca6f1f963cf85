package storetest

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/marketplace"
	"agentmarket/product"
)

// fillMoney uses every method of orders, ledger, settlements, top-ups and spend
// limits, with a buyer of an agent of the organization.
func fillMoney(t *testing.T, s Stores, n int, org marketplace.Organization) {
	t.Helper()
	m := market{Stores: s, publisher: org, buyer: anOrganization(t, s, "buyer-"+org.Name)}
	user := m.member(t, m.buyer, "buyer-"+org.Name)
	fillTopUps(t, m)
	other := anOrganization(t, s, "other-"+org.Name)
	for range 40 { // a ledger in which one organization is a part
		fund(t, s, other, 1)
	}
	m.limit(t, marketplace.SpendMonthly, "", 1_000_000, 1, 50)
	m.limit(t, marketplace.SpendPerUser, user, 1_000_000, 1)
	m.limit(t, marketplace.SpendPerRun, "", 5)
	require.NoError(t, s.Marketplace.DeleteSpendLimit(t.Context(), the(m.buyer), m.buyer.ID, marketplace.SpendPerRun, "", start))

	m = m.another(t, "paid")
	m.list(t, marketplace.VisibilityPublic)
	m.price(t, perEvent(100, 10, 1_000))
	order := m.order(t, marketplace.OrderUsage, start)
	for range n {
		fillRunOf(t, m, user)
	}
	m.another(t, "own").fillFree(t)
	fillLedger(t, m)
	fillOrders(t, m.another(t, "monthly"), user)

	ctx := t.Context()
	for _, before := range []ids.Order{"", order.ID} {
		_, err := s.Marketplace.Orders(ctx, m.buyer.ID, before, 10)
		require.NoError(t, err)
	}
	_, err := s.Marketplace.Order(ctx, m.buyer.ID, order.ID)
	require.NoError(t, err)
	_, err = s.Marketplace.CancelOrder(ctx, actor, m.buyer.ID, order.ID, start)
	require.NoError(t, err)
	m.spending(t, "", "2026-03")
	m.spending(t, user, "2026-03")
	for _, before := range []ids.Alert{"", "alr_z"} {
		_, err = s.Marketplace.Alerts(ctx, m.buyer.ID, before, 10)
		require.NoError(t, err)
	}
}

func fillTopUps(t *testing.T, m market) {
	t.Helper()
	ctx := t.Context()
	p, _ := m.topUp(t, 100_000, requestKey("top-up"))
	m.topUp(t, 100_000, requestKey("top-up"))
	_, err := m.Marketplace.TopUp(ctx, p.ID)
	require.NoError(t, err)
	for _, org := range []ids.Org{"", m.buyer.ID} {
		for _, before := range []ids.TopUp{"", p.ID} {
			_, err = m.Marketplace.TopUps(ctx, org, before, 10)
			require.NoError(t, err)
		}
	}
	for range 2 {
		_, err = m.Marketplace.ConfirmTopUp(ctx, actor, p.ID, start)
		require.NoError(t, err)
	}
}

func fillRunOf(t *testing.T, m market, user ids.User) {
	t.Helper()
	ctx := t.Context()
	run := m.run(t, func(r *product.Run) { r.UserID = user })
	for range 2 {
		_, err := m.admit(t, run.ID, start)
		require.NoError(t, err)
	}
	_, err := m.Marketplace.HoldOf(ctx, run.ID)
	require.NoError(t, err)
	for range 2 {
		_, err = m.Marketplace.ChargeEvent(ctx, run.ID, 1, "a", "page", 1, start)
		require.NoError(t, err)
	}
	_, err = m.Marketplace.ReserveModel(ctx, reservation(run, "a", 1, 10))
	require.NoError(t, err)
	require.NoError(t, m.Marketplace.SettleModel(ctx, run.ID, "a", used(5)))
	for range 2 {
		m.settled(t, run.ID, product.ReasonOK, time.Second, after(time.Minute))
	}
}

// fillFree runs an agent of the buyer's own twice.
func (m market) fillFree(t *testing.T) {
	t.Helper()
	m.buyer = m.publisher
	for range 2 {
		m.admitted(t, start)
	}
}

func fillLedger(t *testing.T, m market) {
	t.Helper()
	ctx := t.Context()
	_, err := m.Marketplace.Accounts(ctx, m.buyer.ID)
	require.NoError(t, err)
	for _, credit := range []int64{10, 20} {
		_, err = m.Marketplace.SetCredit(ctx, actor, m.buyer.ID, usd(credit), start)
		require.NoError(t, err)
	}
	earnings := marketplace.AccountOf(marketplace.AccountEarnings, m.publisher.ID)
	list, err := m.Marketplace.Transactions(ctx, earnings, "", 10)
	require.NoError(t, err)
	_, err = m.Marketplace.Transactions(ctx, earnings, list[0].ID, 10)
	require.NoError(t, err)
	_, err = m.Marketplace.Transaction(ctx, list[0].ID)
	require.NoError(t, err)
	for range 2 {
		_, _, err = m.refund(t, list[0].ID, 10, requestKey("refund"), start)
		require.NoError(t, err)
	}
	out, err := marketplace.PayoutMoney(m.publisher.ID, usd(1_000_000), "", start)
	require.NoError(t, err)
	_, _, err = m.Marketplace.Post(ctx, actor, out, nil)
	requireFault(t, err, fault.PaymentRequired, marketplace.CodeInsufficientFunds)
	statement(t, m.Stores, m.buyer, "2026-03")
	statement(t, m.Stores, m.publisher, "2026-04")
}

// fillOrders subscribes, renews, gives a month back, and is late for the next.
func fillOrders(t *testing.T, m market, user ids.User) {
	t.Helper()
	ctx := t.Context()
	m.list(t, marketplace.VisibilityPublic)
	m.price(t, monthly(1_000, 10, 0))
	for range 2 {
		_, _, err := m.tryOrder(t, user, marketplace.OrderSubscription, requestKey("order"), start)
		require.NoError(t, err)
	}
	n, err := m.Marketplace.RenewDue(ctx, april, 2, 0)
	require.NoError(t, err)
	require.Equal(t, 1, n)
	list, err := m.Marketplace.Transactions(ctx, marketplace.AccountOf(marketplace.AccountWallet, m.buyer.ID), "", 1)
	require.NoError(t, err)
	_, _, err = m.refund(t, list[0].ID, 1_000, nil, april.Add(time.Hour))
	require.NoError(t, err)
	// A clock that is behind: the buyer's accounts are in April.
	fund(t, m.Stores, m.buyer, 5)
}
