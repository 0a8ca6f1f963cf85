package conductor

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/mock"
	"github.com/stretchr/testify/require"
	"go.temporal.io/api/serviceerror"

	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/product"
	"agentmarket/workflows"
)

// queue has handed slots to runs; what a test does not fake panics.
type queue struct {
	product.QueueStore
	mu      sync.Mutex
	granted []ids.Run
	told    []ids.Run
	err     error // of Granted
	toldErr error
}

func (q *queue) Granted(_ context.Context, at time.Time, lease time.Duration, limit int) ([]ids.Run, error) {
	if !at.Equal(now) || lease != relayLease || limit != relayBatch {
		return nil, errors.New("asked with other values")
	}
	return q.granted, q.err
}

func (q *queue) Told(_ context.Context, run ids.Run) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.told = append(q.told, run)
	return q.toldErr
}

func TestSlotOutbox(t *testing.T) {
	both := []ids.Run{"run_1", "run_2"}
	down := serviceerror.NewUnavailable("down")
	for _, tt := range []struct {
		name     string
		queue    *queue
		answers  []error // of Temporal, one for each run that is told
		told     []ids.Run
		wantKind fault.Kind
	}{
		{"all that were granted", &queue{granted: both}, []error{nil, nil}, both, ""},
		{"one that has ended counts as told", &queue{granted: both}, []error{serviceerror.NewNotFound("ended"), nil}, both, ""},
		{"one that Temporal refuses does not stop the others", &queue{granted: both},
			[]error{serviceerror.NewInvalidArgument("no"), nil}, []ids.Run{"run_2"}, ""},
		{"one that could not be told stays due, and stops nobody", &queue{granted: both}, []error{down, nil}, []ids.Run{"run_2"}, fault.Unavailable},
		{"the store is away", &queue{granted: both, err: away}, nil, nil, fault.Unavailable},
		{"the store is away when they were told", &queue{granted: both, toldErr: away}, []error{nil, nil}, both, fault.Unavailable},
		{"nothing is due", &queue{}, nil, nil, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := aClient(t)
			for i, answer := range tt.answers {
				c.On("SignalWorkflow", mock.Anything, string(both[i]), "", workflows.SignalSlotFreed, nil).Return(answer).Once()
			}
			_, err := SlotOutbox(New(c, "default"), tt.queue, slog.New(slog.DiscardHandler))(t.Context(), now)
			if tt.wantKind == "" {
				require.NoError(t, err)
			} else {
				require.Equal(t, tt.wantKind, fault.KindOf(err))
			}
			require.ElementsMatch(t, tt.told, tt.queue.told)
		})
	}
}
