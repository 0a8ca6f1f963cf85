package kube

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"

	"agentmarket/fault"
	"agentmarket/infra"
)

// Sink is told what the watcher sees. Delivery is at least once: after a restart
// everything that is still in the cluster is told again. An error makes the
// watcher tell it again later.
type Sink interface {
	// Started: the agent's container runs since at.
	Started(ctx context.Context, ref infra.Ref, at time.Time) error
	// Running: it has run for a while since at, and is not over. Unlike the others
	// it is left out where an earlier watcher will have told it.
	Running(ctx context.Context, ref infra.Ref, at time.Time) error
	// Ended: the attempt is over.
	Ended(ctx context.Context, ref infra.Ref, outcome infra.Outcome) error
	// Gone: the pod is removed from the cluster. last is its final state.
	Gone(ctx context.Context, ref infra.Ref, last infra.Pod, at time.Time) error
}

// Watcher follows all pods of the platform, with one informer for each namespace.
//
//	event ─► queue (key: pod) ─► sync: read cache, Classify, tell the sink
//	              ▲──────────────────┘ error: again, later and later
//	              ▲──────────────────┘ undecided: again when Classify says
//
// Several watchers may run at once; the sink is idempotent. A worker whose activity
// has looked at its own watcher is told by that one what it could not see yet, even
// if the others told it before: so no end is lost between look and wait.
type Watcher struct {
	observer Observer
	sink     Sink
	log      *slog.Logger
	now      func() time.Time

	feeds map[string]*feed // by namespace; by the empty one, if it is for all
	queue workqueue.TypedRateLimitingInterface[string]

	mu   sync.Mutex
	told map[string]*told // by queue key
	// expected are attempts that this process made, by name, until they should have
	// got their pod.
	expected map[string]infra.Ref
}

// told is what the sink already knows of a pod.
type told struct {
	started, running, ended bool
	deleted                 *corev1.Pod // final state, once the pod is gone
	deletedAt               time.Time
}

const (
	watchWorkers = 8
	// runningAfter is how long an agent runs until the sink is told that it does:
	// most runs are over before, and it costs each five events of history. After
	// runningBefore an earlier watcher has told it.
	runningAfter  = 5 * time.Second
	runningBefore = time.Minute
)

// NewWatcher returns a watcher of the platform's pods in its namespaces.
func NewWatcher(client kubernetes.Interface, cfg Config, observer Observer, sink Sink, log *slog.Logger) (*Watcher, error) {
	w := &Watcher{
		observer: observer, sink: sink, log: log, now: time.Now, feeds: map[string]*feed{},
		queue: workqueue.NewTypedRateLimitingQueue(
			workqueue.NewTypedItemExponentialFailureRateLimiter[string](100*time.Millisecond, 30*time.Second)),
		told: map[string]*told{}, expected: map[string]infra.Ref{},
	}
	for _, namespace := range cfg.Watched() {
		f, err := newFeed(client, namespace, log, w.now)
		if err != nil {
			return nil, err
		}
		_, err = f.informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
			AddFunc:    func(pod any) { w.changed(f, pod) },
			UpdateFunc: func(_, pod any) { w.changed(f, pod) },
			DeleteFunc: func(pod any) { w.deleted(f, pod) },
		})
		if err != nil {
			return nil, fmt.Errorf("watch pods: %w", err)
		}
		w.feeds[namespace] = f
	}
	return w, nil
}

// Run watches until the context ends. It is called once.
func (w *Watcher) Run(ctx context.Context) error {
	for _, f := range w.feeds {
		f.factory.Start(ctx.Done())
	}
	var workers sync.WaitGroup
	for range watchWorkers {
		workers.Go(func() {
			for w.next(ctx) {
			}
		})
	}
	<-ctx.Done()
	w.queue.ShutDown()
	workers.Wait()
	for _, f := range w.feeds {
		f.factory.Shutdown()
	}
	return nil
}

// Healthy implements infra.Watch.
func (w *Watcher) Healthy() bool {
	for _, f := range w.feeds {
		if !f.healthy() {
			return false
		}
	}
	return true
}

// Look implements infra.Watch.
func (w *Watcher) Look(ref infra.Ref) (infra.Observed, bool) {
	for _, f := range w.feeds {
		if seen, ok := f.look(ref); ok {
			return seen, true
		}
	}
	return infra.Observed{}, false
}

// feedOf is the feed of a namespace.
func (w *Watcher) feedOf(namespace string) *feed {
	if f := w.feeds[namespace]; f != nil {
		return f
	}
	return w.feeds[metav1.NamespaceAll]
}

