package storetest

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/marketplace"
	"agentmarket/product"
)

var spendingTests = []testCase{
	{"limits are stored, changed and removed", func(t *testing.T, s Stores) {
		m := market{Stores: s, buyer: anOrganization(t, s, "globex")}
		m.limit(t, marketplace.SpendMonthly, "", 10, 50)
		monthly := m.limit(t, marketplace.SpendMonthly, "", 500, 50, 100)
		run := m.limit(t, marketplace.SpendPerRun, "", 100)
		all := m.limit(t, marketplace.SpendPerUser, "", 40)
		hers := m.limit(t, marketplace.SpendPerUser, "usr_1", 80)
		require.Equal(t, []marketplace.SpendLimit{monthly, run, all, hers}, m.spending(t, "", "2026-03").Limits)
		requireBuyerAudit(t, m, "spend_limit:month",
			entry{"spend_limit.set", "", `{"scope":"month","amount_micros":10,"currency":"USD","alert_at":[50]}`},
			entry{"spend_limit.set", `{"scope":"month","amount_micros":10,"currency":"USD","alert_at":[50]}`,
				`{"scope":"month","amount_micros":500,"currency":"USD","alert_at":[50,100]}`})

		remove := func() error {
			return s.Marketplace.DeleteSpendLimit(t.Context(), the(m.buyer), m.buyer.ID, marketplace.SpendPerUser, "usr_1", start)
		}
		require.NoError(t, remove())
		requireFault(t, remove(), fault.NotFound, "spend_limit_not_found")
		require.Equal(t, []marketplace.SpendLimit{monthly, run, all}, m.spending(t, "", "2026-03").Limits)
		requireBuyerAudit(t, m, "spend_limit:user:usr_1",
			entry{"spend_limit.set", "", `{"scope":"user","user_id":"usr_1","amount_micros":80,"currency":"USD"}`},
			entry{"spend_limit.delete", `{"scope":"user","user_id":"usr_1","amount_micros":80,"currency":"USD"}`, ""})
		require.Error(t, s.Marketplace.SetSpendLimit(t.Context(), actor,
			marketplace.SpendLimit{OrgID: "org_none", Scope: marketplace.SpendMonthly, Amount: usd(1), UpdatedAt: start}))
	}},
	{"a person has her own limit, or everybody's", func(t *testing.T, s Stores) {
		m := bought(t, s, 100_000, perRun(1_000))
		m.limit(t, marketplace.SpendPerUser, "", 1_500)
		m.limit(t, marketplace.SpendPerUser, "usr_rich", 3_000)
		admit := func(user ids.User, at time.Time) error {
			_, err := m.admit(t, m.run(t, func(r *product.Run) { r.UserID = user }).ID, at)
			return err
		}
		for user, passes := range map[ids.User]int{"usr_poor": 1, "usr_rich": 3} {
			for range passes {
				require.NoError(t, admit(user, start))
			}
			requireFault(t, admit(user, start), fault.PaymentRequired, marketplace.CodeSpendLimitReached)
			require.NoError(t, admit(user, april), "another month")
		}
		for range 5 {
			require.NoError(t, admit("", start), "a program has no such limit")
		}
	}},
	{"a limit for runs is a budget", func(t *testing.T, s Stores) {
		m := bought(t, s, 100_000, perSecond(10))
		m.limit(t, marketplace.SpendPerRun, "", 205)
		hold, err := s.Marketplace.HoldOf(t.Context(), m.admitted(t, start).ID)
		require.NoError(t, err)
		require.Equal(t, usd(205), hold.Amount)
		require.Equal(t, 20*time.Second, hold.Affordable)
	}},
	{"alerts are raised once for each threshold, at settlements and orders", alertsAreRaised},
}

// requireBuyerAudit is requireAudit of what the buyer did.
func requireBuyerAudit(t *testing.T, m market, subject string, want ...entry) {
	t.Helper()
	entries := m.audit(t, m.buyer, subject)
	slices.Reverse(entries)
	require.Len(t, entries, len(want))
	for i, e := range entries {
		require.Equal(t, the(m.buyer), e.Actor)
		require.Equal(t, want[i].action, e.Action)
		require.Equal(t, sorted(t, []byte(want[i].before)), sorted(t, e.Before))
		require.Equal(t, sorted(t, []byte(want[i].after)), sorted(t, e.After))
	}
}

