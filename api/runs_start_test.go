package api_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"agentmarket/api"
	"agentmarket/ids"
	"agentmarket/marketplace"
	"agentmarket/product"
)

// runOf is the record of the run in an answer.
func (f *fixture) runOf(got answer) product.Run {
	f.t.Helper()
	require.Less(f.t, got.status, http.StatusBadRequest, got.text)
	run, err := f.runs.Run(f.t.Context(), ids.Run(got.json(f.t)["id"].(string)))
	require.NoError(f.t, err)
	return run
}

// inTeam makes a team with a member of acme, who gets a personal key.
func (f *fixture) inTeam(name, email string) (team ids.Team, token string) {
	f.t.Helper()
	member, token := f.person(f.org.ID, email, marketplace.RoleMember)
	return f.joinTeam(name, member.User.ID), token
}

func (f *fixture) joinTeam(name string, user ids.User) ids.Team {
	f.t.Helper()
	team := f.requireStatus(http.StatusCreated, f.post("/v1/organizations/acme/teams", fmt.Sprintf(`{"name":%q}`, name)))["id"].(string)
	f.requireStatus(http.StatusOK, f.send(http.MethodPut, "/v1/organizations/acme/teams/"+team+"/members/"+string(user), "", ""))
	return ids.Team(team)
}

func TestStartSaysEverythingThatARequestMay(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.publish("1.0.0")
	got := f.post(startPath, `{"input":{"prompt":"hello"},"version":"latest","priority":-10,"retry":{"max_attempts":10},
		"resources":{"cpu_millis":100,"memory_mib":64,"disk_mib":32},"max_cost":{"amount_micros":7,"currency":"USD"}}`)
	run := f.runOf(got)
	require.Equal(t, product.Request{
		MaxCost: run.Request.MaxCost, Resources: product.Resources{CPUMillis: 100, MemoryMiB: 64, DiskMiB: 32},
		Attempts: 10, Priority: -10, Version: "latest", VersionRule: product.RuleLatest,
	}, run.Request)
	require.Equal(t, product.Origin{Kind: product.OriginAPI}, run.Origin)
	body := got.json(t)
	require.EqualValues(t, -10, body["priority"])
	require.Equal(t, map[string]any{"kind": "api", "depth": 0.0}, body["origin"])
	for _, absent := range []string{"team_id", "approval", "queued", "queued_position", "data_removed_at", "webhook"} {
		require.NotContains(t, body, absent)
	}

	waited := f.runOf(f.post(startPath, hello, "Prefer", "wait=1"))
	require.Equal(t, product.ModeSync, waited.Request.Mode)
}

func TestStartBounds(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.publish("1.0.0")
	for _, c := range []struct{ member, pointer string }{
		{`"priority":11`, "/priority"},
		{`"priority":-11`, "/priority"},
		{`"priority":1.5`, "/priority"},
		{`"retry":{"max_attempts":0}`, "/retry/max_attempts"},
		{`"retry":{"max_attempts":11}`, "/retry/max_attempts"},
		{`"retry":{}`, "/retry/max_attempts"},
		{`"resources":{"cpu_millis":0}`, "/resources/cpu_millis"},
		{`"resources":{"cpu_millis":64001}`, "/resources/cpu_millis"},
		{`"resources":{"memory_mib":262145}`, "/resources/memory_mib"},
		{`"resources":{"disk_mib":102401}`, "/resources/disk_mib"},
		{`"resources":{"gpu":1}`, "/resources/gpu"},
		{`"team":"` + strings.Repeat("t", 41) + `"`, "/team"},
		{`"parent":"` + strings.Repeat("p", 41) + `"`, "/parent"},
		{`"labels":{"a":"x\u0000y"}`, "/labels/a"},
		{`"webhook":{}`, "/webhook/url"},
		{`"webhook":{"url":"http://hooks.example.com"}`, "/webhook/url"},
		{`"webhook":{"url":"https://me:secret@hooks.example.com"}`, "/webhook/url"},
		{`"webhook":{"url":"https://hooks.example.com/` + strings.Repeat("x", 2000) + `"}`, "/webhook/url"},
		{`"webhook":{"url":"https://hooks.example.com","secret":"short"}`, "/webhook/secret"},
	} {
		body := `{"input":{"prompt":"x"},` + c.member + `}`
		f.requireCode(http.StatusUnprocessableEntity, "request_invalid", f.post(startPath, body), c.pointer)
		f.requireCode(http.StatusUnprocessableEntity, "request_invalid", f.post("/v1/agents/acme/greeter/plan", body), c.pointer)
	}
	require.Zero(t, f.countRuns(f.org.ID))
}

