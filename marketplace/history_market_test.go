package marketplace_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/marketplace"
	"agentmarket/product"
)

// market is a marketplace in memory: it keeps what the store keeps, and leaves
// everything else to the rules.
type market struct {
	r       *rand.Rand
	history int
	doing   string
	now     time.Time
	policy  marketplace.Policy

	stalls   []*stall
	rights   []*marketplace.Entitlement
	orders   map[ids.Entitlement]marketplace.Order // subscriptions
	runs     []*started
	limits   map[ids.Org][]marketplace.SpendLimit
	months   []month
	balances book
	posted   []marketplace.Transaction
	refunded map[ids.Transaction]int64
}

// stall is an agent that is for sale.
type stall struct {
	agent     ids.Agent
	publisher ids.Org
	status    marketplace.ListingStatus
	prices    []*marketplace.Price // the last one is in effect
}

// started is a run that was admitted.
type started struct {
	hold   marketplace.Hold
	run    product.Run
	events []marketplace.EventCharge
	bill   marketplace.Settlement // once it is settled
}

// month is one of a subscription that was paid.
type month struct {
	right ids.Entitlement
	user  ids.User
	paid  marketplace.Transaction
}

var (
	everyOrg = []ids.Org{"org_acme", "org_initech", "org_globex"} // the first two publish
	anybody  = []ids.User{"", "usr_1", "usr_2"}
)

func newMarket(history int) *market {
	m := &market{
		r: rand.New(rand.NewPCG(*historySeed, uint64(history))), history: history, now: now, policy: policy,
		orders: map[ids.Entitlement]marketplace.Order{}, limits: map[ids.Org][]marketplace.SpendLimit{},
		balances: book{}, refunded: map[ids.Transaction]int64{},
	}
	m.policy.FeeBasisPoints = m.r.Int64N(10_001)
	for i := range 2 {
		s := &stall{agent: ids.Agent(fmt.Sprint("agt_", i)), publisher: everyOrg[i], status: marketplace.ListingPublished}
		s.prices = []*marketplace.Price{m.terms(s)}
		m.stalls = append(m.stalls, s)
	}
	return m
}

// String says where a history failed.
func (m *market) String() string {
	return fmt.Sprintf("history %d of -history.seed %d, after %d transactions: %s", m.history, *historySeed, len(m.posted), m.doing)
}

func pick[T any](r *rand.Rand, list []T) T { return list[r.IntN(len(list))] }

// terms are a random price whose amounts are large enough for shares of them.
func (m *market) terms(s *stall) *marketplace.Price {
	p, times := randomPrice(m.r), 1+m.r.Int64N(300)
	for m.r.IntN(3) > 0 && p.Model != marketplace.ModelSubscription { // which has the most to tell
		p = randomPrice(m.r)
	}
	if m.r.IntN(2) == 0 {
		p.Trial = marketplace.Trial{}
	}
	p.ID, p.AgentID = ids.Price(fmt.Sprint("prc_", s.agent, len(s.prices))), s.agent
	for _, micros := range []*int64{&p.PerRun, &p.PerSecond, &p.Monthly, &p.MaxPerRun} {
		*micros *= times
	}
	for i := range p.Events {
		p.Events[i].Micros = 1 + m.r.Int64N(2*times)
	}
	for i := range p.Tiers {
		p.Tiers[i].Micros *= times
	}
	return &p
}

// visit is somebody at a stall, rarely the publisher; regular is one who has
// ordered there, where there is one.
func (m *market) visit(regular bool) (*stall, ids.Org) {
	ordered := slices.DeleteFunc(slices.Clone(m.rights), func(e *marketplace.Entitlement) bool { return e.OrderID == "" })
	if len(ordered) > 0 && regular {
		e := pick(m.r, ordered)
		return m.stallOf(e.AgentID), e.OrgID
	}
	s := pick(m.r, m.stalls)
	if m.r.IntN(6) == 0 {
		return s, s.publisher
	}
	return s, pick(m.r, slices.DeleteFunc(slices.Clone(everyOrg), func(o ids.Org) bool { return o == s.publisher }))
}

func (m *market) stallOf(agent ids.Agent) *stall {
	return m.stalls[slices.IndexFunc(m.stalls, func(s *stall) bool { return s.agent == agent })]
}

func (s *stall) price() *marketplace.Price { return s.prices[len(s.prices)-1] }

