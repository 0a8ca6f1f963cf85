package bench

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	enums "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"agentmarket/ids"
	"agentmarket/infra"
	"agentmarket/internal/simulate"
	"agentmarket/product"
)

const (
	// workflowRound is how many runs go through the whole workflow at once.
	workflowRound = 200
	// maxHistory bounds the events in the history of a run.
	maxHistory = 28
	// handOverTarget bounds the median of the time between the end of a run and
	// the start of the next one.
	handOverTarget = 200 * time.Millisecond
)

// BenchmarkWorkflow sends runs through the whole workflow, with Jobs that end at
// once, and compares their rate with that of a workflow of two activities that do
// nothing, on the same Temporal server and in turns.
func BenchmarkWorkflow(b *testing.B) {
	for name, onPostgres := range map[string]bool{"Temporal on SQLite": false, "Temporal on PostgreSQL": true} {
		b.Run(name, func(b *testing.B) {
			p := simulate.NewPlatform(b, simulate.Options{TemporalOnPostgres: onPostgres})
			p.Jobs.Duration = func(infra.Sandbox) time.Duration { return time.Millisecond }
			p.StartWorker(b)
			startBareWorker(b, p.Temporal)
			version := p.Agent(b, "bench")
			sendRuns(b, p, version, 20) // warm
			sendBare(b, p.Temporal, 20)
			var runs, bare time.Duration
			rounds := 0
			var events []int
			for b.Loop() {
				if rounds == 3 { // each is hundreds of samples
					continue
				}
				began := time.Now()
				sent := sendRuns(b, p, version, workflowRound)
				runs += time.Since(began)
				events = append(events, historyOf(b, p.Temporal, string(sent[0].ID)))
				began = time.Now()
				sendBare(b, p.Temporal, workflowRound)
				bare += time.Since(began)
				rounds++
			}
			perSecond := func(d time.Duration) float64 { return float64(rounds*workflowRound) / d.Seconds() }
			fmt.Printf("\n| %s | per second | ratio | events of history |\n|---|---|---|---|\n", name)
			fmt.Printf("| two activities that do nothing | %.1f | 1 | 17 |\n", perSecond(bare))
			fmt.Printf("| run of an agent | %.1f | %.2f | %d |\n", perSecond(runs), bare.Seconds()/runs.Seconds(), slices.Max(events))
			b.ReportMetric(bare.Seconds()/runs.Seconds(), "ratio-to-two-activities")
			b.ReportMetric(float64(slices.Max(events)), "events")
			b.ReportMetric(0, "ns/op")
			require.LessOrEqual(b, slices.Max(events), maxHistory)
		})
	}
}

// sendRuns starts runs as the API does and waits for their ends.
func sendRuns(b *testing.B, p *simulate.Platform, v product.Version, n int) []product.Run {
	b.Helper()
	runs := make([]product.Run, n)
	for i := range runs {
		runs[i] = p.Run(b, v, ids.Key(fmt.Sprintf("key_%d", i%2)))
	}
	together(runs, func(r product.Run) {
		p.StartRun(b, r)
		require.NoError(b, p.Conductor.WaitRun(b.Context(), r.ID))
	})
	return runs
}

// together calls do for all, 200 at a time.
func together[T any](all []T, do func(T)) {
	work := make(chan T)
	var group sync.WaitGroup
	for range min(len(all), 200) {
		group.Go(func() {
			for one := range work {
				do(one)
			}
		})
	}
	for _, one := range all {
		work <- one
	}
	close(work)
	group.Wait()
}

const bareQueue = "bench-bare"

func nothing(context.Context) error { return nil }

// twoNothings is the workflow to compare with.
func twoNothings(ctx workflow.Context) error {
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{StartToCloseTimeout: time.Minute})
	for range 2 {
		if err := workflow.ExecuteActivity(ctx, nothing).Get(ctx, nil); err != nil {
			return err
		}
	}
	return nil
}

func startBareWorker(b *testing.B, c client.Client) {
	b.Helper()
	w := worker.New(c, bareQueue, worker.Options{})
	w.RegisterWorkflow(twoNothings)
	w.RegisterActivity(nothing)
	require.NoError(b, w.Start())
	b.Cleanup(w.Stop)
}

func sendBare(b *testing.B, c client.Client, n int) {
	b.Helper()
	together(make([]struct{}, n), func(struct{}) {
		run, err := c.ExecuteWorkflow(b.Context(), client.StartWorkflowOptions{TaskQueue: bareQueue}, twoNothings)
		require.NoError(b, err)
		require.NoError(b, run.Get(b.Context(), nil))
	})
}

// historyOf counts the events of a workflow.
func historyOf(b *testing.B, c client.Client, id string) int {
	b.Helper()
	history := c.GetWorkflowHistory(b.Context(), id, "", false, enums.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	n := 0
	for history.HasNext() {
		_, err := history.Next()
		require.NoError(b, err)
		n++
	}
	return n
}

// BenchmarkHandOver measures how long a slot is empty: from the end of a run to
// the start of the next one of its organization, which has waited for it.
func BenchmarkHandOver(b *testing.B) {
	p := simulate.NewPlatform(b, simulate.Options{Quota: product.Quota{ConcurrentRuns: 10}})
	p.Jobs.Duration = func(infra.Sandbox) time.Duration { return 500 * time.Millisecond }
	p.StartWorker(b)
	version := p.Agent(b, "bench")
	var gaps []time.Duration
	for b.Loop() {
		if len(gaps) > 0 {
			continue
		}
		sent := sendRuns(b, p, version, workflowRound)
		var starts, ends []time.Time
		for _, r := range sent {
			events, err := p.DB.Runs().Events(b.Context(), r.ID, 0, 100)
			require.NoError(b, err)
			for _, e := range events {
				switch e.Type {
				case product.EventAttemptCreated:
					starts = append(starts, e.At)
				case product.EventEnded:
					ends = append(ends, e.At)
				default: // says nothing of the slot
				}
			}
		}
		slices.SortFunc(starts, time.Time.Compare)
		slices.SortFunc(ends, time.Time.Compare)
		for i, start := range starts[10:] {
			gaps = append(gaps, start.Sub(ends[i]))
		}
	}
	slices.SortFunc(gaps, cmp.Compare)
	fmt.Printf("\n| hand-overs | p50 | p99 |\n|---|---|---|\n| %d | %s | %s |\n", len(gaps), millis(quantile(gaps, 0.5)), millis(quantile(gaps, 0.99)))
	b.ReportMetric(float64(quantile(gaps, 0.5).Milliseconds()), "p50-ms")
	b.ReportMetric(0, "ns/op")
	require.Less(b, quantile(gaps, 0.5), handOverTarget)
}
