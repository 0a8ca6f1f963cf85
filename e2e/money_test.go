package e2e

import (
	"encoding/json"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentmarket/marketplace"
)

// market is a platform with a publisher ("examples"), a buyer and an operator.
type market struct {
	*Stack
	buyer    *Stack
	operator *Stack
	buyerOrg marketplace.Organization
	whole    *testing.T // outlives the stories
}

// restart starts a worker again, which is killed with the platform, not with the
// story.
func (m market) restart() { m.startWorker(m.whole) }

func startMarket(t *testing.T) market {
	t.Helper()
	return marketOn(t, Start(t))
}

func marketOn(t *testing.T, s *Stack) market {
	t.Helper()
	m := market{Stack: s, whole: t}
	var token string
	m.buyerOrg, token = s.organization(t, "globex")
	m.buyer = s.as(token)
	platform, _ := s.organization(t, "platform")
	m.operator = s.as(s.key(t, platform, marketplace.RoleOperator, marketplace.OperatorScopes()))
	m.operator.must(t, http.MethodPost, "/v1/platform/organizations/globex/credits",
		map[string]any{"amount": usd(wallet), "reason": "e2e"}, nil)
	return m
}

// wallet is what the buyer begins with: ten dollars.
const wallet = 10_000_000

func usd(micros int64) map[string]any {
	return map[string]any{"amount_micros": micros, "currency": "USD"}
}

// must makes a request that succeeds.
func (s *Stack) must(t testing.TB, method, path string, body, into any) {
	t.Helper()
	status, text := s.Call(t, method, path, nil, body)
	require.Less(t, status, 300, "%s %s: %s", method, path, text)
	if into != nil {
		require.NoError(t, json.Unmarshal(text, into))
	}
}

// offer publishes a shell agent at a price.
func (m market) offer(t *testing.T, name, script string, manifest, price map[string]any) {
	t.Helper()
	m.registerShell(t, name, script, manifest)
	m.sell(t, name, price)
}

// sell lists an agent at a price.
func (m market) sell(t *testing.T, name string, price map[string]any) {
	t.Helper()
	path := "/v1/agents/examples/" + name
	m.must(t, http.MethodPut, path+"/listing", map[string]any{
		"title": name, "summary": "An agent of a test.", "readme": "", "visibility": "public",
	}, nil)
	price["currency"] = "USD"
	m.must(t, http.MethodPost, path+"/prices", price, nil)
	m.must(t, http.MethodPost, path+"/listing/submit", nil, nil)
	m.operator.must(t, http.MethodPost, "/v1/platform/listings/examples/"+name+"/approve", map[string]any{}, nil)
}

func (m market) order(t *testing.T, name, kind string) {
	t.Helper()
	m.buyer.must(t, http.MethodPost, "/v1/orders", map[string]any{"agent": "examples/" + name, "kind": kind}, nil)
}

// balances of the buyer: what is available, and what is held.
func (m market) balances(t *testing.T) (available, held int64) {
	t.Helper()
	var w struct {
		Available, Held struct {
			Micros int64 `json:"amount_micros"`
		}
	}
	m.buyer.must(t, http.MethodGet, "/v1/organizations/globex/wallet", nil, &w)
	return w.Available.Micros, w.Held.Micros
}

func (r runView) cost() int64 {
	if r.Cost == nil {
		return 0
	}
	return r.Cost.Micros
}

// TestMoney shares one platform between the stories of what runs cost.
func TestMoney(t *testing.T) {
	beside(t)
	m := startMarket(t)
	for name, story := range map[string]func(*testing.T, market){
		"a failure follows the price's rule":       failures,
		"a cancel bills the time until the signal": cancelBills,
		"the budget ends a run":                    budgetEnds,
		"a trial of three runs":                    trialOfThree,
		"what the platform broke costs nothing":    platformFailure,
		"a right that is lost meanwhile":           lostMeanwhile,
		"bought while nothing runs, charged once":  killedWorkers,
	} {
		t.Run(name, func(t *testing.T) { story(t, m) })
	}
	available, held := m.balances(t)
	require.Zero(t, held, "nothing is left on hold")
	var statement struct {
		Opening, Closing struct {
			Micros int64 `json:"amount_micros"`
		}
		Lines []struct {
			Amount struct {
				Micros int64 `json:"amount_micros"`
			}
		}
	}
	m.buyer.must(t, http.MethodGet, "/v1/organizations/globex/statements/"+string(marketplace.MonthOf(time.Now())), nil, &statement)
	sum := statement.Opening.Micros
	for _, l := range statement.Lines {
		sum += l.Amount.Micros
	}
	require.Equal(t, sum, statement.Closing.Micros, "the statement is the sum of its lines")
	require.Equal(t, available, statement.Closing.Micros)
}

