package api_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"io"
	"sync"
	"time"

	"agentmarket/audit"
	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/infra"
	"agentmarket/marketplace"
	"agentmarket/product"
)

// clock is the time of a test.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// registry is where images are. It has all of them but those with an error.
type registry struct {
	mu   sync.Mutex
	errs map[string]error
}

func (r *registry) fail(image string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.errs == nil {
		r.errs = map[string]error{}
	}
	r.errs[image] = err
}

func (r *registry) Resolve(_ context.Context, image string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.errs[image]
}

// people is an identity provider: its tokens and whom they are for. Every other
// token is a bad one.
type people map[string]marketplace.Identity

func (p people) Identify(_ context.Context, token string) (marketplace.Identity, error) {
	person, known := p[token]
	if !known {
		return marketplace.Identity{}, fault.New(fault.Unauthenticated, "key_invalid", "the token is not valid")
	}
	return person, nil
}

// layer1 is the store of the marketplace, which a test can make fail.
type layer1 struct {
	marketplace.Store
	mu         sync.Mutex
	entitleErr error
	keyErr     error
	touched    int
}

func (o *layer1) Entitle(ctx context.Context, by audit.Actor, e marketplace.Entitlement) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.entitleErr != nil {
		return o.entitleErr
	}
	return o.Store.Entitle(ctx, by, e)
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
	decided []product.Decision
	freed   []ids.Run
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

func (e *engine) Decided(ctx context.Context, run product.Run) error {
	return e.tell(ctx, func() { e.decided = append(e.decided, run.Approval.Decision) })
}

func (e *engine) SlotFreed(ctx context.Context, run ids.Run) error {
	return e.tell(ctx, func() { e.freed = append(e.freed, run) })
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
	live map[string]func(context.Context, infra.LogOptions) io.ReadCloser
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
		l.live = map[string]func(context.Context, infra.LogOptions) io.ReadCloser{}
	}
	l.live[ref.Name()] = open
}

func (l *clusterLogs) Logs(ctx context.Context, ref infra.Ref, opts infra.LogOptions) (io.ReadCloser, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return nil, l.err
	}
	open := l.live[ref.Name()]
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

// away is an identity provider that does not answer.
type away struct{}

func (away) Identify(context.Context, string) (marketplace.Identity, error) {
	return marketplace.Identity{}, fault.New(fault.Unavailable, "", "dial 10.0.0.9: refused")
}

// sealing is a vault whose seals anybody opens.
type sealing struct{}

func (sealing) Seal(value []byte, place string) ([]byte, error) {
	return []byte(place + ": " + base64.StdEncoding.EncodeToString(value)), nil
}
