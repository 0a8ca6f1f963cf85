package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/api/serviceerror"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"agentmarket/marketplace"
)

// moment is where a run is in its life when it is canceled.
type moment string

const (
	atOnce   moment = "before the plan"
	queued   moment = "queued"
	starting moment = "starting"
	running  moment = "running"
	pausing  moment = "between attempts"
	ending   moment = "ending"
	ended    moment = "ended"
)

// way is how a run is canceled.
type way string

const (
	asked  way = "asked"
	forced way = "forced"
	signal way = "signaled"
	twice  way = "twice"
)

// moments of the fifty runs, and the ways that lead from each. A signal needs a
// workflow, which is not there yet at once, and not any more after the end.
var moments = []struct {
	moment moment
	runs   int
	ways   []way
}{
	{atOnce, 6, []way{asked, forced, twice}},
	{queued, 7, []way{asked, forced, signal, twice}},
	{starting, 10, []way{asked, forced, signal, twice}},
	{running, 13, []way{asked, forced, signal, twice}},
	{pausing, 5, []way{asked, forced, signal, twice}},
	{ending, 6, []way{asked, forced, signal, twice}},
	{ended, 3, []way{asked, forced, twice}},
}

const (
	// cancelers act at the same time, cancelGrace is what they give an agent.
	cancelers   = 5
	cancelGrace = 2 * time.Second
)

// cancellation is one run, and what became of it.
type cancellation struct {
	moment   moment
	way      way
	stubborn bool
	delay    time.Duration // after the moment
	sleep    int           // of the agent, in seconds
	timeout  int           // of the run, in seconds

	run     runView
	asked   time.Time
	tooLate bool // the platform said that the run had ended
}

// drawCancellations makes the cases, half of them with an agent that ignores SIGTERM.
func drawCancellations(random *rand.Rand) []*cancellation {
	var all []*cancellation
	for _, m := range moments {
		for range m.runs {
			c := &cancellation{moment: m.moment, way: m.ways[random.IntN(len(m.ways))], stubborn: len(all)%2 == 0, sleep: 600, timeout: 60}
			switch m.moment {
			case atOnce:
				c.delay = between(random, 0, 100*time.Millisecond)
			case ending:
				c.sleep, c.delay = 1, between(random, 500*time.Millisecond, 2500*time.Millisecond)
			case ended:
				c.sleep = 0
			default:
				c.delay = between(random, 0, time.Second)
			}
			all = append(all, c)
		}
	}
	random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all
}

// TestCancels: whenever and however a run is canceled, its pod is told at once, with the
// grace of the request, and goes in time; the receipt is complete, and nothing is left.
func TestCancels(t *testing.T) {
	beside(t)
	_, random := dice(t, "AGENTMARKET_CANCELS_SEED")
	m := startMarket(t)
	m.sell(t, "hello", map[string]any{"model": "per_second", "per_second_micros": 1_000})
	m.order(t, "hello", "usage")
	// What the publisher starts waits for one run of its own.
	m.must(t, http.MethodPut, "/v1/organizations/examples/limits", map[string]any{"concurrent_runs": 1}, nil)
	m.buyer.must(t, http.MethodPut, "/v1/organizations/globex/limits", map[string]any{"concurrent_runs": 20}, nil)
	m.untilNamespace(t)
	blocker := m.startHello(t, &cancellation{sleep: 600, timeout: 600})
	m.untilRunning(t, blocker.ID)

	watch := watchPods(t, m.Stack)
	cases := drawCancellations(random)
	work := make(chan *cancellation, len(cases))
	for _, c := range cases {
		work <- c
	}
	close(work)
	var group sync.WaitGroup
	for range cancelers {
		mine := m.withKeys(t)
		group.Go(func() {
			for c := range work {
				mine.carryOut(t, c)
			}
		})
	}
	group.Wait()
	require.False(t, t.Failed())

	summary := map[string]int{}
	for _, c := range cases {
		summary[fmt.Sprintf("%s: %s", c.moment, c.run.Status)]++
	}
	t.Logf("%v", summary)
	for _, c := range cases {
		m.requireCanceled(t, c, watch.of(c.run.ID))
	}
	requireInTime(t, cases, watch)
	m.must(t, http.MethodPost, "/v1/runs/"+blocker.ID+"/cancel", map[string]any{"force": true}, nil)
	require.Equal(t, "canceled", m.untilEnded(t, blocker.ID, 30*time.Second).Status)
	require.Eventually(t, func() bool { return m.left(t, m.org.ID, m.buyerOrg.ID) == left{} },
		15*time.Second, 200*time.Millisecond, "nothing is left")
	m.requireBooks(t)
	_, held := m.balances(t)
	require.Zero(t, held)
}