func TestStartForATeam(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.publish("1.0.0")
	ada, ofAda := f.person(f.org.ID, "ada@example.com", marketplace.RoleMember)
	start := func(team, token string) answer {
		return f.send(http.MethodPost, startPath, fmt.Sprintf(`{"input":{"prompt":"x"},"team":%q}`, team), token)
	}
	require.Empty(t, f.runOf(start("", ofAda)).TeamID, "she is in none")
	research := f.joinTeam("research", ada.User.ID)
	require.Equal(t, research, f.runOf(start("", ofAda)).TeamID, "her only one")
	sales := f.joinTeam("sales", ada.User.ID)
	f.requireCode(http.StatusUnprocessableEntity, "team_required", start("", ofAda), "/team") // she is in two
	got := start(string(sales), ofAda)
	require.Equal(t, sales, f.runOf(got).TeamID)
	require.Equal(t, string(sales), got.json(t)["team_id"])

	other, _ := f.inTeam("other", "bob@example.com")
	for _, team := range []string{string(other), "nonsense"} {
		f.requireCode(http.StatusUnprocessableEntity, "team_unknown", start(team, ofAda), "/team")
	}
	f.requireCode(http.StatusUnprocessableEntity, "team_unknown", start(string(sales), ""), "/team") // a program
}

func TestStartIsDeniedByPoliciesAndLimits(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.publish("1.0.0")
	team, ofAda := f.inTeam("research", "ada@example.com")
	set := func(path, body string) {
		f.requireStatus(http.StatusOK, f.send(http.MethodPut, "/v1/organizations/acme"+path, body, ""))
	}
	set("/teams/"+string(team)+"/policy", `{"agents":["globex/*"]}`)
	denied := f.send(http.MethodPost, startPath, hello, ofAda)
	require.Equal(t, http.StatusForbidden, denied.status, denied.text)
	require.Equal(t, "policy_denied", denied.json(t)["code"])
	require.Equal(t, "/v1/organizations/acme/policy", denied.json(t)["next"])
	require.Contains(t, denied.json(t)["detail"], "policy of the team")
	f.requireStatus(http.StatusAccepted, f.post(startPath, hello)) // who is not in the team

	set("/policy", `{"modes":["async"]}`)
	require.Equal(t, "policy_denied", f.post(startPath, hello, "Prefer", "wait=1").json(t)["code"])
	f.requireStatus(http.StatusAccepted, f.post(startPath, hello, "Idempotency-Key", "before"))

	set("/limits", `{"memory_mib":100}`)
	over := f.post(startPath, hello)
	require.Equal(t, http.StatusForbidden, over.status, over.text)
	require.Equal(t, "limit_reached", over.json(t)["code"])
	require.Equal(t, "/v1/organizations/acme/limits", over.json(t)["next"])
	f.requireStatus(http.StatusAccepted, f.post(startPath, `{"input":{"prompt":"x"},"resources":{"memory_mib":100}}`))
	again := f.post(startPath, hello, "Idempotency-Key", "before")
	require.Equal(t, "true", again.header.Get("Idempotency-Replayed"), "it was taken: "+again.text)
	require.Equal(t, 3, f.countRuns(f.org.ID), "what is denied makes no run")
}

func TestStartQueuesNoLongerThanPoliciesAllow(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.publish("1.0.0")
	f.requireStatus(http.StatusOK, f.send(http.MethodPut, "/v1/organizations/acme/policy", `{"max_queue_seconds":60}`, ""))
	require.Equal(t, now.Add(time.Minute), f.runOf(f.post(startPath, `{"input":{"prompt":"x"},"queue_timeout_seconds":90}`)).QueueDeadline)
	require.Equal(t, now.Add(30*time.Second), f.runOf(f.post(startPath, `{"input":{"prompt":"x"},"queue_timeout_seconds":30}`)).QueueDeadline)
}

func TestStartFollowsARollout(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.publish("1.0.0")
	f.publish("2.0.0")
	f.requireStatus(http.StatusCreated, f.post("/v1/agents/acme/greeter/rollouts",
		`{"version":"2.0.0","from":"1.0.0","stages":[{"organizations":["acme"]}]}`))
	on := f.runOf(f.post(startPath, `{"input":{"prompt":"x"},"version":"stable"}`))
	require.Equal(t, []string{"2.0.0", product.RuleRollout, "stable"}, []string{on.Version, on.Request.VersionRule, on.Request.Version})

	_, stranger := f.organization("stranger")
	f.list("greeter", nil)
	other := f.runOf(f.send(http.MethodPost, startPath, hello, stranger))
	require.Equal(t, []string{"1.0.0", product.RuleChannel, ""}, []string{other.Version, other.Request.VersionRule, other.Request.Version})
	require.Equal(t, "1.0.0", f.requireStatus(http.StatusOK, f.send(http.MethodGet, greeter, "", stranger))["version"])
	pinned := f.runOf(f.post(startPath, `{"input":{"prompt":"x"},"version":"1.0.0"}`))
	require.Equal(t, product.RuleRequest, pinned.Request.VersionRule)
}

