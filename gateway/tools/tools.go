package tools

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"agentmarket/fault"
	"agentmarket/httpfault"
	"agentmarket/ids"
)

// The values of a Config or a Server where it has none.
const (
	defaultPerMinute       = 120
	defaultMaxCalls        = 5000
	defaultTimeout         = time.Minute
	defaultMaxBytes        = 1 << 20
	defaultApprovalTimeout = time.Hour
	maxArguments           = 256 << 10
	maxServers             = 32
)

// Session is whose request it is.
type Session struct {
	Run     ids.Run
	Attempt int
	Org     ids.Org
	// Grants are names of tools, server/tool. One that ends in * grants all that begin
	// so.
	Grants []string
	// Ended is closed when the session ends, and its calls with it. Nil: the session
	// lasts as long as a request.
	Ended <-chan struct{}
}

// Server is an MCP server that is registered.
type Server struct {
	// Name is the first part of its tools' names: 1 to 24 lower-case letters, digits
	// and hyphens.
	Name string
	// URL is its endpoint, of streamable HTTP. Logs may have it: it is no credential.
	URL string
	// Headers are its credentials, asked for once a call. A result that repeats one is
	// not passed on. Nil: it wants none.
	Headers func(context.Context) (http.Header, error)
	// Timeout bounds a call; zero: a minute.
	Timeout time.Duration
	// MaxBytes bounds a result; zero: 1 MiB.
	MaxBytes int64
	// ApproveTools are names of its tools that a person has to agree to, each call. One
	// that ends in * means all that begin so.
	ApproveTools []string
	// HTTPClient connects to it, as that of the Config does; nil: that one.
	HTTPClient *http.Client
}

// Config is what an endpoint is made of. Fields without a default are required.
type Config struct {
	// Session finds out whose request it is. Its faults are answered as HTTP.
	Session func(*http.Request) (Session, error)
	// Servers are those that a session may know of, at most 32.
	Servers func(context.Context, Session) ([]Server, error)
	// Approve asks a person, and waits for the answer or the end of the context. Nil:
	// nobody is there, and what needs a person is denied.
	Approve func(context.Context, Session, Call, json.RawMessage) (bool, error)
	// Record keeps a call that has ended, however it did. Calls beyond the limits are
	// not recorded, and those under way when a process dies are not either.
	Record func(context.Context, Call)
	// HTTPClient connects to the servers, and decides where it connects to. Redirects
	// are not followed and cookies not kept, whatever it says of them.
	HTTPClient *http.Client
	Log        *slog.Logger
	// Now is the clock; nil: time.Now.
	Now func() time.Time
	// PerMinute and MaxCalls bound the calls and listings of a run, in one process;
	// zero: 120 and 5000.
	PerMinute, MaxCalls int
	// ApprovalTimeout bounds how long a call waits for a person; zero: an hour.
	ApprovalTimeout time.Duration
}

// endpoint is a handler of the requests of runs.
type endpoint struct {
	Config
	limits *limits
	mcp    http.Handler
}

// New returns the handler of the MCP endpoint, for whatever path it is mounted on. What
// is wrong with the config is an error.
func New(c Config) (http.Handler, error) {
	if c.Session == nil || c.Servers == nil || c.Record == nil || c.HTTPClient == nil || c.Log == nil {
		return nil, errors.New("tools: session, servers, record, HTTP client and log are required")
	}
	if c.PerMinute < 0 || c.MaxCalls < 0 || c.ApprovalTimeout < 0 {
		return nil, errors.New("tools: a limit is below zero")
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.PerMinute == 0 {
		c.PerMinute = defaultPerMinute
	}
	if c.MaxCalls == 0 {
		c.MaxCalls = defaultMaxCalls
	}
	if c.ApprovalTimeout == 0 {
		c.ApprovalTimeout = defaultApprovalTimeout
	}
	e := &endpoint{Config: c, limits: newLimits(c.Now, c.PerMinute, c.MaxCalls)}
	e.mcp = mcp.NewStreamableHTTPHandler(served, &mcp.StreamableHTTPOptions{
		Stateless: true, JSONResponse: true, MaxRequestBodyBytes: maxBody, PropagateRequestCancellation: true,
		// The guard is against browsers; pods name the gateway as they like, and say
		// whose they are with each request.
		DisableLocalhostProtection: true,
	})
	return e, nil
}

// serverKey is where a request has the server that answers it.
type serverKey struct{}

func served(r *http.Request) *mcp.Server {
	server, _ := r.Context().Value(serverKey{}).(*mcp.Server)
	return server
}

// ServeHTTP implements http.Handler.
func (e *endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s, err := e.Session(r)
	if err == nil {
		err = readWhole(w, r)
	}
	if err != nil {
		if kind := fault.KindOf(err); kind == fault.Internal || kind == fault.Unavailable {
			e.Log.WarnContext(r.Context(), "request for tools failed", "run_id", s.Run, "attempt", s.Attempt, "error", err)
		}
		httpfault.WriteToAgent(w, err)
		return
	}
	ctx, end := lifetime(r.Context(), s)
	defer end(nil)
	e.mcp.ServeHTTP(w, r.WithContext(context.WithValue(ctx, serverKey{}, e.server(ctx, s))))
}

// errSessionEnded ends the calls of a session that has ended.
var errSessionEnded = errors.New("the session of the run has ended")

// lifetime is the context of a request: it ends with the session, too.
func lifetime(ctx context.Context, s Session) (context.Context, context.CancelCauseFunc) {
	ctx, end := context.WithCancelCause(ctx)
	if s.Ended != nil {
		go func() {
			select {
			case <-s.Ended:
				end(errSessionEnded)
			case <-ctx.Done():
			}
		}()
	}
	return ctx, end
}

// server is the MCP server of one request. Of what MCP knows it answers tools only.
func (e *endpoint) server(lifetime context.Context, s Session) *mcp.Server {
	server := mcp.NewServer(&mcp.Implementation{Name: "agentmarket", Version: "1"}, &mcp.ServerOptions{
		Capabilities: &mcp.ServerCapabilities{Tools: &mcp.ToolCapabilities{}},
	})
	server.AddReceivingMiddleware(func(next mcp.MethodHandler) mcp.MethodHandler {
		return func(ctx context.Context, method string, request mcp.Request) (mcp.Result, error) {
			switch asked := request.(type) {
			case *mcp.ListToolsRequest:
				return e.list(lifetime, s)
			case *mcp.CallToolRequest:
				return e.call(lifetime, s, asked.Params)
			}
			if method == "initialize" || method == "ping" || method == "server/discover" || strings.HasPrefix(method, "notifications/") {
				return next(ctx, method, request)
			}
			return nil, &jsonrpc.Error{Code: jsonrpc.CodeMethodNotFound, Message: "the endpoint offers tools only"}
		}
	})
	return server
}