// withKeys is the market as somebody with keys of his own sees it: each key may make
// so many requests.
func (m market) withKeys(t *testing.T) market {
	t.Helper()
	m.Stack = m.as(m.key(t, m.org, marketplace.RoleOwner, marketplace.AllScopes()))
	m.buyer = m.as(m.key(t, m.buyerOrg, marketplace.RoleOwner, marketplace.AllScopes()))
	return m
}

// owner is the stack of the organization that starts the run of a case.
func (m market) owner(c *cancellation) *Stack {
	if c.moment == queued || c.moment == "" {
		return m.Stack
	}
	return m.buyer
}

func (m market) startHello(t *testing.T, c *cancellation) runView {
	t.Helper()
	var run runView
	m.owner(c).must(t, http.MethodPost, "/v1/agents/examples/hello/runs", map[string]any{
		"input":               map[string]any{"prompt": "x", "sleep_seconds": c.sleep, "ignore_sigterm": c.stubborn},
		"resources":           map[string]any{"cpu_millis": 20},
		"run_timeout_seconds": c.timeout,
	}, &run)
	return run
}

// carryOut starts the run of a case, cancels it at its moment, and waits for its end.
func (m market) carryOut(t *testing.T, c *cancellation) {
	s := m.owner(c)
	c.run = m.startHello(t, c)
	reached := func(r runView) bool { return true }
	switch c.moment {
	case atOnce:
	case queued:
		reached = func(r runView) bool { return r.Queued != nil }
	case starting:
		reached = func(r runView) bool { return r.Status != "queued" }
	case running, ending:
		reached = func(r runView) bool { return r.Status == "running" || r.ended() }
	case pausing:
		s.until(t, c.run.ID, time.Minute, "the run runs", func(r runView) bool { return r.Status == "running" })
		for _, pod := range s.pods(t, c.run.ID) {
			_ = s.deletePod(t, pod.Name)
		}
		reached = func(r runView) bool { return r.Attempts[0].Reason != "" }
	case ended:
		reached = runView.ended
	}
	s.until(t, c.run.ID, time.Minute, string(c.moment), reached)
	<-time.After(c.delay)
	c.asked = time.Now()
	s.cancelIn(t, c)
	c.run = s.untilEnded(t, c.run.ID, time.Minute)
}

// cancelIn cancels the run of a case in its way.
func (s *Stack) cancelIn(t *testing.T, c *cancellation) {
	grace := int(cancelGrace / time.Second)
	if c.way == signal {
		err := s.temporal.SignalWorkflow(t.Context(), c.run.ID, "", "cancel", map[string]any{"reason": "by hand", "grace_seconds": grace})
		var over *serviceerror.NotFound
		if c.tooLate = errors.As(err, &over); !c.tooLate {
			require.NoError(t, err)
		}
		return
	}
	body := map[string]any{"reason": string(c.moment), "grace_seconds": grace}
	if c.way == forced {
		body = map[string]any{"reason": string(c.moment), "force": true}
	}
	times := 1
	if c.way == twice {
		times = 2
	}
	for i := range times {
		status, text := s.Call(t, http.MethodPost, "/v1/runs/"+c.run.ID+"/cancel", nil, body)
		switch status {
		case http.StatusConflict:
			require.Contains(t, string(text), "run_ended")
			c.tooLate = c.tooLate || i == 0
		default:
			require.Equal(t, http.StatusAccepted, status, "%s", text)
			var now runView
			require.NoError(t, json.Unmarshal(text, &now))
			require.Contains(t, []string{"canceling", "canceled"}, now.Status, "at once")
		}
	}
}

