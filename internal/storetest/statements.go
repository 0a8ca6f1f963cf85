package storetest

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentmarket/fault"
	"agentmarket/marketplace"
	"agentmarket/product"
)

// april is a month after the start of the tests.
var april = time.Date(2026, 4, 2, 10, 0, 0, 0, time.UTC)

func statement(t *testing.T, s Stores, org marketplace.Organization, month marketplace.Month) marketplace.Statement {
	t.Helper()
	st, err := s.Marketplace.Statement(t.Context(), org.ID, month, "USD")
	require.NoError(t, err)
	return st
}

var statementTests = []testCase{
	{"an organization without money has an empty one", func(t *testing.T, s Stores) {
		org := anOrganization(t, s, "acme")
		nothing := marketplace.Statement{
			OrgID: org.ID, Month: "2026-03", Currency: "USD", Opening: usd(0), Closing: usd(0), Held: usd(0),
			EarningsOpening: usd(0), EarningsClosing: usd(0),
		}
		requireSame(t, nothing, statement(t, s, org, "2026-03"))
		fund(t, s, org, 100)
		got, err := s.Marketplace.Statement(t.Context(), org.ID, "2026-03", "EUR")
		require.NoError(t, err)
		require.Empty(t, got.Lines, "another currency")
		require.Zero(t, got.Closing.Micros)
		_, err = s.Marketplace.Statement(t.Context(), "org_none", "2026-03", "USD")
		requireFault(t, err, fault.NotFound, "organization_not_found")
		_, err = s.Marketplace.Statement(t.Context(), org.ID, "March", "USD")
		requireFault(t, err, fault.Invalid, "month_invalid")
	}},
	{"it has what was gained and paid, by agent, without what is only held", statementOfAMonth},
	{"a month follows the one before", statementsFollow},
	{"what comes late for a month that is over is of the next one", statementsStay},
}

func statementOfAMonth(t *testing.T, s Stores) {
	m := bought(t, s, 10_000, perRun(1_000))
	for range 2 {
		m.settled(t, m.admitted(t, start).ID, product.ReasonOK, time.Second, after(time.Minute))
	}
	m.settled(t, m.admitted(t, start).ID, product.ReasonPlatformError, time.Second, after(time.Minute))
	m.admitted(t, start)
	charge := m.charged(t, 1_000)
	_, _, err := m.refund(t, charge.ID, 300, nil, after(time.Hour))
	require.NoError(t, err)
	out, err := marketplace.PayoutMoney(m.publisher.ID, usd(500), "", after(time.Hour))
	require.NoError(t, err)
	_, _, err = s.Marketplace.Post(t.Context(), actor, out, nil)
	require.NoError(t, err)
	name := m.agent.FullName()

	requireSame(t, marketplace.Statement{
		OrgID: m.buyer.ID, Month: "2026-03", Currency: "USD",
		Opening: usd(0), Closing: usd(7_300), Held: usd(1_000),
		Lines: []marketplace.StatementLine{
			{Kind: marketplace.TxCharge, Agent: name, Count: 3, Amount: usd(-3_000)},
			{Kind: marketplace.TxCredit, Count: 1, Amount: usd(10_000)},
			{Kind: marketplace.TxRefund, Agent: name, Count: 1, Amount: usd(300)},
		},
		EarningsOpening: usd(0), EarningsClosing: usd(0),
	}, statement(t, s, m.buyer, "2026-03"))
	requireMoney(t, s, m.buyer, 6_300, 1_000, 0)

	requireSame(t, marketplace.Statement{
		OrgID: m.publisher.ID, Month: "2026-03", Currency: "USD",
		Opening: usd(0), Closing: usd(0), Held: usd(0), EarningsOpening: usd(0), EarningsClosing: usd(1_660),
		Earnings: []marketplace.StatementLine{
			{Kind: marketplace.TxCharge, Agent: name, Count: 3, Amount: usd(2_400)},
			{Kind: marketplace.TxPayout, Count: 1, Amount: usd(-500)},
			{Kind: marketplace.TxRefund, Agent: name, Count: 1, Amount: usd(-240)},
		},
	}, statement(t, s, m.publisher, "2026-03"))
}

func statementsFollow(t *testing.T, s Stores) {
	m := bought(t, s, 10_000, perRun(1_000))
	over := m.admitted(t, start) // over the end of the month
	m.settled(t, m.admitted(t, start).ID, product.ReasonOK, time.Second, after(time.Minute))
	m.settled(t, over.ID, product.ReasonOK, time.Second, april)

	march := statement(t, s, m.buyer, "2026-03")
	require.Equal(t, usd(9_000), march.Closing)
	require.Equal(t, usd(1_000), march.Held)
	next := statement(t, s, m.buyer, "2026-04")
	require.Equal(t, march.Closing, next.Opening)
	require.Equal(t, usd(8_000), next.Closing)
	require.Equal(t, usd(0), next.Held)
	require.Len(t, next.Lines, 1)
	later := statement(t, s, m.buyer, "2027-01")
	require.Equal(t, next.Closing, later.Opening, "months without a line between them")
	require.Equal(t, next.Closing, later.Closing)
	require.Empty(t, later.Lines)
	earlier := statement(t, s, m.buyer, "2026-02")
	require.Equal(t, usd(0), earlier.Closing)
	earned := statement(t, s, m.publisher, "2026-04")
	require.Equal(t, usd(800), earned.EarningsOpening)
	require.Equal(t, usd(1_600), earned.EarningsClosing)
}

// statementsStay posts by a clock that is behind: April has begun on the wallet,
// not on the account of what is held.
func statementsStay(t *testing.T, s Stores) {
	m := bought(t, s, 10_000, perRun(1_000))
	paid, err := marketplace.CreditMoney(m.buyer.ID, usd(5), "", april)
	require.NoError(t, err)
	_, _, err = s.Marketplace.Post(t.Context(), actor, paid, nil)
	require.NoError(t, err)
	before := statement(t, s, m.buyer, "2026-03")

	m.admitted(t, start)
	charge := m.charged(t, 1_000)
	require.Equal(t, marketplace.Month("2026-04"), charge.Month)
	require.Equal(t, stored(after(time.Minute)), charge.CreatedAt)
	requireSame(t, before, statement(t, s, m.buyer, "2026-03"))
	next := statement(t, s, m.buyer, "2026-04")
	require.Equal(t, before.Closing, next.Opening)
	require.Equal(t, usd(9_005), next.Closing)
	require.Equal(t, usd(1_000), next.Held)

	// The accounts of the publisher are in April by now, those of a third are not.
	other := anOrganization(t, s, "other")
	fund(t, s, other, 7)
	require.Equal(t, usd(7), statement(t, s, other, "2026-04").Closing)
	require.Empty(t, statement(t, s, other, "2026-03").Lines, "external is in April")
	require.Equal(t, usd(800), statement(t, s, m.publisher, "2026-04").EarningsClosing)
}