func alertsAreRaised(t *testing.T, s Stores) {
	m := bought(t, s, 100_000, perRun(1_000))
	m.limit(t, marketplace.SpendMonthly, "", 4_000, 50, 75)
	m.limit(t, marketplace.SpendPerUser, "", 2_000, 100)
	run := func() {
		r := m.run(t, func(r *product.Run) { r.UserID = "usr_1" })
		_, err := m.admit(t, r.ID, start)
		require.NoError(t, err)
		m.settled(t, r.ID, product.ReasonOK, time.Second, after(time.Hour))
	}
	raised := func() []marketplace.Alert {
		list, err := s.Marketplace.Alerts(t.Context(), m.buyer.ID, "", 0)
		require.NoError(t, err)
		return list
	}
	run()
	require.Empty(t, raised())
	run()
	got := raised()
	require.Len(t, got, 2)
	slices.SortFunc(got, func(a, b marketplace.Alert) int { return a.Percent - b.Percent })
	require.True(t, ids.Valid(ids.PrefixAlert, string(got[0].ID)))
	requireSame(t, []marketplace.Alert{
		{ID: got[0].ID, OrgID: m.buyer.ID, Scope: marketplace.SpendMonthly, Month: "2026-03", Percent: 50,
			Limit: usd(4_000), Spent: usd(2_000), At: stored(after(time.Hour))},
		{ID: got[1].ID, OrgID: m.buyer.ID, Scope: marketplace.SpendPerUser, UserID: "usr_1", Month: "2026-03", Percent: 100,
			Limit: usd(2_000), Spent: usd(2_000), At: stored(after(time.Hour))},
	}, got)

	a := m.another(t, "monthly")
	a.list(t, marketplace.VisibilityPublic)
	a.price(t, monthly(1_500, 1, 0))
	a.order(t, marketplace.OrderSubscription, after(2*time.Hour))
	all := raised()
	require.Len(t, all, 3)
	require.Equal(t, 75, all[0].Percent)
	require.Equal(t, usd(3_500), all[0].Spent)
	page, err := s.Marketplace.Alerts(t.Context(), m.buyer.ID, all[0].ID, 1)
	require.NoError(t, err)
	require.Equal(t, all[1:2], page)
	page, err = s.Marketplace.Alerts(t.Context(), m.publisher.ID, "", 0)
	require.NoError(t, err)
	require.Empty(t, page)
}

func (m market) topUp(t *testing.T, micros int64, key *marketplace.RequestKey) (marketplace.TopUp, bool) {
	t.Helper()
	p, err := marketplace.NewTopUp(m.buyer.ID, usd(micros), "usr_x", start)
	require.NoError(t, err)
	p.Provider, p.Reference, p.URL, p.Instructions = "manual", "ref-1", "https://pay.test/1", "pay here"
	got, first, err := m.Marketplace.CreateTopUp(t.Context(), the(m.buyer), p, key)
	require.NoError(t, err)
	if first {
		p.CreatedAt = stored(p.CreatedAt)
		requireSame(t, p, got)
	}
	return got, first
}

var topUpTests = []testCase{
	{"what is created is found, and the same request creates once", func(t *testing.T, s Stores) {
		m := market{Stores: s, buyer: anOrganization(t, s, "globex")}
		p, first := m.topUp(t, 500, requestKey("k"))
		require.True(t, first)
		again, first := m.topUp(t, 500, requestKey("k"))
		require.False(t, first)
		requireSame(t, p, again)
		got, err := s.Marketplace.TopUp(t.Context(), p.ID)
		require.NoError(t, err)
		requireSame(t, p, got)
		_, err = s.Marketplace.TopUp(t.Context(), "top_none")
		requireFault(t, err, fault.NotFound, "top_up_not_found")
		require.Equal(t, []string{"top_up.create " + string(p.ID)}, actions(t, s, m.buyer.ID, auditOf(string(p.ID))))
		requireMoney(t, s, m.buyer, 0, 0, 0)
	}},
	{"they are listed newest first, of one or of all, by pages", func(t *testing.T, s Stores) {
		m, o := market{Stores: s, buyer: anOrganization(t, s, "globex")}, market{Stores: s, buyer: anOrganization(t, s, "other")}
		var mine, all []ids.TopUp
		for range 3 {
			p, _ := m.topUp(t, 500, nil)
			q, _ := o.topUp(t, 500, nil)
			mine = append([]ids.TopUp{p.ID}, mine...)
			all = append([]ids.TopUp{q.ID, p.ID}, all...)
		}
		page := func(org ids.Org, before ids.TopUp, limit int) (list []ids.TopUp) {
			got, err := s.Marketplace.TopUps(t.Context(), org, before, limit)
			require.NoError(t, err)
			for _, p := range got {
				list = append(list, p.ID)
			}
			return list
		}
		require.Equal(t, mine[:2], page(m.buyer.ID, "", 2))
		require.Equal(t, mine[2:], page(m.buyer.ID, mine[1], 2))
		require.Equal(t, all[:4], page("", "", 4))
		require.Equal(t, all[4:], page("", all[3], 4))
	}},
	{"of many confirmations one credits the wallet", func(t *testing.T, s Stores) {
		m := market{Stores: s, buyer: anOrganization(t, s, "globex")}
		p, _ := m.topUp(t, 500, nil)
		got, errs := make([]marketplace.TopUp, 12), make([]error, 12)
		together(len(errs), func(i int) { got[i], errs[i] = s.Marketplace.ConfirmTopUp(t.Context(), actor, p.ID, after(time.Hour)) })
		require.Equal(t, tally{passed: 12}, count("", errs))
		p.Status, p.ConfirmedAt = marketplace.TopUpConfirmed, stored(after(time.Hour))
		for _, c := range got {
			requireSame(t, p, c)
		}
		requireMoney(t, s, m.buyer, 500, 0, 0)
		list, err := s.Marketplace.Transactions(t.Context(), marketplace.AccountOf(marketplace.AccountWallet, m.buyer.ID), "", 0)
		require.NoError(t, err)
		require.Len(t, list, 1)
		require.Equal(t, marketplace.TxCredit, list[0].Kind)
		require.Contains(t, list[0].Reason, "ref-1")
		_, err = s.Marketplace.ConfirmTopUp(t.Context(), actor, "top_none", start)
		requireFault(t, err, fault.NotFound, "top_up_not_found")
	}},
}