// claim is what one query of the store reads.
func (m *market) claim(s *stall, org ids.Org) marketplace.Claim {
	c := marketplace.Claim{
		OrgID: org, AgentID: s.agent, Publisher: s.publisher, Status: s.status, Visibility: marketplace.VisibilityPublic,
		Price: s.price(), Wallet: usd(m.balances[marketplace.AccountOf(marketplace.AccountWallet, org)]),
	}
	for _, e := range m.rights {
		if e.OrgID != org || e.AgentID != s.agent {
			continue
		}
		r := marketplace.Right{Entitlement: *e}
		if i := slices.IndexFunc(s.prices, func(p *marketplace.Price) bool { return p.ID == e.PriceID }); i >= 0 {
			r.Price = s.prices[i]
		}
		c.Entitlements = append(c.Entitlements, r)
	}
	return c
}

// spend adds up what an organization, or one person of it, spends in this month.
func (m *market) spend(org ids.Org, user ids.User) marketplace.Spend {
	s := marketplace.Spend{Month: marketplace.MonthOf(m.now), Spent: usd(0), Held: usd(0)}
	for _, run := range m.runs {
		switch h := run.hold; {
		case h.OrgID != org || h.Month != s.Month || user != "" && h.UserID != user:
		case h.SettledAt.IsZero():
			s.Held.Micros += h.Amount.Micros
		default:
			s.Spent.Micros += h.Charged.Micros
		}
	}
	for _, p := range m.months {
		if p.paid.OrgID == org && p.paid.Month == s.Month && (user == "" || p.user == user) {
			s.Spent.Micros -= p.paid.To(marketplace.AccountOf(marketplace.AccountWallet, org)).Micros
		}
	}
	return s
}

func (m *market) spending(org ids.Org, user ids.User) marketplace.Spending {
	s := marketplace.Spending{Limits: m.limits[org], Org: m.spend(org, "")}
	if user != "" {
		s.User = m.spend(org, user)
	}
	return s
}

// post books a transaction as the store does: no wallet goes below zero, and no
// earnings, but by an operator's refund.
func (m *market) post(t *testing.T, tx marketplace.Transaction) error {
	t.Helper()
	tx.Lines = slices.Clone(tx.Lines)
	for i, l := range tx.Lines {
		after := m.balances[l.Account] + l.Amount.Micros
		guarded := l.Account == marketplace.AccountOf(marketplace.AccountWallet, tx.OrgID) ||
			l.Account == marketplace.AccountOf(marketplace.AccountEarnings, tx.Publisher) && !tx.Overdraw
		if guarded && l.Amount.Micros < 0 && after < 0 {
			return fault.New(fault.PaymentRequired, marketplace.CodeInsufficientFunds, "it is not there")
		}
		tx.Lines[i].Balance = usd(after)
	}
	m.balances.post(t, tx)
	m.posted = append(m.posted, tx)
	return nil
}

func (m *market) right(id ids.Entitlement) *marketplace.Entitlement {
	return m.rights[slices.IndexFunc(m.rights, func(e *marketplace.Entitlement) bool { return e.ID == id })]
}

// begin counts a run that is admitted.
func (m *market) begin(h *marketplace.Hold) {
	if h.EntitlementID == "" {
		e := marketplace.NewEntitlement(h.OrgID, h.AgentID, h.Source, m.now)
		m.rights, h.EntitlementID = append(m.rights, &e), e.ID
	}
	e := m.right(h.EntitlementID)
	e.Usage = e.Usage.In(h.Month)
	e.Usage.Runs++
	e.Usage.Total++
	e.Usage.Active++
}

// end gives a run back that does not count, and counts the time of one that does.
func (m *market) end(h marketplace.Hold, s marketplace.Settlement) {
	u := &m.right(h.EntitlementID).Usage
	u.Active--
	if !s.Counted {
		u.Total--
	}
	if u.Month != h.Month {
		return
	}
	if u.Seconds += s.Seconds; !s.Counted {
		u.Runs--
	}
}