const fails = `echo broken >&2; exit 3`

func failures(t *testing.T, m market) {
	m.offer(t, "fails-free", fails, nil, map[string]any{"model": "per_run", "per_run_micros": 100_000})
	m.offer(t, "fails-charged", fails, nil, map[string]any{"model": "per_run", "per_run_micros": 100_000, "failed_runs": "charged"})
	for name, want := range map[string]int64{"fails-free": 0, "fails-charged": 100_000} {
		m.order(t, name, "usage")
		before, _ := m.balances(t)
		run := m.buyer.untilEnded(t, m.buyer.startRun(t, name, nil).ID, time.Minute)
		require.Equal(t, "failed", run.Status, run.Message)
		require.Equal(t, want, run.cost(), name)
		after, _ := m.balances(t)
		require.Equal(t, want, before-after, name)
	}
}

// stubborn ignores SIGTERM, so that its grace is longer than what is billed.
const stubborn = `trap "" TERM; i=0; while [ $i -lt 600 ]; do sleep 0.1; i=$((i+1)); done`

func cancelBills(t *testing.T, m market) {
	m.offer(t, "by-the-second", stubborn, map[string]any{"timeouts": map[string]any{"run_seconds": 60, "grace_seconds": 8}},
		map[string]any{"model": "per_second", "per_second_micros": 1_000})
	m.order(t, "by-the-second", "usage")
	before, _ := m.balances(t)
	run := m.buyer.startRun(t, "by-the-second", nil)
	m.buyer.untilRunning(t, run.ID)
	_, held := m.balances(t)
	require.Equal(t, int64(60_000), held, "a minute is held")
	m.buyer.must(t, http.MethodPost, "/v1/runs/"+run.ID+"/cancel", map[string]any{"reason": "enough"}, nil)
	run = m.buyer.untilEnded(t, run.ID, time.Minute)
	require.Equal(t, "canceled", run.Status, run.Message)
	require.NotNil(t, run.Cancel.TerminatedAt)
	require.Greater(t, run.Cancel.TerminatedAt.Sub(run.Cancel.SignaledAt), 7*time.Second, "the agent took its grace")
	require.Positive(t, run.cost())
	require.Less(t, run.cost(), int64(7_000), "which is not billed")
	after, _ := m.balances(t)
	require.Equal(t, run.cost(), before-after)
}

func budgetEnds(t *testing.T, m market) {
	m.offer(t, "expensive", stubborn, map[string]any{"timeouts": map[string]any{"run_seconds": 60, "grace_seconds": 1}},
		map[string]any{"model": "per_second", "per_second_micros": 10_000, "failed_runs": "charged"})
	m.order(t, "expensive", "usage")
	status, body := m.buyer.Call(t, http.MethodPost, "/v1/agents/examples/expensive/runs", nil,
		map[string]any{"input": nil, "max_cost": usd(30_000)})
	require.Equal(t, http.StatusAccepted, status, "%s", body)
	var run runView
	require.NoError(t, json.Unmarshal(body, &run))
	run = m.buyer.untilEnded(t, run.ID, time.Minute)
	require.Equal(t, "budget_exhausted", run.Status, run.Message)
	require.Equal(t, int64(30_000), run.cost())
}

const succeeds = `echo '{}' > "$AGENT_OUTPUT"`

