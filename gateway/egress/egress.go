package egress

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"agentmarket/fault"
	"agentmarket/ids"
)

// The values of Limits where they have none.
const (
	defaultAtOnce       = 32
	defaultPerMinute    = 240
	defaultBytes        = 1 << 30
	defaultTotal        = 2000
	defaultHelloTimeout = 10 * time.Second
	defaultIdleTimeout  = 2 * time.Minute
)

// recordTimeout bounds the writing of a record.
const recordTimeout = 5 * time.Second

// Session is whose connection it is.
type Session struct {
	Run     ids.Run
	Attempt int
	// Hosts are the entries that are granted, see product.GrantsHost.
	Hosts []string
	// Ended is closed when the session ends, and its connections with it. Nil: it does
	// not end.
	Ended <-chan struct{}
}

// Limits bound what runs may do in one process. A field that is not above zero has its default.
type Limits struct {
	// AtOnce are the connections of a run at the same time: 32.
	AtOnce int
	// PerMinute are new connections of a run, those that are refused included: 240.
	PerMinute int
	// Bytes are those of all connections of a run, both ways: 1 GiB.
	Bytes int64
	// Total are the connections of all runs at the same time: 2000.
	Total int
	// HelloTimeout is the time for the ClientHello: 10 seconds.
	HelloTimeout time.Duration
	// IdleTimeout is how long a connection may say nothing: 2 minutes.
	IdleTimeout time.Duration
}

// Config is what a proxy is made of. Fields without a default are required.
type Config struct {
	// Session finds out whose request it is. Its faults are answered.
	Session func(*http.Request) (Session, error)
	// Begin keeps that a connection begins; an error: it must not. End keeps how one
	// ended, also one that was refused. Requests beyond the limits, and what is refused
	// after the first hundred times, are not kept.
	Begin func(context.Context, Connection) error
	End   func(context.Context, Connection) error
	// Refuse answers with a fault.
	Refuse func(http.ResponseWriter, *http.Request, error)

	// Resolve finds the addresses of a host. Nil: see Resolver.
	Resolve func(ctx context.Context, host string) ([]netip.Addr, error)
	// Private are the platform's networks, which no host may lead to, beside those
	// that are private by themselves.
	Private []netip.Prefix
	// Allowed are networks that hosts may lead to although they are private. Whoever
	// is granted any host reaches all that listens there.
	Allowed []netip.Prefix

	Limits Limits
	Log    *slog.Logger
	// Now is the clock of records; nil: time.Now.
	Now func() time.Time
}

// Proxy is a handler of CONNECT. It must be closed.
type Proxy struct {
	Config
	limits  *limits
	ctx     context.Context //nolint:containedctx // of the connections, which outlive the server
	stop    context.CancelFunc
	mu      sync.Mutex
	stopped bool
	tunnels sync.WaitGroup
}

// New returns a proxy.
func New(c Config) *Proxy {
	l := &c.Limits
	orDefault(&l.AtOnce, defaultAtOnce)
	orDefault(&l.PerMinute, defaultPerMinute)
	orDefault(&l.Bytes, defaultBytes)
	orDefault(&l.Total, defaultTotal)
	orDefault(&l.HelloTimeout, defaultHelloTimeout)
	orDefault(&l.IdleTimeout, defaultIdleTimeout)
	if c.Resolve == nil {
		c.Resolve = Resolver(netip.AddrPort{})
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	p := &Proxy{Config: c, limits: newLimits(c.Now, c.Limits)}
	p.ctx, p.stop = context.WithCancel(context.Background())
	return p
}

func orDefault[T int | int64 | time.Duration](field *T, value T) {
	if *field <= 0 {
		*field = value
	}
}

// Close ends all connections and waits until their ends are kept.
func (p *Proxy) Close() {
	p.mu.Lock()
	p.stopped = true
	p.mu.Unlock()
	p.stop()
	p.tunnels.Wait()
}

// enter counts a request that Close waits for.
func (p *Proxy) enter() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.stopped {
		p.tunnels.Add(1)
	}
	return !p.stopped
}

// ServeHTTP implements http.Handler. It returns when the connection has ended.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodConnect {
		p.Refuse(w, r, fault.New(fault.Invalid, "egress_tls_only", "hosts are reached with CONNECT, and TLS in it: use https://"))
		return
	}
	if !p.enter() {
		p.Refuse(w, r, fault.New(fault.Unavailable, "", "the gateway stops"))
		return
	}
	defer p.tunnels.Done()
	if err := p.connect(w, r); err != nil {
		p.Refuse(w, r, err)
	}
}

// connect is one connection. An error means that there is none, and nothing was answered.
func (p *Proxy) connect(w http.ResponseWriter, r *http.Request) error {
	s, err := p.Session(r)
	if err != nil {
		return err
	}
	use, err := p.limits.enter(s.Run)
	if err != nil {
		return err
	}
	defer p.limits.leave(use)
	t := &tunnel{Proxy: p, session: s, use: use, record: Connection{Run: s.Run, Attempt: s.Attempt, Started: p.Now()}}
	host, err := t.dial(r.Context(), r.RequestURI)
	if err != nil {
		if use.refusal() {
			t.end(r.Context())
		}
		return err
	}
	defer host.Close()
	if err := t.begin(r.Context()); err != nil {
		return err
	}
	defer t.end(r.Context())
	agent, early, err := hijack(w)
	if err != nil {
		t.record.Outcome = Broken
		p.Log.WarnContext(r.Context(), "connection of an agent not taken over", "run_id", s.Run, "attempt", s.Attempt, "error", err)
		return nil
	}
	defer agent.Close()
	t.run(agent, early, host)
	return nil
}

// hijack takes a connection over from the server, with what it has read already.
func hijack(w http.ResponseWriter) (agent net.Conn, early []byte, err error) {
	agent, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return nil, nil, err
	}
	early, err = buffered.Reader.Peek(buffered.Reader.Buffered())
	if err != nil {
		_ = agent.Close()
		return nil, nil, err
	}
	return agent, early, nil
}

// begin keeps that the connection begins. Who hangs up meanwhile does not leave it open
// whether that is on the record.
func (t *tunnel) begin(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordTimeout)
	defer cancel()
	return t.Begin(ctx, t.record)
}

// end keeps how the connection ended, whoever has gone.
func (t *tunnel) end(ctx context.Context) {
	t.record.Duration = t.Now().Sub(t.record.Started)
	t.record.Sent, t.record.Received = t.sent.Load(), t.received.Load()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordTimeout)
	defer cancel()
	if err := t.End(ctx, t.record); err != nil {
		t.Log.WarnContext(ctx, "end of a connection not kept", "run_id", t.record.Run, "attempt", t.record.Attempt,
			"host", t.record.Host, "sent", t.record.Sent, "received", t.record.Received, "outcome", t.record.Outcome, "error", err)
	}
}
