package marketplace_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/stretchr/testify/require"

	"agentmarket/infra"
	"agentmarket/marketplace"
	"agentmarket/money"
	"agentmarket/product"
)

// hold is what is put aside for a run of a minute under a price.
func hold(t *testing.T, p marketplace.Price) marketplace.Hold {
	t.Helper()
	q, err := p.Quote(time.Minute, anything, 0)
	require.NoError(t, err)
	h := marketplace.Hold{
		RunID: "run_1", OrgID: "org_buyer", AgentID: "agt_1", Publisher: "org_acme", EntitlementID: "ent_1",
		Source: marketplace.SourcePurchase, Price: p, Amount: q.Maximum, Affordable: q.Affordable, FeeBasisPoints: 2000,
		Month: marketplace.MonthOf(now), CreatedAt: now,
	}
	if p.Model == marketplace.ModelFree { // as Admit leaves it: nothing to pay
		h.Price, h.Amount, h.Included, h.Source = marketplace.Price{}, anything, true, marketplace.SourceFree
	}
	return h
}

// ended is a run that ended for a reason, with attempts that ran that long and
// ended for theirs.
func ended(reason product.Reason, attempts ...product.Attempt) product.Run {
	r := product.Run{ID: "run_1", OrgID: "org_buyer", Reason: reason, Status: product.RuleOf(reason).Status, Cause: product.RuleOf(reason).Cause}
	for i, a := range attempts {
		a.Number = i + 1
		r.Attempts = append(r.Attempts, a)
	}
	return r
}

func ran(d time.Duration, reason product.Reason) product.Attempt {
	return product.Attempt{Reason: reason, CreatedAt: now, StartedAt: now.Add(time.Second), FinishedAt: now.Add(time.Second + d)}
}

var neverStarted = product.Attempt{Reason: product.ReasonPlatformError, CreatedAt: now, FinishedAt: now.Add(time.Second)}

func canceledAfter(d time.Duration, r product.Run) product.Run {
	r.Cancel = &product.Cancel{RequestedBy: "key_1", SignaledAt: now.Add(time.Second + d)}
	return r
}

const (
	agentError   = product.Reason(infra.ReasonAgentError)
	evicted      = product.Reason(infra.ReasonEvicted)
	imageInvalid = product.Reason(infra.ReasonImageInvalid)
)

var twoPages = []marketplace.EventCharge{
	{Key: "1", Event: "page", Count: 1, Amount: usd(2000)}, {Key: "2", Event: "image", Count: 3, Amount: usd(30_000)},
	{Key: "3", Event: "page", Count: 1, Amount: usd(2000)},
}

// bill is what a settlement comes to.
type bill struct {
	run, seconds, events, capped int64 // amounts of the lines
	counted                      bool
	time                         int64 // seconds
}

func billOf(t *testing.T, s marketplace.Settlement) (b bill) {
	t.Helper()
	sum := int64(0)
	for _, l := range s.Lines {
		switch sum += l.Amount.Micros; l.Kind {
		case marketplace.LineRun:
			b.run += l.Amount.Micros
		case marketplace.LineTime:
			b.seconds += l.Amount.Micros
		case marketplace.LineEvent, marketplace.LineModel:
			b.events += l.Amount.Micros
		case marketplace.LineCap:
			b.capped += l.Amount.Micros
		}
		require.Positive(t, l.Quantity)
	}
	require.Equal(t, sum, s.Total.Micros, "a bill is the sum of its lines")
	require.Equal(t, s.Total.Micros*2000/10_000, s.Fee.Micros)
	b.counted, b.time = s.Counted, s.Seconds
	return b
}