func (w *Watcher) changed(f *feed, obj any) {
	f.broken.Store(nil) // whatever arrives, arrives over a working watch
	if key, err := cache.MetaNamespaceKeyFunc(obj); err == nil {
		w.queue.Add(key)
	}
}

func (w *Watcher) deleted(f *feed, obj any) {
	f.broken.Store(nil)
	if unknown, ok := obj.(cache.DeletedFinalStateUnknown); ok {
		obj = unknown.Obj // the last state that was seen, maybe not the final one
	}
	pod, ok := obj.(*corev1.Pod)
	if !ok {
		return
	}
	key, err := cache.MetaNamespaceKeyFunc(pod)
	if err != nil {
		return
	}
	w.mu.Lock()
	t := w.known(key)
	t.deleted, t.deletedAt = pod, w.now()
	w.mu.Unlock()
	w.queue.Add(key)
}

// known returns what was told of a pod; the caller holds mu.
func (w *Watcher) known(key string) *told {
	t := w.told[key]
	if t == nil {
		t = &told{}
		w.told[key] = t
	}
	return t
}

func (w *Watcher) next(ctx context.Context) bool {
	key, shutdown := w.queue.Get()
	if shutdown {
		return false
	}
	defer w.queue.Done(key)
	again, err := w.sync(ctx, key)
	switch {
	case err != nil:
		if !errors.Is(err, context.Canceled) {
			w.log.Warn("report pod", "pod", key, "error", err)
		}
		w.queue.AddRateLimited(key)
	case again > 0:
		w.queue.Forget(key)
		w.queue.AddAfter(key, again)
	default:
		w.queue.Forget(key)
	}
	return true
}

// sync tells the sink what it does not know yet about one pod, and returns when
// to look again (0: at the next event). A key is synced by one worker at a time.
func (w *Watcher) sync(ctx context.Context, key string) (time.Duration, error) {
	namespace, _, err := cache.SplitMetaNamespaceKey(key)
	if err != nil {
		return 0, fault.Wrap(fault.Internal, err, "read key of the queue")
	}
	if namespace == "" {
		return w.syncExpected(ctx, key)
	}
	obj, exists, err := w.feedOf(namespace).informer.GetStore().GetByKey(key)
	if err != nil {
		return 0, fault.Wrap(fault.Internal, err, "read cache")
	}
	w.mu.Lock()
	if _, seen := w.told[key]; !exists && !seen {
		w.mu.Unlock()
		return 0, nil // a late look at a pod that was told to be gone
	}
	t := w.known(key)
	deleted, deletedAt := t.deleted, t.deletedAt
	w.mu.Unlock()

	pod, _ := obj.(*corev1.Pod)
	if !exists {
		if deleted == nil {
			return 0, nil // its event is on the way
		}
		pod = deleted
	}
	ref, ours := refOf(pod.Labels)
	if !ours {
		return 0, nil
	}
	observed := observedOf(pod)
	seen := observed.Pod
	if !t.started && seen.Running != nil {
		if err := w.sink.Started(ctx, ref, seen.Running.StartedAt); err != nil {
			return 0, err
		}
		t.started = true
	}
	lookAgain, err := w.syncRunning(ctx, ref, t, seen)
	if err != nil {
		return 0, err
	}
	// A pod that is gone is judged without it, unless it had ended before.
	if !exists && !seen.Ended() {
		observed.Pod, observed.JobExists = nil, false
	}
	verdict := infra.Classify(ref, observed, w.now())
	if verdict.Ended && !t.ended {
		if err := w.sink.Ended(ctx, ref, verdict.Outcome); err != nil {
			return 0, err
		}
		t.ended = true
	}
	if exists {
		return soonest(verdict.LookAgain, lookAgain), nil
	}
	if err := w.sink.Gone(ctx, ref, *seen, deletedAt); err != nil {
		return 0, err
	}
	w.mu.Lock()
	delete(w.told, key)
	w.mu.Unlock()
	return 0, nil
}

// syncRunning tells the sink that the agent runs, once it has for a while, and
// returns when to look again for that.
func (w *Watcher) syncRunning(ctx context.Context, ref infra.Ref, t *told, seen *infra.Pod) (time.Duration, error) {
	if t.running || seen.Running == nil {
		return 0, nil
	}
	age := w.now().Sub(seen.Running.StartedAt)
	switch {
	case age < runningAfter:
		return runningAfter - age, nil
	case age < runningBefore:
		if err := w.sink.Running(ctx, ref, seen.Running.StartedAt); err != nil {
			return 0, err
		}
	}
	t.running = true
	return 0, nil
}

// soonest is the shorter of two times to look again; 0 is never.
func soonest(a, b time.Duration) time.Duration {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}
