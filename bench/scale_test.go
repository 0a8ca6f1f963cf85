package bench

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/api/workflowservice/v1"
	corev1 "k8s.io/api/core/v1"

	"agentmarket/internal/testenv"
)

const (
	// maxWaitingMemory bounds the memory of a worker for each run that waits.
	maxWaitingMemory = 20 << 10
	// endTarget bounds p99 of the time from the end of a pod to the terminal record, at
	// endRate ends a second.
	endTarget = 250 * time.Millisecond
	endRate   = 50
	// quietTime is how long is looked at while nothing happens: workers tell Temporal of
	// themselves, and the platform reconciles, once a minute.
	quietTime = 65 * time.Second
	// memoryTime is how long the memory is looked at after the first collection of garbage.
	memoryTime = 30 * time.Second
)

// waitingRuns is how many runs wait at once.
func waitingRuns(b *testing.B) int {
	b.Helper()
	text := os.Getenv("AGENTMARKET_BENCH_WAITING")
	if text == "" {
		return 5000
	}
	n, err := strconv.Atoi(text)
	require.NoError(b, err)
	return n
}

// BenchmarkScaleWaiting has thousands of runs wait for their pods on simulated nodes,
// looks at what that costs while nothing happens, and then lets pods end at a steady
// rate.
func BenchmarkScaleWaiting(b *testing.B) {
	w := startWorld(b)
	w.untilTerminal(b, w.start(b, 100), 5*time.Minute) // warm
	w.untilGone(b, w.Namespace)
	w.mu.Lock()
	w.hold = true
	w.mu.Unlock()
	n := waitingRuns(b)
	seen := map[int]memory{}
	var quiet quietness
	var ends []endings
	for b.Loop() {
		if len(ends) > 0 {
			continue
		}
		seen[0] = w.memoryAfterGC(b)
		began := time.Now()
		w.start(b, n/5)
		w.untilRunning(b, n/5)
		seen[n/5] = w.memoryAfterGC(b)
		w.start(b, n-n/5)
		w.untilRunning(b, n)
		fmt.Printf("\n%d runs wait; starting them took %.0f s\n", n, time.Since(began).Seconds())
		w.untilQuiet(b)
		quiet = w.watchQuiet(b)
		quiet.print(n)
		seen[n] = w.memoryAfterGC(b)
		printMemory(seen)
		for _, rate := range []int{endRate, 10, 5, 2} {
			ends = append(ends, w.endAtRate(b, rate, max(10*rate, 60)))
		}
	}
	printEnds(ends)
	waiting := (seen[n].inUse - seen[0].inUse) / float64(n) / 1024
	p99 := quantile(ends[0].samples, 0.99)
	b.ReportMetric(waiting, "KiB/waiting-run")
	b.ReportMetric(float64(p99.Milliseconds()), "p99-ms")
	b.ReportMetric(0, "ns/op")
	misses(b, waiting*1024 > maxWaitingMemory, "a waiting run takes %.1f KiB", waiting)
	misses(b, quiet.activitySlots+quiet.workflowSlots > 0, "waiting runs hold slots")
	misses(b, quiet.other.total() > 0, "requests while nothing happens: %v", quiet.other)
	misses(b, p99 > endTarget, "p99 from the end of a pod to the terminal record is %s at %d a second", p99, endRate)
}

// misses says that a bound is missed; the measurement goes on, for the others are of
// interest, too.
func misses(b *testing.B, missed bool, format string, args ...any) {
	b.Helper()
	if missed {
		b.Errorf(format, args...)
	}
}

// memory is that of the worker, in bytes.
type memory struct {
	// inUse are the pages of heap and stacks, live what is in them.
	inUse, live, resident, goroutines float64
}

