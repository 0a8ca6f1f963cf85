package models

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"time"
)

// errAgentGone ends a stream to which nobody listens.
var errAgentGone = errors.New("the agent has gone")

// stream answers a call that is streamed.
func (c *call) stream(ctx context.Context, end context.CancelCauseFunc, w http.ResponseWriter) error {
	silence := time.AfterFunc(c.e.SilenceTimeout, func() { end(errSilence) })
	defer silence.Stop()
	response, err := c.send(ctx)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if !hasType(response, "text/event-stream") {
		return c.misbehaved("no stream")
	}
	out := newStream(w)
	heard := func() { silence.Reset(c.e.SilenceTimeout) }
	err = c.relay(newEvents(&bounded{response.Body, c.e.MaxResponseBytes}), out, heard)
	if err != nil {
		end(err) // where a cause is there already, it stays
	}
	c.settle(ctx)
	switch {
	case err == nil:
		out.data([]byte(doneMark))
	case !errors.Is(err, errAgentGone) && !errors.Is(context.Cause(ctx), context.Canceled):
		refused := c.cut(ctx, err)
		c.e.Log.WarnContext(ctx, "stream of a model cut", "run_id", c.session.Run, "attempt", c.session.Attempt, "code", refused.code, "error", err)
		out.fail(refused)
	}
	return nil
}

// cut says why a stream ends before its end.
func (c *call) cut(ctx context.Context, err error) refusal {
	var r refusal
	switch {
	case errors.As(err, &r):
		return r
	case errors.Is(err, errTooMuch) || errors.Is(err, errEventTooLarge):
		return c.misbehaved("too long an answer")
	default:
		return c.broken(ctx, err)
	}
}

// relay passes the chunks of a stream on, until its end. What it counts is in the tally.
func (c *call) relay(from *events, to *stream, heard func()) error {
	for {
		data, err := from.next()
		heard()
		switch {
		case errors.Is(err, io.EOF) && c.tally.reported != nil:
			c.tally.whole = true // some upstreams end like this
			return nil
		case errors.Is(err, io.EOF):
			return io.ErrUnexpectedEOF
		case err != nil:
			return err
		case len(data) == 0:
			to.alive()
		case string(data) == doneMark:
			c.tally.whole = true
			return nil
		default:
			if err := c.chunk(data, to); err != nil {
				return err
			}
		}
		if to.gone {
			return errAgentGone
		}
	}
}

// chunk passes one chunk on, unless it says only what was used and the agent did not ask
// for that. The output that is counted stays within what was reserved.
func (c *call) chunk(data []byte, to *stream) error {
	var said answer
	if err := json.Unmarshal(data, &said); err != nil {
		return c.misbehaved("what is no chunk")
	}
	if !isNull(said.Error) {
		return refusal{status: http.StatusBadGateway, code: "upstream_failed", message: "the server of the model failed; try again"}
	}
	if reported := parseUsage(said.Usage); reported != nil {
		c.tally.reported, c.tally.whole = reported, len(said.Choices) == 0
		if c.tally.whole && !c.request.usage {
			return nil
		}
	}
	next := c.tally.with(said.said())
	if next.surely() > c.bound.output {
		return refusal{status: http.StatusPaymentRequired, code: "budget_exhausted", message: "the answer has more tokens than the budget of the run pays for"}
	}
	c.tally = next
	if bytes.ContainsAny(data, "\r\n") {
		var line bytes.Buffer
		_ = json.Compact(&line, data) // it was read before
		data = line.Bytes()
	}
	to.data(data)
	return nil
}

// stream is an answer of server-sent events.
type stream struct {
	w          http.ResponseWriter
	connection *http.ResponseController
	begun      bool
	gone       bool // the agent does not listen any more
}

func newStream(w http.ResponseWriter) *stream {
	return &stream{w: w, connection: http.NewResponseController(w)}
}

// data writes one event.
func (s *stream) data(data []byte) { s.write("data: ", string(data), "\n\n") }

// alive says that the answer goes on.
func (s *stream) alive() { s.write(":\n\n") }

// fail ends the stream with an error. OpenAI's clients know it by its name.
func (s *stream) fail(r refusal) {
	if !s.begun {
		r.write(s.w)
		return
	}
	if text, err := json.Marshal(r.body()); err == nil {
		s.data(text)
	}
}

// write writes and flushes. An agent that reads nothing has gone.
func (s *stream) write(parts ...string) {
	if s.gone {
		return
	}
	if !s.begun {
		s.begun = true
		s.w.Header().Set("Content-Type", "text/event-stream")
		s.w.Header().Set("Cache-Control", "no-store")
		s.w.WriteHeader(http.StatusOK)
	}
	_ = s.connection.SetWriteDeadline(time.Now().Add(writeTimeout)) // tests have no connection
	for _, part := range parts {
		if _, err := io.WriteString(s.w, part); err != nil {
			s.gone = true
			return
		}
	}
	s.gone = s.connection.Flush() != nil
}
