package workflows_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/mock"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"

	"agentmarket/activities"
	"agentmarket/product"
	"agentmarket/workflows"
)

var edge *activities.Webhooks

// message is one delivery against activities that say what the test wants, in
// virtual time.
type message struct {
	*testsuite.TestWorkflowEnvironment
	tries  []time.Duration // since the start
	queues []string
	ends   []activities.EndDeliveryInput
}

func newMessage(t *testing.T, deliver func(try int) (activities.DeliverResult, error)) *message {
	t.Helper()
	var suite testsuite.WorkflowTestSuite
	m := &message{TestWorkflowEnvironment: suite.NewTestWorkflowEnvironment()}
	m.RegisterWorkflow(workflows.DeliverWebhook)
	m.RegisterActivity(&activities.Webhooks{})
	began := m.Now()
	m.OnActivity(edge.Deliver, mock.Anything, activities.DeliveryRef{DeliveryID: "msg_1"}).Return(
		func(ctx context.Context, _ activities.DeliveryRef) (activities.DeliverResult, error) {
			m.tries = append(m.tries, m.Now().Sub(began).Round(time.Second))
			m.queues = append(m.queues, activity.GetInfo(ctx).TaskQueue)
			return deliver(len(m.tries))
		})
	m.OnActivity(edge.EndDelivery, mock.Anything, mock.Anything).Return(
		func(_ context.Context, in activities.EndDeliveryInput) error {
			m.ends = append(m.ends, in)
			return nil
		}).Maybe()
	return m
}

func (m *message) run(t *testing.T) product.DeliveryStatus {
	t.Helper()
	m.ExecuteWorkflow(workflows.DeliverWebhook, workflows.DeliverWebhookInput{DeliveryID: "msg_1"})
	require.True(t, m.IsWorkflowCompleted())
	require.NoError(t, m.GetWorkflowError())
	var result workflows.DeliverWebhookResult
	require.NoError(t, m.GetWorkflowResult(&result))
	return result.Status
}

func notYet(after time.Duration) error {
	return temporal.NewApplicationErrorWithOptions("the endpoint answered 503", "not_delivered",
		temporal.ApplicationErrorOptions{NextRetryDelay: after})
}

func TestDeliveryIsTriedWithLongerPauses(t *testing.T) {
	m := newMessage(t, func(try int) (activities.DeliverResult, error) {
		switch {
		case try == 3:
			return activities.DeliverResult{}, notYet(time.Hour) // asked for
		case try < 6:
			return activities.DeliverResult{}, notYet(0)
		}
		return activities.DeliverResult{Status: product.DeliveryDelivered}, nil
	})
	require.Equal(t, product.DeliveryDelivered, m.run(t))
	const s = time.Second
	require.Equal(t, []time.Duration{0, 5 * s, 15 * s, 15*s + time.Hour, 55*s + time.Hour, 135*s + time.Hour}, m.tries)
	require.Empty(t, m.ends, "the try has recorded it")
	for _, queue := range m.queues {
		require.Equal(t, workflows.QueueWebhooks, queue, "runs do not wait for endpoints")
	}
}

func TestDeliveryIsGivenUpInTheEnd(t *testing.T) {
	m := newMessage(t, func(int) (activities.DeliverResult, error) { return activities.DeliverResult{}, notYet(0) })
	require.Equal(t, product.DeliveryFailed, m.run(t))
	require.Equal(t, []activities.EndDeliveryInput{{DeliveryID: "msg_1", Status: product.DeliveryFailed}}, m.ends)
	last := m.tries[len(m.tries)-1]
	require.Less(t, last, product.DeliveryTime)
	require.Greater(t, last+activities.LongestDeliveryPause, product.DeliveryTime, "there was time for no other one")
}

// TestDeliveryThatWaitsForItsTurn: however often it is not its turn, an endpoint has
// its day.
func TestDeliveryThatWaitsForItsTurn(t *testing.T) {
	m := newMessage(t, func(try int) (activities.DeliverResult, error) {
		if try <= 1000 {
			return activities.DeliverResult{}, notYet(time.Minute)
		}
		return activities.DeliverResult{Status: product.DeliveryDelivered}, nil
	})
	require.Equal(t, product.DeliveryDelivered, m.run(t))
	require.Len(t, m.tries, 1001)
	require.Empty(t, m.ends)
}

func TestDeliveryThatNoRetryMends(t *testing.T) {
	m := newMessage(t, func(int) (activities.DeliverResult, error) {
		return activities.DeliverResult{}, fails("not_found", "no")
	})
	require.Equal(t, product.DeliveryFailed, m.run(t))
	require.Len(t, m.tries, 1)
	require.Len(t, m.ends, 1)
}

func TestDeliveryThatIsNotOnRecord(t *testing.T) {
	end := activities.EndDeliveryInput{DeliveryID: "msg_1", Status: product.DeliveryDelivered, Number: 1, At: time.Unix(100, 0).UTC(), StatusCode: 204}
	m := newMessage(t, func(int) (activities.DeliverResult, error) {
		return activities.DeliverResult{Status: product.DeliveryDelivered, Unrecorded: &end}, nil
	})
	require.Equal(t, product.DeliveryDelivered, m.run(t))
	require.Len(t, m.tries, 1, "it was accepted")
	require.Equal(t, []activities.EndDeliveryInput{end}, m.ends)
}

// TestCanceledDelivery: an operator may cancel the workflow; the record says what
// became of the delivery.
func TestCanceledDelivery(t *testing.T) {
	m := newMessage(t, func(int) (activities.DeliverResult, error) { return activities.DeliverResult{}, notYet(0) })
	m.RegisterDelayedCallback(m.CancelWorkflow, time.Minute)
	require.Equal(t, product.DeliveryFailed, m.run(t))
	require.Len(t, m.ends, 1)
}
