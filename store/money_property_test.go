package store_test

import (
	"database/sql"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/stretchr/testify/require"

	"agentmarket/agentruntime"
	"agentmarket/audit"
	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/internal/storetest"
	"agentmarket/marketplace"
	"agentmarket/money"
	"agentmarket/product"
	"agentmarket/store"
)

var moneySeed = flag.Uint64("money.seed", 20260301, "seed of the random histories of money")

// Whatever happens, in whatever order: the ledger adds up, nobody pays twice, and
// everything that is counted somewhere says the same. The histories are random,
// those of SQLite the same for one seed; on PostgreSQL several workers make them
// at once.
func TestMoneyAddsUp(t *testing.T) {
	t.Run("sqlite", func(t *testing.T) {
		u := storetest.SQLiteURL(t)
		raw, err := sql.Open("sqlite", strings.TrimPrefix(u, "sqlite://"))
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, raw.Close()) })
		newBazaar(t, storetest.Open(t, store.Config{URL: u}), raw).histories(t, 1, 15, 200)
	})
	t.Run("postgres", func(t *testing.T) {
		u := storetest.PostgresURL(t)
		raw, err := sql.Open("pgx", u)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, raw.Close()) })
		newBazaar(t, open(t, store.Config{URL: u}), raw).histories(t, 6, 6, 25)
	})
}

// bazaar is a marketplace in which things happen at random.
type bazaar struct {
	db     *store.DB
	market *store.Marketplace
	raw    *sql.DB
	now    time.Time // moves between batches only
	first  time.Time

	publishers, buyers []marketplace.Organization
	stalls             []stall

	mu       sync.Mutex // guards what follows
	runs     []ids.Run
	orders   []marketplace.Order
	topUps   []ids.TopUp
	credits  int // that were posted
	outcomes map[string]int
	failures []error
}

// stall is an agent that is for sale.
type stall struct {
	agent   product.Agent
	version product.Version
	terms   func(r *rand.Rand, p *marketplace.Price)
	kinds   []marketplace.OrderKind // in which it is sold, mostly
}

// terms are the ways in which the agents are paid for; amounts are random.
var terms = map[string]func(r *rand.Rand, p *marketplace.Price){
	"a-run": func(r *rand.Rand, p *marketplace.Price) {
		p.Model, p.PerRun, p.Trial.Runs = marketplace.ModelPerRun, 1+r.Int64N(2_000), 3
		p.Tiers = []marketplace.Tier{{After: 5, Micros: r.Int64N(1_000)}}
	},
	"b-second": func(r *rand.Rand, p *marketplace.Price) {
		p.Model, p.PerSecond, p.FailedRuns = marketplace.ModelPerSecond, 1+r.Int64N(100), marketplace.FailedRunsCharged
		p.Tiers = []marketplace.Tier{{After: 200, Micros: r.Int64N(30)}}
	},
	"c-event": func(r *rand.Rand, p *marketplace.Price) {
		p.Model, p.PerRun, p.MaxPerRun = marketplace.ModelPerEvent, r.Int64N(300), 2_000
		p.Events = []marketplace.EventPrice{
			{Name: "page", Title: "a page", Micros: 1 + r.Int64N(300)}, {Name: "mail", Title: "a mail", Micros: 1 + r.Int64N(900)},
		}
	},
	"d-month": func(r *rand.Rand, p *marketplace.Price) {
		p.Model, p.Monthly, p.IncludedRuns, p.PerRun = marketplace.ModelSubscription, 1+r.Int64N(6_000), 4, 1+r.Int64N(700)
		p.Trial.Days = 5
	},
	"e-flat": func(r *rand.Rand, p *marketplace.Price) {
		p.Model, p.Monthly = marketplace.ModelSubscription, 1+r.Int64N(6_000)
	},
	"f-free": func(_ *rand.Rand, p *marketplace.Price) { p.Model = marketplace.ModelFree },
}

var someone = audit.System("test")

func newBazaar(t *testing.T, db *store.DB, raw *sql.DB) *bazaar {
	t.Helper()
	b := &bazaar{
		db: db, market: db.Marketplace(), raw: raw, outcomes: map[string]int{},
		first: time.Date(2026, 1, 30, 22, 0, 0, 0, time.UTC),
	}
	b.now = b.first
	for _, name := range []string{"acme", "initech", "globex", "hooli", "umbrella"} {
		org, err := marketplace.NewOrganization(name, b.now)
		require.NoError(t, err)
		require.NoError(t, b.market.CreateOrganization(t.Context(), someone, org))
		if len(b.publishers) < 2 {
			b.publishers = append(b.publishers, org)
		} else {
			b.buyers = append(b.buyers, org)
		}
	}
	r := rand.New(rand.NewPCG(*moneySeed, 0))
	for i, name := range slices.Sorted(maps.Keys(terms)) {
		b.open(t, r, b.publishers[i%2], name)
	}
	return b
}