// TestSettle has a row for every end of a run, and what it costs under every
// model: the run itself, its time, its events.
func TestSettle(t *testing.T) {
	whole := func(seconds int64) map[marketplace.Model]bill {
		return map[marketplace.Model]bill{
			marketplace.ModelFree:         {counted: true, time: seconds},
			marketplace.ModelPerRun:       {run: 250_000, counted: true, time: seconds},
			marketplace.ModelPerSecond:    {seconds: 100 * seconds, counted: true, time: seconds},
			marketplace.ModelPerEvent:     {run: 1000, events: 34_000, counted: true, time: seconds},
			marketplace.ModelSubscription: {run: 300_000, counted: true, time: seconds},
		}
	}
	nothing := func(counted bool, seconds int64) map[marketplace.Model]bill {
		bills := map[marketplace.Model]bill{}
		for _, m := range marketplace.Models() {
			bills[m] = bill{counted: counted, time: seconds}
		}
		return bills
	}
	hurried := func(asked, planned time.Duration) product.Run {
		r := ended(product.ReasonDeadline, ran(planned, product.ReasonDeadline))
		r.Request.RunTimeout, r.Plan = asked, &product.Plan{Deadlines: product.Deadlines{Run: planned}}
		return r
	}
	for name, tc := range map[string]struct {
		run        product.Run
		free, dear map[marketplace.Model]bill // failed runs are free, are charged
	}{
		"succeeded":                  {run: ended(product.ReasonOK, ran(10*time.Second, product.ReasonOK)), dear: whole(10)},
		"succeeded at once":          {run: ended(product.ReasonOK, ran(0, product.ReasonOK)), dear: whole(1)},
		"succeeded in a begun one":   {run: ended(product.ReasonOK, ran(1001*time.Millisecond, product.ReasonOK)), dear: whole(2)},
		"agent failed":               {run: ended(agentError, ran(10*time.Second, agentError)), free: nothing(true, 10), dear: whole(10)},
		"out of memory":              {run: ended(product.Reason(infra.ReasonAgentOOM), ran(time.Second, product.Reason(infra.ReasonAgentOOM))), free: nothing(true, 1), dear: whole(1)},
		"timed out":                  {run: ended(product.ReasonDeadline, ran(60*time.Second, product.ReasonDeadline)), free: nothing(true, 60), dear: whole(60)},
		"timed out by the agent's":   {run: hurried(time.Hour, 60*time.Second), free: nothing(true, 60), dear: whole(60)},
		"timed out by the caller's":  {run: hurried(20*time.Second, 20*time.Second), dear: whole(20)},
		"budget exhausted":           {run: ended(product.ReasonBudgetExhausted, ran(60*time.Second, product.ReasonBudgetExhausted)), dear: whole(60)},
		"platform failed":            {run: ended(evicted, ran(10*time.Second, evicted)), dear: nothing(false, 0)},
		"publisher failed":           {run: ended(imageInvalid, neverStarted), dear: nothing(false, 0)},
		"platform error":             {run: ended(product.ReasonPlatformError, neverStarted), dear: nothing(false, 0)},
		"a reason of a newer worker": {run: ended("meteor", ran(10*time.Second, "meteor")), dear: nothing(false, 0)},
		"rejected":                   {run: ended(product.ReasonNotEntitled), dear: nothing(false, 0)},
		"no money":                   {run: ended(product.ReasonPaymentRequired), dear: nothing(false, 0)},
		"expired":                    {run: ended(product.ReasonQueueTimeout), dear: nothing(false, 0)},
		"never started":              {run: ended(agentError, neverStarted), dear: nothing(false, 0)},
		"canceled in the queue":      {run: canceledAfter(-time.Second, ended(product.ReasonCanceled)), dear: nothing(false, 0)},
		"canceled before its start": {
			run: canceledAfter(-time.Second, ended(product.ReasonCanceled, ran(10*time.Second, product.ReasonCanceled))), dear: nothing(false, 0),
		},
		"canceled, with a long grace": {
			run: canceledAfter(5*time.Second, ended(product.ReasonCanceled, ran(60*time.Second, product.ReasonCanceled))), dear: whole(5),
		},
		"ended well in spite of a cancel": { // what was delivered is paid
			run: canceledAfter(5*time.Second, ended(product.ReasonOK, ran(60*time.Second, product.ReasonOK))), dear: whole(60),
		},
		"ended well, canceled before its start": {
			run: canceledAfter(-time.Second, ended(product.ReasonOK, ran(10*time.Second, product.ReasonOK))), dear: whole(10),
		},
		"evicted, then succeeded": {
			run: ended(product.ReasonOK, ran(30*time.Second, evicted), ran(10*time.Second, product.ReasonOK)), dear: whole(10),
		},
		"evicted, then failed": {
			run: ended(agentError, ran(30*time.Second, evicted), ran(10*time.Second, agentError)), free: nothing(true, 10), dear: whole(10),
		},
		"evicted twice": {run: ended(evicted, ran(30*time.Second, evicted), ran(10*time.Second, evicted)), dear: nothing(false, 0)},
	} {
		for _, model := range marketplace.Models() {
			for _, rule := range []marketplace.FailedRuns{marketplace.FailedRunsFree, marketplace.FailedRunsCharged} {
				t.Run(fmt.Sprintf("%s, %s, %s", name, model, rule), func(t *testing.T) {
					p := price(model, func(p *marketplace.Price) { p.FailedRuns = rule })
					var events []marketplace.EventCharge
					if model == marketplace.ModelPerEvent {
						events = twoPages
					}
					want := tc.dear
					if tc.free != nil && rule == marketplace.FailedRunsFree {
						want = tc.free
					}
					h := hold(t, p)
					s := marketplace.Settle(h, tc.run, marketplace.Used{Events: events})
					require.Empty(t, cmp.Diff(want[model], billOf(t, s), cmp.AllowUnexported(bill{})))
					require.LessOrEqual(t, s.Total.Micros, h.Amount.Micros, "never more than was held")
					require.Equal(t, h.Price.Currency, s.Total.Currency)
					require.Empty(t, cmp.Diff(s, marketplace.Settle(h, tc.run, marketplace.Used{Events: events})), "the same run gives the same bill")
				})
			}
		}
	}
}

