package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"agentmarket/agentruntime"
	"agentmarket/ids"
	"agentmarket/product"
)

// FuzzEvents: whatever an agent sends, what is stored of it is within its bounds.
func FuzzEvents(f *testing.F) {
	f.Add(`{"events":[{"type":"progress","percent":1,"data":{"a":[1]}}]}`)
	f.Add(`{"events":[{"type":"note","message":"\u0000\ud800","data":"\ud800"}]}`)
	g := &gateway{Server: Server{Now: time.Now}}
	f.Fuzz(func(t *testing.T, text string) {
		var body agentruntime.GatewayEvents
		if decode(httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "/v1/events", strings.NewReader(text)), maxEventsBody, &body) != nil {
			return
		}
		events, err := g.eventsOf(body, nil)
		if err != nil {
			return
		}
		require.LessOrEqual(t, len(events), agentruntime.MaxEvents)
		for _, e := range events {
			require.True(t, len(e.Data) == 0 || json.Valid(e.Data))
			require.LessOrEqual(t, len(e.Data), agentruntime.MaxEventData+100)
			require.True(t, utf8.ValidString(e.Message))
			require.LessOrEqual(t, len(e.Message), agentruntime.MaxMessageBytes)
		}
	})
}

// picky is a store that takes nothing of what one run tells.
type picky struct {
	product.SessionStore
	batches chan int
}

func (p picky) TellEvents(_ context.Context, told []product.Told) []error {
	p.batches <- len(told)
	errs := make([]error, len(told))
	for _, t := range told {
		if t.Run == "run_bad" {
			for i := range errs {
				errs[i] = errors.New("invalid byte sequence")
			}
		}
	}
	return errs
}

// TestOneBadCallOfABatch: it fails alone.
func TestOneBadCallOfABatch(t *testing.T) {
	store := picky{batches: make(chan int, 10)}
	tells := &teller{store: store, ctx: t.Context()}
	var batch []telling
	for _, run := range []ids.Run{"run_a", "run_bad", "run_b"} {
		batch = append(batch, telling{product.Told{Run: run}, make(chan error, 1)})
	}
	tells.write(batch)
	require.NoError(t, <-batch[0].done)
	require.Error(t, <-batch[1].done)
	require.NoError(t, <-batch[2].done)
	require.Len(t, store.batches, 4)
}