// open publishes an agent with a price.
func (b *bazaar) open(t *testing.T, r *rand.Rand, org marketplace.Organization, name string) {
	t.Helper()
	agent := product.Agent{
		ID: ids.New[ids.Agent](ids.PrefixAgent), OrgID: org.ID, Publisher: org.Name, Name: name, CreatedAt: b.now, UpdatedAt: b.now,
	}
	version, err := product.NewVersion(agent.ID, agentruntime.Manifest{
		APIVersion: agentruntime.APIVersion, Name: name, Version: "1.0.0", Command: []string{"/agent"},
		Resources: agentruntime.DefaultResources(), Timeouts: agentruntime.DefaultTimeouts(),
	}, "registry.test/a@sha256:"+strings.Repeat("a", 64), b.now)
	require.NoError(t, err)
	agent, version, _, err = b.db.Agents().AddVersion(t.Context(), someone, agent, version)
	require.NoError(t, err)
	l, err := marketplace.NewListing(agent.ID, org, name, marketplace.ListingContent{Title: name, Summary: name}, marketplace.VisibilityPublic, b.now)
	require.NoError(t, err)
	require.NoError(t, b.market.CreateListing(t.Context(), someone, l))
	_, err = b.market.UpdateListing(t.Context(), someone, agent.ID, "listing.submit", nil,
		func(l *marketplace.Listing) error { return l.Submit(nil, false, b.now) })
	require.NoError(t, err)
	s := stall{agent: agent, version: version, terms: terms[name]}
	p := b.price(r, s)
	s.kinds = []marketplace.OrderKind{marketplace.OrderUsage, marketplace.OrderUsage, marketplace.OrderTrial}
	if p.Model == marketplace.ModelSubscription {
		s.kinds = []marketplace.OrderKind{marketplace.OrderSubscription, marketplace.OrderSubscription, marketplace.OrderTrial}
	}
	b.stalls = append(b.stalls, s)
	require.NoError(t, b.market.SetPrice(t.Context(), someone, p, func([]marketplace.Price) error { return nil }))
}

func (b *bazaar) price(r *rand.Rand, s stall) marketplace.Price {
	p := marketplace.Price{
		ID: ids.New[ids.Price](ids.PrefixPrice), AgentID: s.agent.ID, Currency: "USD", FailedRuns: marketplace.FailedRunsFree,
		EffectiveFrom: b.now, CreatedBy: "test", CreatedAt: b.now,
	}
	s.terms(r, &p)
	return p
}

// histories runs batches of random operations, each by so many workers at once,
// and looks at everything after each.
func (b *bazaar) histories(t *testing.T, workers, batches, operations int) {
	t.Helper()
	t.Logf("seed %d (-money.seed)", *moneySeed)
	random := make([]*rand.Rand, workers)
	for i := range random {
		random[i] = rand.New(rand.NewPCG(*moneySeed, uint64(i+1)))
	}
	for batch := range batches {
		var done sync.WaitGroup
		for _, r := range random {
			done.Go(func() {
				for range operations {
					b.operate(t, r)
				}
			})
		}
		done.Wait()
		require.Empty(t, b.failures, "in batch %d", batch)
		b.check(t)
		b.now = b.now.Add(time.Duration(random[0].Int64N(int64(20 * 24 * time.Hour))))
	}
	b.requireVariety(t)
}

// operate carries one random operation out. What a caller may be told is noted;
// everything else is a failure.
func (b *bazaar) operate(t *testing.T, r *rand.Rand) {
	op := operations[r.IntN(len(operations))]
	err := op.run(b, t, r)
	outcome := op.name
	if err != nil {
		outcome += " " + fault.From(err).Code
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.outcomes[outcome]++
	if err != nil && !slices.Contains(denials, fault.KindOf(err)) {
		b.failures = append(b.failures, fmt.Errorf("%s: %w", op.name, err))
	}
}

// denials are what a caller may be told.
var denials = []fault.Kind{fault.PaymentRequired, fault.Forbidden, fault.Conflict, fault.Invalid}

// requireVariety checks that the histories were no quiet ones.
func (b *bazaar) requireVariety(t *testing.T) {
	t.Helper()
	for _, outcome := range slices.Sorted(maps.Keys(b.outcomes)) {
		t.Logf("%5d %s", b.outcomes[outcome], outcome)
	}
	for _, op := range operations {
		require.NotZero(t, b.outcomes[op.name], "%s never worked", op.name)
	}
	if len(b.runs) < 400 {
		return // too few to count on every denial
	}
	for _, denial := range []string{
		"admit " + marketplace.CodeInsufficientFunds, "admit " + marketplace.CodePaymentRequired,
		"admit " + marketplace.CodeSpendLimitReached, "charge run_ended", "refund refund_amount",
		"payout " + marketplace.CodeInsufficientFunds,
	} {
		require.NotZero(t, b.outcomes[denial], "%s never happened", denial)
	}
	for _, query := range []string{
		"SELECT COUNT(*) FROM audit_entries WHERE action = 'order.renew'", "SELECT COUNT(*) FROM audit_entries WHERE action = 'order.end'",
		"SELECT COUNT(*) FROM spend_alerts", "SELECT COUNT(*) FROM ledger_lines WHERE account_id LIKE 'wallet:%' AND balance_micros < 0",
		"SELECT COUNT(*) FROM holds WHERE settled_at IS NULL AND amount_micros > 0",
	} {
		require.NotZero(t, b.number(t, query), query)
	}
}

// one picks one of a list; the newest are likelier where there are many.
func one[T any](r *rand.Rand, list []T) T {
	if len(list) > 40 && r.IntN(10) > 0 {
		list = list[len(list)-40:]
	}
	return list[r.IntN(len(list))]
}

func usd(micros int64) money.Amount { return money.Of(micros, "USD") }
