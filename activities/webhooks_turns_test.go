package activities

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"

	"agentmarket/ids"
	"agentmarket/product"
)

// mail is a store of deliveries, each named by its organization, and an endpoint
// that keeps its senders waiting.
type mail struct {
	product.WebhookStore
	product.DeliveryStore

	asked  chan ids.Org
	answer chan struct{} // closed: it answers

	mu    sync.Mutex
	tries int
}

func (*mail) Delivery(_ context.Context, id ids.Delivery) (product.Delivery, error) {
	org, _, _ := strings.Cut(string(id), "/")
	return product.Delivery{ID: id, OrgID: ids.Org(org), Status: product.DeliveryPending}, nil
}

func (m *mail) RecordTry(context.Context, ids.Delivery, product.DeliveryTry, product.DeliveryStatus) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.tries++
	return nil
}

func (*mail) Endpoint(_ context.Context, id ids.Endpoint) (product.Endpoint, error) {
	return product.Endpoint{ID: id}, nil
}

func (m *mail) Send(_ context.Context, _ product.Endpoint, d product.Delivery) (product.WebhookAnswer, error) {
	m.asked <- d.OrgID
	<-m.answer
	return product.WebhookAnswer{StatusCode: 204}, nil
}

func deliver(w *Webhooks, id ids.Delivery) error {
	var suite testsuite.WorkflowTestSuite
	env := suite.NewTestActivityEnvironment()
	env.RegisterActivity(w)
	_, err := env.ExecuteActivity(w.Deliver, DeliveryRef{DeliveryID: id})
	return err
}

// TestSlowOrganizationLeavesTheOthersAlone: one beyond its turns is sent back at
// once, and its messages do not count as tried.
func TestSlowOrganizationLeavesTheOthersAlone(t *testing.T) {
	m := &mail{asked: make(chan ids.Org), answer: make(chan struct{})}
	w := &Webhooks{Endpoints: m, Deliveries: m, Sender: m, Now: time.Now}
	ended := make(chan error)
	start := func(id ids.Delivery) { go func() { ended <- deliver(w, id) }() }
	for range MaxSends {
		start("org_slow/msg")
		require.Equal(t, ids.Org("org_slow"), <-m.asked)
	}

	var refused *temporal.ApplicationError
	require.ErrorAs(t, deliver(w, "org_slow/msg"), &refused, "it does not wait")
	require.Equal(t, "not_its_turn", refused.Type())
	require.Equal(t, temporal.ApplicationErrorCategoryBenign, refused.Category())
	require.False(t, refused.NonRetryable())
	require.Positive(t, refused.NextRetryDelay())
	require.Zero(t, m.tries)
	start("org_other/msg")
	require.Equal(t, ids.Org("org_other"), <-m.asked)

	close(m.answer)
	for range MaxSends + 1 {
		require.NoError(t, <-ended)
	}
	require.Equal(t, MaxSends+1, m.tries)
	start("org_slow/msg")
	require.Equal(t, ids.Org("org_slow"), <-m.asked, "the turns have come back")
	require.NoError(t, <-ended)
	require.Empty(t, w.sending.taken, "nobody is remembered")
}

func TestPausesOfATurn(t *testing.T) {
	for attempt, longest := range map[int]time.Duration{
		1: 2 * time.Second, 2: 4 * time.Second, 5: 32 * time.Second, 6: time.Minute, 100_000: time.Minute,
	} {
		var refused *temporal.ApplicationError
		require.ErrorAs(t, notItsTurn(attempt), &refused)
		require.GreaterOrEqual(t, refused.NextRetryDelay(), longest/2, attempt)
		require.Less(t, refused.NextRetryDelay(), longest, attempt)
	}
}

// TestPausesOfTries: they grow with the tries on record, whatever Temporal counts.
func TestPausesOfTries(t *testing.T) {
	for _, tt := range []struct {
		number      int
		asked, want time.Duration
	}{
		{1, 0, FirstDeliveryPause},
		{2, time.Second, 2 * FirstDeliveryPause},
		{2, time.Minute, time.Minute},
		{2, 24 * time.Hour, LongestDeliveryPause},
		{12, 0, LongestDeliveryPause},
		{100_000, 0, LongestDeliveryPause},
	} {
		var failed *temporal.ApplicationError
		require.ErrorAs(t, notDelivered(product.DeliveryTry{Number: tt.number}, product.WebhookAnswer{RetryAfter: tt.asked}), &failed)
		require.Equal(t, tt.want, failed.NextRetryDelay())
	}
}