// statement sums the transactions of a month up. What an account had is taken
// from the balances after its lines, so that the sum is a second witness.
func (m *market) statement(org ids.Org, of marketplace.Month) marketplace.Statement {
	st := marketplace.Statement{OrgID: org, Month: of, Currency: "USD"}
	opening, closing := book{}, book{}
	wallet, held := marketplace.AccountOf(marketplace.AccountWallet, org), marketplace.AccountOf(marketplace.AccountHeld, org)
	earned := marketplace.AccountOf(marketplace.AccountEarnings, org)
	for _, tx := range m.posted {
		for _, l := range tx.Lines {
			lines := &st.Lines
			switch {
			case tx.Month > of || l.Account != wallet && l.Account != held && l.Account != earned:
				continue
			case l.Account == earned:
				lines = &st.Earnings
			}
			if closing[l.Account] = l.Balance.Micros; tx.Month < of {
				opening[l.Account] = l.Balance.Micros
				continue
			}
			i := slices.IndexFunc(*lines, func(l marketplace.StatementLine) bool { return l.Kind == tx.Kind })
			if i < 0 {
				*lines = append(*lines, marketplace.StatementLine{Kind: tx.Kind, Amount: usd(0)})
				i = len(*lines) - 1
			}
			(*lines)[i].Count++
			(*lines)[i].Amount.Micros += l.Amount.Micros
		}
	}
	st.Opening, st.Closing, st.Held = usd(opening[wallet]+opening[held]), usd(closing[wallet]+closing[held]), usd(closing[held])
	st.EarningsOpening, st.EarningsClosing = usd(opening[earned]), usd(closing[earned])
	return st
}

// checkLimits requires that what was just held or paid is within every limit of
// its organization.
func (m *market) checkLimits(t *testing.T, org ids.Org, user ids.User) {
	t.Helper()
	list := m.limits[org]
	own := slices.ContainsFunc(list, func(l marketplace.SpendLimit) bool { return user != "" && l.UserID == user })
	for _, l := range list {
		whose := user
		switch {
		case l.Scope == marketplace.SpendMonthly:
			whose = ""
		case l.Scope == marketplace.SpendPerRun, user == "", own && l.UserID != user, !own && l.UserID != "":
			continue
		}
		s := m.spend(org, whose)
		require.LessOrEqual(t, s.Spent.Micros+s.Held.Micros, l.Amount.Micros, m)
	}
}

func (m *market) limit(*testing.T) error {
	org := pick(m.r, everyOrg)
	l := marketplace.SpendLimit{OrgID: org, Amount: usd(m.r.Int64N(4000)), Scope: pick(m.r, []marketplace.SpendScope{
		marketplace.SpendPerRun, marketplace.SpendPerUser, marketplace.SpendMonthly,
	})}
	if l.Scope == marketplace.SpendPerUser {
		l.UserID = pick(m.r, anybody)
	}
	same := func(o marketplace.SpendLimit) bool { return o.Scope == l.Scope && o.UserID == l.UserID }
	m.limits[org] = append(slices.DeleteFunc(m.limits[org], same), l)
	return nil
}

func (m *market) noLimits(*testing.T) error {
	delete(m.limits, pick(m.r, everyOrg))
	return nil
}

// offer changes what an agent costs, or whether it is sold.
func (m *market) offer(t *testing.T) error {
	s := pick(m.r, m.stalls)
	if m.r.IntN(3) == 0 {
		s.status = pick(m.r, []marketplace.ListingStatus{
			marketplace.ListingPublished, marketplace.ListingPublished, marketplace.ListingDeprecated, marketplace.ListingSuspended,
		})
		return nil
	}
	p := m.terms(s)
	require.NoError(t, p.Check(), m)
	s.prices = append(s.prices, p)
	return nil
}

// wait lets minutes pass, or weeks.
func (m *market) wait(*testing.T) error {
	longest := pick(m.r, []time.Duration{time.Hour, 10 * 24 * time.Hour, 40 * 24 * time.Hour})
	m.now = m.now.Add(time.Duration(m.r.Int64N(int64(longest))))
	return nil
}

func (m *market) credit(t *testing.T) error {
	tx, err := marketplace.CreditMoney(pick(m.r, everyOrg), usd(1+m.r.Int64N(50_000)), "paid", m.now)
	require.NoError(t, err, m)
	return m.post(t, tx)
}

func (m *market) payout(t *testing.T) error {
	tx, err := marketplace.PayoutMoney(pick(m.r, everyOrg[:2]), usd(1+m.r.Int64N(400)), "", m.now)
	require.NoError(t, err, m)
	return m.post(t, tx)
}
