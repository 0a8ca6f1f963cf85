package workflows

import (
	"errors"
	"fmt"
	"time"

	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"agentmarket/activities"
	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/infra"
	"agentmarket/product"
)

// The names of signals and the identifiers of activities that are completed from
// outside. They are part of the protocol with running workflows.
const (
	SignalCancel    = "cancel"
	SignalStarted   = "started"
	SignalDecide    = "decide"
	SignalSlotFreed = "slot-freed"
)

// AwaitJobID is the activity that a watcher completes when the attempt ends.
func AwaitJobID(attempt int) string { return fmt.Sprintf("await-job-%d", attempt) }

// AwaitGoneID is the activity that a watcher completes when the pod is gone.
func AwaitGoneID(attempt int) string { return fmt.Sprintf("await-gone-%d", attempt) }

// The search attributes of a run. They are for operators; the API reads the
// store.
var (
	OrgIDKey     = temporal.NewSearchAttributeKeyKeyword("OrgId")
	AgentIDKey   = temporal.NewSearchAttributeKeyKeyword("AgentId")
	RunStatusKey = temporal.NewSearchAttributeKeyKeyword("RunStatus")
)

// AgentRunInput names the run. Everything else is read from its record.
type AgentRunInput struct {
	RunID   ids.Run   `json:"run_id"`
	OrgID   ids.Org   `json:"org_id"`
	AgentID ids.Agent `json:"agent_id"`
	Agent   string    `json:"agent"` // publisher/name, for people
}

// AgentRunResult is how the run ended.
type AgentRunResult = activities.SettleRunResult

// CancelSignal is the payload of the signal "cancel". All fields are optional:
// {"reason":"…"} is what a person sends.
type CancelSignal struct {
	RequestedBy  string `json:"requested_by,omitempty"`
	Reason       string `json:"reason,omitempty"`
	GraceSeconds *int   `json:"grace_seconds,omitempty"`
	Force        bool   `json:"force,omitempty"`
}

// StartedSignal is the payload of the signal "started".
type StartedSignal struct {
	Attempt   int       `json:"attempt"`
	StartedAt time.Time `json:"started_at"`
}

// agentRun is the state of one workflow.
type agentRun struct {
	in      AgentRunInput
	log     log.Logger
	started workflow.ReceiveChannel

	cancel  *CancelSignal  // the first request to cancel
	heard   time.Time      // when that came
	shown   product.Status // in the search attribute
	plan    activities.PlanSummary
	attempt int       // the attempt whose objects may exist; 0: none
	began   time.Time // when the first slot was granted

	platformFaults, agentFaults int // attempts that failed
	refusals                    int // attempts for which the cluster had no room
}

// ending is how the work of a run came to its end, before it is settled.
type ending struct {
	reason  product.Reason
	message string
}

// AgentRun is the workflow of one invocation. It returns the terminal state of
// the run. Ends that are the agent's, the caller's or the publisher's business
// complete the workflow; a platform-caused end fails it, so that what is red in
// the Web UI is for operators; a cancel shows as canceled.
func AgentRun(ctx workflow.Context, in AgentRunInput) (AgentRunResult, error) {
	r := &agentRun{in: in, log: workflow.GetLogger(ctx), started: workflow.GetSignalChannel(ctx, SignalStarted), shown: firstShown}
	return r.run(ctx)
}

func (r *agentRun) run(ctx workflow.Context) (AgentRunResult, error) {
	work, stop := workflow.WithCancel(ctx)
	defer stop()
	r.listen(ctx, stop)

	end, err := r.work(work)
	if err == nil {
		return r.settle(ctx, end, nil)
	}
	if work.Err() == nil && r.cancel == nil { // a fault that no retry mends
		r.log.Error("run failed", "error", err)
		r.cleanUp(ctx)
		return r.settle(ctx, endingOf(err), nil)
	}
	return r.canceled(ctx)
}

// listen ends the work at the first signal "cancel". Later ones change nothing.
func (r *agentRun) listen(ctx workflow.Context, stop workflow.CancelFunc) {
	signals := workflow.GetSignalChannel(ctx, SignalCancel)
	// Signals that are there before the first step must win against it.
	var first CancelSignal
	if signals.ReceiveAsync(&first) {
		r.cancel, r.heard = &first, workflow.Now(ctx)
		stop()
		return
	}
	workflow.Go(ctx, func(ctx workflow.Context) {
		for {
			var s CancelSignal
			signals.Receive(ctx, &s)
			if r.cancel == nil {
				r.cancel, r.heard = &s, workflow.Now(ctx)
				stop()
			}
		}
	})
}

