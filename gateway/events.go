package gateway

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"agentmarket/agentruntime"
	"agentmarket/fault"
	"agentmarket/infra"
	"agentmarket/product"
)

// maxEventsBody bounds the body of one call: as many events as it may have, of the
// size that they may have.
const maxEventsBody = 1 << 20

// postEvents stores what an agent tells of its work.
func (g *gateway) postEvents(w http.ResponseWriter, r *http.Request, ref infra.Ref) (int, any, error) {
	var body agentruntime.GatewayEvents
	if err := decode(w, r, maxEventsBody, &body); err != nil {
		return 0, nil, err
	}
	redactor, err := g.redactor(r.Context(), ref)
	if err != nil {
		return 0, nil, err
	}
	events, err := g.eventsOf(body, redactor)
	if err != nil {
		return 0, nil, err
	}
	if len(events) == 0 {
		_, err = g.open(r.Context(), ref)
		return http.StatusAccepted, accepted{0}, err
	}
	err = g.tells.tell(r.Context(), product.Told{Run: ref.Run, Attempt: ref.Attempt, Events: events})
	return http.StatusAccepted, accepted{len(events)}, err
}

type accepted struct {
	Accepted int `json:"accepted"`
}

// eventsOf checks events and makes them those of the record.
func (g *gateway) eventsOf(body agentruntime.GatewayEvents, redactor *agentruntime.Redactor) ([]product.Event, error) {
	var wrong []fault.Field
	refuse := func(at, format string, args ...any) {
		wrong = append(wrong, fault.Field{Pointer: at, Message: fmt.Sprintf(format, args...)})
	}
	if len(body.Events) > agentruntime.MaxEvents {
		refuse("/events", "must have at most %d entries", agentruntime.MaxEvents)
		body.Events = nil
	}
	now := g.Now()
	var events []product.Event
	for i, e := range body.Events {
		at := fmt.Sprintf("/events/%d", i)
		event := product.Event{At: now, Message: agentruntime.CleanMessage(redactor.Text(e.Message))}
		if string(e.Data) != "null" {
			event.Data = redactor.JSON(e.Data)
		}
		if len(event.Data) > agentruntime.MaxEventData {
			refuse(at+"/data", "must have at most %d bytes", agentruntime.MaxEventData)
		}
		switch e.Type {
		case agentruntime.EventNote:
			event.Type = product.EventAgentNote
			if e.Percent != nil {
				refuse(at+"/percent", "is only for %s", agentruntime.EventProgress)
			}
		case agentruntime.EventProgress:
			event.Type = product.EventAgentProgress
			if e.Percent == nil || *e.Percent < 0 || *e.Percent > 100 {
				refuse(at+"/percent", "must be between 0 and 100")
				continue
			}
			event.Data = withPercent(*e.Percent, event.Data)
		default:
			refuse(at+"/type", "must be %s or %s", agentruntime.EventProgress, agentruntime.EventNote)
		}
		events = append(events, event)
	}
	if len(wrong) > 0 {
		return nil, fault.New(fault.Invalid, "events_invalid", "the events are not valid").WithFields(wrong...)
	}
	return events, nil
}

// withPercent is the data of an event of progress.
func withPercent(percent int, data json.RawMessage) json.RawMessage {
	if len(data) == 0 {
		return json.RawMessage(fmt.Sprintf(`{"percent":%d}`, percent))
	}
	return json.RawMessage(fmt.Sprintf(`{"percent":%d,"data":%s}`, percent, data))
}

// teller writes the events of many calls at once: while one batch is written, the next
// one gathers.
type teller struct {
	store   product.SessionStore
	queue   chan telling
	ctx     context.Context //nolint:containedctx // of the batches, which are of many calls
	cancel  context.CancelFunc
	stopped chan struct{}
}

type telling struct {
	told product.Told
	done chan error
}

const (
	// tellBatch bounds the calls of one batch, tellQueue those that wait for it.
	tellBatch = 256
	tellQueue = 4096
)

func startTeller(store product.SessionStore) *teller {
	ctx, cancel := context.WithCancel(context.Background())
	t := &teller{store: store, queue: make(chan telling, tellQueue), ctx: ctx, cancel: cancel, stopped: make(chan struct{})}
	go t.run()
	return t
}

// stop ends the writing; calls that wait get fault.Unavailable.
func (t *teller) stop() {
	t.cancel()
	<-t.stopped
}

// tell stores what one call tells, and returns when it is stored or refused.
func (t *teller) tell(ctx context.Context, told product.Told) error {
	one := telling{told, make(chan error, 1)}
	select {
	case t.queue <- one:
	default:
		return fault.New(fault.Unavailable, "", "too many events wait to be stored")
	}
	select {
	case err := <-one.done:
		return err
	case <-ctx.Done(): // whoever hung up may find it stored all the same
		return fault.Wrap(fault.Unavailable, ctx.Err(), "tell events")
	case <-t.stopped:
		return fault.New(fault.Unavailable, "", "the gateway stops")
	}
}

func (t *teller) run() {
	defer close(t.stopped)
	for {
		select {
		case first := <-t.queue:
			t.write(t.gather(first))
		case <-t.ctx.Done():
			return
		}
	}
}

// gather takes what waits, up to the size of a batch.
func (t *teller) gather(first telling) []telling {
	batch := []telling{first}
	for len(batch) < tellBatch {
		select {
		case one := <-t.queue:
			batch = append(batch, one)
		default:
			return batch
		}
	}
	return batch
}

func (t *teller) write(batch []telling) {
	told := make([]product.Told, len(batch))
	for i, one := range batch {
		told[i] = one.told
	}
	errs := t.store.TellEvents(t.ctx, told)
	if len(batch) > 1 && fault.Is(errs[0], fault.Internal) {
		// What the database takes of nobody must not keep the others from telling.
		for i := range told {
			errs[i] = t.store.TellEvents(t.ctx, told[i:i+1])[0]
		}
	}
	for i, err := range errs {
		batch[i].done <- err
	}
}