func TestStartWithAWebhook(t *testing.T) {
	t.Parallel()
	f := newFixture(t, func(s *api.Server) { s.WebhookInsecure = true })
	f.publish("1.0.0")
	const body = `{"input":{"prompt":"x"},"webhook":{"url":"http://localhost:8080/hook"}}`
	first := f.post(startPath, body, "Idempotency-Key", "k")
	shown := first.json(t)["webhook"].(map[string]any)
	stored, err := f.server.Control.Endpoint(t.Context(), ids.Endpoint(shown["id"].(string)))
	require.NoError(t, err)
	require.Equal(t, f.runOf(first).ID, stored.RunID)
	require.Equal(t, f.org.ID, stored.OrgID)
	require.Equal(t, "http://localhost:8080/hook", stored.URL)
	require.Equal(t, shown["secret"], stored.Secret.Reveal())
	require.Contains(t, shown["secret"], "whsec_")
	again := f.post(startPath, body, "Idempotency-Key", "k")
	require.Equal(t, "true", again.header.Get("Idempotency-Replayed"))
	require.Equal(t, shown, again.json(t)["webhook"], "the first answer may have been lost")
	_, ofBob := f.person(f.org.ID, "bob@example.com", marketplace.RoleMember)
	others := f.do(call{method: http.MethodPost, path: startPath, body: body, token: ofBob, header: map[string]string{"Idempotency-Key": "k"}})
	require.Equal(t, "true", others.header.Get("Idempotency-Replayed"))
	require.NotContains(t, others.text, "whsec_", "it is not his")
	f.settle(stored.RunID, product.ReasonCanceled, "")
	require.Equal(t, shown, f.post(startPath, body, "Idempotency-Key", "k").json(t)["webhook"])
	require.NoError(t, f.server.Control.DeleteEndpoint(t.Context(), setUp, f.org.ID, stored.ID, now))
	require.NotContains(t, f.post(startPath, body, "Idempotency-Key", "k").json(t), "webhook")
	require.NotContains(t, f.get("/v1/runs/"+string(stored.RunID)).text, "whsec_")
	require.NotContains(t, f.log.String(), "whsec_")
}

func TestStartBelowARun(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	parent := f.started()
	below := func(parent, token string) answer {
		return f.send(http.MethodPost, startPath, fmt.Sprintf(`{"input":{"prompt":"x"},"parent":%q}`, parent), token)
	}
	f.requireCode(http.StatusConflict, "run_not_started", below(string(parent), ""))
	f.begin(parent, 1)
	got := below(string(parent), "")
	child := f.runOf(got)
	require.Equal(t, product.Origin{Kind: product.OriginChild, ParentID: parent, RootID: parent, Depth: 1}, child.Origin)
	require.Equal(t, map[string]any{"kind": "child", "parent_id": string(parent), "root_id": string(parent), "depth": 1.0}, got.json(t)["origin"])
	f.begin(child.ID, 1)
	grandchild := f.runOf(below(string(child.ID), ""))
	require.Equal(t, 2, grandchild.Origin.Depth)
	second := f.runOf(below(string(parent), ""))

	path := "/v1/runs/" + string(parent) + "/children"
	require.Equal(t, []string{string(child.ID), string(second.ID)}, f.items(f.get(path), "id"), "the oldest first")
	page := f.requireStatus(http.StatusOK, f.get(path+"?limit=1"))
	require.Equal(t, []string{string(second.ID)}, f.items(f.get(path+"?limit=1&cursor="+page["next_cursor"].(string)), "id"))

	_, stranger := f.organization("stranger")
	f.list("greeter", nil)
	for _, foreign := range []string{string(parent), string(ids.New[ids.Run](ids.PrefixRun)), "nonsense"} {
		f.requireCode(http.StatusNotFound, "parent_not_found", below(foreign, stranger))
	}
	f.requireCode(http.StatusNotFound, "run_not_found", f.send(http.MethodGet, path, "", stranger))
	f.settle(parent, product.ReasonOK, "")
	f.requireCode(http.StatusConflict, "run_ended", below(string(parent), ""))
}

