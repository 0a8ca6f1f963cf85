package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"agentmarket/agentruntime"
)

// Progress tells the caller how far the run is, 0 to 100 percent.
func (r *Run) Progress(ctx context.Context, percent int, message string) error {
	if !r.HasGateway() {
		_, err := fmt.Fprintf(r.log, "%d%% %s\n", percent, message)
		return err
	}
	return r.tell(ctx, agentruntime.GatewayEvent{Type: agentruntime.EventProgress, Percent: &percent, Message: message})
}

// Note tells the caller anything else. Data may be nil, or what encodes to JSON of at
// most 4 KiB.
func (r *Run) Note(ctx context.Context, message string, data any) error {
	event := agentruntime.GatewayEvent{Type: agentruntime.EventNote, Message: message}
	if data != nil {
		var err error
		if event.Data, err = json.Marshal(data); err != nil {
			return fmt.Errorf("encode note: %w", err)
		}
	}
	if !r.HasGateway() {
		_, err := fmt.Fprintf(r.log, "%s %s\n", message, event.Data)
		return err
	}
	return r.tell(ctx, event)
}

func (r *Run) tell(ctx context.Context, event agentruntime.GatewayEvent) error {
	return r.call(ctx, http.MethodPost, "/v1/events", "", agentruntime.GatewayEvents{Events: []agentruntime.GatewayEvent{event}}, nil)
}

// Granted is what the plan grants to the run.
func (r *Run) Granted(ctx context.Context) (agentruntime.GatewayRun, error) {
	var granted agentruntime.GatewayRun
	err := r.call(ctx, http.MethodGet, "/v1/run", "", nil, &granted)
	return granted, err
}

// Partial says what the result would be if the run ended now: of a run that reaches its
// budget it is the output. The last one counts; [Run.Result] is for the end.
func (r *Run) Partial(ctx context.Context, value any) error {
	return r.call(ctx, http.MethodPut, "/v1/result", "", value, nil)
}

// Artifact stores a file beside the result; the same name again replaces it. It is sent
// again when the gateway asks for patience and content is an [io.Seeker], which is read
// from where it stands.
func (r *Run) Artifact(ctx context.Context, name string, content io.Reader) (agentruntime.GatewayBody, error) {
	var stored agentruntime.GatewayBody
	if !agentruntime.ValidArtifactName(name) {
		return stored, fmt.Errorf("store artifact: %q is no name of an artifact", name)
	}
	var start int64
	seeker, again := content.(io.Seeker)
	if again {
		var err error
		if start, err = seeker.Seek(0, io.SeekCurrent); err != nil {
			again = false
		}
	}
	tries := 0
	body := func() (io.Reader, error) {
		tries++
		switch {
		case tries == 1:
		case !again:
			return nil, errOnce
		default:
			if _, err := seeker.Seek(start, io.SeekStart); err != nil {
				return nil, fmt.Errorf("store artifact: %w", err)
			}
		}
		return io.NopCloser(content), nil // the caller closes it
	}
	answer, err := r.send(ctx, http.MethodPut, "/v1/artifacts/"+name, http.Header{"Content-Type": {"application/octet-stream"}}, body)
	if err == nil {
		err = json.Unmarshal(answer, &stored)
	}
	return stored, err
}

// Charge charges the buyer for an event of the price, once for each key. An error that
// is [ErrBudgetExhausted] ends the run.
func (r *Run) Charge(ctx context.Context, key, event string, count int64) (agentruntime.GatewayCharged, error) {
	var charged agentruntime.GatewayCharged
	err := r.call(ctx, http.MethodPost, "/v1/charges", key, agentruntime.GatewayCharge{Event: event, Count: count}, &charged)
	return charged, err
}

// StartChild starts another agent, publisher/name, once for each key.
func (r *Run) StartChild(ctx context.Context, key, name string, input any) (agentruntime.GatewayChildRun, error) {
	var child agentruntime.GatewayChildRun
	body, err := json.Marshal(input)
	if err != nil {
		return child, fmt.Errorf("encode input of %s: %w", name, err)
	}
	err = r.call(ctx, http.MethodPost, "/v1/runs", key, agentruntime.GatewayChild{Agent: name, Input: body}, &child)
	return child, err
}

// Child is how a child of this run is.
func (r *Run) Child(ctx context.Context, id string) (agentruntime.GatewayChildRun, error) {
	var child agentruntime.GatewayChildRun
	err := r.call(ctx, http.MethodGet, "/v1/runs/"+url.PathEscape(id), "", nil, &child)
	return child, err
}

// Heartbeat is nil while the attempt goes on, and [ErrSessionClosed] when it is over.
func (r *Run) Heartbeat(ctx context.Context) error {
	err := r.call(ctx, http.MethodPost, "/v1/heartbeat", "", nil, nil)
	if errors.Is(err, ErrSessionClosed) {
		return ErrSessionClosed
	}
	return err
}
