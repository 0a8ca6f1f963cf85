package api

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humagin"

	"agentmarket/marketplace"
)

// streamAnswer is an answer that is written piece by piece.
type streamAnswer struct{ Body func(huma.Context) }

func (a *app) routeStreams() {
	text := &huma.MediaType{Schema: &huma.Schema{Type: huma.TypeString}}
	handle(a, route{
		id: "get-logs", method: http.MethodGet, path: "/v1/runs/{id}/logs", tag: tagRuns, action: marketplace.ActRunsRead,
		summary: "Read the log of a run",
		description: "What the agent wrote to stdout and stderr: live while it runs, afterwards from the archive. " +
			"A run without a log yet has an empty one. With follow=true the answer begins when there is something to read, " +
			"goes on over all attempts, and ends with the run.",
		content:  map[string]*huma.MediaType{"text/plain": text},
		problems: []string{"run_not_found", "data_removed", "too_many_streams"},
	}, a.getLogs)
	events := a.spec.OpenAPI().Components.Schemas
	handle(a, route{
		id: "get-events", method: http.MethodGet, path: "/v1/runs/{id}/events", tag: tagRuns, action: marketplace.ActRunsRead,
		summary: "Read the events of a run",
		description: "Oldest first. With Accept: text/event-stream they come as they happen, each with its sequence number as id; " +
			"the stream ends with the run and goes on after Last-Event-ID. 204 says that nothing will follow.",
		content: map[string]*huma.MediaType{
			"application/json":  {Schema: events.Schema(typeOf[eventsBody](), true, "EventsBody")},
			"text/event-stream": text,
		},
		alsoStatus: http.StatusNoContent,
		problems:   []string{"run_not_found", "too_many_streams"},
	}, a.getEvents)
}

// takePlace takes one of the places for open streams; the caller gives it back.
func (a *app) takePlace() (release func(), err error) {
	select {
	case a.followers <- struct{}{}:
		return func() { <-a.followers }, nil
	default:
		return nil, newProblem(http.StatusTooManyRequests, "too_many_streams",
			"this server has no room for another open stream").with("Retry-After", "5")
	}
}

// stream writes an answer piece by piece: each piece leaves at once and has its
// own deadline.
type stream struct {
	writer  http.ResponseWriter
	request *request
}

// newStream begins an answer. At once sends its head without waiting for the
// first piece.
func newStream(ctx huma.Context, contentType string, atOnce bool) *stream {
	c := humagin.Unwrap(ctx)
	s := &stream{writer: c.Writer, request: requestOf(ctx.Context())}
	s.request.unhurried()
	s.writer.Header().Set("Content-Type", contentType)
	// Proxies that collect answers would hold the pieces back.
	s.writer.Header().Set("X-Accel-Buffering", "no")
	s.writer.WriteHeader(http.StatusOK)
	if atOnce {
		_ = s.flush() // a client that has left is noticed with the first piece
	}
	return s
}

// Write implements io.Writer.
func (s *stream) Write(piece []byte) (int, error) {
	s.request.extend(writeTimeout)
	n, err := s.writer.Write(piece)
	if err == nil {
		err = s.flush()
	}
	return n, err
}

func (s *stream) flush() error {
	if s.request.control == nil {
		return nil
	}
	return s.request.control.Flush()
}

// broken breaks the connection, so that the client does not take a part of the
// answer for the whole.
func broken(ctx context.Context) {
	if ctx.Err() == nil {
		panic(http.ErrAbortHandler)
	}
}

// pingInterval is how often a quiet stream shows that it lives.
const pingInterval = 15 * time.Second
