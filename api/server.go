package api

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"runtime/debug"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/gin-gonic/gin"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"agentmarket/audit"
	"agentmarket/ids"
	"agentmarket/infra"
	"agentmarket/launch"
	"agentmarket/marketplace"
	"agentmarket/product"
)

// Engine is the workflow engine behind the runs. Errors are faults: NotFound for
// a workflow that does not exist (yet), Unavailable for an engine that does not
// answer. Saying something twice is harmless.
type Engine interface {
	// StartRun starts the workflow of a run.
	StartRun(ctx context.Context, run product.Run) error
	// CancelRun passes on the request to cancel that the run carries.
	CancelRun(ctx context.Context, run product.Run) error
	// Decided tells the workflow of a run that its approval was decided.
	Decided(ctx context.Context, run product.Run) error
	// WaitRun returns nil when the workflow of a run has ended.
	WaitRun(ctx context.Context, run ids.Run) error
	// SlotFreed tells the workflow of a run in the queue that it was given a slot.
	SlotFreed(ctx context.Context, run ids.Run) error
}

// RunStore keeps the execution records, and finds them by request.
type RunStore interface {
	product.RunStore
	product.RunKeys
}

// Logs opens the log of an attempt while its container exists; fault.NotFound
// while there is none. The reader ends when the context does.
type Logs interface {
	Logs(ctx context.Context, ref infra.Ref, opts infra.LogOptions) (io.ReadCloser, error)
}

// Blobs reads the bodies that runs left. A body that is not there is
// fault.NotFound.
type Blobs interface {
	// Get reads a body whole and checks it against its record.
	Get(ctx context.Context, b product.Blob) ([]byte, error)
	// Reader opens a body.
	Reader(ctx context.Context, key string) (io.ReadCloser, error)
}

// ToolApprovals keeps what people are asked about calls of tools.
type ToolApprovals interface {
	ToolApprovals(ctx context.Context, run ids.Run) ([]product.ToolApproval, error)
	DecideTool(ctx context.Context, by audit.Actor, run ids.Run, id ids.ToolApproval, d product.Decision, note string, at time.Time) (product.ToolApproval, error)
}

// SmokeTest says what POST /schedule-job starts.
type SmokeTest struct {
	// Agent is the example agent, publisher/name. Its latest version runs.
	Agent string
	// OrgID is the organization under which the call works without an API key,
	// for callers on this computer only (see fromThisComputer). Empty: every
	// caller needs a key.
	OrgID ids.Org
}

// RateLimit bounds the requests of one API key, in each process by itself.
type RateLimit struct {
	// PerSecond is how fast spent requests come back. 0 means 50; negative
	// means that there is no limit.
	PerSecond float64
	// Burst is how many may come at once. 0 means 100.
	Burst int
}

// Server is what the API needs. Fields without a default are required.
type Server struct {
	Marketplace marketplace.Store
	Agents      product.AgentStore
	Channels    product.ChannelStore
	Names       product.AgentNames
	Runs        RunStore
	Bodies      product.RunBodies
	Artifacts   Artifacts
	Control     product.ControlStore
	// ToolApprovals is what people are asked about calls of tools.
	ToolApprovals ToolApprovals
	Engine        Engine
	Schedules     ScheduleEngine
	Logs          Logs
	Blobs         Blobs
	// Vault seals secrets: see secrets.Vault, which may have no keys.
	Vault Vault

	// Policy is how the marketplace is configured. Its zero value charges no fee,
	// needs no notice and no review; the currency is USD then.
	Policy marketplace.Policy
	// Limits are the platform's bounds of plans, for estimates. Default:
	// product.DefaultLimits.
	Limits product.Limits
	// Images answers whether an image of a submission can be had. nil: images are
	// not looked for.
	Images marketplace.Images
	// Payments collects payments into wallets. Default: an operator confirms
	// them by hand.
	Payments marketplace.PaymentProvider
	// Identity verifies tokens of people. nil: callers have API keys.
	Identity marketplace.IdentityProvider

	// WebhookInsecure lets webhooks be at http:// addresses, as the sender must be
	// told, too: see webhooks.Config.
	WebhookInsecure bool

	// Checks are the dependencies that GET /readyz asks, by the name that it
	// reports. Each has two seconds. None means always ready.
	Checks map[string]func(context.Context) error

	// Log receives a line per request and everything unexpected. nil: no log.
	Log *slog.Logger
	// Now is the clock of records and of API keys. Default: time.Now.
	Now func() time.Time
	// Version is what GET /health reports. Default: what the build recorded.
	Version string

	// NamespaceOf is the Kubernetes namespace of an attempt, told in answers of
	// POST /schedule-job for kubectl. It changes nothing.
	NamespaceOf func(infra.Ref) string
	// WebURL is the address of the marketplace's pages, without a trailing
	// slash. Empty leaves the links to it out.
	WebURL string
	// TemporalWebURL is the address of the Temporal Web UI, without a trailing
	// slash; or, with {run_id} in it, that of a run's workflow there. Empty
	// leaves the link out.
	TemporalWebURL string
	// TemporalNamespace completes TemporalWebURL. Default: "default".
	TemporalNamespace string

	// SmokeTest enables POST /schedule-job. nil: it answers 404.
	SmokeTest *SmokeTest
	// RateLimit bounds each API key.
	RateLimit RateLimit
	// MaxFollowers bounds the open streams of logs and events of this process.
	// 0 means 256.
	MaxFollowers int
}

