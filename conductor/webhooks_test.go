package conductor

import (
	"context"
	"log/slog"
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
	due        []product.Delivery
	dispatched []ids.Delivery
}

func (s *deliveries) DueDeliveries(context.Context, time.Time, time.Duration, int) ([]product.Delivery, error) {
	return s.due, nil
}

func (s *deliveries) DeliveryDispatched(_ context.Context, id ids.Delivery) error {
	s.dispatched = append(s.dispatched, id)
	return nil
}

func TestStartDelivery(t *testing.T) {
	for _, tt := range []struct {
		answer error
		want   fault.Kind
	}{
		{nil, ""},
		{serviceerror.NewWorkflowExecutionAlreadyStarted("it has ended", "", ""), ""},
		{serviceerror.NewUnavailable("down"), fault.Unavailable},
		{serviceerror.NewInvalidArgument("no"), fault.Invalid},
	} {
		c := aClient(t)
		options := mock.MatchedBy(func(o client.StartWorkflowOptions) bool {
			return o.ID == "msg_1" && o.TaskQueue == workflows.QueueProduct && o.WorkflowExecutionTimeout == 0 &&
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

// TestRelayAsksAgainAtOnce: a full outbox does not wait for the next look, and the
// others have their turn between its batches.
func TestRelayAsksAgainAtOnce(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	var asked []string
	relay := &Relay{
		Outboxes: map[string]Outbox{
			"a": func(context.Context, time.Time) (bool, error) {
				asked = append(asked, "a")
				return len(asked) < 5, nil
			},
			"b": func(context.Context, time.Time) (bool, error) {
				asked = append(asked, "b")
				if len(asked) == 6 {
					cancel()
				}
				return false, away
			},
		},
		Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return now }, Interval: time.Hour,
	}
	require.NoError(t, relay.Run(ctx))
	require.Equal(t, []string{"a", "b", "a", "b", "a", "b"}, asked)
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
	require.Equal(t, []ids.Delivery{"msg_1", "msg_3"}, store.dispatched, "what is refused stays due, and stops nobody")
}
