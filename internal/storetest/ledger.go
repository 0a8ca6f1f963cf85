package storetest

import (
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

var ledgerTests = []testCase{
	{"a new organization has three empty accounts", func(t *testing.T, s Stores) {
		org := anOrganization(t, s, "acme")
		accounts, err := s.Marketplace.Accounts(t.Context(), org.ID)
		require.NoError(t, err)
		requireSame(t, []marketplace.Account{
			{ID: ids.Account("wallet:" + string(org.ID)), Kind: marketplace.AccountWallet, OrgID: org.ID},
			{ID: ids.Account("held:" + string(org.ID)), Kind: marketplace.AccountHeld, OrgID: org.ID},
			{ID: ids.Account("earnings:" + string(org.ID)), Kind: marketplace.AccountEarnings, OrgID: org.ID},
		}, accounts)
		_, err = s.Marketplace.Accounts(t.Context(), "org_none")
		requireFault(t, err, fault.NotFound, "organization_not_found")
	}},
	{"what is posted is found, with the balances", ledgerPosts},
	{"the same request posts once", ledgerPostsOnce},
	{"what does not balance is never stored", func(t *testing.T, s Stores) {
		org := anOrganization(t, s, "acme")
		paid, err := marketplace.CreditMoney(org.ID, usd(5), "", start)
		require.NoError(t, err)
		paid.Lines[0].Amount.Micros++
		_, _, err = s.Marketplace.Post(t.Context(), actor, paid, nil)
		require.Error(t, err)
		_, err = s.Marketplace.Transaction(t.Context(), paid.ID)
		requireFault(t, err, fault.NotFound, "transaction_not_found")
		requireMoney(t, s, org, 0, 0, 0)
	}},
	{"earnings are paid out to the last, and no further", ledgerPaysOut},
	{"an account keeps its currency", func(t *testing.T, s Stores) {
		org := anOrganization(t, s, "acme")
		fund(t, s, org, 100)
		euros, err := marketplace.CreditMoney(org.ID, money.Of(5, "EUR"), "", start)
		require.NoError(t, err)
		_, _, err = s.Marketplace.Post(t.Context(), actor, euros, nil)
		requireFault(t, err, fault.Invalid, "currency_mismatch")
		_, err = s.Marketplace.SetCredit(t.Context(), actor, org.ID, money.Of(5, "EUR"), start)
		requireFault(t, err, fault.Invalid, "currency_mismatch")
		requireMoney(t, s, org, 100, 0, 0)
	}},
	{"accounts must exist", func(t *testing.T, s Stores) {
		paid, err := marketplace.CreditMoney("org_none", usd(5), "", start)
		require.NoError(t, err)
		_, _, err = s.Marketplace.Post(t.Context(), actor, paid, nil)
		requireFault(t, err, fault.NotFound, "account_not_found")
		_, err = s.Marketplace.SetCredit(t.Context(), actor, "org_none", usd(5), start)
		requireFault(t, err, fault.NotFound, "organization_not_found")
	}},
	{"credit lets a wallet below zero, and is not taken away from under it", ledgerCredit},
	{"transactions are listed by account, newest first, by pages", func(t *testing.T, s Stores) {
		org, other := anOrganization(t, s, "acme"), anOrganization(t, s, "other")
		var want []marketplace.Transaction
		for i := range 5 {
			want = append(want, fund(t, s, org, int64(i+1)))
			fund(t, s, other, 1)
		}
		slices.Reverse(want)
		wallet := marketplace.AccountOf(marketplace.AccountWallet, org.ID)
		var got []marketplace.Transaction
		for before := ids.Transaction(""); ; before = got[len(got)-1].ID {
			page, err := s.Marketplace.Transactions(t.Context(), wallet, before, 2)
			require.NoError(t, err)
			if len(page) == 0 {
				break
			}
			got = append(got, page...)
		}
		requireSame(t, want, got)
		all, err := s.Marketplace.Transactions(t.Context(), marketplace.AccountOf(marketplace.AccountExternal, ""), "", 0)
		require.NoError(t, err)
		require.Len(t, all, 10)
	}},
	{"many at once move every micro once", func(t *testing.T, s Stores) {
		orgs := []marketplace.Organization{anOrganization(t, s, "a"), anOrganization(t, s, "b"), anOrganization(t, s, "c")}
		errs := make([]error, 60)
		together(len(errs), func(i int) {
			paid, err := marketplace.CreditMoney(orgs[i%3].ID, usd(10), "", start)
			if err == nil {
				_, _, err = s.Marketplace.Post(t.Context(), actor, paid, nil)
			}
			errs[i] = err
		})
		require.Equal(t, tally{passed: 60}, count("", errs))
		for _, org := range orgs {
			requireMoney(t, s, org, 200, 0, 0)
		}
	}},
}

func ledgerPosts(t *testing.T, s Stores) {
	org := anOrganization(t, s, "acme")
	fund(t, s, org, 100)
	paid, err := marketplace.CreditMoney(org.ID, usd(250), "invoice 7", after(time.Hour))
	require.NoError(t, err)
	posted, first, err := s.Marketplace.Post(t.Context(), actor, paid, nil)
	require.NoError(t, err)
	require.True(t, first)

	want := paid
	want.CreatedAt, want.CreatedBy = stored(paid.CreatedAt), actor.ID
	want.Lines = []marketplace.Line{
		{Account: ids.Account("wallet:" + string(org.ID)), Amount: usd(250), Balance: usd(350)},
		{Account: "external", Amount: usd(-250), Balance: usd(-350)},
	}
	requireSame(t, want, posted)
	loaded, err := s.Marketplace.Transaction(t.Context(), paid.ID)
	require.NoError(t, err)
	requireSame(t, want, loaded)
	requireMoney(t, s, org, 350, 0, 0)
	requireAudit(t, s, org.ID, string(paid.ID),
		entry{"wallet.credit", "", `{"kind":"credit","amount_micros":250,"currency":"USD","reason":"invoice 7"}`})
	_, err = s.Marketplace.Transaction(t.Context(), "txn_none")
	requireFault(t, err, fault.NotFound, "transaction_not_found")
}

func ledgerPostsOnce(t *testing.T, s Stores) {
	org := anOrganization(t, s, "acme")
	const rivals = 20
	errs, posted, first := make([]error, rivals), make([]marketplace.Transaction, rivals), make([]bool, rivals)
	together(rivals, func(i int) {
		paid, err := marketplace.CreditMoney(org.ID, usd(100), "", start)
		if err == nil {
			posted[i], first[i], err = s.Marketplace.Post(t.Context(), the(org), paid, requestKey("k"))
		}
		errs[i] = err
	})
	require.Equal(t, tally{passed: rivals}, count("", errs))
	firsts := 0
	for i := range rivals {
		requireSame(t, posted[0], posted[i])
		if first[i] {
			firsts++
		}
	}
	require.Equal(t, 1, firsts)
	requireMoney(t, s, org, 100, 0, 0)

	paid, err := marketplace.CreditMoney(org.ID, usd(200), "", start)
	require.NoError(t, err)
	_, _, err = s.Marketplace.Post(t.Context(), the(org), paid, &marketplace.RequestKey{Key: "k", Fingerprint: "other"})
	requireFault(t, err, fault.Invalid, "idempotency_key_reused")
	other := anOrganization(t, s, "other")
	_, again, err := s.Marketplace.Post(t.Context(), the(other), paid, requestKey("k"))
	require.NoError(t, err)
	require.True(t, again, "a key is of the organization that makes the request")
}

func ledgerPaysOut(t *testing.T, s Stores) {
	m := bought(t, s, 1_000, perRun(1_000))
	m.settled(t, m.admitted(t, start).ID, product.ReasonOK, time.Second, after(time.Minute))
	requireMoney(t, s, m.publisher, 0, 0, 800)
	errs := make([]error, 12)
	together(len(errs), func(i int) {
		out, err := marketplace.PayoutMoney(m.publisher.ID, usd(100), "", start)
		if err == nil {
			_, _, err = s.Marketplace.Post(t.Context(), actor, out, nil)
		}
		errs[i] = err
	})
	require.Equal(t, tally{passed: 8, denied: 4}, count(marketplace.CodeInsufficientFunds, errs))
	requireMoney(t, s, m.publisher, 0, 0, 0)
	for _, err := range errs {
		if err != nil {
			require.Equal(t, fault.PaymentRequired, fault.KindOf(err))
		}
	}
}

func ledgerCredit(t *testing.T, s Stores) {
	m := bought(t, s, 0, perRun(100))
	_, err := m.admit(t, m.run(t, nil).ID, start)
	requireFault(t, err, fault.PaymentRequired, marketplace.CodeInsufficientFunds)
	account, err := s.Marketplace.SetCredit(t.Context(), actor, m.buyer.ID, usd(250), start)
	require.NoError(t, err)
	want := marketplace.Account{
		ID: ids.Account("wallet:" + string(m.buyer.ID)), Kind: marketplace.AccountWallet, OrgID: m.buyer.ID, Balance: usd(0), Credit: usd(250),
	}
	requireSame(t, want, account)
	m.admitted(t, start)
	m.admitted(t, start)
	_, err = m.admit(t, m.run(t, nil).ID, start)
	requireFault(t, err, fault.PaymentRequired, marketplace.CodeInsufficientFunds)
	requireMoney(t, s, m.buyer, -200, 200, 0)

	_, err = s.Marketplace.SetCredit(t.Context(), actor, m.buyer.ID, usd(199), start)
	requireFault(t, err, fault.Conflict, "credit_in_use")
	for range 2 { // the second changes nothing
		account, err = s.Marketplace.SetCredit(t.Context(), actor, m.buyer.ID, usd(200), after(time.Hour))
		require.NoError(t, err)
		want.Balance, want.Credit = usd(-200), usd(200)
		requireSame(t, want, account)
	}
	requireAudit(t, s, m.buyer.ID, string(want.ID),
		entry{"wallet.set_credit", `{"credit_micros":0,"currency":""}`, `{"credit_micros":250,"currency":"USD"}`},
		entry{"wallet.set_credit", `{"credit_micros":250,"currency":"USD"}`, `{"credit_micros":200,"currency":"USD"}`})
}