const defaultMaxFollowers = 256

// app is a Server that serves: with defaults filled in and with its state.
type app struct {
	Server
	launcher  *launch.Launcher
	spec      huma.API
	actions   map[string]marketplace.Action // by operation
	bodies    map[string]*jsonschema.Schema // by operation; nothing for calls without a body
	limits    *limiter
	followers chan struct{} // a place for each open stream
	touches   chan struct{} // a place for each use of a key that is being recorded
}

// quietGin keeps Gin from printing its routes. The mode is a global of Gin.
var quietGin = sync.OnceFunc(func() { gin.SetMode(gin.ReleaseMode) })

// Handler returns the API. The Server must not change afterwards. It panics
// when the description of the API contradicts itself, which a test finds.
func (s *Server) Handler() http.Handler {
	_, handler := s.app()
	return handler
}

func (s *Server) app() (*app, http.Handler) {
	quietGin()
	a := &app{Server: *s, actions: map[string]marketplace.Action{}, touches: make(chan struct{}, 8)}
	a.fillDefaults()
	a.launcher = &launch.Launcher{
		Market: a.Marketplace, Agents: a.Agents, Channels: a.Channels, Runs: a.Runs, Control: a.Control,
		Limits: a.Limits, Policy: a.Policy, Now: a.Now,
	}
	a.limits = newLimiter(a.RateLimit)
	a.followers = make(chan struct{}, a.MaxFollowers)

	engine := gin.New()
	engine.HandleMethodNotAllowed = true
	engine.RedirectTrailingSlash = false
	engine.ForwardedByClientIP = false
	engine.Use(a.observe, a.recoverPanics)
	engine.NoRoute(a.noRoute)
	engine.NoMethod(a.noMethod)

	a.spec = newSpec(engine, a.Version, a.problemOfHuma)
	a.routeHealth()
	a.routeSmokeTest()
	a.routeAgents()
	a.routeRuns()
	a.routeSchedules()
	a.routeOrganizations()
	a.routeMembers()
	a.routeKeys()
	a.routeListings()
	a.routeCatalog()
	a.routeBuying()
	a.routeBilling()
	a.routePolicies()
	a.routeLimits()
	a.routeToolServers()
	a.routeToolApprovals()
	a.routeWebhooks()
	a.routeSecrets()
	a.routePlatform()
	a.routeStreams()
	described := descriptionOf(a.spec.OpenAPI())
	a.bodies = described.bodies
	described.serve(engine)
	return a, engine
}

func (a *app) fillDefaults() {
	if a.Log == nil {
		a.Log = slog.New(slog.DiscardHandler)
	}
	if a.Now == nil {
		a.Now = time.Now
	}
	if a.MaxFollowers <= 0 {
		a.MaxFollowers = defaultMaxFollowers
	}
	if a.Policy.Currency == "" {
		a.Policy.Currency = marketplace.DefaultPolicy().Currency
	}
	if a.Limits == (product.Limits{}) {
		a.Limits = product.DefaultLimits()
	}
	if a.Payments == nil {
		a.Payments = marketplace.ManualPayments{}
	}
	if a.TemporalNamespace == "" {
		a.TemporalNamespace = "default"
	}
	if a.Version == "" {
		a.Version = "unknown"
		if build, ok := debug.ReadBuildInfo(); ok && build.Main.Version != "" {
			a.Version = build.Main.Version
		}
	}
}

// ErrServerClosed is what Serve returns after Shutdown or Close.
var ErrServerClosed = http.ErrServerClosed

// The times of a connection. There is no WriteTimeout: each request sets its own
// deadline, because waiting for a run and following a log outlast any fixed one.
const (
	readHeaderTimeout = 5 * time.Second
	readTimeout       = 30 * time.Second
	idleTimeout       = 2 * time.Minute
	maxHeaderBytes    = 32 << 10
)

// NewHTTPServer returns an HTTP server for the API with every bound that a
// server on the open network needs.
func NewHTTPServer(addr string, handler http.Handler) *http.Server {
	return &http.Server{
		Addr:              addr,
		Handler:           handler,
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       readTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
	}
}