func TestSettleItemizes(t *testing.T) {
	s := marketplace.Settle(hold(t, price(marketplace.ModelPerEvent)), ended(product.ReasonOK, ran(time.Second, product.ReasonOK)), marketplace.Used{Events: twoPages})
	require.Empty(t, cmp.Diff([]marketplace.CostLine{
		{Kind: marketplace.LineRun, Quantity: 1, Amount: usd(1000)},
		{Kind: marketplace.LineEvent, Event: "page", Quantity: 2, Amount: usd(4000)},
		{Kind: marketplace.LineEvent, Event: "image", Quantity: 3, Amount: usd(30_000)},
	}, s.Lines))
	require.Equal(t, usd(35_000), s.Total)
	require.Equal(t, usd(7000), s.Fee)

	s = marketplace.Settle(hold(t, price(marketplace.ModelPerSecond)), ended(product.ReasonOK, ran(90*time.Second, product.ReasonOK)), marketplace.Used{})
	require.Empty(t, cmp.Diff([]marketplace.CostLine{
		{Kind: marketplace.LineTime, Quantity: 90, Amount: usd(9000)},
		{Kind: marketplace.LineCap, Quantity: 1, Amount: usd(-3000)},
	}, s.Lines), "the process was stopped a little late: nobody pays for that")
	require.Equal(t, usd(6000), s.Total)

	// Without an entrance fee there is no line of it.
	h := hold(t, price(marketplace.ModelPerEvent, func(p *marketplace.Price) { p.PerRun = 0 }))
	require.Empty(t, marketplace.Settle(h, ended(product.ReasonOK, ran(time.Second, product.ReasonOK)), marketplace.Used{}).Lines)
}

func TestEventsOverTheBudgetAreCapped(t *testing.T) {
	h := hold(t, price(marketplace.ModelPerEvent))
	events := []marketplace.EventCharge{
		{Event: "page", Count: 1, Amount: usd(money.MaxMicros)}, {Event: "page", Count: 1, Amount: usd(money.MaxMicros)},
		{Event: "image", Count: 1, Amount: usd(money.MaxMicros)},
	}
	s := marketplace.Settle(h, ended(product.ReasonBudgetExhausted, ran(time.Second, product.ReasonBudgetExhausted)), marketplace.Used{Events: events})
	require.Equal(t, h.Amount, s.Total)
	require.Equal(t, marketplace.LineCap, s.Lines[len(s.Lines)-1].Kind)
	require.Negative(t, s.Lines[len(s.Lines)-1].Amount.Micros)
}

