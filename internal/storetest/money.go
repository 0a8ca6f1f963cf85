package storetest

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentmarket/audit"
	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/marketplace"
	"agentmarket/money"
	"agentmarket/product"
)

// policy is that of the tests: the platform gets a fifth.
var policy = marketplace.DefaultPolicy()

func usd(micros int64) money.Amount { return money.Of(micros, "USD") }

// the is somebody of an organization.
func the(org marketplace.Organization) audit.Actor {
	return audit.Actor{Kind: audit.KindKey, ID: "key_" + org.Name, Org: org.ID, RequestID: "req_test"}
}

func requestKey(key string) *marketplace.RequestKey {
	return &marketplace.RequestKey{Key: key, Fingerprint: "f"}
}

// fund pays into a wallet from outside.
func fund(t *testing.T, s Stores, org marketplace.Organization, micros int64) marketplace.Transaction {
	t.Helper()
	paid, err := marketplace.CreditMoney(org.ID, usd(micros), "paid", start)
	require.NoError(t, err)
	posted, _, err := s.Marketplace.Post(t.Context(), the(org), paid, nil)
	require.NoError(t, err)
	return posted
}

// requireMoney checks what an organization has: in its wallet, held, earned.
func requireMoney(t *testing.T, s Stores, org marketplace.Organization, wallet, held, earnings int64) {
	t.Helper()
	accounts, err := s.Marketplace.Accounts(t.Context(), org.ID)
	require.NoError(t, err)
	got := make([]int64, len(accounts))
	for i, a := range accounts {
		require.Equal(t, org.ID, a.OrgID)
		got[i] = a.Balance.Micros
	}
	require.Equal(t, []int64{wallet, held, earnings}, got, "wallet, held and earnings of %s", org.Name)
}

// price sets what the agent costs from the start of the tests on.
func (m market) price(t *testing.T, change func(*marketplace.Price)) marketplace.Price {
	t.Helper()
	p := aPrice(m.agent, 1_000, start)
	change(&p)
	require.NoError(t, p.Check())
	return setPrice(t, m.Stores, p)
}

func perRun(micros int64) func(*marketplace.Price) {
	return func(p *marketplace.Price) { p.PerRun = micros }
}

func perSecond(micros int64) func(*marketplace.Price) {
	return func(p *marketplace.Price) { p.Model, p.PerRun, p.PerSecond = marketplace.ModelPerSecond, 0, micros }
}

// perEvent costs an entrance fee and something for each page, up to most.
func perEvent(fee, page, most int64) func(*marketplace.Price) {
	return func(p *marketplace.Price) {
		p.Model, p.PerRun, p.MaxPerRun = marketplace.ModelPerEvent, fee, most
		p.Events = []marketplace.EventPrice{{Name: "page", Title: "a page", Micros: page}}
	}
}

func monthly(micros, included, beyond int64) func(*marketplace.Price) {
	return func(p *marketplace.Price) {
		p.Model, p.Monthly, p.IncludedRuns, p.PerRun = marketplace.ModelSubscription, micros, included, beyond
	}
}

// order buys the agent for its buyer.
func (m market) order(t *testing.T, kind marketplace.OrderKind, at time.Time) marketplace.Order {
	t.Helper()
	o, first, err := m.tryOrder(t, "", kind, nil, at)
	require.NoError(t, err)
	require.True(t, first)
	return o
}

func (m market) tryOrder(t *testing.T, user ids.User, kind marketplace.OrderKind, key *marketplace.RequestKey, at time.Time) (marketplace.Order, bool, error) {
	q := marketplace.ClaimQuery{OrgID: m.buyer.ID, UserID: user, AgentID: m.agent.ID, At: at}
	return m.Marketplace.PlaceOrder(t.Context(), the(m.buyer), q, key, &m.version,
		func(c marketplace.Claim) (marketplace.Purchase, error) {
			return c.Buy(m.agent.FullName(), kind, "key_1", at)
		}, m.pay(at))
}

// pay pays the first month of what is bought by the month.
func (m market) pay(at time.Time) func(marketplace.Purchase) (*marketplace.Transaction, error) {
	return func(p marketplace.Purchase) (*marketplace.Transaction, error) {
		if p.Order.Amount.IsZero() {
			return nil, nil
		}
		t, err := marketplace.SubscriptionMoney(p.Order, m.publisher.ID, p.Order.Amount, policy.FeeBasisPoints, at)
		return &t, err
	}
}

// bought is a market whose buyer may run the agent by use, and has money.
func bought(t *testing.T, s Stores, wallet int64, terms func(*marketplace.Price)) market {
	t.Helper()
	m := newMarket(t, s)
	m.price(t, terms)
	m.order(t, marketplace.OrderUsage, start)
	if wallet > 0 {
		fund(t, s, m.buyer, wallet)
	}
	return m
}

