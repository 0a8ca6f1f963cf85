package gateway_test

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	_ "gocloud.dev/blob/fileblob"

	"agentmarket/blobs"
	"agentmarket/fault"
	"agentmarket/gateway"
	"agentmarket/gateway/egress"
	"agentmarket/ids"
	"agentmarket/infra"
	"agentmarket/internal/storetest"
	"agentmarket/launch"
	"agentmarket/marketplace"
	"agentmarket/money"
	"agentmarket/product"
	"agentmarket/store"
)

// fixture is a gateway on a real store, whose pods are made up: the token of an attempt
// is its name.
type fixture struct {
	t     *testing.T
	db    *store.DB
	blobs *blobs.Store
	world storetest.World
	http  *httptest.Server
	now   time.Time
	clock func() time.Time

	mu       sync.Mutex
	pods     map[string]infra.Ref // by token
	ready    bool
	ended    []infra.Outcome
	endErr   error
	started  []ids.Run
	charges  []string
	chargeFn func() (marketplace.EventCharge, error)
	reserved []marketplace.ModelReservation
	settled  map[string]marketplace.ModelUsage
	noRoom   bool
	children []launch.Start
	secrets  map[string]string // of every organization
	childFn  func(launch.Start) (product.Run, error)
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	return newFixtureOn(t, storetest.SQLite(t))
}

func newFixtureOn(t *testing.T, db *store.DB) *fixture {
	t.Helper()
	return newFixtureWith(t, db, gateway.Models{})
}

func newFixtureWith(t *testing.T, db *store.DB, models gateway.Models) *fixture {
	t.Helper()
	f := &fixture{t: t, db: db, world: storetest.NewWorld(t, storetest.Of(db)), pods: map[string]infra.Ref{}, settled: map[string]marketplace.ModelUsage{}, ready: true, now: time.Now().UTC()}
	f.clock = func() time.Time { return f.now }
	var err error
	f.blobs, err = blobs.Open(t.Context(), "file://"+t.TempDir()+"?no_tmp_dir=true")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, f.blobs.Close()) })
	handler, stop, err := gateway.Server{
		Identities: f, Runs: db.Runs(), Sessions: db.Runs(), Charges: f, Engine: f, Blobs: f.blobs, Children: f, Models: models,
		Tools: gateway.Tools{Servers: db.Product(), Approvals: db.Runs(), Secrets: f},
		Log:   slog.New(slog.DiscardHandler), Now: func() time.Time { return f.clock() },
		Egress: egress.Config{Resolve: f.resolve, Allowed: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}},
	}.Handler()
	require.NoError(t, err)
	f.http = httptest.NewServer(handler)
	t.Cleanup(func() { f.http.Close(); stop() })
	return f
}

// Attempt implements gateway.Identities.
func (f *fixture) Attempt(_ context.Context, token string) (infra.Ref, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	ref, known := f.pods[token]
	if !known {
		return infra.Ref{}, fault.New(fault.Unauthenticated, "token_invalid", "the token is not one of a pod")
	}
	return ref, nil
}

// Adopted implements gateway.Identities: a pod without a run has none until somebody puts
// it among the pods.
func (f *fixture) Adopted(ctx context.Context, token string) (infra.Ref, error) {
	for {
		if ref, err := f.Attempt(ctx, token); err == nil || !strings.HasPrefix(token, "warm") {
			return ref, err
		}
		select {
		case <-ctx.Done():
			return infra.Ref{}, fault.Wrap(fault.Unavailable, ctx.Err(), "wait")
		case <-time.After(time.Millisecond):
		}
	}
}

// resolve has all hosts on this computer.
func (*fixture) resolve(context.Context, string) ([]netip.Addr, error) {
	return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
}

func (f *fixture) Ready() bool { return f.ready }

// JobEnded and StartRun implement gateway.Engine.
func (f *fixture) JobEnded(_ context.Context, _ infra.Ref, o infra.Outcome) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ended = append(f.ended, o)
	return f.endErr
}

func (f *fixture) StartRun(_ context.Context, run product.Run) error {
	f.started = append(f.started, run.ID)
	return nil
}

// ChargeEvent implements gateway.Charges.
func (f *fixture) ChargeEvent(_ context.Context, run ids.Run, _ int, key, event string, count int64, _ time.Time) (marketplace.EventCharge, error) {
	f.charges = append(f.charges, strings.Join([]string{string(run), key, event}, " "))
	return f.chargeFn()
}

// ReserveModel and SettleModel implement gateway.Charges.
func (f *fixture) ReserveModel(_ context.Context, r marketplace.ModelReservation) (money.Amount, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reserved = append(f.reserved, r)
	if f.noRoom {
		return money.Amount{}, fault.New(fault.PaymentRequired, marketplace.CodeBudgetExhausted, "the run may cost 1 at most")
	}
	return r.Most, nil
}

func (f *fixture) SettleModel(_ context.Context, _ ids.Run, key string, u marketplace.ModelUsage) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.settled[key] = u
	return nil
}

// Start implements gateway.Children.
func (f *fixture) Start(_ context.Context, s launch.Start) (product.Run, bool, error) {
	f.children = append(f.children, s)
	run, err := f.childFn(s)
	return run, err == nil, err
}

// going is a run whose attempts have begun, and the token of the last one.
func (f *fixture) going(attempts int) (product.Run, string) {
	run := f.world.Going(f.t, attempts)
	return run, f.pod(run, attempts)
}

// pod is the token of an attempt.
func (f *fixture) pod(run product.Run, attempt int) string {
	token := string(run.ID) + "/" + string(rune('0'+attempt))
	f.mu.Lock()
	defer f.mu.Unlock()
	f.pods[token] = infra.Ref{Run: run.ID, Attempt: attempt, Org: run.OrgID}
	return token
}

func (f *fixture) update(id ids.Run, change func(*product.Run) ([]*product.Event, error)) {
	f.t.Helper()
	_, err := f.db.Runs().UpdateRun(f.t.Context(), id, change)
	require.NoError(f.t, err)
}

// cancel cancels a run, as the API does.
func (f *fixture) cancel(id ids.Run) {
	f.t.Helper()
	f.update(id, func(r *product.Run) ([]*product.Event, error) {
		e, err := r.RequestCancel(product.Cancel{RequestedBy: "key_1"}, f.now)
		return []*product.Event{e}, err
	})
}

type answer struct {
	status int
	header http.Header
	text   string
}

// code is that of a problem.
func (a answer) code(t *testing.T) string {
	t.Helper()
	require.Equal(t, "application/problem+json", a.header.Get("Content-Type"), a.text)
	var p struct {
		Code   string `json:"code"`
		Status int    `json:"status"`
	}
	require.NoError(t, json.Unmarshal([]byte(a.text), &p))
	require.Equal(t, a.status, p.Status)
	return p.Code
}

func (f *fixture) call(token, method, path, body string, header ...string) answer {
	f.t.Helper()
	return f.send(token, method, path, strings.NewReader(body), header...)
}

func (f *fixture) send(token, method, path string, body io.Reader, header ...string) answer {
	f.t.Helper()
	request, err := http.NewRequestWithContext(f.t.Context(), method, f.http.URL+path, body)
	require.NoError(f.t, err)
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i+1 < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	response, err := f.http.Client().Do(request)
	require.NoError(f.t, err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	require.NoError(f.t, err)
	return answer{response.StatusCode, response.Header, string(text)}
}