func TestIncludedRunsCostNothing(t *testing.T) {
	for _, model := range marketplace.Models() {
		h := hold(t, price(model, charged))
		h.Included, h.Amount = true, h.Price.Of(0)
		s := marketplace.Settle(h, ended(product.ReasonOK, ran(10*time.Second, product.ReasonOK)), marketplace.Used{})
		require.Empty(t, cmp.Diff(marketplace.Settlement{Total: h.Price.Of(0), Fee: h.Price.Of(0), Counted: true, Seconds: 10}, s, cmpopts.EquateEmpty()), model)
	}
}

func TestRunsKeepThePriceTheyStartedWith(t *testing.T) {
	steps := tiers(marketplace.Tier{After: 10, Micros: 50})
	for _, model := range []marketplace.Model{marketplace.ModelPerRun, marketplace.ModelPerSecond} {
		h := hold(t, price(model, steps))
		h.Used = 10
		s := marketplace.Settle(h, ended(product.ReasonOK, ran(3*time.Second, product.ReasonOK)), marketplace.Used{})
		want := map[marketplace.Model]int64{marketplace.ModelPerRun: 50, marketplace.ModelPerSecond: 150}[model]
		require.Equal(t, usd(want), s.Total, model)
	}
}

func TestFeesAreRoundedForThePublisher(t *testing.T) {
	for points, fee := range map[int64]int64{0: 0, 1: 0, 3333: 2, 9999: 6, 10_000: 7} {
		h := hold(t, price(marketplace.ModelPerRun, func(p *marketplace.Price) { p.PerRun = 7 }))
		h.FeeBasisPoints = points
		s := marketplace.Settle(h, ended(product.ReasonOK, ran(time.Second, product.ReasonOK)), marketplace.Used{})
		require.Equal(t, usd(fee), s.Fee, points)
	}
}

// No end of a run costs more than what was held, less than nothing, or anything
// where the platform failed.
func TestSettlementsAreBounded(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	reasons := []product.Reason{product.ReasonOK, product.ReasonDeadline, product.ReasonCanceled, product.ReasonBudgetExhausted,
		agentError, evicted, imageInvalid, product.ReasonPlatformError}
	for range 20_000 {
		p := randomPrice(r)
		h := hold(t, p)
		h.Used, h.Included, h.FeeBasisPoints = r.Int64N(12), r.IntN(4) == 0, r.Int64N(10_001)
		h.Amount = usd(r.Int64N(max(1, h.Amount.Micros+1)))
		var attempts []product.Attempt
		for range r.IntN(3) {
			attempts = append(attempts, ran(time.Duration(r.Int64N(90_000))*time.Millisecond, reasons[r.IntN(len(reasons))]))
		}
		run := ended(reasons[r.IntN(len(reasons))], attempts...)
		if r.IntN(3) == 0 {
			run = canceledAfter(time.Duration(r.Int64N(90_000)-2000)*time.Millisecond, run)
		}
		s := marketplace.Settle(h, run, marketplace.Used{Events: []marketplace.EventCharge{{Event: "page", Count: 1, Amount: usd(r.Int64N(9))}}})
		about := fmt.Sprintf("%+v\n%+v\n%+v", h, run, s)
		require.GreaterOrEqual(t, s.Total.Micros, int64(0), about)
		require.LessOrEqual(t, s.Total.Micros, h.Amount.Micros, about)
		require.GreaterOrEqual(t, s.Fee.Micros, int64(0), about)
		require.LessOrEqual(t, s.Fee.Micros, s.Total.Micros, about)
		if !product.RuleOf(run.Reason).Charged {
			require.True(t, s.Total.IsZero() && !s.Counted, about)
		}
		require.Equal(t, s.Counted, s.Seconds > 0, about)
		total := int64(0)
		for _, l := range s.Lines {
			total += l.Amount.Micros
		}
		require.Equal(t, s.Total.Micros, total, about)
	}
}
