package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humagin"

	"agentmarket/fault"
	"agentmarket/product"
)

type eventsInput struct {
	ID          string `path:"id" doc:"The run."`
	After       int64  `query:"after" minimum:"0" doc:"Only events with a greater sequence number."`
	Limit       int    `query:"limit" minimum:"1" maximum:"200" default:"50" doc:"Not for streams."`
	LastEventID string `header:"Last-Event-ID" doc:"For streams: as after, sent by clients that reconnect."`
	Accept      string `header:"Accept" doc:"text/event-stream for a stream." hidden:"true"`
}

type eventsBody struct {
	Items     []eventBody `json:"items"`
	NextAfter *int64      `json:"next_after" doc:"Pass it as after for the next page; null when there is none now."`
}

type eventBody struct {
	Seq     int64     `json:"seq" doc:"From 1, without gaps within the run."`
	Type    string    `json:"type" doc:"created, planned, attempt_created, attempt_started, attempt_ended, cancel_requested, ended; of the agent itself agent_progress, agent_note; of its connections egress_began, egress_ended, egress_refused. The set may grow." example:"attempt_started"`
	At      time.Time `json:"at"`
	Attempt int       `json:"attempt,omitempty"`
	Message string    `json:"message,omitempty"`
	// Data of an agent's own events is of any shape.
	Data json.RawMessage `json:"data,omitempty" doc:"What the agent gave along: any JSON value. With agent_progress {\"percent\": 0 to 100, \"data\": …}; with egress_… host, port, address, outcome, sent_bytes, received_bytes and duration_ms, as far as they are known."`
}

func typeOf[T any]() reflect.Type { return reflect.TypeFor[T]() }

func eventBodyOf(e product.Event) eventBody {
	return eventBody{Seq: e.Seq, Type: string(e.Type), At: e.At.UTC(), Attempt: e.Attempt, Message: e.Message, Data: e.Data}
}

func (a *app) getEvents(ctx context.Context, in *eventsInput) (*streamAnswer, error) {
	run, err := a.run(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	if !wantsStream(requestOf(ctx).header) {
		return a.listEvents(ctx, run, in)
	}
	after := in.After
	if in.LastEventID != "" {
		if after, err = strconv.ParseInt(in.LastEventID, 10, 64); err != nil || after < 0 {
			return nil, requestInvalid(fault.Field{Pointer: "Last-Event-ID", Message: "is not an id of this stream"})
		}
	}
	found, err := a.Runs.Events(ctx, run.ID, after, eventBatch)
	if err != nil {
		return nil, err
	}
	if len(found) == 0 && run.Status.Terminal() {
		// The one answer that keeps an EventSource from asking again.
		return &streamAnswer{Body: func(hc huma.Context) { humagin.Unwrap(hc).Writer.WriteHeader(http.StatusNoContent) }}, nil
	}
	release, err := a.takePlace()
	if err != nil {
		return nil, err
	}
	return &streamAnswer{Body: func(hc huma.Context) {
		defer release()
		out := newStream(hc, "text/event-stream", true)
		if err := a.streamEvents(hc.Context(), out, run, after, found); err != nil {
			broken(hc.Context())
		}
	}}, nil
}

// wantsStream reports whether a client accepts a stream of events.
func wantsStream(header http.Header) bool {
	for _, part := range strings.Split(strings.Join(header.Values("Accept"), ","), ",") {
		if mediaType, _, err := mime.ParseMediaType(part); err == nil && mediaType == "text/event-stream" {
			return true
		}
	}
	return false
}

func (a *app) listEvents(ctx context.Context, run product.Run, in *eventsInput) (*streamAnswer, error) {
	found, err := a.Runs.Events(ctx, run.ID, in.After, in.Limit+1)
	if err != nil {
		return nil, err
	}
	body := eventsBody{Items: []eventBody{}}
	if len(found) > in.Limit {
		found = found[:in.Limit]
		body.NextAfter = new(found[in.Limit-1].Seq)
	}
	for _, e := range found {
		body.Items = append(body.Items, eventBodyOf(e))
	}
	return &streamAnswer{Body: func(hc huma.Context) {
		hc.SetHeader("Content-Type", "application/json")
		hc.SetStatus(http.StatusOK)
		_ = writeJSON(hc.BodyWriter(), body)
	}}, nil
}

const eventBatch = 100

// streamEvents sends events as they are stored, until the one that ends the run.
// A store that does not answer for a while only makes the stream wait.
func (a *app) streamEvents(ctx context.Context, out *stream, run product.Run, after int64, found []product.Event) error {
	lastSent := time.Now()
	pause := shortPause
	for {
		ended := run.Status.Terminal()
		for _, e := range found {
			if err := writeEvent(out, e); err != nil {
				return err
			}
			after, lastSent, pause = e.Seq, time.Now(), shortPause
			ended = ended || e.Type == product.EventEnded
		}
		if ended && len(found) < eventBatch {
			return nil
		}
		if len(found) < eventBatch {
			if err := sleep(ctx, pause); err != nil {
				return err
			}
			pause = longer(pause)
		}
		if time.Since(lastSent) > pingInterval {
			if _, err := out.Write([]byte(": still here\n\n")); err != nil {
				return err
			}
			lastSent = time.Now()
		}
		var err error
		if found, err = a.Runs.Events(ctx, run.ID, after, eventBatch); err != nil && !fault.Is(err, fault.Unavailable) {
			a.Log.WarnContext(ctx, "events interrupted", "run_id", run.ID, "error", err, "request_id", requestOf(ctx).id)
			return fmt.Errorf("load events: %w", err)
		}
	}
}

// writeEvent writes one event in the form of Server-Sent Events.
func writeEvent(out *stream, e product.Event) error {
	var piece bytes.Buffer
	fmt.Fprintf(&piece, "id: %d\nevent: %s\ndata: ", e.Seq, e.Type)
	data, err := json.Marshal(eventBodyOf(e))
	if err != nil {
		return fmt.Errorf("encode event: %w", err)
	}
	piece.Write(data)
	piece.WriteString("\n\n")
	_, err = out.Write(piece.Bytes())
	return err
}
