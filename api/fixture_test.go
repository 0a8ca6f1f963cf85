package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentmarket/api"
	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/infra"
	"agentmarket/marketplace"
	"agentmarket/product"
	"agentmarket/store"
)

var now = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

const image = "registry.example.com/acme/greeter@sha256:" +
	"8f1f0c5a2a0c3c9d4d0fda4b8e0e7b9c6a5d4e3f2b1a0918273645546372819a"

// fixture is a server on a real store, with everything beyond it made up.
type fixture struct {
	t      *testing.T
	server api.Server
	http   *httptest.Server
	market *layer1
	agents product.AgentStore
	runs   product.RunStore
	engine *engine
	logs   *clusterLogs
	blobs  *memory
	log    *lines
	org    marketplace.Organization
	token  string
}

// newFixture serves with one organization, acme, whose key has every scope.
func newFixture(t *testing.T, change ...func(*api.Server)) *fixture {
	t.Helper()
	db, err := store.Open(t.Context(), store.Config{URL: "sqlite://" + filepath.Join(t.TempDir(), "store.db")})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	require.NoError(t, db.Migrate(t.Context()))
	f := &fixture{
		t: t, market: &layer1{Store: db.Marketplace()},
		agents: db.Agents(), runs: db.Runs(),
		engine: &engine{ended: map[ids.Run]chan struct{}{}}, logs: &clusterLogs{}, blobs: &memory{}, log: &lines{},
	}
	f.server = api.Server{
		Marketplace: f.market, Agents: f.agents, Runs: f.runs, Engine: f.engine, Logs: f.logs, Blobs: f.blobs,
		Log: slog.New(slog.NewJSONHandler(f.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Now: func() time.Time { return now }, Version: "v1.2.3", RunsNamespace: "agentmarket-runs",
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

func (f *fixture) organization(name string) (marketplace.Organization, string) {
	f.t.Helper()
	org, err := marketplace.NewOrganization(name, now)
	require.NoError(f.t, err)
	require.NoError(f.t, f.market.CreateOrganization(f.t.Context(), org))
	return org, f.key(org.ID, nil, marketplace.AllScopes()...)
}

func (f *fixture) key(org ids.Org, change func(*marketplace.APIKey), scopes ...marketplace.Scope) string {
	f.t.Helper()
	key, token := marketplace.NewAPIKey(org, "test", scopes, now)
	if change != nil {
		change(&key)
	}
	require.NoError(f.t, f.market.CreateAPIKey(f.t.Context(), key))
	return token.Reveal()
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
		event := r.AttemptEnded(attempt, product.End{Reason: product.Reason(reason), ExitCode: new(0)}, now)
		blob := f.blobs.put(fmt.Sprintf("log-%s-%d", id, attempt), log)
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

type answer struct {
	status int
	header http.Header
	text   string
}

func (a answer) json(t *testing.T) map[string]any {
	t.Helper()
	var v map[string]any
	require.NoError(t, json.Unmarshal([]byte(a.text), &v), a.text)
	return v
}

// call is a request in a test. The zero values: no body, the key of acme.
type call struct {
	method, path, body string
	header             map[string]string
	token              string
	noToken            bool
}

func (f *fixture) request(ctx context.Context, c call) *http.Request {
	f.t.Helper()
	r, err := http.NewRequestWithContext(ctx, c.method, f.http.URL+c.path, strings.NewReader(c.body))
	require.NoError(f.t, err)
	if c.token == "" {
		c.token = f.token
	}
	if !c.noToken {
		r.Header.Set("Authorization", "Bearer "+c.token)
	}
	if c.body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for name, value := range c.header {
		r.Header.Set(name, value)
	}
	return r
}

func (f *fixture) do(c call) answer {
	f.t.Helper()
	response, err := http.DefaultClient.Do(f.request(f.t.Context(), c))
	require.NoError(f.t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	require.NoError(f.t, err)
	return answer{response.StatusCode, response.Header, string(body)}
}

func (f *fixture) get(path string) answer { return f.do(call{method: http.MethodGet, path: path}) }

func (f *fixture) post(path, body string, header ...string) answer {
	c := call{method: http.MethodPost, path: path, body: body, header: map[string]string{}}
	for i := 0; i+1 < len(header); i += 2 {
		c.header[header[i]] = header[i+1]
	}
	return f.do(c)
}

// layer1 is the store of the marketplace, which a test can make fail.
type layer1 struct {
	marketplace.Store
	mu       sync.Mutex
	grantErr error
	keyErr   error
	touched  int
}

func (o *layer1) Grant(ctx context.Context, e marketplace.Entitlement) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.grantErr != nil {
		return o.grantErr
	}
	return o.Store.Grant(ctx, e)
}

func (o *layer1) APIKeyByPrefix(ctx context.Context, prefix string) (marketplace.APIKey, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.keyErr != nil {
		return marketplace.APIKey{}, o.keyErr
	}
	return o.Store.APIKeyByPrefix(ctx, prefix)
}

func (o *layer1) TouchAPIKey(ctx context.Context, id ids.Key, at time.Time) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.touched++
	return o.Store.TouchAPIKey(ctx, id, at)
}

func (o *layer1) set(change func(*layer1)) {
	o.mu.Lock()
	defer o.mu.Unlock()
	change(o)
}

// engine remembers what it was told. With hang it answers only when its caller
// gives up.
type engine struct {
	mu      sync.Mutex
	down    error
	hang    bool
	starts  []ids.Run
	cancels []product.Cancel
	started func(ids.Run) // called beside the first start
	ended   map[ids.Run]chan struct{}
}

func (e *engine) set(change func(*engine)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	change(e)
}

func (e *engine) tell(ctx context.Context, note func()) error {
	e.mu.Lock()
	down, hang := e.down, e.hang
	if down == nil && !hang {
		note()
	}
	e.mu.Unlock()
	if hang {
		<-ctx.Done()
		return fault.Wrap(fault.Unavailable, ctx.Err(), "secret address of the engine")
	}
	return down
}

func (e *engine) StartRun(ctx context.Context, run product.Run) error {
	return e.tell(ctx, func() {
		e.starts = append(e.starts, run.ID)
		if e.started != nil {
			go e.started(run.ID)
		}
	})
}

func (e *engine) CancelRun(ctx context.Context, run product.Run) error {
	return e.tell(ctx, func() { e.cancels = append(e.cancels, *run.Cancel) })
}

func (e *engine) channel(id ids.Run) chan struct{} {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.ended[id] == nil {
		e.ended[id] = make(chan struct{})
	}
	return e.ended[id]
}

func (e *engine) end(id ids.Run) { close(e.channel(id)) }

func (e *engine) WaitRun(ctx context.Context, id ids.Run) error {
	select {
	case <-e.channel(id):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// clusterLogs has the live logs of attempts.
type clusterLogs struct {
	mu   sync.Mutex
	live map[infra.Ref]func(context.Context, infra.LogOptions) io.ReadCloser
	err  error
}

func (l *clusterLogs) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.err = err
}

func (l *clusterLogs) set(ref infra.Ref, open func(context.Context, infra.LogOptions) io.ReadCloser) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.live == nil {
		l.live = map[infra.Ref]func(context.Context, infra.LogOptions) io.ReadCloser{}
	}
	l.live[ref] = open
}

func (l *clusterLogs) Logs(ctx context.Context, ref infra.Ref, opts infra.LogOptions) (io.ReadCloser, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return nil, l.err
	}
	open := l.live[ref]
	if open == nil {
		return nil, fault.New(fault.NotFound, "log_not_ready", "there is no log yet")
	}
	return open(ctx, opts), nil
}

// memory is a blob store.
type memory struct {
	mu     sync.Mutex
	bodies map[string]string
}

func (m *memory) put(key, body string) product.Blob {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.bodies == nil {
		m.bodies = map[string]string{}
	}
	m.bodies[key] = body
	return product.Blob{Key: key, Size: int64(len(body)), SHA256: "unused"}
}

func (m *memory) Get(_ context.Context, b product.Blob) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	body, ok := m.bodies[b.Key]
	if !ok {
		return nil, fault.New(fault.NotFound, "blob_not_found", "the body is not stored (any more)")
	}
	return []byte(body), nil
}

func (m *memory) Reader(ctx context.Context, key string) (io.ReadCloser, error) {
	body, err := m.Get(ctx, product.Blob{Key: key})
	if err != nil {
		return nil, err
	}
	return io.NopCloser(bytes.NewReader(body)), nil
}

// lines collects a log.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