// work carries the run from the entitlement to the verdict of its last attempt.
// A nil error means that the run has an ending and nothing is left to clean up.
func (r *agentRun) work(ctx workflow.Context) (ending, error) {
	if ctx.Err() != nil {
		return ending{}, ctx.Err()
	}
	end, done, err := r.admit(ctx)
	if err == nil && !done {
		end, done, err = r.approve(ctx)
	}
	if err != nil || done {
		return end, err
	}
	for n := 1; ; n++ {
		verdict, slot, err := r.try(ctx, n)
		switch {
		case err != nil:
			return ending{}, err
		case slot.CancelRequested:
			return ending{}, r.stopWaiting()
		case slot.Expired:
			return ending{product.ReasonQueueTimeout, "the run waited longer than its queue timeout"}, nil
		case slot.DeniedKind != "":
			return r.denied(fault.New(fault.Kind(slot.DeniedKind), slot.DeniedCode, slot.DeniedMessage)), nil
		}
		if !r.again(ctx, verdict) {
			return ending{verdict.Reason, verdict.Message}, nil
		}
		r.log.Info("attempt failed, trying again", "attempt", n, "reason", string(verdict.Reason))
		r.describe(ctx, fmt.Sprintf("attempt %d failed: %s. Trying again.", n, verdict.Reason))
		if err := workflow.Sleep(ctx, attemptBackoff(n)); err != nil {
			return ending{}, err
		}
	}
}

// again counts a failed attempt, and reports whether there is to be another one.
// Failures of the platform and of the agent are bounded on their own, and with
// them all attempts: by the sum of both bounds, less one. No attempt begins when the
// time for it is over.
func (r *agentRun) again(ctx workflow.Context, v activities.Verdict) bool {
	switch {
	case v.Reason == product.ReasonQuotaExceeded: // back-pressure: nobody failed
		r.refusals++
		created := workflow.GetInfo(ctx).WorkflowStartTime
		return r.refusals < maxRefusals && within(ctx, created, r.plan.RefusalWindow)
	case !within(ctx, r.began, r.plan.RetryWindow):
		return false
	case v.Retry:
		r.platformFaults++
		return r.platformFaults < r.plan.MaxAttempts
	case v.AgentFault:
		r.agentFaults++
		return r.agentFaults < r.plan.AgentAttempts
	}
	return false
}

// within reports whether so much time has not passed since then; 0: there is no bound.
func within(ctx workflow.Context, since time.Time, window time.Duration) bool {
	return window == 0 || workflow.Now(ctx).Before(since.Add(window))
}

// errCanceledBefore says that the record of the run carries a cancel whose
// signal has not arrived (yet).
var errCanceledBefore = errors.New("canceled before the attempt began")

// stopWaiting turns a cancel found in the record into the cancel path.
func (r *agentRun) stopWaiting() error {
	if r.cancel == nil {
		r.cancel = &CancelSignal{}
	}
	return errCanceledBefore
}

// admit checks the entitlement and resolves the plan. done says that the run
// ends here.
func (r *agentRun) admit(ctx workflow.Context) (ending, bool, error) {
	var layer1 *activities.Marketplace
	var layer2 *activities.Product
	var right activities.CheckEntitlementResult
	err := record(ctx, layer1.CheckEntitlement, activities.CheckEntitlementInput{
		OrgID: r.in.OrgID, AgentID: r.in.AgentID, RunID: r.in.RunID,
	}, &right)
	if f, ok := activities.FaultOf(err); ok && (f.Kind == fault.Forbidden || f.Kind == fault.PaymentRequired) {
		return r.denied(f), true, nil
	}
	if err != nil {
		return ending{}, false, err
	}
	err = record(ctx, layer2.ResolvePlan, activities.ResolvePlanInput{
		RunID: r.in.RunID, EntitlementID: right.EntitlementID, PriceID: right.PriceID,
		BudgetMicros: right.BudgetMicros, Currency: right.Currency, Affordable: right.Affordable,
	}, &r.plan)
	switch f, ok := activities.FaultOf(err); {
	case ok && f.Kind == fault.Invalid:
		return ending{product.ReasonPlanInvalid, f.Message}, true, nil
	case ok && f.Kind == fault.Forbidden:
		return ending{product.ReasonPolicyDenied, f.Message}, true, nil
	}
	return ending{}, false, err
}

// denied is the ending of a run that its rights, its money, a limit or a policy do
// not allow.
func (r *agentRun) denied(f *fault.Error) ending {
	r.log.Info("start denied", "kind", string(f.Kind), "code", f.Code)
	switch {
	case f.Kind == fault.PaymentRequired:
		return ending{product.ReasonPaymentRequired, f.Message}
	case f.Code == product.CodeLimitReached:
		return ending{product.ReasonLimitReached, f.Message}
	case f.Code == string(product.ReasonPolicyDenied):
		return ending{product.ReasonPolicyDenied, f.Message}
	}
	return ending{product.ReasonNotEntitled, f.Message}
}

