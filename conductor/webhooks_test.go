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
	enums "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"

	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/product"
	"agentmarket/workflows"
)

// deliveries are due once, until they were dispatched.
type deliveries struct {
	product.DeliveryStore
	mu         sync.Mutex
	due        []product.Delivery
	dispatched []ids.Delivery
	again      []time.Time
	failed     map[ids.Delivery]product.DeliveryTry
}

func (s *deliveries) DueDeliveries(context.Context, time.Time, time.Duration, int) ([]product.Delivery, error) {
	return s.due, nil
}

func (s *deliveries) Delivery(_ context.Context, id ids.Delivery) (product.Delivery, error) {
	return product.Delivery{ID: id, Tries: []product.DeliveryTry{{Number: 1}, {Number: 3}}}, nil
}

func (s *deliveries) RecordTry(_ context.Context, id ids.Delivery, try product.DeliveryTry, status product.DeliveryStatus) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if status != product.DeliveryFailed {
		return errors.New("recorded as " + string(status))
	}
	s.failed = map[ids.Delivery]product.DeliveryTry{id: try}
	return nil
}

func (s *deliveries) DeliveryDispatched(_ context.Context, id ids.Delivery, again time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dispatched, s.again = append(s.dispatched, id), append(s.again, again)
	return nil
}

func TestStartDelivery(t *testing.T) {
	for _, tt := range []struct {
		answer error
		want   fault.Kind
	}{
		{nil, ""},
		{serviceerror.NewWorkflowExecutionAlreadyStarted("it has ended", "", ""), fault.NotFound},
		{serviceerror.NewUnavailable("down"), fault.Unavailable},
		{serviceerror.NewInvalidArgument("no"), fault.Invalid},
	} {
		c := aClient(t)
		options := mock.MatchedBy(func(o client.StartWorkflowOptions) bool {
			return o.ID == "msg_1" && o.TaskQueue == workflows.QueueProduct && o.WorkflowExecutionTimeout == 0 &&
				o.WorkflowExecutionErrorWhenAlreadyStarted &&
				o.WorkflowIDReusePolicy == enums.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE &&
				o.WorkflowIDConflictPolicy == enums.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING
		})
		c.On("ExecuteWorkflow", mock.Anything, options, mock.Anything, workflows.DeliverWebhookInput{DeliveryID: "msg_1"}).Return(nil, tt.answer).Once()
		err := New(c, "default").StartDelivery(t.Context(), product.Delivery{ID: "msg_1", OrgID: "org_1"})
		if tt.want == "" {
			require.NoError(t, err)
		} else {
			require.Equal(t, tt.want, fault.KindOf(err))
		}
	}
}

// TestFullOutbox: there may be more behind a full batch.
func TestFullOutbox(t *testing.T) {
	for due, more := range map[int]bool{0: false, relayBatch - 1: false, relayBatch: true} {
		c, store := aClient(t), &deliveries{due: make([]product.Delivery, due)}
		c.On("ExecuteWorkflow", mock.Anything, mock.Anything, mock.Anything, mock.Anything).Return(nil, nil).Maybe()
		got, err := WebhookOutbox(New(c, "default"), store, slog.New(slog.DiscardHandler))(t.Context(), now)
		require.NoError(t, err)
		require.Equal(t, more, got, due)
		require.Len(t, store.dispatched, due)
	}
}

func TestWebhookOutbox(t *testing.T) {
	c, store := aClient(t), &deliveries{due: []product.Delivery{{ID: "msg_1"}, {ID: "msg_2"}, {ID: "msg_3"}, {ID: "msg_4"}}}
	for id, answer := range map[string]error{
		"msg_1": nil, "msg_2": serviceerror.NewInvalidArgument("no"), "msg_3": nil, "msg_4": serviceerror.NewUnavailable("down"),
	} {
		options := mock.MatchedBy(func(o client.StartWorkflowOptions) bool { return o.ID == id })
		c.On("ExecuteWorkflow", mock.Anything, options, mock.Anything, mock.Anything).Return(nil, answer).Once()
	}
	_, err := WebhookOutbox(New(c, "default"), store, slog.New(slog.DiscardHandler))(t.Context(), now)
	require.Equal(t, fault.Unavailable, fault.KindOf(err))
	require.ElementsMatch(t, []ids.Delivery{"msg_1", "msg_3"}, store.dispatched, "what is refused stays due, and stops nobody")
}

// TestLostDelivery: a delivery that is due although its workflow was started is looked
// at again; it has failed where the workflow has ended without a word.
func TestLostDelivery(t *testing.T) {
	young := product.Delivery{ID: "msg_1", CreatedAt: now}
	old := product.Delivery{ID: "msg_1", CreatedAt: now.Add(-product.DeliveryTime - 2*time.Hour)}
	ended := serviceerror.NewWorkflowExecutionAlreadyStarted("it has ended", "", "")
	for _, tt := range []struct {
		name     string
		delivery product.Delivery
		answer   error
		again    []time.Time
		lost     bool
	}{
		{"it begins", young, nil, []time.Time{now.Add(product.DeliveryTime + time.Hour)}, false},
		{"it goes on for longer than it should", old, nil, []time.Time{now.Add(time.Hour)}, false},
		{"it has ended", old, ended, nil, true},
		{"it was ended at once", young, ended, nil, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, store := aClient(t), &deliveries{due: []product.Delivery{tt.delivery}}
			starts(c, "msg_1", tt.answer).Once()
			_, err := WebhookOutbox(New(c, "default"), store, slog.New(slog.DiscardHandler))(t.Context(), now)
			require.NoError(t, err)
			require.Equal(t, tt.again, store.again)
			if !tt.lost {
				require.Empty(t, store.failed)
				return
			}
			require.Equal(t, map[ids.Delivery]product.DeliveryTry{
				"msg_1": {Number: 4, At: now, Error: "the delivery was ended before its time by an operator of the platform"},
			}, store.failed)
		})
	}
}