// queue is a store of layer 2 in which every run waits for the same.
type queue struct {
	product.ControlStore
	wait atomic.Pointer[product.Wait]
}

func (q *queue) Waiting(context.Context, ids.Run) (*product.Wait, error) { return q.wait.Load(), nil }

// busy is a store of layer 2 in which one run goes on and two wait for each limit.
type busy struct {
	product.ControlStore
	err error
}

func (b *busy) Limits(ctx context.Context, scopes []product.Scope, at time.Time) ([]product.Limit, []product.Usage, error) {
	limits, _, err := b.ControlStore.Limits(ctx, scopes, at)
	usages := make([]product.Usage, len(limits))
	for i, l := range limits {
		usages[i] = product.Usage{Scope: l.Scope, Running: 1, Waiting: 2}
	}
	return limits, usages, errors.Join(b.err, err)
}

func TestQueuedRunSaysWhatItWaitsFor(t *testing.T) {
	t.Parallel()
	queue := &queue{}
	f := newFixture(t, func(s *api.Server) { queue.ControlStore, s.Control = s.Control, queue })
	run := f.started()
	require.NotContains(t, f.get("/v1/runs/"+string(run)).json(t), "queued")
	queue.wait.Store(&product.Wait{
		Scope: product.Scope{Kind: product.ScopeTeam, ID: "team_1"}, Bound: product.BoundRuns, Limit: 5, Position: 3, Since: now,
	})
	body := f.get("/v1/runs/" + string(run)).json(t)
	require.Equal(t, map[string]any{
		"position": 3.0, "scope": "team", "bound": "concurrent_runs", "limit": 5.0, "since": now.Format(time.RFC3339),
		"reason": "the limit of the team: 5 runs at once",
	}, body["queued"])
	require.EqualValues(t, 3, body["queued_position"])
	require.NotContains(t, f.requireStatus(http.StatusOK, f.get("/v1/runs"))["items"].([]any)[0], "queued", "not in lists")
	f.settle(run, product.ReasonQueueTimeout, "")
	require.NotContains(t, f.get("/v1/runs/"+string(run)).json(t), "queued")
}

// lossy is a connection that loses every second answer: one half of these when the
// server has given it, the other half while the server is at work.
type lossy struct {
	sent   atomic.Int64
	behind sync.WaitGroup
}

var errLost = errors.New("connection lost")

func (l *lossy) RoundTrip(r *http.Request) (*http.Response, error) {
	n := l.sent.Add(1)
	if n%2 == 1 {
		return http.DefaultTransport.RoundTrip(r)
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	again := r.Clone(r.Context())
	again.Body = io.NopCloser(strings.NewReader(string(body)))
	answered := make(chan struct{})
	l.behind.Go(func() {
		defer close(answered)
		if response, err := http.DefaultTransport.RoundTrip(again); err == nil {
			response.Body.Close()
		}
	})
	if n%4 == 0 {
		<-answered
	}
	return nil, errLost
}

func TestRepeatsOverALossyConnectionMakeOneRunEach(t *testing.T) {
	t.Parallel()
	const starts, clients = 200, 4
	f := newFixture(t)
	f.publish("1.0.0")
	connection := &lossy{}
	client := &http.Client{Transport: connection}
	lost, locations := atomic.Int64{}, sync.Map{}
	start := func(i int) error {
		for {
			response, err := client.Do(f.request(t.Context(), call{
				method: http.MethodPost, path: startPath, body: fmt.Sprintf(`{"input":{"prompt":"%d"}}`, i),
				header: map[string]string{"Idempotency-Key": fmt.Sprint("start-", i)},
			}))
			if errors.Is(err, errLost) {
				lost.Add(1)
				continue
			}
			if err != nil {
				return err
			}
			response.Body.Close()
			if response.StatusCode != http.StatusAccepted {
				return fmt.Errorf("start %d: %s", i, response.Status)
			}
			locations.Store(response.Header.Get("Location"), i)
			return nil
		}
	}
	var group errgroup.Group
	group.SetLimit(clients)
	for i := range starts {
		group.Go(func() error { return start(i) })
	}
	require.NoError(t, group.Wait())
	connection.behind.Wait()
	require.GreaterOrEqual(t, lost.Load(), int64(starts/2), "the connection loses answers")
	require.Equal(t, starts, f.countRuns(f.org.ID))
	distinct := 0
	locations.Range(func(any, any) bool { distinct++; return true })
	require.Equal(t, starts, distinct, "each request has a run of its own")
}