// try makes one attempt and returns its verdict.
func (r *agentRun) try(ctx workflow.Context, n int) (activities.Verdict, activities.Slot, error) {
	var layer3 *activities.Infra
	var layer4 *activities.AgentRuntime
	ref := r.ref(n)

	slot, err := r.acquire(ctx, ref)
	if err != nil || !slot.Granted {
		return activities.Verdict{}, slot, err
	}
	if r.began.IsZero() {
		r.began = workflow.Now(ctx)
	}
	r.show(ctx, product.StatusStarting, "starting attempt %d", n)

	// From here on objects may exist, even if creating them fails or is
	// canceled: cleaning up must know.
	r.attempt = n
	create := workflow.WithActivityOptions(ctx, createJobOptions)
	err = workflow.ExecuteActivity(create, layer3.CreateJob, ref).Get(create, nil)
	var outcome activities.JobOutcome
	switch f, isFault := activities.FaultOf(err); {
	case err == nil:
		if outcome, err = r.await(ctx, ref); err != nil {
			return activities.Verdict{}, slot, err
		}
	case ctx.Err() != nil:
		return activities.Verdict{}, slot, ctx.Err()
	case isFault && f.Kind == fault.Invalid:
		outcome = activities.JobOutcome{Reason: infra.ReasonJobRefused, Message: "the cluster refuses the agent's specification"}
	default:
		outcome = notCreated(err)
	}

	// The attempt is over: what follows is not stopped by a cancel, for what
	// has happened is what is told.
	var verdict activities.Verdict
	kept, _ := workflow.NewDisconnectedContext(ctx)
	kept = workflow.WithActivityOptions(kept, collectOptions)
	err = workflow.ExecuteActivity(kept, layer4.CollectResult, activities.CollectResultInput{
		AttemptRef: ref, Outcome: outcome,
	}).Get(kept, &verdict)
	if err == nil && verdict.Leftover {
		r.cleanUp(ctx)
	}
	return verdict, slot, err
}

// notCreated is the outcome of an attempt whose objects could not be made in time.
func notCreated(err error) activities.JobOutcome {
	if f, ok := activities.LastFaultOf(err); ok && f.Code == string(infra.ReasonQuotaExceeded) {
		return activities.JobOutcome{Reason: infra.ReasonQuotaExceeded, Message: f.Message}
	}
	return activities.JobOutcome{Reason: infra.ReasonPlatformError, Message: "the attempt could not be created"}
}

// ref names an attempt of the run, and where in the cluster it is.
func (r *agentRun) ref(attempt int) activities.AttemptRef {
	return activities.AttemptRef{RunID: r.in.RunID, Attempt: attempt, OrgID: r.in.OrgID, Sandboxed: r.plan.Sandboxed}
}

// await waits for the end of an attempt: for the watcher's word, and in the end for
// the backstop behind all deadlines. In old histories it waits for the start deadline
// too, which is the watcher's now.
func (r *agentRun) await(ctx workflow.Context, ref activities.AttemptRef) (activities.JobOutcome, error) {
	var layer3 *activities.Infra
	waiting, giveUp := workflow.WithCancel(ctx)
	defer giveUp()
	awaitCtx := workflow.WithActivityOptions(waiting, awaitJobOptions(ref.Attempt, r.plan))
	ended := workflow.ExecuteActivity(awaitCtx, layer3.AwaitJob, ref)

	var outcome activities.JobOutcome
	var err error
	var done, late bool
	selector := workflow.NewSelector(ctx)
	selector.AddFuture(ended, func(f workflow.Future) {
		done, err = true, f.Get(ctx, &outcome)
	})
	if !r.plan.Watched {
		startDeadline := workflow.NewTimerWithOptions(waiting, r.plan.StartTimeout+startMargin,
			workflow.TimerOptions{Summary: "start deadline"})
		selector.AddFuture(startDeadline, func(f workflow.Future) {
			late = f.Get(ctx, nil) == nil
		})
	}
	selector.AddReceive(r.started, func(c workflow.ReceiveChannel, _ bool) {
		var s StartedSignal
		c.ReceiveAsync(&s) // one that cannot be read is dropped; Receive would wait for the next
		if s.Attempt == ref.Attempt {
			r.show(ctx, product.StatusRunning, "attempt %d runs since %s", s.Attempt, s.StartedAt.UTC().Format(time.RFC3339))
		}
	})
	for !done {
		selector.Select(ctx)
		if late && !done {
			late = false
			outcome, done, err = r.checkStart(ctx, ref)
		}
	}
	if err == nil || ctx.Err() != nil {
		return outcome, err
	}
	// The backstop. The error is a timeout, or the last one before it: workers
	// or the cluster were away for long.
	r.log.Warn("nobody saw the end of the attempt, looking once more", "attempt", ref.Attempt, "error", err)
	look := workflow.WithActivityOptions(ctx, clusterOptions)
	err = workflow.ExecuteActivity(look, layer3.LastLook, ref).Get(look, &outcome)
	return outcome, err
}

// checkStart asks, at the start deadline, whether the attempt runs. done says
// that it does not and will not.
func (r *agentRun) checkStart(ctx workflow.Context, ref activities.AttemptRef) (activities.JobOutcome, bool, error) {
	var layer3 *activities.Infra
	var check activities.StartCheck
	ctx = workflow.WithActivityOptions(ctx, clusterOptions)
	if err := workflow.ExecuteActivity(ctx, layer3.CheckStart, ref).Get(ctx, &check); err != nil {
		return activities.JobOutcome{}, true, err
	}
	return check.Outcome, !check.Started, nil
}
