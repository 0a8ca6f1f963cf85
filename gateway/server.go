package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"agentmarket/agentruntime"
	"agentmarket/fault"
	"agentmarket/gateway/egress"
	"agentmarket/httpfault"
	"agentmarket/ids"
	"agentmarket/infra"
	"agentmarket/launch"
	"agentmarket/marketplace"
	"agentmarket/money"
	"agentmarket/product"
)

// Identities says which attempt a pod's token speaks for. What is wrong with it is
// fault.Unauthenticated.
type Identities interface {
	Attempt(ctx context.Context, token string) (infra.Ref, error)
	// Adopted waits until a run has adopted the warm pod that the token is of, or the
	// context ends.
	Adopted(ctx context.Context, token string) (infra.Ref, error)
	// Ready reports whether it knows the pods that there are.
	Ready() bool
}

// Runs is what is asked of the execution records.
type Runs interface {
	Run(ctx context.Context, id ids.Run) (product.Run, error)
	Input(ctx context.Context, id ids.Run) ([]byte, error)
}

// Charges is what is asked of layer 1, see marketplace.Settlements.
type Charges interface {
	ChargeEvent(ctx context.Context, run ids.Run, attempt int, key, event string, count int64, at time.Time) (marketplace.EventCharge, error)
	ReserveModel(ctx context.Context, r marketplace.ModelReservation) (money.Amount, error)
	SettleModel(ctx context.Context, run ids.Run, key string, u marketplace.ModelUsage) error
}

// Engine is what the workflows are told.
type Engine interface {
	JobEnded(ctx context.Context, ref infra.Ref, outcome infra.Outcome) error
	StartRun(ctx context.Context, run product.Run) error
}

// Blobs keeps bodies.
type Blobs interface {
	// PutStream stores what it reads, at most so many bytes: more is fault.TooLarge,
	// and nothing is stored.
	PutStream(ctx context.Context, key, contentType string, body io.Reader, most int64) (product.Blob, error)
	Get(ctx context.Context, b product.Blob) ([]byte, error)
	Delete(ctx context.Context, key string) error
}

// Children starts runs of other agents.
type Children interface {
	Start(ctx context.Context, s launch.Start) (product.Run, bool, error)
}

// Server answers pods. All fields are required but Egress and Models.
type Server struct {
	Identities Identities
	Runs       Runs
	Sessions   product.SessionStore
	Charges    Charges
	Engine     Engine
	Blobs      Blobs
	Children   Children
	// Egress says how hosts are resolved, which networks no host may lead to, and the
	// limits of connections. What it has of sessions and records is not used.
	Egress egress.Config
	// Models are what plans can grant of models; the zero Models: none.
	Models Models
	// Tools are the servers of tools and what people are asked about their calls.
	Tools Tools
	// PerAddress bounds the connections from one address, which is that of a pod: 128 if
	// it is not above zero.
	PerAddress int
	Log        *slog.Logger
	Now        func() time.Time
}

// gateway is a server that runs.
type gateway struct {
	Server
	limits    *limits
	tells     *teller
	redactors *redactors
	watch     *watch
	egress    *egress.Proxy
	models    http.Handler // nil: there are none
	tools     *toolCalls
	ending    chan struct{} // closed when who waits is to go
	end       func()        // close it
	unwatch   func()        // and wait until nobody watches
}

// The times that a connection may take. A body of an artifact may take long.
const (
	readHeaderTimeout = 5 * time.Second
	bodyTimeout       = 10 * time.Minute
	idleTimeout       = 2 * time.Minute
	maxHeaderBytes    = 32 << 10
)

// Serve answers calls on a listener of TCP until the context ends, then lets those in flight
// finish.
func (s Server) Serve(ctx context.Context, l net.Listener) error {
	g, err := s.start()
	if err != nil {
		return err
	}
	defer g.stop()
	// Or calls would wait for people, and pods for their runs, all the time that they have
	// to end.
	stop := context.AfterFunc(ctx, func() {
		g.tools.decisions.stop()
		g.end()
	})
	defer stop()
	return serve(ctx, newListener(l, s.PerAddress), g.handler())
}

// Handler is the server without a listener, for tests; stop it.
func (s Server) Handler() (handler http.Handler, stop func(), err error) {
	g, err := s.start()
	if err != nil {
		return nil, nil, err
	}
	return g.handler(), g.stop, nil
}