// trialOfThree starts ten at once: the API may let more than three through, the
// workflows do not.
func trialOfThree(t *testing.T, m market) {
	m.offer(t, "tried", succeeds, nil, map[string]any{
		"model": "per_run", "per_run_micros": 1_000_000, "trial": map[string]any{"runs": 3},
	})
	m.order(t, "tried", "trial")
	var mu sync.Mutex
	var started []string
	var group sync.WaitGroup
	for range 10 {
		group.Go(func() {
			status, body := m.buyer.Call(t, http.MethodPost, "/v1/agents/examples/tried/runs", nil, map[string]any{"input": nil})
			if status == http.StatusPaymentRequired {
				return
			}
			var run runView
			if json.Unmarshal(body, &run) == nil {
				mu.Lock()
				defer mu.Unlock()
				started = append(started, run.ID)
			}
		})
	}
	group.Wait()
	ends := map[string]int{}
	for _, id := range started {
		run := m.buyer.untilEnded(t, id, 2*time.Minute)
		ends[run.Status]++
		require.Zero(t, run.cost())
		if run.Status == "rejected" {
			require.Equal(t, "payment_required", run.Reason)
			require.Empty(t, m.jobs(t, run.ID), "no Job was made for it")
		}
	}
	require.Equal(t, 3, ends["succeeded"], "%v", ends)
	require.Equal(t, len(started)-3, ends["rejected"], "%v", ends)
	status, body := m.buyer.Call(t, http.MethodPost, "/v1/agents/examples/tried/runs", nil, map[string]any{"input": nil})
	require.Equal(t, http.StatusPaymentRequired, status, "%s", body)
	require.Contains(t, string(body), `"code":"trial_exhausted"`)
}

// platformFailure deletes the pod of each attempt, until the platform gives up.
func platformFailure(t *testing.T, m market) {
	m.offer(t, "unlucky", stubborn, nil, map[string]any{"model": "per_run", "per_run_micros": 100_000, "failed_runs": "charged"})
	m.order(t, "unlucky", "usage")
	before, _ := m.balances(t)
	run := m.buyer.startRun(t, "unlucky", nil)
	eachAttempt(deletePod)(t, m, run)
	run = m.buyer.untilEnded(t, run.ID, 2*time.Minute)
	require.Equal(t, "failed", run.Status, run.Message)
	require.Equal(t, "platform", run.Cause)
	require.Zero(t, run.cost())
	after, _ := m.balances(t)
	require.Equal(t, before, after)
}

// lostMeanwhile: the right is there when the API asks, and gone when the workflow
// does.
func lostMeanwhile(t *testing.T, m market) {
	m.offer(t, "withdrawn", succeeds, nil, map[string]any{"model": "per_run", "per_run_micros": 100_000})
	var order struct{ ID string }
	m.buyer.must(t, http.MethodPost, "/v1/orders", map[string]any{"agent": "examples/withdrawn"}, &order)
	m.worker.Kill()
	run := m.buyer.startRun(t, "withdrawn", nil)
	m.buyer.must(t, http.MethodPost, "/v1/orders/"+order.ID+"/cancel", map[string]any{}, nil)
	m.restart()
	run = m.buyer.untilEnded(t, run.ID, time.Minute)
	require.Equal(t, "rejected", run.Status, run.Message)
	require.Zero(t, run.cost())
	require.Empty(t, m.jobs(t, run.ID))
}

// killedWorkers buys and starts while no worker runs, and kills the worker again
// and again while the runs end: each is charged once.
func killedWorkers(t *testing.T, m market) {
	m.offer(t, "sold", `sleep 2; `+succeeds, nil, map[string]any{"model": "per_run", "per_run_micros": 100_000})
	m.worker.Kill()
	m.order(t, "sold", "usage")
	before, _ := m.balances(t)
	const runs = 6
	ids := make([]string, runs)
	for i := range ids {
		ids[i] = m.buyer.startRun(t, "sold", nil).ID
	}
	for range 4 {
		m.restart()
		ended := 0
		require.Eventually(t, func() bool {
			now := 0
			for _, id := range ids {
				if m.buyer.run(t, id).ended() {
					now++
				}
			}
			done := now > ended || now == runs
			ended = now
			return done
		}, 2*time.Minute, 200*time.Millisecond, "another run ends")
		m.worker.Kill()
	}
	m.restart()
	for _, id := range ids {
		run := m.buyer.untilEnded(t, id, 2*time.Minute)
		require.Equal(t, "succeeded", run.Status, run.Message)
		require.Equal(t, int64(100_000), run.cost())
	}
	after, held := m.balances(t)
	require.Zero(t, held)
	require.Equal(t, int64(runs*100_000), before-after, "each run was charged once")
}
