package workflows_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/mock"
	"github.com/stretchr/testify/require"

	"agentmarket/activities"
	"agentmarket/infra"
	"agentmarket/product"
)

// TestFailuresAreRetriedWithinTheirBounds: those of the platform three times in
// all, those of the agent as often as the caller asked for.
func TestFailuresAreRetriedWithinTheirBounds(t *testing.T) {
	agent := activities.Verdict{Reason: product.Reason(infra.ReasonAgentError), AgentFault: true}
	node := activities.Verdict{Reason: product.Reason(infra.ReasonNodeLost), Retry: true, Leftover: true}
	late := activities.Verdict{Reason: product.ReasonDeadline}
	ok := activities.Verdict{Reason: product.ReasonOK}
	type ends []activities.Verdict // of the attempts; the last one for ever
	for _, tt := range []struct {
		name          string
		agentAttempts int
		ends          ends
		attempts      int
		want          product.Reason
	}{
		{"nobody asked for a retry", 1, ends{agent}, 1, agent.Reason},
		{"a plan of an old history", 0, ends{agent}, 1, agent.Reason},
		{"the second attempt is better", 2, ends{agent, ok}, 2, product.ReasonOK},
		{"the agent fails for ever", 3, ends{agent}, 3, agent.Reason},
		{"the platform fails for ever", 3, ends{node}, 3, node.Reason},
		{"each has its own bound", 3, ends{node, agent, node, agent, ok}, 5, product.ReasonOK},
		{"the platform's is reached", 3, ends{agent, node, agent, node, node}, 5, node.Reason},
		{"the agent's is reached", 3, ends{node, agent, node, agent, agent}, 5, agent.Reason},
		{"a deadline is not retried", 3, ends{late}, 1, product.ReasonDeadline},
		{"a deadline is not retried, later either", 3, ends{agent, late}, 2, product.ReasonDeadline},
		{"a verdict of an old history", 3, ends{{Reason: agent.Reason}}, 1, agent.Reason},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := setup(t)
			b.OnActivity(layer1.CheckEntitlement, mock.Anything, mock.Anything).Return(activities.CheckEntitlementResult{}, nil)
			b.OnActivity(layer2.ResolvePlan, mock.Anything, mock.Anything).Return(activities.PlanSummary{
				StartTimeout: time.Minute, RunTimeout: time.Hour, MaxAttempts: 3, AgentAttempts: tt.agentAttempts,
			}, nil)
			b.OnActivity(layer2.AcquireSlot, mock.Anything, mock.Anything).Return(activities.Slot{Granted: true}, nil)
			b.OnActivity(layer3.CreateJob, mock.Anything, mock.Anything).Return(nil)
			b.OnActivity(layer3.AwaitJob, mock.Anything, mock.Anything).Return(activities.JobOutcome{}, nil)
			var attempts []int
			b.OnActivity(layer4.CollectResult, mock.Anything, mock.Anything).Return(
				func(_ context.Context, in activities.CollectResultInput) (activities.Verdict, error) {
					attempts = append(attempts, in.Attempt)
					return tt.ends[min(in.Attempt, len(tt.ends))-1], nil
				})
			_, _ = b.run(t)
			b.settledAs(t, tt.want)
			require.Len(t, attempts, tt.attempts)
			require.Equal(t, tt.attempts, attempts[len(attempts)-1], "attempts are numbered without gaps")
		})
	}
}

// TestNoAttemptBeginsWhenTheTimeIsOver: what waits between attempts, for room in the
// cluster or for a slot, does not make a run go on for ever.
func TestNoAttemptBeginsWhenTheTimeIsOver(t *testing.T) {
	node := activities.Verdict{Reason: product.Reason(infra.ReasonNodeLost), Retry: true}
	full := activities.Verdict{Reason: product.ReasonQuotaExceeded, Retry: true}
	for _, tt := range []struct {
		name     string
		verdict  activities.Verdict
		plan     activities.PlanSummary
		attempts int
	}{
		{"a window for all attempts", node, activities.PlanSummary{RetryWindow: 10 * time.Minute}, 3},
		{"a window that is over at once", node, activities.PlanSummary{RetryWindow: 3 * time.Minute}, 1},
		{"the queue timeout does not bound failures", node, activities.PlanSummary{RefusalWindow: time.Minute}, 9},
		{"no room until the queue timeout", full, activities.PlanSummary{RefusalWindow: 22 * time.Minute}, 6},
		{"the window does not bound refusals", full, activities.PlanSummary{RetryWindow: time.Minute, RefusalWindow: 14 * time.Minute}, 4},
		{"refusals of an old history", full, activities.PlanSummary{}, 100},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := setup(t)
			tt.plan.StartTimeout, tt.plan.RunTimeout, tt.plan.MaxAttempts, tt.plan.Watched = time.Minute, time.Hour, 9, true
			b.OnActivity(layer1.CheckEntitlement, mock.Anything, mock.Anything).Return(activities.CheckEntitlementResult{}, nil)
			b.OnActivity(layer2.ResolvePlan, mock.Anything, mock.Anything).Return(tt.plan, nil)
			b.OnActivity(layer2.AcquireSlot, mock.Anything, mock.Anything).Return(activities.Slot{Granted: true}, nil)
			b.OnActivity(layer3.CreateJob, mock.Anything, mock.Anything).Return(nil)
			b.OnActivity(layer3.AwaitJob, mock.Anything, mock.Anything).After(4*time.Minute).Return(activities.JobOutcome{}, nil)
			attempts := 0
			b.OnActivity(layer4.CollectResult, mock.Anything, mock.Anything).Return(
				func(context.Context, activities.CollectResultInput) (activities.Verdict, error) {
					attempts++
					return tt.verdict, nil
				})
			_, _ = b.run(t)
			b.settledAs(t, tt.verdict.Reason)
			require.Equal(t, tt.attempts, attempts)
		})
	}
}
