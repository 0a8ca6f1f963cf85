package e2e

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentmarket/ids"
	"agentmarket/internal/testenv"
)

// TestChaos: runs of several kinds and organizations go on while everything that the
// platform consists of is killed with SIGKILL, again and again. When it is calm again
// each has ended as it had to, once, and nothing is left beside the records.
//
// AGENTMARKET_CHAOS_RUNS says how many runs, AGENTMARKET_CHAOS_SEED makes the same
// chances again.
func TestChaos(t *testing.T) {
	seed, random := dice(t, "AGENTMARKET_CHAOS_SEED")
	c := startChaos(t, random)
	defer c.end(t)
	runs := c.draw(chaosRuns(t))
	began := time.Now()

	killed := c.unleash(t)
	c.startAll(t, runs)
	c.settle(t)
	calm := time.Now()
	c.untilEnded(t, runs)
	quiet := time.Since(calm)

	c.requireEnds(t, runs)
	atOnce, ended := c.left(t, c.orgs...), time.Now()
	require.Eventually(t, func() bool { return c.left(t, c.orgs...) == left{} },
		5*time.Minute, 500*time.Millisecond, "nothing is left, of %+v", atOnce)
	c.requireBooks(t)

	report := chaosReport{seed: seed, chaos: calm.Sub(began), calm: quiet, killed: killed, runs: runs, left: atOnce, cleared: time.Since(ended)}
	t.Log("\n" + report.String())
	report.record(t)
}

// chaosRuns is how many runs there are: a few, unless the environment wants more.
func chaosRuns(t *testing.T) int {
	text := os.Getenv("AGENTMARKET_CHAOS_RUNS")
	if text == "" {
		return 30
	}
	n, err := strconv.Atoi(text)
	require.NoError(t, err, "AGENTMARKET_CHAOS_RUNS")
	return n
}

// chaos is a platform with two workers, a publisher and two buyers.
type chaos struct {
	market
	random *rand.Rand
	second *Stack // the other buyer
	orgs   []ids.Org

	once sync.Once
	calm chan struct{} // closed: nothing is killed any more
	over chan struct{} // closed: what ends is not started again
	hunt sync.WaitGroup
	rest sync.WaitGroup // the programs that are started again
}

const (
	// bee is the agent that succeeds: its result names its attempt.
	bee      = `sleep "$(cat "$AGENT_INPUT")"; echo "{\"run\":\"$AGENT_RUN_ID\",\"attempt\":$AGENT_ATTEMPT}" > "$AGENT_OUTPUT"`
	beePrice = 100_000
)

// small is what an agent of many uses.
var small = map[string]any{"cpu_millis": 20, "memory_mib": 32, "disk_mib": 16}

func startChaos(t *testing.T, random *rand.Rand) *chaos {
	t.Helper()
	s := startOn(t, testenv.StartDurablePostgres(t), "AGENTMARKET_RECONCILE_SECONDS=5")
	c := &chaos{market: marketOn(t, s), random: random, calm: make(chan struct{}), over: make(chan struct{})}
	second, token := s.organization(t, "initech")
	c.second = s.as(token)
	c.operator.must(t, http.MethodPost, "/v1/platform/organizations/initech/credits",
		map[string]any{"amount": usd(100 * wallet), "reason": "e2e"}, nil)
	c.operator.must(t, http.MethodPost, "/v1/platform/organizations/globex/credits",
		map[string]any{"amount": usd(100 * wallet), "reason": "e2e"}, nil)
	c.orgs = []ids.Org{s.org.ID, c.buyerOrg.ID, second.ID}

	price := func() map[string]any { return map[string]any{"model": "per_run", "per_run_micros": beePrice} }
	soon := map[string]any{"run_seconds": 2, "grace_seconds": 1}
	c.offer(t, "bee", bee, map[string]any{"resources": small}, price())
	c.offer(t, "broken", fails, map[string]any{"resources": small}, price())
	c.offer(t, "endless", stubborn, map[string]any{"resources": small, "timeouts": soon}, price())
	c.offer(t, "unwanted", stubborn, map[string]any{"resources": small, "timeouts": map[string]any{"run_seconds": 600, "grace_seconds": 1}}, price())
	for i, org := range c.clients() {
		name := []string{"examples", "globex", "initech"}[i]
		org.must(t, http.MethodPut, "/v1/organizations/"+name+"/limits", map[string]any{"concurrent_runs": 6}, nil)
		if i == 0 {
			continue
		}
		for _, agent := range []string{"bee", "broken", "endless", "unwanted"} {
			org.must(t, http.MethodPost, "/v1/orders", map[string]any{"agent": "examples/" + agent, "kind": "usage"}, nil)
		}
	}
	c.untilNamespace(t)
	return c
}

// chaosRun is one run, what it has to come to, and what became of it.
type chaosRun struct {
	kind   string // the agent
	owner  *Stack
	paid   bool
	key    string
	wait   time.Duration // before its start, after that of the one before
	sleep  int
	cancel time.Duration // when it is canceled, after its start

	run  runView
	want string
}

