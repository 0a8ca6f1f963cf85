package workflows

import (
	"fmt"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"agentmarket/activities"
)

// The task queues. Product is for workflows and what reads or writes the record;
// Infra is for what talks to the cluster, so that its rate can be bounded on its
// own.
const (
	QueueProduct = "product"
	QueueInfra   = "infra"
)

// backoff is the retry policy of everything: soon at first, then patiently, and
// for as long as the timeouts allow. Kinds of errors that no retry mends are
// marked as such by package activities.
var backoff = &temporal.RetryPolicy{
	InitialInterval: 500 * time.Millisecond, BackoffCoefficient: 2, MaximumInterval: 30 * time.Second,
}

var (
	// recordOptions: reads and conditional writes of the record, within the worker
	// at first: an activity of the queue is six more events of history. They end
	// within one workflow task.
	recordOptions = workflow.LocalActivityOptions{
		StartToCloseTimeout:    5 * time.Second,
		ScheduleToCloseTimeout: 7 * time.Second,
		RetryPolicy:            backoff,
	}
	// patientOptions: the same by the queue, for as long as the record is away.
	// Waiting there costs no event.
	patientOptions = workflow.ActivityOptions{
		TaskQueue: QueueProduct, StartToCloseTimeout: 15 * time.Second, RetryPolicy: backoff,
	}
	// createJobOptions: waits for the activity's own end when canceled, so that
	// deleting never overtakes creating.
	createJobOptions = workflow.ActivityOptions{
		TaskQueue: QueueInfra, StartToCloseTimeout: 20 * time.Second, ScheduleToCloseTimeout: 15 * time.Minute,
		RetryPolicy: backoff, WaitForCancellation: true, Summary: "create the Job",
	}
	clusterOptions = workflow.ActivityOptions{
		TaskQueue: QueueInfra, StartToCloseTimeout: 20 * time.Second, RetryPolicy: backoff,
	}
	// deleteJobOptions: a Job that nobody wants must go, however long the
	// cluster is away.
	deleteJobOptions = workflow.ActivityOptions{
		TaskQueue: QueueInfra, StartToCloseTimeout: 20 * time.Second, RetryPolicy: backoff, Summary: "delete the Job",
	}
	// saveLogOptions: a cancel does not wait for long for a log.
	saveLogOptions = workflow.ActivityOptions{
		TaskQueue: QueueInfra, StartToCloseTimeout: 5 * time.Second, ScheduleToCloseTimeout: 10 * time.Second,
		RetryPolicy: &temporal.RetryPolicy{MaximumAttempts: 1}, Summary: "keep the log",
	}
	// collectOptions: large bodies take their time, but a worker that died must
	// not hold up the end of a run for as long.
	collectOptions = workflow.ActivityOptions{
		TaskQueue: QueueInfra, StartToCloseTimeout: 3 * time.Minute, ScheduleToCloseTimeout: time.Hour,
		HeartbeatTimeout: 5 * activities.HeartbeatInterval, RetryPolicy: backoff, Summary: "collect result and log",
	}
	// awaitRunOptions: for as long as the run takes. Each try looks once.
	awaitRunOptions = workflow.ActivityOptions{
		TaskQueue: QueueProduct, StartToCloseTimeout: 15 * time.Second, ScheduleToCloseTimeout: 31 * 24 * time.Hour, RetryPolicy: backoff, Summary: "wait for the end of the run",
	}
	// childrenOptions: a run may have started a hundred others.
	childrenOptions = workflow.ActivityOptions{
		TaskQueue: QueueProduct, StartToCloseTimeout: time.Minute, RetryPolicy: backoff, Summary: "cancel the children",
	}
)

const (
	// lease is how long a waiting activity trusts the watcher before it looks
	// for itself.
	lease = 5 * time.Minute
	// maxRefusals bounds how often a run waits for room in the quota of the cluster:
	// for hours, since each time takes its start timeout.
	maxRefusals = 100
	// startMargin is for the way from the cluster to the workflow.
	startMargin = 2 * time.Second
	// lostMargin is how long after every deadline of an attempt the platform
	// believes that the cluster will still say something. The Job's own
	// backstop fires before.
	lostMargin = 5 * time.Minute
	// goneMargin is how long a node may take to end a pod beyond its grace.
	goneMargin = 3 * time.Minute
	// queueFallback is how long a run in the queue believes that it would be told
	// of its slot.
	queueFallback = 10 * time.Minute
	// clockMargin is how far the clocks of server and workers may be apart, so that
	// a deadline that has passed for the one has passed for the others.
	clockMargin = 2 * time.Second
)

// awaitJobOptions: the lease, bounded by the backstop behind all deadlines. No
// heartbeat and no waiting for cancellation: nobody would answer.
func awaitJobOptions(attempt int, plan activities.PlanSummary) workflow.ActivityOptions {
	return workflow.ActivityOptions{
		ActivityID: AwaitJobID(attempt), TaskQueue: QueueInfra,
		StartToCloseTimeout:    lease,
		ScheduleToCloseTimeout: plan.StartTimeout + plan.RunTimeout + plan.Grace + lostMargin,
		RetryPolicy:            backoff,
		Summary:                fmt.Sprintf("wait for attempt %d", attempt),
	}
}

// awaitGoneOptions: like awaitJobOptions, with a lease that fits the grace.
func awaitGoneOptions(attempt int, grace time.Duration) workflow.ActivityOptions {
	return workflow.ActivityOptions{
		ActivityID: AwaitGoneID(attempt), TaskQueue: QueueInfra,
		StartToCloseTimeout:    grace + 30*time.Second,
		ScheduleToCloseTimeout: grace + goneMargin,
		RetryPolicy:            backoff,
		Summary:                fmt.Sprintf("wait until attempt %d is gone", attempt),
	}
}

// attemptBackoff is the pause after attempt n failed.
func attemptBackoff(n int) time.Duration {
	return min(time.Second<<min(n-1, 5), 30*time.Second)
}