// requireCanceled looks at what became of a case.
func (m market) requireCanceled(t *testing.T, c *cancellation, pod podSeen) {
	t.Helper()
	about := fmt.Sprintf("%s, %s, stubborn %t: %+v", c.moment, c.way, c.stubborn, c.run)
	m.owner(c).requireEvents(t, c.run.ID)
	if c.moment == ended {
		require.True(t, c.tooLate, about)
	}
	if c.tooLate || c.moment == ending && c.run.Status == "succeeded" { // its process ended by itself before
		require.Equal(t, "succeeded", c.run.Status, about)
		return
	}
	require.Equal(t, "canceled", c.run.Status, about)
	require.Equal(t, "caller", c.run.Cause, about)
	receipt := c.run.Cancel
	require.NotNil(t, receipt, about)
	require.NotEmpty(t, receipt.RequestedBy, about)
	require.WithinDuration(t, c.asked, receipt.SignaledAt, 10*time.Second, about)
	require.NotNil(t, receipt.GoneAt, about)
	if n := len(c.run.Attempts); n > 0 {
		last := c.run.Attempts[n-1]
		if ran := last.StartedAt != nil && (last.Reason == "" || last.Reason == "canceled"); ran {
			require.NotNil(t, receipt.TerminatedAt, about)
			require.False(t, receipt.TerminatedAt.After(*receipt.GoneAt), about)
		}
	} else {
		require.Zero(t, pod, "nothing was made: %s", about)
	}
	if pod.last.After(c.asked) {
		require.Less(t, pod.last.Sub(c.asked), time.Minute, "the pod goes: %s", about)
	}
	// One that Kubernetes makes while its Job is being deleted has the grace of the plan,
	// and between attempts it is the test that has deleted one.
	if c.moment != pausing && pod.first.Before(c.asked) && pod.last.After(c.asked) {
		require.LessOrEqual(t, pod.grace, cancelGrace, about)
		require.Less(t, pod.told.Sub(c.asked), 15*time.Second, "the pod is told: %s", about)
	}
}

// requireInTime: half of the pods that ran have gone 3 s after their grace, where
// this test has the computer for itself. In CI the tests of other packages run on the
// same cores: all have some time more.
func requireInTime(t *testing.T, cases []*cancellation, watch *podWatch) {
	t.Helper()
	var told, took []time.Duration
	for _, c := range cases {
		if pod := watch.of(c.run.ID); c.moment == running && pod.last.After(c.asked) {
			told, took = append(told, pod.told.Sub(c.asked)), append(took, pod.last.Sub(c.asked))
		}
	}
	slices.Sort(told)
	slices.Sort(took)
	n := len(took)
	t.Logf("%d running pods: half were told after %s and gone after %s, all told after %s and gone after %s",
		n, told[n/2], took[n/2], told[n-1], took[n-1])
	require.Less(t, took[n-1], cancelGrace+15*time.Second)
	if isLong() {
		require.Less(t, told[n/2], 2*time.Second)
		require.Less(t, took[n/2], cancelGrace+3*time.Second)
	}
}

// podSeen is what was seen of the pods of a run.
type podSeen struct {
	first time.Time     // when there was one
	last  time.Time     // when there was one still
	told  time.Time     // when one was first seen to be deleted
	grace time.Duration // with which it was
}

// podWatch remembers what it saw of each run.
type podWatch struct {
	mu   sync.Mutex
	seen map[string]podSeen
}

// watchPods looks at the pods until the test ends.
func watchPods(t *testing.T, s *Stack) *podWatch {
	w := &podWatch{seen: map[string]podSeen{}}
	ctx, stop := context.WithCancel(t.Context())
	var group sync.WaitGroup
	t.Cleanup(func() { stop(); group.Wait() })
	group.Go(func() {
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			began := time.Now() // a list is at least as new as its question
			pods, err := s.Kube.CoreV1().Pods(s.Namespace).List(ctx, metav1.ListOptions{})
			if err == nil {
				w.saw(pods.Items, began)
			}
		}
	})
	return w
}

func (w *podWatch) saw(pods []corev1.Pod, at time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range pods {
		run := pods[i].Labels["agentmarket.dev/run-id"]
		seen := w.seen[run]
		if seen.first.IsZero() {
			seen.first = at
		}
		seen.last = at
		if pods[i].DeletionTimestamp != nil && seen.told.IsZero() {
			seen.told, seen.grace = at, time.Duration(*pods[i].DeletionGracePeriodSeconds)*time.Second
		}
		w.seen[run] = seen
	}
}

func (w *podWatch) of(run string) podSeen {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.seen[run]
}