// draw makes the runs: half of them succeed after a while.
func (c *chaos) draw(n int) []*chaosRun {
	kinds := []struct{ kind, want string }{
		{"bee", "succeeded"}, {"broken", "failed"}, {"bee", "succeeded"}, {"unwanted", "canceled"}, {"bee", "succeeded"}, {"endless", "timed_out"},
	}
	runs := make([]*chaosRun, n)
	for i := range runs {
		kind := kinds[i%len(kinds)]
		owner := c.clients()[c.random.IntN(3)]
		runs[i] = &chaosRun{
			kind: kind.kind, want: kind.want, owner: owner, paid: owner != c.Stack, key: fmt.Sprintf("chaos-%d", i),
			wait: between(c.random, 0, 2500*time.Millisecond), sleep: c.random.IntN(5), cancel: between(c.random, 0, 6*time.Second),
		}
	}
	return runs
}

// startAll starts the runs, those of an organization one after the other, and cancels
// those that are to be.
func (c *chaos) startAll(t *testing.T, runs []*chaosRun) {
	t.Helper()
	var clients sync.WaitGroup
	for _, s := range c.clients() {
		clients.Go(func() {
			for _, r := range runs {
				if r.owner != s {
					continue
				}
				<-time.After(r.wait)
				c.start(t, r)
				if r.want == "canceled" {
					clients.Go(func() { c.cancel(t, r) })
				}
			}
		})
	}
	clients.Wait()
	require.False(t, t.Failed())
}

// clients are the organizations that start runs.
func (c *chaos) clients() []*Stack { return []*Stack{c.Stack, c.buyer, c.second} }

func (c *chaos) cancel(t *testing.T, r *chaosRun) {
	<-time.After(r.cancel)
	c.insist(t, r.owner, http.MethodPost, "/v1/runs/"+r.run.ID+"/cancel", nil, map[string]any{}, nil, http.StatusAccepted, http.StatusConflict)
}

func (c *chaos) start(t *testing.T, r *chaosRun) {
	c.insist(t, r.owner, http.MethodPost, "/v1/agents/examples/"+r.kind+"/runs",
		map[string]string{"Idempotency-Key": r.key}, map[string]any{"input": r.sleep}, &r.run, http.StatusAccepted)
}

// insist repeats a request until it has one of these answers, as a client does.
func (c *chaos) insist(t *testing.T, s *Stack, method, path string, header map[string]string, body, into any, wanted ...int) {
	t.Helper()
	var status int
	var text []byte
	require.Eventually(t, func() bool {
		var err error
		if status, text, err = s.send(t, method, path, header, body); err != nil {
			return false
		}
		for _, w := range wanted {
			if status == w {
				return true
			}
		}
		return false
	}, 2*time.Minute, 200*time.Millisecond, "%s %s is answered", method, path)
	if into != nil {
		require.NoError(t, json.Unmarshal(text, into))
	}
}

// untilEnded waits until every run has ended.
func (c *chaos) untilEnded(t *testing.T, runs []*chaosRun) {
	t.Helper()
	for _, r := range runs {
		require.Eventually(t, func() bool {
			var now runView
			status, text, err := r.owner.send(t, http.MethodGet, "/v1/runs/"+r.run.ID, nil, nil)
			if err != nil || status != http.StatusOK || json.Unmarshal(text, &now) != nil {
				return false
			}
			r.run = now
			return now.ended()
		}, 6*time.Minute, 100*time.Millisecond, "%s ends: %+v", r.kind, &r.run)
	}
}

// requireEnds: each run ended as it had to, or as one whose attempts the platform used
// up; and once.
func (c *chaos) requireEnds(t *testing.T, runs []*chaosRun) {
	t.Helper()
	for _, r := range runs {
		about := fmt.Sprintf("%s, wanted %s: %+v", r.kind, r.want, r.run)
		if r.exhausted() {
			require.Equal(t, "failed", r.run.Status, about)
		} else {
			require.Equal(t, r.want, r.run.Status, about)
		}
		ok := 0
		for _, a := range r.run.Attempts {
			if a.Reason != "ok" {
				continue
			}
			ok++
			require.JSONEq(t, fmt.Sprintf(`{"run":%q,"attempt":%d}`, r.run.ID, a.Number), string(r.run.Output), about)
		}
		require.Equal(t, r.run.Status == "succeeded", ok == 1, about)
		require.LessOrEqual(t, ok, 1, about)
		cost := int64(0)
		if r.paid && (r.run.Status == "succeeded") {
			cost = beePrice
		}
		if r.run.Status == "succeeded" || r.run.Cause == "platform" {
			require.Equal(t, cost, r.run.cost(), about)
		}
		c.requireEvents(t, r.run.ID)
	}
	for _, s := range c.clients() {
		c.requireEach(t, s, runs)
	}
}

// requireEach: a start that was repeated started one run.
func (c *chaos) requireEach(t *testing.T, s *Stack, runs []*chaosRun) {
	t.Helper()
	want, got := map[string]bool{}, map[string]bool{}
	for _, r := range runs {
		if r.owner == s {
			want[r.run.ID] = true
		}
	}
	cursor := ""
	for {
		var page struct {
			Items []struct{ ID string }
			Next  string `json:"next_cursor"`
		}
		s.must(t, http.MethodGet, "/v1/runs?limit=100"+cursor, nil, &page)
		for _, r := range page.Items {
			got[r.ID] = true
		}
		if page.Next == "" {
			break
		}
		cursor = "&cursor=" + page.Next
	}
	require.Equal(t, want, got, "as many runs as keys")
}

// exhausted reports whether the platform failed the run in all of its attempts.
func (r *chaosRun) exhausted() bool { return r.run.Cause == "platform" && len(r.run.Attempts) >= 3 }
