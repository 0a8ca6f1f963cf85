package marketplace_test

import (
	"fmt"
	"os"
	"time"

	"agentmarket/marketplace"
	"agentmarket/money"
	"agentmarket/product"
)

// finished is a run whose process ran that long and ended for a reason.
func finished(reason product.Reason, took time.Duration) product.Run {
	return product.Run{Reason: reason, Attempts: []product.Attempt{{
		Number: 1, Reason: reason, StartedAt: now, FinishedAt: now.Add(took),
	}}}
}

func show(s marketplace.Settlement) {
	for _, l := range s.Lines {
		fmt.Fprintln(os.Stdout, l.Kind, l.Event, l.Quantity, l.Amount)
	}
	fmt.Fprintln(os.Stdout, "total", s.Total, "of which the platform gets", s.Fee)
}

// A run of 41.2 seconds under a price of 0.0001 USD a second: begun seconds count
// whole, and the platform takes 20 %.
func ExampleSettle() {
	hold := marketplace.Hold{
		Price:  marketplace.Price{Model: marketplace.ModelPerSecond, Currency: "USD", PerSecond: 100},
		Amount: money.Of(6000, "USD"), FeeBasisPoints: 2000,
	}
	show(marketplace.Settle(hold, finished(product.ReasonOK, 41200*time.Millisecond), marketplace.Used{}))
	// Output:
	// run_time  42 0.004200 USD
	// total 0.004200 USD of which the platform gets 0.000840 USD
}

// What an agent charged for is on the bill by name, and what is over the budget
// is taken back.
func ExampleSettle_events() {
	hold := marketplace.Hold{
		Price: marketplace.Price{
			Model: marketplace.ModelPerEvent, Currency: "USD", PerRun: 1000, MaxPerRun: 100_000,
			Events: []marketplace.EventPrice{{Name: "page", Title: "A page that was read", Micros: 2000}},
		},
		Amount: money.Of(100_000, "USD"), FeeBasisPoints: 2000,
	}
	events := []marketplace.EventCharge{
		{Key: "a", Event: "page", Count: 40, Amount: money.Of(80_000, "USD")},
		{Key: "b", Event: "page", Count: 10, Amount: money.Of(20_000, "USD")},
	}
	show(marketplace.Settle(hold, finished(product.ReasonOK, time.Second), marketplace.Used{Events: events}))
	// Output:
	// run  1 0.001000 USD
	// event page 50 0.100000 USD
	// budget_cap  1 -0.001000 USD
	// total 0.100000 USD of which the platform gets 0.020000 USD
}

// Who cancels pays the time until the signal, however long the agent takes to
// clean up.
func ExampleSettle_canceled() {
	hold := marketplace.Hold{
		Price:  marketplace.Price{Model: marketplace.ModelPerSecond, Currency: "USD", PerSecond: 100},
		Amount: money.Of(6000, "USD"),
	}
	run := finished(product.ReasonCanceled, 30*time.Second)
	run.Cancel = &product.Cancel{SignaledAt: now.Add(3 * time.Second)}
	show(marketplace.Settle(hold, run, marketplace.Used{}))
	// Output:
	// run_time  3 0.000300 USD
	// total 0.000300 USD of which the platform gets 0.000000 USD
}

// What the platform broke costs nothing, whatever the price says.
func ExampleSettle_platformFailure() {
	hold := marketplace.Hold{
		Price: marketplace.Price{
			Model: marketplace.ModelPerRun, Currency: "USD", PerRun: 250_000, FailedRuns: marketplace.FailedRunsCharged,
		},
		Amount: money.Of(250_000, "USD"),
	}
	show(marketplace.Settle(hold, finished(product.ReasonPlatformError, time.Minute), marketplace.Used{}))
	// Output:
	// total 0.000000 USD of which the platform gets 0.000000 USD
}

// The price is a cent a second, the caller gives ten cents: the process is
// stopped after ten seconds.
func ExamplePrice_Quote() {
	price := marketplace.Price{Model: marketplace.ModelPerSecond, Currency: "USD", PerSecond: 10_000}
	quote, err := price.Quote(5*time.Minute, money.Of(100_000, "USD"), 0)
	fmt.Println(quote.Minimum, "to", quote.Maximum, "for", quote.Affordable, err)
	// Output:
	// 0.010000 USD to 0.100000 USD for 10s <nil>
}

// A misspelt word is as similar as it shares trigrams with the right one.
func ExampleSimilarity() {
	fmt.Printf("%.6f\n", marketplace.Similarity("word", "two words"))
	// Output:
	// 0.363636
}
