package workflows

import (
	"cmp"
	"errors"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"agentmarket/activities"
	"agentmarket/product"
)

// canceled is the one path of every cancel, whoever asked for it and whatever
// the run was doing.
func (r *agentRun) canceled(ctx workflow.Context) (AgentRunResult, error) {
	if r.cancel == nil { // the workflow itself was canceled: the Web UI's button, or an operator's CLI
		r.cancel = &CancelSignal{RequestedBy: "operator", Reason: "the workflow was canceled"}
	}
	var layer2 *activities.Product
	kept, _ := workflow.NewDisconnectedContext(ctx)
	r.show(kept, product.StatusCanceling, "canceling")

	var order activities.CancelOrder
	err := record(kept, layer2.RecordCancel, activities.RecordCancelInput{
		RunID: r.in.RunID, RequestedBy: cmp.Or(r.cancel.RequestedBy, "unknown"), Reason: r.cancel.Reason,
		GraceSeconds: r.cancel.GraceSeconds, Force: r.cancel.Force, At: r.heard,
	}, &order)
	if err != nil { // nothing may be left behind, whatever is wrong with the record
		_, removeErr := r.remove(ctx, r.plan.Grace)
		return AgentRunResult{}, errors.Join(err, removeErr)
	}
	saved := r.saveLog(kept)
	receipt, err := r.remove(ctx, order.Grace)
	if err != nil {
		return AgentRunResult{}, err
	}
	saved()
	return r.settle(ctx, ending{product.ReasonCanceled, cmp.Or(order.Reason, "canceled")}, &receipt)
}

// remove deletes the objects of the current attempt and waits until they are
// gone. Without an attempt nothing was ever made, and the proof is immediate.
func (r *agentRun) remove(ctx workflow.Context, grace time.Duration) (activities.GoneReceipt, error) {
	kept, _ := workflow.NewDisconnectedContext(ctx)
	if r.attempt == 0 {
		return activities.GoneReceipt{GoneAt: workflow.Now(kept)}, nil
	}
	var layer3 *activities.Infra
	ref := r.ref(r.attempt)
	del := workflow.WithActivityOptions(kept, deleteJobOptions)
	err := workflow.ExecuteActivity(del, layer3.DeleteJob, activities.DeleteJobInput{AttemptRef: ref, Grace: grace}).Get(del, nil)
	if err != nil {
		return activities.GoneReceipt{}, err
	}
	var receipt activities.GoneReceipt
	wait := workflow.WithActivityOptions(kept, awaitGoneOptions(r.attempt, grace))
	err = workflow.ExecuteActivity(wait, layer3.AwaitGone, ref).Get(wait, &receipt)
	if err == nil {
		return receipt, nil
	}
	// Its node does not answer. Whatever still runs there is isolated and its
	// result is not taken; the run must not wait for the node. The receipt
	// claims nothing that nobody saw.
	r.log.Warn("pod did not end in time, giving it up", "attempt", r.attempt, "error", err)
	err = workflow.ExecuteActivity(del, layer3.DeleteJob, activities.DeleteJobInput{AttemptRef: ref, Grace: -1}).Get(del, nil)
	return activities.GoneReceipt{Attempt: r.attempt}, err
}

// changeSaveLog: canceled runs keep their log. It can go when no run that was canceled
// before is open any more.
const changeSaveLog = "save-log"

// saveLog begins to keep the log of the attempt, which goes with its pod, and returns
// what waits for that. The attempt is deleted meanwhile: its log is there until its
// process has ended.
func (r *agentRun) saveLog(ctx workflow.Context) (wait func()) {
	if r.attempt == 0 || workflow.GetVersion(ctx, changeSaveLog, workflow.DefaultVersion, 1) == workflow.DefaultVersion {
		return func() {}
	}
	var layer4 *activities.AgentRuntime
	save := workflow.WithActivityOptions(ctx, saveLogOptions)
	saved := workflow.ExecuteActivity(save, layer4.SaveLog, r.ref(r.attempt))
	return func() {
		if err := saved.Get(save, nil); err != nil {
			r.log.Warn("log of a canceled attempt not kept", "attempt", r.attempt, "error", err)
		}
	}
}

// cleanUp removes the objects of an attempt that failed, at once: nothing of it
// is of use any more.
func (r *agentRun) cleanUp(ctx workflow.Context) {
	if r.attempt == 0 {
		return
	}
	if _, err := r.remove(ctx, 0); err != nil {
		r.log.Error("objects of a failed attempt may be left in the cluster", "attempt", r.attempt, "error", err)
	}
}

// settle writes the end of the run and returns it.
func (r *agentRun) settle(ctx workflow.Context, end ending, gone *activities.GoneReceipt) (AgentRunResult, error) {
	var layer2 *activities.Product
	kept, _ := workflow.NewDisconnectedContext(ctx)
	var result AgentRunResult
	err := record(kept, layer2.SettleRun, activities.SettleRunInput{
		RunID: r.in.RunID, Reason: end.reason, Message: end.message, Gone: gone,
	}, &result)
	if err != nil {
		return AgentRunResult{}, err
	}
	r.show(kept, result.Status, "%s: %s", result.Status, result.Reason)
	if result.HasChildren {
		r.cancelChildren(kept)
	}
	switch {
	case result.Status == product.StatusCanceled:
		return result, temporal.NewCanceledError(result)
	case result.Cause == product.CausePlatform && result.Status == product.StatusFailed:
		return result, temporal.NewNonRetryableApplicationError(result.Message, string(result.Reason), nil, result)
	}
	return result, nil
}

// cancelChildren ends what the run started and nobody waits for any more. The run
// has ended by then, and its own end is told whatever becomes of this.
func (r *agentRun) cancelChildren(ctx workflow.Context) {
	var layer2 *activities.Product
	options := workflow.WithActivityOptions(ctx, childrenOptions)
	err := workflow.ExecuteActivity(options, layer2.CancelChildren, activities.CancelChildrenInput{RunID: r.in.RunID}).Get(options, nil)
	if err != nil {
		r.log.Error("children of the run may go on", "error", err)
	}
}

// endingOf is the end of a run whose work failed with an error that no retry
// mends.
func endingOf(err error) ending {
	if f, ok := activities.FaultOf(err); ok {
		return ending{product.ReasonPlatformError, f.Message}
	}
	return ending{product.ReasonPlatformError, "the platform could not carry out the run"}
}
