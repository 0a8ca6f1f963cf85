package api_test

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentmarket/api"
	"agentmarket/audit"
	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/infra"
	"agentmarket/internal/storetest"
	"agentmarket/internal/testenv"
	"agentmarket/marketplace"
	"agentmarket/product"
)

var now = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

const image = "registry.example.com/acme/greeter@sha256:" +
	"8f1f0c5a2a0c3c9d4d0fda4b8e0e7b9c6a5d4e3f2b1a0918273645546372819a"

// fixture is a server on a real store, with everything beyond it made up.
type fixture struct {
	t      *testing.T
	server api.Server
	http   *httptest.Server
	clock  *clock
	market *layer1
	agents product.AgentStore
	runs   product.RunStore
	engine *engine
	timer  *timetable
	logs   *clusterLogs
	blobs  *memory
	images *registry
	log    *testenv.Buffer
	org    marketplace.Organization
	token  string
}

// newFixture serves with one organization, acme, whose key has every scope.
func newFixture(t *testing.T, change ...func(*api.Server)) *fixture {
	t.Helper()
	db := storetest.SQLite(t)
	f := &fixture{
		t: t, clock: &clock{at: now}, images: &registry{}, market: &layer1{Store: db.Marketplace()},
		agents: db.Agents(), runs: db.Runs(),
		engine: &engine{ended: map[ids.Run]chan struct{}{}}, logs: &clusterLogs{}, blobs: &memory{}, log: &testenv.Buffer{},
		timer: &timetable{},
	}
	f.server = api.Server{
		Marketplace: f.market, Agents: f.agents, Channels: db.Agents(), Names: db.Agents(), Runs: db.Runs(), Bodies: db.Runs(), Artifacts: db.Runs(), Control: db.Product(), ToolApprovals: db.Runs(),
		Engine: f.engine, Schedules: f.timer, Logs: f.logs, Blobs: f.blobs, Vault: sealing{}, Images: f.images,
		Policy: marketplace.DefaultPolicy(), Limits: product.DefaultLimits(),
		Log: slog.New(slog.NewJSONHandler(f.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Now: f.clock.now, Version: "v1.2.3", NamespaceOf: func(infra.Ref) string { return "agentmarket-runs" },
		TemporalWebURL: "http://temporal.test", WebURL: "http://web.test",
		RateLimit: api.RateLimit{PerSecond: -1},
	}
	for _, c := range change {
		c(&f.server)
	}
	f.http = httptest.NewUnstartedServer(nil)
	f.http.Config = api.NewHTTPServer("", f.server.Handler())
	f.http.Start()
	t.Cleanup(f.http.Close)
	f.org, f.token = f.organization("acme")
	return f
}

// setUp is who does what a test needs before it begins.
var setUp = audit.System("test")

// organization makes an organization with an owner's key of every scope.
func (f *fixture) organization(name string) (marketplace.Organization, string) {
	f.t.Helper()
	org, err := marketplace.NewOrganization(name, now)
	require.NoError(f.t, err)
	require.NoError(f.t, f.market.CreateOrganization(f.t.Context(), setUp, org))
	return org, f.key(org.ID, nil, marketplace.AllScopes()...)
}

// key makes a key of a program in the role owner, unless change says otherwise.
func (f *fixture) key(org ids.Org, change func(*marketplace.APIKey), scopes ...marketplace.Scope) string {
	f.t.Helper()
	key, token := marketplace.NewAPIKey(org, "test", marketplace.RoleOwner, scopes, now)
	if change != nil {
		change(&key)
	}
	require.NoError(f.t, f.market.CreateAPIKey(f.t.Context(), setUp, key))
	return token.Reveal()
}

// roleKey makes a key of a program in any role, operator too, with every scope.
func (f *fixture) roleKey(org ids.Org, role marketplace.Role) string {
	f.t.Helper()
	return f.key(org, func(k *marketplace.APIKey) { k.Role = role }, scopesOf(role)...)
}

func scopesOf(role marketplace.Role) []marketplace.Scope {
	if role == marketplace.RoleOperator {
		return append(marketplace.AllScopes(), marketplace.ScopePlatform)
	}
	return marketplace.AllScopes()
}

// operator makes a key of an operator, in an organization of the platform's own.
func (f *fixture) operator() string {
	f.t.Helper()
	org, err := f.market.OrganizationByName(f.t.Context(), "platform")
	if fault.Is(err, fault.NotFound) {
		org, _ = f.organization("platform")
	} else {
		require.NoError(f.t, err)
	}
	return f.roleKey(org.ID, marketplace.RoleOperator)
}

// person makes somebody a member of an organization, with a personal key of
// every scope.
func (f *fixture) person(org ids.Org, email string, role marketplace.Role) (marketplace.Member, string) {
	f.t.Helper()
	user, err := marketplace.NewUser(email, "Ada Lovelace", now)
	require.NoError(f.t, err)
	member, err := f.market.AddMember(f.t.Context(), setUp, marketplace.Member{OrgID: org, User: user, Role: role, JoinedAt: now})
	require.NoError(f.t, err)
	return member, f.key(org, func(k *marketplace.APIKey) { k.UserID, k.Role = member.User.ID, role }, marketplace.AllScopes()...)
}

// manifest is a manifest whose input needs a prompt.
func manifest(version string) string {
	return fmt.Sprintf(`{"api_version":"agentmarket/v1","name":"greeter","version":%q,"summary":"Greets.","command":["/greeter"],
"input_schema":{"type":"object","required":["prompt"],"properties":{"prompt":{"type":"string"},"list":{"type":"array","items":{"type":"integer"}}}}}`, version)
}

func publication(version string) string {
	return fmt.Sprintf(`{"manifest":%s,"image":%q}`, manifest(version), image)
}

// publish publishes acme/greeter.
func (f *fixture) publish(version string) {
	f.t.Helper()
	answer := f.post("/v1/agents", publication(version))
	require.Equal(f.t, http.StatusCreated, answer.status, answer.text)
}

// started publishes acme/greeter and starts a run of it.
func (f *fixture) started() ids.Run {
	f.t.Helper()
	f.publish("1.0.0")
	return f.startAgain()
}

func (f *fixture) startAgain() ids.Run {
	f.t.Helper()
	answer := f.post("/v1/agents/acme/greeter/runs", `{"input":{"prompt":"hello"}}`)
	require.Equal(f.t, http.StatusAccepted, answer.status, answer.text)
	return ids.Run(answer.json(f.t)["id"].(string))
}

// update changes a record as a workflow would.
func (f *fixture) update(id ids.Run, change func(*product.Run) []*product.Event) {
	f.t.Helper()
	_, err := f.runs.UpdateRun(f.t.Context(), id, func(r *product.Run) ([]*product.Event, error) {
		return change(r), nil
	})
	require.NoError(f.t, err)
}

// begin records that an attempt runs.
func (f *fixture) begin(id ids.Run, attempt int) {
	f.update(id, func(r *product.Run) []*product.Event {
		event, err := r.BeginAttempt(attempt, now)
		require.NoError(f.t, err)
		return []*product.Event{event, r.AttemptStarted(attempt, now)}
	})
}

// endAttempt records the end of an attempt, with its archived log.
func (f *fixture) endAttempt(id ids.Run, attempt int, reason infra.Reason, log string) {
	f.update(id, func(r *product.Run) []*product.Event {
		blob := f.blobs.put(product.LogKey(id, attempt), timed(log))
		event := r.AttemptEnded(attempt, product.End{Reason: product.Reason(reason), ExitCode: new(0), Log: &blob}, now)
		r.Log = &blob
		return []*product.Event{event}
	})
}

// settle ends a run and wakes who waits for it.
func (f *fixture) settle(id ids.Run, reason product.Reason, output string) {
	f.update(id, func(r *product.Run) []*product.Event {
		if output != "" {
			blob := f.blobs.put("output-"+string(id), output)
			r.Output = &blob
		}
		return []*product.Event{r.Settle(reason, "", now)}
	})
	f.engine.end(id)
}

// countRuns counts the runs of an organization in the store.
func (f *fixture) countRuns(org ids.Org) int {
	f.t.Helper()
	found, err := f.runs.Runs(f.t.Context(), org, product.RunQuery{})
	require.NoError(f.t, err)
	return len(found)
}