// run stores a run of the buyer that is queued.
func (m market) run(t *testing.T, change func(*product.Run)) product.Run {
	t.Helper()
	w := world{Stores: m.Stores, org: m.buyer, agent: m.agent, version: m.version}
	r := w.queued(start)
	if change != nil {
		change(&r)
	}
	return w.create(t, r)
}

// begin opens the first attempt.
func begin(at time.Time) func(*product.Run) ([]*product.Event, error) {
	return func(r *product.Run) ([]*product.Event, error) {
		e, err := r.BeginAttempt(1, at)
		return []*product.Event{e}, err
	}
}

// decide is what the platform decides with.
func (m market) decide(at time.Time) func(product.Run, marketplace.Claim, marketplace.Spending) (marketplace.Hold, error) {
	return func(r product.Run, c marketplace.Claim, s marketplace.Spending) (marketplace.Hold, error) {
		subject := marketplace.Subject{
			Version: r.Version, Permissions: product.PermissionsOf(m.version.Manifest), Timeout: r.Request.RunTimeout,
		}
		return c.Admit(r, subject, s, policy, at)
	}
}

func (m market) admit(t *testing.T, id ids.Run, at time.Time) (product.Run, error) {
	run, _, err := m.Marketplace.AdmitRun(t.Context(), id, at, begin(at), m.decide(at))
	return run, err
}

// admitted is a run that is admitted.
func (m market) admitted(t *testing.T, at time.Time) product.Run {
	t.Helper()
	r, err := m.admit(t, m.run(t, nil).ID, at)
	require.NoError(t, err)
	require.Len(t, r.Attempts, 1)
	return r
}

// bill is what the platform settles with.
func bill(r product.Run, h marketplace.Hold, used marketplace.Used) marketplace.Settlement {
	return marketplace.Settle(h, r, used)
}

// end ends a run whose process ran for a while; 0: it never started.
func (m market) end(t *testing.T, id ids.Run, reason product.Reason, ran time.Duration, at time.Time) (product.Run, error) {
	change := func(r *product.Run) ([]*product.Event, error) {
		end := product.End{Reason: reason, FinishedAt: at}
		if ran > 0 {
			end.StartedAt = at.Add(-ran)
		}
		return []*product.Event{r.AttemptEnded(1, end, at), r.Settle(reason, "", at)}, nil
	}
	run, _, err := m.Marketplace.SettleRun(t.Context(), id, at, change, bill)
	return run, err
}

// settled is end of a run that ends.
func (m market) settled(t *testing.T, id ids.Run, reason product.Reason, ran time.Duration, at time.Time) product.Run {
	t.Helper()
	r, err := m.end(t, id, reason, ran, at)
	require.NoError(t, err)
	require.True(t, r.Status.Terminal())
	return r
}

// usage is how much of the only right of the buyer was used.
func (m market) usage(t *testing.T) marketplace.Usage {
	t.Helper()
	list, err := m.Marketplace.Entitlements(t.Context(), m.buyer.ID, "", 0)
	require.NoError(t, err)
	require.Len(t, list, 1)
	return list[0].Usage
}

func (m market) spending(t *testing.T, user ids.User, month marketplace.Month) marketplace.Spending {
	t.Helper()
	s, err := m.Marketplace.Spending(t.Context(), m.buyer.ID, user, month)
	require.NoError(t, err)
	return s
}

func (m market) limit(t *testing.T, scope marketplace.SpendScope, user ids.User, micros int64, alertAt ...int) marketplace.SpendLimit {
	t.Helper()
	l := marketplace.SpendLimit{
		OrgID: m.buyer.ID, Scope: scope, UserID: user, Amount: usd(micros), AlertAt: alertAt, UpdatedBy: "usr_x", UpdatedAt: start,
	}
	require.NoError(t, l.Check())
	require.NoError(t, m.Marketplace.SetSpendLimit(t.Context(), the(m.buyer), l))
	l.UpdatedAt = stored(l.UpdatedAt)
	return l
}

// tally counts the outcomes of rivals.
type tally struct {
	passed, denied int
	other          map[string]int // by text
}

// count sorts errors: those with the code were denied.
func count(code string, errs []error) (n tally) {
	for _, err := range errs {
		switch {
		case err == nil:
			n.passed++
		case fault.From(err).Code == code:
			n.denied++
		default:
			if n.other == nil {
				n.other = map[string]int{}
			}
			n.other[err.Error()]++
		}
	}
	return n
}
