package marketplace_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"agentmarket/fault"
	"agentmarket/marketplace"
	"agentmarket/money"
)

// anything is a caller who names no budget.
var anything = money.Amount{}

func TestQuote(t *testing.T) {
	tiered := tiers(marketplace.Tier{After: 10, Micros: 50}, marketplace.Tier{After: 100, Micros: 0})
	bounded := func(p *marketplace.Price) { p.MaxPerRun = 1500 }
	perRun, perSecond := price(marketplace.ModelPerRun), price(marketplace.ModelPerSecond)
	const forever = time.Duration(math.MaxInt64)
	for name, tc := range map[string]struct {
		price          marketplace.Price
		timeout        time.Duration
		most           money.Amount
		used           int64
		least, largest int64
		affordable     time.Duration
		included       bool
		code           string
	}{
		"free":                   {price(marketplace.ModelFree), time.Minute, anything, 0, 0, 0, 0, true, ""},
		"free for nothing":       {price(marketplace.ModelFree), time.Minute, usd(0), 0, 0, 0, 0, true, ""},
		"per run":                {perRun, time.Minute, anything, 0, 250_000, 250_000, 0, false, ""},
		"per run, exactly":       {perRun, time.Minute, usd(250_000), 0, 250_000, 250_000, 0, false, ""},
		"per run, too little":    {perRun, time.Minute, usd(249_999), 0, 0, 0, 0, false, marketplace.CodeBudgetTooLow},
		"per run, nothing":       {perRun, time.Minute, usd(0), 0, 0, 0, 0, false, marketplace.CodeBudgetTooLow},
		"per run, less":          {perRun, time.Minute, usd(-1), 0, 0, 0, 0, false, marketplace.CodeBudgetTooLow},
		"per run, before a tier": {price(marketplace.ModelPerRun, tiered), time.Minute, anything, 9, 250_000, 250_000, 0, false, ""},
		"per run, in a tier":     {price(marketplace.ModelPerRun, tiered), time.Minute, usd(50), 10, 50, 50, 0, false, ""},
		"per run, free tier":     {price(marketplace.ModelPerRun, tiered), time.Minute, usd(0), 100, 0, 0, 0, false, ""},

		"per second":                  {perSecond, 90 * time.Second, anything, 0, 100, 9000, 90 * time.Second, false, ""},
		"per second, begun ones":      {perSecond, 1500 * time.Millisecond, anything, 0, 100, 200, 2 * time.Second, false, ""},
		"per second, no time":         {perSecond, 0, anything, 0, 100, 100, time.Second, false, ""},
		"per second, negative time":   {perSecond, -time.Hour, anything, 0, 100, 100, time.Second, false, ""},
		"per second, for ever":        {perSecond, forever, anything, 0, 100, 922_337_203_700, 9_223_372_036 * time.Second, false, ""},
		"per second, budget":          {perSecond, time.Hour, usd(1050), 0, 100, 1050, 10 * time.Second, false, ""},
		"per second, too little":      {perSecond, time.Hour, usd(99), 0, 0, 0, 0, false, marketplace.CodeBudgetTooLow},
		"per second, bounded":         {price(marketplace.ModelPerSecond, bounded), time.Hour, anything, 0, 100, 1500, 15 * time.Second, false, ""},
		"per second, budget below it": {price(marketplace.ModelPerSecond, bounded), time.Hour, usd(300), 0, 100, 300, 3 * time.Second, false, ""},
		"per second, budget above it": {price(marketplace.ModelPerSecond, bounded), time.Hour, usd(1 << 50), 0, 100, 1500, 15 * time.Second, false, ""},
		"per second, in a tier":       {price(marketplace.ModelPerSecond, tiered), time.Minute, anything, 99, 50, 3000, time.Minute, false, ""},
		"per second, free tier":       {price(marketplace.ModelPerSecond, tiered), time.Minute, anything, 100, 0, 0, 0, false, ""},
		"per second, as dear as can be": {price(marketplace.ModelPerSecond, func(p *marketplace.Price) { p.PerSecond = marketplace.MaxUnitPrice }),
			forever, anything, 0, marketplace.MaxUnitPrice, money.MaxMicros, 1_000_000 * time.Second, false, ""},

		"per event":             {price(marketplace.ModelPerEvent), time.Hour, anything, 0, 1000, 500_000, 0, false, ""},
		"per event, budget":     {price(marketplace.ModelPerEvent), time.Hour, usd(4000), 0, 1000, 4000, 0, false, ""},
		"per event, too little": {price(marketplace.ModelPerEvent), time.Hour, usd(999), 0, 0, 0, 0, false, marketplace.CodeBudgetTooLow},
		"per event, large":      {price(marketplace.ModelPerEvent), time.Hour, usd(1 << 50), 0, 1000, 500_000, 0, false, ""},

		"beyond a subscription": {price(marketplace.ModelSubscription), time.Hour, anything, 101, 300_000, 300_000, 0, false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			require.NoError(t, tc.price.Check())
			q, err := tc.price.Quote(tc.timeout, tc.most, tc.used)
			if tc.code != "" {
				denied(t, err, fault.PaymentRequired, tc.code)
				return
			}
			require.NoError(t, err)
			require.Empty(t, cmp.Diff(marketplace.Quote{
				Minimum: usd(tc.least), Maximum: usd(tc.largest), Affordable: tc.affordable, Included: tc.included,
			}, q))
		})
	}
}

func TestQuoteRefusesWhatItDoesNotKnow(t *testing.T) {
	for _, model := range marketplace.Models() {
		_, err := price(model).Quote(time.Minute, money.Of(1<<50, "EUR"), 0)
		require.Equal(t, []string{"/max_cost/currency"}, pointers(t, err), model)
	}
	_, err := price("per_token").Quote(time.Minute, anything, 0)
	require.Equal(t, fault.Internal, fault.KindOf(err), "a model of a newer platform is not free")
}

// Whatever is asked for, a quote is within the budget, its minimum within its
// maximum, and the time that it affords is paid for.
func TestQuotesAreConsistent(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for range 20_000 {
		p := randomPrice(r)
		timeout, most, used := time.Duration(r.Int64N(20_000))*time.Millisecond, usd(r.Int64N(20)), r.Int64N(10)
		q, err := p.Quote(timeout, most, used)
		about := fmt.Sprintf("%+v %s %s %d: %+v", p, timeout, most, used, q)
		if err != nil {
			denied(t, err, fault.PaymentRequired, marketplace.CodeBudgetTooLow, about)
			continue
		}
		require.GreaterOrEqual(t, q.Minimum.Micros, int64(0), about)
		require.LessOrEqual(t, q.Minimum.Micros, q.Maximum.Micros, about)
		require.LessOrEqual(t, q.Maximum.Micros, most.Micros, about)
		if p.MaxPerRun > 0 {
			require.LessOrEqual(t, q.Maximum.Micros, p.MaxPerRun, about)
		}
		if p.Model == marketplace.ModelPerSecond && p.Unit(used) > 0 {
			require.Positive(t, q.Affordable, about)
			require.LessOrEqual(t, int64(q.Affordable/time.Second)*p.Unit(used), q.Maximum.Micros, about)
		}
	}
}