// memoryAfterGC is the least that is in use while garbage is collected a few times: what
// a collection finds is freed bit by bit until the next one. Go collects every two minutes
// where nothing else makes it.
func (w *world) memoryAfterGC(b *testing.B) memory {
	b.Helper()
	var least memory
	first, since := w.worker(b)["go_gc_duration_seconds_count"], time.Time{}
	require.Eventually(b, func() bool {
		m := w.worker(b)
		if m["go_gc_duration_seconds_count"] == first {
			return false
		}
		if since.IsZero() {
			since = time.Now()
		}
		inUse := m["go_memstats_heap_inuse_bytes"] + m["go_memstats_stack_inuse_bytes"]
		if least.inUse == 0 || inUse < least.inUse {
			least = memory{inUse, least.live, m["process_resident_memory_bytes"], m["go_goroutines"]}
		}
		if live := m["go_memstats_heap_alloc_bytes"] + m["go_memstats_stack_inuse_bytes"]; least.live == 0 || live < least.live {
			least.live = live
		}
		return time.Since(since) > memoryTime
	}, 5*time.Minute, 250*time.Millisecond, "garbage is collected")
	return least
}

// untilRunning waits until so many pods run.
func (w *world) untilRunning(b *testing.B, n int) {
	b.Helper()
	require.Eventually(b, func() bool {
		running := 0
		for _, pod := range w.nodes.Pods(w.Namespace) {
			if pod.Status.Phase == corev1.PodRunning {
				running++
			}
		}
		return running == n
	}, 20*time.Minute, 500*time.Millisecond, "%d pods run", n)
}

// untilQuiet waits until nobody has asked the API server for anything for a while.
func (w *world) untilQuiet(b *testing.B) {
	b.Helper()
	last, since := w.requests(b), time.Now()
	require.Eventually(b, func() bool {
		now := w.requests(b)
		if other, _ := now.since(last).withoutReconciliation(); other.total() != 0 {
			last, since = now, time.Now()
		}
		return time.Since(since) > 15*time.Second
	}, 5*time.Minute, time.Second, "nothing happens any more")
}

// withoutReconciliation are the requests without the pages that the reconciliation
// lists once a minute, which it also does while nothing waits.
func (r requests) withoutReconciliation() (other requests, pages float64) {
	other = requests{}
	for kind, n := range r {
		if kind.verb == "LIST" && (kind.resource == "jobs" || kind.resource == "secrets") {
			pages += n
		} else {
			other[kind] = n
		}
	}
	return other, pages
}

// quietness is what happens while nothing should.
type quietness struct {
	took                                       time.Duration
	other                                      requests
	pages                                      float64
	activitySlots, activityFree, workflowSlots int32
	cpu                                        map[string]float64
}

func (w *world) watchQuiet(b *testing.B) quietness {
	b.Helper()
	began, before, cpu := time.Now(), w.requests(b), w.cpu(b)
	timer := time.NewTimer(quietTime)
	defer timer.Stop()
	<-timer.C
	q := quietness{took: time.Since(began), cpu: sinceCPU(w.cpu(b), cpu)}
	q.other, q.pages = w.requests(b).since(before).withoutReconciliation()
	list, err := w.TemporalClient().WorkflowService().ListWorkers(b.Context(), &workflowservice.ListWorkersRequest{Namespace: testenv.TemporalNamespace})
	require.NoError(b, err)
	seen := 0
	for _, info := range list.GetWorkersInfo() { //nolint:staticcheck // what takes its place has no slots
		h := info.GetWorkerHeartbeat()
		if h.GetHeartbeatTime().AsTime().Before(began) {
			continue
		}
		seen++
		q.activitySlots += h.GetActivityTaskSlotsInfo().GetCurrentUsedSlots()
		q.activityFree += h.GetActivityTaskSlotsInfo().GetCurrentAvailableSlots()
		q.workflowSlots += h.GetWorkflowTaskSlotsInfo().GetCurrentUsedSlots()
	}
	require.GreaterOrEqual(b, seen, 3, "every queue's worker has told Temporal of itself")
	return q
}

// endings are pods that ended at a rate.
type endings struct {
	rate              int
	written, recorded float64 // a second
	took              time.Duration
	samples           []time.Duration
	cpu               map[string]float64
}

