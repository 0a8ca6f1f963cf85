package workflows

import (
	"fmt"
	"time"

	"go.temporal.io/sdk/workflow"

	"agentmarket/activities"
	"agentmarket/ids"
)

// The protocol with the workflows of rollouts: the signal that something was
// changed from outside, and the query for where it stands.
const (
	SignalRolloutChanged = "rollout-changed"
	QueryRollout         = "rollout"
)

// RolloutInput names the rollout. Everything else is read from its record.
type RolloutInput struct {
	RolloutID ids.Rollout `json:"rollout_id"`
}

// RolloutResult is how the rollout ended.
type RolloutResult = activities.RolloutView

// maxLooks bounds the history of one execution: a rollout of weeks is a chain of
// them.
const maxLooks = 500

// rolloutOptions: a look sums up the runs of two versions.
var rolloutOptions = workflow.ActivityOptions{
	TaskQueue: QueueProduct, StartToCloseTimeout: 30 * time.Second, RetryPolicy: backoff, Summary: "look at the rollout",
}

// Rollout carries a rollout to its end: it looks, waits as long as the look says,
// or until somebody has changed the rollout, and looks again. The record decides;
// no run is touched, only new ones get another version.
func Rollout(ctx workflow.Context, in RolloutInput) (RolloutResult, error) {
	var layer2 *activities.Rollouts
	var view RolloutResult
	err := workflow.SetQueryHandler(ctx, QueryRollout, func() (RolloutResult, error) { return view, nil })
	if err != nil {
		return view, err
	}
	changed := workflow.GetSignalChannel(ctx, SignalRolloutChanged)
	look := workflow.WithActivityOptions(ctx, rolloutOptions)
	for range maxLooks {
		for changed.Len() > 0 { // what was said so far is found in the record
			changed.ReceiveAsync(nil)
		}
		err := workflow.ExecuteActivity(look, layer2.EvaluateRollout, activities.EvaluateRolloutInput(in)).Get(look, &view)
		if err != nil {
			return view, err
		}
		workflow.SetCurrentDetails(ctx, fmt.Sprintf("**%s** of version %s on %s\n\n%s", view.Status, view.Version, view.Channel, view.Summary))
		if !view.Status.Active() {
			return view, nil
		}
		if err := awaitSignal(ctx, changed, nil, view.NextLook, "look again"); err != nil {
			return view, err
		}
	}
	return view, workflow.NewContinueAsNewError(ctx, Rollout, in)
}
