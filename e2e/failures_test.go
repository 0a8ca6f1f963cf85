package e2e

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentmarket/product"
)

// failure is a way in which a run fails, and what has to follow from it. It is a row
// of docs/failures.md.
type failure struct {
	does   string // what is done, for people
	agent  string // its name
	script string
	more   map[string]any // of its manifest
	image  string         // empty: busybox
	price  map[string]any // nil: paid by the run, failed ones, too
	start  map[string]any // of the request
	// meanwhile is done to the run while it goes on; nil: nothing.
	meanwhile func(t *testing.T, m market, run runView)

	reason  string // of the run; where recovers, of its first attempt
	tries   int    // attempts
	charged bool
	// recovers: the attempt after the first one succeeds.
	recovers bool
	// sometimes is another message for the same, of another kernel: the documentation
	// has the first.
	message, sometimes string
	// slow: it is started before the others.
	slow bool
	// known: the cluster tells of it what it tells of another row.
	known bool

	run runView
}

// paid by the run, whoever's fault it is, as far as the platform allows it.
func paid() map[string]any {
	return map[string]any{"model": "per_run", "per_run_micros": 100_000, "failed_runs": "charged"}
}

// failing is how many runs fail at the same time.
const failing = 6

// TestFailures provokes every end that can be provoked here, each by what leads to it
// in a real cluster, and holds docs/failures.md to what it saw.
func TestFailures(t *testing.T) {
	beside(t)
	m := startFailing(t)
	m.buyer.must(t, http.MethodPut, "/v1/organizations/globex/limits", map[string]any{"concurrent_runs": failing}, nil)
	m.untilNamespace(t)
	pods := recordPods(t, m.Stack)

	cases, full, taken, none := provoked(m.Images["wordcount"]), quotaFull(), nodeTaken(), nodeNone()
	m.narrow(t)
	lift := m.fillQuota(t)
	m.publish(t, full)
	m.begin(t, full)
	for _, c := range append(cases, taken, none) {
		m.publish(t, c)
	}
	m.untilFailedOnce(t, full)
	lift()

	var group sync.WaitGroup
	for _, c := range slowFirst(append(cases, full)) {
		if c.run.ID == "" {
			m.begin(t, c)
		}
		mine := m.withKeys(t)
		group.Go(func() { mine.suffer(t, c) })
	}
	group.Wait()
	require.False(t, t.Failed())
	m.taint(t, taken, none)

	all := slices.Concat(cases, []*failure{full, taken, none})
	for _, c := range all {
		m.requireFailed(t, c)
	}
	require.Eventually(t, func() bool { return m.left(t, m.org.ID, m.buyerOrg.ID) == left{} },
		15*time.Second, 200*time.Millisecond, "nothing is left")
	m.requireBooks(t)
	_, held := m.balances(t)
	require.Zero(t, held)
	if recording() {
		pods.write(t, all)
	}
	requireInPage(t, failuresPage, tableOf(all))
}

// slowFirst are the same, what takes long before what does not.
func slowFirst(all []*failure) []*failure {
	all = slices.Clone(all)
	slices.SortStableFunc(all, func(a, b *failure) int {
		rank := func(c *failure) int {
			if c.slow {
				return platformTries + 1
			}
			return c.tries
		}
		return cmp.Compare(rank(b), rank(a))
	})
	return all
}

// publish puts the agent of a failure on the market, and gives the buyer a right to it.
func (m market) publish(t *testing.T, c *failure) {
	t.Helper()
	publisher := *m.Stack
	if c.image != "" {
		publisher.Images = map[string]string{"wordcount": c.image}
	}
	manifest := map[string]any{"timeouts": map[string]any{"run_seconds": 60, "grace_seconds": 1, "start_seconds": 120}}
	for k, v := range c.more {
		manifest[k] = v
	}
	publisher.registerShell(t, c.agent, c.script, manifest)
	price := c.price
	if price == nil {
		price = paid()
	}
	m.sell(t, c.agent, price)
	m.order(t, c.agent, "usage")
	if c.agent == noSandbox {
		m.buyer.must(t, http.MethodPut, "/v1/organizations/globex/agents/examples/"+c.agent+"/policy", map[string]any{"tier": "sandboxed"}, nil)
	}
}

// begin starts the run of a failure.
func (m market) begin(t *testing.T, c *failure) {
	t.Helper()
	request := map[string]any{"input": map[string]any{}}
	for k, v := range c.start {
		request[k] = v
	}
	status, text := m.buyer.Call(t, http.MethodPost, "/v1/agents/examples/"+c.agent+"/runs", nil, request)
	require.Equal(t, http.StatusAccepted, status, "%s: %s", c.agent, text)
	require.NoError(t, json.Unmarshal(text, &c.run))
}

// suffer carries a failure out, to the end of its run.
func (m market) suffer(t *testing.T, c *failure) {
	if c.meanwhile != nil {
		c.meanwhile(t, m, c.run)
	}
	c.run = m.buyer.untilEnded(t, c.run.ID, patience)
}

// untilFailedOnce waits until the first attempt of a run has failed.
func (m market) untilFailedOnce(t *testing.T, c *failure) {
	t.Helper()
	c.run = m.buyer.until(t, c.run.ID, patience, "the first attempt fails", func(r runView) bool {
		return len(r.Attempts) > 0 && r.Attempts[0].Reason != ""
	})
}

// told is what the API says of the end that a failure is about.
func (c *failure) told() (reason, message string) {
	if c.recovers {
		return c.run.Attempts[0].Reason, c.run.Attempts[0].Message
	}
	return c.run.Reason, c.run.Message
}

// requireFailed: the run ended as it has to, was tried as often as it has to be, and
// cost what it has to.
func (m market) requireFailed(t *testing.T, c *failure) {
	t.Helper()
	about := fmt.Sprintf("%s (%s): %+v", c.does, c.agent, c.run)
	reason, message := c.told()
	require.Equal(t, c.reason, reason, about)
	require.GreaterOrEqual(t, len(c.run.Attempts), c.tries, about)
	if !c.recovers { // what comes after the failure may fail by itself: a slow pull
		require.Len(t, c.run.Attempts, c.tries, about)
	}
	want := product.RuleOf(product.Reason(c.run.Reason))
	require.Equal(t, string(want.Status), c.run.Status, about)
	require.Equal(t, string(want.Cause), c.run.Cause, about)
	require.Equal(t, c.charged, c.run.cost() > 0, about)
	if c.reason != "ok" {
		require.NotEmpty(t, message, about)
	}
	if c.recovers {
		require.Equal(t, "succeeded", c.run.Status, about)
		return
	}
	for _, a := range c.run.Attempts[:c.tries-1] {
		require.Equal(t, c.reason, a.Reason, "each attempt fails alike: %s", about)
	}
}
