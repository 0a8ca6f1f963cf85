// Package workers runs the workflows and activities of the platform: one table
// of task queues, and one function that serves them until it is told to stop.
package workers

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"agentmarket/activities"
	"agentmarket/workflows"
)

// Activities are the structs that the workers serve, ready to use.
type Activities struct {
	Marketplace  *activities.Marketplace
	Product      *activities.Product
	Infra        *activities.Infra
	AgentRuntime *activities.AgentRuntime
	Webhooks     *activities.Webhooks
	Rollouts     *activities.Rollouts
	Schedules    *activities.Schedules
	Reconcile    *activities.Reconcile
}

// Config is how one worker process works.
type Config struct {
	// CachedWorkflows is how many open workflows this process keeps in memory, about
	// 50 KiB each. One that is not among them is replayed from its history when it
	// goes on, which takes milliseconds: most of them wait for minutes, and need not
	// be. It counts for the whole process, from its first worker on. Default: 250.
	CachedWorkflows int
	// StopTimeout is how long a stopping worker lets activities finish.
	// Default: 20 seconds.
	StopTimeout time.Duration
}

// row is one task queue.
type row struct {
	queue     string
	workflows []any
	// activities are structs; every exported method is one activity.
	activities []any
	options    worker.Options
}

// table is what this process serves. Queue "product" reads and writes the
// record; queue "infra" talks to the cluster, queue "webhooks" to customers.
func table(a Activities) []row {
	return []row{
		{
			queue:      workflows.QueueProduct,
			workflows:  []any{workflows.AgentRun, workflows.ScheduledStart, workflows.Rollout, workflows.DeliverWebhook, workflows.Reconcile},
			activities: []any{a.Marketplace, a.Product, a.Rollouts, a.Schedules, a.Webhooks, a.Reconcile},
			options:    worker.Options{MaxConcurrentActivityExecutionSize: 200, MaxConcurrentWorkflowTaskExecutionSize: 200},
		},
		{
			queue:      workflows.QueueInfra,
			activities: []any{a.Infra, a.AgentRuntime},
			options:    worker.Options{MaxConcurrentActivityExecutionSize: 200, DisableWorkflowWorker: true},
		},
		{
			queue:      workflows.QueueWebhooks,
			activities: []any{a.Webhooks},
			options:    worker.Options{MaxConcurrentActivityExecutionSize: 100, DisableWorkflowWorker: true},
		},
	}
}

// Run serves every queue until the context ends, or until a worker fails for
// good. It returns after the activities in flight have ended or the stop timeout
// has passed.
func Run(ctx context.Context, c client.Client, a Activities, cfg Config) error {
	if cfg.StopTimeout == 0 {
		cfg.StopTimeout = 20 * time.Second
	}
	if cfg.CachedWorkflows == 0 {
		cfg.CachedWorkflows = 250
	}
	worker.SetStickyWorkflowCacheSize(cfg.CachedWorkflows)
	fatal := make(chan error, 2)
	var running []worker.Worker
	defer func() {
		var stopping sync.WaitGroup
		for _, w := range running { // all at once: they share the time that the process has
			stopping.Go(w.Stop)
		}
		stopping.Wait()
	}()
	for _, r := range table(a) {
		r.options.WorkerStopTimeout = cfg.StopTimeout
		// A change of a workflow that old histories cannot follow blocks them,
		// visible and mendable by a deploy, instead of failing paid runs.
		r.options.WorkflowPanicPolicy = worker.BlockWorkflow
		r.options.OnFatalError = func(err error) {
			select {
			case fatal <- err:
			default:
			}
		}
		w := worker.New(c, r.queue, r.options)
		for _, wf := range r.workflows {
			w.RegisterWorkflowWithOptions(wf, workflow.RegisterOptions{})
		}
		for _, act := range r.activities {
			w.RegisterActivity(act)
		}
		if err := w.Start(); err != nil {
			return fmt.Errorf("start worker of queue %s: %w", r.queue, err)
		}
		running = append(running, w)
	}
	select {
	case <-ctx.Done():
		return nil
	case err := <-fatal:
		return errors.Join(errors.New("worker failed"), err)
	}
}

// Logger adapts slog for the Temporal SDK.
func Logger(l *slog.Logger) log.Logger { return log.NewStructuredLogger(l) }