// endAtRate ends n pods, so many a second, and waits for their terminal records.
func (w *world) endAtRate(b *testing.B, rate, n int) endings {
	b.Helper()
	var pods []*corev1.Pod
	for _, pod := range w.nodes.Pods(w.Namespace) {
		if pod.Status.Phase == corev1.PodRunning && len(pods) < n {
			pods = append(pods, pod)
		}
	}
	require.Len(b, pods, n)
	began, cpu := time.Now(), w.cpu(b)
	tick := time.NewTicker(time.Second / time.Duration(rate))
	defer tick.Stop()
	runs := make([]string, n)
	for i, pod := range pods {
		<-tick.C
		runs[i] = pod.Labels[labelRun]
		w.release(pod)
	}
	w.untilTerminal(b, runs, 10*time.Minute)
	e := endings{rate: rate, took: time.Since(began), cpu: sinceCPU(w.cpu(b), cpu)}
	var first, lastEnd, lastRecord time.Time
	w.mu.Lock()
	for _, run := range runs {
		ending, terminal := w.ending[run], w.terminal[run]
		e.samples = append(e.samples, terminal.Sub(ending))
		if first.IsZero() || ending.Before(first) {
			first = ending
		}
		if ending.After(lastEnd) {
			lastEnd = ending
		}
		if terminal.After(lastRecord) {
			lastRecord = terminal
		}
	}
	w.mu.Unlock()
	e.written = float64(n) / lastEnd.Sub(first).Seconds()
	e.recorded = float64(n) / lastRecord.Sub(first).Seconds()
	w.untilQuiet(b)
	return e
}

func printMemory(seen map[int]memory) {
	fmt.Printf("\n| waiting runs | heap and stacks in use after GC | of that objects | resident | goroutines |\n|---|---|---|---|---|\n")
	for _, n := range slices.Sorted(maps.Keys(seen)) {
		m := seen[n]
		fmt.Printf("| %d | %.1f MiB | %.1f MiB | %.1f MiB | %.0f |\n", n, m.inUse/(1<<20), m.live/(1<<20), m.resident/(1<<20), m.goroutines)
	}
	for _, n := range slices.Sorted(maps.Keys(seen))[1:] {
		m, none := seen[n], seen[0]
		each := float64(n) * 1024
		fmt.Printf("| each of %d | %.1f KiB | %.1f KiB | %.1f KiB | %.2f |\n", n, (m.inUse-none.inUse)/each, (m.live-none.live)/each,
			(m.resident-none.resident)/each, (m.goroutines-none.goroutines)*1024/each)
	}
}

func (q quietness) print(n int) {
	fmt.Printf("\n| %d runs wait, %.0f s | |\n|---|---|\n", n, q.took.Seconds())
	fmt.Printf("| activity slots in use, of %d | %d |\n| workflow slots in use | %d |\n", q.activitySlots+q.activityFree, q.activitySlots, q.workflowSlots)
	fmt.Printf("| requests to the API server, of all clients, without watches | %.0f |\n", q.other.total())
	fmt.Printf("| and pages of 500 that the reconciliation lists | %.0f |\n", q.pages)
	printCPU(map[string]map[string]float64{fmt.Sprintf("%d runs wait", n): q.cpu}, q.took.Seconds()/100, "%% of a core")
}

func printEnds(ends []endings) {
	used := map[string]map[string]float64{}
	fmt.Printf("\n| ends a second | written a second | recorded a second | ends | p50 | p90 | p99 |\n|---|---|---|---|---|---|---|\n")
	for _, e := range ends {
		fmt.Printf("| %d | %.1f | %.1f | %d | %s | %s | %s |\n", e.rate, e.written, e.recorded, len(e.samples),
			millis(quantile(e.samples, 0.5)), millis(quantile(e.samples, 0.9)), millis(quantile(e.samples, 0.99)))
		name := fmt.Sprintf("%d a second", e.rate)
		used[name] = map[string]float64{}
		for part, n := range e.cpu {
			used[name][part] = n / float64(len(e.samples)) * 1000
		}
	}
	printCPU(used, 1, "processor time of an end, in ms")
}