func (s Server) start() (*gateway, error) {
	g := &gateway{Server: s, limits: newLimits(s.Now), watch: newWatch(s.Sessions.OpenAttempts, s.Log), ending: make(chan struct{})}
	g.end = sync.OnceFunc(func() { close(g.ending) })
	g.egress = g.forwardProxy()
	var err error
	if g.models, err = g.modelEndpoint(); err != nil {
		return nil, err
	}
	if g.tools, err = g.startTools(); err != nil {
		return nil, err
	}
	g.tells = startTeller(s.Sessions)
	g.redactors = &redactors{kept: map[sessionKey]keptRedactor{}, sweptAt: s.Now()}
	ctx, cancel := context.WithCancel(context.Background())
	var watching sync.WaitGroup
	watching.Go(func() { g.watch.run(ctx) })
	watching.Go(func() { g.tools.decisions.run(ctx) })
	g.unwatch = func() { cancel(); watching.Wait() }
	return g, nil
}

// stop ends what is open, which is then recorded.
func (g *gateway) stop() {
	g.end()
	g.egress.Close()
	g.unwatch()
	g.tells.stop()
}

func (g *gateway) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	mux.HandleFunc("GET /readyz", g.ready)
	for pattern, call := range map[string]call{
		"GET /v1/run":                         g.getRun,
		"GET /v1/input":                       g.getInput,
		"GET " + agentruntime.PathSecretFiles: g.getSecretFiles,
		"POST /v1/events":                     g.postEvents,
		"POST /v1/heartbeat":                  g.postHeartbeat,
		"PUT /v1/result":                      g.putResult,
		"PUT /v1/artifacts/{name}":            g.putArtifact,
		"POST /v1/charges":                    g.postCharge,
		"POST /v1/runs":                       g.postChild,
		"GET /v1/runs/{id}":                   g.getChild,
		"POST /v1/end":                        g.postEnd,
	} {
		mux.Handle(pattern, g.session(g.Identities.Attempt, call))
	}
	mux.Handle("GET "+agentruntime.PathAdoption, g.session(g.adopted, g.getAdoption))
	if g.models != nil {
		mux.Handle("POST /v1/chat/completions", g.models)
		mux.Handle("GET /v1/models", g.models)
	}
	mux.Handle("/v1/mcp", g.tools.endpoint)
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		httpfault.WriteToAgent(w, fault.New(fault.NotFound, "call_unknown", "the gateway has no such call"))
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if proxied(r) {
			g.egress.ServeHTTP(w, r)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

func (g *gateway) ready(w http.ResponseWriter, _ *http.Request) {
	if !g.Identities.Ready() {
		httpfault.WriteToAgent(w, fault.New(fault.Unavailable, "", "the pods are not known yet"))
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// call answers one call of an attempt. What it returns is the body of the answer; nil:
// there is none.
type call func(w http.ResponseWriter, r *http.Request, ref infra.Ref) (status int, body any, err error)

// session finds out whose call it is, holds it to the limits of its run, and answers.
func (g *gateway) session(whose func(context.Context, string) (infra.Ref, error), do call) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, ok := bearer(r)
		if !ok {
			httpfault.WriteToAgent(w, tokenMissing())
			return
		}
		ref, err := whose(r.Context(), token)
		if errors.Is(err, errNotYet) {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		if err == nil {
			err = g.limits.enter(ref.Run)
			if err == nil {
				defer g.limits.leave(ref.Run)
			}
		}
		status, body := 0, any(nil)
		if err == nil {
			status, body, err = do(w, r, ref)
		}
		if err != nil {
			g.fail(w, r, ref, err)
			return
		}
		if body == nil {
			w.WriteHeader(status)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(body) // whoever hangs up misses the answer
	})
}

func tokenMissing() error {
	return fault.New(fault.Unauthenticated, "token_missing", "calls need the pod's token: Authorization: Bearer …")
}

// fail answers with a problem. What operators have to know of goes to the log.
func (g *gateway) fail(w http.ResponseWriter, r *http.Request, ref infra.Ref, err error) {
	if kind := fault.KindOf(err); (kind == fault.Internal || kind == fault.Unavailable) && r.Context().Err() == nil {
		g.Log.WarnContext(r.Context(), "call of an agent failed", "method", r.Method, "path", r.URL.Path,
			"run_id", ref.Run, "attempt", ref.Attempt, "error", err)
	}
	httpfault.WriteToAgent(w, err)
}

// open loads the run of a call, whose attempt must go on.
func (g *gateway) open(ctx context.Context, ref infra.Ref) (product.Run, error) {
	run, err := g.Runs.Run(ctx, ref.Run)
	if fault.Is(err, fault.NotFound) { // of another platform, in the same namespace
		return product.Run{}, product.SessionClosed()
	}
	if err != nil {
		return product.Run{}, err
	}
	if err := run.Open(ref.Attempt); err != nil {
		return product.Run{}, err
	}
	if run.Plan == nil {
		return product.Run{}, product.SessionClosed()
	}
	return run, nil
}
