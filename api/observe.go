package api

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/marketplace"
)

// request is what is known of a request besides its parameters. It travels in
// the context.
type request struct {
	id     string
	path   string
	header http.Header
	// control sets the deadlines of the connection.
	control *http.ResponseController

	caller marketplace.Principal // set by authorize
	body   []byte                // set by readBody
}

type requestKey struct{}

// requestOf returns the request of a context that observe made.
func requestOf(ctx context.Context) *request {
	r, _ := ctx.Value(requestKey{}).(*request)
	if r == nil {
		return &request{}
	}
	return r
}

const (
	headerRequestID    = "X-Request-Id"
	maxRequestIDLength = 64
	// writeTimeout bounds an answer, and each piece of a stream.
	writeTimeout = 30 * time.Second
)

// observe is the outermost middleware: it names the request, sets what every
// answer carries, and logs one line when it is over. Values of queries, bodies
// and keys never reach the log.
func (a *app) observe(c *gin.Context) {
	began := time.Now()
	r := &request{
		id: requestID(c.Request.Header), path: c.Request.URL.Path, header: c.Request.Header,
		control: http.NewResponseController(c.Writer),
	}
	c.Request = c.Request.WithContext(context.WithValue(c.Request.Context(), requestKey{}, r))
	r.extend(writeTimeout)

	header := c.Writer.Header()
	header.Set(headerRequestID, r.id)
	header.Set("X-Content-Type-Options", "nosniff")
	if strings.HasPrefix(r.path, "/v1/") || r.path == smokeTestPath {
		header.Set("Cache-Control", "no-store")
	}
	defer func() {
		level, route := slog.LevelInfo, c.FullPath()
		switch route {
		case "/health", "/livez", "/readyz":
			level = slog.LevelDebug
		case "":
			route = "unmatched" // the path itself is the caller's text
		}
		a.Log.LogAttrs(c.Request.Context(), level, "request served",
			slog.String("method", c.Request.Method),
			slog.String("route", route),
			slog.Int("status", c.Writer.Status()),
			slog.Int64("duration_ms", time.Since(began).Milliseconds()),
			slog.String("request_id", r.id),
			slog.String("org_id", string(r.caller.OrgID)),
			slog.Bool("client_gone", c.Request.Context().Err() != nil))
	}()
	c.Next()
}

// requestID accepts the identifier of a proxy or client where it is harmless in
// logs and headers.
func requestID(header http.Header) string {
	id := header.Get(headerRequestID)
	harmless := id != "" && len(id) <= maxRequestIDLength && strings.IndexFunc(id, func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("._-", r))
	}) < 0
	if harmless {
		return id
	}
	return ids.New[string](ids.PrefixRequest)
}

// extend gives the answer more time. Writers without deadlines (in tests) have
// all the time anyway.
func (r *request) extend(d time.Duration) {
	if r.control != nil {
		_ = r.control.SetWriteDeadline(time.Now().Add(d))
	}
}

// unhurried takes the deadline for reading away: the request is read, and a
// deadline that passes while it is answered would look like a client that left.
func (r *request) unhurried() {
	if r.control != nil {
		_ = r.control.SetReadDeadline(time.Time{})
	}
}

// recoverPanics turns a panic into a problem, or, when part of an answer is out
// already, breaks the connection so that nobody takes the part for the whole.
func (a *app) recoverPanics(c *gin.Context) {
	defer func() {
		recovered := recover()
		if recovered == nil {
			return
		}
		err, isError := recovered.(error)
		if isError && errors.Is(err, http.ErrAbortHandler) {
			panic(recovered)
		}
		if c.Request.Context().Err() == nil {
			// Only the type: the value may quote what the caller sent.
			a.Log.ErrorContext(c.Request.Context(), "request panicked",
				"panic", fmt.Sprintf("%T", recovered), "stack", string(debug.Stack()),
				"request_id", requestOf(c.Request.Context()).id)
		}
		if c.Writer.Written() {
			panic(http.ErrAbortHandler)
		}
		a.fail(c, fault.New(fault.Internal, "", "panic"))
	}()
	c.Next()
}

func (a *app) noRoute(c *gin.Context) {
	a.fail(c, newProblem(http.StatusNotFound, "route_not_found", "there is nothing at this path"))
}

// noMethod answers 405; Gin has set Allow.
func (a *app) noMethod(c *gin.Context) {
	a.fail(c, newProblem(http.StatusMethodNotAllowed, "method_not_allowed",
		"this path does not answer "+c.Request.Method))
}
